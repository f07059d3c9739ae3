"""The directory `.artifactstore-export` in the target of an export that has not ended.

It holds the package's id and the file that is being written. The id lets the same export continue. The lock on the file
of the id excludes a second export.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from artifactstore.dataplane import MARKER
from artifactstore.package_export.names import names_in
from artifactstore.package_export.open_directories import DIRECTORY_FLAGS
from artifactstore.refusals import TargetRefused
from artifactstore.target_limits import TargetLimits
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.ids import check_id

__all__ = ["ENTRIES_OF_OTHERS", "OWN_DIRECTORY", "ExportMarker"]

_PACKAGE: Final = b"package"
_LOST_AND_FOUND: Final = b"lost+found"  # in the root of an empty disk; often only the superuser may read it
_ID_BYTES_MAX: Final = 64

OWN_DIRECTORY: Final = b".artifactstore-export"
"""Name of the directory in the root of a target that marks an unfinished export."""

ENTRIES_OF_OTHERS: Final = frozenset({OWN_DIRECTORY, _LOST_AND_FOUND})
"""Names that the root of a target may hold besides the package's entries."""


class ExportMarker:
    """The marker of one export. `claim` creates it; call `close` in any case.

    Args:
        root: descriptor of the target's root, which the marker does not own.
        refused: returns an error about the target.
        limits: the limits of the target's file system.

    Attributes:
        directory: descriptor of the marker's directory; -1 before `claim`.
    """

    def __init__(self, root: int, refused: Callable[[str], TargetRefused], limits: TargetLimits) -> None:
        self._root = root
        self._refused = refused
        self._limits = limits
        self.directory = self._lock = -1

    def claim(self, package_id: bytes, *, update: bool) -> bool:
        """Lock the target, check whether it may be used, and remove leftovers of an interrupted export.

        Args:
            package_id: id of the package.
            update: whether the target may hold anything, also an unfinished export of another package.

        Returns:
            Whether the target holds something that must be compared with the package.

        Raises:
            TargetRefused: the target holds something else, or another export uses it.
            OSError: the target cannot be written.
        """
        found = names_in(self._root) - {_LOST_AND_FOUND}
        if found and OWN_DIRECTORY not in found and not update:
            raise self._refused("it is not empty; name a new or an empty directory, or add --update")
        if MARKER.encode() in found:
            raise self._refused("it is the object root of a store; name another directory")
        if OWN_DIRECTORY not in found:
            with suppress(FileExistsError):  # another export began concurrently; `_take_lock` detects that
                os.mkdir(OWN_DIRECTORY, dir_fd=self._root)
        self._open()
        self._take_lock()
        held = os.pread(self._lock, _ID_BYTES_MAX, 0)
        if held not in {b"", package_id} and not update:
            whose = f"package {held.decode(errors='replace')!r}"
            reason = f"it holds an unfinished export of {whose}; name a new or an empty directory, or add --update"
            raise self._refused(reason)
        leftovers = names_in(self.directory) - {_PACKAGE}
        for leftover in leftovers:
            self._check_leftover(leftover)
        if held != package_id:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, package_id, 0)
            self._sync()
        for leftover in leftovers:
            os.unlink(leftover, dir_fd=self.directory)
        # Without an id, the export died in its first or in its last step. Its files are compared by content anyway.
        return bool(found)

    def _open(self) -> None:
        """Open the marker of an unfinished export. Reject one that no export created: a write could damage a file."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            self.directory = os.open(OWN_DIRECTORY, DIRECTORY_FLAGS, dir_fd=self._root)
            self._lock = os.open(_PACKAGE, flags, 0o666, dir_fd=self.directory)
            found = os.fstat(self._lock)
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO}:
                raise
            raise self._foreign(b"") from error
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise self._foreign(b"")

    def _check_leftover(self, name: bytes) -> None:
        """Raise if an export cannot have created a file in the export's own directory."""
        try:
            check_id("name", name.decode())
        except (UnicodeDecodeError, InvalidValue):
            raise self._foreign(b"/" + name) from None
        mode = os.stat(name, dir_fd=self.directory, follow_symlinks=False).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):  # an update also replaces links
            raise self._foreign(b"/" + name)

    def _foreign(self, below: bytes) -> TargetRefused:
        name = os.fsdecode(OWN_DIRECTORY + below)
        return self._refused(f"no export made its {name!r}; remove that, or name a new or an empty directory")

    def _take_lock(self) -> None:
        """Lock the file of the id; raise if another export holds the lock."""
        under_way = "another export into it is under way; wait for its end"
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._refused(under_way) from None
        except OSError as error:
            if not self._limits.excuse("locks", error):
                raise
        if _PACKAGE not in names_in(self.directory):  # that export ended, and removed the file, before this one's lock
            raise self._refused(under_way)

    def _sync(self) -> None:
        """Make the package id durable."""
        try:
            os.fsync(self._lock)
        except OSError as error:
            if not self._limits.excuse("file_sync", error):
                raise

    def is_at(self, fd: int) -> bool:
        """Return whether an open directory is the marker's, under whatever name it was opened."""
        return os.path.sameopenfile(fd, self.directory)

    def remove(self) -> None:
        """Remove the marker after the last step of the export.

        Raises:
            OSError: the marker cannot be removed.
        """
        os.unlink(_PACKAGE, dir_fd=self.directory)
        try:
            os.rmdir(OWN_DIRECTORY, dir_fd=self._root)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # the same export began again concurrently, and finds all files
                raise

    def close(self) -> None:
        """Close the descriptors."""
        for fd in (self._lock, self.directory):
            if fd >= 0:
                os.close(fd)
