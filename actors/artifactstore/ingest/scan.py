"""What a directory holds: the entries that an ingest will take, found and judged before anything is stored.

Regular files, symbolic links and empty directories are taken. A link is kept as a link if it leads to a place inside
the tree, see `artifactstore_protocols.links`; a caller can have links followed, refused or left out instead. Sockets,
devices and FIFOs are refused by their kind and never opened. The files of the store itself are left out.

Names are bytes until they have been decoded as UTF-8, whatever the locale. The walk is a loop, so that depth costs no
recursion; it visits a bounded number of entries, since followed links can make a small tree endless in practice; and it
asks again and again whether it is still wanted.
"""

import os
import stat
from collections.abc import Callable, Iterator
from itertools import chain
from struct import Struct
from typing import Final, NamedTuple

from artifactstore.ingest.links import GONE, follow, reason, refuse, target_of
from artifactstore.ingest.own_files import OwnFiles
from artifactstore.ingest.refusals import (
    LinksRefused,
    NotADirectory,
    RefusedLink,
    SourceInsideStore,
    SpecialFileRefused,
    TreeTooLarge,
)
from artifactstore.os_paths import path_bytes, path_text
from artifactstore_protocols.dataplane import SourceChanged
from artifactstore_protocols.links import LinkPolicy, escaping_links, target_flaw
from artifactstore_protocols.manifest import check_tree
from artifactstore_protocols.paths import check_path

__all__ = ["STAMP", "Scan", "ScannedFile", "directory_at", "scan_directory"]

_ENTRIES_A_FILE: Final = 10
_ENTRIES_MORE: Final = 10_000
"""Names that a scan visits at most: these, and ten for each entry that the package may hold. A tree that has more holds
next to nothing but directories that hold one directory."""

_FILES_A_LINKED_DIRECTORY: Final = 4
_LINKED_DIRECTORIES_MORE: Final = 1000
"""Directories that a scan visits through links at most: these, and one for every four files that the package may hold.
Links to directories that hold such links multiply: thirty levels of two would be a thousand million directories."""

_ASK_EVERY: Final = 128
"""Entries between two questions whether the scan is still wanted: a few milliseconds."""

_TELL_EVERY: Final = 1000
"""Files between two reports of progress."""


STAMP: Final = Struct(">QQQQQ")
"""What an inode says of a file that nobody has touched: writing to it, or putting another in its place, shows.

Device, inode number, size in bytes, modification and change time in nanoseconds, each modulo 2^64."""

_64_BITS: Final = (1 << 64) - 1


class ScannedFile(NamedTuple):
    """A file to ingest.

    Attributes:
        path: in the package.
        source: its real path below the root; the same object where it is the same text.
        executable: whether its owner may execute it.
        size_bytes: how long it was.
        stamp: a `STAMP` of it.
    """

    path: str
    source: str
    executable: bool
    size_bytes: int
    stamp: bytes


class Scan(NamedTuple):
    """What a scan found.

    Attributes:
        root: real path of the directory.
        files: in the order of `paths.tree_order`.
        links: path and target of each link, likewise.
        directories: paths of the empty directories, likewise.
        excluded: paths that are left out: the store's own files and directories, and links that are skipped; likewise.
    """

    root: str
    files: tuple[ScannedFile, ...]
    links: tuple[tuple[str, str], ...]
    directories: tuple[str, ...]
    excluded: tuple[str, ...]

    def paths(self) -> list[str]:
        """The paths of all entries."""
        return [*(file.path for file in self.files), *(path for path, _target in self.links), *self.directories]


class _Directory(NamedTuple):
    """A directory that the walk is in.

    Attributes:
        real: its real path.
        prefix: what the paths in the package of what it holds begin with.
        source: what their real paths below the root begin with.
        inode: device and inode.
        above: the directory that it was found in.
        linked: whether a link led here, or above.
    """

    real: bytes
    prefix: str
    source: str
    inode: tuple[int, int]
    above: "_Directory | None"
    linked: bool


def directory_at(directory: str) -> tuple[bytes, os.stat_result]:
    """The real path of a directory, and what the system says of it. Blocks.

    Raises:
        NotADirectory: there is none, or it is something else.
    """
    try:
        root = os.path.realpath(path_bytes(directory), strict=True)
        found = os.stat(root)  # noqa: PTH116 - bytes
    except (OSError, ValueError, RecursionError) as error:  # a NUL, a surrogate, or a thousand links in a row
        raise NotADirectory(directory, reason(error)) from error
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectory(directory, "it is not a directory")
    return root, found


def scan_directory(
    directory: str,
    *,
    files_max: int,
    links: LinkPolicy = LinkPolicy.KEEP,
    own: OwnFiles | None = None,
    check_wanted: Callable[[], None] = lambda: None,
    tell: Callable[[int, int], None] = lambda _files, _bytes: None,
) -> Scan:
    """List the entries of a tree. Blocks: call it from a worker thread.

    Args:
        directory: what to list, as `path_text` gives it.
        files_max: entries that a package may hold.
        links: what to do with symbolic links.
        own: the store's own files, to be left out.
        check_wanted: raises when the scan is not wanted any more.
        tell: told now and then how many files were found, and their size in bytes.

    Raises:
        NotADirectory, SourceInsideStore, LinksRefused, SpecialFileRefused, PathRefused, TreeTooLarge, SourceChanged,
        SourceUnreadable: nothing was read yet.
    """
    root, found = directory_at(directory)
    if own is not None and own.hold(root):
        raise SourceInsideStore(directory)
    walk = _Walk(directory, root, files_max, links, own, check_wanted, tell)
    walk.run(_Directory(root, "", "", _inode(found), None, linked=False))
    check_tree(chain(walk.paths(), walk.links))
    if refused := walk.refused_links():
        raise LinksRefused(refused)
    excluded = tuple(walk.excluded)
    return Scan(path_text(root), tuple(walk.files), tuple(walk.links.items()), tuple(walk.directories), excluded)


class _Walk:
    def __init__(
        self,
        name: str,
        root: bytes,
        files_max: int,
        policy: LinkPolicy,
        own: OwnFiles | None,
        check_wanted: Callable[[], None],
        tell: Callable[[int, int], None],
    ) -> None:
        self._name = name
        self._root = root
        self._inside = root.rstrip(b"/") + b"/"
        self._files_max = files_max
        self._policy = policy
        self._own = own
        self._check_wanted = check_wanted
        self._tell = tell
        self._led: dict[bytes, tuple[str, bytes, os.stat_result]] = {}
        self._names = self._seen = self._linked = self._bytes = self._entries = self._own_left_out = 0
        self.files: list[ScannedFile] = []
        self.links: dict[str, str] = {}
        self.directories: list[str] = []
        self.excluded: list[str] = []

    def run(self, start: _Directory) -> None:
        """Go down into each directory where its name comes, so that entries come in the order of trees.

        The first of several faults is always the same.
        """
        levels = [(start, self._listed(start), 0)]
        while levels:
            directory, names, before = levels[-1]
            for name in names:
                if (below := self._take(directory, name)) is not None:
                    levels.append((below, self._listed(below), self._entries + self._own_left_out))
                    break
            else:
                levels.pop()
                # A directory that holds nothing but files of the store is not one that its user left empty.
                if self._entries + self._own_left_out == before and levels:
                    self._count_entry()
                    self.directories.append(directory.prefix.removesuffix("/"))

    def paths(self) -> Iterator[str]:
        """The paths of everything but links."""
        return chain((file.path for file in self.files), self.directories)

    def refused_links(self) -> tuple[RefusedLink, ...]:
        """The links that cannot be in a package, each with the reason."""
        if self._policy is LinkPolicy.REFUSE:
            return tuple(RefusedLink(path, target, "is a link") for path, target in self.links.items())
        flaws = {path: flaw for path, target in self.links.items() if (flaw := target_flaw(target)) is not None}
        sound = {path: target for path, target in self.links.items() if path not in flaws}
        flaws |= dict.fromkeys(escaping_links(sound, chain(self.paths(), flaws)), "leaves the tree")
        return tuple(RefusedLink(path, target, flaws[path]) for path, target in self.links.items() if path in flaws)

    def _listed(self, directory: _Directory) -> Iterator["os.DirEntry[bytes]"]:
        self._check_wanted()
        entries: list[os.DirEntry[bytes]] = []
        try:
            with os.scandir(directory.real) as listing:
                for entry in listing:
                    self._count_name()
                    entries.append(entry)
        except OSError as error:
            path = directory.prefix.removesuffix("/")
            if path and error.errno in GONE:
                raise SourceChanged(path, "it was a directory and is gone") from error
            raise NotADirectory(path or self._name, reason(error)) from error
        return iter(sorted(entries, key=lambda entry: entry.name))

    def _take(self, directory: _Directory, entry: "os.DirEntry[bytes]") -> _Directory | None:
        self._seen += 1
        if not self._seen % _ASK_EVERY:
            self._check_wanted()
        path = check_path(directory.prefix + entry.name.decode(errors="surrogateescape"))
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            refuse(path, error)
        if self._own is not None and self._own.include(status, directory.inode, entry.name):
            self._leave_out(path)
        elif stat.S_ISREG(status.st_mode):
            self._add(path, path if directory.source == directory.prefix else _below(directory, path), status)
        elif stat.S_ISDIR(status.st_mode):
            source = f"{_below(directory, path)}/"
            return _Directory(entry.path, f"{path}/", source, _inode(status), directory, self._behind(directory.linked))
        elif stat.S_ISLNK(status.st_mode):
            return self._take_link(directory, path, entry.path)
        else:
            raise SpecialFileRefused(path, _kind(status.st_mode))
        return None

    def _take_link(self, directory: _Directory, path: str, link: bytes) -> _Directory | None:
        if self._policy is LinkPolicy.FOLLOW:
            return self._follow(directory, path, link)
        if self._policy is LinkPolicy.SKIP:
            self.excluded.append(path)
        else:
            self._count_entry()
            self.links[path] = target_of(path, link)
        return None

    def _follow(self, directory: _Directory, path: str, link: bytes) -> _Directory | None:
        if link not in self._led:  # links behind links come by again and again
            self._led[link] = follow(path, link)
        target, real, status = self._led[link]
        if self._own is not None and self._own.hold(real):
            self._leave_out(path)
            return None
        if real != self._root and not real.startswith(self._inside):
            raise LinksRefused((RefusedLink(path, target, "leaves the tree"),))
        source = path_text(real[len(self._inside) :])
        if stat.S_ISREG(status.st_mode):
            self._add(path, source, status)
        elif not stat.S_ISDIR(status.st_mode):
            raise SpecialFileRefused(path, _kind(status.st_mode))
        elif _leads_up(directory, status):
            raise LinksRefused((RefusedLink(path, target, "leads back to a directory above itself"),))
        else:
            source = f"{source}/" if source else ""
            return _Directory(real, f"{path}/", source, _inode(status), directory, self._behind(linked=True))
        return None

    def _leave_out(self, path: str) -> None:
        self._own_left_out += 1
        self.excluded.append(path)

    def _count_name(self) -> None:
        self._names += 1
        if not self._names % _ASK_EVERY:
            self._check_wanted()
        limit = _ENTRIES_A_FILE * self._files_max + _ENTRIES_MORE
        if self._names > limit:
            raise TreeTooLarge(self._name, limit, "files, directories and links", "split it")

    def _count_entry(self) -> None:
        self._entries += 1
        if self._entries > self._files_max:
            raise TreeTooLarge(self._name, self._files_max, "files, links and empty directories", "split it")

    def _add(self, path: str, source: str, status: os.stat_result) -> None:
        self._count_entry()
        self.files.append(
            ScannedFile(path, source, bool(status.st_mode & stat.S_IXUSR), status.st_size, _stamp(status))
        )
        self._bytes += status.st_size
        if not len(self.files) % _TELL_EVERY:
            self._tell(len(self.files), self._bytes)

    def _behind(self, linked: bool) -> bool:
        """Count a directory if it is behind a link; whether it is."""
        self._linked += linked
        limit = self._files_max // _FILES_A_LINKED_DIRECTORY + _LINKED_DIRECTORIES_MORE
        if self._linked > limit:
            advice = "remove links to directories that hold more such links"
            raise TreeTooLarge(self._name, limit, "directories behind links", advice)
        return linked


def _leads_up(directory: _Directory | None, status: os.stat_result) -> bool:
    while directory is not None:
        if directory.inode == _inode(status):
            return True
        directory = directory.above
    return False


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _below(directory: _Directory, path: str) -> str:
    return directory.source + path[len(directory.prefix) :]


def _stamp(found: os.stat_result) -> bytes:
    times = found.st_mtime_ns & _64_BITS, found.st_ctime_ns & _64_BITS
    return STAMP.pack(found.st_dev & _64_BITS, found.st_ino, found.st_size, *times)


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFIFO: "FIFO",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "character device",
        stat.S_IFBLK: "block device",
    }
    return kinds.get(stat.S_IFMT(mode), "special file")
