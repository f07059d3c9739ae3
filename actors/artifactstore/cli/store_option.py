"""`--store DIR`, which every command takes, after its name or before it: `artifactstore --store DIR ingest …`.

Added to the commands after they are registered, so that none can be without it. The one nearest to the command wins.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

__all__ = ["add_store_option", "forgotten_after", "named_store"]

_store: ContextVar[str | None] = ContextVar("store", default=None)


def named_store() -> str | None:
    """The directory that `--store` names; None without the option."""
    return _store.get()


@contextmanager
def forgotten_after() -> Generator[None]:
    """Forget after the block what `--store` named in it."""
    token = _store.set(None)
    try:
        yield
    finally:
        _store.reset(token)


def add_store_option(app: typer.Typer) -> None:
    """Give the option to every command and group that is registered."""
    app.info.cls = _Group
    for command in app.registered_commands:
        command.cls = _Command
    for group in app.registered_groups:
        group.cls = _Group
        if group.typer_instance is not None:
            add_store_option(group.typer_instance)


def _option() -> TyperOption:
    return TyperOption(
        param_decls=["--store"],
        type=str,
        metavar="DIR",
        expose_value=False,
        callback=_named,
        help="The store's directory: its artifactstore.db and objects.",
    )


def _named(_context: typer.Context, _option: typer.CallbackParam, value: str | None) -> None:
    if value is not None:
        _store.set(value)


class _Command(TyperCommand):
    def __init__(self, *arguments: Any, params: list[Any] | None = None, **others: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, params=[*(params or ()), _option()], **others)


class _Group(TyperGroup):
    def __init__(self, *, params: list[Any] | None = None, **others: Any) -> None:  # noqa: ANN401
        super().__init__(params=[*(params or ()), _option()], **others)
