"""Progress as lines on stderr, at regular intervals: text for the log of a CI job, or JSON for tools.

The counts of a command are a record such as `IngestProgress`. It has `files`, `objects`, `events` or `bytes`, each with
its `_total`, and `scanning` if the command first looks for its files.

A thread writes the lines, so that they also come while a command works on one large file. Text begins only after the
first interval, so a short command prints none. JSON also has a line at the start and one at the end.
"""

import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, Literal

from msgspec import Struct

from artifactstore.cli.output import printable, size_text
from artifactstore.json_output import Json, json_text

__all__ = [
    "JSON_EVERY_S",
    "PLAIN_EVERY_S",
    "ProgressLines",
    "amount_text",
    "elapsed_text",
    "found_text",
    "progress_lines",
]

PLAIN_EVERY_S: Final = 5.0
"""Seconds between two lines of text: often enough to see that a job works, and 720 lines an hour."""

JSON_EVERY_S: Final = 1.0
"""Seconds between two lines of JSON."""

_COUNTED: Final = ("files", "objects", "events")
_ALWAYS: Final = frozenset({"files", "bytes"})
"""Fields that every line of JSON has; they are null if a command does not count them."""


def elapsed_text(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds: 0:01:05."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}"


def found_text(counts: Struct) -> str:
    """Return what a command has found so far, while it scans; an empty text afterwards."""
    if not getattr(counts, "scanning", False):
        return ""
    return f"{_count(counts, 'files_total')} files found, {size_text(_count(counts, 'bytes_total') or 0)}"


def amount_text(done: int, total: int | None, text_of: Callable[[int], str]) -> str:
    """Return what is done, and of how much if that is known: 3 of 7."""
    return text_of(done) if total is None else f"{text_of(done)} of {text_of(total)}"


class ProgressLines:
    """The progress of one command: the latest counts, and the lines that describe them.

    Args:
        command: name of the command.
        form: text or JSON.
        clock: returns seconds that never decrease.
    """

    def __init__(
        self, command: str, form: Literal["plain", "json"], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._command = command
        self._form = form
        self._clock = clock
        self._begun = clock()
        self._counts: Struct | None = None

    def show(self, counts: Struct) -> None:
        """Take the latest counts."""
        self._counts = counts

    def line(self, phase: Literal["run", "done", "failed"]) -> str:
        """Return a line with the latest counts. A command that runs may be starting or scanning."""
        counts = self._counts
        if phase == "run" and counts is None:
            said = "start"
        else:
            said = "scan" if phase == "run" and getattr(counts, "scanning", False) else phase
        elapsed_s = self._clock() - self._begun
        if self._form == "json":
            return json_text(self._fields(said, elapsed_s))
        return f"artifactstore: {printable(self._command)}: {self._text(said)}, {elapsed_text(elapsed_s)}"

    def _fields(self, phase: str, elapsed_s: float) -> dict[str, Json]:
        fields: dict[str, Json] = {"command": self._command, "phase": phase}
        for name in ("files", "objects", "events", "bytes"):
            if name in _ALWAYS or hasattr(self._counts, name):
                fields[f"{name}_done"] = _count(self._counts, name)
                fields[f"{name}_total"] = _count(self._counts, f"{name}_total")
        return {**fields, "elapsed_s": round(elapsed_s, 1)}

    def _text(self, phase: str) -> str:
        if self._counts is None:
            return "starting"
        if phase == "scan":
            return found_text(self._counts)
        parts = [
            f"{amount_text(done, _count(self._counts, f'{name}_total'), str)} {name}"
            for name in _COUNTED
            if (done := _count(self._counts, name)) is not None
        ]
        if (size := _count(self._counts, "bytes")) is not None:
            parts.append(amount_text(size, _count(self._counts, "bytes_total"), size_text))
        return ", ".join(parts)


def _count(counts: Struct | None, name: str) -> int | None:
    return getattr(counts, name, None)


@contextmanager
def progress_lines(
    command: str,
    form: Literal["plain", "json"],
    *,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
) -> Generator[Callable[[Struct], None]]:
    """Write lines about the progress during the block, and yield the callback for its counts.

    Args:
        command: name of the command.
        form: text or JSON.
        clock: returns seconds that never decrease.
        wait: waits for an event, at most some seconds, and returns whether it is set.
    """
    lines = ProgressLines(command, form, clock)
    over = threading.Event()

    def beat() -> None:
        while not wait(over, JSON_EVERY_S if form == "json" else PLAIN_EVERY_S):
            _write(lines.line("run"))

    if form == "json":
        _write(lines.line("run"))
    thread = threading.Thread(target=beat, name="progress", daemon=True)
    thread.start()
    complete = False
    try:
        yield lines.show
        complete = True
    finally:
        over.set()
        thread.join()
        if form == "json":
            _write(lines.line("done" if complete else "failed"))


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
