"""Functions that resolve a symbolic link, or explain why it leads nowhere, in a tree that others change concurrently.

An entry may be removed or change its kind after it was listed. That is reported as a change of the tree.
"""

import errno
import os
from typing import Final, NoReturn

from artifactstore.os_paths import path_text
from artifactstore_protocols.dataplane import SourceChanged, SourceUnreadable

__all__ = ["GONE", "LeadsNowhere", "follow", "reason", "refuse", "target_of"]

GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
"""Error numbers of a path that does not exist any more."""


_LINKS_FOLLOWED: Final = 41
"""One more than the number of links that Linux follows in one path."""


class LeadsNowhere(Exception):
    """A link cannot be followed; the text says where it leads and why that is no file or directory."""


def follow(path: str, link: bytes) -> tuple[str, bytes, os.stat_result]:
    """Return the text of a link, the real path that it leads to, and the status of that path.

    Raises:
        LeadsNowhere: the link cannot be followed.
        SourceChanged: the link changed meanwhile.
    """
    target = target_of(path, link)
    try:
        found = os.stat(link)  # noqa: PTH116 - bytes; the error number of `stat` is the reason why a link leads nowhere
        real = os.path.realpath(link, strict=True)
        status = os.lstat(real)
    except OSError as error:
        if error.errno == errno.EINVAL:
            refuse(path, error)
        raise LeadsNowhere(f"-> {target!r} {_link_reason(link, error)}") from error
    if (status.st_dev, status.st_ino) != (found.st_dev, found.st_ino):
        raise SourceChanged(path, "the link leads elsewhere now")
    return target, real, status


def target_of(path: str, link: bytes) -> str:
    """Return the text of a link."""
    try:
        return path_text(os.readlink(link))  # noqa: PTH115 - bytes
    except OSError as error:
        refuse(path, error)


def _link_reason(link: bytes, error: OSError) -> str:
    """Return why a link cannot be followed, as text for an error."""
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
    """Return whether a chain of links is a circle. The system stops after about forty links in both cases.

    The work has a bound: a tree may hold many links, each of which leads through many others.
    """
    seen: set[bytes] = set()
    for _ in range(_LINKS_FOLLOWED):
        seen.add(link)
        directory = os.path.dirname(link)  # noqa: PTH120 - bytes
        try:
            os.stat(directory)  # noqa: PTH116 - bytes; it follows no more links than the system does, `realpath` does
            link = os.path.join(os.path.realpath(directory), os.readlink(link))  # noqa: PTH115, PTH118 - bytes
        except OSError:
            return False
        if link in seen:
            return True
    return False


def refuse(path: str, error: OSError) -> NoReturn:
    """Raise the error for a listed entry that cannot be inspected now."""
    if error.errno in GONE:
        raise SourceChanged(path, "it is gone") from error
    if error.errno == errno.EINVAL:  # the error of `readlink` for an entry that is not a link
        raise SourceChanged(path, "it was a link and is something else") from error
    raise SourceUnreadable(path, errno.errorcode.get(error.errno or 0, str(error))) from error


def reason(error: Exception) -> str:
    """Return the operating system's text for an error, without its number and path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
