"""Export: a sealed or open package back into a directory, byte for byte, with executable bits.

Files are written beside their final name and renamed when they are complete and checked, so an export that was
interrupted leaves no half file under a real name. The permissions of the user's umask are kept.
"""

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import trio

from artifactstore.ids import new_id
from artifactstore.refusals import TargetRefused
from artifactstore_protocols.records import FileRecord

__all__ = ["prepare_target", "save", "write_file"]


async def prepare_target(directory: Path) -> None:
    """Make the directory that an export goes to.

    Raises:
        TargetRefused: it is there and not empty, or cannot be made.
    """

    def prepare() -> None:
        try:
            _make_directory(directory)
            if any(directory.iterdir()):
                raise TargetRefused(str(directory), "it is not empty; name a new or an empty directory")
        except OSError as error:
            raise TargetRefused(str(directory), error.strerror or str(error)) from error

    await trio.to_thread.run_sync(prepare)


async def write_file(directory: Path, file: FileRecord, chunks: AsyncIterator[bytes]) -> None:
    """Write one file of a package below `directory`.

    Raises:
        TargetRefused: the file system does not take it.
    """
    target = directory / file.path
    await save(chunks, target, executable=file.executable)


async def save(chunks: AsyncIterator[bytes], target: Path, *, executable: bool = False, durable: bool = False) -> None:
    """Write a stream to a file, which is there whole or not at all. A link is followed.

    What stands at the target already and is no file, such as a pipe or `/dev/null`, is written into, never replaced.

    Args:
        chunks: what to write.
        target: where.
        executable: whether whoever may read it may run it.
        durable: whether the file is to survive a loss of power once this returns.

    Raises:
        TargetRefused: the file system does not take it.
    """
    try:
        real, replaceable = await trio.to_thread.run_sync(_place_for, target)
        if not replaceable:
            await _write(chunks, real, "wb")
            return
        partial = real.with_name(f".{new_id()}.partial")
        try:
            await _write(chunks, partial, "xb")
            if durable:
                await trio.to_thread.run_sync(_sync, partial)
            if executable:
                mode = partial.stat().st_mode
                partial.chmod(mode | (mode & 0o444) >> 2)  # whoever may read it may run it
            partial.replace(real)
            if durable:
                await trio.to_thread.run_sync(_sync, real.parent)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise TargetRefused(str(target), error.strerror or str(error)) from error


def _place_for(target: Path) -> tuple[Path, bool]:
    """Where a target leads, in a directory that is there now, and whether a file may take that place."""
    real = Path(os.path.realpath(target))
    _make_directory(real.parent)
    return real, real.is_file() or not real.exists()


async def _write(chunks: AsyncIterator[bytes], target: Path, mode: Literal["wb", "xb"]) -> None:
    async with await trio.open_file(target, mode) as output:
        async for chunk in chunks:
            await output.write(chunk)


def _sync(path: Path) -> None:
    """Make a file's content, or a directory's entries, durable."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # which says of a file in the way that it exists, not what is wrong with that
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error
