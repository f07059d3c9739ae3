"""Decompression in pieces of limited size: gzip, bzip2 and xz streams, and the members of zip archives.

A few packed bytes can unpack to very many. So no call returns more than a piece, and each piece is counted before the
next one.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, Protocol, override

from artifactstore.ingest.archives.limits import Meter
from artifactstore.ingest.archives.reading import PIECE_BYTES
from artifactstore.ingest.archives.refusals import ArchiveRefused

__all__ = ["MEMBER_METHODS", "STREAMS", "Decompressor", "inflated", "unpacked"]

_XZ_MEMORY_MAX: Final = 128 << 20
"""The maximum memory of an xz decompressor in bytes. The largest preset of xz, -9, needs 65 MiB."""

_AUTOMATIC_HEADER: Final = 16
_ERRORS: Final = (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError)  # bz2 raises an OSError


class Decompressor(Protocol):
    """The interface of the decompressors of `bz2` and `lzma`."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether more data is needed for more output."""
        ...

    @property
    def unused_data(self) -> bytes:
        """The data after the end of the stream."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return up to `max_length` bytes of output."""
        ...


class _Inflater(Decompressor):
    """A decompressor of `zlib` with the interface of the others."""

    def __init__(self, window_bits: int) -> None:
        self._stream = zlib.decompressobj(window_bits)

    @property
    @override
    def eof(self) -> bool:
        return self._stream.eof

    @property
    @override
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    @property
    @override
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    @override
    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, max_length)


STREAMS: Final[Mapping[bytes, Callable[[], Decompressor]]] = MappingProxyType(
    {
        b"\x1f\x8b": lambda: _Inflater(_AUTOMATIC_HEADER + zlib.MAX_WBITS),
        b"BZh": bz2.BZ2Decompressor,
        b"\xfd7zXZ\0": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY_MAX),
    }
)
"""Decompressors of streams by the bytes that a stream begins with: gzip, bzip2 and xz. All of them check a checksum."""

MEMBER_METHODS: Final[Mapping[int, Callable[[], Decompressor]]] = MappingProxyType(
    {8: lambda: _Inflater(-zlib.MAX_WBITS), 12: bz2.BZ2Decompressor}
)
"""Decompressors of the members of zip archives by the number of the method: deflate and bzip2."""


def unpacked(packed: Iterable[bytes], start: Callable[[], Decompressor], archive: str, meter: Meter) -> Iterator[bytes]:
    """Yield what compressed streams hold, one after the other. Zeros may follow each of them, and nothing else.

    Args:
        packed: the streams, in pieces.
        start: returns a decompressor for one stream.
        archive: the name of the archive, for errors.
        meter: counts the bytes.

    Raises:
        ArchiveRefused: the data is damaged or incomplete, is followed by other bytes, or exceeds a limit.
    """
    stream, began, several = start(), False, False
    for piece in packed:
        meter.count(packed=len(piece))
        data = piece.lstrip(b"\0") if several and not began else piece
        while data:
            began = True
            try:
                for output in _outputs(stream, data):
                    meter.count(unpacked=len(output))
                    yield output
            except ValueError as error:
                reason = f"its compressed data is damaged, or other bytes follow it ({error}); get another copy"
                raise ArchiveRefused(archive, "", reason) from error
            data = b""
            if stream.eof:
                data = stream.unused_data.lstrip(b"\0")
                stream, began, several = start(), False, True
    if began:
        more = ", or other bytes follow it" if several else ""
        raise ArchiveRefused(archive, "", f"its compressed data ends too early{more}; get another copy")


def inflated(packed: Iterable[bytes], stream: Decompressor) -> Iterator[bytes]:
    """Yield what exactly one compressed stream holds.

    Raises:
        ValueError: the data is damaged or incomplete, or other bytes follow it.
    """
    for piece in packed:
        if stream.eof:
            raise ValueError("bytes follow its end")
        yield from _outputs(stream, piece)
    if not stream.eof:
        raise ValueError("it ends too early")
    if stream.unused_data:
        raise ValueError("bytes follow its end")


def _outputs(stream: Decompressor, data: bytes) -> Iterator[bytes]:
    """Yield what a stream gives for some data, until it has ended or needs more.

    Raises:
        ValueError: the data is damaged.
    """
    while True:
        try:
            output = stream.decompress(data, PIECE_BYTES)
        except _ERRORS as error:
            raise ValueError(str(error)) from error
        data = b""
        if output:
            yield output
        if stream.eof or (stream.needs_input and not output):
            return
