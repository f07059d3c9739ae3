"""Commands for the log: replay, events, history."""

from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.dash import DashText
from artifactstore.cli.options import Json, OptionalPackage, Progress, Quiet
from artifactstore.cli.output import (
    PAGE_BYTES,
    counted,
    flush_output,
    progress_bar,
    say,
    say_json,
)
from artifactstore.cli.remote import AnyRegistry
from artifactstore.cli.runner import EXIT_DIFFERENT, NonzeroExit, on_either, on_store
from artifactstore.cli.transfer import export_events, import_events
from artifactstore.json_output import event_to_json, replay_to_json, to_json
from artifactstore_protocols.events import SEQUENCE_MAX
from artifactstore_protocols.moments import time_text
from artifactstore_protocols.records import ShownEvent

if TYPE_CHECKING:
    from artifactstore_protocols.events import StoredEvent

__all__ = ["register"]


def replay(
    *,
    check: Annotated[bool, typer.Option("--check", help="Only compare; exit 3 if they differ.")] = False,
    json: Json = False,
    _quiet: Quiet = False,
    _progress: Progress = "auto",
) -> None:
    """Run `artifactstore replay`."""
    with progress_bar("replay") as progress:
        report = on_store(lambda registry: registry.replay(check=check, progress=progress))
    if json:
        say_json(replay_to_json(report))
    else:
        say(f"replayed {counted(report.events, 'event')}")
        say(f"projection digest  {report.projection_digest}")
        if report.repaired_rows:
            say(f"repaired {counted(report.repaired_rows, 'row')}")
        say("identical" if report.identical else f"different: the tables have {report.live_digest}")
    if not report.identical:
        raise NonzeroExit(EXIT_DIFFERENT)


def events(
    since: Annotated[
        int,
        typer.Option("--since", metavar="N", min=0, max=SEQUENCE_MAX, help="Print only the events after sequence N."),
    ] = 0,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Continue with new events, until interrupted.")] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", metavar="FILE", path_type=DashText, help="Export the whole log to a file; - is stdout."
        ),
    ] = None,
    imported: Annotated[
        Path | None,
        typer.Option("--import", metavar="FILE", path_type=DashText, help="Import the log in such a file; - is stdin."),
    ] = None,
    json: Json = False,
    _progress: Progress = "auto",
) -> None:
    """Run `artifactstore events`."""
    if [since > 0 or follow, export is not None, imported is not None].count(True) > 1:
        raise typer.BadParameter("give one of --since or --follow, --export, --import")
    if export is not None:
        export_events(export, json=json)
    elif imported is not None:
        import_events(imported, json=json)
    else:
        _print_events(since, follow=follow, json=json)


def _print_events(since: int, *, follow: bool, json: bool) -> None:
    def show(stored: "StoredEvent | ShownEvent") -> None:
        if json:
            say_json(to_json(stored) if isinstance(stored, ShownEvent) else event_to_json(stored))
        else:
            event = stored if isinstance(stored, ShownEvent) else stored.event
            say(f"{stored.sequence:>8}  {time_text(event.recorded_at_us)}  {event.type:24}  {event.subject}")

    async def work(registry: AnyRegistry) -> None:
        if follow:
            async with registry.tail_events(since) as tail:
                async for stored in tail:
                    show(stored)
                    await flush_output()  # the reader of a pipe needs each line at once, not a full buffer
            return
        after = since
        while page := await registry.read_events(after):
            for stored in page:
                show(stored)
                await flush_output(least_bytes=PAGE_BYTES)
            after = page[-1].sequence

    on_either(work)


def history(package: OptionalPackage = None, *, json: Json = False) -> None:
    """Run `artifactstore history`."""

    async def work(registry: AnyRegistry) -> None:
        async with aclosing(registry.history(package)) as entries:
            async for entry in entries:
                if json:
                    say_json(to_json(entry))
                else:
                    say(f"{time_text(entry.recorded_at_us)}  {entry.principal}  {entry.subject}  {entry.detail}")
                await flush_output(least_bytes=PAGE_BYTES)

    on_either(work)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (replay, events, history):
        app.command()(command)
