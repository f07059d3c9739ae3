"""The command that destroys contents for good: purge."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.options import Json, Quiet, Reason
from artifactstore.cli.output import counted, say, say_json, size_text
from artifactstore.cli.runner import CONTINUES, EXIT_FAILED, NonzeroExit, invoker, on_store
from artifactstore.json_output import to_json
from artifactstore_protocols.purging import PurgeReport, PurgeUnconfirmed

if TYPE_CHECKING:
    from artifactstore.registry import Registry

__all__ = ["register"]


def purge(
    digests: Annotated[
        list[str],
        typer.Argument(metavar="DIGEST...", help="Content addresses, as `artifactstore find --json` prints them."),
    ],
    reason: Reason,
    *,
    confirm: Annotated[
        list[str] | None,
        typer.Option("--confirm", metavar="DIGEST", help="Each digest again. Without it, a terminal asks."),
    ] = None,
    backups: Annotated[
        list[Path] | None,
        typer.Option("--backup", metavar="DIR", help="Bring this backup up to date, without the contents."),
    ] = None,
    json: Json = False,
    _quiet: Quiet = False,
) -> None:
    """Run `artifactstore purge`."""
    try:
        report = _purged(digests, reason, confirm or [], backups or [])
    except PurgeUnconfirmed as unconfirmed:
        if confirm or json or not sys.stdin.isatty():
            raise
        report = _purged(digests, reason, _typed(unconfirmed), backups or [])
    if json:
        say_json(to_json(report))
    else:
        _say(report)
    if report.failures:
        raise NonzeroExit(EXIT_FAILED)


def _purged(digests: list[str], reason: str, confirm: list[str], backups: list[Path]) -> PurgeReport:
    async def work(registry: "Registry") -> PurgeReport:
        return await registry.purge(digests, reason=reason, confirm=confirm, backups=backups, principal=invoker())

    return on_store(work, interrupted=CONTINUES)


def _typed(unconfirmed: PurgeUnconfirmed) -> list[str]:
    """Ask for each digest again."""
    files = counted(unconfirmed.files, "file")
    typer.echo(f"This destroys the content of {files} for good, also in packages under a hold.", err=True)
    return [typer.prompt("Type the digest again", err=True).strip() for _ in unconfirmed.contents]


def _say(report: PurgeReport) -> None:
    count = counted(len(report.contents), "content")
    say(f"purged {count} of {counted(report.files, 'file')}; the files stay in their packages and cannot be read")
    say(f"deleted {counted(report.deleted_objects, 'object')}, {size_text(report.deleted_bytes)}")
    for directory in report.backups:
        say(f"backup {directory} no longer has it")
    for failure in report.failures:
        say(f"not done: {failure}; run the command again")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(purge)
