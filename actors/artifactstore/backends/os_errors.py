"""From the operating system's errors to the storage SPI's, in one place.

A caller acts on three kinds: free room, fix permissions, look at the device. Which number means which is
decided here.
"""

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from artifactstore_protocols.storage import StorageDenied, StorageFailed, StorageFault, StorageFull

__all__ = ["error_name", "faults_of"]

# EFBIG is what a file size limit gives (RLIMIT_FSIZE, or a file system's own).
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})

_IN_THE_WAY: Final = {
    errno.EEXIST: "something else is in the place of",
    errno.EISDIR: "a directory is in the place of",
    errno.ENOTDIR: "no directory leads to",
    errno.ELOOP: "a link is in the place of",
    errno.EXDEV: "another device holds a part of the way to",
}
"""What is not the device's fault, and can be found by its path only."""

_SHORT_OF: Final = {
    errno.EMFILE: "this process may not open more files",
    errno.ENFILE: "this machine may not open more files",
    errno.ENOMEM: "there is no memory left",
}
"""What is not the device's fault either."""


def error_name(error: OSError) -> str:
    """Symbolic name of an error, such as `ENOSPC`; its text where it has no number that is known."""
    return errno.errorcode.get(error.errno or 0, str(error))


def _fault(backend_id: str, operation: str, error: OSError) -> StorageFault:
    kind: type[StorageFault] = StorageFailed
    if error.errno in _FULL:
        kind = StorageFull
    elif error.errno in _DENIED:
        kind = StorageDenied
    return kind(backend_id, operation, _cause(error))


def _cause(error: OSError) -> str:
    if (shortage := _SHORT_OF.get(error.errno or 0)) is not None:
        return f"{error_name(error)}: {shortage}"
    path = error.filename2 or error.filename
    if path is None or error.errno not in _IN_THE_WAY:
        return error_name(error)
    return f"{error_name(error)}: {_IN_THE_WAY[error.errno]} {os.fsdecode(path)}"


@contextmanager
def faults_of(backend_id: str, operation: str) -> Generator[None]:
    """Turn every `OSError` of the block into a `StorageFault` of this backend and operation."""
    try:
        yield
    except OSError as error:
        raise _fault(backend_id, operation, error) from error
