"""What a directory holds, looked at before a byte is read, so that a bad tree is refused before anything is stored.

Regular files are taken. A symbolic link is taken as what it leads to, file or directory, as long as that lies inside
the tree; one that leads out of it, to nothing, or back to a directory above itself is refused. Sockets, devices and
FIFOs are refused by their kind and never opened. Empty directories are not part of a package.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import override

from artifactstore_protocols.dataplane import FileSource
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.paths import check_path, path_key

__all__ = [
    "FileStamp",
    "LinkRefused",
    "NotADirectory",
    "SamePath",
    "ScannedFile",
    "SpecialFileRefused",
    "TreeTooLarge",
    "scan_directory",
]


@dataclass(eq=False)
class NotADirectory(ArtifactStoreError):
    """What was to be ingested as a directory is none, or cannot be listed."""

    path: str
    reason: str

    @override
    def __str__(self) -> str:
        return f"{self.path!r} cannot be read as a directory: {self.reason}"


@dataclass(eq=False)
class LinkRefused(ArtifactStoreError):
    """A symbolic link that cannot be stored as what it leads to."""

    path: str
    target: str
    reason: str

    @override
    def __str__(self) -> str:
        return (
            f"symbolic link {self.path!r} -> {self.target!r} {self.reason}; "
            "remove it, or put what it leads to inside the tree"
        )


@dataclass(eq=False)
class SpecialFileRefused(ArtifactStoreError):
    """Something that is neither a file, a directory nor a link."""

    path: str
    kind: str

    @override
    def __str__(self) -> str:
        return f"{self.path!r} is a {self.kind}; only files can be ingested, so remove it or leave it outside the tree"


@dataclass(eq=False)
class SamePath(ArtifactStoreError):
    """Two names of one tree that are the same path under Unicode NFC."""

    path: str
    other: str

    @override
    def __str__(self) -> str:
        return f"{self.path!r} and {self.other!r} are the same path under Unicode NFC; rename one of the two"


@dataclass(eq=False)
class TreeTooLarge(ArtifactStoreError):
    """A tree with more files than a package may hold."""

    path: str
    limit: int

    @override
    def __str__(self) -> str:
        return f"{self.path!r} holds more than {self.limit} files; split it, or raise ARTIFACTSTORE_PACKAGE_FILES_MAX"


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What an inode says of a file that nobody has touched: writing to it, or putting another in its place, shows."""

    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file to ingest: its path in the package, where to read it, and what the scan saw of it."""

    path: str
    source: FileSource
    executable: bool
    stamp: FileStamp

    @property
    def size_bytes(self) -> int:
        """How long it was."""
        return self.stamp.size_bytes


def scan_directory(directory: str, *, files_max: int) -> tuple[ScannedFile, ...]:
    """List the files of a tree, sorted by path bytes. Blocks: call it from a worker thread.

    Raises:
        NotADirectory, LinkRefused, SpecialFileRefused, PathRefused, SamePath, TreeTooLarge: nothing was read yet.
    """
    try:
        root = Path(directory).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise NotADirectory(directory, _reason(error)) from error
    if not root.is_dir():
        raise NotADirectory(directory, "it is not a directory")
    found: list[ScannedFile] = []
    names: dict[str, str] = {}
    for entry in _walk(root, root, "", (root,)):
        other = names.setdefault(path_key(entry.path), entry.path)
        if other != entry.path:
            raise SamePath(entry.path, other)
        found.append(entry)
        if len(found) > files_max:
            raise TreeTooLarge(directory, files_max)
    return tuple(sorted(found, key=lambda file: file.path.encode()))


def _walk(root: Path, directory: Path, prefix: str, above: tuple[Path, ...]) -> Iterator[ScannedFile]:
    """The files below `directory`, a real path inside `root`, under names that begin with `prefix`."""
    try:
        with os.scandir(directory) as listing:
            entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise NotADirectory(prefix.removesuffix("/") or str(directory), _reason(error)) from error
    for entry in entries:
        path = check_path(f"{prefix}{entry.name}")
        real = Path(entry.path)
        if entry.is_symlink():
            real = _resolve(root, real, path, above)
        try:
            status = real.stat(follow_symlinks=False)
        except OSError as error:
            raise NotADirectory(path, _reason(error)) from error
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(root, real, f"{path}/", (*above, real))
        elif stat.S_ISREG(status.st_mode):
            source = FileSource(real.relative_to(root).as_posix(), str(root))
            yield ScannedFile(path, source, bool(status.st_mode & stat.S_IXUSR), _stamp(status))
        else:
            raise SpecialFileRefused(path, _kind(status.st_mode))


def _resolve(root: Path, link: Path, path: str, above: tuple[Path, ...]) -> Path:
    target = str(link.readlink())
    try:
        real = link.resolve(strict=True)
    except FileNotFoundError:
        raise LinkRefused(path, target, "leads to nothing") from None
    except (OSError, RuntimeError):
        raise LinkRefused(path, target, "goes round in a circle") from None
    if not real.is_relative_to(root):
        raise LinkRefused(path, target, "leaves the tree")
    if real in above:
        raise LinkRefused(path, target, "leads back to a directory above itself")
    return real


def _stamp(status: os.stat_result) -> FileStamp:
    return FileStamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFIFO: "FIFO",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "character device",
        stat.S_IFBLK: "block device",
    }
    return kinds.get(stat.S_IFMT(mode), "special file")


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
