"""Where else a part of a directory is mounted, which its device and inode alone do not tell (bind mounts of Linux)."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["mounted_again"]

_TABLE: Final = Path("/proc/self/mountinfo")
_ESCAPE: Final = re.compile(rb"\\([0-7]{3})")


class _Mount(NamedTuple):
    """A line of the table: a directory or file of a file system, and where it is (proc_pid_mountinfo(5))."""

    device: bytes
    root: bytes
    point: bytes


def mounted_again(directories: Iterable[bytes]) -> list[bytes]:
    """Mount points of what lies below one of these real directories; none where the system has no such table."""
    try:
        lines = _TABLE.read_bytes().splitlines()
    except OSError:
        return []
    mounts = [_Mount(*(_plain(field) for field in line.split(b" ", 5)[2:5])) for line in lines]
    found: list[bytes] = []
    for directory in directories:
        # The last of those that are mounted over one another is the one that is seen.
        holder = max((mount for mount in reversed(mounts) if _is_in(directory, mount.point)), key=_depth, default=None)
        if holder is not None:
            inside = _join(holder.root, directory[len(holder.point.rstrip(b"/")) :])
            found += [mount.point for mount in mounts if mount.device == holder.device and _is_in(mount.root, inside)]
    return found


def _depth(mount: _Mount) -> int:
    return len(mount.point)


def _plain(field: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field)


def _is_in(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


def _join(root: bytes, below: bytes) -> bytes:
    return (root.rstrip(b"/") + below) or b"/"
