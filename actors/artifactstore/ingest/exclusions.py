"""What a scan leaves out by its selection: what rules exclude, cache directories and large files."""

import errno
import os
import stat
from typing import Final

from artifactstore.ingest.refusals import IgnoreFileRefused
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.selection import IGNORE_FILE, Rules, Selection

__all__ = [
    "CACHE_SIGNATURE",
    "CACHE_TAG",
    "IGNORE_BYTES_MAX",
    "Exclusions",
    "RulesAbove",
    "is_cache",
    "read_rules",
    "rules_in",
]

type RulesAbove = tuple[tuple[int, Rules], ...]
"""The rules of the directories above an entry, the nearest first, each with the length of its directory's prefix."""

IGNORE_BYTES_MAX: Final = 1 << 20
CACHE_TAG: Final = "CACHEDIR.TAG"
CACHE_SIGNATURE: Final = b"Signature: 8a477f597d28d172789f06886806bc55"  # https://bford.info/cachedir/
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Exclusions:
    """The decisions of one scan about what its selection leaves out."""

    def __init__(self, selection: Selection, start: int = 0) -> None:
        """Keep the rules of a selection, which are about paths without their first `start` characters."""
        self._of_caller = selection.rules()
        self._start = start
        self.selection = selection

    def leaves_out(self, path: str, above: RulesAbove, *, directory: bool, size_bytes: int) -> bool:
        """Return whether to leave out an entry; `size_bytes` is 0 for everything but files."""
        limit = self.selection.max_file_size
        if limit is not None and size_bytes > limit:
            return True
        if (
            self._of_caller
            and (excluded := self._of_caller.excludes(path[self._start :], directory=directory)) is not None
        ):
            return excluded
        for start, rules in above:
            if (excluded := rules.excludes(path[start:], directory=directory)) is not None:
                return excluded
        return False


def rules_in(directory: bytes, path: str) -> Rules:
    """Return the rules of a directory's ignore file. `path` is its path in the package, for errors. Blocks.

    Raises:
        IgnoreFileRefused: the file cannot be read, is too large or not UTF-8, or has an invalid rule.
    """
    try:
        text = _beginning(os.path.join(directory, IGNORE_FILE.encode()), IGNORE_BYTES_MAX + 1)  # noqa: PTH118 - bytes
    except OSError as error:
        raise IgnoreFileRefused(path, error.strerror or "it cannot be read") from error
    return read_rules(text, path)


def read_rules(text: bytes, path: str) -> Rules:
    """Return the rules in the text of an ignore file, of which one byte more than `IGNORE_BYTES_MAX` is enough.

    Raises:
        IgnoreFileRefused: the text is too long or not UTF-8, or has an invalid rule.
    """
    if len(text) > IGNORE_BYTES_MAX:
        raise IgnoreFileRefused(path, f"it has more than {IGNORE_BYTES_MAX} bytes")
    try:
        return Rules(text.decode("utf-8-sig").split("\n"))
    except UnicodeDecodeError as error:
        raise IgnoreFileRefused(path, "it is not UTF-8") from error
    except InvalidValue as error:
        raise IgnoreFileRefused(path, f"{error.value!r} in it is no rule: {error.reason}") from error


def is_cache(directory: bytes) -> bool:
    """Return whether a directory holds a valid cache tag. Blocks."""
    try:
        found = _beginning(os.path.join(directory, CACHE_TAG.encode()), len(CACHE_SIGNATURE))  # noqa: PTH118 - bytes
    except OSError:
        return False
    return found == CACHE_SIGNATURE


def _beginning(file: bytes, limit: int) -> bytes:
    """Return up to `limit` bytes of a file. A link is not followed, no pipe is waited for, and no device is opened."""
    if not stat.S_ISREG(os.lstat(file).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    fd = os.open(file, _OPEN)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):  # it was replaced
            raise OSError(errno.EINVAL, "it is no regular file")
        found = b""
        while len(found) < limit and (more := os.read(fd, limit - len(found))):
            found += more
        return found
    finally:
        os.close(fd)
