"""Putting many whole objects to a local root with a shared flush before their renames and another one after.

Each object is staged when it comes: found present, or written to a temp file. At the end the contents are
made durable together, then all are renamed, then their directories are made durable together; only then is
anything acknowledged.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from artifactstore.backends.durability import BatchSync
from artifactstore.backends.local_files import LocalFiles, seal, write_all
from artifactstore.backends.os_errors import faults_of
from artifactstore.backends.scratch import discard
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.storage import (
    ObjectPut,
    StorageError,
    StorageFault,
    StorageOutcome,
    StorageReceipt,
)

__all__ = ["put_batch"]


@dataclass(slots=True)
class _Staged:
    """One object between its arrival and the end of the batch.

    Attributes:
        put_key: its key.
        address: what it is.
        size_bytes: how long it is.
        outcome: what putting it amounts to.
        temp_path: its content, as long as it has to be renamed into place; empty for what is in its place.
        failure: why it is not stored.
    """

    put_key: str
    address: ContentAddress
    size_bytes: int
    outcome: StorageOutcome
    temp_path: str = ""
    failure: StorageError | None = None


def put_batch(files: LocalFiles, puts: Iterable[ObjectPut]) -> list[StorageReceipt | StorageError]:
    """Put whole objects; see `StorageBackend.put_batch`."""
    with faults_of(files.backend_id, "opening the root"):
        sync = BatchSync(files.root, files.limits)
    batch = _Batch(files, sync)
    try:
        for put in puts:
            batch.stage(put)
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
        # One an object put: its entry and whether that was there before, or why it could not be staged.
        self._answers: list[tuple[_Staged, bool] | StorageError] = []

    def stage(self, put: ObjectPut) -> None:
        if (twin := self._by_key.get(put.object_key)) is not None:
            self._answers.append((twin, True))
            return
        try:
            staged = self._by_key[put.object_key] = self._staged(put)
        except StorageError as error:
            self._answers.append(_detached(error))
        else:
            self._answers.append((staged, False))

    def _staged(self, put: ObjectPut) -> _Staged:
        path = self._files.path_of(put.object_key)
        with memoryview(put.content) as view, faults_of(self._files.backend_id, "writing an object"):
            content = view.cast("B")
            outcome = self._files.outcome_of(
                path, view.nbytes, lambda offset, length: content[offset : offset + length], rewrite=put.rewrite
            )
            staged = _Staged(put.object_key, put.content_address, view.nbytes, outcome)
            if outcome != "deduplicated":
                staged.temp_path = self._written(view)
        return staged

    def _written(self, view: memoryview) -> str:
        fd, temp_path = self._files.scratch.create()
        try:
            try:
                write_all(fd, view.cast("B"))
                seal(fd, self._files.limits)
            except BaseException:
                os.close(fd)
                raise
            self._sync.written(fd)
        except BaseException:
            discard(temp_path)
            raise
        return temp_path

    def finish(self) -> list[StorageReceipt | StorageError]:
        fresh = [staged for staged in self._by_key.values() if staged.temp_path]
        if fresh:
            self._together(fresh, "syncing objects", self._sync.flush_contents)
        for staged in fresh:
            if staged.failure is None:
                self._together([staged], "storing an object", partial(self._place, staged))
        placed = [staged for staged in self._by_key.values() if staged.failure is None]
        # Also for what was there: whoever renamed it may not have synced its directories yet.
        chains = {path for staged in placed for path in self._files.directories_of(staged.put_key)}
        self._together(placed, "syncing directories", partial(self._sync.flush_directories, chains))
        return [self._answer(answer) for answer in self._answers]

    def _together(self, all_staged: Iterable[_Staged], operation: str, step: Callable[[], None]) -> None:
        """Run a step that these objects succeed or fail in together."""
        try:
            with faults_of(self._files.backend_id, operation):
                step()
        except StorageFault as fault:
            for staged in all_staged:
                staged.failure = _detached(fault)

    def _place(self, staged: _Staged) -> None:
        self._files.place(staged.temp_path, self._files.path_of(staged.put_key))
        staged.temp_path = ""

    def _answer(self, answer: tuple[_Staged, bool] | StorageError) -> StorageReceipt | StorageError:
        if isinstance(answer, StorageError):
            return answer
        staged, repeated = answer
        if staged.failure is not None:
            return staged.failure
        outcome = "deduplicated" if repeated else staged.outcome
        return self._files.receipt(staged.put_key, staged.address, staged.size_bytes, outcome)

    def discard(self) -> None:
        """Remove the temp files that were not renamed."""
        for staged in self._by_key.values():
            if staged.temp_path:
                discard(staged.temp_path)


def _detached(error: StorageError) -> StorageError:
    """Keep an error's facts but not its traceback, whose frames would keep every refused content in memory."""
    error.__cause__ = error.__context__ = error.__traceback__ = None
    return error
