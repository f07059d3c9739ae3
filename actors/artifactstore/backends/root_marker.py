"""Marker file in a local root, which names the store that may collect there.

The file lies beside the objects and the file of small objects, and covers both. One rename replaces it, so it exists
whole or not at all. A process locks the root while it changes the marker, so that of two concurrent claims one wins.
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
"""Name of the marker file. No object key has such a name."""

_FRESH: Final = f".{MARKER}.new"
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC  # a pipe in its place must not block


def read_marker(root: Path) -> RootMarker | None:
    """Return the marker of a root; None if no store has claimed the root, or the root is missing.

    Raises:
        InvalidValue: the file is not a valid marker.
        OSError: the file cannot be read.
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
    """Replace the marker of a root, durably, with the result of `decide`, and return it.

    Args:
        root: an existing local root.
        decide: returns the new marker for the current one, without side effects. If it raises, nothing changes.

    Raises:
        InvalidValue: the current file is not a valid marker.
        OSError: the root cannot be written or flushed, or its file system has no locks.
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
    with suppress(FileNotFoundError):  # left by a process that died here
        os.unlink(_FRESH, dir_fd=directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = os.open(_FRESH, flags, 0o666, dir_fd=directory)  # the umask applies
    with os.fdopen(fd, "wb") as file:
        file.write(text)
        file.flush()
        sync_file(file.fileno(), None)
    os.rename(_FRESH, MARKER, src_dir_fd=directory, dst_dir_fd=directory)
