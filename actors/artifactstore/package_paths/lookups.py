"""Paths in an opened package: names, kinds, directories and patterns. Nothing here reads a byte or waits."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Self, override

from msgspec import Struct

from artifactstore.refusals import FileNotInPackage, LinkLeadsNowhere, NotADirectory, NotAFile
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.package_tree import Dead, PackageTree, Place
from artifactstore_protocols.paths import PathRefused
from artifactstore_protocols.records import EntryKind, FileRecord, PackageRecord

__all__ = ["Opened", "PathStat", "TreePath", "check_mode", "moved_position", "relative_path"]


class PathStat(Struct, frozen=True):
    """What a path of a package leads to.

    Attributes:
        kind: `file`, `directory`, or, if links are not followed, `link`.
        size_bytes: the length of a file; 0 for the other kinds.
        executable: whether the file's owner may execute it.
        media_type: the media type of a file; empty for the other kinds, as are the digests.
        content_address: the primary digest of a file's bytes.
        sha256: the SHA-256 digest of a file's bytes.
    """

    kind: EntryKind
    size_bytes: int = 0
    executable: bool = False
    media_type: str = ""
    content_address: str = ""
    sha256: str = ""


class Opened[Access](Struct, frozen=True):
    """A package that was opened: its record and its tree at that moment, and the access to its bytes."""

    record: PackageRecord
    tree: PackageTree
    access: Access


def relative_path(text: str) -> PurePosixPath:
    """Return a text as a path below the root of a package.

    Raises:
        PathRefused: the path is absolute.
    """
    path = PurePosixPath(text)
    if path.is_absolute():
        raise PathRefused(text, "it is absolute; give it relative to the package's root")
    return path


def check_mode(mode: str) -> None:
    """Raise `InvalidValue` for a mode in which a file of a package cannot be opened."""
    if mode != "rb":
        raise InvalidValue("mode", mode[:20], "a package is read as bytes: give rb, or use read_text")


def moved_position(position: int, size_bytes: int, offset: int, whence: int) -> int:
    """Return the position in a file after a seek.

    Raises:
        InvalidValue: the position would be before the beginning, or `whence` is unknown.
    """
    if whence not in {0, 1, 2}:
        raise InvalidValue("whence", str(whence), "0 counts from the beginning, 1 from here, 2 from the end")
    moved = (0, position, size_bytes)[whence] + offset
    if moved < 0:
        raise InvalidValue("position in a file", str(moved), "it is before the beginning")
    return moved


class TreePath[Access]:
    """A path in an opened package. It works like `pathlib.PurePosixPath` and, in most methods, like `pathlib.Path`.

    A path need not exist. Methods that look at the tree follow symbolic links, as those of `pathlib` do, and never
    leave the package. They answer from the entries that were read when the package was opened.
    """

    __slots__ = ("_opened", "_pure")

    def __init__(self, opened: Opened[Access], pure: PurePosixPath) -> None:
        self._opened = opened
        self._pure = pure

    def _at(self, pure: PurePosixPath) -> Self:
        return type(self)(self._opened, pure)

    @property
    def name(self) -> str:
        """The last part of the path; empty for the root."""
        return self._pure.name

    @property
    def stem(self) -> str:
        """The last part of the path without its suffix."""
        return self._pure.stem

    @property
    def suffix(self) -> str:
        """The suffix of the last part, with its dot; empty if there is none."""
        return self._pure.suffix

    @property
    def suffixes(self) -> list[str]:
        """All suffixes of the last part."""
        return self._pure.suffixes

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the path; empty for the root."""
        return self._pure.parts

    @property
    def parent(self) -> Self:
        """The path without its last part. The parent of the root is the root."""
        return self._at(self._pure.parent)

    def joinpath(self, *parts: str) -> Self:
        """Return the path with further parts; the same as `/`.

        Raises:
            PathRefused: a part is absolute.
        """
        return self._at(self._pure.joinpath(*map(relative_path, parts)))

    def __truediv__(self, part: str) -> Self:
        return self.joinpath(part)

    def exists(self) -> bool:
        """Return whether the path leads to something. A link that leads to nothing does not exist."""
        return isinstance(self._resolved(), Place)

    def is_file(self) -> bool:
        """Return whether the path leads to a file."""
        return self._kind() == "file"

    def is_dir(self) -> bool:
        """Return whether the path leads to a directory."""
        return self._kind() == "directory"

    def is_symlink(self) -> bool:
        """Return whether the path is a symbolic link, wherever that leads."""
        return self._kind(follow=False) == "link"

    def stat(self, *, follow_symlinks: bool = True) -> PathStat:
        """Return what the path leads to; with `follow_symlinks=False`, what the path itself is.

        Raises:
            FileNotInPackage: the path leads to nothing.
            LinkLeadsNowhere: a link on the way leads to nothing, or into a loop.
        """
        place = self._place(follow=follow_symlinks)
        entry = place.entry
        if entry is None or entry.kind != "file":
            return PathStat(place.kind)
        return PathStat(
            "file", entry.size_bytes, entry.executable, entry.media_type, entry.content_address, entry.sha256
        )

    def readlink(self) -> str:
        """Return the target of a symbolic link.

        Raises:
            FileNotInPackage: the path leads to nothing, or to something else.
            LinkLeadsNowhere: a link on the way leads to nothing, or into a loop.
        """
        entry = self._place(follow=False).entry
        if entry is None or entry.kind != "link":
            raise FileNotInPackage(self._opened.record.package_id, str(self))
        return entry.target

    def resolve(self) -> Self:
        """Return the path that this one leads to, without links and `..`.

        Raises:
            FileNotInPackage: the path leads to nothing.
            LinkLeadsNowhere: a link on the way leads to nothing, or into a loop.
        """
        return self._at(PurePosixPath(self._place().path))

    def iterdir(self) -> Iterator[Self]:
        """Return the paths of what a directory contains, in the order of the names.

        Raises:
            FileNotInPackage: the path leads to nothing.
            LinkLeadsNowhere: a link on the way leads to nothing, or into a loop.
            NotADirectory: the path leads to a file.
        """
        return (self._at(self._pure / name) for name in self._opened.tree.names(self._directory()))

    def glob(self, pattern: str) -> Iterator[Self]:
        """Return the paths below a directory that match a pattern of `artifactstore_protocols.globs`.

        `*.txt` matches what is directly in the directory, `**/*.txt` what is anywhere below it, and `**` everything.
        Links to directories match, and are not followed.

        Raises:
            InvalidValue: the text is no pattern.
            FileNotInPackage: the path leads to nothing.
            LinkLeadsNowhere: a link on the way leads to nothing, or into a loop.
            NotADirectory: the path leads to a file.
        """
        return (self._at(self._pure / path) for path in self._opened.tree.matching(self._directory(), pattern))

    def walk(self) -> Iterator[tuple[Self, Sequence[str], Sequence[str]]]:
        """Yield each directory at and below this one, with the names of its directories and of everything else in it.

        As for `pathlib`, links are among the other names, and are not followed.

        Raises:
            FileNotInPackage: the path leads to nothing.
            LinkLeadsNowhere: a link on the way leads to nothing, or into a loop.
            NotADirectory: the path leads to a file.
        """
        self._directory()
        waiting = [self]
        while waiting:
            at = waiting.pop()
            names = [path.name for path in at.iterdir()]
            kinds = [(at / name).stat(follow_symlinks=False).kind for name in names]
            directories = [name for name, kind in zip(names, kinds, strict=True) if kind == "directory"]
            yield at, directories, [name for name, kind in zip(names, kinds, strict=True) if kind != "directory"]
            waiting += [at / name for name in reversed(directories)]

    def _resolved(self, *, follow: bool = True) -> Place | Dead:
        return self._opened.tree.resolve(str(self._pure), follow=follow)

    def _kind(self, *, follow: bool = True) -> EntryKind | None:
        place = self._resolved(follow=follow)
        return place.kind if isinstance(place, Place) else None

    def _place(self, *, follow: bool = True) -> Place:
        place = self._resolved(follow=follow)
        if isinstance(place, Place):
            return place
        package_id = self._opened.record.package_id
        if place.link:
            raise LinkLeadsNowhere(package_id, str(self), place.link, is_loop=place.reason == "loop")
        raise FileNotInPackage(package_id, str(self))

    def _directory(self) -> Place:
        place = self._place()
        if place.kind != "directory":
            raise NotADirectory(self._opened.record.package_id, str(self))
        return place

    def _file(self) -> FileRecord:
        place = self._place()
        if place.entry is None or place.kind != "file":
            raise NotAFile(self._opened.record.package_id, str(self), place.kind, "")
        return place.entry

    @override
    def __str__(self) -> str:
        return str(self._pure)

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {str(self)!r} in {self._opened.record.name!r}>"

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TreePath):
            return NotImplemented
        return self._identity() == other._identity()

    @override
    def __hash__(self) -> int:
        return hash(self._identity())

    def __lt__(self, other: Self) -> bool:
        return self._pure < other._pure

    def _identity(self) -> tuple[str, PurePosixPath]:
        return self._opened.record.package_id, self._pure
