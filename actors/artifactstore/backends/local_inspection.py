"""A look at a local root that makes, removes and writes nothing: for finding out what is wrong with it."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from artifactstore.backends.local import SCRATCH
from artifactstore.backends.local_files import LocalFiles
from artifactstore.backends.os_errors import error_name
from artifactstore.backends.root_marker import read_marker
from artifactstore.backends.scratch import ScratchSpace
from artifactstore.backends.small_inspection import SmallInspection, inspect_small_objects
from artifactstore.permissions import may, owner_of
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.root_markers import RootMarker

__all__ = ["ClosedPath", "RootInspection", "inspect_local_root"]

_LEVELS: Final = 3
"""How deep directories lie below a root: `blake3/ab/cd`, at most 65,793 of them."""


class ClosedPath(Struct, frozen=True):
    """Something that this user may not use.

    Attributes:
        path: of a directory or a file.
        owner: name of its owner, or the number of one without a name.
        problem: what this user may not do.
    """

    path: str
    owner: str
    problem: str


class RootInspection(Struct, frozen=True):
    """What was found.

    Attributes:
        exists: whether there is anything of that name; if not, the next three are of the directory above.
        writable: whether this user may make files there, on a device that takes them.
        free_bytes: room for this user; None if it could not be told.
        free_inodes: how many files it takes; None if the file system does not count them.
        failure: name of the system's error that kept us from looking further, such as `ENOTDIR`.
        holds_objects: whether there is any object.
        leftovers: temp files and locks of processes that are gone.
        missing: those of the expected objects that are not there with their size.
        closed: what this user may not use as it must: directories, and some of the expected objects.
        small: the file of small objects.
        marker: which store may collect there; None if nobody has claimed it.
        marker_failure: why that cannot be told.
    """

    exists: bool
    writable: bool = False
    free_bytes: int | None = None
    free_inodes: int | None = None
    failure: str | None = None
    holds_objects: bool = False
    leftovers: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    closed: tuple[ClosedPath, ...] = ()
    small: SmallInspection = field(default_factory=SmallInspection)
    marker: RootMarker | None = None
    marker_failure: str | None = None


def inspect_local_root(root: Path, expected: Mapping[str, int], expected_small: Mapping[str, int]) -> RootInspection:
    """Look at a root.

    Args:
        root: directory of the objects.
        expected: keys of objects that should be files, with their sizes in bytes.
        expected_small: keys of objects that should be rows, likewise.
    """
    there = next(directory for directory in (root, *root.parents) if directory.exists())
    found = RootInspection(exists=there == root, missing=(*expected, *expected_small))
    try:
        room = os.statvfs(there)
        found = replace(
            found,
            writable=there.is_dir() and may(str(there), os.W_OK | os.X_OK) and not room.f_flag & os.ST_RDONLY,
            free_bytes=room.f_bavail * room.f_frsize,
            free_inodes=room.f_favail if room.f_files else None,
        )
        if not found.exists:
            return found
        files = LocalFiles("local", str(root), ScratchSpace(str(root / SCRATCH)))
        found = replace(_with_marker(found, root), closed=tuple(_closed(files, found.writable, expected)))
        small = inspect_small_objects(root, expected_small)
        missing = tuple(key for key, size in expected.items() if not _is_there(files.path_of(key), size))
        return replace(
            found,
            holds_objects=small.holds_objects or next(root.glob("*/??/??/*"), None) is not None,
            leftovers=(*files.scratch.leftovers(), *small.leftovers),
            missing=(*missing, *small.missing),
            small=small,
        )
    except OSError as error:
        return replace(found, failure=error_name(error))


def _with_marker(found: RootInspection, root: Path) -> RootInspection:
    try:
        return replace(found, marker=read_marker(root))
    except InvalidValue as error:
        return replace(found, marker_failure=str(error))
    except OSError as error:
        return replace(found, marker_failure=error_name(error))


def _is_there(path: str, size_bytes: int) -> bool:
    """Whether an object is there, as far as this user may look."""
    try:
        found = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - a name that is text
    except PermissionError:
        return True
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes


def _closed(files: LocalFiles, writable: bool, expected: Mapping[str, int]) -> Iterator[ClosedPath]:
    """What this user may not use. On a root that cannot be written, only what cannot be read."""
    wanted, problem = (os.R_OK | os.W_OK | os.X_OK, "written to") if writable else (os.R_OK | os.X_OK, "read")
    for directory in _directories(files.root, _LEVELS):
        if not may(directory, wanted):
            yield _closed_path(directory, problem)
        elif writable and _is_sticky_for_us(directory):
            yield _closed_path(directory, "cleared of the files of others, since it is sticky,")
    for key in expected:
        path = files.path_of(key)
        if os.path.exists(path) and not may(path, os.R_OK):  # noqa: PTH110 - a name that is text
            yield _closed_path(path, "read")


def _directories(directory: str, levels: int) -> Iterator[str]:
    yield directory
    if levels:
        try:
            with os.scandir(directory) as found:
                below = [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]
        except PermissionError:
            return
        for path in sorted(below):
            yield from _directories(path, levels - 1)


def _is_sticky_for_us(directory: str) -> bool:
    found = os.stat(directory)  # noqa: PTH116 - a name that is text
    return bool(found.st_mode & stat.S_ISVTX) and os.geteuid() not in {0, found.st_uid}


def _closed_path(path: str, problem: str) -> ClosedPath:
    return ClosedPath(path, owner_of(path), problem)
