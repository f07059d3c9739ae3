"""The tree that the entries of a package form: which paths it has, where they lead, and what a directory contains.

A path is resolved as an operating system resolves it in an export of the package. Symbolic links on the way are
followed, at most `LINKS_MAX` of them, and `..` after a link leads to the directory above the link's target. Nothing
outside the package is ever reached. Names are compared under Unicode NFC.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

from artifactstore_protocols.globs import check_glob, glob_matcher
from artifactstore_protocols.paths import path_key
from artifactstore_protocols.records import EntryKind, FileRecord

__all__ = ["LINKS_MAX", "Dead", "PackageTree", "Place"]

LINKS_MAX: Final = 40
"""The maximum number of links that one path follows: that of Linux, so that a path leads as far as in an export."""


class Place(NamedTuple):
    """What a path leads to.

    Attributes:
        path: the path of the place, free of links to directories; empty for the root.
        kind: what is there. `link` only if the caller asked not to follow the last link.
        entry: the record of a file, a link or an empty directory; None for other directories.
    """

    path: str
    kind: EntryKind
    entry: FileRecord | None


class Dead(NamedTuple):
    """Why a path leads to nothing.

    Attributes:
        reason: `missing`: a name does not exist, or what precedes it is no directory. `loop`: it takes more than
            `LINKS_MAX` links.
        link: the path of the last link that was followed; empty if there was none.
    """

    reason: Literal["missing", "loop"]
    link: str


class PackageTree:
    """The entries of a package, for lookups by path. It keeps all of them in memory.

    Args:
        entries: all entries of the package, sorted by the parts of their paths.
    """

    __slots__ = ("_directories", "_entries")

    def __init__(self, entries: Iterable[FileRecord]) -> None:
        self._entries = {path_key(entry.path): entry for entry in entries}
        # The names in each directory, by their keys. A directory that several entries spell differently has one name.
        self._directories: dict[str, dict[str, str]] = {"": {}}
        for key, entry in self._entries.items():
            if entry.kind == "directory":
                self._directories[key] = {}
            self._place(key, entry.path)

    def _place(self, key: str, path: str) -> None:
        while key:
            directory, _, name_key = key.rpartition("/")
            path, _, name = path.rpartition("/")
            if (names := self._directories.get(directory)) is not None:
                names.setdefault(name_key, name)
                return  # the directories above it are there, too
            self._directories[directory] = {name_key: name}
            key = directory

    def resolve(self, path: str, *, follow: bool = True) -> Place | Dead:
        """Return where a path leads.

        Args:
            path: parts with `/` between them. `.` and empty parts stand for the directory itself, and `..` for the one
                above it. The directory above the root does not exist.
            follow: whether a link at the end of the path is followed.
        """
        names = path_key(path).split("/")[::-1]
        at, link, left = "", "", LINKS_MAX
        while names:
            name = names.pop()
            if at not in self._directories:
                return Dead("missing", link)
            if name in {"", "."}:
                continue
            if name == "..":
                if not at:
                    return Dead("missing", link)
                at = at.rpartition("/")[0]
                continue
            below = f"{at}/{name}" if at else name
            entry = self._entries.get(below)
            if entry is None:
                if below not in self._directories:
                    return Dead("missing", link)
            elif entry.kind == "link" and (names or follow):
                link = entry.path
                if not left:
                    return Dead("loop", link)
                left -= 1
                names += path_key(entry.target).split("/")[::-1]
                continue
            at = below
        entry = self._entries.get(at)
        return Place(at, "directory" if entry is None else entry.kind, entry)

    def names(self, directory: Place) -> Sequence[str]:
        """Return the names of what a directory contains, sorted."""
        return sorted(self._directories[directory.path].values())

    def below(self, directory: Place) -> Iterator[str]:
        """Yield the paths of everything below a directory, relative to it, in the order of their parts.

        Links are not followed.
        """
        waiting = self._items(directory.path, "")
        while waiting:
            key, path = waiting.pop()
            yield path
            if key in self._directories:
                waiting += self._items(key, f"{path}/")

    def _items(self, directory: str, prefix: str) -> list[tuple[str, str]]:
        """Return the key and the relative path of what a directory contains, the last name first."""
        names = sorted(self._directories[directory].items(), key=lambda item: item[1], reverse=True)
        above = f"{directory}/" if directory else ""
        return [(above + key, prefix + name) for key, name in names]

    def matching(self, directory: Place, pattern: str) -> Iterator[str]:
        """Yield the paths below a directory that a pattern of `globs` for paths matches, relative to the directory.

        Raises:
            InvalidValue: the text is no pattern.
        """
        check_glob(pattern)
        matches = glob_matcher(path_key(pattern), of_paths=True)
        return (path for path in self.below(directory) if matches(path_key(path)))
