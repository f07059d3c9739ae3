"""Temp files whose owner can be told dead from alive, whatever became of its process id.

Each process that writes owns a token: a lock file `<token>.lock` on which it holds a `flock`, and temp files
`<token>.<number>` beside it. The kernel drops the lock when the owner dies, so a sweep removes exactly the
files of those that are gone, and never one that is being written by another process. The lock is taken at the
first temp file: a store on a read-only device can still be read.

Modes follow the umask, so that the users of a group can share a store.
"""

import errno
import fcntl
import os
import re
import secrets
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from artifactstore.target_limits import TargetLimits

__all__ = ["ScratchSpace", "discard"]

_LOCK_MODE: Final = 0o666
_FILE_MODE: Final = 0o644
_OURS: Final = re.compile(r"(?P<owner>[0-9a-f]{16})\.(lock|[0-9a-f]{16})")


class ScratchSpace:
    """The temp files of one backend in one directory; any thread may call it."""

    __slots__ = ("_directory", "_guard", "_limits", "_lock_fd", "_token")

    def __init__(self, directory: str, limits: TargetLimits | None = None) -> None:
        """Name the directory; with `limits`, a file system without locks is noted there, and is no error."""
        self._directory = directory
        self._limits = limits
        self._guard = threading.Lock()
        self._token = ""
        self._lock_fd: int | None = None

    def create(self) -> tuple[int, str]:
        """Make an empty temp file; returns its descriptor, open for reading and writing, and its path.

        Raises:
            OSError: it cannot be made.
        """
        with self._guard:
            if self._lock_fd is not None and not os.fstat(self._lock_fd).st_nlink:
                # Somebody removed the directory. Temp files without a lock would be anybody's to sweep away.
                os.close(self._lock_fd)
                self._lock_fd = None
            if self._lock_fd is None:
                with suppress(FileExistsError):
                    os.mkdir(self._directory)  # noqa: PTH102 - paths are plain strings on the hot way
                self._token, self._lock_fd = _take_token(self._directory, self._limits)
        path = f"{self._directory}/{self._token}.{secrets.token_hex(8)}"
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE), path

    def sweep(self, check_wanted: Callable[[], None] = lambda: None) -> None:
        """Remove the temp files of owners that are gone.

        Args:
            check_wanted: raises when the sweep is not wanted any more; the rest is left to the next one.

        Raises:
            OSError: the directory cannot be read or written.
        """
        for names in self._of_the_dead():
            for name in sorted(names, key=lambda name: name.endswith(".lock")):  # the lock goes last
                check_wanted()
                discard(f"{self._directory}/{name}")

    def leftovers(self) -> list[str]:
        """Names of the files that a sweep would remove; raises as it does."""
        return [name for names in self._of_the_dead() for name in names]

    def _of_the_dead(self) -> Iterator[list[str]]:
        """The files of each owner that is gone; the lock is held until the next is asked for."""
        owned: dict[str, list[str]] = {}
        with suppress(FileNotFoundError):
            # Listed before any lock is looked at: an owner has its lock before its first temp file, so a file
            # that is listed here and has no lock below belongs to nobody.
            for name in os.listdir(self._directory):  # noqa: PTH208 - names are what is needed
                if match := _OURS.fullmatch(name):
                    owned.setdefault(match["owner"], []).append(name)
        for owner, names in owned.items():
            with _lock_of_the_dead(f"{self._directory}/{owner}.lock") as gone:
                if gone:
                    yield names

    def close(self) -> None:
        """Give the token up; harmless twice."""
        with self._guard:
            if self._lock_fd is not None:
                discard(f"{self._directory}/{self._token}.lock")
                os.close(self._lock_fd)
                self._lock_fd = None


def discard(path: str) -> None:
    """Unlink a temp file, which may be gone already; one that cannot be removed now is left to the next sweep."""
    with suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - paths are plain strings on the hot way


def _take_token(directory: str, limits: TargetLimits | None) -> tuple[str, int]:
    while True:
        token = secrets.token_hex(8)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(f"{directory}/{token}.lock", flags, _LOCK_MODE)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
            except OSError as error:
                if limits is None or not limits.excuse("locks", error):
                    raise
                return token, fd  # nobody can take it for a leftover, since nobody else gets a lock either
            if os.fstat(fd).st_nlink:
                return token, fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # a sweep came between making the file and locking it, and took it for a leftover


@contextmanager
def _lock_of_the_dead(lock_path: str) -> Generator[bool]:
    """Hold an owner's lock for the block; False if the owner lives, or nobody can tell."""
    try:
        fd = _open_lock(lock_path)
    except FileNotFoundError:
        yield True
        return
    except PermissionError:  # the lock of another user
        yield False
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def _open_lock(path: str) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, os.O_RDWR | flags)  # NFS locks only what may be written
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EROFS}:
            raise
        return os.open(path, os.O_RDONLY | flags)
