"""The directories of a package, and what an export's target has in their places."""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct, field

from artifactstore.dataplane.ingest import CHUNK_BYTES
from artifactstore.package_export.names import Parts, names_in, parts_of
from artifactstore.package_export.target import ExportTarget
from artifactstore_protocols.identity import ContentAddress, new_hasher
from artifactstore_protocols.records import FileRecord

__all__ = ["NO_DIRECTORY", "PackageDirectory", "directories_in", "directories_of", "has_content"]

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
NO_DIRECTORY = frozenset({errno.ENOTDIR, errno.ELOOP})
"""Error numbers of a file or a link in the place of a directory."""


class PackageDirectory(Struct):
    """The entries of a package in one directory, by name.

    Attributes:
        files: its files.
        links: its symbolic links.
        directories: its subdirectories.
        path: its own path if it is an entry of the package, that is an empty directory; otherwise None.
    """

    files: dict[bytes, FileRecord] = field(default_factory=dict[bytes, FileRecord])
    links: dict[bytes, FileRecord] = field(default_factory=dict[bytes, FileRecord])
    directories: "dict[bytes, PackageDirectory]" = field(default_factory=dict[bytes, "PackageDirectory"])
    path: str | None = None


def directories_of(entries: Sequence[FileRecord]) -> Iterator[tuple[Parts, PackageDirectory]]:
    """Yield the directories of a package, each followed by all directories below it."""
    top = PackageDirectory()
    for entry in entries:
        directory = top
        *above, name = parts_of(entry.path)
        for each in above:
            directory = directory.directories.setdefault(each, PackageDirectory())
        if entry.kind == "file":
            directory.files[name] = entry
        elif entry.kind == "link":
            directory.links[name] = entry
        else:
            directory.directories[name] = PackageDirectory(path=entry.path)
    yield (), top
    levels: list[tuple[Parts, Iterator[bytes], PackageDirectory]] = [((), iter(sorted(top.directories)), top)]
    while levels:
        parts, names, directory = levels[-1]
        for name in names:
            here, below = (*parts, name), directory.directories[name]
            yield here, below
            levels.append((here, iter(sorted(below.directories)), below))
            break
        else:
            levels.pop()


def directories_in(
    target: ExportTarget, entries: Sequence[FileRecord], blocked: list[str], check_cancelled: Callable[[], None]
) -> Iterator[tuple[Parts, PackageDirectory, int, frozenset[bytes]]]:
    """Yield the package's directories that the target has, each with its descriptor and the names that it lists.

    Below a missing directory, nothing is looked for. The path of a file in the place of a directory is added to
    `blocked`.

    Raises:
        OSError: the target cannot be read.
    """
    missing: Parts | None = None
    for parts, expected in directories_of(entries):
        check_cancelled()
        if missing is not None and parts[: len(missing)] == missing:
            continue
        fd = _found(target, parts, blocked)
        if fd is None:
            missing = parts
        else:
            yield parts, expected, fd, names_in(fd)


def _found(target: ExportTarget, parts: Parts, blocked: list[str]) -> int | None:
    """Open a directory; None if no file of the package can be in it."""
    try:
        fd = target.directories.at(parts, make=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in NO_DIRECTORY:
            raise
        blocked.append(os.fsdecode(b"/".join(parts)))
        return None
    return None if target.marker.is_at(fd) else fd


def has_content(
    target: ExportTarget,
    at: int,
    name: bytes,
    file: FileRecord,
    check_cancelled: Callable[[], None],
    *,
    exact: bool = False,
) -> bool | None:
    """Return whether a file has the content of the package; if so, also set its executable bit.

    With `exact`, also take the bit from a file that has it and should not, and return None if the bit was changed.
    """
    try:
        fd = os.open(name, _READ, dir_fd=at)
    except OSError:
        return False
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size != file.size_bytes:
            return False
        digest = ContentAddress.parse(file.content_address).digest
        hasher = new_hasher(digest.algorithm)
        while piece := os.read(fd, CHUNK_BYTES):
            check_cancelled()
            hasher.update(piece)
        if hasher.hexdigest() != digest.hex:
            return False
        changed = target.set_executable(fd, executable=file.executable, exact=exact)
    finally:
        os.close(fd)
    return None if exact and changed else True
