"""Comparison of an export's target with the package, before an export continues and at its end."""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from msgspec import Struct, field

from artifactstore.dataplane.ingest import CHUNK_BYTES
from artifactstore.package_export.target import (
    ENTRIES_OF_OTHERS,
    OWN_DIRECTORY,
    ExportTarget,
    Parts,
    link_at,
    listed_as,
    names_in,
    parts_of,
    paths_text,
)
from artifactstore_protocols.identity import ContentAddress, new_hasher
from artifactstore_protocols.records import FileRecord

__all__ = ["complete_files", "misnamed_files"]

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_DIRECTORY = frozenset({errno.ENOTDIR, errno.ELOOP})
_MISNAMED = "the target keeps it under another name, or somebody removed it meanwhile"


class _Directory(Struct):
    """The entries of a package in one directory, by name.

    Attributes:
        files: its files.
        links: its symbolic links.
        directories: its subdirectories.
        path: its own path if it is an entry of the package, that is an empty directory; otherwise None.
    """

    files: dict[bytes, FileRecord] = field(default_factory=dict[bytes, FileRecord])
    links: dict[bytes, FileRecord] = field(default_factory=dict[bytes, FileRecord])
    directories: "dict[bytes, _Directory]" = field(default_factory=dict[bytes, "_Directory"])
    path: str | None = None


def _directories(entries: Sequence[FileRecord]) -> Iterator[tuple[Parts, _Directory]]:
    """Yield the directories of a package, each followed by all directories below it."""
    top = _Directory()
    for entry in entries:
        directory = top
        *above, name = parts_of(entry.path)
        for each in above:
            directory = directory.directories.setdefault(each, _Directory())
        if entry.kind == "file":
            directory.files[name] = entry
        elif entry.kind == "link":
            directory.links[name] = entry
        else:
            directory.directories[name] = _Directory(path=entry.path)
    yield (), top
    levels: list[tuple[Parts, Iterator[bytes], _Directory]] = [((), iter(sorted(top.directories)), top)]
    while levels:
        parts, names, directory = levels[-1]
        for name in names:
            here, below = (*parts, name), directory.directories[name]
            yield here, below
            levels.append((here, iter(sorted(below.directories)), below))
            break
        else:
            levels.pop()


def complete_files(
    target: ExportTarget,
    entries: Sequence[FileRecord],
    check_cancelled: Callable[[], None],
) -> frozenset[str]:
    """Return the paths of the files that an interrupted export wrote completely, compared by content.

    Args:
        target: the target of the export.
        entries: all entries of the package.
        check_cancelled: raises when the caller is cancelled.

    Raises:
        TargetRefused: the target holds something that is not in the package, or an entry with another content.
        OSError: the target cannot be read.
    """
    complete = set[str]()
    changed: list[str] = []
    foreign: list[str] = []
    beyond: Parts | None = None  # a missing directory; all directories below it are missing too
    for parts, expected in _directories(entries):
        check_cancelled()
        if beyond is not None and parts[: len(beyond)] == beyond:
            continue
        fd = _found(target, parts, changed)
        if fd is None:
            beyond = parts
            continue
        listing = names_in(fd)
        names = {listed: name for name in expected.files if (listed := listed_as(name, listing)) is not None}
        known = names.keys() | {listed_as(name, listing) for name in (*expected.directories, *expected.links)}
        if not parts:
            known |= ENTRIES_OF_OTHERS
            names.pop(OWN_DIRECTORY, None)  # rejected by `place`, so not reported as changed
        foreign += [os.fsdecode(b"/".join((*parts, name))) for name in sorted(listing - known)]
        for name, link in expected.links.items():
            listed = listed_as(name, listing)
            if listed is not None and link_at(fd, listed) != link.target.encode():
                changed.append(link.path)
        for name in sorted(names.values()):
            check_cancelled()
            file = expected.files[name]
            if _has_content(target, fd, name, file, check_cancelled):
                complete.add(file.path)
            elif not _was_empty(fd, name):
                changed.append(file.path)
    if foreign:
        raise target.refused(
            f"it also holds {paths_text(foreign)}, not of this package; name a new or an empty directory"
        )
    if changed:
        reason = "another content than the package, or none that can be read; delete that and export again"
        raise target.refused(f"{paths_text(changed)} has {reason}")
    return frozenset(complete)


def _found(target: ExportTarget, parts: Parts, changed: list[str]) -> int | None:
    """Open a directory; None if no file of the package can be in it. Add a file in its place to `changed`."""
    try:
        fd = target.directory(parts, make=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in _NO_DIRECTORY:
            raise
        changed.append(os.fsdecode(b"/".join(parts)))
        return None
    return None if target.is_own(fd) else fd


def _has_content(
    target: ExportTarget, at: int, name: bytes, file: FileRecord, check_cancelled: Callable[[], None]
) -> bool:
    """Return whether a file has the content of the package; if so, also set its executable bit."""
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
        target.set_executable(fd, executable=file.executable)
    finally:
        os.close(fd)
    return True


def _was_empty(at: int, name: bytes) -> bool:
    """Remove an empty file, which a power loss or a crash between two steps leaves; return False if not empty."""
    found = os.stat(name, dir_fd=at, follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode) or found.st_size:
        return False
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=at)
    return True


def misnamed_files(
    target: ExportTarget,
    entries: Sequence[FileRecord],
    check_cancelled: Callable[[], None],
) -> dict[str, str]:
    """Return the paths of written entries that the target does not list under their names, each with the reason.

    A target that stores names in another Unicode form finds an entry under both forms. That is a limit, not an error.

    Raises:
        OSError: the target cannot be read.
    """
    misnamed: dict[str, str] = {}
    lost: set[Parts] = set()
    beyond: Parts | None = None  # a lost directory; all entries below it are lost too
    target.close_directories()
    for parts, expected in _directories(entries):
        check_cancelled()
        if parts in lost:
            beyond = parts
        listing = frozenset[bytes]()
        if beyond is None or parts[: len(beyond)] != beyond:
            try:
                listing = names_in(target.directory(parts, make=False))
            except OSError as error:
                if error.errno not in {errno.ENOENT, *_NO_DIRECTORY}:
                    raise
        for name in (*expected.files, *expected.links, *expected.directories):
            listed = listed_as(name, listing)
            if listed is not None:
                if listed != name:
                    target.limits.note("names")
            elif (entry := expected.files.get(name) or expected.links.get(name)) is not None:
                misnamed[entry.path] = _MISNAMED
            else:
                lost.add((*parts, name))
                if (path := expected.directories[name].path) is not None:
                    misnamed[path] = _MISNAMED
    return misnamed
