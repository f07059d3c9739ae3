"""Guards of a SQLite database, which check that the files at its paths are the open files and are complete.

SQLite commits into a deleted or truncated write-ahead log without an error, and such a commit is lost. So `FileGuard`
checks three files before and after each commit: the database, the write-ahead log (`-wal`) and its index (`-shm`). The
index says where the last commit ends, and the guard reads that frame from the log (sqlite.org/walformat.html).

The guard keeps a separate connection open, so that SQLite itself does not remove any of the three files.
"""

import os
import sqlite3
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from artifactstore.database.errors import DatabaseReplaced, DatabaseUnavailable
from artifactstore.sqlite_access import Access, side_files

__all__ = ["FileGuard", "SnapshotGuard"]

_INDEX: Final = struct.Struct("=12xBxHI4x2I8s8x")
"""One of the two copies of the index header: initialized flag, page size, last frame and its checksum, salts."""
_BACKFILLED_AT: Final = 2 * _INDEX.size
"""The offset in the index of the number of frames that are already copied into the database file."""
_INDEX_BYTES: Final = _BACKFILLED_AT + 4
_LOG_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_MAGIC: Final = {0x377F0682, 0x377F0683}
_SALTS: Final = slice(16, 24)
_LOOKS_MAX: Final = 100
"""The number of attempts to read an index that others write: a read takes microseconds, a commit milliseconds."""

_RESTART: Final = "restart every process of the store"
_SAVED: Final = f"Everything acknowledged is safe; {_RESTART}"
_MAYBE_LOST: Final = f"Acknowledged events may be lost: {_RESTART}, then compare `artifactstore events` with a backup"

type _Identity = tuple[int, int] | None


class _Index(Struct, frozen=True):
    """The state of the write-ahead log according to its index.

    Attributes:
        page_bytes: the size of a page.
        last: the number of the frame that ends the last commit; 0 if the log is empty.
        checksum: the checksum of all frames up to `last`, as stored in the header of that frame.
        salts: the salts in the header of each frame, which change when the log restarts.
        backfilled: the number of frames that are already copied into the database file.
    """

    page_bytes: int
    last: int
    checksum: bytes
    salts: bytes
    backfilled: int

    def frame_at(self, frame: int) -> int:
        """Return the offset of a frame in the log."""
        return _LOG_HEADER_BYTES + (frame - 1) * (_FRAME_HEADER_BYTES + self.page_bytes)


class FileGuard:
    """A guard of a database that is open to write. The constructor may wait; `check` blocks for microseconds.

    Args:
        path: the database file, which exists and is in WAL mode.
        access: an access that can write.
        lock_timeout_s: how long opening waits for another process that recovers the log.

    Raises:
        DatabaseReplaced: the write-ahead log does not match its index.
        sqlite3.Error, OSError: a file cannot be opened.
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
            # SQLite locks the other two files, where closing any descriptor would release the locks of this process.
            # It holds no lock on the log.
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
        """Check that the files at the paths are the open files and contain the last commit.

        Raises:
            DatabaseReplaced: a file was deleted, replaced, truncated or overwritten.
            DatabaseUnavailable: a file cannot be inspected.
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
        """Copy an open but unlinked log into the database file, and return whether all frames were copied."""
        if not self._log_is_whole():
            self._damaged = True
            return False
        with suppress(sqlite3.Error):
            busy, frames, copied = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            return not busy and frames == copied
        return False

    def _log_is_whole(self) -> bool:
        """Return whether the log has the final frame of the last commit, and the frame that the previous call found."""
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
        """Return the state in the index; None if it is not initialized or cannot be read consistently."""
        for _ in range(_LOOKS_MAX):
            if self._index_fd is None:
                return None
            data = os.pread(self._index_fd, _INDEX_BYTES, 0)
            if len(data) < _INDEX_BYTES or data[: _INDEX.size] != data[_INDEX.size : _BACKFILLED_AT]:
                continue  # a process is writing it
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
        """Close the guard's connection. Call this after all other connections of the store are closed.

        When the last connection of all processes closes, SQLite copies the log into the database file. A damaged log
        would damage the database, so the guard turns this off for a damaged log.
        """
        os.close(self._log_fd)
        self._connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, self._damaged)
        self._connection.close()


class SnapshotGuard:
    """A guard of a database that is open read-only.

    Args:
        path: the database file.
        access: the read-only access. If it takes no locks, the guard also rejects changes by other processes.
    """

    def __init__(self, path: Path, access: Access) -> None:
        log, _index = side_files(path)
        self._path = path
        self._watched = (path,) if access.is_locked else (path, Path(log))
        self._is_locked = access.is_locked
        self._seen = self._look()

    def check(self) -> None:
        """Check that the files at the paths are the open files, and are unchanged if they are read without locks.

        Raises:
            DatabaseReplaced: a file was replaced, or it was changed and is read without locks.
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
        """Do nothing, since this guard keeps no file open."""


def _identity(path: Path | str) -> _Identity:
    try:
        found = os.stat(path)  # noqa: PTH116 - faster, on the path of every commit
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _descriptor_of(identity: _Identity) -> int | None:
    """Return the descriptor of a file that SQLite has open; None if not found, or the system does not list them."""
    try:
        listed = os.listdir("/proc/self/fd")  # noqa: PTH208 - only names are needed
    except OSError:
        return None
    for name in listed:
        with suppress(OSError):  # the descriptor of the listing itself is closed by now
            found = os.fstat(int(name))
            if (found.st_dev, found.st_ino) == identity:
                return int(name)
    return None
