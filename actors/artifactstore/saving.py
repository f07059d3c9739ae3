"""Saving a stream as a file, which is there whole or not at all.

A file that is replaced keeps its mode, and its owner, group and access control list as far as this user may set them;
where the group cannot be kept, the new group gets no more than others. What is no file, such as a FIFO or `/dev/null`,
is written into.
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

__all__ = ["make_directory", "pour", "save"]

_ACCESS_LISTS = ("system.posix_acl_access", "security.selinux")
_PERMISSIONS = 0o777


async def save(
    chunks: AsyncIterator[bytes], target: Path, *, executable: bool = False, durable: TargetLimits | None = None
) -> None:
    """Write a stream to a file. A link is followed; a path such as `/dev/stdout` means that descriptor.

    Args:
        chunks: what to write.
        target: where. Its directory is made.
        executable: whether a new file may be run by those who may read it; one that is replaced keeps its mode.
        durable: if given, the file survives a loss of power once this returns; a file system that cannot flush files
            or directories is noted there.

    Raises:
        TargetRefused: the file system does not take it.
    """

    async def blocking[T](work: Callable[[], T], *, abandon: bool = False) -> T:
        with _told_of(target):
            return await trio.to_thread.run_sync(work, abandon_on_cancel=abandon)

    real, replaceable = await blocking(lambda: _place_for(target))
    if not replaceable:
        # A FIFO waits to be opened until somebody reads it.
        descriptor = await blocking(lambda: _open_special(real), abandon=True)
        await pour(chunks, descriptor, target)
        os.close(
            descriptor
        )  # not if cancelled: the thread that writes may outlive that, and the number gets a new owner
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


async def pour(chunks: AsyncIterator[bytes], descriptor: int, target: Path) -> None:
    """Write a stream to a descriptor, to the end or until cancelled, however long its reader waits.

    Cancelled, it may leave a thread that still writes a chunk. Do not close the descriptor then: what is opened next
    would get its number, and the chunk.

    Raises:
        TargetRefused: the descriptor, which is that of `target`, does not take it.
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
    """Where a target leads, in a directory that is there now, and whether a file may take that place."""
    if descriptor_named(target) is not None:
        return target, False
    real = Path(os.path.realpath(target))
    make_directory(real.parent)
    return real, real.is_file() or not real.exists()


def _open_special(target: Path) -> int:
    named = descriptor_named(target)
    return os.open(target, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY) if named is None else os.dup(named)


def _create(fresh: Path, real: Path, *, executable: bool) -> int:
    """Create the file that will take the place of `real`, with the permissions that it shall have there."""
    try:
        earlier = real.stat()
    except FileNotFoundError:
        mode = 0o777 if executable else 0o666
        return os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)  # less the umask
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
    with suppress(PermissionError):  # a file system without modes
        os.fchmod(descriptor, mode)
    for name in _ACCESS_LISTS if hasattr(os, "getxattr") else ():
        with suppress(OSError):  # the file has none, or this user may not set it
            os.setxattr(descriptor, name, os.getxattr(real, name))


def make_directory(path: Path) -> None:
    """Make a directory, with those above it, unless it is there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # which says of a file in the way that it exists, not what is wrong with that
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error
