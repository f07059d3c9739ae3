"""Batch puts to a local root, with one shared flush before the renames and another one after them.

Each object is staged when it arrives: it is found in place, or written to a temp file. At the end of the batch, one
flush makes all contents durable, the files are renamed, and another flush makes their directories durable. Only then
are the objects acknowledged.
"""

import os
from collections.abc import Buffer, Callable, Iterable
from functools import partial

from msgspec import Struct

from artifactstore.backends.durability import BatchSync
from artifactstore.backends.local_files import LocalFiles, make_read_only, write_all
from artifactstore.backends.os_errors import translated_os_errors
from artifactstore.backends.scratch import discard
from artifactstore_protocols.object_keys import check_object_key
from artifactstore_protocols.storage import KeyTaken, PutOutcome, StorageError, StorageFault

__all__ = ["put_many"]


class _Staged(Struct):
    """One object of a batch that is not finished.

    Attributes:
        object_key: key of the object.
        temp_path: path of the content until it is renamed into place; empty once the object is in place.
        failure: why the object is not stored; None unless it failed.
    """

    object_key: str
    temp_path: str = ""
    failure: StorageError | None = None


def put_many(files: LocalFiles, puts: Iterable[tuple[str, Buffer]]) -> list[PutOutcome | StorageError]:
    """Put whole objects; see `StorageBackend.put_many`."""
    with translated_os_errors(files.backend_id, "opening the root"):
        sync = BatchSync(files.root, files.limits)
    batch = _Batch(files, sync)
    try:
        for object_key, content in puts:
            batch.stage(object_key, content)
        return batch.finish()
    finally:
        batch.discard()
        sync.close()


class _Batch:
    __slots__ = ("_answers", "_by_key", "_files", "_sync")

    def __init__(self, files: LocalFiles, sync: BatchSync) -> None:
        self._files = files
        self._sync = sync
        self._by_key: dict[str, _Staged] = {}
        # One per put: the staged object and the outcome of the put, or why staging failed.
        self._answers: list[tuple[_Staged, PutOutcome] | StorageError] = []

    def stage(self, object_key: str, content: Buffer) -> None:
        try:
            with memoryview(content) as view, translated_os_errors(self._files.backend_id, "writing an object"):
                self._answers.append(self._staged(object_key, view.cast("B")))
        except StorageError as error:
            self._answers.append(_detached(error))

    def _staged(self, object_key: str, content: memoryview) -> tuple[_Staged, PutOutcome]:
        def read_at(offset: int, length: int) -> Buffer:
            return content[offset : offset + length]

        if (twin := self._by_key.get(object_key)) is not None:
            path = twin.temp_path or self._files.path_of(object_key)
            if self._files.size_of(path) != len(content) or not self._files.holds(path, len(content), read_at):
                raise KeyTaken(self._files.backend_id, object_key)
            return twin, "deduplicated"
        check_object_key(object_key)
        there = self._files.is_there(object_key, len(content), read_at)
        staged = _Staged(object_key, "" if there else self._written(content))
        self._by_key[object_key] = staged
        return staged, "deduplicated" if there else "stored"

    def _written(self, content: memoryview) -> str:
        fd, temp_path = self._files.scratch.create()
        try:
            try:
                write_all(fd, content)
                make_read_only(fd, self._files.limits)
            except BaseException:
                os.close(fd)
                raise
            self._sync.written(fd)
        except BaseException:
            discard(temp_path)
            raise
        return temp_path

    def finish(self) -> list[PutOutcome | StorageError]:
        fresh = [staged for staged in self._by_key.values() if staged.temp_path]
        if fresh:
            self._together(fresh, "syncing objects", self._sync.flush_contents)
        for staged in fresh:
            if staged.failure is None:
                self._together([staged], "storing an object", partial(self._place, staged))
        placed = [staged for staged in self._by_key.values() if staged.failure is None]
        # Sync for existing objects too: the process that renamed one may not have synced its directories yet.
        chains = {path for staged in placed for path in self._files.directories_of(staged.object_key)}
        self._together(placed, "syncing directories", partial(self._sync.flush_directories, chains))
        return [
            answer if isinstance(answer, StorageError) else answer[0].failure or answer[1] for answer in self._answers
        ]

    def _together(self, all_staged: Iterable[_Staged], operation: str, step: Callable[[], None]) -> None:
        """Run a step for all these objects; if it fails, all of them fail."""
        try:
            with translated_os_errors(self._files.backend_id, operation):
                step()
        except StorageFault as fault:
            for staged in all_staged:
                staged.failure = _detached(fault)

    def _place(self, staged: _Staged) -> None:
        self._files.place(staged.temp_path, self._files.path_of(staged.object_key))
        staged.temp_path = ""

    def discard(self) -> None:
        """Remove the temp files that were not renamed."""
        for staged in self._by_key.values():
            if staged.temp_path:
                discard(staged.temp_path)


def _detached(error: StorageError) -> StorageError:
    """Return an error without causes and traceback, whose frames would keep every rejected content in memory."""
    error.__cause__ = error.__context__ = error.__traceback__ = None
    return error
