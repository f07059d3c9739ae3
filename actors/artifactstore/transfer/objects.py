"""The objects that a log names, listed from its events or from the projection, and their flaws."""

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Literal, cast

from msgspec import Struct
from msgspec.structs import replace

from artifactstore.supervision import NO_TIME_LIMIT, ActorRef
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.event_types import (
    CONTENTS_PURGED,
    FILES_INGESTED,
    OBJECTS_RETIRED,
    OBJECTS_STORED,
    ContentsPurged,
    FilesIngested,
    ObjectsRetired,
    ObjectsStored,
)
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.identity import ContentAddress, ContentDigests, Digest
from artifactstore_protocols.messages import StatObjects, StorageRole
from artifactstore_protocols.records import FlawedObject, ObjectFlaws
from artifactstore_protocols.storage import KnownObject, Place

__all__ = [
    "Flaw",
    "FlawNotes",
    "NamedObject",
    "batches_of",
    "flawed_objects",
    "flaws_by_size",
    "named_by",
    "objects_in_projection",
    "retired_by",
]

_FLAWS_NAMED = 100
_FILES_NAMED = 3
_PAGE = 2000

type Flaw = Literal["damaged", "missing"]


class NamedObject(Struct, frozen=True):
    """An object as a log names it.

    Attributes:
        digests: the BLAKE3 and SHA-256 digests of the content.
        size_bytes: the length of the content in bytes.
        place: the backend and the key that the log names.
        files: some files with this content, as `package id/path`, for people.
    """

    digests: ContentDigests
    size_bytes: int
    place: Place
    files: tuple[str, ...] = ()

    @property
    def address(self) -> ContentAddress:
        """The content address."""
        return self.digests.content_address

    @property
    def known(self) -> KnownObject:
        """The address, the size and the place, as requests to the data plane name an object."""
        return KnownObject(self.address, self.size_bytes, self.place)


def named_by(events: Iterable[StoredEvent]) -> tuple[NamedObject, ...]:
    """Return the objects that some events name, one for each place. A content with two places is listed twice."""
    named: dict[Place, NamedObject] = {}
    files: dict[bytes, str] = {}
    # Events of other types name no objects, or only those that these events have named. A manifest is slow to decode.
    for stored in events:
        if stored.event.type == OBJECTS_STORED.name:
            objects = cast("ObjectsStored", stored.decode())
            for digest, sha256, size_bytes, place, *_ in objects.objects:
                digests = ContentDigests(Digest(objects.digest_algorithm, digest.hex()), Digest("sha256", sha256.hex()))
                named.setdefault(place, NamedObject(digests, size_bytes, place))
        elif stored.event.type == FILES_INGESTED.name:
            ingested = cast("FilesIngested", stored.decode())
            for entry in ingested.entries:
                files.setdefault(entry.digest, f"{ingested.package_id}/{entry.path}")
    return tuple(
        replace(each, files=(files[each.address.digest.raw],)) if each.address.digest.raw in files else each
        for each in named.values()
    )


def retired_by(events: Iterable[StoredEvent]) -> frozenset[Place]:
    """Return the places that some events retire. No object is kept at them."""
    retired = (
        cast("ObjectsRetired | ContentsPurged", stored.decode())
        for stored in events
        if stored.event.type in {OBJECTS_RETIRED.name, CONTENTS_PURGED.name}
    )
    return frozenset(place for payload in retired for place in payload.objects)


async def objects_in_projection(store: EventStore) -> AsyncGenerator[tuple[NamedObject, ...]]:
    """Yield pages of all objects that the projection lists, in order of content address."""
    after = ""
    while page := await store.locations(package_id=None, after=after, limit=_PAGE):
        yield tuple(
            NamedObject(
                ContentDigests(ContentAddress.parse(each.content_address).digest, Digest("sha256", each.digest_sha256)),
                each.size_bytes,
                each.known.place,
            )
            for each in page
        )
        after = page[-1].content_address


def batches_of(named: Sequence[NamedObject], *, count_max: int, bytes_max: int) -> Iterator[list[NamedObject]]:
    """Yield the objects in batches within these limits. An object larger than `bytes_max` is a batch alone."""
    batch, size_bytes = list[NamedObject](), 0
    for each in named:
        if batch and (len(batch) == count_max or size_bytes + each.size_bytes > bytes_max):
            yield batch
            batch, size_bytes = [], 0
        batch.append(each)
        size_bytes += each.size_bytes
    if batch:
        yield batch


class FlawNotes:
    """A collection of flaws: the count of each kind, and the first 100 objects of each kind."""

    def __init__(self) -> None:
        self._counts: dict[Flaw, int] = {"damaged": 0, "missing": 0}
        self._first: dict[Flaw, list[FlawedObject]] = {"damaged": [], "missing": []}

    async def add(self, flaw: Flaw, named: NamedObject, store: EventStore | None = None) -> None:
        """Note a flaw. If `named` has no files, look up the files with this content in `store`."""
        self._counts[flaw] += 1
        if len(self._first[flaw]) < _FLAWS_NAMED:
            files = named.files
            if store is not None and not files:
                files = tuple(await store.files_with_content(str(named.address), limit=_FILES_NAMED))
            self._first[flaw].append(FlawedObject(str(named.address), named.size_bytes, files))

    def result(self) -> ObjectFlaws:
        """Return the flaws, in order of content address."""
        damaged, missing = (
            tuple(sorted(self._first[flaw], key=lambda each: each.content_address)) for flaw in ("damaged", "missing")
        )
        return ObjectFlaws(self._counts["damaged"], self._counts["missing"], damaged, missing)


def flaws_by_size(named: Sequence[NamedObject], found: Sequence[int | None]) -> tuple[Flaw | None, ...]:
    """Return the flaw of each object according to its size in storage; None if the size is right."""
    return tuple(
        "missing" if size_bytes is None else "damaged" if size_bytes != each.size_bytes else None
        for each, size_bytes in zip(named, found, strict=True)
    )


async def flawed_objects(store: EventStore, storage: ActorRef[StorageRole]) -> ObjectFlaws:
    """Return the objects that the log of a store names and its storage lacks or has in another size."""
    notes = FlawNotes()
    async with aclosing(objects_in_projection(store)) as pages:
        async for named in pages:
            found = await storage.ask(StatObjects(tuple(each.known for each in named)), timeout=NO_TIME_LIMIT)
            for each, flaw in zip(named, flaws_by_size(named, found), strict=True):
                if flaw is not None:
                    await notes.add(flaw, each, store)
    return notes.result()
