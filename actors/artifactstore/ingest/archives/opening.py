"""Opening of an archive for an ingest: it finds the format by the content, and lists what the package shall hold.

A tar archive in a regular file is read where it is. So is a zip archive without compression. Everything else is first
unpacked into a temporary file without a name: an ingest needs the list of all entries before it stores the first one,
and reads contents in another order than an archive has them.
"""

import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Final, NamedTuple

from artifactstore.ingest.archives.limits import UNPACKED_BYTES_MAX, Meter
from artifactstore.ingest.archives.reading import InPlace, Streamed, pieces_of, slice_of, unreadable
from artifactstore.ingest.archives.refusals import ArchiveRefused
from artifactstore.ingest.archives.selecting import Wanted, scan_tree
from artifactstore.ingest.archives.spool import Spool
from artifactstore.ingest.archives.tar import read_tar
from artifactstore.ingest.archives.tree import ArchiveTree
from artifactstore.ingest.archives.unpacking import STREAMS, unpacked
from artifactstore.ingest.archives.zip import ZipFile, add_members, read_directory
from artifactstore.ingest.scan import Scan
from artifactstore_protocols.dataplane import SourceChanged
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.selection import EVERYTHING, Selection
from artifactstore_protocols.tar_format import BLOCK_BYTES, is_tar

__all__ = ["OpenArchive", "open_archive"]

_ZIP: Final = (b"PK\3\4", b"PK\5\6")
"""What a zip archive begins with: a member, or the end record if it has none."""


class OpenArchive:
    """An archive whose entries are listed and whose contents can be read.

    Attributes:
        descriptor: a regular file with the contents. It can be read until the archive is closed.
        scan: the entries, as `scan_directory` returns them. The content of a `ScannedFile` is the slice of `descriptor`
            that begins at `int(file.source)` and has `file.size_bytes` bytes. The root and the stamps are empty.
    """

    def __init__(self, descriptor: int, scan: Scan, archive: str, begun: "_Times") -> None:
        self.descriptor = descriptor
        self.scan = scan
        self._archive = archive
        self._begun = begun

    def check_unchanged(self) -> None:
        """Check that nobody wrote to the descriptor since the archive was opened. Call it after the last read.

        Raises:
            SourceChanged: the file that holds the archive was written.
        """
        if _times(self.descriptor) != self._begun:
            raise SourceChanged(self._archive, "it was written")


class _Times(NamedTuple):
    """What changes when a file is written: its size, and its times in nanoseconds."""

    size_bytes: int
    modified_ns: int
    changed_ns: int


@contextmanager
def open_archive(
    descriptor: int,
    name: str,
    *,
    files_max: int,
    links: LinkPolicy = LinkPolicy.KEEP,
    selection: Selection = EVERYTHING,
    prefix: str = "",
    bytes_max: int = UNPACKED_BYTES_MAX,
    directory: str | None = None,
    spool: Callable[[], Spool] | None = None,
    check_cancelled: Callable[[], None] = lambda: None,
    tell: Callable[[int, int], None] = lambda _files, _bytes: None,
) -> Generator[OpenArchive]:
    """Open a tar archive, also compressed by gzip, bzip2 or xz, or a zip archive. Blocks: call it from a worker thread.

    Args:
        descriptor: the archive: a regular file, or something that is read to its end, such as a pipe.
        name: the name of the archive, for errors.
        files_max: maximum number of entries.
        links: what to do with symbolic links; they cannot be followed.
        selection: which entries to take; its rules are relative to the root of the archive.
        prefix: the directory of the package under which all entries are placed; empty for its root.
        bytes_max: maximum number of unpacked bytes.
        directory: where the temporary file is made; by default as `tempfile.gettempdir` says.
        spool: returns a spool of the caller for the contents; by default the archive has one of its own.
        check_cancelled: raises when the caller is cancelled.
        tell: called every 1,000 files or 64 MiB with the number of files so far and their total size in bytes.

    Raises:
        ArchiveRefused: the archive is damaged, incomplete, too large when it is unpacked, or of an unknown form.
        EntriesRefused: the package cannot hold some entries: links that the policy or the rules of packages reject,
            devices, FIFOs, and paths that break a rule.
        IgnoreFileRefused: an ignore file of the archive cannot be used.
        PathRefused: two entries have paths that a package cannot hold together.
        SourceChanged: the archive was written meanwhile.
        SourceUnreadable: the descriptor cannot be read.
        TargetRefused: the temporary file cannot be made or written.
        TreeTooLarge: the archive exceeds a limit on entries or names.
    """
    if links is LinkPolicy.FOLLOW:
        raise ArchiveRefused(name, "", "symbolic links of an archive cannot be followed; keep, skip or refuse them")
    wanted = Wanted(files_max, links, selection, prefix)
    opening = _Opening(ArchiveTree(name, files_max, tell), Meter(name, bytes_max), directory, spool, check_cancelled)
    with ExitStack() as stack:
        held, begun = opening.contents(descriptor, stack)
        opened = OpenArchive(held, scan_tree(name, opening.tree.root, held, wanted, check_cancelled), name, begun)
        opened.check_unchanged()
        yield opened


class _Opening(NamedTuple):
    """What all formats need while an archive is read."""

    tree: ArchiveTree
    meter: Meter
    directory: str | None
    spool: Callable[[], Spool] | None
    check_cancelled: Callable[[], None]

    def contents(self, descriptor: int, stack: ExitStack) -> tuple[int, _Times]:
        """Read an archive into the tree. Return the descriptor that holds the contents, and its times.

        Args:
            descriptor: the archive.
            stack: closes the returned descriptor if it is a new one.
        """
        archive = self.tree.archive
        begun = _at_beginning(descriptor, archive)
        pieces: Iterable[bytes] = pieces_of(descriptor, archive, self.check_cancelled)
        if begun is not None:
            head = b"".join(slice_of(descriptor, 0, BLOCK_BYTES, archive, self.check_cancelled))
        else:
            head, pieces = _head(pieces)
        if head.startswith(_ZIP):
            return self._spooled_zip(pieces, stack) if begun is None else self._zip(descriptor, begun, stack)
        start = next((start for magic, start in STREAMS.items() if head.startswith(magic)), None)
        if start is not None:
            return self._spooled_tar(unpacked(pieces, start, archive, self.meter), stack)
        if not is_tar(head):
            raise ArchiveRefused(archive, "", "it is no tar or zip archive; give one, also packed by gzip, bzip2 or xz")
        if begun is None:
            return self._spooled_tar(_counted(pieces, self.meter), stack)
        self.meter.count(packed=begun.size_bytes, unpacked=begun.size_bytes)
        read_tar(InPlace(descriptor, begun.size_bytes, archive), self.tree, self.meter, self.check_cancelled)
        return descriptor, begun

    def _contents_spool(self, stack: ExitStack) -> Spool:
        return self.spool() if self.spool is not None else stack.enter_context(Spool.open(self.directory))

    def _spooled_tar(self, pieces: Iterable[bytes], stack: ExitStack) -> tuple[int, _Times]:
        spool = self._contents_spool(stack)
        read_tar(Streamed(pieces, spool), self.tree, self.meter, self.check_cancelled)
        return spool.descriptor, _times(spool.descriptor)

    def _spooled_zip(self, pieces: Iterable[bytes], stack: ExitStack) -> tuple[int, _Times]:
        """Read a zip archive from a pipe: its directory is at its end."""
        packed_size = Meter(self.tree.archive, self.meter.bytes_max)
        with ExitStack() as own:
            packed = own.enter_context(Spool.open(self.directory))
            for piece in _counted(pieces, packed_size):
                packed.write(piece)
            held, begun = self._zip(packed.descriptor, _times(packed.descriptor), stack)
            if held == packed.descriptor:
                stack.enter_context(own.pop_all())
        return held, begun

    def _zip(self, descriptor: int, begun: _Times, stack: ExitStack) -> tuple[int, _Times]:
        file = ZipFile(descriptor, begun.size_bytes, self.tree.archive, self.check_cancelled)
        members = read_directory(file, self.tree.names_max, self.meter)
        if all(member.is_stored for member in members):
            add_members(file, members, self.tree, None)
            return descriptor, begun
        spool = self._contents_spool(stack)
        add_members(file, members, self.tree, spool)
        return spool.descriptor, _times(spool.descriptor)


def _at_beginning(descriptor: int, archive: str) -> _Times | None:
    """Return the times of a regular file whose position is its beginning; None for what has to be read in order."""
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and not os.lseek(descriptor, 0, os.SEEK_CUR):
            return _times(descriptor)
    except OSError as error:
        raise unreadable(archive, error) from error
    return None


def _times(descriptor: int) -> _Times:
    status = os.fstat(descriptor)
    return _Times(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _head(pieces: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first block, and all pieces with those that it took."""
    pieces = iter(pieces)
    head = b""
    while len(head) < BLOCK_BYTES and (piece := next(pieces, b"")):
        head += piece
    return head[:BLOCK_BYTES], chain((head,), pieces)


def _counted(pieces: Iterable[bytes], meter: Meter) -> Iterator[bytes]:
    for piece in pieces:
        meter.count(packed=len(piece), unpacked=len(piece))
        yield piece
