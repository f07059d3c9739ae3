"""Inspection of the file of small objects, to find what is wrong with it. It writes nothing."""

import contextlib
import fcntl
import json
import os
import sqlite3
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from artifactstore.backends.filesystem_type import network_filesystem
from artifactstore.backends.os_errors import error_name
from artifactstore.backends.small_file import file_below, log_without_file
from artifactstore.database.access import obstacle_to_writing, to_read
from artifactstore.database.errors import DatabaseUnavailable
from artifactstore.sqlite_access import side_files

__all__ = ["SmallInspection", "inspect_small_objects"]

_LOOKING: Final = "somebody looks at it"
_STAT: Final = "SELECT key, length(content) FROM objects WHERE key IN (SELECT value FROM json_each(?))"
_LOOKS: Final = 2
"""How often damage must be seen to count. A process that ends writes the file without a lock that the inspection could
wait for, so damage that is seen once may only be an unfinished write."""


class SmallInspection(Struct, frozen=True):
    """Result of the inspection of the file of small objects.

    Attributes:
        path: path of the file, also if it does not exist.
        exists: whether the path exists.
        failure: why the file cannot be read, or must not be created if it is missing; None otherwise.
        obstacle: why a readable file cannot be written; None if it can be written.
        network: name of the network file system that the root is on; None if it is on no known one.
        holds_objects: whether the file holds any object.
        missing: expected objects that the file does not hold with their size; all if the file is missing.
        leftovers: files that a process left when it died while creating the file.
    """

    path: str = ""
    exists: bool = False
    failure: str | None = None
    obstacle: str | None = None
    network: str | None = None
    holds_objects: bool = False
    missing: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()


def inspect_small_objects(root: Path, expected: Mapping[str, int]) -> SmallInspection:
    """Inspect the file of small objects below an existing root.

    Args:
        root: directory of the objects.
        expected: keys of small objects that should exist, with their sizes in bytes.

    Raises:
        OSError: the root cannot be opened.
    """
    path = file_below(root)
    network = network_filesystem(str(root))
    leftovers = tuple(_leftovers(path))
    if not os.path.lexists(path):
        failure = log_without_file(path)
        missing = tuple(expected)
        return SmallInspection(str(path), failure=failure, network=network, missing=missing, leftovers=leftovers)
    failure = None
    holds_objects, missing = False, ()
    for _look in range(_LOOKS):
        try:
            holds_objects, missing = _read(path, expected)
            failure = None
            break
        except sqlite3.Error as error:
            failure = str(error)
        except DatabaseUnavailable as error:
            failure = error.reason
        except OSError as error:
            failure = error_name(error)
    obstacle = None if failure is not None else obstacle_to_writing(path)
    return SmallInspection(str(path), True, failure, obstacle, network, holds_objects, missing, leftovers)


def _read(path: Path, expected: Mapping[str, int]) -> tuple[bool, tuple[str, ...]]:
    """Return whether there are objects, and which expected objects do not exist with their size."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise sqlite3.DatabaseError("it is no regular file")
    with contextlib.closing(to_read(path, _LOOKING).connect(timeout_s=1)) as connection:
        holds_objects = connection.execute("SELECT 1 FROM objects LIMIT 1").fetchone() is not None
        sizes = dict(connection.execute(_STAT, (json.dumps(list(expected)),)))
    return holds_objects, tuple(key for key, size_bytes in expected.items() if sizes.get(key) != size_bytes)


def _leftovers(path: Path) -> list[str]:
    """Return the files beside the database that no process needs; none while a process creates the database."""
    fresh = str(path.with_name("objects.new"))
    found = [name for name in (fresh, *side_files(Path(fresh))) if os.path.lexists(name)]
    if not found:
        return []
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return []
    finally:
        os.close(fd)
    return found
