"""The local backend stores objects as read-only files `<root>/<key>`, for one machine and any number of processes.

A put writes a temp file below `<root>/tmp`, syncs it, renames it, and syncs every directory that leads to the object.
On POSIX, these steps fulfil the contract of `StorageBackend`. The modules beside this one implement them.
"""

import os
from collections.abc import Buffer, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from artifactstore.backends.local_batch import put_many
from artifactstore.backends.local_files import LocalFiles
from artifactstore.backends.local_health import measure_health
from artifactstore.backends.local_reader import LocalReader
from artifactstore.backends.local_tidying import remove_empty_directories
from artifactstore.backends.local_writer import LocalWriter
from artifactstore.backends.os_errors import translated_os_errors
from artifactstore.backends.scratch import ScratchSpace
from artifactstore.durable import fsync_directory, make_durable_directory
from artifactstore.ids import now_us
from artifactstore.open_files import OpenFile
from artifactstore.target_limits import TargetLimits
from artifactstore_protocols.object_keys import check_object_key
from artifactstore_protocols.storage import (
    BackendHealth,
    Compaction,
    KeyRefused,
    ListedObject,
    PutOutcome,
    StorageError,
)

__all__ = ["SCRATCH", "LocalBackend"]

SCRATCH: Final = "tmp"
"""Name of the directory of temp files, below the root."""

_CONCURRENCY: Final = 4


class LocalBackend:
    """A `StorageBackend` on a local directory.

    Opening makes a missing root unless `make` is false, and removes the temp files of dead processes. With `read_only`
    it does neither. A root that cannot be written can still be opened and read. Do not use a backend across `fork`.
    """

    __slots__ = ("_files",)

    def __init__(
        self,
        root: Path,
        backend_id: str = "local",
        *,
        make: bool = True,
        read_only: bool = False,
        limits: TargetLimits | None = None,
        check_cancelled: Callable[[], None] = lambda: None,
    ) -> None:
        """Open a root.

        Args:
            root: directory of the objects.
            backend_id: name in receipts.
            make: make the root if it is missing. Without it, every write below a missing root fails.
            read_only: change nothing below the root, and do not make it; for callers that only read.
            limits: notes what the file system does not support, for a backup; without it that is an error.
            check_cancelled: called while leftovers are removed; raises to abandon the opening.

        Raises:
            StorageDenied, StorageFull, StorageFailed: the root is missing and cannot be made.
        """
        absolute = root.absolute()
        self._files = LocalFiles(backend_id, str(absolute), ScratchSpace(f"{absolute}/{SCRATCH}", limits), limits)
        if read_only:
            return
        if make:
            with translated_os_errors(backend_id, "making the root"):
                make_durable_directory(absolute, limits)
        with suppress(OSError):  # a read-only root keeps its leftovers; `health` reports the problem
            self._files.scratch.sweep(check_cancelled)

    @property
    def backend_id(self) -> str:
        """Name in receipts."""
        return self._files.backend_id

    @property
    def concurrency(self) -> int:
        """Useful number of concurrent calls: enough to hash on several cores while others wait for the disk."""
        return _CONCURRENCY

    def put_many(self, puts: Iterable[tuple[str, Buffer]]) -> Sequence[PutOutcome | StorageError]:
        """Put whole objects with shared flushes."""
        return put_many(self._files, puts)

    def open_writer(self) -> LocalWriter:
        """Start an object of any size."""
        return LocalWriter(self._files)

    def open(self, object_key: str, offset: int = 0, length: int | None = None) -> LocalReader:
        """Open an object for reading."""
        return LocalReader(self._files, object_key, offset, length)

    def open_file(self, object_key: str) -> OpenFile:
        """Open the file of an object."""
        with self.open(object_key) as reader:
            return OpenFile(reader.fileno())

    def read_many(self, wanted: Sequence[tuple[str, int]]) -> Sequence[bytes | StorageError]:
        """Read objects one after another."""
        answers: list[bytes | StorageError] = []
        for object_key, size_bytes in wanted:
            buffer = bytearray(size_bytes + 1)
            try:
                with self.open(object_key) as reader:
                    answers.append(bytes(memoryview(buffer)[: reader.readinto(buffer)]))
            except KeyRefused:
                raise
            except StorageError as error:
                answers.append(error)
        return answers

    def stat_many(self, object_keys: Sequence[str]) -> Sequence[int | None]:
        """Return the sizes of objects in bytes, from their inodes."""
        with translated_os_errors(self.backend_id, "looking objects up"):
            return [self._files.size_of(self._files.path_of(object_key)) for object_key in object_keys]

    def delete_many(self, object_keys: Sequence[str]) -> Sequence[bool | StorageError]:
        """Unlink objects, and flush each directory once. `compact` removes the directories that are empty then."""
        answers: list[bool | StorageError] = []
        touched: dict[str, list[int]] = {}
        for index, object_key in enumerate(object_keys):
            try:
                answers.append(self._unlink(object_key))
            except StorageError as error:
                answers.append(error)
            if answers[-1] is True:
                touched.setdefault(self._files.directories_of(object_key)[-1], []).append(index)
        for directory, indexes in touched.items():
            try:
                with translated_os_errors(self.backend_id, "deleting objects"), suppress(FileNotFoundError):
                    fsync_directory(directory, self._files.limits)
            except StorageError as error:
                for index in indexes:
                    answers[index] = error
        return answers

    def _unlink(self, object_key: str) -> bool:
        path = self._files.path_of(object_key)
        with translated_os_errors(self.backend_id, "deleting an object"):
            if self._files.size_of(path) is None:
                return False
            try:
                os.unlink(path)  # noqa: PTH108 - paths are plain strings in this package
            except FileNotFoundError:  # a concurrent call deleted it
                return False
        return True

    def compact(self, check_cancelled: Callable[[], None]) -> Compaction:
        """Remove the directories that no object is in any more. A concurrent put makes them again."""
        with translated_os_errors(self.backend_id, "removing empty directories"):
            return Compaction(remove_empty_directories(self._files.root, check_cancelled))

    def list_keys(self, *, after: str = "", limit: int) -> Sequence[ListedObject]:
        """Return the objects after `after`, walking the root one directory at a time."""
        with translated_os_errors(self.backend_id, "listing objects"):
            return list(islice(self._below("", after), limit))

    def _below(self, prefix: str, after: str) -> Iterator[ListedObject]:
        try:
            with os.scandir(f"{self._files.root}/{prefix}") as found:
                # A directory sorts like the keys below it, which continue with a slash.
                names = sorted(entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in found)
        except FileNotFoundError:
            if not prefix:
                raise
            return  # a concurrent `compact` removed the directory
        for key in (f"{prefix}{name}" for name in names if _is_key(f"{prefix}{name}".removesuffix("/"))):
            if key.endswith("/"):
                if key > after or after.startswith(key):
                    yield from self._below(key, after)
            elif key > after and (status := self._files.status_of(self._files.path_of(key))) is not None:
                yield ListedObject(key, status.st_size, now_us() / 1e6 - status.st_mtime)

    def health(self) -> BackendHealth:
        """Measure the device, and write and read back a canary file."""
        return measure_health(self._files)

    def close(self) -> None:
        """Release the lock of the temp files."""
        self._files.scratch.close()


def _is_key(name: str) -> bool:
    """Return whether a name in a root is an object key, unlike the names of temp files or `lost+found`."""
    try:
        check_object_key(name)
    except KeyRefused:
        return False
    return True
