"""The option `--store DIR`, which every command accepts before or after its name: `artifactstore --store DIR ingest …`.

The option is added after the commands are registered, so that every command has it. If it is given more than once, the
last one wins.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

__all__ = ["add_store_option", "isolated_store_option", "named_store"]

_store: ContextVar[str | None] = ContextVar("store", default=None)


def named_store() -> str | None:
    """Return the directory that `--store` names; None without the option."""
    return _store.get()


@contextmanager
def isolated_store_option() -> Generator[None]:
    """Clear the value of `--store` for the block, and restore the earlier value after it."""
    token = _store.set(None)
    try:
        yield
    finally:
        _store.reset(token)


def add_store_option(app: typer.Typer) -> None:
    """Add the option to every registered command and group, recursively."""
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
