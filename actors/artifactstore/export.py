"""Export: a sealed or open package back into a directory, byte for byte, with executable bits.

Files are written beside their final name and renamed when they are complete and checked, so an export that was
interrupted leaves no half file under a real name. The permissions of the user's umask are kept.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import trio

from artifactstore.refusals import TargetRefused
from artifactstore.saving import make_directory, save
from artifactstore_protocols.records import FileRecord

__all__ = ["prepare_target", "write_file"]


async def prepare_target(directory: Path) -> None:
    """Make the directory that an export goes to.

    Raises:
        TargetRefused: it is there and not empty, or cannot be made.
    """

    def prepare() -> None:
        try:
            make_directory(directory)
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
