"""Open files that several threads read: what a source's descriptor has, in a regular file."""

import os
import select
import stat
import tempfile
from collections.abc import Callable
from typing import IO, Final, override

from artifactstore_protocols.dataplane import HasDescriptor, Piece

__all__ = ["OpenFile", "everything_in"]

_COPIED_BYTES: Final = 1 << 20
_POLL_MS: Final = 100
"""Interval between two checks for cancellation while a pipe has nothing to read."""


class OpenFile(HasDescriptor):
    """A duplicate of a descriptor. It is closed with the last reference, since a thread may read after the ingest."""

    __slots__ = ("_fd",)

    def __init__(self, descriptor: int) -> None:
        self._fd = os.dup(descriptor)

    @override
    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def __del__(self) -> None:
        os.close(self._fd)


def everything_in(descriptor: int, check_cancelled: Callable[[], None]) -> Piece:
    """Return all that can be read from a descriptor, from its position on. Blocks.

    A regular file is not copied. Everything else is copied to a temporary file without a name, which takes no space any
    more when the process ends, however it ends.

    Raises:
        OSError: the descriptor cannot be read, or the temporary file cannot be written.
    """
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode):
        start = os.lseek(descriptor, 0, os.SEEK_CUR)
        return Piece(OpenFile(descriptor), start, max(found.st_size - start, 0))
    with tempfile.TemporaryFile(buffering=0) as copy:
        size_bytes = _copied(descriptor, copy, check_cancelled)
        return Piece(OpenFile(copy.fileno()), 0, size_bytes)


def _copied(descriptor: int, copy: IO[bytes], check_cancelled: Callable[[], None]) -> int:
    size_bytes = 0
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while True:
        check_cancelled()
        if not poll.poll(_POLL_MS):
            continue
        if not (chunk := os.read(descriptor, _COPIED_BYTES)):
            return size_bytes
        size_bytes += len(chunk)
        view = memoryview(chunk)
        while view:
            view = view[copy.write(view) :]
