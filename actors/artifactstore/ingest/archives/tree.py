"""The tree of an archive's members, built in the order in which the archive names them.

An archive can name a path twice, or a path below a file. `ArchiveTree` rejects both when it happens, so a file cannot
replace another, and nothing is ever below a symbolic link.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final, NamedTuple

from artifactstore.ingest.refusals import TreeTooLarge
from artifactstore_protocols.paths import PathRefused, check_path

__all__ = ["ArchiveTree", "Directory", "Kind", "Member"]

_NAMES_A_FILE: Final = 10
_NAMES_MORE: Final = 10_000
"""An archive has at most ten names for each entry that the package may hold, and 10,000 more, as a scanned directory.
A member in a directory that no member names has several names. So has one with extensions."""

_TELL_EVERY: Final = 1000
_TELL_BYTES: Final = 64 << 20
"""Numbers of files and of bytes between two progress reports."""

_NO_NAMES: Final = frozenset({"", ".", ".."})


class Kind(Enum):
    """The kind of a member that is not a directory."""

    FILE = auto()
    LINK = auto()
    SPECIAL = auto()


class Member(NamedTuple):
    """A member of an archive that is not a directory.

    Attributes:
        kind: whether it is a file, a link or something else.
        offset: where the content of a file begins in the descriptor that holds it.
        size_bytes: the size of a file.
        executable: whether the owner may execute the file.
        text: the target of a link, or what a special file is.
    """

    kind: Kind
    offset: int = 0
    size_bytes: int = 0
    executable: bool = False
    text: str = ""


type Directory = dict[str, Directory | Member]


class ArchiveTree:
    """The members of an archive by their paths.

    Args:
        archive: the name of the archive, for errors.
        files_max: the maximum number of entries that the package may hold.
        tell: called every 1,000 files, and every 64 MiB, with the number of files so far and their total size in bytes.
    """

    def __init__(
        self,
        archive: str,
        files_max: int,
        tell: Callable[[int, int], None] = lambda _files, _bytes: None,
    ) -> None:
        self.archive = archive
        self._tell = tell
        self._files = self._bytes = self._told_bytes = 0
        self.names_max = _NAMES_A_FILE * files_max + _NAMES_MORE
        self._names = 0
        self.root: Directory = {}

    def count(self) -> None:
        """Count a header or a name.

        Raises:
            TreeTooLarge: the archive has too many.
        """
        self._names += 1
        if self._names > self.names_max:
            raise TreeTooLarge(self.archive, self.names_max, "headers, files, directories and links", "split it")

    def add(self, path: str, member: Member) -> None:
        """Add a member.

        Raises:
            PathRefused: the path leads out of the tree, or it cannot stand beside an earlier one.
            TreeTooLarge: the archive has too many names.
        """
        *above, name = parts = _parts(path)
        directory = self._directory("/".join(parts), above)
        if name in directory:
            raise PathRefused(path, "it occurs twice in the archive; remove one")
        self.count()
        directory[name] = member
        if member.kind is Kind.FILE:
            self._files += 1
            self._bytes += member.size_bytes
            if not self._files % _TELL_EVERY or self._bytes - self._told_bytes >= _TELL_BYTES:
                self._told_bytes = self._bytes
                self._tell(self._files, self._bytes)

    def add_directory(self, path: str) -> None:
        """Add a directory. It may be there already.

        Raises:
            PathRefused: the path leads out of the tree, or is that of a file or below one.
            TreeTooLarge: the archive has too many names.
        """
        if path != ".":  # the root
            parts = _parts(path)
            self._directory("/".join(parts), parts)

    def find(self, path: str) -> Member | None:
        """Return the member at a path; None if there is none, or a directory.

        Raises:
            PathRefused: the path leads out of the tree.
        """
        found: Directory | Member | None = self.root
        for part in _parts(path):
            if not isinstance(found, dict):
                return None
            found = found.get(part)
        return found if isinstance(found, Member) else None

    def _directory(self, path: str, parts: list[str]) -> Directory:
        """Return the directory with these parts, which is new if the tree has none. `path` is for errors."""
        directory = self.root
        for depth, part in enumerate(parts, 1):
            below = directory.get(part)
            if isinstance(below, Member):
                above = "/".join(parts[:depth])
                if above == path:
                    raise PathRefused(path, "it occurs twice in the archive, not only as a directory; remove one")
                raise PathRefused(above, f"it is a file or a link, so {path!r} cannot be below it")
            if below is None:
                self.count()
                below = directory[part] = {}
            directory = below
        return directory


def _parts(path: str) -> list[str]:
    """Return the parts of a path without `./` at its beginning, which tools add.

    A path that leads out of the tree is rejected even if nobody wants the entry.
    """
    while path.startswith("./"):
        path = path[2:]
    parts = path.split("/")
    if not _NO_NAMES.isdisjoint(parts):
        check_path(path)
    return parts
