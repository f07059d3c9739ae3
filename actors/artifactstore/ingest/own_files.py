"""The files of the store itself, which an ingest leaves out.

Otherwise, a store below an ingested directory would be part of its own packages: each ingest would store the live
database and all objects of earlier ingests. Files and directories are identified by device and inode. So symbolic
links, hard links, bind mounts, and overlays with the store as a layer are recognized. The files that SQLite creates and
removes beside its database are identified by directory and name.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from msgspec import Struct

from artifactstore.ingest.mounts import mounted_again, overlaid_places
from artifactstore.os_paths import path_bytes, path_text

__all__ = ["NOWHERE", "OwnFiles", "StorePlaces"]

type _Inode = tuple[int, int]

_BESIDE_DATABASE: Final = (b"", b"-wal", b"-shm", b"-journal", b".lock")
"""Suffixes of the files of a SQLite database, and of the lock file of its set-up."""


class StorePlaces(Struct, frozen=True):
    """The locations of a store's files on this machine.

    Attributes:
        objects: the object root; None if another kind of backend stores the objects.
        database: the SQLite file; None if the log is on a database server.
    """

    objects: Path | None = None
    database: str | os.PathLike[str] | None = None

    @property
    def files_cache(self) -> Path | None:
        """Return the directory of the files caches, below the object root; None without an object root."""
        return None if self.objects is None else self.objects / "files-cache"


NOWHERE: Final = StorePlaces()
"""The places of a store that has no files on this machine."""


class OwnFiles:
    """The files of a store itself, as they were on disk when `of` read them."""

    __slots__ = ("_below", "_inodes", "_names")

    def __init__(self, inodes: frozenset[_Inode], names: frozenset[tuple[_Inode, bytes]]) -> None:
        self._inodes = inodes
        self._names = names
        self._below: dict[bytes, bool] = {}

    @classmethod
    def of(cls, places: StorePlaces) -> Self:
        """Return the files of the store with these places. Blocks."""
        roots = () if places.objects is None else (places.objects,)
        directories = [os.path.realpath(path_bytes(path_text(root))) for root in roots]
        inodes = {_inode(path) for path in (*directories, *mounted_again(directories))}
        names: set[tuple[_Inode, bytes]] = set()
        if places.database is not None:
            given = path_bytes(path_text(places.database))
            for path in {given, os.path.realpath(given)}:  # SQLite creates its files beside the target of a link
                inodes |= {_inode(path + suffix) for suffix in _BESIDE_DATABASE}
                above, name = os.path.split(path)
                for place in (above, *overlaid_places(os.path.realpath(above))):
                    if (inode := _inode(place)) is not None:
                        names |= {(inode, name + suffix) for suffix in _BESIDE_DATABASE}
        return cls(frozenset(inode for inode in inodes if inode is not None), frozenset(names))

    def include(self, found: os.stat_result, directory: _Inode, name: bytes) -> bool:
        """Return whether the entry `name` of a directory, with this status, belongs to the store."""
        return (found.st_dev, found.st_ino) in self._inodes or (directory, name) in self._names

    def hold(self, real: bytes) -> bool:
        """Return whether a real path belongs to the store, or is below a directory of the store. Blocks."""
        directory, name = os.path.split(real)
        inode = _inode(directory)
        return inode is not None and ((inode, name) in self._names or self._is_below(directory, real))

    def _is_below(self, directory: bytes, path: bytes) -> bool:
        """Return whether a path, or a directory above it, is one of the store."""
        if _inode(path) in self._inodes:
            return True
        if directory not in self._below:  # a cache, since many links may lead into one directory
            self._below[directory] = any(_inode(above) in self._inodes for above in _upwards(directory))
        return self._below[directory]


def _upwards(path: bytes) -> Iterator[bytes]:
    yield path
    while (above := os.path.dirname(path)) != path:  # noqa: PTH120 - bytes
        path = above
        yield path


def _inode(path: bytes) -> _Inode | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - bytes
    except OSError:
        return None
    return found.st_dev, found.st_ino
