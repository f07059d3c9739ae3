"""The headers of tar archives as values: POSIX ustar and pax, GNU's long names, and the format of V7 Unix.

A tar archive is a sequence of members. Each has a header of one block of 512 bytes, and content that is padded to whole
blocks. A member may have extensions before it: a pax header or a GNU long name, which have a header and content
themselves. `MemberReader` joins them. Two blocks of zeros end the archive.

Tools disagree about archives that say something twice, give content to a directory, or set names for all members at
once. This module rejects what is read in more than one way. It also limits the size of names and of extensions.

Names are bytes in an archive. They become text as the names of a directory do: UTF-8, with a lone surrogate for each
byte that is not (PEP 383).
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from artifactstore_protocols.errors import InvalidValue

__all__ = [
    "BLOCK_BYTES",
    "EXTENSION_BYTES_MAX",
    "NAME_BYTES_MAX",
    "TarHeader",
    "TarKind",
    "TarMember",
    "TarMembers",
    "is_tar",
    "padding",
    "read_header",
    "read_pax",
]

BLOCK_BYTES: Final = 512

EXTENSION_BYTES_MAX: Final = 1 << 20
"""The maximum size of a pax header. Extended attributes, which are ignored, have at most 64 KiB each on Linux."""

NAME_BYTES_MAX: Final = 4096
"""The maximum bytes of a name or of a link's target: PATH_MAX of Linux."""

_SIZE_MAX: Final = (1 << 63) - 1
_SHOWN_CHARACTERS: Final = 80
_ZEROS: Final = bytes(BLOCK_BYTES)
_CHECKSUM: Final = slice(148, 156)
_BASE_256: Final = 0x80
_NEGATIVE: Final = 0x40
_OWNER_EXECUTES: Final = 0o100
_SIGN: Final = 0x80

_RECORD: Final = re.compile(rb"([1-9][0-9]{0,6}) ([^=\0\n]+)=")
_OCTAL: Final = re.compile(rb" *([0-7]*)[ \0]*")
_DECIMAL: Final = re.compile(rb"[0-9]{1,20}")


class TarKind(StrEnum):
    """The kind of a header: a member that can be read, or an extension of the next member."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "symbolic link"
    HARD_LINK = "hard link"
    CHARACTER_DEVICE = "character device"
    BLOCK_DEVICE = "block device"
    FIFO = "FIFO"
    PAX = "pax header"
    PAX_GLOBAL = "global pax header"
    LONG_NAME = "long name"
    LONG_TARGET = "long target of a link"


_KINDS: Final[Mapping[bytes, TarKind]] = {
    b"\0": TarKind.FILE,
    b"0": TarKind.FILE,
    b"7": TarKind.FILE,  # a contiguous file, which POSIX has readers treat as a file
    b"1": TarKind.HARD_LINK,
    b"2": TarKind.LINK,
    b"3": TarKind.CHARACTER_DEVICE,
    b"4": TarKind.BLOCK_DEVICE,
    b"5": TarKind.DIRECTORY,
    b"6": TarKind.FIFO,
    b"x": TarKind.PAX,
    b"g": TarKind.PAX_GLOBAL,
    b"L": TarKind.LONG_NAME,
    b"K": TarKind.LONG_TARGET,
}

_SPARSE: Final = "it is a sparse file; make the archive without --sparse"

_NOT_READ: Final[Mapping[bytes, str]] = {
    b"S": _SPARSE,
    b"M": "it continues a file of another volume; join the volumes first",
    b"V": "it is a volume's label; make the archive without --label",
    b"D": "it is a directory of an incremental backup; make the archive without --incremental",
}

_EXTENSIONS: Final = frozenset({TarKind.PAX, TarKind.PAX_GLOBAL, TarKind.LONG_NAME, TarKind.LONG_TARGET})


class TarHeader(NamedTuple):
    """A header as its block says it.

    Attributes:
        kind: what follows.
        path: the path, as the block says it.
        target: the target of a link, or the path of the member that a hard link is equal to.
        size_bytes: the bytes of content that follow.
        executable: whether the owner may execute the file.
    """

    kind: TarKind
    path: str
    target: str
    size_bytes: int
    executable: bool

    @property
    def extends(self) -> bool:
        """Return whether the content says something about the next member."""
        return self.kind in _EXTENSIONS


class TarMember(NamedTuple):
    """A member with its extensions; the fields are those of `TarHeader`. A directory's path has no final slash."""

    kind: TarKind
    path: str
    target: str
    size_bytes: int
    executable: bool


class TarMembers:
    """Joins headers and their extensions to members."""

    def __init__(self) -> None:
        self._said: dict[str, str | int] = {}
        self._waits = False

    @property
    def waits(self) -> bool:
        """Return whether an extension waits for its member."""
        return self._waits

    def extend(self, header: TarHeader, content: bytes) -> None:
        """Take an extension of the next member.

        Raises:
            InvalidValue: the content is invalid, or says something that an earlier extension says.
        """
        if header.kind is TarKind.PAX_GLOBAL:
            if said := read_pax(content, header.path):
                many = f"a global header sets {', '.join(said)} of all members; only its other fields are allowed"
                raise _invalid(header.path, many)
            return
        if header.kind is TarKind.PAX:
            said = read_pax(content, header.path)
        else:
            said = {"path" if header.kind is TarKind.LONG_NAME else "linkpath": _long_name(content, header.path)}
        if twice := said.keys() & self._said:
            raise _invalid(header.path, f"two headers set the {min(twice)} of one member")
        self._said |= said
        self._waits = True

    def member(self, header: TarHeader) -> TarMember:
        """Return the member of a header that is not an extension.

        Raises:
            InvalidValue: something that is not a file has content.
        """
        kind, path, target, size_bytes, executable = header
        said, self._said, self._waits = self._said, {}, False
        path, target = str(said.get("path", path)), str(said.get("linkpath", target))
        size_bytes = int(said.get("size", size_bytes))
        if kind is TarKind.FILE and path.endswith("/"):  # V7 Unix had no type for directories
            kind = TarKind.DIRECTORY
        if size_bytes and kind is not TarKind.FILE:
            raise _invalid(path, f"it is a {kind} with content, which tools read differently; make the archive again")
        if kind is TarKind.DIRECTORY:
            path = path.removesuffix("/") or path
        return TarMember(kind, path, target, size_bytes, executable)


def padding(size_bytes: int) -> int:
    """Return the number of bytes between the end of a content of this size and the next header."""
    return -size_bytes % BLOCK_BYTES


def is_tar(block: bytes) -> bool:
    """Return whether an archive that begins with these bytes is a tar archive, intact or damaged."""
    block = block[:BLOCK_BYTES]
    if len(block) < BLOCK_BYTES:
        return False
    if block == _ZEROS or block[257:262] == b"ustar":
        return True
    checksum = _OCTAL.fullmatch(block[_CHECKSUM])
    return checksum is not None and int(checksum[1] or b"0", 8) in {_sum(block), _sum(block) - _signed(block)}


def read_header(block: bytes) -> TarHeader | None:
    """Return the header in a block of 512 bytes; None for a block of zeros, which is part of the end.

    Raises:
        InvalidValue: the block is not a header, its checksum is wrong, a number is invalid, or its type is not read.
    """
    if block == _ZEROS:
        return None
    path = _text(block[:100])
    expected = _octal(block[_CHECKSUM], path, "checksum")
    if expected != _sum(block) and expected != _sum(block) - _signed(block):
        raise _invalid(path, "the checksum of its header is wrong: the archive is damaged, or it is none")
    if block[257:265] == b"ustar\x0000" and (prefix := _text(block[345:500])):
        path = f"{prefix}/{path}"
    letter = block[156:157]
    if (flaw := _NOT_READ.get(letter)) is not None:
        raise _invalid(path, flaw)
    if (kind := _KINDS.get(letter)) is None:
        raise _invalid(path, f"its type {letter.decode('latin-1')!r} is unknown; make the archive with --format=pax")
    size_bytes = _number(block[124:136], path, "size")
    if kind in _EXTENSIONS:
        limit = EXTENSION_BYTES_MAX if kind in {TarKind.PAX, TarKind.PAX_GLOBAL} else NAME_BYTES_MAX + 1
        if size_bytes > limit:
            raise _invalid(path, f"its {kind} has {size_bytes} bytes, {limit} at most")
    executable = bool(_number(block[100:108], path, "mode") & _OWNER_EXECUTES)
    return TarHeader(kind, path, _text(block[157:257]), size_bytes, executable)


def read_pax(content: bytes, path: str) -> dict[str, str | int]:
    """Return what a pax header says about the path, the target (`linkpath`) and the size; other fields are ignored.

    Args:
        content: the records.
        path: the path of the header itself, for errors.

    Raises:
        InvalidValue: the header is invalid, says one of these twice, or describes a sparse file.
    """
    said: dict[str, str | int] = {}
    for key, value in _records(content, path):
        if key.startswith(b"GNU.sparse.") or key == b"SCHILY.realsize":
            raise _invalid(path, _SPARSE)
        if key not in {b"path", b"linkpath", b"size"}:
            continue
        name = key.decode()
        if name in said:
            raise _invalid(path, f"it sets {name} twice")
        if key == b"size":
            if _DECIMAL.fullmatch(value) is None or int(value) > _SIZE_MAX:
                raise _invalid(path, "its size is no number of bytes below 2^63")
            said[name] = int(value)
        else:
            said[name] = _name(value, path)
    return said


def _records(content: bytes, path: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield the records of a pax header: each has its own length, a key and a value."""
    at = 0
    while at < len(content):
        match = _RECORD.match(content, at)
        end = at + int(match[1]) if match is not None else 0
        if match is None or not match.end() < end <= len(content) or content[end - 1] != ord("\n"):
            raise _invalid(path, f"its record at byte {at} is invalid")
        yield match[2], content[match.end() : end - 1]
        at = end


def _long_name(content: bytes, path: str) -> str:
    name, _nul, rest = content.partition(b"\0")
    if rest.strip(b"\0"):
        raise _invalid(path, "bytes follow the name that it holds")
    return _name(name, path)


def _name(value: bytes, path: str) -> str:
    if not 0 < len(value) <= NAME_BYTES_MAX:
        raise _invalid(path, f"a name in it has {len(value)} bytes; 1 to {NAME_BYTES_MAX} are allowed")
    return value.decode(errors="surrogateescape")


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="surrogateescape")


def _number(field: bytes, path: str, what: str) -> int:
    """Return a number in octal digits or, as GNU's tar writes large ones, in base 256 with the first bit set."""
    if not field[0] & _BASE_256:
        return _octal(field, path, what)
    number = int.from_bytes(bytes([field[0] & ~_BASE_256]) + field[1:])
    if field[0] & _NEGATIVE or number > _SIZE_MAX:
        raise _invalid(path, f"its {what} is negative, or 2^63 or more")
    return number


def _octal(field: bytes, path: str, what: str) -> int:
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise _invalid(path, f"its {what} is no octal number: the archive is damaged, or it is none")
    return int(match[1] or b"0", 8)


def _sum(block: bytes) -> int:
    """Return the sum of the bytes of a header, with spaces in place of the checksum."""
    return sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" ")


def _signed(block: bytes) -> int:
    """Return by how much the sum is less if bytes are signed, as some old systems added them."""
    return 256 * (sum(byte >= _SIGN for byte in block) - sum(byte >= _SIGN for byte in block[_CHECKSUM]))


def _invalid(path: str, reason: str) -> InvalidValue:
    return InvalidValue("tar header", path[:_SHOWN_CHARACTERS], reason)
