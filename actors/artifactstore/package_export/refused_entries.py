"""Errors of a target that concern one entry. The export continues with the others, and its report names the entry."""

import errno
import os
from typing import Final

__all__ = ["TAKEN", "FileRefused", "refused_or"]

TAKEN = "the target holds something under that name already; it may not distinguish names that differ only in case"
_NOT_A_DIRECTORY = "a file or a link is in the place of a directory that leads to it"

# Errors that concern one file, with the reason. Any other error concerns the target, and ends the export.
_OF_ONE_FILE: Final = {
    errno.EEXIST: TAKEN,
    errno.ENOTDIR: _NOT_A_DIRECTORY,
    errno.ELOOP: _NOT_A_DIRECTORY,
    errno.EISDIR: TAKEN,
    errno.ENOENT: "a directory that leads to it is gone, or the target does not take the name",
    errno.EFBIG: "the file is too large for the target",
    **{
        number: f"the target does not take the name: {os.strerror(number)}"
        for number in (errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM)
    },
}


class FileRefused(Exception):
    """The target rejects one entry. The export continues with the others."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def refused_or(error: OSError) -> FileRefused | OSError:
    """Return a `FileRefused` for an error that concerns one file; the error itself if it concerns the target."""
    reason = _OF_ONE_FILE.get(error.errno or 0)
    return error if reason is None else FileRefused(reason)
