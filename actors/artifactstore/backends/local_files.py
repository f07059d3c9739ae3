"""Paths of a local backend's objects, and the steps that store an object whole or not at all.

An object appears by renaming a finished, synced, read-only temp file. So a name exists with all of its bytes or not at
all. If two processes put the same content, the second rename replaces the file with an equal one.
"""

import errno
import os
import stat
from collections.abc import Buffer, Callable, Iterator
from contextlib import suppress
from typing import Final

from msgspec import Struct

from artifactstore.backends.scratch import ScratchSpace
from artifactstore.durable import start_writeback
from artifactstore.target_limits import TargetLimits
from artifactstore_protocols.object_keys import check_object_key
from artifactstore_protocols.storage import KeyTaken

__all__ = ["BEGUN_BYTES", "COMPARED_BYTES_MAX", "WRITTEN_BYTES", "LocalFiles", "make_read_only", "write_all"]

COMPARED_BYTES_MAX: Final = 1 << 30
"""Bytes of a stored object that are compared with new content before the two count as equal.

Comparing 1 GiB takes 0.5 s from memory and 1.5 s from a disk that reads 0.7 GB/s. Its SHA-256 takes 2.5 s.
"""

WRITTEN_BYTES: Final = 512 << 10
"""Bytes per write call. In a virtual machine, pieces of 8 MiB took up to three times the processor time."""

BEGUN_BYTES: Final = 1 << 20
"""Size of a write, in bytes, from which its write-back starts at once, while the next bytes are hashed.

Smaller writes wait for the shared flush of a batch.
"""

_READ_ONLY = 0o444
_PIECE_BYTES = 1 << 20
_PLACING_TRIES = 16
_NOT_WHOLE = frozenset({errno.EIO, errno.EACCES, errno.ENOENT, errno.ELOOP})


def _pieces(size_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield the offset and length of each piece to compare; the pieces include the first and the last byte."""
    if size_bytes <= COMPARED_BYTES_MAX:
        for offset in range(0, size_bytes, _PIECE_BYTES):
            yield offset, min(_PIECE_BYTES, size_bytes - offset)
        return
    count = COMPARED_BYTES_MAX // _PIECE_BYTES
    for number in range(count):
        yield (size_bytes - _PIECE_BYTES) * number // (count - 1), _PIECE_BYTES


def write_all(fd: int, view: memoryview) -> None:
    """Write every byte; for at least `BEGUN_BYTES`, also start their write-back."""
    size_bytes = len(view)
    while view:
        view = view[os.write(fd, view[:WRITTEN_BYTES]) :]
    if size_bytes >= BEGUN_BYTES:
        start_writeback(fd)


def make_read_only(fd: int, limits: TargetLimits | None) -> None:
    """Make a finished temp file read-only, as objects are, for the users that the umask lets read it."""
    try:
        os.fchmod(fd, os.fstat(fd).st_mode & _READ_ONLY)
    except OSError as error:
        if limits is None or not limits.excuse("modes", error):
            raise


class LocalFiles(Struct, frozen=True):
    """Paths and renames below one root.

    Attributes:
        backend_id: name in errors.
        root: absolute path of the root.
        scratch: temp files in the same file system, so that they can be renamed into place.
        limits: notes what the file system does not support, for a backup; None for a store, which needs all of it.
    """

    backend_id: str
    root: str
    scratch: ScratchSpace
    limits: TargetLimits | None = None

    def path_of(self, object_key: str) -> str:
        """Return the path of a key.

        Raises:
            KeyRefused: the text is not a valid key.
        """
        check_object_key(object_key)
        return f"{self.root}/{object_key}"

    def size_of(self, path: str) -> int | None:
        """Return the size of an object in bytes; None if the path is not a regular file."""
        found = self.status_of(path)
        return None if found is None else found.st_size

    def status_of(self, path: str) -> os.stat_result | None:
        """Return the status of an object; None if the path is not a regular file."""
        try:
            found = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - plain strings on the hot path
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found if stat.S_ISREG(found.st_mode) else None

    def is_there(self, object_key: str, size_bytes: int, read_at: Callable[[int, int], Buffer]) -> bool:
        """Return whether a key already holds an object of this size and these bytes; see `holds`.

        Raises:
            KeyTaken: the key holds a different object.
        """
        path = self.path_of(object_key)
        present = self.size_of(path)
        if present is None:
            return False
        if present != size_bytes or not self.holds(path, size_bytes, read_at):
            raise KeyTaken(self.backend_id, object_key)
        return True

    def holds(self, path: str, size_bytes: int, read_at: Callable[[int, int], Buffer]) -> bool:
        """Return whether the object at this path, of this size, has the bytes that `read_at(offset, length)` returns.

        Up to `COMPARED_BYTES_MAX`, every byte is compared; of a larger object that many bytes, spread evenly. The
        result is false for an object that is missing or cannot be read.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                return all(
                    os.pread(fd, length, offset) == read_at(offset, length) for offset, length in _pieces(size_bytes)
                )
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno not in _NOT_WHOLE:
                raise
            return False

    def place(self, temp_path: str, path: str) -> None:
        """Rename a finished temp file into place; make its directories if they are missing.

        `local_tidying` may remove a directory again before the object is in it, so this tries a few times.
        """
        for _ in range(_PLACING_TRIES):
            with suppress(FileNotFoundError):
                os.replace(temp_path, path)  # noqa: PTH105 - plain strings on the hot path
                return
            with suppress(FileNotFoundError):
                os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - likewise
        os.replace(temp_path, path)  # noqa: PTH105 - likewise

    def directories_of(self, object_key: str) -> list[str]:
        """Return every directory that leads to an object, the root first."""
        chain = [self.root]
        for part in object_key.split("/")[:-1]:
            chain.append(f"{chain[-1]}/{part}")
        return chain
