"""Removal of the directories below a local root that no object is in any more.

A directory is removed only while it is empty, which the operating system checks. A put that made the directory and has
not renamed its object into it yet makes the directory again (`LocalFiles.place`).
"""

import errno
import os
import re
from collections.abc import Callable, Iterator
from typing import Final

from artifactstore_protocols.identity import PRIMARY_ALGORITHM

__all__ = ["remove_empty_directories"]

_SHARD: Final = re.compile(r"[0-9a-f]{2}")
_IN_USE: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.EBUSY})


def remove_empty_directories(root: str, check_cancelled: Callable[[], None]) -> int:
    """Remove the empty directories that the first two bytes of digests name; return the bytes that they took.

    Args:
        root: the root.
        check_cancelled: called for each directory of the first level; raises to abandon the rest.
    """
    freed_bytes = 0
    for outer in _shards(f"{root}/{PRIMARY_ALGORITHM}"):
        check_cancelled()
        freed_bytes += sum(map(_removed_bytes, _shards(outer)))
        freed_bytes += _removed_bytes(outer)
    return freed_bytes


def _shards(directory: str) -> Iterator[str]:
    try:
        with os.scandir(directory) as found:
            names = [each.name for each in found if _SHARD.fullmatch(each.name) and each.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return
    for name in names:
        yield f"{directory}/{name}"


def _removed_bytes(directory: str) -> int:
    """Remove a directory if it is empty; return the bytes that it took on the device, or 0."""
    try:
        size_bytes = os.stat(directory, follow_symlinks=False).st_size  # noqa: PTH116 - plain strings in this package
        os.rmdir(directory)  # noqa: PTH106 - likewise
    except OSError as error:
        if error.errno not in _IN_USE:
            raise
        return 0
    return size_bytes
