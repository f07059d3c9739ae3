"""The ZIP format (APPNOTE 6.3): stored contents, UTF-8 names, Unix modes, and 64-bit fields where they are needed.

Each local header has size and CRC-32, and nothing follows a content. So programs that read a stream, and do not wait
for the list at the end, can read it as well. Every entry has the first date of the format, the 1st of January 1980.
"""

from collections.abc import Iterator
from typing import Final

from artifactstore_protocols.records import FileRecord

__all__ = ["ZipWriter"]

_LOCAL, _CENTRAL, _END, _END_64, _END_64_LOCATOR = 0x04034B50, 0x02014B50, 0x06054B50, 0x06064B50, 0x07064B50
_UTF_8: Final = 1 << 11
_DATE: Final = 1 << 5 | 1
_UNIX: Final = 3 << 8
_DIRECTORY: Final = 0x10  # for programs that read the attributes of MS-DOS
_MODES: Final = {"file": 0o100644, "link": 0o120777, "directory": 0o040755}
_EXECUTABLE_MODE: Final = 0o100755
_VERSION, _VERSION_64 = 20, 45
_MAX_16, _MAX_32 = (1 << 16) - 1, (1 << 32) - 1


class ZipWriter:
    """The headers of one archive, and its end."""

    def __init__(self) -> None:
        self._central: list[bytes] = []
        self._at = 0

    def header(self, entry: FileRecord, size_bytes: int, crc32: int) -> bytes:
        """Return what precedes the content of an entry. The content must follow.

        Args:
            entry: the entry.
            size_bytes: the length of its content. That of a link is its target.
            crc32: the CRC-32 of its content.
        """
        name = entry.path.encode() + (b"/" if entry.kind == "directory" else b"")
        large, far = size_bytes >= _MAX_32, self._at >= _MAX_32
        sizes = _two(8, size_bytes, size_bytes)
        local = b"".join(
            (
                _four(_LOCAL),
                self._shared(_VERSION_64 if large else _VERSION, crc32, size_bytes, name),
                _extra(sizes if large else b"", name),
            )
        )
        mode = _EXECUTABLE_MODE if entry.executable else _MODES[entry.kind]
        version = _VERSION_64 if large or far else _VERSION
        attributes = mode << 16 | (_DIRECTORY if entry.kind == "directory" else 0)
        extra = (sizes if large else b"") + (_number(8, self._at) if far else b"")
        self._central.append(
            b"".join(
                (
                    _four(_CENTRAL),
                    _number(2, _UNIX | version),
                    self._shared(version, crc32, size_bytes, name),
                    _number(2, len(extra) + 4 if extra else 0),
                    bytes(6),  # comment, disk, internal attributes
                    _two(4, attributes, min(self._at, _MAX_32)),
                    name,
                    _extra_field(extra),
                )
            )
        )
        self._at += len(local) + size_bytes
        return local

    @staticmethod
    def _shared(version: int, crc32: int, size_bytes: int, name: bytes) -> bytes:
        """Return the fields that both headers of an entry have."""
        stated = min(size_bytes, _MAX_32)
        return b"".join(
            (
                _two(2, version, _UTF_8),
                _two(2, 0, 0),  # stored; midnight
                _number(2, _DATE),
                _four(crc32),
                _two(4, stated, stated),
                _number(2, len(name)),
            )
        )

    def end(self) -> Iterator[bytes]:
        """Yield the list of all entries and the end of the archive."""
        yield from self._central
        count, size, at = len(self._central), sum(map(len, self._central)), self._at
        if count >= _MAX_16 or size >= _MAX_32 or at >= _MAX_32:
            yield b"".join(
                (
                    _four(_END_64),
                    _number(8, 44),  # the bytes that follow
                    _two(2, _UNIX | _VERSION_64, _VERSION_64),
                    bytes(8),  # disks
                    _two(8, count, count),
                    _two(8, size, at),
                )
            )
            yield b"".join((_four(_END_64_LOCATOR), bytes(4), _number(8, at + size), _four(1)))
        count = min(count, _MAX_16)
        sizes = _two(4, min(size, _MAX_32), min(at, _MAX_32))
        yield b"".join((_four(_END), bytes(4), _two(2, count, count), sizes, bytes(2)))


def _number(size: int, value: int) -> bytes:
    return value.to_bytes(size, "little")


def _two(size: int, first: int, second: int) -> bytes:
    return _number(size, first) + _number(size, second)


def _four(value: int) -> bytes:
    return _number(4, value)


def _extra(content: bytes, name: bytes) -> bytes:
    """Return the end of a local header: the length of the extra field, the name and that field."""
    field = _extra_field(content)
    return _number(2, len(field)) + name + field


def _extra_field(content: bytes) -> bytes:
    """Return the field with 64-bit numbers; nothing without content."""
    return _two(2, 1, len(content)) + content if content else b""
