"""The backend for small objects stores them as rows of one SQLite file, since a file each costs more than its bytes.

A batch is one transaction, which is on disk when the call returns. A reader sees the commits that precede its start.
SQLite makes a commit visible only after it syncs the write-ahead log, so every visible object is durable.
"""

import json
import os
import sqlite3
import time
from collections.abc import Buffer, Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Self

from artifactstore.backends.os_errors import error_name, unusable_root
from artifactstore.backends.small_compaction import compact, cut_off_most
from artifactstore.backends.small_file import SmallFile, is_damage
from artifactstore.ids import now_us
from artifactstore_protocols.object_keys import check_object_key
from artifactstore_protocols.storage import (
    BackendHealth,
    Compaction,
    KeyTaken,
    ListedObject,
    ObjectDamaged,
    ObjectMissing,
    PutOutcome,
    StorageError,
    StorageFailed,
)

__all__ = ["OBJECT_BYTES_MAX", "SmallBackend"]

OBJECT_BYTES_MAX: Final = 1 << 20
"""Largest size of an object, in bytes. Each object is read and written whole, in memory."""

_CONCURRENCY: Final = 4
_FIND: Final = "SELECT key, content FROM objects WHERE key IN (SELECT value FROM json_each(?))"
_THERE: Final = "SELECT key FROM objects WHERE key IN (SELECT value FROM json_each(?))"
_STAT: Final = "SELECT key, length(content) FROM objects WHERE key IN (SELECT value FROM json_each(?))"
_LIST: Final = "SELECT key, length(content), stored_at FROM objects WHERE key > ? ORDER BY key LIMIT ?"
_INSERT: Final = "INSERT INTO objects (key, stored_at, content) VALUES (?, ?, ?)"
_DELETE: Final = "DELETE FROM objects WHERE key IN (SELECT value FROM json_each(?)) RETURNING key"


class SmallBackend:
    """A `StorageBackend` on `<root>/small/objects.db`, for one machine and any number of processes.

    The first put creates the file. Do not use a backend across `fork`.
    """

    __slots__ = ("_backend_id", "_file", "_root")

    def __init__(self, root: Path, backend_id: str = "local-small", *, read_only: bool = False) -> None:
        """Set the root; open nothing.

        Args:
            root: directory of the objects, which other backends may share. It must exist before the first put.
            backend_id: name in rows and receipts.
            read_only: change nothing below the root, not even the files that SQLite keeps beside the database.
        """
        self._backend_id = backend_id
        self._root = str(root.absolute())
        self._file = SmallFile(backend_id, self._root, read_only=read_only)

    @property
    def backend_id(self) -> str:
        """Name in rows and receipts."""
        return self._backend_id

    @property
    def concurrency(self) -> int:
        """Useful number of concurrent calls: some read and hash while one writes."""
        return _CONCURRENCY

    def put_many(self, puts: Iterable[tuple[str, Buffer]]) -> Sequence[PutOutcome | StorageError]:
        """Put whole objects in one transaction."""
        fresh: dict[str, memoryview] = {}
        answers: list[tuple[str, PutOutcome | StorageError]] = []
        for object_key, content in puts:
            view = memoryview(content).cast("B")
            refusal = self._refusal(object_key, len(view))
            if refusal is None and fresh.setdefault(object_key, view) is not view:
                answer: PutOutcome | StorageError = "deduplicated"
                if fresh[object_key] != view:
                    answer = KeyTaken(self._backend_id, object_key)
                answers.append((object_key, answer))
            else:
                answers.append((object_key, refusal or "stored"))
        if fresh:
            self._settle(fresh, answers)
        return [answer for _, answer in answers]

    def _settle(self, fresh: dict[str, memoryview], answers: list[tuple[str, PutOutcome | StorageError]]) -> None:
        """Insert the objects that are missing, and correct the answers for those that exist."""
        there = self._find(fresh)
        missing = fresh.keys() - there.keys()
        if missing:
            with self._file.writing("storing objects") as connection:
                # Other writers may have stored some meanwhile. Read those later: damaged pages would spoil the commit.
                found = connection.execute(_THERE, (json.dumps(list(missing)),))
                overtaken = {key for (key,) in found}
                at_us = now_us()
                rows = ((key, at_us, fresh[key] or b"") for key in fresh if key in missing and key not in overtaken)
                connection.executemany(_INSERT, rows)
            there |= self._find(overtaken)
        for index, (object_key, answer) in enumerate(answers):
            if object_key in there and not isinstance(answer, StorageError):
                stored = there[object_key]
                same = isinstance(stored, bytes) and memoryview(stored) == fresh[object_key]
                answers[index] = object_key, "deduplicated" if same else KeyTaken(self._backend_id, object_key)

    def _refusal(self, object_key: str, size_bytes: int) -> StorageError | None:
        try:
            check_object_key(object_key)
        except StorageError as refusal:
            return refusal
        if size_bytes > OBJECT_BYTES_MAX:
            return self._too_large()
        return None

    def _too_large(self) -> StorageFailed:
        cause = f"an object of more than {OBJECT_BYTES_MAX} bytes belongs in another backend"
        return StorageFailed(self._backend_id, "storing objects", cause)

    def _find(self, object_keys: Iterable[str]) -> dict[str, bytes | ObjectDamaged]:
        """Return those of the objects that exist, by key."""
        keys = list(object_keys)
        with self._file.reading("reading objects") as connection:
            return self._read(connection, keys) if keys and connection is not None else {}

    def _read(self, connection: sqlite3.Connection, keys: list[str]) -> dict[str, bytes | ObjectDamaged]:
        try:
            return dict(connection.execute(_FIND, (json.dumps(keys),)))
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            if len(keys) == 1:
                reason = f"the file of small objects cannot be read there ({error.sqlite_errorname})"
                return {keys[0]: ObjectDamaged(self._backend_id, keys[0], reason)}
        # At least one is damaged. Read each object alone, so that only damaged ones fail.
        found: dict[str, bytes | ObjectDamaged] = {}
        for key in keys:
            found |= self._read(connection, [key])
        return found

    def open_writer(self) -> "SmallWriter":
        """Start an object of up to `OBJECT_BYTES_MAX` bytes."""
        return SmallWriter(self)

    def open(self, object_key: str, offset: int = 0, length: int | None = None) -> "SmallReader":
        """Read a whole object into memory, and return a reader of it."""
        (content,) = self.read_many([(object_key, OBJECT_BYTES_MAX)])
        if isinstance(content, StorageError):
            raise content
        return SmallReader(content, offset, length)

    def read_many(self, wanted: Sequence[tuple[str, int]]) -> Sequence[bytes | StorageError]:
        """Read whole objects with one query."""
        keys = [key for key, _ in wanted]
        for key in keys:
            check_object_key(key)
        found = self._find(keys)
        return [found[key] if key in found else ObjectMissing(self._backend_id, key) for key in keys]

    def stat_many(self, object_keys: Sequence[str]) -> Sequence[int | None]:
        """Return the sizes of objects in bytes, without reading their content."""
        for key in object_keys:
            check_object_key(key)
        with self._file.reading("looking objects up") as connection:
            found = {} if connection is None else dict(connection.execute(_STAT, (json.dumps(list(object_keys)),)))
        return [found.get(key) for key in object_keys]

    def delete_many(self, object_keys: Sequence[str]) -> Sequence[bool | StorageError]:
        """Delete rows in one transaction. Later objects reuse some of their pages, and `compact` gives those back."""
        refusals = {key: refusal for key in object_keys if (refusal := self._refusal(key, 0)) is not None}
        keys = [key for key in object_keys if key not in refusals]
        deleted: set[str] = set()
        if any(size is not None for size in self.stat_many(keys)):
            with self._file.writing("deleting objects") as connection:
                deleted = {key for (key,) in connection.execute(_DELETE, (json.dumps(keys),))}
            cut_off_most(self._file)
        return [refusals.get(key) or key in deleted for key in object_keys]

    def list_keys(self, *, after: str = "", limit: int) -> Sequence[ListedObject]:
        """Return the next objects, in the order of the index."""
        with self._file.reading("listing objects") as connection:
            rows = [] if connection is None else connection.execute(_LIST, (after, limit)).fetchall()
        at_us = now_us()
        return [ListedObject(key, size_bytes, (at_us - stored_at) / 1e6) for key, size_bytes, stored_at in rows]

    def compact(self, check_cancelled: Callable[[], None]) -> Compaction:
        """Rewrite the rows of a file that is mostly empty, and cut free pages and the write-ahead log off."""
        return compact(self._file, check_cancelled)

    def health(self) -> BackendHealth:
        """Measure the device, and commit and read back a row."""
        total_bytes = free_bytes = free_inodes = latency_s = failure = code = None
        try:
            room = os.statvfs(self._root)
            total_bytes, free_bytes = room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize
            free_inodes = room.f_favail if room.f_files else None
            started_s = time.perf_counter()
            self._file.write_canary()
            latency_s = time.perf_counter() - started_s
        except OSError as error:
            failure, code = unusable_root(error), error_name(error)
        except StorageError as error:
            failure = str(error)
        return BackendHealth(self._backend_id, total_bytes, free_bytes, free_inodes, latency_s, failure, code)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class SmallWriter:
    """An `ObjectWriter` that collects one object in memory."""

    __slots__ = ("_backend", "_gathered")

    def __init__(self, backend: SmallBackend) -> None:
        self._backend = backend
        self._gathered: bytearray | None = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.abort()

    def _open(self) -> bytearray:
        if self._gathered is None:
            raise RuntimeError("this writer is committed or aborted; open another one")
        return self._gathered

    def write(self, buffer: Buffer) -> None:
        """Append bytes. `commit` rejects an object that is too large, so its excess bytes are not kept."""
        gathered = self._open()
        with memoryview(buffer) as view:
            gathered += view.cast("B")[: OBJECT_BYTES_MAX + 1 - len(gathered)]

    def commit(self, object_key: str) -> PutOutcome:
        """Store the object under its key."""
        (answer,) = self._backend.put_many([(object_key, self._open())])
        if isinstance(answer, StorageError):
            raise answer
        self.abort()
        return answer

    def abort(self) -> None:
        """Discard the collected bytes."""
        self._gathered = None


class SmallReader:
    """An `ObjectReader` over an object in memory."""

    __slots__ = ("_content", "_range", "_size_bytes")

    def __init__(self, content: bytes, offset: int, length: int | None) -> None:
        self._size_bytes = len(content)
        self._range: memoryview | None = memoryview(content)[offset : None if length is None else offset + length]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def size_bytes(self) -> int:
        """Length of the object."""
        return self._size_bytes

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill a buffer with the next bytes."""
        part = self.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def read(self, most: int) -> bytes:
        """Return the next bytes."""
        if self._range is None:
            raise RuntimeError("this reader is closed; open the object again")
        part, self._range = bytes(self._range[:most]), self._range[most:]
        return part

    def close(self) -> None:
        """Release the object's bytes."""
        self._range = None
