"""What `artifactstore events --export` and `--import` do, and how what is wrong with objects is told."""

import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from artifactstore.cli.output import progress_bar, say, say_json, size_text, write_bytes
from artifactstore.cli.runner import on_store
from artifactstore.facts import facts
from artifactstore_protocols.records import FlawedObject, LogImport, ObjectFlaws

if TYPE_CHECKING:
    from artifactstore.registry import Registry

__all__ = ["export_events", "flaw_text", "import_events", "say_flaws"]

_STANDARD_STREAM = Path("-")
_FLAWS_SHOWN = 10


def export_events(target: Path, *, json: bool) -> None:
    """Write the log to a file, or to stdout, where nothing else is printed then."""
    if target == _STANDARD_STREAM:
        if json:
            raise typer.BadParameter("stdout takes the log or JSON, not both", param_hint="--export")
        on_store(_to_stdout)
        return
    with progress_bar("export") as progress:
        report = on_store(lambda registry: registry.export_events(target, progress=progress))
    if json:
        say_json(facts(report))
    else:
        say(f"wrote {report.events} events, {size_text(report.bytes)}, to {report.file}")
        say(f"digest  {report.digest}")


async def _to_stdout(registry: "Registry") -> None:
    async for chunk in registry.exported_events():
        write_bytes(chunk)


def import_events(source: Path, *, json: bool) -> None:
    """Take over the log in a file, or on stdin."""
    with _as_file(source) as file, progress_bar("import") as progress:
        report = on_store(lambda registry: registry.import_events(file, progress=progress))
    if json:
        say_json(facts(report))
    else:
        _say_imported(report)


@contextmanager
def _as_file(source: Path) -> Generator[Path]:
    """A file of its own for what comes on stdin: it has to be read twice."""
    if source != _STANDARD_STREAM:
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="artifactstore-") as directory:
        file = Path(directory, "standard-input")
        with file.open("wb") as spooled:
            shutil.copyfileobj(sys.stdin.buffer, spooled)
        yield file


def _say_imported(report: LogImport) -> None:
    if report.sequence > report.events:
        say(f"nothing to do: this log begins with those {report.events} events and goes on to {report.sequence}")
    else:
        say(f"{report.events} events; {report.written} of them are new here")
    say(f"digest  {report.digest}")
    if report.flaws.any:
        say("the log names objects that this store does not have:")
        say_flaws(report.flaws)
        say("copy them into the storage root, or `artifactstore restore` them; then run `artifactstore verify`")


def say_flaws(flaws: ObjectFlaws) -> None:
    """How many objects are not as they should be, and the first of them."""
    for problem, count, first in (
        ("damaged", flaws.damaged_objects, flaws.damaged),
        ("missing", flaws.missing_objects, flaws.missing),
    ):
        for flaw in first[:_FLAWS_SHOWN]:
            say(flaw_text(problem, flaw))
        if count > _FLAWS_SHOWN:
            say(f"{problem}: {count} objects in all")


def flaw_text(problem: str, flaw: FlawedObject) -> str:
    """One object that is not as it should be."""
    return f"{problem} {flaw.content_address}, {flaw.size_bytes} bytes, in {', '.join(flaw.files) or 'no file'}"
