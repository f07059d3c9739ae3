"""A backup on disk: log files that chain, objects under their digests, and a mark that says that it is one.

```
artifactstore-backup                          one line: the format, so that nothing else is taken for a backup
log/000000000001-000000000123.cborseq         log files, each continuing the one before it
objects/small/objects.db                      objects up to 64 KiB, as in a store's own storage root
objects/blake3/0b/8b/0b8b60…                  larger ones, likewise
```

A log file appears by one rename when all the objects that it names were copied, so whatever is there is complete. What
an interrupted backup leaves are objects that no log file names yet, and partial files that the next backup removes.
"""

import errno
import fcntl
import os
import stat
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from artifactstore.dataplane import file_below
from artifactstore.durable import fsync_directory, make_durable_directory, sync_file
from artifactstore.environment import in_thread
from artifactstore.refusals import BackupRefused
from artifactstore.target_limits import TargetLimits
from artifactstore_protocols.identity import PRIMARY_ALGORITHM
from artifactstore_protocols.log_file import chain_of

__all__ = ["BackupDirectory"]

_MARK_NAME: Final = "artifactstore-backup"
_MARK: Final = b"artifactstore backup, format 1\n"
_LOCK_NAME: Final = ".lock"
_ANY_FILE: Final = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC  # somebody else may have put a pipe or a link there
_OF_A_FILE_SYSTEM: Final = "lost+found"  # in the root of a disk that is empty


class BackupDirectory:
    """One backup; `to_write` or `to_read` opens it.

    Attributes:
        name: the directory as it was given.
        log: where its log files are.
        objects: where its objects are: a storage root.
        limits: what its file system could not do while it was written.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self.log = path / "log"
        self.objects = path / "objects"
        self.limits = TargetLimits()

    @classmethod
    @asynccontextmanager
    async def to_write(cls, path: Path) -> AsyncGenerator[Self]:
        """Hold a backup for the block, so that nobody else writes to it; make it if there is none.

        Raises:
            BackupRefused: it holds something else, another backup into it runs, or it cannot be written.
        """
        backup = cls(path)
        with _explained(path):
            lock = await in_thread(backup._begin)
        try:
            yield backup
        finally:
            os.close(lock)

    @classmethod
    async def to_read(cls, path: Path) -> Self:
        """A backup that is there.

        Raises:
            BackupRefused: there is none, or none that this release can read.
        """
        backup = cls(path)
        with _explained(path):
            await in_thread(backup._check_mark)
            await in_thread(backup._check_small_objects)
        return backup

    async def log_files(self) -> tuple[Path, ...]:
        """The files of its log, in order.

        Raises:
            LogFileInvalid: one is missing.
            BackupRefused: they cannot be listed.
        """
        with _explained(self._path):
            names = await in_thread(lambda: [path.name for path in self.log.iterdir()] if self.log.is_dir() else [])
        return tuple(self.log / name for name in chain_of(names))

    def _begin(self) -> int:
        make_durable_directory(self._path, self.limits)
        if not (self._path / _MARK_NAME).exists() and any(
            not each.name.startswith(".") and each.name != _OF_A_FILE_SYSTEM for each in self._path.iterdir()
        ):
            raise BackupRefused(self.name, "it holds something else; name a new or an empty directory")
        lock = self._open_own(_LOCK_NAME, os.O_RDWR | os.O_CREAT)
        try:
            self._take_lock(lock)
            if not (self._path / _MARK_NAME).exists():
                self._write_mark()
            self._check_mark()
            self._refuse_links()
            self._check_small_objects()
            self.log.mkdir(exist_ok=True)
            for leftover in self.log.glob(".*.partial"):
                leftover.unlink()
            fsync_directory(str(self._path), self.limits)
        except BlockingIOError:
            os.close(lock)
            raise BackupRefused(self.name, "another backup into it is under way; wait for its end") from None
        except BaseException:
            os.close(lock)
            raise
        return lock

    def _take_lock(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError as error:
            if not self.limits.excuse("locks", error):
                raise

    def _write_mark(self) -> None:
        partial = self._path / f".{_MARK_NAME}.partial"
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "wb") as mark:
            mark.write(_MARK)
            mark.flush()
            sync_file(mark.fileno(), self.limits)
        partial.replace(self._path / _MARK_NAME)

    def _refuse_links(self) -> None:
        for own in (self.log, self.objects, self.objects / PRIMARY_ALGORITHM, file_below(self.objects).parent):
            if own.is_symlink():
                reason = f"{own.relative_to(self._path)} in it is a symbolic link, which no backup has made; remove it"
                raise BackupRefused(self.name, reason)

    def _check_small_objects(self) -> None:
        """Refuse what SQLite would follow or wait for in the place of its files."""
        small = file_below(self.objects)
        for file in (small, *(small.with_name(f"{small.name}{suffix}") for suffix in ("-wal", "-shm"))):
            with suppress(FileNotFoundError, NotADirectoryError):
                if not stat.S_ISREG(file.lstat().st_mode):
                    reason = f"{file.relative_to(self._path)} in it is no regular file; move it away"
                    raise BackupRefused(self.name, reason)

    def _open_own(self, name: str, flags: int) -> int:
        """Open a file of the backup itself.

        Raises:
            BackupRefused: it is something else than a file.
            OSError: it cannot be opened.
        """
        refused = BackupRefused(self.name, f"{name} in it is no regular file; move it away")
        try:
            descriptor = os.open(self._path / name, flags | _ANY_FILE, 0o600)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:
                raise refused from error
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise refused
        return descriptor

    def _check_mark(self) -> None:
        found = None
        with suppress(FileNotFoundError):
            descriptor = self._open_own(_MARK_NAME, os.O_RDONLY)
            try:
                found = os.read(descriptor, len(_MARK) + 1)
            finally:
                os.close(descriptor)
        if found is None:
            raise BackupRefused(
                self.name, f"there is no {_MARK_NAME} in it; name the directory that `backup` was given"
            )
        if found != _MARK:
            raise BackupRefused(self.name, "it is of another format; use the release that wrote it, or a later one")


@contextmanager
def _explained(path: Path) -> Generator[None]:
    try:
        yield
    except FileExistsError as error:  # the system says that something exists, not that it is in the way
        reason = f"{error.filename} is no directory; name another, or move it away"
        raise BackupRefused(str(path), reason) from error
    except OSError as error:
        raise BackupRefused(str(path), error.strerror or str(error)) from error
