"""The records of zip archives as values: end records, entries of the central directory, and local headers.

A zip archive describes each member twice, in a local header before its content and in the central directory at its end.
Programs that believe different places see different files, so `CentralEntry.agrees_with` compares the two. The formats
are those of PKWARE's APPNOTE.TXT 6.3.10. A record that is invalid raises a `ValueError` with the reason.
"""

import stat
import zlib
from struct import Struct
from typing import Final, NamedTuple

from artifactstore_protocols.tar_format import NAME_BYTES_MAX

__all__ = [
    "CENTRAL_BYTES",
    "COMMENT_BYTES_MAX",
    "DESCRIPTOR_BYTES_MAX",
    "END_64_BYTES",
    "END_BYTES",
    "END_SIGNATURE",
    "LOCAL_BYTES",
    "LOCATOR_BYTES",
    "CentralEntry",
    "End",
    "central_lengths",
    "comment_length",
    "end_64_at",
    "local_lengths",
    "read_central",
    "read_end",
    "read_end_64",
]

_END: Final = Struct("<4s4H2LH")
_END_64: Final = Struct("<4sQ2H2L4Q")
_LOCATOR: Final = Struct("<4sLQL")
_CENTRAL: Final = Struct("<4s6H3L5H2L")
_LOCAL: Final = Struct("<4s5H3L2H")
_DESCRIPTOR: Final = Struct("<3L")
_DESCRIPTOR_64: Final = Struct("<L2Q")
_FIELD: Final = Struct("<2H")

END_BYTES: Final = _END.size
END_64_BYTES: Final = _END_64.size
LOCATOR_BYTES: Final = _LOCATOR.size
CENTRAL_BYTES: Final = _CENTRAL.size
LOCAL_BYTES: Final = _LOCAL.size
COMMENT_BYTES_MAX: Final = 0xFFFF
DESCRIPTOR_BYTES_MAX: Final = 24

END_SIGNATURE: Final = b"PK\5\6"
_END_64_SIGNATURE: Final = b"PK\6\6"
_LOCATOR_SIGNATURE: Final = b"PK\6\7"
_CENTRAL_SIGNATURE: Final = b"PK\1\2"
_LOCAL_SIGNATURE: Final = b"PK\3\4"
_DESCRIPTOR_SIGNATURE: Final = b"PK\7\x08"

_END_64_HEAD_BYTES: Final = 12  # what the size of the record does not count
_UNICODE_HEAD_BYTES: Final = 5
_LARGE_BYTES: Final = 8

_FULL_16: Final = 0xFFFF
_FULL_32: Final = 0xFFFFFFFF
"""A field with such a value has its real value in a zip64 record or field."""

_ENCRYPTED: Final = 1 << 0 | 1 << 6 | 1 << 13
_DESCRIBED_AFTER: Final = 1 << 3
_PATCH: Final = 1 << 5
_UTF_8: Final = 1 << 11
_OF_DEFLATE: Final = 1 << 1 | 1 << 2
"""Flags for how well the content was compressed. They say nothing about how to read it."""

_ZIP64: Final = 0x0001
_UNICODE_PATH: Final = 0x7075
_UNIX: Final = frozenset({3, 19})
"""The systems whose archives have a mode in the external attributes: Unix and macOS."""

_NO_DIRECTORIES: Final = frozenset({stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK})
_VOLUMES: Final = "it has several volumes; join them first"


class End(NamedTuple):
    """What the end of an archive says: number of entries, size and offset of the central directory."""

    entries: int
    size_bytes: int
    offset: int


class CentralEntry(NamedTuple):
    """An entry of the central directory.

    Attributes:
        path: the path of the member; with a final slash for a directory.
        flags: general purpose flags.
        method: number of the compression method.
        crc: CRC-32 of the content.
        packed_bytes: compressed size.
        size_bytes: size of the content.
        offset: where the local header begins.
        mode: Unix mode; 0 if the archive has none.
        on_unix: whether the archive was made on a system with such modes.
    """

    path: str
    flags: int
    method: int
    crc: int
    packed_bytes: int
    size_bytes: int
    offset: int
    mode: int
    on_unix: bool

    @property
    def is_directory(self) -> bool:
        """Return whether the member is a directory. Old Java tools give some directories a mode without meaning.

        Raises:
            ValueError: its path and its mode do not agree.
        """
        kind = stat.S_IFMT(self.mode)
        named = self.path.endswith("/")
        if (kind == stat.S_IFDIR and not named) or (named and kind in _NO_DIRECTORIES):
            raise ValueError("its name and its mode disagree on whether it is a directory; make the archive again")
        return named

    @property
    def is_described_after(self) -> bool:
        """Return whether a data descriptor with the sizes and the checksum follows the content."""
        return bool(self.flags & _DESCRIBED_AFTER)

    def agrees_with(self, local: bytes) -> None:
        """Compare the entry with the local header of the same member, including its name and extra field.

        Raises:
            ValueError: the two differ.
        """
        signature, _needed, flags, method, _time, _date, crc, packed, size, length, _extra = _LOCAL.unpack_from(local)
        if signature != _LOCAL_SIGNATURE:
            raise ValueError("no local header is where the central directory says; the archive is damaged")
        raw, extra = local[LOCAL_BYTES : LOCAL_BYTES + length], _fields(local[LOCAL_BYTES + length :])
        large = extra.get(_ZIP64, b"")
        size, large = _large(size, large)
        packed, _rest = _large(packed, large)
        said = _name(raw, flags, extra, on_unix=self.on_unix), method, flags & ~_OF_DEFLATE
        if said != (self.path, self.method, self.flags & ~_OF_DEFLATE):
            raise _differ("name, method or flags")
        expected = self.crc, self.packed_bytes, self.size_bytes
        pairs = zip((crc, packed, size), expected, strict=True)
        if not all(found == wanted or (self.is_described_after and found == 0) for found, wanted in pairs):
            raise _differ("sizes or checksum")

    def descriptor_bytes(self, after: bytes) -> int:
        """Return the size of the data descriptor at the beginning of the bytes after the content.

        Raises:
            ValueError: the descriptor does not agree with the entry.
        """
        signed = len(_DESCRIPTOR_SIGNATURE) if after.startswith(_DESCRIPTOR_SIGNATURE) else 0
        expected = self.crc, self.packed_bytes, self.size_bytes
        for start in (signed, 0):  # a checksum may look like the signature
            for form in (_DESCRIPTOR, _DESCRIPTOR_64):
                end = start + form.size
                if len(after) >= end and form.unpack_from(after, start) == expected:
                    return end
        raise _differ("data descriptor")


def comment_length(record: bytes) -> int:
    """Return the length of the comment after an end record."""
    return int(_END.unpack(record)[-1])


def read_end(record: bytes) -> End:
    """Return what an end record says.

    Raises:
        ValueError: the archive has several volumes.
    """
    _signature, disk, first, here, entries, size_bytes, offset, _comment = _END.unpack(record)
    if {disk, first} - {0, _FULL_16} or here != entries:
        raise ValueError(_VOLUMES)
    return End(entries, size_bytes, offset)


def end_64_at(locator: bytes) -> int | None:
    """Return where the zip64 end record begins, from what is before the end record; None if that is no locator."""
    signature, disk, offset, disks = _LOCATOR.unpack(locator)
    if signature != _LOCATOR_SIGNATURE:
        return None
    if disk or disks > 1:
        raise ValueError(_VOLUMES)
    return int(offset)


def read_end_64(record: bytes, end: End) -> tuple[End, int]:
    """Return what a zip64 end record says, and its size in bytes.

    Args:
        record: the record, without what may follow its fixed part.
        end: what the end record says, which must be the same or a placeholder.

    Raises:
        ValueError: it is no such record, it differs from the end record, or the archive has several volumes.
    """
    signature, size, _made, _needed, disk, first, here, entries, size_bytes, offset = _END_64.unpack(record)
    if signature != _END_64_SIGNATURE:
        raise ValueError("its zip64 end record is not where its locator says; the archive is damaged")
    if disk or first or here != entries:
        raise ValueError(_VOLUMES)
    found = End(entries, size_bytes, offset)
    for said, full, real in zip(end, (_FULL_16, _FULL_32, _FULL_32), found, strict=True):
        if said not in {full, real}:
            raise ValueError("its two end records differ; make the archive again")
    return found, size + _END_64_HEAD_BYTES


def central_lengths(record: bytes) -> tuple[int, int]:
    """Return the length of an entry's name, and of the extra field and the comment together.

    Raises:
        ValueError: it is no entry.
    """
    fields = _CENTRAL.unpack(record)
    if fields[0] != _CENTRAL_SIGNATURE:
        raise ValueError("its central directory is damaged; get another copy")
    return fields[10], fields[11] + fields[12]


def read_central(record: bytes, name: bytes, rest: bytes) -> CentralEntry:
    """Return an entry of the central directory.

    Args:
        record: the fixed part.
        name: the name.
        rest: the extra field and the comment.

    Raises:
        ValueError: the entry is invalid, encrypted, or on another volume.
    """
    fields = _CENTRAL.unpack(record)
    _signature, made, _needed, flags, method, _time, _date, crc, packed, size = fields[:10]
    _length, extra_bytes, _comment, disk, _internal, attributes, offset = fields[10:]
    if flags & _ENCRYPTED:
        raise ValueError("it is encrypted; decrypt the archive first")
    if flags & _PATCH:
        raise ValueError("it is a patch of another file")
    extra = _fields(rest[:extra_bytes])
    large = extra.get(_ZIP64, b"")
    size, large = _large(size, large)
    packed, large = _large(packed, large)
    offset, large = _large(offset, large)
    if disk not in {0, _FULL_16}:
        raise ValueError(_VOLUMES)
    on_unix = made >> 8 in _UNIX
    mode = attributes >> 16 if on_unix else 0
    path = _name(name, flags, extra, on_unix=on_unix)
    return CentralEntry(path, flags, method, crc, packed, size, offset, mode, on_unix)


def local_lengths(record: bytes) -> tuple[int, int]:
    """Return the lengths of the name and of the extra field after a local header."""
    fields = _LOCAL.unpack(record)
    return fields[9], fields[10]


def _fields(extra: bytes) -> dict[int, bytes]:
    """Return the extra fields that matter."""
    found: dict[int, bytes] = {}
    at = 0
    while len(extra) - at >= _FIELD.size:
        key, length = _FIELD.unpack_from(extra, at)
        at += _FIELD.size
        if at + length > len(extra):
            raise ValueError("its extra field is damaged; make the archive again")
        if key in {_ZIP64, _UNICODE_PATH}:
            if key in found:
                raise ValueError("it has an extra field twice; make the archive again")
            found[key] = extra[at : at + length]
        at += length
    if extra[at:].strip(b"\0"):  # some tools align contents by zeros
        raise ValueError("its extra field is damaged; make the archive again")
    return found


def _large(value: int, large: bytes) -> tuple[int, bytes]:
    """Return the real value of a field, and the values of the zip64 field that are left."""
    if value != _FULL_32 or not large:
        return value, large
    if len(large) < _LARGE_BYTES:
        raise ValueError("its zip64 field is too short; make the archive again")
    return int.from_bytes(large[:_LARGE_BYTES], "little"), large[_LARGE_BYTES:]


def _name(raw: bytes, flags: int, extra: dict[int, bytes], *, on_unix: bool) -> str:
    """Return a name as text.

    The name is UTF-8 if a flag says so, and code page 437 otherwise. Tools on Unix store the bytes of a file's name
    without the flag, so these are UTF-8 if they can be. Info-ZIP adds a field with the name in UTF-8.
    """
    if len(raw) > NAME_BYTES_MAX:
        raise ValueError(f"its name has {len(raw)} bytes, {NAME_BYTES_MAX} at most")
    if flags & _UTF_8:
        return raw.decode(errors="surrogateescape")
    if (unicode := extra.get(_UNICODE_PATH)) is not None:
        version, crc = unicode[:1], unicode[1:_UNICODE_HEAD_BYTES]
        if version != b"\1" or crc != zlib.crc32(raw).to_bytes(4, "little"):
            raise ValueError("it has two names that do not belong together; make the archive again")
        if len(unicode) > NAME_BYTES_MAX:
            raise ValueError(f"its name has more than {NAME_BYTES_MAX} bytes")
        return unicode[_UNICODE_HEAD_BYTES:].decode(errors="surrogateescape")
    if on_unix:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            pass
    return raw.decode("cp437")


def _differ(what: str) -> ValueError:
    return ValueError(f"its local header and the central directory differ in {what}; make the archive again")
