"""Where a symbolic link leads, and why it leads nowhere, in a tree that others may change at the same time.

What was listed a moment ago may be gone, or of another kind, by now: that is a change of the tree, told as such.
"""

import errno
import os
from typing import Final, NoReturn

from artifactstore.ingest.refusals import LinksRefused, RefusedLink
from artifactstore.os_paths import path_text
from artifactstore_protocols.dataplane import SourceChanged, SourceUnreadable

__all__ = ["GONE", "follow", "reason", "refuse", "target_of"]

GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
"""What the system says of a path that was there before."""


def follow(path: str, link: bytes) -> tuple[str, bytes, os.stat_result]:
    """What a link says, the real path that it leads to, and what is there."""
    target = target_of(path, link)
    try:
        found = os.stat(link)  # noqa: PTH116 - bytes; the system knows best why a link leads nowhere
        real = os.path.realpath(link, strict=True)
        status = os.lstat(real)
    except OSError as error:
        if error.errno == errno.EINVAL:
            refuse(path, error)
        raise LinksRefused((RefusedLink(path, target, _link_reason(link, error)),)) from error
    if (status.st_dev, status.st_ino) != (found.st_dev, found.st_ino):
        raise SourceChanged(path, "the link leads elsewhere now")
    return target, real, status


def target_of(path: str, link: bytes) -> str:
    """What a link says."""
    try:
        return path_text(os.readlink(link))  # noqa: PTH115 - bytes
    except OSError as error:
        refuse(path, error)


def _link_reason(link: bytes, error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            return "leads to nothing"
        case errno.ENOTDIR:
            return "leads through something that is not a directory"
        case errno.ELOOP:
            return "goes round in a circle" if _is_circle(link) else "leads through too many links"
        case _:
            return f"cannot be followed: {reason(error)}"


def _is_circle(link: bytes) -> bool:
    """Whether following a link never ends; the system gives up after some forty in a row, circle or not."""
    seen: set[bytes] = set()
    while link not in seen:
        seen.add(link)
        try:
            link = os.path.join(os.path.realpath(os.path.dirname(link)), os.readlink(link))  # noqa: PTH115, PTH118, PTH120 - bytes
        except (OSError, RecursionError):
            return False
    return True


def refuse(path: str, error: OSError) -> NoReturn:
    """Say of an entry that was listed a moment ago why it cannot be looked at."""
    if error.errno in GONE:
        raise SourceChanged(path, "it is gone") from error
    if error.errno == errno.EINVAL:  # what readlink says of what is no link
        raise SourceChanged(path, "it was a link and is something else") from error
    raise SourceUnreadable(path, errno.errorcode.get(error.errno or 0, str(error))) from error


def reason(error: Exception) -> str:
    """The system's words for what went wrong."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
