"""Output of commands: JSON for scripts, lines for people, and the progress of long commands."""

import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, BinaryIO, Literal

from artifactstore.cli.streams import answer
from artifactstore.json_output import Json, json_text
from artifactstore_protocols.records import CopyReport, DirectoryIngest, ExportReport, IngestPreview, PackageRecord

if TYPE_CHECKING:
    from msgspec import Struct

__all__ = [
    "PAGE_BYTES",
    "ProgressForm",
    "counted",
    "entries_text",
    "flush_output",
    "note",
    "output_held",
    "printable",
    "progress_bar",
    "quiet_restored",
    "say",
    "say_json",
    "say_paths",
    "show_progress",
    "silence",
    "size_text",
    "text_of",
    "write_bytes",
]

PAGE_BYTES = 1 << 16
"""Bytes that a command with long output collects before it waits for the reader."""


type ProgressForm = Literal["auto", "bar", "plain", "json", "none"]
"""How progress is shown. `auto` is `bar` on a terminal, else `plain`."""


def printable(text: str) -> str:
    """Return the text on one line, with escapes for all characters that a terminal could take for a command."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


_quiet: ContextVar[bool] = ContextVar("quiet", default=False)
_form: ContextVar[ProgressForm] = ContextVar("form", default="auto")


@contextmanager
def quiet_restored() -> Generator[None]:
    """Print lines for people in the block, and undo after it any `silence` and `show_progress` in it."""
    quiet, form = _quiet.set(False), _form.set("auto")
    try:
        yield
    finally:
        _quiet.reset(quiet)
        _form.reset(form)


def silence() -> None:
    """Print no lines for people and no progress from now on."""
    _quiet.set(True)


def show_progress(form: ProgressForm) -> None:
    """Show progress in this form from now on."""
    _form.set(form)


def say(text: str) -> None:
    """Print a line for people to stdout, unless `silence` was called."""
    if not _quiet.get():
        sys.stdout.write(printable(text) + "\n")


_PATHS_SHOWN = 10


def say_paths(label: str, paths: Sequence[str], *, shown_max: int | None = _PATHS_SHOWN) -> None:
    """Print a label with the number of paths, and the first of them, one a line; nothing if there are none."""
    if not paths:
        return
    say(f"{label}{counted(len(paths), 'path')}")
    for path in paths[:shown_max]:
        say(f"  {path}")
    if shown_max is not None and len(paths) > shown_max:
        say(f"  and {len(paths) - shown_max} more, which --json lists")


def note(text: str) -> None:
    """Print a line about the output to stderr, unless `silence` was called."""
    if not _quiet.get():
        sys.stderr.write(f"artifactstore: {printable(text)}\n")


def say_json(value: Json) -> None:
    """Print one line of JSON to stdout, in UTF-8 whatever the locale (RFC 8259 section 8.1)."""
    _stdout().write(f"{json_text(value)}\n".encode())


async def write_bytes(payload: bytes) -> None:
    """Write exact bytes to stdout, and wait for the reader without blocking the event loop."""
    _stdout().write(payload)
    await flush_output()


async def flush_output(*, least_bytes: int = 0) -> None:
    """Write the pending output if it has at least `least_bytes`, and wait for the reader.

    During `output_held`, only this call writes the pending output.
    """
    if (own := answer()) is not None:
        await own.drain(least_bytes=least_bytes)
    else:
        sys.stdout.flush()


@contextmanager
def output_held() -> Generator[None]:
    """Keep output pending during the block, in which an event loop runs; only `flush_output` waits for the reader."""
    own = answer()
    if own is not None:
        own.hold(held=True)
    try:
        yield
    finally:
        if own is not None:
            own.hold(held=False)


def _stdout() -> BinaryIO:
    """Return stdout for data, or raise `OutputLost` if it is closed: unlike lines for people, data must not be lost."""
    if (own := answer()) is not None:
        own.require()
    return sys.stdout.buffer


def counted(number: int, thing: str) -> str:
    """Return a number with its noun: 1 file, 2 files."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def entries_text(counts: CopyReport | DirectoryIngest | ExportReport | IngestPreview | PackageRecord) -> str:
    """Return the number of files as text, and the numbers of links and empty directories if there are any."""
    text = counted(counts.files, "file")
    if counts.links:
        text += f", {counted(counts.links, 'link')}"
    if counts.directories:
        text += f", {counts.directories} empty director{'y' if counts.directories == 1 else 'ies'}"
    return text


def text_of(value: Json) -> str:
    """Return a JSON value as text for people: None is -, a mapping is k=v, and so on."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case Mapping():
            return ", ".join(f"{key}={text_of(item)}" for key, item in value.items()) or "-"
        case Sequence():
            return ", ".join(map(text_of, value)) or "-"
        case _:
            return str(value)


def size_text(size: int) -> str:
    """Return a number of bytes as text for people, with a binary unit."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:  # noqa: PLR2004
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


@contextmanager
def progress_bar(command: str) -> "Generator[Callable[[Struct], None] | None]":
    """Show the progress of a command on stderr in the chosen form, and yield the callback for its counts.

    Yield None if nothing is shown, as after `silence`. `artifactstore.cli.progress_lines` says what the counts are.
    """
    form = "none" if _quiet.get() else _form.get()
    if form == "auto":  # a dumb terminal cannot move its cursor
        form = "bar" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"
    # Imported here, since most commands show no progress.
    if form == "bar":
        from artifactstore.cli.progress import bar  # noqa: PLC0415

        with bar(command) as show:
            yield show
    elif form == "none":
        yield None
    else:
        from artifactstore.cli.progress_lines import progress_lines  # noqa: PLC0415

        with progress_lines(command, form) as show:
            yield show
