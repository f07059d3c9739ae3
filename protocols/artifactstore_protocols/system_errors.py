"""Words for people in place of the names of operating system errors, such as `EACCES`, and what to do about each.

Errors keep the name in their attributes, and JSON shows it, so that programs can tell errors apart. Every message for
people takes its words from this table.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

__all__ = ["SystemErrorWords", "in_words", "remedy_of", "system_error_words"]


class SystemErrorWords(NamedTuple):
    """An operating system error in words: what happened, and what to do."""

    problem: str
    remedy: str


_CHECK_PATH: Final = "check its path"
_FREE_ROOM: Final = "free room, or choose another place"
_MOUNT: Final = "check that its disk is mounted and works"
_RENAME: Final = "give it a shorter or plainer name"

_WORDS: Final[Mapping[str, SystemErrorWords]] = MappingProxyType(
    {
        name: SystemErrorWords(problem, remedy)
        for name, problem, remedy in (
            ("EACCES", "Permission denied", "give this user access to it and to its directories"),
            ("EPERM", "the system does not permit it", "give it to this user, and check its flags"),
            ("EROFS", "the file system is read-only", "mount it writable"),
            ("ENOENT", "no such file or directory", f"{_CHECK_PATH} and its disk"),
            ("ENOTDIR", "a part of its path is not a directory", _CHECK_PATH),
            ("EISDIR", "it is a directory", "name a file"),
            ("EEXIST", "something else is in its place", "move that away"),
            ("ENOTEMPTY", "the directory is not empty", "empty it, or choose another one"),
            ("ELOOP", "a symbolic link is in its place, or leads round in a circle", "name the real path"),
            ("EXDEV", "a part of its path is on another device", "keep it on one file system"),
            ("ENAMETOOLONG", "its name is too long", _RENAME),
            ("EILSEQ", "the file system does not accept its name", _RENAME),
            ("EINVAL", "the system does not accept the request", "check its path and its file system"),
            ("ENOSPC", "no space is left on the device", _FREE_ROOM),
            ("EDQUOT", "the disk quota is used up", f"{_FREE_ROOM}; or raise the quota"),
            ("EFBIG", "the file is larger than a limit allows", "raise the limit on file sizes"),
            ("EIO", "the device cannot read or write it", "check the device"),
            ("ENXIO", "no device or process is behind it", _CHECK_PATH),
            ("ENODEV", "its device is not there", _MOUNT),
            ("ESTALE", "the network file system has lost it", "mount that file system again"),
            ("ETIMEDOUT", "the network file system does not answer", _MOUNT),
            ("ENOTCONN", "the network file system is not connected", "mount that file system again"),
            ("EBUSY", "something else is using it", "end that, then try again"),
            ("ETXTBSY", "it is a program that runs", "end that program, then try again"),
            ("EMFILE", "this process may not open more files", "raise its limit on open files"),
            ("ENFILE", "this machine may not open more files", "raise its limit on open files"),
            ("ENOMEM", "no memory is left", "free memory, then try again"),
            ("ENOLCK", "the file system has no locks left", "check its lock service"),
            ("ENOTSUP", "the file system does not support it", "choose another file system"),
            ("EOPNOTSUPP", "the file system does not support it", "choose another file system"),
            ("ENOSYS", "this system does not support it", "choose another file system"),
            ("EBADF", "the file was closed meanwhile", "try again"),
            ("EAGAIN", "it is in use at the moment", "try again"),
            ("EPIPE", "the reader has left", "try again"),
        )
    }
)


def system_error_words(name: str) -> SystemErrorWords | None:
    """Return the words for an error's symbolic name; None if the name has none."""
    return _WORDS.get(name)


def in_words(cause: str) -> str:
    """Return a cause as words for people.

    Args:
        cause: the symbolic name of an error, such as `EACCES`; or a name, a colon and an explanation, of which the
            explanation remains; or any other text, which is returned unchanged.
    """
    name, separator, explanation = cause.partition(": ")
    words = _WORDS.get(name)
    if words is None:
        return cause
    return explanation if separator else words.problem


def remedy_of(cause: str, otherwise: str) -> str:
    """Return what to do about a cause; `otherwise` if it explains itself or has no words."""
    words = _WORDS.get(cause)
    return otherwise if words is None else words.remedy
