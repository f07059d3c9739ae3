"""Making one file or the entries of one directory survive a loss of power.

A file system that cannot flush them is an error, unless the caller gives `limits` to note that: a store does not, an
export or a backup does.
"""

import ctypes
import os
from pathlib import Path
from typing import Final

from artifactstore.target_limits import TargetLimits

__all__ = ["fsync_directory", "make_durable_directory", "start_writeback", "sync_file"]

_SYNC_FILE_RANGE: Final = getattr(ctypes.CDLL(None), "sync_file_range", None)  # Linux alone has it
_SYNC_FILE_RANGE_WRITE: Final = 2


def start_writeback(fd: int) -> None:
    """Let the disk begin with a file's content, without waiting.

    This makes nothing durable and reports no error: `sync_file` must follow, and does both.
    """
    if _SYNC_FILE_RANGE is not None:
        to_the_end = ctypes.c_int64(0)
        _SYNC_FILE_RANGE(fd, to_the_end, to_the_end, _SYNC_FILE_RANGE_WRITE)


def sync_file(fd: int, limits: TargetLimits | None) -> None:
    """Make the content of a file durable; with `limits`, a file system that cannot do it is noted there."""
    try:
        os.fsync(fd)
    except OSError as error:
        if limits is None or not limits.excuse("file_sync", error):
            raise


def fsync_directory(path: str, limits: TargetLimits | None = None) -> None:
    """Make the entries of a directory durable; a file system that cannot is treated as by `sync_file`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        if limits is None or not limits.excuse("directory_sync", error):
            raise


def make_durable_directory(path: Path, limits: TargetLimits | None) -> None:
    """Make what is not there of a path; a directory that is there may belong to somebody else, and is not opened."""
    if not path.is_dir():
        make_durable_directory(path.parent, limits)
        path.mkdir(exist_ok=True)
        fsync_directory(str(path.parent), limits)
