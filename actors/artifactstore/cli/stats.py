"""The command that says what a store holds: stats."""

from typing import TYPE_CHECKING

import typer

from artifactstore.cli.options import Json
from artifactstore.cli.output import say, say_json
from artifactstore.cli.remote import AnyRegistry
from artifactstore.cli.runner import on_either
from artifactstore.json_output import to_json
from artifactstore.stats_text import stats_lines

if TYPE_CHECKING:
    from artifactstore_protocols.store_stats import StoreStats

__all__ = ["register"]


def stats(*, json: Json = False) -> None:
    """Run `artifactstore stats`."""

    async def read(registry: AnyRegistry) -> "StoreStats":
        return await registry.stats()

    from artifactstore.ids import now_us  # noqa: PLC0415 - it loads trio, which `--help` does not need

    found = on_either(read)
    if json:
        say_json(to_json(found))
        return
    for label, text in stats_lines(found, now_us()):
        say(f"{label:17}  {text}")


def register(app: typer.Typer) -> None:
    """Add the command of this module to `app`."""
    app.command()(stats)
