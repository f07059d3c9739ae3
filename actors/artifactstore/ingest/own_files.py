"""The files that belong to the store itself, which no ingest takes in.

A store below the directory that is ingested would otherwise be in its own packages: each ingest would hold all objects
of those before, and the live database. Files and directories are told by device and inode, so a link, a hard link or a
bind mount of one is seen through, and so is an overlay that the store is a layer of. What SQLite makes and removes
beside its database is told by its directory and name.
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
"""What a SQLite database consists of, and the lock of its set-up."""


class StorePlaces(Struct, frozen=True):
    """Where a store keeps its files on this machine.

    Attributes:
        objects: the root of its objects; None where another kind of backend holds them.
        database: its SQLite file; None where the log is on a server.
    """

    objects: Path | None = None
    database: str | os.PathLike[str] | None = None

    @property
    def files_cache(self) -> Path | None:
        """The directory of its files caches, below the root of the objects."""
        return None if self.objects is None else self.objects / "files-cache"


NOWHERE: Final = StorePlaces()
"""Of a store that keeps nothing on this machine."""


class OwnFiles:
    """The store's own files, as they are on disk now."""

    __slots__ = ("_below", "_inodes", "_names")

    def __init__(self, inodes: frozenset[_Inode], names: frozenset[tuple[_Inode, bytes]]) -> None:
        self._inodes = inodes
        self._names = names
        self._below: dict[bytes, bool] = {}

    @classmethod
    def of(cls, places: StorePlaces) -> Self:
        """Look at the places of a store. Blocks."""
        roots = () if places.objects is None else (places.objects,)
        directories = [os.path.realpath(path_bytes(path_text(root))) for root in roots]
        inodes = {_inode(path) for path in (*directories, *mounted_again(directories))}
        names: set[tuple[_Inode, bytes]] = set()
        if places.database is not None:
            given = path_bytes(path_text(places.database))
            for path in {given, os.path.realpath(given)}:  # SQLite keeps its files beside what a link leads to
                inodes |= {_inode(path + suffix) for suffix in _BESIDE_DATABASE}
                above, name = os.path.split(path)
                for place in (above, *overlaid_places(os.path.realpath(above))):
                    if (inode := _inode(place)) is not None:
                        names |= {(inode, name + suffix) for suffix in _BESIDE_DATABASE}
        return cls(frozenset(inode for inode in inodes if inode is not None), frozenset(names))

    def include(self, found: os.stat_result, directory: _Inode, name: bytes) -> bool:
        """Whether a file or directory, found under this name in a directory, is one of them."""
        return (found.st_dev, found.st_ino) in self._inodes or (directory, name) in self._names

    def hold(self, real: bytes) -> bool:
        """Whether a real path is one of them, or below one of them. Blocks."""
        directory, name = os.path.split(real)
        inode = _inode(directory)
        return inode is not None and ((inode, name) in self._names or self._is_below(directory, real))

    def _is_below(self, directory: bytes, path: bytes) -> bool:
        if _inode(path) in self._inodes:
            return True
        if directory not in self._below:  # many links may lead into one directory
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
