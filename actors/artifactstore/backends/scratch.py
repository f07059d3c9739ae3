"""Temp files with locks, which show whether the process that owns a file is still alive.

Each process that writes owns a token: a lock file `<token>.lock` on which it holds a `flock`, and temp files
`<token>.<number>` beside it. The kernel releases the lock when the owner dies, even if another process gets its process
id. So a sweep removes exactly the files of dead owners, and never a file that another process is writing. The lock is
taken with the first temp file, so a store on a read-only device can still be read.

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
    """The temp files of one backend in one directory. The methods are thread-safe."""

    __slots__ = ("_directory", "_guard", "_limits", "_lock_fd", "_token")

    def __init__(self, directory: str, limits: TargetLimits | None = None) -> None:
        """Set the directory. With `limits`, a file system without locks is noted there and is no error."""
        self._directory = directory
        self._limits = limits
        self._guard = threading.Lock()
        self._token = ""
        self._lock_fd: int | None = None

    def create(self) -> tuple[int, str]:
        """Create an empty temp file; return its descriptor, open for reading and writing, and its path.

        Raises:
            OSError: the file cannot be created.
        """
        with self._guard:
            if self._lock_fd is not None and not os.fstat(self._lock_fd).st_nlink:
                # The directory was removed. Any sweep would remove temp files that have no lock.
                os.close(self._lock_fd)
                self._lock_fd = None
            if self._lock_fd is None:
                with suppress(FileExistsError):
                    os.mkdir(self._directory)  # noqa: PTH102 - paths are plain strings on the hot path
                self._token, self._lock_fd = _take_token(self._directory, self._limits)
        path = f"{self._directory}/{self._token}.{secrets.token_hex(8)}"
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE), path

    def sweep(self, check_cancelled: Callable[[], None] = lambda: None) -> None:
        """Remove the temp files of dead owners.

        Args:
            check_cancelled: called before each removal; raises to abandon the sweep. The next sweep removes the rest.

        Raises:
            OSError: the directory cannot be read or written.
        """
        for names in self._of_the_dead():
            for name in sorted(names, key=lambda name: name.endswith(".lock")):  # the lock goes last
                check_cancelled()
                discard(f"{self._directory}/{name}")

    def leftovers(self) -> list[str]:
        """Return the names of the files that `sweep` would remove; raises the same errors."""
        return [name for names in self._of_the_dead() for name in names]

    def _of_the_dead(self) -> Iterator[list[str]]:
        """Yield the files of each dead owner, holding its lock until the next step."""
        owned: dict[str, list[str]] = {}
        with suppress(FileNotFoundError):
            # List before testing any lock. An owner takes its lock before its first temp file, so a file that is
            # listed here and has no lock afterwards has no living owner.
            for name in os.listdir(self._directory):  # noqa: PTH208 - only names are needed
                if match := _OURS.fullmatch(name):
                    owned.setdefault(match["owner"], []).append(name)
        for owner, names in owned.items():
            with _lock_of_the_dead(f"{self._directory}/{owner}.lock") as gone:
                if gone:
                    yield names

    def close(self) -> None:
        """Release the token. Does nothing if already released."""
        with self._guard:
            if self._lock_fd is not None:
                discard(f"{self._directory}/{self._token}.lock")
                os.close(self._lock_fd)
                self._lock_fd = None


def discard(path: str) -> None:
    """Unlink a temp file, which may be gone already. If that fails, the next sweep removes the file."""
    with suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - paths are plain strings on the hot path


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
                return token, fd  # no sweep removes its files, since a sweep cannot lock either
            if os.fstat(fd).st_nlink:
                return token, fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # a sweep removed the file before it was locked


@contextmanager
def _lock_of_the_dead(lock_path: str) -> Generator[bool]:
    """Hold the lock of a dead owner for the block and yield True; yield False if the owner lives, or may live."""
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
        return os.open(path, os.O_RDWR | flags)  # NFS needs a writable descriptor for an exclusive lock
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EROFS}:
            raise
        return os.open(path, os.O_RDONLY | flags)
