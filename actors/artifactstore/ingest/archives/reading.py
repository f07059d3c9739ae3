"""Reading of descriptors: pieces of a file or a pipe in their order, and the tar archives that they hold."""

import errno
import os
import select
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol, override

from artifactstore.dataplane.source import change_of
from artifactstore.ingest.archives.spool import Spool
from artifactstore.open_files import OpenFile
from artifactstore_protocols.dataplane import Piece, SourceUnreadable

__all__ = [
    "PIECE_BYTES",
    "InPlace",
    "Pieces",
    "Source",
    "Streamed",
    "everything_in",
    "pieces_of",
    "slice_of",
    "unreadable",
]

PIECE_BYTES: Final = 1 << 18
"""The size in bytes of what is read, unpacked and written at a time."""

_WAIT_MS: Final = 200
"""The time in milliseconds between two checks for cancellation while a pipe has no data."""


def pieces_of(descriptor: int, archive: str, check_cancelled: Callable[[], None]) -> Iterator[bytes]:
    """Yield what a descriptor has from its position on. Waits for a pipe, and stays cancellable meanwhile.

    Raises:
        SourceUnreadable: the descriptor cannot be read.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while True:
        check_cancelled()
        try:
            if not poll.poll(_WAIT_MS):
                continue
            piece = os.read(descriptor, PIECE_BYTES)
        except BlockingIOError:
            continue
        except OSError as error:
            raise unreadable(archive, error) from error
        if not piece:
            return
        yield piece


def everything_in(descriptor: int, name: str, check_cancelled: Callable[[], None]) -> Piece:
    """Return all that can be read from a descriptor, from its position on. Blocks.

    A regular file is not copied. Everything else is copied to a temporary file without a name.

    Raises:
        SourceUnreadable: the descriptor cannot be read.
        TargetRefused: the temporary file cannot be written.
    """
    try:
        found = os.fstat(descriptor)
        start = os.lseek(descriptor, 0, os.SEEK_CUR) if stat.S_ISREG(found.st_mode) else 0
        if stat.S_ISREG(found.st_mode) and found.st_size > start:  # files of /proc have no size, and still a content
            return Piece(OpenFile(descriptor), start, found.st_size - start, change_of(found))
    except OSError as error:
        raise unreadable(name, error) from error
    with Spool.open(None) as copy:
        for piece in pieces_of(descriptor, name, check_cancelled):
            copy.write(piece)
        try:
            return Piece(OpenFile(copy.descriptor), 0, copy.size_bytes, change_of(os.fstat(copy.descriptor)))
        except OSError as error:
            raise unreadable(name, error) from error


def slice_of(
    descriptor: int, offset: int, size_bytes: int, archive: str, check_cancelled: Callable[[], None]
) -> Iterator[bytes]:
    """Yield the pieces of a part of a regular file; fewer bytes if the file ends before.

    Raises:
        SourceUnreadable: the file cannot be read.
    """
    end = offset + size_bytes
    while offset < end:
        check_cancelled()
        try:
            piece = os.pread(descriptor, min(PIECE_BYTES, end - offset), offset)
        except OSError as error:
            raise unreadable(archive, error) from error
        if not piece:
            return
        offset += len(piece)
        yield piece


def unreadable(archive: str, error: OSError) -> SourceUnreadable:
    """Return the error for an archive that the operating system cannot read."""
    return SourceUnreadable(archive, errno.errorcode.get(error.errno or 0, str(error)))


class Pieces:
    """Reads exact numbers of bytes from pieces of any size."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest: memoryview[int] = memoryview(b"")

    def take(self, count: int) -> Iterator[memoryview]:
        """Yield the next `count` bytes in pieces; fewer at the end."""
        while count:
            if not self._rest:
                self._rest = memoryview(next(self._pieces, b""))
                if not self._rest:
                    return
            piece, self._rest = self._rest[:count], self._rest[count:]
            count -= len(piece)
            yield piece

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes; fewer at the end."""
        return b"".join(self.take(count))


class Source(Protocol):
    """A tar archive that is read from its beginning to its end."""

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes; fewer at the end."""
        ...

    def keep(self, count: int) -> int | None:
        """Keep the next `count` bytes as the content of a file, and pass them.

        Returns:
            Where the content begins in the descriptor that holds the contents; None if the archive ends before.
        """
        ...


class InPlace(Source):
    """A tar archive in a regular file, whose contents stay where they are.

    Args:
        descriptor: the file.
        size_bytes: its size.
        archive: its name, for errors.
    """

    def __init__(self, descriptor: int, size_bytes: int, archive: str) -> None:
        self._descriptor = descriptor
        self._size_bytes = size_bytes
        self._archive = archive
        self._at = 0

    @override
    def read(self, count: int) -> bytes:
        count = min(count, self._size_bytes - self._at)
        data = b"".join(slice_of(self._descriptor, self._at, count, self._archive, lambda: None))
        self._at += len(data)
        return data

    @override
    def keep(self, count: int) -> int | None:
        offset = self._at
        self._at = min(offset + count, self._size_bytes)
        return offset if self._at == offset + count else None


class Streamed(Pieces, Source):
    """A tar archive that comes in pieces; the contents of its files are written to a spool."""

    def __init__(self, pieces: Iterable[bytes], spool: Spool) -> None:
        super().__init__(pieces)
        self._spool = spool

    @override
    def keep(self, count: int) -> int | None:
        offset = self._spool.size_bytes
        for piece in self.take(count):
            self._spool.write(piece)
        return offset if self._spool.size_bytes == offset + count else None
