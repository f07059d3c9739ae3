"""Another store as a source: its log names where its objects are, and its storage reads and checks them."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from artifactstore.repair.source import Found, Offer
from artifactstore.supervision import NO_TIME_LIMIT, ActorRef
from artifactstore.transfer.objects import NamedObject
from artifactstore_protocols.dataplane import FileSource
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.messages import ReadObjects, ServeObject, StorageRole, Stream, VerifyObjects
from artifactstore_protocols.storage import KnownObject, ObjectMissing, StorageError

__all__ = ["OtherStoreSource"]

_SMALL_BYTES: Final = 1 << 20
"""The maximum size of an object that is read in a batch."""


class OtherStoreSource:
    """The objects of another open store."""

    def __init__(self, store: EventStore, storage: ActorRef[StorageRole]) -> None:
        self._store = store
        self._storage = storage

    @property
    def name(self) -> str:
        """The database of the store."""
        return self._store.name

    async def prepare(self, wanted: Sequence[NamedObject]) -> None:
        """Do nothing: the other log says where contents are."""

    async def find(self, batch: Sequence[NamedObject]) -> Found:
        """Return the contents that the other log names. Small ones are read already."""
        known = await self._known(batch)
        small = [(each, at) for each, at in known if each.size_bytes <= _SMALL_BYTES]
        offers = [Offer(each, partial(self._open, at)) for each, at in known if each.size_bytes > _SMALL_BYTES]
        refused = 0
        message = ReadObjects(tuple(at for _each, at in small))
        contents = await self._storage.ask(message, timeout=NO_TIME_LIMIT)
        for (each, at), content in zip(small, contents, strict=True):
            if isinstance(content, bytes):
                offers.append(Offer(each, FileSource(at.place.object_key, None, each.digests, content)))
            else:
                refused += is_refused(content)
        return Found(offers, refused)

    async def check(self, batch: Sequence[NamedObject]) -> tuple[Sequence[NamedObject], int]:
        """Read the contents in the other store, and return those with both digests."""
        known = await self._known(batch)
        message = VerifyObjects(tuple(at for _each, at in known))
        results = await self._storage.ask(message, timeout=NO_TIME_LIMIT)
        sound = [each for (each, _at), result in zip(known, results, strict=True) if result.digests == each.digests]
        missing = sum(result.status == "missing" for result in results)
        return sound, len(known) - len(sound) - missing

    async def _known(self, batch: Sequence[NamedObject]) -> list[tuple[NamedObject, KnownObject]]:
        found = await self._store.known_objects({each.address for each in batch})
        return [(each, at) for each in batch if (at := found.get(each.address)) and at.size_bytes == each.size_bytes]

    @asynccontextmanager
    async def _open(self, known: KnownObject) -> AsyncGenerator[Stream[bytes]]:
        stream = await self._storage.ask(ServeObject(known), timeout=NO_TIME_LIMIT)
        try:
            yield stream
        finally:
            stream.close()


def is_refused(error: StorageError) -> bool:
    """Return whether an error means that the source has other bytes, and not that it has none."""
    return not isinstance(error, ObjectMissing)
