"""Durable files and directory entries for a batch of objects, at the cost of as few flushes as possible.

A single `fsync` flushes the device's cache. Where the kernel and the file system are known to report errors through
`syncfs`, one `syncfs` flushes a batch of small files. It also writes back all other data on that file system, so a few
files are synced one by one.
"""

import ctypes
import os
import re
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

from artifactstore.backends.filesystem_type import filesystem_type
from artifactstore.durable import fsync_directory, sync_file
from artifactstore.target_limits import TargetLimits

__all__ = ["BatchSync", "load_syncfs", "syncfs_for"]

type Syncfs = Callable[[int], None]

# Up to this number, one fsync per file costs about as much as one syncfs, and does not wait for other programs' data.
FSYNCS_MAX: Final = 4
DIRECTORY_FSYNCS_MAX: Final = 4 * FSYNCS_MAX  # four directories lead to an object

# syncfs reports a failed write-back since Linux 5.8, and a failed commit of the journal since 5.17.
_SYNCFS_REPORTS_ERRORS: Final = (5, 17)

# Magic numbers (statfs(2)) of file systems whose failed writes syncfs reports. On others it may report success: the
# kernel does not forward it to a FUSE server, and an overlay does not see failed writes of its upper layer.
_REPORTING_TYPES: Final = frozenset(
    {
        0x0000EF53,  # ext4
        0x58465342,  # XFS
        0x9123683E,  # Btrfs
        0xF2F52010,  # F2FS
    }
)


def load_syncfs(platform: str, release: str) -> Syncfs | None:
    """Bind `syncfs(2)` if it exists and reports write-back errors; return None otherwise.

    Args:
        platform: value of `sys.platform`.
        release: kernel release, as in `os.uname()`.
    """
    version = re.match(r"(\d+)\.(\d+)", release)
    if platform != "linux" or version is None or (int(version[1]), int(version[2])) < _SYNCFS_REPORTS_ERRORS:
        return None
    try:
        function = ctypes.CDLL(None, use_errno=True).syncfs
    except AttributeError:  # the C library lacks it
        return None
    function.argtypes = (ctypes.c_int,)
    function.restype = ctypes.c_int

    def syncfs(fd: int) -> None:
        if function(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs


_SYNCFS: Final = load_syncfs(sys.platform, os.uname().release)


def syncfs_for(fd: int) -> Syncfs | None:
    """Return `syncfs(2)` if the file system of this descriptor is known to report errors through it, else None."""
    return _SYNCFS if _SYNCFS is not None and filesystem_type(fd) in _REPORTING_TYPES else None


class BatchSync:
    """Durability for the files of one batch, with as few flushes as the platform allows.

    Create it before the batch writes anything: the kernel reports to a descriptor only the write-back errors that occur
    after the descriptor was opened.
    """

    __slots__ = ("_filesystem", "_held", "_limits", "_shared", "_syncfs")

    def __init__(
        self,
        root: str,
        limits: TargetLimits | None = None,
        find_syncfs: Callable[[int], Syncfs | None] = syncfs_for,
    ) -> None:
        self._limits = limits
        self._filesystem = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._syncfs = find_syncfs(self._filesystem)
        self._held: list[int] = []
        self._shared = False  # whether the batch has too many files to sync them one by one

    def written(self, fd: int) -> None:
        """Take over the descriptor of a file whose content is written.

        Raises:
            OSError: the content cannot be made durable. With `syncfs`, `flush_contents` raises it instead.
        """
        self._held.append(fd)
        if self._syncfs is None:
            sync_file(fd, self._limits)
        if len(self._held) > FSYNCS_MAX:
            self._shared = True
            self._release()

    def flush_contents(self) -> None:
        """Make the content of every file so far durable."""
        if self._syncfs is None:
            return  # `written` synced each file
        if self._shared:
            self._syncfs(self._filesystem)
        else:
            for fd in self._held:
                sync_file(fd, self._limits)

    def flush_directories(self, paths: Collection[str]) -> None:
        """Make the entries of these directories durable, children before parents.

        A directory that is gone had no object left: `local_tidying` removed it, after the object's key was retired.
        """
        if self._syncfs is not None and (self._shared or len(paths) > DIRECTORY_FSYNCS_MAX):
            self._syncfs(self._filesystem)
        else:
            for path in sorted(paths, key=lambda path: (-len(path), path)):  # in the same order in every process
                with suppress(FileNotFoundError):
                    fsync_directory(path, self._limits)

    def _release(self) -> None:
        for fd in self._held:
            os.close(fd)
        self._held.clear()

    def close(self) -> None:
        """Close all descriptors. Call it only once."""
        self._release()
        os.close(self._filesystem)
