"""Inspection of a local root, to find what is wrong with it. It creates, removes and writes nothing."""

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

__all__ = ["DeniedPath", "RootInspection", "inspect_local_root"]

_LEVELS: Final = 3
"""Depth of the directories below a root: `blake3/ab/cd`, at most 65,793 of them."""


class DeniedPath(Struct, frozen=True):
    """A directory or file that the current user may not use.

    Attributes:
        path: path of the directory or file.
        owner: name of its owner, or the user id if it has no name.
        problem: what the current user may not do.
    """

    path: str
    owner: str
    problem: str


class RootInspection(Struct, frozen=True):
    """Result of the inspection of a local root.

    Attributes:
        exists: whether the root exists; if not, the next three describe its nearest existing parent.
        writable: whether this user may create files there, and the device is writable.
        free_bytes: free space for this user, in bytes; None if it is unknown.
        free_inodes: number of files that can still be created; None if the file system does not count them.
        failure: name of the system error that stopped the inspection, such as `ENOTDIR`.
        holds_objects: whether there is any object.
        leftovers: temp files and locks of dead processes.
        missing: expected objects that do not exist with their size.
        closed: paths that this user may not use as required: directories, and some of the expected objects.
        small: inspection of the file of small objects.
        marker: marker of the store that may collect there; None if no store has claimed the root.
        marker_failure: why the marker cannot be read.
    """

    exists: bool
    writable: bool = False
    free_bytes: int | None = None
    free_inodes: int | None = None
    failure: str | None = None
    holds_objects: bool = False
    leftovers: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    closed: tuple[DeniedPath, ...] = ()
    small: SmallInspection = field(default_factory=SmallInspection)
    marker: RootMarker | None = None
    marker_failure: str | None = None


def inspect_local_root(root: Path, expected: Mapping[str, int], expected_small: Mapping[str, int]) -> RootInspection:
    """Inspect a root.

    Args:
        root: directory of the objects.
        expected: keys of objects that should exist as files, with their sizes in bytes.
        expected_small: keys of objects that should exist as rows, with their sizes in bytes.
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
    """Return whether an object exists with this size; also true if this user may not find out."""
    try:
        found = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - plain text in this package
    except PermissionError:
        return True
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes


def _closed(files: LocalFiles, writable: bool, expected: Mapping[str, int]) -> Iterator[DeniedPath]:
    """Yield the paths that this user may not use; if the root is not writable, only those it may not read."""
    wanted, problem = (os.R_OK | os.W_OK | os.X_OK, "written to") if writable else (os.R_OK | os.X_OK, "read")
    for directory in _directories(files.root, _LEVELS):
        if not may(directory, wanted):
            yield _closed_path(directory, problem)
        elif writable and _is_sticky_for_us(directory):
            yield _closed_path(directory, "cleared of the files of others, since it is sticky,")
    for key in expected:
        path = files.path_of(key)
        if os.path.exists(path) and not may(path, os.R_OK):  # noqa: PTH110 - plain text in this package
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
    found = os.stat(directory)  # noqa: PTH116 - plain text in this package
    return bool(found.st_mode & stat.S_ISVTX) and os.geteuid() not in {0, found.st_uid}


def _closed_path(path: str, problem: str) -> DeniedPath:
    return DeniedPath(path, owner_of(path), problem)
