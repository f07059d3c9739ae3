"""The open directories of an export's target: each is opened relative to its parent, without following links."""

import os
from typing import Final, NamedTuple

from artifactstore.package_export.names import Parts, listed_as, names_in
from artifactstore.package_export.refused_entries import TAKEN, FileRefused

__all__ = ["DIRECTORY_FLAGS", "OpenDirectories"]

type _Known = dict[bytes, _Known]

DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_OPEN_MAX: Final = 64
"""Maximum number of directories that stay open: the deepest ones on the path to the current one. Its neighbours are
opened relative to them, so that a deep tree needs neither a walk from its root for every directory nor all descriptors
of the process."""


class _OpenDirectory(NamedTuple):
    """An open directory of the target.

    Attributes:
        depth: number of names in its path.
        fd: its descriptor.
        known: its known subdirectories; None if its own exact name was not checked.
    """

    depth: int
    fd: int
    known: _Known | None


class OpenDirectories:
    """The path to the directory that was used last. It does not own the descriptor of the root."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._known: _Known = {}  # directories that were created, or listed under their exact name
        self._at: Parts = ()
        self._open: list[_OpenDirectory] = []  # the path to `_at`, without the root and possibly further parents

    def at(self, parts: Parts, *, make: bool = True) -> int:
        """Return a descriptor of a directory of the target. It is valid until the next call.

        Raises:
            FileRefused: the target does not distinguish the directory's name from another one.
            OSError: the directory cannot be created or opened, or something else has its name.
        """
        shared = _shared(self._at, parts)
        while self._open and (self._open[-1].depth > shared or (make and self._open[-1].known is None)):
            self._close_deepest()
        depth, fd, known = self._open[-1] if self._open else (0, self._root, self._known)
        for name in parts[depth:]:
            if make and known is not None and name not in known:
                self._make(fd, name)
                known[name] = {}
            fd = os.open(name, DIRECTORY_FLAGS, dir_fd=fd)
            depth += 1
            known = None if known is None else known.get(name)
            self._open.append(_OpenDirectory(depth, fd, known))
            self._at = parts[:depth]
            if len(self._open) > _OPEN_MAX:
                os.close(self._open.pop(0).fd)
        return fd

    def _make(self, fd: int, name: bytes) -> None:
        """Create a directory; raise if the target lists it only under a different name."""
        try:
            os.mkdir(name, dir_fd=fd)
        except FileExistsError:
            if listed_as(name, names_in(fd)) is None:
                raise FileRefused(f"its directory {name.decode()!r}: {TAKEN}") from None

    def close(self) -> None:
        """Close all open directories, so that the next call of `at` looks up every name again."""
        while self._open:
            self._close_deepest()

    def _close_deepest(self) -> None:
        closed = self._open.pop()
        self._at = self._at[: closed.depth - 1]
        os.close(closed.fd)


def _shared(one: Parts, other: Parts) -> int:
    """Return how many names two paths have in common."""
    return next(
        (depth for depth, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
