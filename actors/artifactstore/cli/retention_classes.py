"""Commands for the retention classes of a store: retention class add, list."""

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.options import Json, Quiet
from artifactstore.cli.output import say, say_json
from artifactstore.cli.runner import MAY_BE_DONE, invoker, on_store
from artifactstore.json_output import to_json

if TYPE_CHECKING:
    from artifactstore.registry import Registry
    from artifactstore_protocols.retention import RetentionClass

__all__ = ["class_commands"]

_DAY_US = 86_400_000_000


def add_class(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name: a-z, 0-9, _ and -, the first a letter.")],
    duration: Annotated[
        str,
        typer.Argument(
            metavar="DURATION", help="How long a package is kept after it was finalized: 90d (or s, m, h, w)."
        ),
    ],
    *,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore retention class add`."""
    added = on_store(
        lambda registry: registry.add_retention_class(name, duration, principal=invoker()),
        create=True,
        interrupted=MAY_BE_DONE,
    )
    _say(added, json=json)


def list_classes(*, json: Json = False) -> None:
    """Run `artifactstore retention class list`."""

    async def work(registry: "Registry") -> None:
        async with aclosing(registry.list_retention_classes()) as classes:
            async for each in classes:
                _say(each, json=json)

    on_store(work)


def _say(kept: "RetentionClass", *, json: bool) -> None:
    if json:
        say_json(to_json(kept))
        return
    text = "for ever"
    if kept.duration_us is not None:
        days = kept.duration_us / _DAY_US
        text = f"{days:g} day{'' if days == 1 else 's'}"
    say(f"{kept.name}  {text}  {kept.description}")


def class_commands() -> typer.Typer:
    """Return the group of these commands."""
    group = typer.Typer(help="Add and list retention classes.", no_args_is_help=True, rich_markup_mode=None)
    group.command("add")(add_class)
    group.command("list")(list_classes)
    return group
