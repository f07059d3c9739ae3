"""Reader for one object of a local root, or for a range of its bytes."""

import errno
import os
import stat
from collections.abc import Callable
from functools import partial
from typing import Final, Self

from artifactstore.backends.local_files import LocalFiles
from artifactstore.backends.os_errors import error_name, translated_os_errors
from artifactstore_protocols.storage import ObjectDamaged, ObjectMissing
from artifactstore_protocols.system_errors import in_words

__all__ = ["LocalReader"]

# Errors of `open` for a name that is no object: absent, below another object, a link, a socket.
_NO_OBJECT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class LocalReader:
    """An `ObjectReader` over an open file. It can continue to read after the object is deleted."""

    __slots__ = ("_end", "_fd", "_files", "_object_key", "_position", "_size_bytes")

    def __init__(self, files: LocalFiles, object_key: str, offset: int, length: int | None) -> None:
        self._files = files
        self._object_key = object_key
        path = files.path_of(object_key)
        with translated_os_errors(files.backend_id, "opening an object"):
            try:
                fd = os.open(path, _FLAGS)
            except OSError as error:
                if error.errno in _NO_OBJECT:
                    raise ObjectMissing(files.backend_id, object_key) from None
                raise
            found = os.fstat(fd)
        self._fd: int | None = fd
        self._size_bytes = found.st_size
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise ObjectMissing(files.backend_id, object_key)
        self._position = offset
        self._end = self._size_bytes if length is None else min(offset + length, self._size_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def size_bytes(self) -> int:
        """Length of the object."""
        return self._size_bytes

    def fileno(self) -> int:
        """Return the descriptor of the file, which the reader closes."""
        if self._fd is None:
            raise RuntimeError("this reader is closed; open the object again")
        return self._fd

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill a buffer with the next bytes, up to the end of the range."""
        fd = self.fileno()
        with memoryview(buffer) as view:
            wanted = max(0, min(len(view), self._end - self._position))
            done = 0
            while done < wanted:  # some file systems return short reads
                done += self._advance(self._translated(partial(os.preadv, fd, [view[done:wanted]], self._position)))
        return wanted

    def read(self, most: int) -> bytes:
        """Return the next bytes, up to the end of the range."""
        fd = self.fileno()
        parts: list[bytes] = []
        wanted = max(0, min(most, self._end - self._position))
        while wanted:
            part = self._translated(partial(os.pread, fd, wanted, self._position))
            wanted -= self._advance(len(part))
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _advance(self, count: int) -> int:
        if not count:
            reason = f"it ends at {self._position} of {self._size_bytes} bytes"
            raise ObjectDamaged(self._files.backend_id, self._object_key, reason)
        self._position += count
        return count

    def _translated[T](self, read: Callable[[], T]) -> T:
        with translated_os_errors(self._files.backend_id, "reading an object"):
            try:
                return read()
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                # The device cannot return these bytes. For this object that is damage, which repairing repairs.
                reason = f"it cannot be read at byte {self._position}: {in_words(error_name(error))}"
                raise ObjectDamaged(self._files.backend_id, self._object_key, reason) from error

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
