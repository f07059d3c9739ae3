"""A way to open a SQLite file, and the ways to read one in WAL mode without writing to it or beside it.

Three ways to read write nothing (sqlite.org/uri.html):

- If both `-wal` and `-shm` exist, SQLite reads the `-shm`, or rebuilds it in memory if no process uses it.
- If only a non-empty `-wal` exists, SQLite builds its index in memory and takes no locks. No process is writing then,
  since every writer has a `-shm`.
- Otherwise the database file is complete by itself, and SQLite reads it as an immutable file.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

from msgspec import Struct

__all__ = ["Access", "reading", "side_files", "size_of"]

_LOG: Final = "-wal"
_INDEX: Final = "-shm"


class Access(Struct, frozen=True):
    """One way to open a file.

    Attributes:
        uri: the URI for `sqlite3.connect`.
        read_only: the reason why the file cannot be written; None if it can.
        is_locked: whether readers take locks, which keep other processes from changing the data during a read.
        is_private: whether each connection has its own index of the write-ahead log in memory.
    """

    uri: str
    read_only: str | None = None
    is_locked: bool = True
    is_private: bool = False

    def connect(self, *, timeout_s: float) -> sqlite3.Connection:
        """Return a connection in autocommit mode, which any thread may use, one at a time."""
        connection = sqlite3.connect(
            self.uri, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False
        )
        for statement in self.first_statements():
            connection.execute(statement)
        return connection

    def first_statements(self) -> tuple[str, ...]:
        """Return the statements that each connection must execute first."""
        return ("PRAGMA locking_mode = EXCLUSIVE",) if self.is_private else ()


def side_files(path: Path) -> tuple[str, str]:
    """Return the paths of the write-ahead log and its index. SQLite keeps them beside the target of a link."""
    real = os.path.realpath(path)
    return real + _LOG, real + _INDEX


def size_of(file: str) -> int:
    """Return the size of a file in bytes; 0 if it cannot be found out."""
    try:
        return os.stat(file).st_size  # noqa: PTH116 - a path as text
    except OSError:
        return 0


def reading(path: Path, why: str) -> Access:
    """Return a read-only access to a file that this user may read; `why` is the reason not to write."""
    log, index = side_files(path)
    uri = f"file:{quote(os.fsencode(path))}?mode=ro"
    if os.path.exists(log) and os.path.exists(index):  # noqa: PTH110 - paths as text
        return Access(f"{uri}&readonly_shm=1", why)
    if size_of(log):
        return Access(f"{uri}&vfs=unix-none", why, is_locked=False, is_private=True)
    return Access(f"{uri}&immutable=1", why, is_locked=False)
