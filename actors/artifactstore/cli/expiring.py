"""Commands that let packages go, and confirm the clock by which they go: expire, clock confirm."""

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.options import Json, Quiet
from artifactstore.cli.output import PAGE_BYTES, flush_output, say, say_json
from artifactstore.cli.runner import CONTINUES, MAY_BE_DONE, invoker, on_store
from artifactstore.json_output import timestamp, to_json
from artifactstore_protocols.expiry import ABANDONED_AFTER
from artifactstore_protocols.moments import time_text

if TYPE_CHECKING:
    from artifactstore.registry import Registry

__all__ = ["register"]

_PACKAGES_MAX = 2**53 - 1


def expire(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, and print what would go.")] = False,
    yes_expire: Annotated[
        int | None,
        typer.Option(
            "--yes-expire", metavar="N", min=0, max=_PACKAGES_MAX, help="Exactly N packages may go, even if most do."
        ),
    ] = None,
    abandoned_after: Annotated[
        str,
        typer.Option("--abandoned-after", metavar="DURATION", help="Open packages go that nobody touched for so long."),
    ] = ABANDONED_AFTER,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore expire`."""

    async def work(registry: "Registry") -> None:
        expired = registry.expire_packages(
            dry_run=dry_run, yes_expire=yes_expire, abandoned_after=abandoned_after, principal=invoker()
        )
        async with aclosing(expired) as packages:
            async for each in packages:
                if json:
                    say_json(to_json(each))
                else:
                    since = "touched" if each.rule == "abandoned" else "ended"
                    say(f"{each.package_id}  {each.rule:9}  {since} {time_text(each.since_us)}  {each.name}")
                await flush_output(least_bytes=PAGE_BYTES)

    on_store(work, interrupted=CONTINUES)


def confirm(*, json: Json = False, _quiet: Quiet = False) -> None:
    """Run `artifactstore clock confirm`."""
    at_us = on_store(lambda registry: registry.confirm_clock(principal=invoker()), interrupted=MAY_BE_DONE)
    if json:
        say_json({"confirmed_at": timestamp(at_us)})
    else:
        say(f"confirmed {time_text(at_us)}")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(expire)
    group = typer.Typer(help="Confirm the clock.", no_args_is_help=True, rich_markup_mode=None)
    group.command("confirm")(confirm)
    # A group with one command needs a callback to stay a group.
    group.callback()(_clock)
    app.add_typer(group, name="clock")


def _clock() -> None:
    """Have no options of its own."""
