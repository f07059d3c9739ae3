"""The file in a local root that says which store may collect there.

It lies beside the objects and the file of small objects, and speaks for both. It is replaced by one rename, so it is
there whole or not at all; who changes it holds a lock on the root meanwhile, so that of two who claim a root one wins.
"""

import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from artifactstore.durable import sync_file
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.root_markers import MARKER_BYTES_MAX, RootMarker, decode_marker, encode_marker

__all__ = ["MARKER", "read_marker", "update_marker"]

MARKER: Final = "artifactstore-root"
"""Its name. No key of an object has one like it."""

_FRESH: Final = f".{MARKER}.new"
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC  # somebody may have put a pipe there


def read_marker(root: Path) -> RootMarker | None:
    """Return what a root carries; None if nobody has claimed it, or there is no root.

    Raises:
        InvalidValue: what is there is no marker.
        OSError: it cannot be read.
    """
    try:
        fd = os.open(root / MARKER, _READ)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidValue("marker of a root", str(root / MARKER), "it is no regular file")
        return decode_marker(os.read(fd, MARKER_BYTES_MAX))
    finally:
        os.close(fd)


def update_marker(root: Path, decide: Callable[[RootMarker | None], RootMarker]) -> RootMarker:
    """Replace what a root carries, durably, by what follows from it. Returns what it carries then.

    Args:
        root: a local root that is there.
        decide: a pure decision; what it raises leaves the root as it is.

    Raises:
        InvalidValue: what is there is no marker.
        OSError: the root cannot be written or flushed, or has no locks.
    """
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        found = read_marker(root)
        wanted = decide(found)
        if wanted != found:
            _write(directory, encode_marker(wanted))
            os.fsync(directory)
        return wanted
    finally:
        os.close(directory)


def _write(directory: int, text: bytes) -> None:
    with suppress(FileNotFoundError):  # of a process that died here
        os.unlink(_FRESH, dir_fd=directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = os.open(_FRESH, flags, 0o666, dir_fd=directory)  # less the umask
    with os.fdopen(fd, "wb") as file:
        file.write(text)
        file.flush()
        sync_file(file.fileno(), None)
    os.rename(_FRESH, MARKER, src_dir_fd=directory, dst_dir_fd=directory)
