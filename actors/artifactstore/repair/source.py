"""The interface of sources of contents for a repair."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from artifactstore.transfer.objects import NamedObject
from artifactstore_protocols.dataplane import FileSource
from artifactstore_protocols.messages import Stream

__all__ = ["Found", "Offer", "RepairSource"]

type OpenStream = Callable[[], AbstractAsyncContextManager[Stream[bytes]]]


class Offer(NamedTuple):
    """A content that a source seems to have, as a file or as bytes in memory, or as a stream that can be opened."""

    named: NamedObject
    source: FileSource | OpenStream


class Found(NamedTuple):
    """What a source has of some wanted contents.

    Attributes:
        offers: the contents that it seems to have.
        refused: the number of contents that it has with other bytes.
    """

    offers: Sequence[Offer]
    refused: int = 0


class RepairSource(Protocol):
    """A source of contents."""

    @property
    def name(self) -> str:
        """The name of the source, for people."""
        ...

    async def prepare(self, wanted: Sequence[NamedObject]) -> None:
        """Look for many contents at once, before `find` and `check` ask for them in batches."""
        ...

    async def find(self, batch: Sequence[NamedObject]) -> Found:
        """Return what the source seems to have of a batch, without reading large contents."""
        ...

    async def check(self, batch: Sequence[NamedObject]) -> tuple[Sequence[NamedObject], int]:
        """Return the contents of a batch whose bytes have both digests, and the number of those with other bytes."""
        ...
