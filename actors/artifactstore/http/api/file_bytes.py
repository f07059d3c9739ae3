"""The bytes of one file, or of ranges of it, for an answer.

A whole file is compared with its digest before its last bytes leave this module, so no client gets all bytes of a
damaged file. Ranges of a small file are cut from the whole, which is compared first. Ranges of a larger one are not
compared: a range has no digest.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from artifactstore.registry import PackageReads
from artifactstore_protocols.http_ranges import ByteRange
from artifactstore_protocols.packages import ProjectionDamaged
from artifactstore_protocols.records import FileRecord

__all__ = ["CHUNK_BYTES", "bytes_of_ranges", "parts_boundary", "parts_bytes"]

CHUNK_BYTES: Final = 1 << 20
"""The length of a piece of a large file, and the size of the largest file that is read whole.

An answer holds three pieces at most: one that is sent, one that waits for it, and one that is read.
"""


async def bytes_of_ranges(file: FileRecord, ranges: Sequence[ByteRange], reads: PackageReads) -> AsyncGenerator[bytes]:
    """Yield the bytes of ranges of a file. The first piece is there only once the object is known to be.

    Args:
        file: the file.
        ranges: the ranges; more than one gives parts, with heads between them and an end.
        reads: reads the store.

    Raises:
        ObjectMissing, ObjectDamaged, ContentPurged: before the last bytes.
        ProjectionDamaged: the object has another size than the tables say; before the last bytes.
    """
    several = len(ranges) > 1
    if file.size_bytes <= CHUNK_BYTES:
        (content,) = await reads.read_objects([file.content_address])
        if not isinstance(content, bytes):
            raise content
        if len(content) != file.size_bytes:
            raise _differs(file, len(content))
        for each in ranges:
            head = _head(file, each) if several else b""
            yield head + content[each.offset : each.offset + each.length]
    else:
        for each in ranges:
            if several:
                yield _head(file, each)
            async with aclosing(_large(file, each, reads)) as pieces:
                async for piece in pieces:
                    yield piece
    if several:
        yield _end(file)


async def _large(file: FileRecord, wanted: ByteRange, reads: PackageReads) -> AsyncGenerator[bytes]:
    """Yield the bytes of a range, each piece once there is another or the stream has ended well."""
    whole = wanted.length == file.size_bytes
    stream = await reads.open_object(file.content_address, wanted.offset, None if whole else wanted.length, CHUNK_BYTES)
    try:
        seen, held = 0, b""
        async for piece in stream:
            seen += len(piece)
            if seen > wanted.length:
                raise _differs(file, wanted.offset + seen)
            if held:
                yield held
            held = piece
        if seen != wanted.length:
            raise _differs(file, wanted.offset + seen)
        yield held
    finally:
        stream.close()


def _differs(file: FileRecord, size_bytes: int) -> ProjectionDamaged:
    return ProjectionDamaged(f"the size of {file.path!r}", str(file.size_bytes), str(size_bytes))


def parts_boundary(file: FileRecord) -> str:
    """Return the boundary between parts. No file contains its own digest."""
    return f"artifactstore-{file.sha256.rpartition(':')[2][:48]}"


def _head(file: FileRecord, part: ByteRange) -> bytes:
    """Return what precedes the bytes of a part in `multipart/byteranges`."""
    return (
        f"\r\n--{parts_boundary(file)}\r\nContent-Type: {file.media_type}\r\n"
        f"Content-Range: bytes {part.offset}-{part.last}/{file.size_bytes}\r\n\r\n"
    ).encode("latin-1")


def _end(file: FileRecord) -> bytes:
    """Return what follows the last part."""
    return f"\r\n--{parts_boundary(file)}--\r\n".encode()


def parts_bytes(file: FileRecord, parts: Sequence[ByteRange]) -> int:
    """Return the length of a body with several parts."""
    return sum(len(_head(file, part)) + part.length for part in parts) + len(_end(file))
