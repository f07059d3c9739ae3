"""Open files that stay open as long as somebody may read them: archives of an ingest, objects of an export."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import override

from artifactstore_protocols.storage import HeldFile

__all__ = ["OpenFile"]


class OpenFile(HeldFile):
    """A duplicate of a descriptor. It is closed with the last reference: a thread may outlive its caller."""

    __slots__ = ("_fd",)

    def __init__(self, descriptor: int) -> None:
        self._fd = -1  # for `__del__`, if the next line fails
        self._fd = os.dup(descriptor)

    @override
    @contextmanager
    def opened(self) -> Generator[int]:
        yield self._fd

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
