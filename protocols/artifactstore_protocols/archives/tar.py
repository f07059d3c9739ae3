"""The tar format of POSIX.1-2001: ustar headers, with a pax header before those that do not fit.

Modification times, user and group ids are 0, and user and group names are empty. Modes are 0644, 0755 for executable
files and directories, and 0777 for links.
"""

from typing import Final

from artifactstore_protocols.records import FileRecord

__all__ = ["TAR_END", "tar_header", "tar_padding"]

_BLOCK: Final = 512
_NAME_BYTES_MAX: Final = 100
_SIZE_MAX: Final = 8**11 - 1  # 11 octal digits
_MODES: Final = {"file": 0o644, "link": 0o777, "directory": 0o755}
_EXECUTABLE_MODE: Final = 0o755
_TYPES: Final = {"file": b"0", "link": b"2", "directory": b"5"}
_PAX_NAME: Final = b"././@PaxHeader"
_CHECKSUM_AT: Final = 148

TAR_END: Final = bytes(2 * _BLOCK)
"""The end of an archive. Without it, programs that read the archive report that it is truncated."""


def tar_header(entry: FileRecord) -> bytes:
    """Return what precedes the content of an entry: one header, or a pax header, its records and a header."""
    name = entry.path.encode() + (b"/" if entry.kind == "directory" else b"")
    target = entry.target.encode()
    records = b""
    if not name.isascii() or len(name) > _NAME_BYTES_MAX:
        records += _record(b"path", name)
    if not target.isascii() or len(target) > _NAME_BYTES_MAX:
        records += _record(b"linkpath", target)
    size = entry.size_bytes
    if size > _SIZE_MAX:
        records += _record(b"size", b"%d" % size)
        size = 0
    mode = _EXECUTABLE_MODE if entry.executable else _MODES[entry.kind]
    header = _ustar(_short(name), mode, size, _TYPES[entry.kind], _short(target))
    if not records:
        return header
    pax = _ustar(_PAX_NAME, _MODES["file"], len(records), b"x", b"")
    return pax + records + tar_padding(len(records)) + header


def tar_padding(size_bytes: int) -> bytes:
    """Return the bytes that fill the last block of a content of this size."""
    return bytes(-size_bytes % _BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    """Return a pax record. Its length, which it begins with, includes the digits of the length."""
    rest = len(key) + len(value) + 3  # a space, = and a newline
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _short(name: bytes) -> bytes:
    """Return a name for programs that do not read pax headers: ASCII, and not longer than the field."""
    return bytes(each if each < 0x80 else 0x5F for each in name[:_NAME_BYTES_MAX])  # noqa: PLR2004 - 0x5F is _


def _ustar(name: bytes, mode: int, size: int, kind: bytes, target: bytes) -> bytes:
    fields = (
        name.ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"%07o\0" % 0,  # user id
        b"%07o\0" % 0,  # group id
        b"%011o\0" % size,
        b"%011o\0" % 0,  # time
        b" " * 8,  # the checksum, which counts as spaces
        kind,
        target.ljust(100, b"\0"),
        b"ustar\x0000",
        bytes(64),  # names of user and group
        b"%07o\0" % 0,  # numbers of a device
        b"%07o\0" % 0,
    )
    header = b"".join(fields).ljust(_BLOCK, b"\0")
    return header[:_CHECKSUM_AT] + b"%06o\0 " % sum(header) + header[_CHECKSUM_AT + 8 :]
