"""Archives made byte by byte, right and wrong, for the tests of ingests from archives."""

import struct
import zlib
from typing import NamedTuple

__all__ = ["END", "Part", "block", "long_name", "pax", "record", "tar", "tar_member", "zip64", "zip_archive"]

END = bytes(1024)
"""The end marker of a tar archive."""


def block(
    name: bytes = b"f",
    size: int | bytes = 0,
    kind: bytes = b"0",
    *,
    target: bytes = b"",
    mode: int = 0o644,
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
) -> bytes:
    """The header of a tar member, with the right checksum. A size in bytes is written as it is."""
    written = size if isinstance(size, bytes) else b"%011o\0" % size
    head = name.ljust(100, b"\0") + b"%07o\0" % mode + b"%07o\0" % 0 * 2 + written + b"%011o\0" % 0
    tail = kind + target.ljust(100, b"\0") + magic + bytes(80) + prefix.ljust(155, b"\0") + bytes(12)
    return head + b"%06o\0 " % (sum(head) + sum(tail) + 8 * 32) + tail


def tar_member(
    name: bytes = b"f", content: bytes = b"", kind: bytes = b"0", *, target: bytes = b"", mode: int = 0o644
) -> bytes:
    """A tar member with its content, padded."""
    return block(name, len(content), kind, target=target, mode=mode) + content + bytes(-len(content) % 512)


def record(key: bytes, value: bytes) -> bytes:
    """A record of a pax header, with its length."""
    rest = b" %b=%b\n" % (key, value)
    size = len(rest) + 1
    while len(b"%d" % size) + len(rest) != size:
        size += 1
    return b"%d" % size + rest


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    """A pax header of these records."""
    return tar_member(b"PaxHeaders/f", b"".join(records), kind)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    """A GNU header with a long name."""
    return tar_member(b"././@LongLink", name, kind)


def tar(*members: bytes) -> bytes:
    """A tar archive of these members."""
    return b"".join(members) + END


class Part(NamedTuple):
    """A member of a zip archive. What is None is right, and everything else is written as it is."""

    name: bytes = b"f"
    content: bytes = b"x"
    method: int = 0
    flags: int = 0
    mode: int = 0o100644
    host: int = 3
    extra: bytes = b""
    packed: bytes | None = None
    size: int | None = None
    crc: int | None = None
    offset: int | None = None
    local_name: bytes | None = None
    local_method: int | None = None
    local_flags: int | None = None
    local_size: int | None = None
    local_crc: int | None = None
    descriptor: bytes = b""
    local_extra: bool = False


def zip_archive(
    *parts: Part,
    before: bytes = b"",
    gap: bytes = b"",
    comment: bytes = b"",
    entries: int | None = None,
    moved: int = 0,
) -> bytes:
    """A zip archive of these members.

    Args:
        parts: the members.
        before: what comes before the first one.
        gap: what comes between the central directory and the end record.
        comment: the comment of the archive.
        entries: the number of entries that the end record says.
        moved: what is added to the offset of the central directory.
    """
    members, directory = before, b""
    for part in parts:
        packed = _deflated(part.content) if part.method == 8 else part.content
        packed = packed if part.packed is None else part.packed
        size = len(part.content) if part.size is None else part.size
        crc = zlib.crc32(part.content) if part.crc is None else part.crc
        name = part.name if part.local_name is None else part.local_name
        method = part.method if part.local_method is None else part.local_method
        flags = part.flags if part.local_flags is None else part.local_flags
        local_size = size if part.local_size is None else part.local_size
        local_crc = crc if part.local_crc is None else part.local_crc
        sizes = len(packed), local_size
        if part.descriptor:
            local_crc, sizes = 0, (0, 0)
        extra = part.extra if part.local_extra else b""
        offset = len(members) if part.offset is None else part.offset
        members += struct.pack(
            "<4s5H3L2H", b"PK\3\4", 20, flags, method, 0, 33, local_crc, *sizes, len(name), len(extra)
        )
        members += name + extra + packed + part.descriptor
        fields = b"PK\1\2", part.host << 8 | 20, 20, part.flags, part.method, 0, 33, crc, len(packed), size
        lengths = len(part.name), len(part.extra), 0
        directory += struct.pack("<4s6H3L5H2L", *fields, *lengths, 0, 0, part.mode << 16, offset)
        directory += part.name + part.extra
    count = len(parts) if entries is None else entries
    place = len(directory), len(members) + moved
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, *place, len(comment))
    return members + directory + gap + end + comment


def zip64(archive: bytes, *, entries: int | None = None, gap: bytes = b"", disks: int = 1) -> bytes:
    """A zip archive without a comment, with a zip64 end record.

    Args:
        archive: the archive without one.
        entries: the number of entries that the new record says.
        gap: what comes after the new record.
        disks: the number of volumes.
    """
    *_disks, count, size, offset, _comment = struct.unpack("<4s4H2LH", archive[-22:])
    count = count if entries is None else entries
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(archive) - 22, disks)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return archive[:-22] + record + gap + locator + end


def _deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()
