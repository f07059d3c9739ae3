"""The guard of a SQLite file: makes sure that the files at its paths are the ones that are open, and whole.

SQLite commits into a deleted or truncated write-ahead log without an error, and such a commit is lost. So the guard
compares three files before and after each commit: the database, the write-ahead log (`-wal`) and its index (`-shm`).
The index says where the last commit ends; the guard reads that frame back from the log (sqlite.org/walformat.html).

The guard holds a connection of its own. As long as it is open, SQLite itself removes none of the three files.
"""

import os
import sqlite3
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from artifactstore.database.access import Access, side_files
from artifactstore.database.errors import DatabaseReplaced, DatabaseUnavailable

__all__ = ["FileGuard", "SnapshotGuard"]

_INDEX: Final = struct.Struct("=12xBxHI4x2I8s8x")
"""The header of the index, which has two copies of it: is it complete, page size, last frame, its checksum, salts."""
_BACKFILLED_AT: Final = 2 * _INDEX.size
"""Where the index keeps how many frames are in the database file already."""
_INDEX_BYTES: Final = _BACKFILLED_AT + 4
_LOG_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_MAGIC: Final = {0x377F0682, 0x377F0683}
_SALTS: Final = slice(16, 24)
_LOOKS_MAX: Final = 100
"""Other processes write the index all the time; one look takes microseconds, and a commit of theirs milliseconds."""

_RESTART: Final = "restart every process of the store"
_SAVED: Final = f"Everything acknowledged is safe; {_RESTART}"
_MAYBE_LOST: Final = f"Acknowledged events may be lost: {_RESTART}, then compare `artifactstore events` with a backup"

type _Identity = tuple[int, int] | None


class _Index(Struct, frozen=True):
    """What the index says of the log.

    Attributes:
        page_bytes: size of a page.
        last: number of the frame that ends the last commit; 0 if the log is empty.
        checksum: of all frames up to that one, as its header has it.
        salts: what marks the frames of this round of the log.
        backfilled: how many frames are in the database file already.
    """

    page_bytes: int
    last: int
    checksum: bytes
    salts: bytes
    backfilled: int

    def frame_at(self, frame: int) -> int:
        """Where a frame begins in the log."""
        return _LOG_HEADER_BYTES + (frame - 1) * (_FRAME_HEADER_BYTES + self.page_bytes)


class FileGuard:
    """Watches one open database file. All its calls block for microseconds, but for the first.

    Args:
        path: of the database. It exists, and is in WAL mode.
        access: to it, to write.
        lock_timeout_s: how long opening waits for another process that recovers the log.

    Raises:
        DatabaseReplaced: the write-ahead log is not the one that its index describes.
        sqlite3.Error, OSError: it cannot be opened.
    """

    def __init__(self, path: Path, access: Access, *, lock_timeout_s: float) -> None:
        self._path = path
        self._log_path, self._index_path = side_files(path)
        self._damaged = False
        self._last: _Index | None = None
        self._connection = access.connect(timeout_s=lock_timeout_s)
        try:
            self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # opens the log and its index
            self._file = _identity(path)
            self._index = _identity(self._index_path)
            # SQLite holds no lock on the log. On the other two, closing a descriptor would drop those of the process.
            self._log_fd = os.open(self._log_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except BaseException:
            self._connection.close()
            raise
        try:
            found = os.fstat(self._log_fd)
            self._log: _Identity = found.st_dev, found.st_ino
            self._index_fd = _descriptor_of(self._index)
            self.check()
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Make sure that what was committed is in the files at these paths.

        Raises:
            DatabaseReplaced: one of the files is deleted, replaced, truncated or overwritten.
            DatabaseUnavailable: nobody can tell.
        """
        for path, known in ((self._path, self._file), (self._index_path, self._index), (self._log_path, self._log)):
            try:
                found = _identity(path)
            except OSError as error:
                raise DatabaseUnavailable(str(path), f"it cannot be looked at ({error.strerror})") from error
            if found == known:
                continue
            how = "deleted" if found is None else "replaced by another file"
            if path == self._path:
                raise DatabaseReplaced(str(path), how)
            saved = path == self._index_path or self._save()
            raise DatabaseReplaced(str(path), how, _SAVED if saved else _MAYBE_LOST)
        if self._index_fd is not None and os.fstat(self._index_fd).st_size < _INDEX_BYTES:
            self._damaged = True
            raise DatabaseReplaced(self._index_path, "truncated", _SAVED)
        if not self._log_is_whole():
            self._damaged = True
            raise DatabaseReplaced(self._log_path, "truncated or overwritten", _MAYBE_LOST)

    def _save(self) -> bool:
        """Copy a log that is open and has lost its name into the database file. Whether all of it could be copied."""
        if not self._log_is_whole():
            self._damaged = True
            return False
        with suppress(sqlite3.Error):
            busy, frames, copied = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            return not busy and frames == copied
        return False

    def _log_is_whole(self) -> bool:
        """Whether the log has the frame that ends the last commit, and the one that ended it at the last call."""
        for _ in range(_LOOKS_MAX):
            before = self._read_index()
            if before is None or before.last <= before.backfilled:
                return True
            if self._has(before, before.last, before.checksum) and self._has_earlier(before):
                self._last = before
                return True
            after = self._read_index()
            if after is None or (after.last, after.salts) == (before.last, before.salts):
                return after is None or after.last <= after.backfilled
        return True

    def _has_earlier(self, index: _Index) -> bool:
        last = self._last
        if last is None or last.salts != index.salts:
            return True
        return self._has(index, last.last, last.checksum)

    def _has(self, index: _Index, frame: int, checksum: bytes) -> bool:
        header = os.pread(self._log_fd, _LOG_HEADER_BYTES, 0)
        if len(header) < _LOG_HEADER_BYTES or int.from_bytes(header[:4]) not in _MAGIC:
            return False
        found = os.pread(self._log_fd, _FRAME_HEADER_BYTES, index.frame_at(frame))
        whole = os.fstat(self._log_fd).st_size >= index.frame_at(frame + 1)
        return whole and header[_SALTS] == index.salts and found[8:] == index.salts + checksum

    def _read_index(self) -> _Index | None:
        """The index as it is now; None where it cannot be read, or nobody has made one."""
        for _ in range(_LOOKS_MAX):
            if self._index_fd is None:
                return None
            data = os.pread(self._index_fd, _INDEX_BYTES, 0)
            if len(data) < _INDEX_BYTES or data[: _INDEX.size] != data[_INDEX.size : _BACKFILLED_AT]:
                continue  # it is being written
            initialized, page, last, first_sum, second_sum, salts = _INDEX.unpack_from(data)
            if not initialized:
                return None
            return _Index(
                page_bytes=(page & 0xFE00) + ((page & 1) << 16),
                last=last,
                checksum=first_sum.to_bytes(4) + second_sum.to_bytes(4),
                salts=salts,
                backfilled=int.from_bytes(data[_BACKFILLED_AT:_INDEX_BYTES], sys.byteorder),
            )
        return None

    def close(self) -> None:
        """Close it, after all other connections of the store.

        SQLite folds the log into the database file when the last connection of all processes is closed. Folding in
        what is left of a damaged one would damage the database.
        """
        os.close(self._log_fd)
        self._connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, self._damaged)
        self._connection.close()


class SnapshotGuard:
    """Watches a database file that is only read.

    Args:
        path: of the database.
        access: how it is read. Without locks, nobody else may change it meanwhile.
    """

    def __init__(self, path: Path, access: Access) -> None:
        log, _index = side_files(path)
        self._path = path
        self._watched = (path,) if access.is_locked else (path, Path(log))
        self._is_locked = access.is_locked
        self._seen = self._look()

    def check(self) -> None:
        """Make sure that what is read is in the files at these paths.

        Raises:
            DatabaseReplaced: another file is there, or somebody has changed what is read without locks.
        """
        if self._look() != self._seen:
            raise DatabaseReplaced(str(self._path), "changed by another process", "Start again to read what it is now")

    def _look(self) -> list[tuple[int, ...]]:
        seen: list[tuple[int, ...]] = []
        for path in self._watched:
            with suppress(FileNotFoundError, NotADirectoryError):
                found = path.stat()
                change = () if self._is_locked else (found.st_size, found.st_mtime_ns)
                seen.append((found.st_dev, found.st_ino, *change))
        return seen

    def close(self) -> None:
        """Nothing is open."""


def _identity(path: Path | str) -> _Identity:
    try:
        found = os.stat(path)  # noqa: PTH116 - on the way of every commit
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _descriptor_of(identity: _Identity) -> int | None:
    """The descriptor by which SQLite has a file open; None where the system does not list descriptors."""
    try:
        listed = os.listdir("/proc/self/fd")  # noqa: PTH208 - names are what is needed
    except OSError:
        return None
    for name in listed:
        with suppress(OSError):  # the one that the list was read through
            found = os.fstat(int(name))
            if (found.st_dev, found.st_ino) == identity:
                return int(name)
    return None
