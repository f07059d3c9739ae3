"""The bytes of files in an opened package, for reads at any position. Used only in trio, where the store runs.

Whole files are compared with their digests, ranges are not: a range has no digest. So a small file is read whole and
kept while it is open, and every read of it is checked. A larger file is checked when it is read from its beginning to
its end without a jump.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import trio

from artifactstore_protocols.messages import Stream
from artifactstore_protocols.records import FileRecord
from artifactstore_protocols.storage import StorageError

__all__ = ["KEPT_BYTES_MAX", "FileContent", "OpenObject", "PackageContents", "ReadObjects", "Run"]

KEPT_BYTES_MAX: Final = 8 << 20
"""The size of the largest file that is read whole and kept in memory while it is open; the size of one piece."""

_SMALL_BYTES_MAX: Final = 1 << 20
"""The size of the largest file that is read by one request. A stream, which larger files need, takes several."""

type ReadObjects = Callable[[Sequence[str]], Awaitable[Sequence[bytes | StorageError]]]
"""Reads whole objects by their content addresses, and compares them with their digests."""

type OpenObject = Callable[[str, int, int | None], Awaitable[Stream[bytes]]]
"""Opens a stream of an object or of a range: content address, offset, length (None: to the end)."""


class Run(Protocol):
    """Runs a coroutine function where the store runs, and returns its result to the caller."""

    async def __call__[T](self, work: Callable[[], Awaitable[T]]) -> T:
        """Run it."""
        ...


class PackageContents:
    """Access to the objects of one package.

    Args:
        open_object: opens an object of the store.
        read_objects: reads small objects of the store.
    """

    def __init__(self, open_object: OpenObject, read_objects: ReadObjects) -> None:
        self._open_object = open_object
        self._read_objects = read_objects

    def open(self, file: FileRecord) -> "FileContent":
        """Return the content of a file. Nothing is opened before the first read."""
        return FileContent(self, self._open_object, file)

    async def read(self, file: FileRecord) -> bytes:
        """Return all bytes of a file, after they were compared with its digest.

        Raises:
            ObjectMissing, ObjectDamaged: the object is missing or damaged.
        """
        if file.size_bytes <= _SMALL_BYTES_MAX:
            (content,) = await self._read_objects([file.content_address])
            if isinstance(content, bytes):
                return content
            raise content
        stream = await self._open_object(file.content_address, 0, None)
        try:
            return b"".join([piece async for piece in stream])
        finally:
            stream.close()


class FileContent:
    """The content of one file. It holds at most one open stream, and two pieces of `KEPT_BYTES_MAX` in memory."""

    def __init__(self, contents: PackageContents, open_object: OpenObject, file: FileRecord) -> None:
        self._contents = contents
        self._open_object = open_object
        self._file = file
        self._size_bytes = file.size_bytes
        self._whole: bytes | None = None
        self._stream: Stream[bytes] | None = None
        self._rest = memoryview(b"")
        self._continues = False
        self._position = 0
        self._turn = trio.Lock()

    async def read_at(self, offset: int, size_bytes: int) -> bytes:
        """Return the bytes from `offset` on: `size_bytes` of them, or as many as there are.

        Raises:
            ObjectMissing, ObjectDamaged: the object is missing or damaged.
        """
        async with self._turn:
            count = min(size_bytes, self._size_bytes - offset)
            if count <= 0:
                return b""
            if self._size_bytes <= KEPT_BYTES_MAX:
                if self._whole is None:
                    self._whole = await self._contents.read(self._file)
                return self._whole[offset : offset + count]
            return await self._read_on(offset, count)

    async def _read_on(self, offset: int, count: int) -> bytes:
        """Read from the open stream if it is at this place, from a new one if not."""
        if self._stream is None or offset != self._position:
            # The place after the last read is where a reader probably continues: open the stream to the end.
            self._continues = offset in {0, self._position}
            self.close()
            self._stream = await self._open_object(
                self._file.content_address, offset, None if self._continues else count
            )
        pieces: list[memoryview] = []
        missing = count
        self._position = offset + count
        ends = not self._continues or self._position == self._size_bytes
        try:
            while missing:
                if not self._rest:
                    self._rest = memoryview(await anext(self._stream))
                piece = self._rest[:missing]
                pieces.append(piece)
                self._rest = self._rest[len(piece) :]
                missing -= len(piece)
            if ends:  # an object that is longer than its file is found here
                async for _ in self._stream:
                    pass
        except BaseException:
            ends = True
            raise
        finally:
            if ends:
                self.close()
        return b"".join(pieces)

    def close(self) -> None:
        """Close the stream. A later read opens another one."""
        if self._stream is not None:
            self._stream.close()
        self._stream, self._rest = None, memoryview(b"")
