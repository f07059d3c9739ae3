"""What a command prints: facts as JSON for scripts or as lines for people, and progress while a person watches."""

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from artifactstore.facts import Json, as_json
from artifactstore_protocols.records import IngestProgress, ReplayProgress

__all__ = [
    "ProgressCounts",
    "as_loud_as_before",
    "events_bar",
    "hush",
    "left_out_text",
    "printable",
    "progress_bar",
    "say",
    "say_json",
    "size_text",
    "write_bytes",
]


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
    sys.stdout.buffer.write(f"{as_json(value)}\n".encode())


def write_bytes(payload: bytes) -> None:
    """Exact bytes on stdout."""
    sys.stdout.buffer.write(payload)
    sys.stdout.buffer.flush()


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
