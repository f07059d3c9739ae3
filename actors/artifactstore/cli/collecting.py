"""The command that gives disk space back: gc."""

from typing import Annotated, Final

import typer

from artifactstore.cli.options import Json, Progress, Quiet
from artifactstore.cli.output import counted, progress_bar, say, say_json, size_text
from artifactstore.cli.runner import CONTINUES, EXIT_FAILED, NonzeroExit, invoker, on_store
from artifactstore.json_output import to_json
from artifactstore_protocols.collection import CollectionReport, ObjectTotals
from artifactstore_protocols.moments import duration_us, time_text

__all__ = ["register"]

_US: Final = 1_000_000


def gc(
    *,
    grace: Annotated[
        str, typer.Option("--grace", metavar="DURATION", help="Keep objects this long after their last package went.")
    ] = "24h",
    orphan_age: Annotated[
        str | None,
        typer.Option(
            "--orphan-age",
            metavar="DURATION",
            help="Delete bytes that no event names once they are so old: 24h. A dry run counts them only with it.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count, and change nothing.")] = False,
    json: Json = False,
    _quiet: Quiet = False,
    _progress: Progress = "auto",
) -> None:
    """Run `artifactstore gc`."""
    grace_s = _seconds("--grace", grace)
    orphan_age_s = None if orphan_age is None else _seconds("--orphan-age", orphan_age)
    with progress_bar("gc") as progress:
        report = on_store(
            lambda registry: registry.collect_garbage(
                grace_s=grace_s,
                orphan_age_s=orphan_age_s,
                dry_run=dry_run,
                principal=invoker(),
                progress=progress,
            ),
            interrupted=CONTINUES,
        )
    if json:
        say_json(to_json(report))
    else:
        _say(report)
    if report.failures:
        raise NonzeroExit(EXIT_FAILED)


def _seconds(option: str, text: str) -> float:
    if (found := duration_us(text)) is None:
        raise typer.BadParameter(f"{text!r} is no duration: 0, 90s, 15m, 24h, 7d, 2w", param_hint=option)
    return found / _US


def _say(report: CollectionReport) -> None:
    if report.entries:
        label, bound = "released entries of gone packages", ""
        if report.dry_run:
            label = "entries of gone packages to release"
            bound = f", {size_text(report.entry_bytes)} less what other packages hold too"
        say(f"{label}: {report.entries}{bound}")
    reasons = {
        "condemned, and the grace is over": report.condemned,
        "retired before": report.retired,
        "orphans": report.orphans,
        "late at removed keys": report.late,
        "condemned, kept for the grace": report.waiting,
    }
    for reason, totals in reasons.items():
        if totals.objects:
            say(f"{reason}: {_text(totals)}")
    if report.waiting_until_at_us is not None:
        until = time_text(report.waiting_until_at_us)
        say(f"the grace of the last of them ends at {until}; the next gc after that deletes them, also the service's")
    if not report.listed:
        say("orphans: not looked for; add --orphan-age 24h, which lists all objects")
    if report.dry_run:
        say("a dry run; nothing was changed")
    else:
        say(f"deleted {_text(report.deleted)}")
        if report.compacted_bytes:
            say(f"compacting the storage gave {size_text(report.compacted_bytes)} back to the disk")
    for failure in report.failures:
        say(f"not done: {failure}; the next run tries again")


def _text(totals: ObjectTotals) -> str:
    return f"{counted(totals.objects, 'object')}, {size_text(totals.bytes)}"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(gc)
