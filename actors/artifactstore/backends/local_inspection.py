"""A look at a local root that makes, removes and writes nothing: for finding out what is wrong with it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from artifactstore.backends.local import SCRATCH
from artifactstore.backends.local_files import LocalFiles
from artifactstore.backends.os_errors import error_name
from artifactstore.backends.scratch import ScratchSpace

__all__ = ["RootInspection", "inspect_local_root"]


@dataclass(frozen=True, slots=True)
class RootInspection:
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
    """

    exists: bool
    writable: bool = False
    free_bytes: int | None = None
    free_inodes: int | None = None
    failure: str | None = None
    holds_objects: bool = False
    leftovers: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def inspect_local_root(root: Path, expected: Mapping[str, int]) -> RootInspection:
    """Look at a root.

    Args:
        root: directory of the objects.
        expected: keys of objects that should be there, with their sizes in bytes.
    """
    there = next(directory for directory in (root, *root.parents) if directory.exists())
    found = RootInspection(exists=there == root, missing=tuple(expected))
    try:
        room = os.statvfs(there)
        found = replace(
            found,
            writable=there.is_dir() and os.access(there, os.W_OK | os.X_OK) and not room.f_flag & os.ST_RDONLY,
            free_bytes=room.f_bavail * room.f_frsize,
            free_inodes=room.f_favail if room.f_files else None,
        )
        if not found.exists:
            return found
        files = LocalFiles("local", str(root), ScratchSpace(str(root / SCRATCH)))
        return replace(
            found,
            holds_objects=next(root.glob("*/??/??/*"), None) is not None,
            leftovers=tuple(files.scratch.leftovers()),
            missing=tuple(key for key, size in expected.items() if files.size_of(files.path_of(key)) != size),
        )
    except OSError as error:
        return replace(found, failure=error_name(error))
