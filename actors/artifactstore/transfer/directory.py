"""A backup on disk: a chain of log files, objects under their digests, and a marker file.

```
artifactstore-backup                          one line with the format; it marks the directory as a backup
store-id                                      the store id that the tokens of the store are bound to
log/000000000001-000000000123.cborseq         log files, each continuing the one before it
objects/small/objects.db                      objects up to 64 KiB, as in the object root of a store
objects/blake3/0b/8b/0b8b60…                  larger objects, likewise
```

A log file appears by one rename after all objects that it names were copied, so every visible log file is complete. An
interrupted backup leaves objects that no log file names yet, and partial files that the next backup removes.
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
from artifactstore_protocols.ids import is_id
from artifactstore_protocols.log_file import chain_of

__all__ = ["MARK_NAME", "BackupDirectory"]

MARK_NAME: Final = "artifactstore-backup"
_MARK: Final = b"artifactstore backup, format 1\n"
_STORE_ID_NAME: Final = "store-id"
_ID_CHARACTERS: Final = 36
_LOCK_NAME: Final = ".lock"
_ANY_FILE: Final = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC  # do not block on a FIFO; follow no link
_OF_A_FILE_SYSTEM: Final = "lost+found"  # exists in the root of an empty disk


class BackupDirectory:
    """The directory of one backup. Open it with `to_write` or `to_read`.

    Attributes:
        name: the path of the directory as the caller gave it.
        log: the directory of the log files.
        objects: the directory of the objects, which has the form of a store's object root.
        limits: the limits of the file system that occurred while the backup was written.
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
        """Lock a backup for the block, so that no other process writes to it. Create it if it does not exist.

        On a file system without locks, the backup is not locked, and `limits` notes that.

        Raises:
            BackupRefused: the directory holds other files or a backup of another format, another backup into it is
                running, or it cannot be written.
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
        """Open an existing backup for reading.

        Raises:
            BackupRefused: the directory holds no backup that this release can read.
        """
        backup = cls(path)
        with _explained(path):
            await in_thread(backup._check_mark)
            await in_thread(backup._check_small_objects)
        return backup

    async def log_files(self) -> tuple[Path, ...]:
        """Return the log files in order.

        Raises:
            LogFileInvalid: a log file is missing, or two log files hold the same event.
            BackupRefused: the log files cannot be listed.
        """
        with _explained(self._path):
            names = await in_thread(lambda: [path.name for path in self.log.iterdir()] if self.log.is_dir() else [])
        return tuple(self.log / name for name in chain_of(names))

    async def keep_store_id(self, store_id: str) -> None:
        """Keep the store id that the tokens of the store are bound to, in place of one that the backup has.

        Raises:
            BackupRefused: it cannot be written.
        """
        content = f"{store_id}\n".encode()
        with _explained(self._path):
            if await in_thread(lambda: self._read_own(_STORE_ID_NAME, len(content) + 1)) != content:
                await in_thread(lambda: self._write_own(_STORE_ID_NAME, content))

    async def store_id(self) -> str | None:
        """Return the store id that the backup keeps; None if it keeps none.

        Raises:
            BackupRefused: it is none, or it cannot be read.
        """
        with _explained(self._path):
            found = await in_thread(lambda: self._read_own(_STORE_ID_NAME, _ID_CHARACTERS + 2))
        if found is None:
            return None
        text = found.decode(errors="replace").removesuffix("\n")
        if not is_id(text):
            raise BackupRefused(self.name, f"{_STORE_ID_NAME} in it holds no store id; repeat the backup, or remove it")
        return text

    def _begin(self) -> int:
        """Lock the directory, prepare it for a backup, and return the descriptor of the lock file."""
        make_durable_directory(self._path, self.limits)
        if not (self._path / MARK_NAME).exists() and any(
            not each.name.startswith(".") and each.name != _OF_A_FILE_SYSTEM for each in self._path.iterdir()
        ):
            raise BackupRefused(self.name, "it holds something else; name a new or an empty directory")
        lock = self._open_own(_LOCK_NAME, os.O_RDWR | os.O_CREAT)
        try:
            self._take_lock(lock)
            if not (self._path / MARK_NAME).exists():
                self._write_own(MARK_NAME, _MARK)
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
        """Lock the lock file, or note that the file system has no locks."""
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError as error:
            if not self.limits.excuse("locks", error):
                raise

    def _write_own(self, name: str, content: bytes) -> None:
        """Write a file of the backup itself, atomically."""
        partial = self._path / f".{name}.partial"
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            sync_file(file.fileno(), self.limits)
        partial.replace(self._path / name)
        fsync_directory(str(self._path), self.limits)

    def _refuse_links(self) -> None:
        """Refuse symbolic links in place of the directories of the backup."""
        for own in (self.log, self.objects, self.objects / PRIMARY_ALGORITHM, file_below(self.objects).parent):
            if own.is_symlink():
                reason = f"{own.relative_to(self._path)} in it is a symbolic link, which no backup has made; remove it"
                raise BackupRefused(self.name, reason)

    def _check_small_objects(self) -> None:
        """Refuse links and FIFOs at the paths of the SQLite files, because SQLite would follow or wait for them."""
        small = file_below(self.objects)
        for file in (small, *(small.with_name(f"{small.name}{suffix}") for suffix in ("-wal", "-shm"))):
            with suppress(FileNotFoundError, NotADirectoryError):
                if not stat.S_ISREG(file.lstat().st_mode):
                    reason = f"{file.relative_to(self._path)} in it is no regular file; move it away"
                    raise BackupRefused(self.name, reason)

    def _open_own(self, name: str, flags: int) -> int:
        """Open a file of the backup itself.

        Raises:
            BackupRefused: the path is not a regular file.
            OSError: the file cannot be opened.
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

    def _read_own(self, name: str, bytes_max: int) -> bytes | None:
        """Return the beginning of a file of the backup itself; None if there is no such file."""
        with suppress(FileNotFoundError):
            descriptor = self._open_own(name, os.O_RDONLY)
            try:
                return os.read(descriptor, bytes_max)
            finally:
                os.close(descriptor)
        return None

    def _check_mark(self) -> None:
        """Refuse a directory whose marker file is missing or names another format."""
        found = self._read_own(MARK_NAME, len(_MARK) + 1)
        if found is None:
            raise BackupRefused(self.name, f"there is no {MARK_NAME} in it; name the directory that `backup` was given")
        if found != _MARK:
            raise BackupRefused(self.name, "it is of another format; use the release that wrote it, or a later one")


@contextmanager
def _explained(path: Path) -> Generator[None]:
    """Raise BackupRefused for an error of the operating system."""
    try:
        yield
    except FileExistsError as error:  # the system's message does not say what is wrong
        reason = f"{error.filename} is no directory; name another, or move it away"
        raise BackupRefused(str(path), reason) from error
    except OSError as error:
        raise BackupRefused(str(path), error.strerror or str(error)) from error
