"""A temporary file without a name, for what has to be unpacked before it can be read at any place.

The file has no name from the beginning (`O_TMPFILE`), or loses it at once where the file system has no such files. So
nothing is left behind, even if the process is killed.
"""

import tempfile
from collections.abc import Buffer, Generator
from contextlib import contextmanager

from artifactstore.descriptors import write_all
from artifactstore.refusals import TargetRefused

__all__ = ["Spool"]


class Spool:
    """An anonymous file that is written once, in order, and read at any place."""

    def __init__(self, descriptor: int, directory: str) -> None:
        self.descriptor = descriptor
        self._directory = directory
        self.size_bytes = 0

    @classmethod
    @contextmanager
    def open(cls, directory: str | None) -> Generator["Spool"]:
        """Open a spool in a directory, by default that for temporary files. It is gone when the block ends.

        Raises:
            TargetRefused: no file can be made there.
        """
        try:
            where = directory or tempfile.gettempdir()
            file = tempfile.TemporaryFile(buffering=0, dir=where)  # noqa: SIM115 - the `with` below closes it
        except OSError as error:
            raise _refused(directory or "the directory for temporary files", error) from error
        with file:
            yield cls(file.fileno(), where)

    def write(self, data: Buffer) -> None:
        """Append data.

        Raises:
            TargetRefused: the file system is full, or fails.
        """
        try:
            write_all(self.descriptor, data)
        except OSError as error:
            raise _refused(self._directory, error) from error
        self.size_bytes += memoryview(data).nbytes


def _refused(directory: str, error: OSError) -> TargetRefused:
    return TargetRefused(directory, f"{error.strerror}; name a larger place by TMPDIR")
