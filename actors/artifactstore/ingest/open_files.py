"""Files that an ingest reads after it has listed what they contain."""

import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, override

from artifactstore.open_files import OpenFile
from artifactstore_protocols.storage import HeldFile

if TYPE_CHECKING:
    from artifactstore.ingest.archives.spool import Spool

__all__ = ["FileAt", "SharedSpool"]


class FileAt(HeldFile):
    """A file that is open only while it is read, so that an ingest of many archives needs few descriptors.

    Args:
        path: its real path. Another file in its place differs in the times that a `Piece` has.
    """

    __slots__ = ("_path",)

    def __init__(self, path: bytes) -> None:
        self._path = path

    @override
    @contextmanager
    def opened(self) -> Generator[int]:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


class SharedSpool:
    """One spool for what several archives unpack to. It is made when the first of them needs it.

    Attributes:
        held: the file; None if there is none.
    """

    def __init__(self, stack: ExitStack) -> None:
        """Close the spool with the stack. What `held` refers to can still be read."""
        self._stack = stack
        self._spool: Spool | None = None
        self.held: OpenFile | None = None

    def get(self) -> "Spool":
        """Return the spool.

        Raises:
            TargetRefused: no file can be made.
        """
        from artifactstore.ingest.archives.spool import Spool  # noqa: PLC0415 - its package loads five unpackers

        if self._spool is None:
            self._spool = self._stack.enter_context(Spool.open(None))
            self.held = OpenFile(self._spool.descriptor)
        return self._spool

    def holds(self, descriptor: int) -> bool:
        """Return whether a descriptor is the one of this spool."""
        return self._spool is not None and self._spool.descriptor == descriptor
