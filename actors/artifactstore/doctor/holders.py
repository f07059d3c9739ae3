"""The processes that hold a lock on a file, as `/proc/locks` on Linux lists them."""

import os
from pathlib import Path

__all__ = ["LOCKS", "holders_of"]

LOCKS = Path("/proc/locks")
_COMMAND_MAX = 80


def holders_of(file: Path, kind: str, *, byte: int | None = None, listed: Path = LOCKS) -> tuple[str, ...]:
    """Return a text for each other process that holds a write lock on a file; empty if the list cannot be read.

    Args:
        file: the locked file.
        kind: `FLOCK` for a lock on the whole file, `POSIX` for a lock on a range.
        byte: count only locks that cover this byte.
        listed: the file that lists the locks (proc(5), "/proc/locks").
    """
    try:
        inode = file.stat().st_ino
        lines = listed.read_text().splitlines()
    except OSError:
        return ()
    found: dict[int, None] = {}
    for line in lines:
        number, *rest = line.split()
        if len(rest) != 7 or rest[0] != kind or rest[2] != "WRITE" or not number.endswith(":"):  # noqa: PLR2004 - the line of a waiter has one more field
            continue
        _kind, _advisory, _mode, pid, place, first, last = rest
        covers = byte is None or int(first) <= byte <= (int(last) if last.isdecimal() else byte)
        if place.rpartition(":")[2] == str(inode) and covers and int(pid) not in {0, -1, os.getpid()}:
            found[int(pid)] = None
    return tuple(f"process {pid}{_command(pid)}" for pid in found)


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return ""
    return f" ({' '.join(words)[:_COMMAND_MAX]})"
