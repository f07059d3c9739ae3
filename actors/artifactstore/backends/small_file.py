"""The SQLite file of small objects, which threads and processes share.

SQLite does not serialize processes that switch a new file to WAL, and gives a new file a mode of its own. So one
process at a time creates the complete file under another name, then renames it. Network file systems are rejected,
because SQLite's locks and shared memory do not work there.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Final

from artifactstore.backends.filesystem_type import network_filesystem
from artifactstore.backends.os_errors import translated_os_errors
from artifactstore.database.access import obstacle_to_writing, to_read, to_write
from artifactstore.database.errors import DatabaseReplaced, DatabaseUnavailable
from artifactstore.database.file_guard import FileGuard, SnapshotGuard
from artifactstore.database.translation import write_obstacle
from artifactstore.durable import fsync_directory
from artifactstore.sqlite_access import Access, side_files
from artifactstore_protocols.storage import StorageDenied, StorageFailed, StorageFault, StorageFull

__all__ = ["SmallFile", "file_below", "is_damage", "log_without_file"]

_PAGE_BYTES: Final = 1024
"""Page size in bytes, measured in ADR 0024."""

_LOG_BYTES: Final = 32 << 20
"""Length of the write-ahead log, in bytes, from which SQLite copies it into the file."""

_SPILL_BYTES: Final = 32 << 20
"""Bytes of changed pages in memory from which a transaction writes some before it commits. The commit of a transaction
that did so, and then changed such a page again, reads and writes the log a second time. By itself SQLite does it from
2 MB on, but a batch of small files has more."""

_BUSY_TIMEOUT_S: Final = 60.0
"""Seconds that a writer waits for writers of other processes, whose transactions take about 10 ms each."""

_TABLE: Final = (
    "CREATE TABLE objects (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, stored_at INTEGER NOT NULL, "
    "content BLOB NOT NULL)"
)
_TABLE_OF: Final = "SELECT sql FROM sqlite_master WHERE name = 'objects'"
_SCHEMA: Final = f"""
{_TABLE};
CREATE TABLE canary (id INTEGER PRIMARY KEY, token BLOB NOT NULL);
"""

_DAMAGE: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_READ", "SQLITE_IOERR_SHORT_READ")
_DENIED: Final = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")


def file_below(root: Path) -> Path:
    """Return the path of the file of small objects below a root."""
    return root / "small" / "objects.db"


def log_without_file(path: Path) -> str | None:
    """Return why a missing file must not be created; None if it may be.

    If the file is lost but its write-ahead log is there, SQLite would apply the log to a new file.
    """
    log = side_files(path)[0]
    try:
        found = os.stat(log).st_size  # noqa: PTH116 - the path is a str
    except FileNotFoundError:
        return None
    return f"it is gone, and its write-ahead log {log} is there" if found else None


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error means that the file has bytes that SQLite did not write or cannot read."""
    return _name_of(error).startswith(_DAMAGE)


class SmallFile:
    """The file and its connections. Any thread may call the methods."""

    __slots__ = (
        "_access",
        "_backend_id",
        "_checking",
        "_guard",
        "_idle",
        "_opening",
        "_path",
        "_read_only",
        "_root",
        "_writing",
    )

    def __init__(self, backend_id: str, root: str, *, read_only: bool = False) -> None:
        """Set the root that the file is below; open and create nothing."""
        self._read_only = read_only
        self._backend_id = backend_id
        self._root = root
        self._path = file_below(Path(root))
        self._access: Access | None = None
        self._guard: FileGuard | SnapshotGuard | None = None
        self._idle: list[sqlite3.Connection] = []
        self._opening = threading.Lock()
        self._checking = threading.Lock()
        self._writing = threading.Lock()

    @contextlib.contextmanager
    def reading(self, operation: str) -> Generator[sqlite3.Connection | None]:
        """Yield a connection for the block; None if there is no file. Each statement sees one snapshot.

        Raises:
            StorageDenied, StorageFailed: the file cannot be used, or another file has replaced it.
        """
        with self._faults(operation):
            obstacle = None
            try:
                there = self._open()
            except (sqlite3.Error, OSError) as error:  # SQLite cannot create its side files, as on a full disk
                there, obstacle = True, write_obstacle(error)
                if obstacle is None:
                    raise
            if not there:
                yield None
            elif obstacle is not None:
                with self._only_read(obstacle) as connection:
                    yield connection
            else:
                self._check()
                with self._connection() as connection:
                    yield connection

    @contextlib.contextmanager
    def writing(self, operation: str) -> Generator[sqlite3.Connection]:
        """Yield a connection in a transaction, which is on disk after the block; create a missing file first.

        Raises:
            StorageFull, StorageDenied, StorageFailed: nothing of the block is stored.
        """
        with self._faults(operation), self._writing:
            if not self._open():
                self._make()
                self._open()
            if self._access is not None and self._access.read_only is not None:
                raise StorageDenied(self._backend_id, operation, self._access.read_only)
            self._check()
            with self._connection() as connection:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            self._check()

    @contextlib.contextmanager
    def between_transactions(self, operation: str) -> Generator[sqlite3.Connection]:
        """Yield a connection outside a transaction, for statements that begin their own or need none.

        Raises:
            StorageFull, StorageDenied, StorageFailed: a statement failed.
        """
        with self._faults(operation), self._writing:
            self._check()
            with self._connection() as connection:
                yield connection
            self._check()

    def size_bytes(self) -> int:
        """Return the size of the file and its write-ahead log in bytes."""
        sizes = 0
        for path in (str(self._path), side_files(self._path)[0]):
            with contextlib.suppress(FileNotFoundError):
                sizes += os.stat(path).st_size  # noqa: PTH116 - some are str
        return sizes

    def write_canary(self) -> None:
        """Commit a row and read it back.

        Raises:
            StorageFault: the file cannot be written, or does not have the row afterwards.
        """
        with self.writing("writing a canary") as connection:
            connection.execute("INSERT OR REPLACE INTO canary VALUES (1, ?)", (os.urandom(16),))
        with self.reading("reading a canary") as connection:
            found = connection and connection.execute("SELECT 1 FROM canary WHERE length(token) = 16").fetchone()
        if not found:
            raise StorageFailed(self._backend_id, "reading a canary", "it is not there")

    def close(self) -> None:
        """Close all connections. Does nothing if already closed."""
        while self._idle:
            self._idle.pop().close()
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    def _open(self) -> bool:
        """Open the file unless it is open; return False if there is none."""
        with self._opening:
            if self._guard is None and os.path.lexists(self._path):
                why = "it is opened to be read only" if self._read_only else None
                if why is None:
                    self._refuse_network()
                    why = obstacle_to_writing(self._path)
                self._access = to_write(self._path) if why is None else to_read(self._path, why)
                if why is None:
                    self._guard = FileGuard(self._path, self._access, lock_timeout_s=_BUSY_TIMEOUT_S)
                else:
                    self._guard = SnapshotGuard(self._path, self._access)
            return self._guard is not None

    def _check(self) -> None:
        with self._checking:
            if self._guard is not None:
                self._guard.check()

    @contextlib.contextmanager
    def _connection(self) -> Generator[sqlite3.Connection]:
        """Yield an open connection. If the block fails, close the connection, which rolls back."""
        connection = self._idle.pop() if self._idle else self._connect()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    @contextlib.contextmanager
    def _only_read(self, why: str) -> Generator[sqlite3.Connection]:
        """Yield a read-only connection to the current content. The next call tries to open the file as usual."""
        access = to_read(self._path, why)
        guard = SnapshotGuard(self._path, access)
        with contextlib.closing(access.connect(timeout_s=_BUSY_TIMEOUT_S)) as connection:
            self._check_table(connection)
            yield connection
        guard.check()

    def _connect(self) -> sqlite3.Connection:
        if self._access is None:
            raise AssertionError("connected before the file was opened")
        connection = self._access.connect(timeout_s=_BUSY_TIMEOUT_S)
        try:
            self._check_table(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")  # a purge must leave no copy in a free page
            connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_BYTES // _PAGE_BYTES}")
            connection.execute(f"PRAGMA cache_spill = {_SPILL_BYTES // _PAGE_BYTES}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_table(self, connection: sqlite3.Connection) -> None:
        """Reject a table or a view that only has the name: a query on it may never end."""
        if connection.execute(_TABLE_OF).fetchone() != (_TABLE,):
            raise sqlite3.DatabaseError(f"{self._path} has another table of objects than artifactstore makes")

    def _refuse_network(self) -> None:
        if (name := network_filesystem(self._root)) is not None:
            cause = f"{self._root} is on {name}, a network file system; set ARTIFACTSTORE_STORAGE_SMALL_MAX=0"
            raise StorageFailed(self._backend_id, "opening the file of small objects", cause)

    def _make(self) -> None:
        self._refuse_network()
        directory = self._path.parent
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not os.path.lexists(self._path):
                if (lost := log_without_file(self._path)) is not None:
                    cause = f"{self._path} is lost: {lost}; put both back, or move the log away and run verify"
                    raise StorageFailed(self._backend_id, "making the file of small objects", cause)
                self._build(self._path.with_name("objects.new"))
            os.fsync(fd)
            fsync_directory(self._root)
        finally:
            os.close(fd)

    def _build(self, fresh: Path) -> None:
        for leftover in (fresh, f"{fresh}-wal", f"{fresh}-shm"):  # left by a process that died here
            with contextlib.suppress(FileNotFoundError):
                os.unlink(leftover)  # noqa: PTH108 - some are str
        os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))  # the umask applies
        with contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first table
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
        fd = os.open(fresh, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        fresh.rename(self._path)

    @contextlib.contextmanager
    def _faults(self, operation: str) -> Generator[None]:
        """Turn errors of SQLite, the guard and the operating system into errors of a backend."""
        try:
            with translated_os_errors(self._backend_id, operation):
                yield
        except sqlite3.Error as error:
            raise self._fault(operation, error) from error
        except DatabaseReplaced as error:
            then = "start again" if self._read_only else "restart every process of the store, then run verify"
            cause = f"{self._path.parent} was {error.reason}; {then}"
            raise StorageFailed(self._backend_id, operation, cause) from error
        except DatabaseUnavailable as error:
            raise StorageDenied(self._backend_id, operation, error.reason) from error

    def _fault(self, operation: str, error: sqlite3.Error) -> StorageFault:
        name = _name_of(error)
        if name.startswith("SQLITE_FULL"):
            return StorageFull(self._backend_id, operation, name)
        if name.startswith(_DENIED):
            return StorageDenied(self._backend_id, operation, name)
        if is_damage(error):
            name = f"{name}: {self._path} is damaged or cannot be read"
        return StorageFailed(self._backend_id, operation, name)


def _name_of(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", None) or str(error)
