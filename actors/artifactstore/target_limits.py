"""Limits of the file system that an export or a backup writes to. The limits are noted, and the write continues.

A store makes no such allowance: data that it acknowledges is durable.
"""

import errno
from typing import Final

from artifactstore_protocols.records import TargetLimit

__all__ = ["TargetLimits"]

_UNSUPPORTED: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY})

# Error codes which mean that the file system lacks the feature. vfat, CIFS, NFS, FUSE and Lustre use different codes.
_MEANING: Final[dict[TargetLimit, frozenset[int]]] = {
    "modes": _UNSUPPORTED | {errno.EPERM, errno.EACCES},
    "file_sync": _UNSUPPORTED,
    "directory_sync": _UNSUPPORTED | {errno.EBADF, errno.EACCES, errno.EISDIR},
    "locks": _UNSUPPORTED | {errno.ENOLCK, errno.EBADF, errno.EPERM},
    "names": frozenset(),
}


class TargetLimits:
    """The limits that occurred so far. Any thread may add limits."""

    def __init__(self) -> None:
        self._noted: set[TargetLimit] = set()

    def note(self, limit: TargetLimit) -> None:
        """Note that a limit occurred."""
        self._noted.add(limit)

    def excuse(self, limit: TargetLimit, error: OSError) -> bool:
        """Note the limit and return True if the error means that the file system has this limit."""
        if error.errno not in _MEANING[limit]:
            return False
        self.note(limit)
        return True

    def noted(self) -> tuple[TargetLimit, ...]:
        """Return all noted limits, sorted by name."""
        return tuple(sorted(self._noted))
