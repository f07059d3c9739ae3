"""How a SQLite file is opened: to read and write, or only to read where nothing can be written, and why not.

SQLite reads a file in WAL mode only if it can make the `-shm` file beside it. Where it cannot (a read-only mount, no
permission, a full disk), there are three ways to read (sqlite.org/uri.html), and none of them writes anything:

- there are a `-wal` and a `-shm`: the `-shm` is read, or rebuilt in memory if nobody uses it;
- there is a `-wal` that holds something: its index is built in memory, without locks. Nobody writes, since a writer
  has a `-shm`;
- there is neither: the file is all there is, and it is read as one that does not change.
"""

import asyncio
import os
import sqlite3
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from artifactstore.database.errors import DatabaseUnavailable
from artifactstore.database.translation import DRIVER_ERRORS, write_obstacle
from artifactstore.permissions import may, owner_of

__all__ = ["Access", "obstacle_to_writing", "side_files", "to_read", "to_write", "with_access"]

_LOG: Final = "-wal"
_INDEX: Final = "-shm"
_PROTECTED_REGULAR: Final = Path("/proc/sys/fs/protected_regular")


class Access(Struct, frozen=True):
    """One way to open a file.

    Attributes:
        uri: for `sqlite3.connect`.
        read_only: why nothing can be written; None if it can.
        is_locked: whether locks keep others from changing what is read.
        is_private: whether each connection has an index of the log for itself, in memory.
    """

    uri: str
    read_only: str | None = None
    is_locked: bool = True
    is_private: bool = False

    def connect(self, *, timeout_s: float) -> sqlite3.Connection:
        """A connection without transactions of its own, for any one thread at a time."""
        connection = sqlite3.connect(
            self.uri, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False
        )
        for statement in self.first_statements():
            connection.execute(statement)
        return connection

    def first_statements(self) -> tuple[str, ...]:
        """What a connection is told before anything else."""
        return ("PRAGMA locking_mode = EXCLUSIVE",) if self.is_private else ()


def side_files(path: Path) -> tuple[str, str]:
    """The paths of the write-ahead log and of its index. SQLite keeps them beside the file that a link leads to."""
    real = os.path.realpath(path)
    return real + _LOG, real + _INDEX


async def with_access[T](path: Path | None, work: Callable[[Access | None], Awaitable[T]]) -> T:
    """Open a database by `work`: to write if that can be, else only to read.

    Args:
        path: of the file; None for a server's database, which `work` opens as it is.
        work: called again, with another access, if the first one does not let it write.

    Raises:
        DatabaseUnavailable: this user may not read one of the files.
        What `work` raises.
    """
    if path is None:
        return await work(None)
    obstacle = await asyncio.to_thread(obstacle_to_writing, path)
    if obstacle is None:
        try:
            return await work(to_write(path))
        except DRIVER_ERRORS as error:
            obstacle = write_obstacle(error)
            if obstacle is None or not _holds_something(path):
                raise
    return await work(await asyncio.to_thread(to_read, path, obstacle))


def obstacle_to_writing(path: Path) -> str | None:
    """Why this user cannot write to an existing database, as far as can be told without trying."""
    if not os.path.lexists(path):
        return None
    directory = os.path.realpath(path.parent)
    lock = f"{path}.lock"
    written = (os.path.realpath(path), *side_files(path))
    there = [file for file in (*written, lock) if os.path.exists(file)]  # noqa: PTH110 - names are compared as text
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        return f"the file system of {directory} is mounted read-only"
    for file in there:
        mode, verb = (os.R_OK, "read") if file == lock else (os.W_OK, "write to")
        if not may(file, mode):
            return f"this user may not {verb} {file}, which belongs to {owner_of(file)}"
        if file != lock and _is_protected(file, os.stat(directory)):  # noqa: PTH116 - likewise
            return f"{directory} is sticky, and {file} belongs to {owner_of(file)}"
    if len(there) < len(written) + 1 and not may(directory, os.W_OK | os.X_OK):
        return f"this user may not write in {directory}, which belongs to {owner_of(directory)}"
    return None


def _is_protected(file: str, directory: os.stat_result) -> bool:
    """Whether the kernel keeps a user from opening a file as SQLite does (proc(5), `fs.protected_regular`)."""
    shared = directory.st_mode & stat.S_ISVTX and directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not shared or os.stat(file).st_uid in {os.geteuid(), directory.st_uid}:  # noqa: PTH116 - a name that is text
        return False
    try:
        return _PROTECTED_REGULAR.read_text().strip() != "0"
    except OSError:
        return False


def _holds_something(path: Path) -> bool:
    return any(_size(file) for file in (str(path), side_files(path)[0]))


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size  # noqa: PTH116 - a name that is text
    except OSError:
        return 0


def to_write(path: Path, *, make: bool = False) -> Access:
    """Open a file to write. With `make`, it is made if it is not there; else one that is gone is not made again."""
    return Access(f"file:{quote(os.fsencode(path))}?mode={'rwc' if make else 'rw'}")


def to_read(path: Path, why: str) -> Access:
    """Open a file that cannot be written to only read it; `why` says what keeps it from being written.

    Raises:
        DatabaseUnavailable: this user may not read one of the files.
    """
    log, index = side_files(path)
    for file in (str(path), log, index):
        if os.path.exists(file) and not may(file, os.R_OK):  # noqa: PTH110 - likewise
            raise DatabaseUnavailable(str(path), f"this user may not read {file}, which belongs to {owner_of(file)}")
    uri = f"file:{quote(os.fsencode(path))}?mode=ro"
    if os.path.exists(log) and os.path.exists(index):  # noqa: PTH110 - likewise
        return Access(f"{uri}&readonly_shm=1", why)
    if _size(log):
        return Access(f"{uri}&vfs=unix-none", why, is_locked=False, is_private=True)
    return Access(f"{uri}&immutable=1", why, is_locked=False)
