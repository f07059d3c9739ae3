"""The ways to open a SQLite file: read-write, or read-only with the reason why it cannot be written.

SQLite reads a file in WAL mode only if it can create the `-shm` file beside it. It cannot on a read-only mount, without
permission or on a full disk. `artifactstore.sqlite_access` has the ways to read that remain.
"""

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from artifactstore.database.errors import DatabaseUnavailable
from artifactstore.database.translation import DRIVER_ERRORS, write_obstacle
from artifactstore.permissions import may, owner_of
from artifactstore.sqlite_access import Access, reading, side_files, size_of

__all__ = ["obstacle_to_writing", "to_read", "to_write", "with_access"]

_PROTECTED_REGULAR: Final = Path("/proc/sys/fs/protected_regular")


async def with_access[T](path: Path | None, work: Callable[[Access | None], Awaitable[T]]) -> T:
    """Call `work` with an access that can write, or with a read-only access if the file cannot be written.

    Args:
        path: the SQLite file; None for PostgreSQL, where `work` gets None.
        work: opens the database. It is called a second time, with a read-only access, if the first access cannot write.

    Raises:
        DatabaseUnavailable: this user may not read one of the files.
        Exception: any error of `work`.
    """
    if path is None:
        return await work(None)
    obstacle = await asyncio.to_thread(obstacle_to_writing, path)
    if obstacle is None:
        try:
            return await work(to_write(path))
        except DRIVER_ERRORS as error:
            obstacle = write_obstacle(error)
            if obstacle is None or not _holds_something(path):
                raise
    return await work(await asyncio.to_thread(to_read, path, obstacle))


def obstacle_to_writing(path: Path) -> str | None:
    """Return why this user cannot write to an existing database; None if no reason is found without trying."""
    if not os.path.lexists(path):
        return None
    directory = os.path.realpath(path.parent)
    lock = f"{path}.lock"
    written = (os.path.realpath(path), *side_files(path))
    there = [file for file in (*written, lock) if os.path.exists(file)]  # noqa: PTH110 - paths are compared as text
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        return f"the file system of {directory} is mounted read-only"
    for file in there:
        mode, verb = (os.R_OK, "read") if file == lock else (os.W_OK, "write to")
        if not may(file, mode):
            return f"this user may not {verb} {file}, which belongs to {owner_of(file)}"
        if file != lock and _is_protected(file, os.stat(directory)):  # noqa: PTH116 - a path as text
            return f"{directory} is sticky, and {file} belongs to {owner_of(file)}"
    if len(there) < len(written) + 1 and not may(directory, os.W_OK | os.X_OK):
        return f"this user may not write in {directory}, which belongs to {owner_of(directory)}"
    return None


def _is_protected(file: str, directory: os.stat_result) -> bool:
    """Return whether `fs.protected_regular` (proc(5)) denies opening a file as SQLite does, with O_CREAT."""
    shared = directory.st_mode & stat.S_ISVTX and directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not shared or os.stat(file).st_uid in {os.geteuid(), directory.st_uid}:  # noqa: PTH116 - a path as text
        return False
    try:
        return _PROTECTED_REGULAR.read_text().strip() != "0"
    except OSError:
        return False


def _holds_something(path: Path) -> bool:
    return any(size_of(file) for file in (str(path), side_files(path)[0]))


def to_write(path: Path, *, make: bool = False) -> Access:
    """Return an access that can write. With `make`, opening creates a missing file; otherwise it fails."""
    return Access(f"file:{quote(os.fsencode(path))}?mode={'rwc' if make else 'rw'}")


def to_read(path: Path, why: str) -> Access:
    """Return a read-only access to a file that cannot be written; `why` is the reason.

    Raises:
        DatabaseUnavailable: this user may not read one of the files.
    """
    log, index = side_files(path)
    for file in (str(path), log, index):
        if os.path.exists(file) and not may(file, os.R_OK):  # noqa: PTH110 - paths as text
            raise DatabaseUnavailable(str(path), f"this user may not read {file}, which belongs to {owner_of(file)}")
    return reading(path, why)
