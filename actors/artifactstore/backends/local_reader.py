"""Reading one object of a local root, all of it or ranges."""

import errno
import os
import stat
from types import TracebackType
from typing import Final, Self

from artifactstore.backends.local_files import LocalFiles
from artifactstore.backends.os_errors import faults_of
from artifactstore_protocols.storage import ObjectDamaged, ObjectMissing

__all__ = ["LocalReader"]

# What opening gives for a name that is no object: absent, below another object, a link, a socket.
_NO_OBJECT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class LocalReader:
    """An `ObjectReader` over an open file, which outlives its name."""

    __slots__ = ("_fd", "_files", "_object_key", "_size_bytes")

    def __init__(self, files: LocalFiles, object_key: str) -> None:
        self._files = files
        self._object_key = object_key
        path = files.path_of(object_key)
        with faults_of(files.backend_id, "opening an object"):
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.close()

    @property
    def size_bytes(self) -> int:
        """Length of the object."""
        return self._size_bytes

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly the bytes that are asked for, up to the object's end."""
        if self._fd is None:
            raise RuntimeError("this reader is closed; open the object again")
        wanted = max(0, min(length, self._size_bytes - offset))
        data = self._pread(self._fd, wanted, offset)
        while len(data) < wanted:  # some file systems return less than there is
            more = self._pread(self._fd, wanted - len(data), offset + len(data))
            if not more:
                reason = f"it ends at {offset + len(data)} of {self._size_bytes} bytes"
                raise ObjectDamaged(self._files.backend_id, self._object_key, reason)
            data += more
        return data

    def _pread(self, fd: int, length: int, offset: int) -> bytes:
        with faults_of(self._files.backend_id, "reading an object"):
            try:
                return os.pread(fd, length, offset)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                # The medium does not give these bytes back: for this object that is damage, which a rewrite heals.
                reason = f"it cannot be read at byte {offset} (EIO)"
                raise ObjectDamaged(self._files.backend_id, self._object_key, reason) from error

    def close(self) -> None:
        """Release the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
