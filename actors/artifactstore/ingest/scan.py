"""The scan of a directory: it lists and checks the entries of an ingest before anything is stored.

A scan lists regular files, symbolic links and empty directories. A link is kept as a link if it leads to a place inside
the tree, see `artifactstore_protocols.links`. A caller can have links followed, rejected or left out instead. Sockets,
devices and FIFOs are rejected by their kind and never opened. The files of the store itself are left out, and so is
what the caller's selection excludes; see `exclusions`.

Names are bytes until the scan decodes them as UTF-8, whatever the locale. The walk is a loop, so that a deep tree needs
no recursion. It visits a limited number of entries, since followed links can make a small tree endless in practice. It
checks regularly whether its caller is cancelled.
"""

import os
import stat
from collections.abc import Callable, Iterator
from itertools import chain
from struct import Struct
from typing import Final, Literal, NamedTuple

from artifactstore.ingest.exclusions import Exclusions, RulesAbove, is_cache, rules_in
from artifactstore.ingest.link_judging import refused_links
from artifactstore.ingest.links import GONE, LeadsNowhere, follow, reason, refuse, target_of
from artifactstore.ingest.own_files import OwnFiles
from artifactstore.ingest.refusals import (
    REFUSED_MAX,
    EntriesRefused,
    IgnoreFileRefused,
    PathUnusable,
    RefusedEntry,
    SourceInsideStore,
    TreeTooLarge,
)
from artifactstore.os_paths import path_bytes, path_text
from artifactstore_protocols.dataplane import SourceChanged
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.manifest import check_tree
from artifactstore_protocols.paths import PathRefused, check_path, tree_order
from artifactstore_protocols.selection import EVERYTHING, IGNORE_FILE, RULES_MAX, Selection

__all__ = ["STAMP", "Scan", "ScannedFile", "directory_at", "scan_directory", "stamp_of"]

_ENTRIES_A_FILE: Final = 10
_ENTRIES_MORE: Final = 10_000
"""A scan visits at most ten names for each entry that the package may hold, and 10,000 more. A tree with more names
consists almost only of directories that hold one directory."""

_FILES_A_LINKED_DIRECTORY: Final = 4
_LINKED_DIRECTORIES_MORE: Final = 1000
"""A scan visits at most one directory through links for every four entries that the package may hold, and 1,000 more.
Links to directories that hold such links multiply: two links on each of thirty levels lead to a billion directories."""

_ASK_EVERY: Final = 128
"""Number of entries between two checks for cancellation: a few milliseconds."""

_IGNORE_FILE: Final = IGNORE_FILE.encode()

_TELL_EVERY: Final = 100
"""Number of files between two progress reports."""


STAMP: Final = Struct(">QQQQQ")
"""The fields of a file's inode that change when the file is written or replaced.

Device, inode number, size in bytes, modification and change time in nanoseconds, each modulo 2^64."""

_64_BITS: Final = (1 << 64) - 1


class ScannedFile(NamedTuple):
    """A file to ingest.

    Attributes:
        path: path in the package.
        source: real path relative to the root; the same object as `path` if both are equal, to save memory.
        executable: whether the owner may execute the file.
        size_bytes: size at the time of the scan.
        stamp: the `STAMP` of the file.
    """

    path: str
    source: str
    executable: bool
    size_bytes: int
    stamp: bytes


class Scan(NamedTuple):
    """The result of a scan. All its tuples have the order of `paths.tree_order`.

    Attributes:
        root: real path of the directory.
        files: the regular files.
        links: path and target of each symbolic link.
        directories: paths of the empty directories.
        excluded: paths that are left out: the store's own files and directories, skipped links, and what the selection
            excludes. Nothing below an excluded directory is named.
        unreadable: paths that are left out because they cannot be read, if the caller asked for that.
    """

    root: str
    files: tuple[ScannedFile, ...]
    links: tuple[tuple[str, str], ...]
    directories: tuple[str, ...]
    excluded: tuple[str, ...]
    unreadable: tuple[str, ...] = ()

    def paths(self) -> list[str]:
        """Return the paths of all entries."""
        return [*(file.path for file in self.files), *(path for path, _target in self.links), *self.directories]


class _Directory(NamedTuple):
    """A directory that the walk visits.

    Attributes:
        real: real path.
        prefix: prefix of its entries' paths in the package: empty, or with a final slash.
        source: prefix of its entries' real paths relative to the root: empty, or with a final slash.
        inode: device and inode number.
        above: the directory that holds it, or that holds the link to it; None for the root.
        linked: whether the walk passed a link on the path to this directory.
        rules: the rules of ignore files for its entries.
    """

    real: bytes
    prefix: str
    source: str
    inode: tuple[int, int]
    above: "_Directory | None"
    linked: bool
    rules: RulesAbove = ()


def directory_at(directory: str) -> tuple[bytes, os.stat_result]:
    """Return the real path of a directory, and its status. Blocks.

    Raises:
        PathUnusable: the path cannot be resolved, or is not a directory.
    """
    try:
        root = os.path.realpath(path_bytes(directory), strict=True)
        found = os.stat(root)  # noqa: PTH116 - bytes
    except (OSError, ValueError, RecursionError) as error:  # also for a NUL, a surrogate, or a chain of 1,000 links
        raise PathUnusable(directory, reason(error)) from error
    if not stat.S_ISDIR(found.st_mode):
        raise PathUnusable(directory, "it is not a directory")
    return root, found


def scan_directory(
    directory: str,
    *,
    files_max: int,
    prefix: str = "",
    root_prefix: str | None = None,
    links: LinkPolicy = LinkPolicy.KEEP,
    selection: Selection = EVERYTHING,
    skip_unreadable: bool = False,
    own: OwnFiles | None = None,
    check_cancelled: Callable[[], None] = lambda: None,
    tell: Callable[[int, int], None] = lambda _files, _bytes: None,
) -> Scan:
    """List the entries of a tree. Blocks: call it from a worker thread.

    Args:
        directory: path of the directory, as `path_text` returns it.
        files_max: maximum number of entries.
        prefix: the directory of the package that the tree is for: empty, or with a final slash.
        root_prefix: the beginning of `prefix` that links may not leave; the whole prefix by default. With several
            sources, a link may lead from one to another.
        links: what to do with symbolic links.
        selection: which entries to take; its rules are about paths in the directory.
        skip_unreadable: leave out entries that cannot be read.
        own: the store's own files, which are left out.
        check_cancelled: raises when the caller is cancelled.
        tell: called every 100 files with the number of files so far and their total size in bytes.

    Raises:
        PathUnusable: the path is not a directory, or cannot be listed.
        IgnoreFileRefused: an ignore file cannot be used.
        SourceInsideStore: the directory belongs to the store.
        EntriesRefused: the package cannot hold some entries: links that the policy or the rules of packages reject,
            sockets, devices and FIFOs, paths that break a rule, and what cannot be read.
        PathConflict: two entries have paths that a package cannot hold together.
        TreeTooLarge: the tree exceeds a limit on entries, names or directories behind links.
        SourceChanged: the tree changed during the scan.
    """
    root, found = directory_at(directory)
    if own is not None and own.hold(root):
        raise SourceInsideStore(directory)
    exclusions = Exclusions(selection, len(prefix))
    walk = _Walk(directory, root, files_max, links, exclusions, own, check_cancelled, tell, skip_unreadable)
    walk.run(_Directory(root, prefix, "", _inode(found), None, linked=False))
    start = len(prefix if root_prefix is None else root_prefix)
    bad_links = refused_links(walk.links, walk.paths(), links, start)
    if refused := sorted((*walk.refused, *bad_links), key=lambda entry: tree_order(entry.path)):
        raise EntriesRefused(directory, tuple(refused[:REFUSED_MAX]), rules_start=len(prefix))
    check_tree(chain(walk.paths(), walk.links))
    return Scan(
        path_text(root),
        tuple(walk.files),
        tuple(walk.links.items()),
        tuple(walk.directories),
        tuple(walk.excluded),
        tuple(walk.unreadable),
    )


class _Walk:
    """The state of one scan: the entries so far, and the counts for its limits."""

    def __init__(
        self,
        name: str,
        root: bytes,
        files_max: int,
        policy: LinkPolicy,
        exclusions: Exclusions,
        own: OwnFiles | None,
        check_cancelled: Callable[[], None],
        tell: Callable[[int, int], None],
        skip_unreadable: bool,
    ) -> None:
        self._name = name
        self._root = root
        self._inside = root.rstrip(b"/") + b"/"
        self._files_max = files_max
        self._policy = policy
        self._exclusions = exclusions
        self._own = own
        self._check_wanted = check_cancelled
        self._tell = tell
        self._led: dict[bytes, tuple[str, bytes, os.stat_result]] = {}
        self._names = self._seen = self._linked = self._bytes = self._entries = self._left_out = 0
        self.files: list[ScannedFile] = []
        self.links: dict[str, str] = {}
        self.directories: list[str] = []
        self.excluded: list[str] = []
        self.unreadable: list[str] = []
        self.refused: list[RefusedEntry] = []
        self._skip_unreadable = skip_unreadable

    def run(self, start: _Directory) -> None:
        """Walk the tree depth first, by name, so that entries have the order of `paths.tree_order`.

        Of several errors, the walk always raises the same one.
        """
        levels = [(*self._listed(start), 0)]
        while levels:
            directory, names, before = levels[-1]
            for name in names:
                if (below := self._take(directory, name)) is not None:
                    found = self._entries + self._left_out  # `_listed` may leave the directory out
                    levels.append((*self._listed(below), found))
                    break
            else:
                levels.pop()
                # A directory in which everything is left out is not stored as an empty directory.
                if self._entries + self._left_out == before and levels:
                    self._count_entry()
                    self.directories.append(directory.prefix.removesuffix("/"))

    def paths(self) -> Iterator[str]:
        """Return the paths of all entries except links."""
        return chain((file.path for file in self.files), self.directories)

    def _listed(self, directory: _Directory) -> tuple[_Directory, Iterator["os.DirEntry[bytes]"]]:
        """Return a directory with its own rules, and its entries, sorted by the bytes of their names."""
        self._check_wanted()
        entries: list[os.DirEntry[bytes]] = []
        try:
            with os.scandir(directory.real) as listing:
                for entry in listing:
                    self._count_name()
                    entries.append(entry)
        except OSError as error:
            if directory.above is None:
                raise PathUnusable(self._name, reason(error)) from error
            path = directory.prefix.removesuffix("/")
            if error.errno in GONE:
                raise SourceChanged(path, "it was a directory and is gone") from error
            self._cannot_read(path, f"cannot be listed: {reason(error)}")
            return directory, iter(())
        if self._exclusions.selection.ignore_files and any(entry.name == _IGNORE_FILE for entry in entries):
            rules = rules_in(directory.real, directory.prefix + IGNORE_FILE)
            if len(rules) + sum(len(above) for _start, above in directory.rules) > RULES_MAX:
                many = f"it and those in the directories above have more than {RULES_MAX} rules"
                raise IgnoreFileRefused(directory.prefix + IGNORE_FILE, many)
            directory = directory._replace(rules=((len(directory.prefix), rules), *directory.rules))
        return directory, iter(sorted(entries, key=lambda entry: entry.name))

    def _take(self, directory: _Directory, entry: "os.DirEntry[bytes]") -> _Directory | None:
        """Add an entry to the scan; return it as a directory if the walk must enter it."""
        self._seen += 1
        if directory.rules or not self._seen % _ASK_EVERY:  # many rules take long
            self._check_wanted()
        path = directory.prefix + entry.name.decode(errors="surrogateescape")
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            if error.errno in GONE:
                refuse(path, error)
            self._cannot_read(path, f"cannot be read: {reason(error)}")
            return None
        if self._excludes(directory, entry.path, path, status):
            self._leave_out(path)
            return None
        try:
            check_path(path)
        except PathRefused as refused:
            self._refuse(path, "name", f"is no path of a package: {refused.reason}")
            return None
        if self._own is not None and self._own.include(status, directory.inode, entry.name):
            self._leave_out(path)
        elif stat.S_ISREG(status.st_mode):
            source = path if directory.source == directory.prefix else _below(directory, path)
            self._add(path, source, status, entry.path)
        elif stat.S_ISDIR(status.st_mode):
            source = f"{_below(directory, path)}/"
            linked = self._behind(directory.linked)
            return _Directory(entry.path, f"{path}/", source, _inode(status), directory, linked, directory.rules)
        elif stat.S_ISLNK(status.st_mode):
            return self._take_link(directory, path, entry.path)
        else:
            self._refuse(path, "special", f"is a {_kind(status.st_mode)}")
        return None

    def _refuse(self, path: str, kind: Literal["link", "special", "name", "unreadable"], reason: str) -> None:
        """Note an entry that the package cannot hold. The walk continues, to find all of them."""
        self._left_out += 1
        if len(self.refused) < REFUSED_MAX:
            self.refused.append(RefusedEntry(path, kind, reason))

    def _cannot_read(self, path: str, reason: str) -> None:
        """Leave out an entry that cannot be read, or refuse it."""
        if self._skip_unreadable:
            self._left_out += 1
            self.unreadable.append(path)
        else:
            self._refuse(path, "unreadable", reason)

    def _excludes(self, directory: _Directory, real: bytes, path: str, status: os.stat_result) -> bool:
        """Return whether the selection leaves an entry out."""
        is_directory = stat.S_ISDIR(status.st_mode)
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        if self._exclusions.leaves_out(path, directory.rules, directory=is_directory, size_bytes=size):
            return True
        return self._exclusions.selection.exclude_caches and is_directory and is_cache(real)

    def _take_link(self, directory: _Directory, path: str, link: bytes) -> _Directory | None:
        """Add, skip or follow a link by the policy; return the directory that the walk must enter, if any."""
        if self._policy is LinkPolicy.FOLLOW:
            return self._follow(directory, path, link)
        if self._policy is LinkPolicy.SKIP:
            self._leave_out(path)
        else:
            self._count_entry()
            self.links[path] = target_of(path, link)
        return None

    def _follow(self, directory: _Directory, path: str, link: bytes) -> _Directory | None:
        """Add the file that a link leads to, or return the directory that the walk must enter."""
        try:
            if link not in self._led:  # the walk can reach a link many times through other links
                self._led[link] = follow(path, link)
            target, real, status = self._led[link]
        except LeadsNowhere as nowhere:
            self._refuse(path, "link", str(nowhere))
            return None
        if self._own is not None and self._own.hold(real):
            self._leave_out(path)
            return None
        if real != self._root and not real.startswith(self._inside):
            self._refuse(path, "link", f"-> {target!r} leaves the tree")
            return None
        source = path_text(real[len(self._inside) :])
        if self._excludes(directory, real, path, status):
            self._leave_out(path)
            return None
        if stat.S_ISREG(status.st_mode):
            self._add(path, source, status, real)
        elif not stat.S_ISDIR(status.st_mode):
            self._refuse(path, "special", f"-> {target!r} is a {_kind(status.st_mode)}")
        elif _leads_up(directory, status):
            self._refuse(path, "link", f"-> {target!r} leads back to a directory above itself")
        else:
            source = f"{source}/" if source else ""
            linked = self._behind(linked=True)
            return _Directory(real, f"{path}/", source, _inode(status), directory, linked, directory.rules)
        return None

    def _leave_out(self, path: str) -> None:
        self._left_out += 1
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

    def _add(self, path: str, source: str, status: os.stat_result, real: bytes) -> None:
        # Nearly every file is readable by everybody. Only the others need a system call.
        if not status.st_mode & stat.S_IROTH and not os.access(real, os.R_OK, effective_ids=True):
            self._cannot_read(path, "cannot be read: Permission denied")
            return
        self._count_entry()
        self.files.append(
            ScannedFile(path, source, bool(status.st_mode & stat.S_IXUSR), status.st_size, stamp_of(status))
        )
        self._bytes += status.st_size
        if not len(self.files) % _TELL_EVERY:
            self._tell(len(self.files), self._bytes)

    def _behind(self, linked: bool) -> bool:
        """Count a directory that is behind a link, and return `linked`."""
        self._linked += linked
        limit = self._files_max // _FILES_A_LINKED_DIRECTORY + _LINKED_DIRECTORIES_MORE
        if self._linked > limit:
            advice = "remove links to directories that hold more such links"
            raise TreeTooLarge(self._name, limit, "directories behind links", advice)
        return linked


def _leads_up(directory: _Directory | None, status: os.stat_result) -> bool:
    """Return whether a status is that of a directory or of one above it."""
    while directory is not None:
        if directory.inode == _inode(status):
            return True
        directory = directory.above
    return False


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _below(directory: _Directory, path: str) -> str:
    """Return the real path, relative to the root, of an entry with this path in the package."""
    return directory.source + path[len(directory.prefix) :]


def stamp_of(found: os.stat_result) -> bytes:
    """Return the `STAMP` of a file with this status."""
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
