"""The command that replaces a text in the log for good: redact."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.dash import DashText
from artifactstore.cli.metadata_options import text_in
from artifactstore.cli.options import Json, Quiet, Reason
from artifactstore.cli.output import counted, say, say_json
from artifactstore.cli.runner import CONTINUES, EXIT_FAILED, NonzeroExit, invoker, on_store
from artifactstore.json_output import to_json
from artifactstore_protocols.redaction import RedactionReport

if TYPE_CHECKING:
    from artifactstore.registry import Registry

__all__ = ["register"]


def redact(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            path_type=DashText,
            help="A file with the text, or - for standard input: no history may keep it.",
        ),
    ],
    reason: Reason,
    *,
    confirm_events: Annotated[
        int | None,
        typer.Option(
            "--confirm-events",
            metavar="N",
            min=0,
            help="The number of events to redact. Without it, nothing is changed.",
        ),
    ] = None,
    backups: Annotated[
        list[Path] | None,
        typer.Option("--backup", metavar="DIR", help="Bring this backup up to date, without the text."),
    ] = None,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore redact`."""
    secret = text_in(file, "FILE").rstrip("\r\n")

    async def work(registry: "Registry") -> RedactionReport:
        return await registry.redact(
            secret, reason=reason, confirm_events=confirm_events, backups=backups or [], principal=invoker()
        )

    report = on_store(work, interrupted=CONTINUES)
    if json:
        say_json(to_json(report))
    else:
        _say(report)
    if report.failures or report.left_events:
        raise NonzeroExit(EXIT_FAILED)


def _say(report: RedactionReport) -> None:
    packages = counted(report.packages, "package")
    say(f"redacted {counted(report.events, 'event')} of {packages}; {report.mark} stands in place of the text")
    for directory in report.backups:
        say(f"backup {directory} is redacted too")
    for each in report.left:
        say(f"not redacted: event {each.sequence} ({each.event_type}) has the text in its {each.where}")
    if report.left_events > len(report.left):
        say(f"not redacted: {report.left_events - len(report.left)} more events")
    for failure in report.failures:
        say(f"not done: {failure}; run the command again")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(redact)
