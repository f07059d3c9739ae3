"""Log messages of artifactstore as a program: one handler on stderr, for people or for machines.

The library only emits records, to loggers below `artifactstore`; a program that embeds it decides what to do with them.
Here each record becomes one line: text on a terminal, JSON elsewhere. No line contains a secret or a payload:

- Messages of artifactstore contain ids, counts, sizes, times and places, but never names, metadata or contents.
- An exception is shown by its type and its stack. Its text may quote data, so it is shown only for errors that the
  operating system, the storage or the database reported.
- Messages of other libraries are shown without their arguments, and only from `WARNING` on.
- The password of the database is replaced by `***` in the resulting line.
"""

import json
import logging
import os
import re
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO, cast, override
from urllib.parse import unquote

from artifactstore.cli.output import printable
from artifactstore.database.errors import DatabaseUnavailable, OutcomeUnknown
from artifactstore.supervision.envelope import current_actor
from artifactstore.supervision.requests import current_request
from artifactstore_protocols.storage import StorageFault

__all__ = ["logging_to", "passwords_in"]

_OURS = "artifactstore"
_BLOT = "***"
_CAUSES_MAX = 8
# It may contain any character, as in SQLAlchemy's parser; a URL with another @ is rejected.
_PASSWORD = re.compile(r"^[^:]*://[^:/]*:(.+)@", re.DOTALL)


@contextmanager
def logging_to(stream: TextIO, level: str, *, secrets: Sequence[str] = ()) -> Generator[None]:
    """Write log records to a stream during the block, then restore the logging configuration.

    Args:
        stream: gets text if it is a terminal, JSON lines otherwise.
        level: level of the loggers of artifactstore; the level of all others is `WARNING`.
        secrets: texts that must never appear in the output.
    """
    handler = _Handler(stream)
    handler.setFormatter(_Text(secrets) if stream.isatty() else _JsonLine(secrets))
    root, ours = logging.getLogger(), logging.getLogger(_OURS)
    before = root.level, ours.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    ours.setLevel(level)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        ours.setLevel(before[1])


def passwords_in(url: str) -> tuple[str, ...]:
    """Return the password of a URL, both as written and percent-decoded; nothing if it has none."""
    found = _PASSWORD.search(url)
    return () if found is None else tuple({found[1], unquote(found[1])})


class _Handler(logging.StreamHandler[TextIO]):
    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """Ignore an error of the stream: the program continues without its log messages."""


class _Formatter(logging.Formatter):
    """Base of both formatters, which decides what a line may contain."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        self._secrets = sorted(secrets, key=len, reverse=True)

    def fields(self, record: logging.LogRecord) -> dict[str, str | int]:
        """Return the fields of a record that have a value."""
        ours = record.name == _OURS or record.name.startswith(f"{_OURS}.")
        found: dict[str, str | int | None] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage() if ours else str(record.msg).partition("\n")[0],
            "actor": getattr(record, "actor", None) or current_actor(),
            "request": current_request.get(),
            "package": getattr(record, "package", None),
            "pid": os.getpid(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            found["error"] = _told(record.exc_info[1])
        return {name: self._blotted(value) for name, value in found.items() if value is not None}

    def _blotted[V: (str, int)](self, value: V | str) -> V | str:
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, _BLOT)
        return value


class _JsonLine(_Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.fields(record))


class _Text(_Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        fields = self.fields(record)
        where = [f"{name} {fields[name]}" for name in ("actor", "request", "package") if name in fields]
        message = "\n  ".join(printable(line) for line in str(fields["message"]).splitlines())
        line = f"{fields['time']} {fields['level']:7} {message}"
        if where:
            line += f"  ({printable(', '.join(where))})"
        stack = [f"\n  {printable(part)}" for part in str(fields.get("error", "")).splitlines()]
        return "".join([line, *stack])


def _told(error: BaseException) -> str:
    """Return an exception and its causes as text, innermost last, each with its stack, its type and any safe text."""
    told: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(told) < _CAUSES_MAX:
        told.append(f"{_frames(seen.__traceback__)}{_headline(seen)}")
        if isinstance(seen, BaseExceptionGroup):
            parts = cast("BaseExceptionGroup[BaseException]", seen).exceptions
            told += [_told(part) for part in parts[:_CAUSES_MAX]]
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\ncaused by\n".join(told)


def _headline(error: BaseException) -> str:
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    if isinstance(error, StorageFault | DatabaseUnavailable | OutcomeUnknown):
        return f"{kind}: {error}"
    if isinstance(error, OSError) and error.strerror:
        return f"{kind}: {error.strerror}"
    return kind


def _frames(where: TracebackType | None) -> str:
    return "".join(traceback.format_list(traceback.extract_tb(where)))
