"""The members of a zip archive, read by its central directory, and checked against their local headers.

The standard library's `zipfile` compares little: members may overlap, so that a few kilobytes unpack to petabytes, and
the sizes and checksums of local headers count for nothing. This reader checks all headers before it unpacks anything.
"""

import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from artifactstore.ingest.archives.limits import Meter
from artifactstore.ingest.archives.reading import Pieces, slice_of
from artifactstore.ingest.archives.refusals import ArchiveRefused
from artifactstore.ingest.archives.spool import Spool
from artifactstore.ingest.archives.tree import ArchiveTree, Kind, Member
from artifactstore.ingest.archives.unpacking import MEMBER_METHODS, inflated
from artifactstore.ingest.archives.zip_records import (
    CENTRAL_BYTES,
    COMMENT_BYTES_MAX,
    DESCRIPTOR_BYTES_MAX,
    END_64_BYTES,
    END_BYTES,
    END_SIGNATURE,
    LOCAL_BYTES,
    LOCATOR_BYTES,
    CentralEntry,
    End,
    central_lengths,
    comment_length,
    end_64_at,
    local_lengths,
    read_central,
    read_end,
    read_end_64,
)
from artifactstore_protocols.links import TARGET_BYTES_MAX

__all__ = ["ZipFile", "ZipMember", "add_members", "read_directory"]

_STORED: Final = 0

_HEADER_BYTES: Final = 256
"""The size in bytes of nearly every local header, with its name and extra field."""

_SPECIAL: Final = {
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


class ZipFile(NamedTuple):
    """A zip archive in a regular file.

    Attributes:
        descriptor: the file.
        size_bytes: its size.
        archive: its name, for errors.
        check_cancelled: raises when the caller is cancelled.
    """

    descriptor: int
    size_bytes: int
    archive: str
    check_cancelled: Callable[[], None]

    def pieces(self, offset: int, count: int) -> Iterator[bytes]:
        """Yield the pieces of a part of the file."""
        return slice_of(self.descriptor, offset, count, self.archive, self.check_cancelled)

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes.

        Raises:
            ValueError: the file ends before, or has no such place.
        """
        found = b"".join(self.pieces(offset, count)) if 0 <= offset <= self.size_bytes - count else b""
        if len(found) < count:
            raise ValueError("it ends too early; get a complete copy")
        return found


class ZipMember(NamedTuple):
    """A member whose headers agree, and where its content begins."""

    entry: CentralEntry
    offset: int

    @property
    def is_stored(self) -> bool:
        """Return whether the content is not compressed."""
        return self.entry.method == _STORED


def read_directory(file: ZipFile, names_max: int, meter: Meter) -> list[ZipMember]:
    """Return the members of a zip archive in the order of their contents, after a check of all headers.

    Args:
        file: the archive.
        names_max: the maximum number of members.
        meter: counts the sizes that the members have by their headers.

    Raises:
        ArchiveRefused: the archive is damaged, its headers do not agree, members overlap, are encrypted or have an
            unknown method, or it exceeds a limit.
    """
    path = ""
    try:
        end = _end(file, names_max)
        entries = sorted(_entries(file, end), key=lambda entry: entry.offset)
        packed = sum(entry.packed_bytes for entry in entries)
        meter.count(packed=packed, unpacked=sum(entry.size_bytes for entry in entries))
        limits = [*(entry.offset for entry in entries), end.offset][1:]
        members: list[ZipMember] = []
        for entry, limit in zip(entries, limits, strict=True):
            path = entry.path
            members.append(ZipMember(entry, _content_at(file, entry, limit)))
    except ValueError as error:
        raise ArchiveRefused(file.archive, path, str(error)) from error
    return members


def add_members(file: ZipFile, members: Iterable[ZipMember], tree: ArchiveTree, spool: Spool | None) -> None:
    """Add the members to a tree, and check their contents.

    Args:
        file: the archive.
        members: its members.
        tree: the tree, which is empty.
        spool: where the contents of files are written; None if they stay in the archive.

    Raises:
        ArchiveRefused: a content is damaged, or its size is not that of the headers.
        PathRefused: the path of a member is not allowed, or cannot stand beside an earlier one.
        TreeTooLarge: the archive has too many names.
    """
    for member in members:
        path = member.entry.path
        try:
            if member.entry.is_directory:
                tree.add_directory(path.removesuffix("/") or path)
            else:
                tree.add(path, _read(file, member, spool))
        except ValueError as error:
            raise ArchiveRefused(file.archive, path, str(error)) from error


def _read(file: ZipFile, member: ZipMember, spool: Spool | None) -> Member:
    """Read and check the content of a member, and return what the tree needs."""
    mode, size_bytes = member.entry.mode, member.entry.size_bytes
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        if size_bytes > TARGET_BYTES_MAX:
            raise ValueError(f"it is a symbolic link whose target has {size_bytes} bytes, {TARGET_BYTES_MAX} at most")
        target = b"".join(_content(file, member))
        return Member(Kind.LINK, text=target.decode(errors="surrogateescape"))
    if kind not in {0, stat.S_IFREG}:
        return Member(Kind.SPECIAL, text=_SPECIAL.get(kind, "special file"))
    offset = member.offset if spool is None else spool.size_bytes
    for piece in _content(file, member):
        if spool is not None:
            spool.write(piece)
    return Member(Kind.FILE, offset, size_bytes, bool(mode & stat.S_IXUSR))


def _content(file: ZipFile, member: ZipMember) -> Iterator[bytes]:
    """Yield the content of a member, and compare its size and its checksum with the headers at the end."""
    entry = member.entry
    pieces = file.pieces(member.offset, entry.packed_bytes)
    if not member.is_stored:
        pieces = inflated(pieces, MEMBER_METHODS[entry.method]())
    crc = size_bytes = 0
    for piece in pieces:
        size_bytes += len(piece)
        if size_bytes > entry.size_bytes:
            break
        crc = zlib.crc32(piece, crc)
        yield piece
    if (size_bytes, crc) != (entry.size_bytes, entry.crc):
        raise ValueError("its content does not have the size and the checksum of its header; get another copy")


def _end(file: ZipFile, names_max: int) -> End:
    """Return where the central directory is, and the number of its entries, which is at most `names_max`."""
    start = max(0, file.size_bytes - END_BYTES - COMMENT_BYTES_MAX)
    tail = file.read(start, file.size_bytes - start)
    found = [at for at in _places(tail) if at + END_BYTES + comment_length(tail[at : at + END_BYTES]) == len(tail)]
    if not found:
        raise ValueError("it has no end record, or bytes follow it; get another copy")
    if len(found) > 1:
        raise ValueError("it has two end records, so that programs find different members; make the archive again")
    end = read_end(tail[found[0] : found[0] + END_BYTES])
    at = start + found[0]
    locator = file.read(at - LOCATOR_BYTES, LOCATOR_BYTES) if at >= LOCATOR_BYTES else bytes(LOCATOR_BYTES)
    if (large_at := end_64_at(locator)) is not None:
        end, length = read_end_64(file.read(large_at, END_64_BYTES), end)
        if large_at + length != at - LOCATOR_BYTES:
            raise ValueError("bytes are between its end records; make the archive again")
        at = large_at
    if end.offset + end.size_bytes != at:
        raise ValueError("its central directory is not before its end record: bytes were added or are missing")
    if end.entries > names_max:
        raise ValueError(f"it has {end.entries} members, {names_max} at most; split it")
    return end


def _places(tail: bytes) -> Iterator[int]:
    """Yield all places of a text that an end record may begin at."""
    at = tail.find(END_SIGNATURE)
    while at >= 0 and at + END_BYTES <= len(tail):
        yield at
        at = tail.find(END_SIGNATURE, at + 1)


def _entries(file: ZipFile, end: End) -> Iterator[CentralEntry]:
    """Yield the entries of the central directory, of which exactly the announced number must fill it."""
    source = Pieces(file.pieces(end.offset, end.size_bytes))
    size_bytes = 0
    for _ in range(end.entries):
        record = source.read(CENTRAL_BYTES)
        if len(record) < CENTRAL_BYTES:
            raise ValueError("its central directory has fewer entries than its end record says")
        length, rest = central_lengths(record)
        size_bytes += CENTRAL_BYTES + length + rest
        if size_bytes > end.size_bytes:
            raise ValueError("its central directory is shorter than its entries say")
        yield read_central(record, source.read(length), source.read(rest))
    if size_bytes != end.size_bytes:
        raise ValueError("its central directory has more entries than its end record says")


def _content_at(file: ZipFile, entry: CentralEntry, limit: int) -> int:
    """Return where the content of a member begins. Its header, content and descriptor must end before `limit`."""
    if entry.method != _STORED and entry.method not in MEMBER_METHODS:
        raise ValueError(f"its compression method {entry.method} is not read; make the archive with deflate")
    if entry.method == _STORED and entry.packed_bytes != entry.size_bytes:
        raise ValueError("it is not compressed and has two sizes; make the archive again")
    if entry.is_directory and entry.size_bytes:
        raise ValueError("it is a directory with content; make the archive again")
    header = file.read(entry.offset, max(LOCAL_BYTES, min(_HEADER_BYTES, limit - entry.offset)))
    header_bytes = LOCAL_BYTES + sum(local_lengths(header[:LOCAL_BYTES]))
    if header_bytes > len(header):
        header = file.read(entry.offset, header_bytes)
    entry.agrees_with(header[:header_bytes])
    start = entry.offset + header_bytes
    end = start + entry.packed_bytes
    if end <= limit and entry.is_described_after:
        end += entry.descriptor_bytes(file.read(end, min(DESCRIPTOR_BYTES_MAX, limit - end)))
    if end > limit:
        raise ValueError("it overlaps the next member or the central directory, as in archives that fill disks")
    return start
