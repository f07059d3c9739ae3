"""A storage backend of one's own: every object in one SQLite file, in place of a directory of files.

Run me: python sqlite_backend.py DIRECTORY
It finalizes the directory into a store that is two SQLite files, reads every object again, and prints what it found.

What a backend must do is said in `artifactstore_protocols.storage`, and shown by the conformance suite, which
`test_sqlite_backend.py` runs over this one. It is synchronous and may block: worker threads call it, several at once.
Here each call has a connection of its own, and SQLite does the rest: a write is one transaction, on disk when it
returns; a reader sees the file as it was when it began, whatever is deleted meanwhile.
"""

import contextlib
import errno
import fcntl
import shutil
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Buffer, Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Self, cast

from artifactstore import Settings
from artifactstore.blocking import open_registry
from artifactstore_protocols.object_keys import check_object_key
from artifactstore_protocols.storage import (
    BackendHealth,
    Compaction,
    KeyTaken,
    ListedObject,
    ObjectDamaged,
    ObjectMissing,
    PutOutcome,
    StorageDenied,
    StorageError,
    StorageFailed,
    StorageFull,
)

__all__ = ["SqliteBackend"]

BACKEND_ID = "sqlite"
PIECE_BYTES = 1 << 20
"""An object is a row for each piece, so that a range of a large one is read without the rest."""

BUSY_TIMEOUT_S = 30.0
PAGE = 500
SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, size_bytes INTEGER NOT NULL,
    stored_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS pieces (object_id INTEGER, number INTEGER, content BLOB, PRIMARY KEY (object_id, number));
CREATE TABLE IF NOT EXISTS canaries (token TEXT PRIMARY KEY);
"""


type Pieces = Callable[[], Iterable[Buffer]]
"""Begins to give a content from its start, in pieces of `PIECE_BYTES`."""


def pieces_of(content: memoryview) -> Iterator[memoryview]:
    """Yield a content that is in memory, in such pieces."""
    return (content[start : start + PIECE_BYTES] for start in range(0, len(content), PIECE_BYTES))


@contextlib.contextmanager
def faults(operation: str) -> Generator[None]:
    """Turn what SQLite and the operating system report into the errors that callers of a backend know."""
    try:
        yield
    except sqlite3.Error as error:
        cause = getattr(error, "sqlite_errorname", str(error))
        if cause.startswith("SQLITE_FULL"):
            raise StorageFull(BACKEND_ID, operation, cause) from error
        if cause.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
            raise StorageDenied(BACKEND_ID, operation, cause) from error
        raise StorageFailed(BACKEND_ID, operation, cause) from error
    except OSError as error:
        cause = errno.errorcode.get(error.errno or 0, str(error))
        kind = {"ENOSPC": StorageFull, "EACCES": StorageDenied, "EROFS": StorageDenied}.get(cause, StorageFailed)
        raise kind(BACKEND_ID, operation, cause) from error


class SqliteBackend:
    """Objects in one SQLite file, which is made if there is none.

    Args:
        file: the database; SQLite's `-wal` and `-shm` files and a `.lock` lie beside it.

    Raises:
        StorageDenied, StorageFull, StorageFailed: it cannot be opened.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        with faults("open"):
            file.parent.mkdir(parents=True, exist_ok=True)
            # SQLite does not let processes take turns at switching a new file to WAL, so they queue for this lock.
            with file.with_name(f"{file.name}.lock").open("w") as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)
                # Held as long as the backend: the last connection that closes has to tidy up the write-ahead log.
                self._anchor = self._connect()
                with contextlib.ExitStack() as undo:
                    undo.callback(self._anchor.close)
                    self._anchor.execute("PRAGMA journal_mode = WAL").close()
                    self._anchor.executescript(SCHEMA).close()
                    undo.pop_all()

    @property
    def backend_id(self) -> str:
        return BACKEND_ID

    @property
    def concurrency(self) -> int:
        return 4

    def put_many(self, puts: Iterable[tuple[str, Buffer]]) -> Sequence[PutOutcome | StorageError]:
        """One transaction for the whole batch, which is in memory before the file's write lock is taken."""
        answers: list[PutOutcome | StorageError] = []
        batch = list(puts)
        with self._writing("put") as database:
            for object_key, content in batch:
                view = memoryview(content).cast("B")
                try:
                    pieces = partial(pieces_of, view)
                    answers.append(self._insert(database, object_key, len(view), pieces))
                except StorageError as refusal:
                    answers.append(refusal)
        return answers

    def open_writer(self) -> "SqliteWriter":
        return SqliteWriter(self)

    def open(self, object_key: str, offset: int = 0, length: int | None = None) -> "SqliteReader":
        check_object_key(object_key)
        with faults("open an object"), contextlib.ExitStack() as undo:
            database = self._connect()
            undo.callback(database.close)
            database.execute("BEGIN").close()
            found = self._find(database, object_key)
            if found is None:
                raise ObjectMissing(BACKEND_ID, object_key)
            undo.pop_all()
        object_id, size_bytes = found
        end = size_bytes if length is None else min(offset + length, size_bytes)
        return SqliteReader(database, object_key, object_id, size_bytes, offset, end)

    def read_many(self, wanted: Sequence[tuple[str, int]]) -> Sequence[bytes | StorageError]:
        answers: list[bytes | StorageError] = []
        for object_key, size_bytes in wanted:
            buffer = bytearray(size_bytes + 1)
            try:
                with self.open(object_key) as reader:
                    answers.append(bytes(memoryview(buffer)[: reader.readinto(buffer)]))
            except (ObjectMissing, ObjectDamaged) as error:
                answers.append(error)
        return answers

    def stat_many(self, object_keys: Sequence[str]) -> Sequence[int | None]:
        for object_key in object_keys:
            check_object_key(object_key)
        with faults("stat"), contextlib.closing(self._connect()) as database:
            found = [self._find(database, object_key) for object_key in object_keys]
        return [None if each is None else each[1] for each in found]

    def delete_many(self, object_keys: Sequence[str]) -> Sequence[bool | StorageError]:
        answers: list[bool | StorageError] = []
        with self._writing("delete") as database:
            for object_key in object_keys:
                try:
                    check_object_key(object_key)
                except StorageError as refusal:
                    answers.append(refusal)
                    continue
                found = self._find(database, object_key)
                if found is not None:
                    database.execute("DELETE FROM pieces WHERE object_id = ?", (found[0],)).close()
                    database.execute("DELETE FROM objects WHERE id = ?", (found[0],)).close()
                answers.append(found is not None)
        return answers

    def list_keys(self, *, after: str = "", limit: int) -> Sequence[ListedObject]:
        query = "SELECT key, size_bytes, ? - stored_at FROM objects WHERE key > ? ORDER BY key LIMIT ?"
        with faults("list"), contextlib.closing(self._connect()) as database:
            return [ListedObject(*row) for row in database.execute(query, (time.time(), after, limit))]

    def compact(self, check_cancelled: Callable[[], None]) -> Compaction:  # noqa: ARG002 - it is one step
        """SQLite gives free pages back when it writes the file anew, in one transaction."""
        with faults("compact"), contextlib.closing(self._connect()) as database:
            pages = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
            (before,) = database.execute(pages).fetchone()
            database.execute("VACUUM").close()
            (after,) = database.execute(pages).fetchone()
            return Compaction(max(0, int(before) - int(after)))

    def health(self) -> BackendHealth:
        total = free = latency = failure = None
        started = time.monotonic()
        token = uuid.uuid4().hex
        try:
            with faults("health"):
                usage = shutil.disk_usage(self._file.parent)
                total, free = usage.total, usage.free
            with self._writing("health") as database:
                database.execute("INSERT INTO canaries VALUES (?)", (token,)).close()
            with self._writing("health") as database:
                if database.execute("DELETE FROM canaries WHERE token = ?", (token,)).rowcount != 1:
                    raise StorageFailed(BACKEND_ID, "health", "the canary is gone")
            latency = time.monotonic() - started
        except StorageError as error:
            failure = str(error)
        return BackendHealth(BACKEND_ID, total, free, None, latency, failure)

    def close(self) -> None:
        self._anchor.close()

    def commit(self, object_key: str, size_bytes: int, pieces: Pieces) -> PutOutcome:
        """Store one object in a transaction of its own; for the writer."""
        with self._writing("write") as database:
            return self._insert(database, object_key, size_bytes, pieces)

    def _connect(self) -> sqlite3.Connection:
        # Transactions are begun and ended below, not by the driver; and a reader may move from thread to thread.
        database = sqlite3.connect(self._file, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        with contextlib.ExitStack() as undo:
            undo.callback(database.close)
            database.execute("PRAGMA synchronous = FULL").close()
            undo.pop_all()
        return database

    @contextlib.contextmanager
    def _writing(self, operation: str) -> Generator[sqlite3.Connection]:
        with faults(operation), contextlib.closing(self._connect()) as database:
            database.execute("BEGIN IMMEDIATE").close()
            yield database  # an exception closes the connection, which rolls back
            database.execute("COMMIT").close()

    def _insert(self, database: sqlite3.Connection, object_key: str, size_bytes: int, pieces: Pieces) -> PutOutcome:
        check_object_key(object_key)
        found = self._find(database, object_key)
        if found is not None:
            if found[1] != size_bytes or not self._holds(database, found[0], pieces()):
                raise KeyTaken(BACKEND_ID, object_key)
            return "deduplicated"
        row = object_key, size_bytes, time.time()
        object_id = database.execute("INSERT INTO objects VALUES (NULL, ?, ?, ?)", row).lastrowid
        rows = ((object_id, number, piece) for number, piece in enumerate(pieces()))
        database.executemany("INSERT INTO pieces VALUES (?, ?, ?)", rows).close()
        return "stored"

    @staticmethod
    def _holds(database: sqlite3.Connection, object_id: int, pieces: Iterable[Buffer]) -> bool:
        """Whether an object of the right size has the right bytes, too: it may be damaged."""
        query = "SELECT content FROM pieces WHERE object_id = ? ORDER BY number"
        with contextlib.closing(database.execute(query, (object_id,))) as stored:
            return all(row is not None and row[0] == piece for row, piece in zip_longest(stored, pieces))

    @staticmethod
    def _find(database: sqlite3.Connection, object_key: str) -> tuple[int, int] | None:
        found = database.execute("SELECT id, size_bytes FROM objects WHERE key = ?", (object_key,)).fetchone()
        return cast("tuple[int, int] | None", found)


class SqliteWriter:
    """An object whose key is known only at its end: it waits in a temporary file, and goes in by one transaction."""

    def __init__(self, backend: SqliteBackend) -> None:
        self._backend = backend
        with faults("write"):
            self._waiting = tempfile.SpooledTemporaryFile(8 * PIECE_BYTES)  # noqa: SIM115 - abort and commit close it
        self._size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.abort()

    def write(self, buffer: Buffer) -> None:
        self._check_open()
        with faults("write"):
            self._size_bytes += self._waiting.write(buffer)

    def commit(self, object_key: str) -> PutOutcome:
        self._check_open()
        with faults("write"):
            outcome = self._backend.commit(object_key, self._size_bytes, self._pieces)
        self.abort()
        return outcome

    def abort(self) -> None:
        self._waiting.close()

    def _pieces(self) -> Iterator[bytes]:
        self._waiting.seek(0)
        return iter(lambda: self._waiting.read(PIECE_BYTES), b"")

    def _check_open(self) -> None:
        if self._waiting.closed:
            raise RuntimeError("this object is committed or aborted")


class SqliteReader:
    """An object in the snapshot of a read transaction."""

    def __init__(
        self,
        database: sqlite3.Connection,
        object_key: str,
        object_id: int,
        size_bytes: int,
        position: int,
        end: int,
    ) -> None:
        self._database: sqlite3.Connection | None = database
        self._object_key = object_key
        self._object_id = object_id
        self._size_bytes = size_bytes
        self._position = position
        self._end = end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def readinto(self, buffer: bytearray | memoryview) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def read(self, most: int) -> bytes:
        if self._database is None:
            raise RuntimeError("this object is closed")
        end = min(self._position + most, self._end)
        if self._position >= end:
            return b""
        first, last = self._position // PIECE_BYTES, (end - 1) // PIECE_BYTES
        with faults("read"):
            rows = self._database.execute(
                "SELECT content FROM pieces WHERE object_id = ? AND number BETWEEN ? AND ? ORDER BY number",
                (self._object_id, first, last),
            )
            content = b"".join(cast("bytes", piece) for (piece,) in rows)
        skipped, count = self._position - first * PIECE_BYTES, end - self._position
        wanted = content[skipped : skipped + count]
        if len(wanted) != count:
            raise ObjectDamaged(BACKEND_ID, self._object_key, "pieces of it are gone")
        self._position = end
        return wanted

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def main() -> None:
    """Ingest a directory into a store of two files."""
    settings = Settings(database_url="sqlite:///two-files/log.db")
    with open_registry(settings, backend=partial(SqliteBackend, Path("two-files/objects.db"))) as registry:
        finalized = registry.ingest_tree(Path(sys.argv[1]))
        report = registry.verify()
        print(f"{finalized.name}: {finalized.files} files, {finalized.manifest_digest}")
        print(f"{report.objects} objects in objects.db, {'all sound' if report.sound else 'not all sound'}")


if __name__ == "__main__":
    main()
