"""A storage backend of one's own: every object in one SQLite file, in place of a directory of files.

Run me: python sqlite_backend.py DIRECTORY
It seals the directory into a store that is two SQLite files, reads every object again, and prints what it found.

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
from types import TracebackType
from typing import Literal, Self, cast

from artifactstore import Settings
from artifactstore.blocking import open_registry
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.storage import (
    BackendHealth,
    KeyRefused,
    ObjectDamaged,
    ObjectMissing,
    ObjectPut,
    ObjectStat,
    StorageDenied,
    StorageError,
    StorageFailed,
    StorageFull,
    StorageOutcome,
    StorageReceipt,
    check_object_key,
)

__all__ = ["SqliteBackend"]

BACKEND_ID = "sqlite"
PIECE_BYTES = 1 << 20
"""An object is a row for each piece, so that a range of a large one is read without the rest."""

BUSY_TIMEOUT_S = 30.0
PAGE = 500
SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, size_bytes INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS pieces (object_id INTEGER, number INTEGER, content BLOB, PRIMARY KEY (object_id, number));
CREATE TABLE IF NOT EXISTS canaries (token TEXT PRIMARY KEY);
"""


type Pieces = Callable[[], Iterable[Buffer]]
"""Begins to give a content from its start, in pieces of `PIECE_BYTES`."""


def pieces_of(content: memoryview) -> Iterator[memoryview]:
    """A content that is in memory, in such pieces."""
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

    def put_batch(self, puts: Iterable[ObjectPut]) -> Sequence[StorageReceipt | StorageError]:
        """One transaction for the whole batch; it holds the file's write lock while it asks for the next object."""
        answers: list[StorageReceipt | StorageError] = []
        with self._writing("put") as database:
            for put in puts:
                try:
                    check_object_key(put.object_key)
                except KeyRefused as refusal:
                    answers.append(refusal)
                    continue
                content = memoryview(put.content).cast("B")
                pieces = partial(pieces_of, content)
                outcome = self._insert(database, put.object_key, len(content), pieces, rewrite=put.rewrite)
                answers.append(receipt(put.object_key, put.content_address, len(content), outcome))
        return answers

    def begin_write(self) -> "SqliteWriter":
        return SqliteWriter(self)

    def open_object(self, object_key: str) -> "SqliteReader":
        check_object_key(object_key)
        with faults("open an object"), contextlib.ExitStack() as undo:
            database = self._connect()
            undo.callback(database.close)
            database.execute("BEGIN").close()
            found = self._find(database, object_key)
            if found is None:
                raise ObjectMissing(BACKEND_ID, object_key)
            undo.pop_all()
        return SqliteReader(database, object_key, *found)

    def head(self, object_key: str) -> ObjectStat:
        with self.open_object(object_key) as reader:
            return stat(object_key, reader.size_bytes)

    def delete(self, object_key: str) -> bool:
        check_object_key(object_key)
        with self._writing("delete") as database:
            found = self._find(database, object_key)
            if found is None:
                return False
            self._remove(database, found[0])
            return True

    def list_objects(self) -> Iterator[ObjectStat]:
        """A page at a time, so that whoever stops in the middle leaves no connection open."""
        after = ""
        while page := self._page(after):
            yield from (stat(key, size_bytes) for key, size_bytes in page)
            after = page[-1][0]

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

    def commit(self, object_key: str, size_bytes: int, pieces: Pieces, *, rewrite: bool) -> StorageOutcome:
        """Store one object in a transaction of its own; for the writer."""
        check_object_key(object_key)
        with self._writing("write") as database:
            return self._insert(database, object_key, size_bytes, pieces, rewrite=rewrite)

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

    def _insert(
        self,
        database: sqlite3.Connection,
        object_key: str,
        size_bytes: int,
        pieces: Pieces,
        *,
        rewrite: bool,
    ) -> StorageOutcome:
        found = self._find(database, object_key)
        if found is not None:
            if found[1] == size_bytes and not rewrite and self._holds(database, found[0], pieces()):
                return "deduplicated"
            self._remove(database, found[0])
        object_id = database.execute("INSERT INTO objects VALUES (NULL, ?, ?)", (object_key, size_bytes)).lastrowid
        rows = ((object_id, number, piece) for number, piece in enumerate(pieces()))
        database.executemany("INSERT INTO pieces VALUES (?, ?, ?)", rows).close()
        return "stored" if found is None and not rewrite else "rewritten"

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

    @staticmethod
    def _remove(database: sqlite3.Connection, object_id: int) -> None:
        database.execute("DELETE FROM pieces WHERE object_id = ?", (object_id,)).close()
        database.execute("DELETE FROM objects WHERE id = ?", (object_id,)).close()

    def _page(self, after: str) -> list[tuple[str, int]]:
        with faults("list"), contextlib.closing(self._connect()) as database:
            rows = database.execute(
                "SELECT key, size_bytes FROM objects WHERE key > ? ORDER BY key LIMIT ?", (after, PAGE)
            )
            return cast("list[tuple[str, int]]", rows.fetchall())


class SqliteWriter:
    """An object whose key is known only at its end: it waits in a temporary file, and goes in by one transaction."""

    def __init__(self, backend: SqliteBackend) -> None:
        self._backend = backend
        with faults("write"):
            self._waiting = tempfile.SpooledTemporaryFile(8 * PIECE_BYTES)  # noqa: SIM115 - abort and commit close it
        self._size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.abort()

    def write(self, buffer: Buffer) -> None:
        self._check_open()
        with faults("write"):
            self._size_bytes += self._waiting.write(buffer)

    def commit(self, object_key: str, content_address: ContentAddress, *, rewrite: bool) -> StorageReceipt:
        self._check_open()
        with self, faults("write"):
            outcome = self._backend.commit(object_key, self._size_bytes, self._pieces, rewrite=rewrite)
        return receipt(object_key, content_address, self._size_bytes, outcome)

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

    def __init__(self, database: sqlite3.Connection, object_key: str, object_id: int, size_bytes: int) -> None:
        self._database: sqlite3.Connection | None = database
        self._object_key = object_key
        self._object_id = object_id
        self._size_bytes = size_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.close()

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def read_at(self, offset: int, length: int) -> bytes:
        if self._database is None:
            raise RuntimeError("this object is closed")
        end = min(offset + length, self._size_bytes)
        if offset >= end:
            return b""
        first, last = offset // PIECE_BYTES, (end - 1) // PIECE_BYTES
        with faults("read"):
            rows = self._database.execute(
                "SELECT content FROM pieces WHERE object_id = ? AND number BETWEEN ? AND ? ORDER BY number",
                (self._object_id, first, last),
            )
            content = b"".join(cast("bytes", piece) for (piece,) in rows)
        skipped = offset - first * PIECE_BYTES
        wanted = content[skipped : skipped + end - offset]
        if len(wanted) != end - offset:
            raise ObjectDamaged(BACKEND_ID, self._object_key, "pieces of it are gone")
        return wanted

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


RETRIEVAL: tuple[Literal["immediate"], Literal["not_required"]] = ("immediate", "not_required")


def receipt(
    object_key: str, content_address: ContentAddress, size_bytes: int, outcome: StorageOutcome
) -> StorageReceipt:
    """What became of one object."""
    return StorageReceipt(BACKEND_ID, object_key, content_address, size_bytes, outcome, *RETRIEVAL)


def stat(object_key: str, size_bytes: int) -> ObjectStat:
    """What is known of one object."""
    return ObjectStat(BACKEND_ID, object_key, size_bytes, *RETRIEVAL)


def main() -> None:
    """Seal a directory into a store of two files."""
    settings = Settings(database_url="sqlite:///two-files/log.db")
    with open_registry(settings, backend=partial(SqliteBackend, Path("two-files/objects.db"))) as registry:
        sealed = registry.ingest_tree(Path(sys.argv[1]))
        report = registry.verify()
        print(f"{sealed.name}: {sealed.files} files, {sealed.manifest_digest}")
        print(f"{report.objects} objects in objects.db, {'all sound' if report.sound else 'not all sound'}")


if __name__ == "__main__":
    main()
