"""A file of an export's target while it is written, under a temporary name."""

import errno
import os
from contextlib import suppress
from typing import Final

from artifactstore.package_export.refused_entries import refused_or

__all__ = ["NEW_FILE_FLAGS", "NewFile"]

NEW_FILE_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class NewFile:
    """A file of the target that has no real name yet. The caller must close it.

    Attributes:
        name: its temporary name in the export's own directory.
        fd: its descriptor; -1 after `finish`.
        named: whether the real name has replaced the temporary name.
    """

    def __init__(self, directory: int, name: bytes, mode: int) -> None:
        self.name = name
        self.named = False
        self._directory = directory
        self.fd = os.open(name, NEW_FILE_FLAGS, mode, dir_fd=directory)

    def write(self, content: bytes) -> None:
        """Append all bytes of `content`.

        Raises:
            FileRefused: the file is too large for the target.
            OSError: the target accepts no more bytes.
        """
        view = memoryview(content)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError as error:
            raise (refused_or(error) if error.errno == errno.EFBIG else error) from error

    def finish(self) -> None:
        """Close the descriptor after the last write.

        Raises:
            OSError: the target reports a failed write only now, as NFS does.
        """
        fd, self.fd = self.fd, -1
        os.close(fd)

    def close(self) -> None:
        """Close the file, and remove its temporary name if it still has one."""
        if self.fd >= 0:
            with suppress(OSError):  # an error of close does not matter: the bytes are discarded
                os.close(self.fd)
        if not self.named:
            with suppress(OSError):  # the export that continues this one removes the name
                os.unlink(self.name, dir_fd=self._directory)
