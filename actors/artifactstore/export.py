"""Export: a sealed or open package back into a directory, byte for byte, with executable bits.

Files are written beside their final name and renamed when they are complete and checked, so an export that was
interrupted leaves no half file under a real name, and doing it again finishes it.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from artifactstore.errors import TargetRefused
from artifactstore_protocols.records import FileRecord

__all__ = ["prepare_target", "save", "write_file"]

_MODE_FILE = 0o644
_MODE_EXECUTABLE = 0o755


async def prepare_target(directory: Path) -> None:
    """Make the directory that an export goes to.

    Raises:
        TargetRefused: it is there and not empty, or cannot be made.
    """

    def prepare() -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
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


async def save(chunks: AsyncIterator[bytes], target: Path, *, executable: bool) -> None:
    """Write a stream to a file, which is there whole or not at all.

    Raises:
        TargetRefused: the file system does not take it.
    """
    partial = target.with_name(f".{os.getpid()}.partial")
    try:
        await trio.to_thread.run_sync(lambda: target.parent.mkdir(parents=True, exist_ok=True))
        try:
            async with await trio.open_file(partial, "xb") as output:
                async for chunk in chunks:
                    await output.write(chunk)
            partial.chmod(_MODE_EXECUTABLE if executable else _MODE_FILE)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise TargetRefused(str(target), error.strerror or str(error)) from error
