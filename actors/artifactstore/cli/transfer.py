"""Commands backup and restore, the work of `artifactstore events --export` and `--import`, and reports of flaws."""

import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifactstore.cli.dash import DashText, check_directory
from artifactstore.cli.destination import deliver, file_of, refuse_terminal
from artifactstore.cli.options import Json, Progress, Quiet
from artifactstore.cli.output import counted, progress_bar, say, say_json, size_text
from artifactstore.cli.runner import CONTINUES, EXIT_DIFFERENT, EXIT_FAILED, NonzeroExit, on_store, on_trio
from artifactstore.cli.targets import say_limits
from artifactstore.json_output import to_json
from artifactstore.refusals import TargetRefused
from artifactstore_protocols.records import FlawedObject, LogImport, ObjectFlaws

if TYPE_CHECKING:
    from artifactstore.registry import Registry

__all__ = ["export_events", "flaw_text", "import_events", "register"]

_STANDARD_STREAM = Path("-")
_FLAWS_SHOWN = 10
_FILES_SHOWN = 3
_KEPT = "what was copied is kept"
_HOW_TO_REPAIR = (
    "delete damaged files below its objects, then run the backup again: "
    "it replaces damaged rows of small/objects.db, and copies what is missing"
)


def export_events(target: Path, *, json: bool) -> None:
    """Write the log to a file, or to stdout, which then has no other output."""
    file = file_of(target)
    if file is None:
        if json:
            raise typer.BadParameter("stdout takes the log or JSON, not both", param_hint="--export")
        refuse_terminal("a log", "--export")
        on_store(_to_stdout)
        return
    with progress_bar("events --export") as progress:
        report = on_store(lambda registry: registry.export_events(file, progress=progress))
    if json:
        say_json(to_json(report))
    else:
        say(f"wrote {counted(report.events, 'event')}, {size_text(report.bytes)}, to {report.file}")
        say(f"digest  {report.digest}")
        say_limits(report.limits)


async def _to_stdout(registry: "Registry") -> None:
    async with aclosing(registry.exported_events()) as chunks:
        await deliver(chunks, None)


def import_events(source: Path, *, json: bool) -> None:
    """Import the log from a file, or from stdin."""
    with _as_file(source) as file, progress_bar("events --import") as progress:
        report = _take_over(lambda registry: registry.import_events(file, progress=progress), lambda: _check_log(file))
    if json:
        say_json(to_json(report))
    else:
        _say_imported(report)
    if report.failures:
        raise NonzeroExit(EXIT_FAILED)


def _take_over[Report](
    work: "Callable[[Registry], Awaitable[Report]]", check: Callable[[], Awaitable[object]]
) -> Report:
    """Add to a store from elsewhere, and return the report. A missing store is created after the check."""
    return on_store(work, create=True, check=check, interrupted=f"{_KEPT}; {CONTINUES}")


async def _check_log(file: Path) -> None:
    from artifactstore.transfer.log_files import LogFileSource  # noqa: PLC0415 - it loads trio

    async with LogFileSource.open(file) as source, aclosing(source.batches()) as batches:
        async for events, _size_bytes in batches:
            if events:  # the file begins like a log; the import itself checks the rest
                break


@contextmanager
def _as_file(source: Path) -> Generator[Path]:
    """Yield a file with the log; copy stdin to a temporary file, because the log is read twice."""
    if source != _STANDARD_STREAM:
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="artifactstore-") as directory:
        file = Path(directory, "standard-input")
        try:
            with file.open("wb") as spooled:
                shutil.copyfileobj(sys.stdin.buffer, spooled)
        except OSError as error:
            raise TargetRefused(directory, f"{error.strerror}; name a larger place by TMPDIR") from error
        yield file


def _say_imported(report: LogImport) -> None:
    _say_log(report.events, report.written, report.sequence)
    say(f"digest  {report.digest}")
    if report.flaws.any:
        say("the log names objects that this store does not have:")
        _say_flaws(report.flaws)
        say("copy them into the storage root, or `artifactstore restore` them; then run `artifactstore verify`")
    _say_failures(report.failures)


def _say_failures(failures: Sequence[str]) -> None:
    for failure in failures:
        say(f"not done: {failure}; run `artifactstore redact` with the same text")


def _say_log(events: int, written: int, sequence: int) -> None:
    if sequence > events:
        say(f"nothing to add: this log begins with those {counted(events, 'event')} and continues to {sequence}")
    else:
        say(f"{counted(events, 'event')}; {written} new here")


def backup(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", path_type=DashText, help="A new or empty directory, or an earlier backup."),
    ],
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Only check an existing backup, byte by byte. Opens no store.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove from the backup what this store has deleted and collected.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --prune: only print what would be removed.")] = False,
    json: Json = False,
    _quiet: Quiet = False,
    _progress: Progress = "auto",
) -> None:
    """Run `artifactstore backup`."""
    check_directory(directory, "a backup", "DIR")
    if (check and prune) or (dry_run and not prune):
        raise typer.BadParameter("use --check alone, and --dry-run with --prune")
    if check:
        _check(directory, json=json)
        return
    if dry_run:
        totals = on_store(lambda registry: registry.preview_pruning(directory))
        text = f"{counted(totals.objects, 'object')}, {size_text(totals.bytes)}, would be removed from {directory}"
        say_json({"pruned_objects": totals.objects, "pruned_bytes": totals.bytes}) if json else say(text)
        return
    with progress_bar("backup") as progress:
        report = on_store(
            lambda registry: registry.backup(directory, prune=prune, progress=progress),
            interrupted=f"{_KEPT}; {CONTINUES}",
        )
    if json:
        say_json(to_json(report))
    else:
        say(f"{counted(report.events, 'event')}, {report.new_events} new; {counted(report.objects, 'object')}")
        say(f"copied  {counted(report.new_objects, 'object')}, {size_text(report.new_bytes)}")
        if prune:
            say(f"removed {counted(report.pruned_objects, 'object')}, {size_text(report.pruned_bytes)}")
        say(f"digest  {report.digest}")
        say_limits(report.limits)
        if report.flaws.any:
            say("this store lacks objects that its log names; they are not in the backup:")
            _say_flaws(report.flaws)
            say("ingest the same content again, then run the backup again")
    if report.flaws.any:
        raise NonzeroExit(EXIT_DIFFERENT)


def _check(directory: Path, *, json: bool) -> None:
    from artifactstore.transfer.check import check_backup  # noqa: PLC0415 - it loads trio and the storage

    with progress_bar("backup --check") as progress:
        report = on_trio(lambda: check_backup(directory, progress))
    if json:
        say_json(to_json(report))
    else:
        events, objects = counted(report.events, "event"), counted(report.objects, "object")
        say(f"read {events} and {objects}, {size_text(report.bytes)}")
        say(f"digest  {report.digest}")
        _say_flaws(report.flaws)
        say(_HOW_TO_REPAIR if report.flaws.any else "all sound")
    if report.flaws.any:
        raise NonzeroExit(EXIT_DIFFERENT)


def restore(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A backup.")],
    *,
    json: Json = False,
    _quiet: Quiet = False,
    _progress: Progress = "auto",
) -> None:
    """Run `artifactstore restore`."""
    with progress_bar("restore") as progress:
        report = _take_over(
            lambda registry: registry.restore(directory, progress=progress), lambda: _check_backup(directory)
        )
    if json:
        say_json(to_json(report))
    else:
        _say_log(report.events, report.written, report.sequence)
        say(f"restored  {counted(report.new_objects, 'object')}, {size_text(report.new_bytes)}")
        say(f"digest    {report.digest}")
        if report.flaws.any:
            say("the backup lacks objects that its log names, and so does this store:")
            _say_flaws(report.flaws)
        _say_failures(report.failures)
    if report.failures:
        raise NonzeroExit(EXIT_FAILED)
    if report.flaws.any:
        raise NonzeroExit(EXIT_DIFFERENT)


async def _check_backup(directory: Path) -> None:
    from artifactstore.transfer.directory import BackupDirectory  # noqa: PLC0415 - it loads trio

    await BackupDirectory.to_read(directory)


def _say_flaws(flaws: ObjectFlaws) -> None:
    """Print the first damaged and missing objects, and how many there are if there are more."""
    for problem, count, first in (
        ("damaged", flaws.damaged_objects, flaws.damaged),
        ("missing", flaws.missing_objects, flaws.missing),
    ):
        for flaw in first[:_FLAWS_SHOWN]:
            say(flaw_text(problem, flaw))
        if count > _FLAWS_SHOWN:
            say(f"{problem}: {count} objects in all")


def flaw_text(problem: str, flaw: FlawedObject) -> str:
    """Return the line that describes a flawed object."""
    files = ", ".join(flaw.files[:_FILES_SHOWN]) or "no file"
    more = (flaw.file_count or len(flaw.files)) - _FILES_SHOWN
    return (
        f"{problem} {flaw.content_address}, {counted(flaw.size_bytes, 'byte')}, in {files}"
        f"{f' and {counted(more, "more file")}' if more > 0 else ''}"
    )


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (backup, restore):
        app.command()(command)
