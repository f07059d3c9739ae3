"""Commands for holds, which keep packages until they are released: hold place, release, list."""

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.options import Ids, Json, Quiet, Reason, complete_packages
from artifactstore.cli.output import PAGE_BYTES, flush_output, say, say_json
from artifactstore.cli.remote import AnyRegistry
from artifactstore.cli.runner import MAY_BE_DONE, invoker, on_either, on_store
from artifactstore.json_output import to_json
from artifactstore_protocols.moments import time_text

if TYPE_CHECKING:
    from artifactstore.registry import Registry
    from artifactstore_protocols.records import Hold

__all__ = ["register"]


def place(packages: Ids, reason: Reason, *, json: Json = False, _quiet: Quiet = False) -> None:
    """Run `artifactstore hold place`."""

    async def work(registry: "Registry") -> None:
        for package in packages:
            _say_hold(await registry.place_hold(package, reason=reason, principal=invoker()), json=json)

    on_store(work, interrupted=MAY_BE_DONE)


def release(
    hold: Annotated[str, typer.Argument(metavar="HOLD", help="The id of the hold, as `hold list` prints it.")],
    *,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore hold release`."""
    on_store(lambda registry: registry.release_hold(hold, principal=invoker()), interrupted=MAY_BE_DONE)
    if json:
        say_json({"hold_id": hold})
    else:
        say(f"released {hold}")


def list_holds(
    package: Annotated[
        str | None,
        typer.Argument(
            metavar="PACKAGE", help="On this package. Default: all holds.", autocompletion=complete_packages
        ),
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Run `artifactstore hold list`."""

    async def work(registry: AnyRegistry) -> None:
        async with aclosing(registry.list_holds(package)) as holds:
            async for each in holds:
                _say_hold(each, json=json)
                await flush_output(least_bytes=PAGE_BYTES)

    on_either(work)


def _say_hold(hold: "Hold", *, json: bool) -> None:
    if json:
        say_json(to_json(hold))
    else:
        say(f"{hold.hold_id}  {hold.package_id}  {time_text(hold.placed_at_us)}  {hold.placed_by}  {hold.reason}")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Place, release and list holds.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (("place", place), ("release", release), ("list", list_holds)):
        group.command(name)(command)
    app.add_typer(group, name="hold")
