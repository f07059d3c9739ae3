"""The local backend: objects as read-only files under `<root>/<key>`, for a single machine and any number of processes.

It keeps the promises of `StorageBackend` with what POSIX gives: a temp file below `<root>/tmp`, `fsync`,
`rename` and `fsync` of every directory that leads to the object. How each step is done lives in the modules
beside this one.
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
from artifactstore.backends.local_writer import LocalWriter
from artifactstore.backends.os_errors import faults_of
from artifactstore.backends.scratch import ScratchSpace
from artifactstore.durable import fsync_directory, make_durable_directory
from artifactstore.target_limits import TargetLimits
from artifactstore_protocols.object_keys import check_object_key
from artifactstore_protocols.storage import BackendHealth, KeyRefused, PutOutcome, StorageError

__all__ = ["SCRATCH", "LocalBackend"]

SCRATCH: Final = "tmp"
"""Where temp files are, below the root."""

_CONCURRENCY: Final = 4


class LocalBackend:
    """A `StorageBackend` on a local directory.

    Opening it makes the root if there is none and that is wanted, and removes temp files whose writers are gone,
    unless it is opened to be read only; a root that cannot be written can still be opened and read. Do not carry one
    across `fork`.
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
        check_wanted: Callable[[], None] = lambda: None,
    ) -> None:
        """Open a root.

        Args:
            root: directory of the objects.
            backend_id: name in receipts.
            make: make the root if there is none; otherwise every write into one that is not there fails.
            read_only: leave everything below the root, and whether there is one, as it is; for who only reads.
            limits: notes what the file system cannot do, for a backup; without it that is an error.
            check_wanted: raises when opening is not wanted any more; asked while leftovers are removed.

        Raises:
            StorageDenied, StorageFull, StorageFailed: there is no such directory and it cannot be made.
        """
        absolute = root.absolute()
        self._files = LocalFiles(backend_id, str(absolute), ScratchSpace(f"{absolute}/{SCRATCH}", limits), limits)
        if read_only:
            return
        if make:
            with faults_of(backend_id, "making the root"):
                make_durable_directory(absolute, limits)
        with suppress(OSError):  # a read-only root keeps its leftovers; health says what is wrong with it
            self._files.scratch.sweep(check_wanted)

    @property
    def backend_id(self) -> str:
        """Name in receipts."""
        return self._files.backend_id

    @property
    def concurrency(self) -> int:
        """Enough to hash on several cores while others wait for the disk."""
        return _CONCURRENCY

    def put_many(self, puts: Iterable[tuple[str, Buffer]]) -> Sequence[PutOutcome | StorageError]:
        """Put whole objects that share their flushes."""
        return put_many(self._files, puts)

    def open_writer(self) -> LocalWriter:
        """Start an object of any size."""
        return LocalWriter(self._files)

    def open(self, object_key: str, offset: int = 0, length: int | None = None) -> LocalReader:
        """Open an object for reading."""
        return LocalReader(self._files, object_key, offset, length)

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
        """Sizes of objects, from their inodes."""
        with faults_of(self.backend_id, "looking objects up"):
            return [self._files.size_of(self._files.path_of(object_key)) for object_key in object_keys]

    def delete_many(self, object_keys: Sequence[str]) -> Sequence[bool | StorageError]:
        """Unlink objects; their directories stay, since another put may be about to use them."""
        answers: list[bool | StorageError] = []
        for object_key in object_keys:
            try:
                answers.append(self._delete(object_key))
            except StorageError as error:
                answers.append(error)
        return answers

    def _delete(self, object_key: str) -> bool:
        path = self._files.path_of(object_key)
        with faults_of(self.backend_id, "deleting an object"):
            if self._files.size_of(path) is None:
                return False
            try:
                os.unlink(path)  # noqa: PTH108 - paths are plain strings in this package
            except FileNotFoundError:  # another deletion came first
                return False
            fsync_directory(self._files.directories_of(object_key)[-1], self._files.limits)
        return True

    def list_keys(self, *, after: str = "", limit: int) -> Sequence[tuple[str, int]]:
        """Walk the root from a key on, one directory at a time."""
        with faults_of(self.backend_id, "listing objects"):
            return list(islice(self._below("", after), limit))

    def _below(self, prefix: str, after: str) -> Iterator[tuple[str, int]]:
        with os.scandir(f"{self._files.root}/{prefix}") as found:
            # A directory sorts as the keys below it do, which continue with a slash.
            names = sorted(entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in found)
        for key in (f"{prefix}{name}" for name in names if _is_key(f"{prefix}{name}".removesuffix("/"))):
            if key.endswith("/"):
                if key > after or after.startswith(key):
                    yield from self._below(key, after)
            elif key > after and (size_bytes := self._files.size_of(self._files.path_of(key))) is not None:
                yield key, size_bytes

    def health(self) -> BackendHealth:
        """Measure the device and fly a canary."""
        return measure_health(self._files)

    def close(self) -> None:
        """Give up the temp files' lock."""
        self._files.scratch.close()


def _is_key(name: str) -> bool:
    """Tell what a backend stored from what else lies in its root, such as its temp files or `lost+found`."""
    try:
        check_object_key(name)
    except KeyRefused:
        return False
    return True
