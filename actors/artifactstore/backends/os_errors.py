"""Translation of operating system errors into errors of the storage SPI.

A caller can react in three ways: free space, fix permissions, or check the device. This module decides which error
number belongs to which.
"""

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from artifactstore_protocols.storage import StorageDenied, StorageFailed, StorageFault, StorageFull
from artifactstore_protocols.system_errors import in_words, remedy_of

__all__ = ["error_name", "translated_os_errors", "unusable_root"]

# A limit on file sizes reports EFBIG (RLIMIT_FSIZE, or the file system's own).
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})

_IN_THE_WAY: Final = {
    errno.EEXIST: "something else is in the place of",
    errno.EISDIR: "a directory is in the place of",
    errno.ENOTDIR: "no directory leads to",
    errno.ELOOP: "a link is in the place of",
    errno.EXDEV: "another device holds a part of the way to",
}
"""Errors that are not the device's fault, and whose message needs the path."""

_SHORT_OF: Final = {
    errno.EMFILE: "this process may not open more files",
    errno.ENFILE: "this machine may not open more files",
    errno.ENOMEM: "there is no memory left",
}
"""Errors of exhausted resources, which are not the device's fault either."""


def error_name(error: OSError) -> str:
    """Return the symbolic name of an error, such as `ENOSPC`; its text if it has no known number."""
    return errno.errorcode.get(error.errno or 0, str(error))


def unusable_root(error: OSError) -> str:
    """Return why a storage root cannot be used, as text for people."""
    name = error_name(error)
    return f"the root cannot be used: {in_words(name)}; {remedy_of(name, 'check that it is a directory')}"


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
def translated_os_errors(backend_id: str, operation: str) -> Generator[None]:
    """Turn every `OSError` of the block into a `StorageFault` of this backend and operation."""
    try:
        yield
    except OSError as error:
        raise _fault(backend_id, operation, error) from error
