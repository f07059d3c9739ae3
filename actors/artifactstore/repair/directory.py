"""A directory with any files as a source: files are found by their size, and then by their digest.

Only files that have the size of a wanted content are read. Symbolic links are not followed.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from artifactstore.environment import check_cancelled, in_thread
from artifactstore.repair.source import Found, Offer
from artifactstore.transfer.objects import NamedObject
from artifactstore_protocols.dataplane import FileSource
from artifactstore_protocols.identity import ContentDigests, ContentHasher

__all__ = ["DirectorySource"]

_CHUNK_BYTES: Final = 8 << 20
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class DirectorySource:
    """The files below a directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._paths: dict[ContentDigests, str] = {}

    @property
    def name(self) -> str:
        """The path of the directory."""
        return str(self._path)

    async def prepare(self, wanted: Sequence[NamedObject]) -> None:
        """Find the files that have the wanted contents now."""
        self._paths = await in_thread(partial(_search, self._path, wanted))

    async def find(self, batch: Sequence[NamedObject]) -> Found:
        """Return the files. Their digests are compared again while they are stored."""
        return Found(
            [
                Offer(each, FileSource(path, str(self._path), each.digests))
                for each in batch
                if (path := self._paths.get(each.digests)) is not None
            ]
        )

    async def check(self, batch: Sequence[NamedObject]) -> tuple[Sequence[NamedObject], int]:
        """Return the contents of which a file had both digests when it was searched."""
        return [each for each in batch if each.digests in self._paths], 0


def _search(root: Path, wanted: Sequence[NamedObject]) -> dict[ContentDigests, str]:
    """Return a path below `root` for each wanted content that a file has."""
    by_size: dict[int, set[ContentDigests]] = {}
    for each in wanted:
        by_size.setdefault(each.size_bytes, set()).add(each.digests)
    found: dict[ContentDigests, str] = {}
    for path, size_bytes in _files(str(root), ""):
        check_cancelled()
        if not (sought := by_size.get(size_bytes)):
            continue
        digests = _digests_of(os.path.join(root, path), size_bytes)  # noqa: PTH118 - a path object a file is slow
        if digests in sought:
            found[digests] = path
            sought.discard(digests)
            if len(found) == len(wanted):
                break
    return found


def _files(root: str, below: str) -> Iterator[tuple[str, int]]:
    """Yield the path below `root` and the size of each regular file. Leaves out what cannot be read."""
    directories = [below]
    while directories:
        below = directories.pop()
        try:
            with os.scandir(os.path.join(root, below)) as entries:  # noqa: PTH118 - as above
                for entry in entries:
                    path = f"{below}/{entry.name}" if below else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        directories.append(path)
                    elif entry.is_file(follow_symlinks=False):
                        yield path, entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue


def _digests_of(path: str, size_bytes: int) -> ContentDigests | None:
    """Return both digests of a file; None if it cannot be read, or is not a file of this size any more."""
    hasher = ContentHasher()
    try:
        with open(os.open(path, _READ), "rb", buffering=0) as file:  # noqa: PTH123 - the flags matter
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            while hasher.size_bytes <= size_bytes and (chunk := file.read(_CHUNK_BYTES)):
                check_cancelled()
                hasher.update(chunk)
    except OSError:
        return None
    return hasher.digests() if hasher.size_bytes == size_bytes else None
