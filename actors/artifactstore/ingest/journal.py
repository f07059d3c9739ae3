"""The resume journal: what an ingest of a directory leaves for the one that comes after an interrupt.

One small file for one ingest of one directory, in a directory that its owner chose. It begins with the idempotency key
that the package is about to be created with, so that the same package is found again however early the process died,
and goes on with notes of the files that were read, a line a batch. It is a hint and no more (`resuming` decides what is
believed): one that is damaged, or cannot be written, makes an ingest read more, and is never its error. It is locked
while it is in use; a second ingest that runs at the same time goes without, and so does one that finds something else
than an ordinary file in the journal's place.
"""

import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, cast

from artifactstore.ids import new_id, now_us
from artifactstore.ingest.resuming import Note
from artifactstore.ingest.scan import FileStamp
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.ids import check_id

__all__ = ["Journal"]

_VERSION = 1
_KEPT_S = 7 * 24 * 3600
"""How long the journal of an ingest that nobody went on with is kept."""

_SWEPT_MAX = 10_000
"""How many journals are looked at in one go for those that are to be removed."""

_LINE_BYTES_MAX = 16 << 20
"""The longest line that is read: it notes a batch of files, whose paths are limited. A longer one is damage."""

_NOTES_A_FILE = 10
_NOTES_MORE = 10_000
"""Notes that are read at most: these, and ten for each file of the directory. A file is noted again when it changed
between two interrupted runs; a journal that has more notes was not written by ingests."""

_SUFFIX = ".artifactstore-ingest"
_MALFORMED = (ValueError, TypeError, KeyError, OverflowError, RecursionError, InvalidValue)


class Journal:
    """One journal, open and locked, or none: then it is empty and what is written to it is forgotten.

    Attributes:
        key: what the package is created with; None where there is no journal.
        begun: whether an ingest has got as far as creating its package.
    """

    def __init__(self) -> None:
        self.key: str | None = None
        self.begun = False
        self._notes: dict[str, Note] = {}
        self._file: tuple[Path, int] | None = None
        self._finished = False

    @property
    def notes(self) -> Mapping[str, Note]:
        """Files that were read, by path."""
        return MappingProxyType(self._notes)

    @classmethod
    def open(
        cls, directory: Path | None, name: str, check_wanted: Callable[[], None] = lambda: None, *, files: int = 0
    ) -> Self:
        """Open or begin the journal of this name. Blocks, as all of this does: call it from a worker thread.

        Args:
            directory: where journals are; made if there is none. None is for going without.
            name: of the journal, hex digits made of everything that two ingests must share to be the same.
            check_wanted: raises when the journal is not wanted any more.
            files: how many files the ingest is about.
        """
        journal = cls()
        if directory is None:
            return journal
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sweep(directory, check_wanted)
            path = directory / f"{name}{_SUFFIX}"
            descriptor = _locked(path)
            if descriptor is not None:
                journal._file = path, descriptor
                journal._load(descriptor, _NOTES_A_FILE * files + _NOTES_MORE, check_wanted)
        except OSError:
            journal.close()
            return cls()
        except BaseException:
            journal.close()
            raise
        return journal

    def begin(self) -> None:
        """Note that from now on there may be something to go on with: the package of this key."""
        if not self.begun:
            self.begun = True
            self._append({"journal": _VERSION, "key": self.key})

    def note(self, files: Iterable[tuple[str, Note]]) -> None:
        """Note files that were read and stored, before or after their records are committed."""
        noted = dict(files)
        self._notes |= noted
        if noted:
            self._append({"files": [_row(path, note) for path, note in noted.items()]})

    def restart(self) -> None:
        """Forget everything; what begins next has another key."""
        self.begun = False
        self._notes.clear()
        if self._file is not None:
            self.key = new_id()
            with suppress(OSError):
                os.ftruncate(self._file[1], 0)

    def finish(self) -> None:
        """There is nothing left to go on with."""
        self._finished = True

    def close(self) -> None:
        """Give it up; what no later run could use is removed."""
        if self._file is None:
            return
        path, descriptor = self._file
        self._file = None
        if self._finished or not self.begun:
            with suppress(OSError):
                path.unlink()
        os.close(descriptor)

    def _load(self, descriptor: int, notes_max: int, check_wanted: Callable[[], None]) -> None:
        good = read = 0
        with suppress(*_MALFORMED), os.fdopen(os.dup(descriptor), "rb") as lines:
            while (line := lines.readline(_LINE_BYTES_MAX)).endswith(b"\n"):
                check_wanted()
                read += self._take(json.loads(line))
                good += len(line)
                if read > notes_max:
                    break
        os.ftruncate(descriptor, good)  # what was torn when its writer died must not spoil what comes after it
        self.key = self.key or new_id()

    def _take(self, line: dict[str, Any]) -> int:  # or whatever else JSON can be, and then using it fails
        if self.begun:
            rows = cast("list[list[Any]]", line["files"])
            self._notes |= dict(map(_noted, rows))
            return len(rows)
        if line["journal"] == _VERSION:
            self.key = check_id("idempotency key", line["key"])
            self.begun = True
            return 0
        raise ValueError("another release's")

    def _append(self, line: object) -> None:
        if self._file is not None:
            try:
                os.write(self._file[1], json.dumps(line).encode() + b"\n")
            except OSError:
                self.close()


def _row(path: str, note: Note) -> list[str | int]:
    stamp = note.stamp
    return [
        path,
        note.content_address,
        stamp.size_bytes,
        stamp.mtime_ns,
        stamp.ctime_ns,
        stamp.inode,
        stamp.device,
    ]


def _noted(row: list[Any]) -> tuple[str, Note]:
    path, content_address, *stamp = row
    return str(path), Note(FileStamp(*map(int, stamp)), str(content_address))


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock of the file; None if somebody else has it, or it is no file of a journal's."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:  # reading a FIFO would never end
                os.close(descriptor)
                return None
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last owner removed it between our opening and our locking it


def _sweep(directory: Path, check_wanted: Callable[[], None]) -> None:
    """Remove journals that nobody went on with. One that is locked is in use, however old it is."""
    kept_since_s = now_us() / 1_000_000 - _KEPT_S
    with os.scandir(directory) as found:
        for entry in islice(found, _SWEPT_MAX):
            check_wanted()
            with suppress(OSError):
                if entry.name.endswith(_SUFFIX) and entry.stat(follow_symlinks=False).st_mtime < kept_since_s:
                    _remove_unless_locked(entry.path)


def _remove_unless_locked(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)  # noqa: PTH108 - a plain string
    finally:
        os.close(descriptor)
