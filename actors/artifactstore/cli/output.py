"""What a command prints: facts as JSON for scripts or as lines for people, and progress while a person watches."""

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import BinaryIO, Protocol

from artifactstore.cli.streams import answer
from artifactstore.json_output import Json, json_text
from artifactstore_protocols.records import DirectoryIngest, ExportReport, IngestProgress, PackageRecord, ReplayProgress

__all__ = [
    "PAGE_BYTES",
    "ProgressCounts",
    "answer_held",
    "as_loud_as_before",
    "counted",
    "delivered",
    "entries_text",
    "events_bar",
    "hush",
    "left_out_text",
    "printable",
    "progress_bar",
    "say",
    "say_json",
    "size_text",
    "text_of",
    "write_bytes",
]

PAGE_BYTES = 1 << 16
"""So much is said at a time by what says much."""


class ProgressCounts(Protocol):
    """What long commands report while they run."""

    @property
    def bytes(self) -> int:
        """Bytes done."""
        ...

    @property
    def bytes_total(self) -> int | None:
        """Bytes in all; None while nobody can tell."""
        ...


def printable(text: str) -> str:
    """One line of text in which whatever a terminal could take for a command is shown as its escape."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


_PATHS_SHOWN = 10

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


@contextmanager
def as_loud_as_before() -> Generator[None]:
    """Let what is hushed in the block be heard again after it."""
    token = _quiet.set(False)
    try:
        yield
    finally:
        _quiet.reset(token)


def hush() -> None:
    """Say nothing to people from now on, and show no progress."""
    _quiet.set(True)


def say(text: str) -> None:
    """A line for people, on stdout, if they want to hear it."""
    if not _quiet.get():
        sys.stdout.write(printable(text) + "\n")


def say_json(value: Json) -> None:
    """One line of JSON on stdout, in UTF-8 whatever the locale (RFC 8259 section 8.1)."""
    _stdout().write(f"{json_text(value)}\n".encode())


async def write_bytes(payload: bytes) -> None:
    """Exact bytes on stdout. Waits for their reader without blocking the event loop."""
    _stdout().write(payload)
    await delivered()


async def delivered(*, least_bytes: int = 0) -> None:
    """Wait until what was said has been taken, if it is so much. What is said under trio waits for this."""
    if (own := answer()) is not None:
        await own.drain(least_bytes=least_bytes)
    else:
        sys.stdout.flush()


@contextmanager
def answer_held() -> Generator[None]:
    """Let nothing that is said in the block wait for its reader, but for `delivered`: an event loop runs."""
    own = answer()
    if own is not None:
        own.hold(held=True)
    try:
        yield
    finally:
        if own is not None:
            own.hold(held=False)


def _stdout() -> BinaryIO:
    """Where data goes, which must not be lost as lines for people may be."""
    if (own := answer()) is not None:
        own.require()
    return sys.stdout.buffer


def counted(number: int, thing: str) -> str:
    """A number of things: 1 file, 2 files."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def entries_text(counts: DirectoryIngest | ExportReport | PackageRecord) -> str:
    """How many files something holds, and links and empty directories if it has any."""
    text = counted(counts.files, "file")
    if counts.links:
        text += f", {counted(counts.links, 'link')}"
    if counts.directories:
        text += f", {counts.directories} empty director{'y' if counts.directories == 1 else 'ies'}"
    return text


def text_of(value: Json) -> str:
    """A fact as people read it: nothing is -, a mapping is k=v, and so on."""
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
    """A number of bytes as people read it."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:  # noqa: PLR2004
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def left_out_text(paths: Sequence[str]) -> str:
    """The files and directories of the store itself that an ingest did not take in."""
    more = f" and {len(paths) - _PATHS_SHOWN} more" if len(paths) > _PATHS_SHOWN else ""
    return f"{', '.join(paths[:_PATHS_SHOWN])}{more}: this store's own"


def _is_watched() -> bool:
    return not _quiet.get() and sys.stderr.isatty()


def _found(counts: ProgressCounts) -> str:
    """What an ingest has found so far, while it does not know yet how much there is."""
    if isinstance(counts, IngestProgress) and counts.scanning:
        return f"{counts.files_total} files found, {size_text(counts.bytes_total)}"
    return ""


@contextmanager
def progress_bar(what: str) -> Generator[Callable[[ProgressCounts], None] | None]:
    """A progress bar on stderr while a person watches it; nothing, and None, where nobody does or wants to."""
    if not _is_watched():
        yield None
        return
    from artifactstore.cli.progress import shown_progress  # noqa: PLC0415 - only who watches pays for loading it

    with shown_progress(what, size_text) as show:
        yield lambda counts: show(counts.bytes, counts.bytes_total, _found(counts))


@contextmanager
def events_bar(what: str) -> Generator[Callable[[ReplayProgress], None] | None]:
    """As `progress_bar`, for what counts events."""
    if not _is_watched():
        yield None
        return
    from artifactstore.cli.progress import shown_progress  # noqa: PLC0415 - likewise

    with shown_progress(what, lambda count: f"{count} events") as show:
        yield lambda counts: show(counts.events, counts.events_total, "")
