"""What a command prints: facts as JSON for scripts or as lines for people, and progress while a person watches."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Protocol

from artifactstore.facts import Json, as_json

__all__ = ["ProgressCounts", "printable", "progress_bar", "say", "say_json", "size_text", "write_bytes"]


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


def say(text: str) -> None:
    """A line for people, on stdout."""
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


@contextmanager
def progress_bar(what: str) -> Generator[Callable[[ProgressCounts], None] | None]:
    """A progress bar on stderr while a person watches it; nothing, and None, where nobody does."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - only a person at a terminal pays for loading it
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    # By default it would take over stdout as well and write it to its own console, which is stderr.
    with Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    ) as progress:
        task = progress.add_task(what, total=None)

        def update(counts: ProgressCounts) -> None:
            progress.update(task, completed=counts.bytes, total=counts.bytes_total)

        yield update
