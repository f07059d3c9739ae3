"""What a file system cannot keep of what is written to it: noted, so that an export or a backup says so and continues.

A store itself makes no such allowance: what it acknowledges is durable.
"""

import errno
from typing import Final

from artifactstore_protocols.records import TargetLimit

__all__ = ["TargetLimits"]

_UNSUPPORTED: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY})

# Which errors say that the file system cannot do it; vfat and CIFS, NFS, FUSE and Lustre answer differently.
_MEANING: Final[dict[TargetLimit, frozenset[int]]] = {
    "modes": _UNSUPPORTED | {errno.EPERM, errno.EACCES},
    "file_sync": _UNSUPPORTED,
    "directory_sync": _UNSUPPORTED | {errno.EBADF, errno.EACCES, errno.EISDIR},
    "locks": _UNSUPPORTED | {errno.ENOLCK, errno.EBADF, errno.EPERM},
    "names": frozenset(),
}


class TargetLimits:
    """The limits that were met so far; any thread may add to them."""

    def __init__(self) -> None:
        self._noted: set[TargetLimit] = set()

    def note(self, limit: TargetLimit) -> None:
        """Note a limit that was met."""
        self._noted.add(limit)

    def excuse(self, limit: TargetLimit, error: OSError) -> bool:
        """Note the limit and return True if the error says that the file system has it."""
        if error.errno not in _MEANING[limit]:
            return False
        self.note(limit)
        return True

    def noted(self) -> tuple[TargetLimit, ...]:
        """Return all of them, in order of their names."""
        return tuple(sorted(self._noted))
