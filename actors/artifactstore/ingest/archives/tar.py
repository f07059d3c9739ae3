"""The members of a tar archive, read from its beginning to its end marker.

The standard library's `tarfile` takes a damaged header for the end of the archive, does not need the end marker, and
reads extensions of any size into memory. An ingest of a part of an archive would look complete. So this reader takes
headers from `artifactstore_protocols.tar_format`, and rejects an archive that ends anywhere else.
"""

from collections.abc import Callable
from typing import Final

from artifactstore.ingest.archives.limits import Meter
from artifactstore.ingest.archives.reading import PIECE_BYTES, Source
from artifactstore.ingest.archives.refusals import ArchiveRefused
from artifactstore.ingest.archives.tree import ArchiveTree, Kind, Member
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.tar_format import (
    BLOCK_BYTES,
    TarHeader,
    TarKind,
    TarMember,
    TarMembers,
    padding,
    read_header,
)

__all__ = ["read_tar"]

_CUT: Final = "the archive ends in it; get a complete copy"
_ASK_EVERY: Final = 128


def read_tar(source: Source, tree: ArchiveTree, meter: Meter, check_cancelled: Callable[[], None]) -> None:
    """Add the members of a tar archive to a tree.

    Args:
        source: the archive.
        tree: the tree, which is empty.
        meter: counts the bytes of hard links, each of which is read like a file.
        check_cancelled: raises when the caller is cancelled.

    Raises:
        ArchiveRefused: the archive is damaged, incomplete, or has members that are not read.
        PathRefused: the path of a member is not allowed, or cannot stand beside an earlier one.
        TreeTooLarge: the archive has too many members.
    """
    members = TarMembers()
    count = 0
    try:
        while (header := _next(source, tree)) is not None:
            tree.count()
            count += 1
            if not count % _ASK_EVERY:
                check_cancelled()
            if header.extends:
                members.extend(header, _content(source, header, tree))
            else:
                _add(members.member(header), source, tree, meter)
    except InvalidValue as error:
        raise ArchiveRefused(tree.archive, error.value, error.reason) from error
    if members.waits:
        raise ArchiveRefused(tree.archive, "", "it ends after an extension without a member; get a complete copy")
    if source.read(BLOCK_BYTES) != bytes(BLOCK_BYTES):
        raise ArchiveRefused(tree.archive, "", "its end marker is incomplete; get a complete copy")
    while rest := source.read(PIECE_BYTES):
        check_cancelled()
        if rest.strip(b"\0"):
            raise ArchiveRefused(tree.archive, "", "bytes follow its end; ingest joined archives one by one")


def _next(source: Source, tree: ArchiveTree) -> TarHeader | None:
    """Return the next header; None at the end marker."""
    block = source.read(BLOCK_BYTES)
    if len(block) < BLOCK_BYTES:
        raise ArchiveRefused(tree.archive, "", "it has no end marker, so a part is missing; get a complete copy")
    return read_header(block)


def _content(source: Source, header: TarHeader, tree: ArchiveTree) -> bytes:
    """Return the content of an extension; `read_header` limits its size."""
    padded = header.size_bytes + padding(header.size_bytes)
    content = source.read(padded)
    if len(content) < padded:
        raise ArchiveRefused(tree.archive, header.path, _CUT)
    return content[: header.size_bytes]


def _add(member: TarMember, source: Source, tree: ArchiveTree, meter: Meter) -> None:
    """Add a member to the tree, and keep its content."""
    path = member.path
    match member.kind:
        case TarKind.FILE:
            offset = source.keep(member.size_bytes)
            gap = padding(member.size_bytes)
            if offset is None or len(source.read(gap)) < gap:
                raise ArchiveRefused(tree.archive, path, _CUT)
            tree.add(path, Member(Kind.FILE, offset, member.size_bytes, member.executable))
        case TarKind.DIRECTORY:
            tree.add_directory(path)
        case TarKind.LINK:
            tree.add(path, Member(Kind.LINK, text=member.target))
        case TarKind.HARD_LINK:
            if (found := tree.find(member.target)) is None:
                reason = f"it is a hard link to {member.target!r}, which is no earlier file; make the archive with it"
                raise ArchiveRefused(tree.archive, path, reason)
            meter.count(unpacked=found.size_bytes)
            tree.add(path, found)
        case _:
            tree.add(path, Member(Kind.SPECIAL, text=str(member.kind)))
