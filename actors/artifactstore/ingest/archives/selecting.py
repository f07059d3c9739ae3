"""The scan of an archive's tree: it takes what a selection takes, in the order of `paths.tree_order`.

The rules, the link policies and the checks are those of `artifactstore.ingest.scan`: an archive of a directory gives
the same entries as the directory. A link may lead to any place in the archive, and not to what else the package holds.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final, NamedTuple

from artifactstore.ingest.archives.reading import slice_of
from artifactstore.ingest.archives.tree import Directory, Kind, Member
from artifactstore.ingest.exclusions import (
    CACHE_SIGNATURE,
    CACHE_TAG,
    IGNORE_BYTES_MAX,
    Exclusions,
    RulesAbove,
    read_rules,
)
from artifactstore.ingest.link_judging import refused_links
from artifactstore.ingest.refusals import (
    REFUSED_MAX,
    EntriesRefused,
    IgnoreFileRefused,
    RefusedEntry,
    TreeTooLarge,
)
from artifactstore.ingest.scan import Scan, ScannedFile
from artifactstore.os_paths import path_bytes
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.manifest import check_tree
from artifactstore_protocols.paths import PathRefused, check_path, tree_order
from artifactstore_protocols.selection import IGNORE_FILE, RULES_MAX, Selection

__all__ = ["Wanted", "scan_tree"]

_ASK_EVERY: Final = 128
"""Number of entries between two checks for cancellation: a few milliseconds."""


class Wanted(NamedTuple):
    """What a caller wants of an archive.

    Attributes:
        files_max: the maximum number of entries.
        links: what to do with symbolic links; they cannot be followed.
        selection: which entries to take; its rules are relative to the root of the archive.
        prefix: the directory of the package under which all entries are placed; empty for its root.
    """

    files_max: int
    links: LinkPolicy
    selection: Selection
    prefix: str


def scan_tree(
    archive: str, root: Directory, descriptor: int, wanted: Wanted, check_cancelled: Callable[[], None]
) -> Scan:
    """Return the entries of an archive that its caller wants, as the scan of a directory does.

    Args:
        archive: the name of the archive, for errors.
        root: the tree of its members.
        descriptor: holds the contents of the files.
        wanted: what to take, and how.
        check_cancelled: raises when the caller is cancelled.

    Raises:
        EntriesRefused: the package cannot hold some entries: links that the policy or the rules of packages reject,
            special files, and paths that break a rule.
        IgnoreFileRefused: an ignore file of the archive cannot be used.
        PathRefused: two entries have paths that a package cannot hold together.
        TreeTooLarge: there are too many entries.
    """
    walk = _Walk(archive, descriptor, wanted, check_cancelled)
    walk.run(root)
    bad_links = refused_links(walk.links, walk.paths(), wanted.links, len(walk.prefix))
    if refused := sorted((*walk.refused, *bad_links), key=lambda entry: tree_order(entry.path)):
        raise EntriesRefused(archive, tuple(refused[:REFUSED_MAX]), rules_start=len(walk.prefix))
    check_tree(chain(walk.paths(), walk.links))
    return Scan("", tuple(walk.files), tuple(walk.links.items()), tuple(walk.directories), tuple(walk.excluded))


class _Level(NamedTuple):
    """A directory that the walk is in: its prefix, its entries that are left, its rules, and the count before it."""

    prefix: str
    items: Iterator[tuple[str, Directory | Member]]
    rules: RulesAbove
    before: int


class _Walk:
    """The state of one scan. Paths are those in the archive until they enter the result."""

    def __init__(self, archive: str, descriptor: int, wanted: Wanted, check_cancelled: Callable[[], None]) -> None:
        self._archive = archive
        self._descriptor = descriptor
        self._wanted = wanted
        self._exclusions = Exclusions(wanted.selection)
        self._check_cancelled = check_cancelled
        self.prefix = f"{check_path(wanted.prefix)}/" if wanted.prefix else ""
        self._seen = self._entries = 0
        self.files: list[ScannedFile] = []
        self.links: dict[str, str] = {}
        self.directories: list[str] = []
        self.excluded: list[str] = []
        self.refused: list[RefusedEntry] = []

    def run(self, root: Directory) -> None:
        """Walk the tree depth first, by the bytes of names."""
        levels = [self._level("", root, ())]
        while levels:
            level = levels[-1]
            for name, found in level.items:
                path = level.prefix + name
                if self._takes(path, found, level.rules) and isinstance(found, dict):
                    levels.append(self._level(f"{path}/", found, level.rules))
                    break
            else:
                levels.pop()
                # A directory in which everything is left out is not stored as an empty directory.
                if self._entries + len(self.excluded) + len(self.refused) == level.before and levels:
                    self._count_entry()
                    self.directories.append(self.prefix + level.prefix.removesuffix("/"))

    def paths(self) -> Iterator[str]:
        """Return the paths of all entries except links."""
        return chain((file.path for file in self.files), self.directories)

    def _level(self, prefix: str, directory: Directory, rules: RulesAbove) -> _Level:
        items = iter(sorted(directory.items(), key=lambda item: path_bytes(item[0])))
        if self._wanted.selection.ignore_files and (found := directory.get(IGNORE_FILE)) is not None:
            path = self.prefix + prefix + IGNORE_FILE
            own = read_rules(self._ignore_file(path, found), path)
            if len(own) + sum(len(above) for _start, above in rules) > RULES_MAX:
                many = f"it and those in the directories above have more than {RULES_MAX} rules"
                raise IgnoreFileRefused(path, many)
            rules = ((len(prefix), own), *rules)
        return _Level(prefix, items, rules, self._entries + len(self.excluded) + len(self.refused))

    def _ignore_file(self, path: str, found: Directory | Member) -> bytes:
        if isinstance(found, dict) or found.kind is not Kind.FILE:
            raise IgnoreFileRefused(path, "it is no regular file")
        return self._beginning(found, IGNORE_BYTES_MAX + 1)

    def _takes(self, path: str, found: Directory | Member, rules: RulesAbove) -> bool:
        """Add an entry to the scan, or leave it out. Return whether the walk may enter it if it is a directory."""
        self._seen += 1
        if rules or not self._seen % _ASK_EVERY:  # many rules take long
            self._check_cancelled()
        if self._excludes(path, found, rules):
            self.excluded.append(self.prefix + path)
            return False
        path = self.prefix + path
        try:
            check_path(path)
        except PathRefused as refused:
            self.refused.append(RefusedEntry(path, "name", f"is no path of a package: {refused.reason}"))
            return False
        if isinstance(found, dict):
            return True
        if found.kind is Kind.SPECIAL:
            self.refused.append(RefusedEntry(path, "special", f"is a {found.text}"))
            return False
        if found.kind is Kind.LINK and self._wanted.links is LinkPolicy.SKIP:
            self.excluded.append(path)
        else:
            self._count_entry()
            if found.kind is Kind.LINK:
                self.links[path] = found.text
            else:
                self.files.append(ScannedFile(path, str(found.offset), found.executable, found.size_bytes, b""))
        return False

    def _excludes(self, path: str, found: Directory | Member, rules: RulesAbove) -> bool:
        """Return whether the selection leaves an entry out."""
        is_directory = isinstance(found, dict)
        size_bytes = 0 if isinstance(found, dict) else found.size_bytes
        if self._exclusions.leaves_out(path, rules, directory=is_directory, size_bytes=size_bytes):
            return True
        return self._exclusions.selection.exclude_caches and isinstance(found, dict) and self._is_cache(found)

    def _is_cache(self, directory: Directory) -> bool:
        found = directory.get(CACHE_TAG)
        if not isinstance(found, Member) or found.kind is not Kind.FILE:
            return False
        return self._beginning(found, len(CACHE_SIGNATURE)) == CACHE_SIGNATURE

    def _beginning(self, file: Member, limit: int) -> bytes:
        size_bytes = min(limit, file.size_bytes)
        pieces = slice_of(self._descriptor, file.offset, size_bytes, self._archive, self._check_cancelled)
        return b"".join(pieces)

    def _count_entry(self) -> None:
        self._entries += 1
        if self._entries > self._wanted.files_max:
            what = "files, links and empty directories"
            raise TreeTooLarge(self._archive, self._wanted.files_max, what, "split it")
