"""From the operating system's errors to the storage SPI's, in one place.

A caller acts on three kinds: free room, fix permissions, look at the device. Which number means which is
decided here.
"""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from artifactstore_protocols.storage import StorageDenied, StorageFailed, StorageFault, StorageFull

__all__ = ["error_name", "faults_of"]

# EFBIG is what a file size limit gives (RLIMIT_FSIZE, or a file system's own).
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def error_name(error: OSError) -> str:
    """Symbolic name of an error, such as `ENOSPC`; its text where it has no number that is known."""
    return errno.errorcode.get(error.errno or 0, str(error))


def _fault(backend_id: str, operation: str, error: OSError) -> StorageFault:
    kind: type[StorageFault] = StorageFailed
    if error.errno in _FULL:
        kind = StorageFull
    elif error.errno in _DENIED:
        kind = StorageDenied
    return kind(backend_id, operation, error_name(error))


@contextmanager
def faults_of(backend_id: str, operation: str) -> Generator[None]:
    """Turn every `OSError` of the block into a `StorageFault` of this backend and operation."""
    try:
        yield
    except OSError as error:
        raise _fault(backend_id, operation, error) from error
