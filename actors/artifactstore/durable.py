"""Flushing of a file, or of the entries of a directory, so that it survives a power loss.

A file system that cannot flush raises an error, unless the caller passes `limits`, which records the limit. A store
passes none; exports and backups do.
"""

import ctypes
import os
from pathlib import Path
from typing import Final

from artifactstore.target_limits import TargetLimits

__all__ = ["fsync_directory", "make_durable_directory", "start_writeback", "sync_file"]

_SYNC_FILE_RANGE: Final = getattr(ctypes.CDLL(None), "sync_file_range", None)  # only Linux has it
_SYNC_FILE_RANGE_WRITE: Final = 2


def start_writeback(fd: int) -> None:
    """Start writing the content of a file to disk, without waiting.

    This call makes nothing durable and reports no errors. `sync_file` must follow.
    """
    if _SYNC_FILE_RANGE is not None:
        to_the_end = ctypes.c_int64(0)
        _SYNC_FILE_RANGE(fd, to_the_end, to_the_end, _SYNC_FILE_RANGE_WRITE)


def sync_file(fd: int, limits: TargetLimits | None) -> None:
    """Make the content of a file durable. If the file system cannot do that, note it in `limits` or raise `OSError`."""
    try:
        os.fsync(fd)
    except OSError as error:
        if limits is None or not limits.excuse("file_sync", error):
            raise


def fsync_directory(path: str, limits: TargetLimits | None = None) -> None:
    """Make the entries of a directory durable. If the file system cannot do that, do the same as `sync_file`."""
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
    """Create the missing directories of a path durably. Existing ones are not opened: another user may own them."""
    if not path.is_dir():
        make_durable_directory(path.parent, limits)
        path.mkdir(exist_ok=True)
        fsync_directory(str(path.parent), limits)
