"""Atomic writes of a stream to a file: the file appears complete or not at all.

A replaced file keeps its mode. It keeps its owner, group and access control list as far as the current user may set
them. If the group cannot be kept, the new group gets no more permissions than others have. A target that is not a
regular file, such as a FIFO or `/dev/null`, is written to directly.
"""

import errno
import os
import stat
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from artifactstore.descriptors import descriptor_named, write_all
from artifactstore.durable import fsync_directory, sync_file
from artifactstore.ids import new_id
from artifactstore.refusals import TargetRefused
from artifactstore.target_limits import TargetLimits

__all__ = ["make_directory", "save", "write_stream"]

_ACCESS_LISTS = ("system.posix_acl_access", "security.selinux")
_PERMISSIONS = 0o777


async def save(
    chunks: AsyncIterator[bytes], target: Path, *, executable: bool = False, durable: TargetLimits | None = None
) -> None:
    """Write a stream to a file. Links are followed; a path such as `/dev/stdout` means that descriptor.

    Args:
        chunks: the content.
        target: the path to write. Its directory is created if needed.
        executable: whether a new file is executable for everybody who may read it. A replaced file keeps its mode.
        durable: if given, the file survives a power loss once this returns. If the file system cannot flush files or
            directories, that limit is noted in this object.

    Raises:
        TargetRefused: the file cannot be written.
    """

    async def blocking[T](work: Callable[[], T], *, abandon: bool = False) -> T:
        with _told_of(target):
            return await trio.to_thread.run_sync(work, abandon_on_cancel=abandon)

    real, replaceable = await blocking(lambda: _place_for(target))
    if not replaceable:
        # Opening a FIFO blocks until another process opens it for reading.
        descriptor = await blocking(lambda: _open_special(real), abandon=True)
        await write_stream(chunks, descriptor, target)
        os.close(
            descriptor
        )  # skipped on cancellation: a thread may still write to this number, which a new file could get
        return
    fresh = real.with_name(f".{new_id()}.partial")
    try:
        descriptor = await blocking(lambda: _create(fresh, real, executable=executable))
        try:
            async for chunk in chunks:
                await blocking(partial(write_all, descriptor, chunk))
            if durable is not None:
                await blocking(lambda: sync_file(descriptor, durable))
        finally:
            os.close(descriptor)
        await blocking(lambda: fresh.replace(real))
        if durable is not None:
            await blocking(lambda: fsync_directory(str(real.parent), durable))
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


async def write_stream(chunks: AsyncIterator[bytes], descriptor: int, target: Path) -> None:
    """Write a stream to a descriptor until the stream ends or the task is cancelled. There is no time limit.

    After a cancellation, a thread may still be writing a chunk. Do not close the descriptor then: the next opened file
    would get its number and receive the chunk.

    Raises:
        TargetRefused: writing to the descriptor, which belongs to `target`, failed.
    """
    async for chunk in chunks:
        with _told_of(target):
            await trio.to_thread.run_sync(write_all, descriptor, chunk, abandon_on_cancel=True)


@contextmanager
def _told_of(target: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise TargetRefused(str(target), error.strerror or str(error)) from error


def _place_for(target: Path) -> tuple[Path, bool]:
    """Resolve a target, create its directory, and return whether a file may replace it."""
    if descriptor_named(target) is not None:
        return target, False
    real = Path(os.path.realpath(target))
    make_directory(real.parent)
    return real, real.is_file() or not real.exists()


def _open_special(target: Path) -> int:
    named = descriptor_named(target)
    return os.open(target, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY) if named is None else os.dup(named)


def _create(fresh: Path, real: Path, *, executable: bool) -> int:
    """Create the file that will replace `real`, with its final permissions."""
    try:
        earlier = real.stat()
    except FileNotFoundError:
        mode = 0o777 if executable else 0o666
        return os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)  # the kernel applies the umask
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _keep_permissions(descriptor, real, earlier)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _keep_permissions(descriptor: int, real: Path, earlier: os.stat_result) -> None:
    mode = stat.S_IMODE(earlier.st_mode) & _PERMISSIONS
    with suppress(OSError):
        os.fchown(descriptor, earlier.st_uid, -1)
    try:
        os.fchown(descriptor, -1, earlier.st_gid)
    except OSError:
        mode &= ~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3
    with suppress(PermissionError):  # the file system has no modes
        os.fchmod(descriptor, mode)
    for name in _ACCESS_LISTS if hasattr(os, "getxattr") else ():
        with suppress(OSError):  # the file has no such attribute, or this user may not set it
            os.setxattr(descriptor, name, os.getxattr(real, name))


def make_directory(path: Path) -> None:
    """Create a directory and its missing parents; do nothing if it exists."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # a file has this path; report that instead
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error
