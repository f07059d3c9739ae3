"""The filling of a copy: entries that it lacks, and contents that its store lacks, batch by batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from artifactstore.ingest.steps import IngestedFile, Steps, ingest_command, ingested
from artifactstore.package_copy.original import address_of, digests_of, entry_of
from artifactstore.package_export.reading import Read, ReadMany
from artifactstore.supervision import NO_TIME_LIMIT, ActorRef
from artifactstore_protocols.commands import ENTRIES_BYTES_MAX, ENTRIES_MAX, OnExisting, entry_bytes
from artifactstore_protocols.dataplane import FileSource, IngestResult
from artifactstore_protocols.entries import Place
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.messages import StatObjects, StorageRole, StoreStream, WriterRole
from artifactstore_protocols.packages import PackageFinalizedAlready
from artifactstore_protocols.records import FileRecord, IngestProgress
from artifactstore_protocols.storage import StorageError

if TYPE_CHECKING:
    from artifactstore.registry import Registry

__all__ = ["Filling", "OtherStore"]

_SMALL_BYTES: Final = 1 << 20
"""Maximum size of an object that is read in a batch."""

_BATCH_BYTES: Final = 8 << 20


class OtherStore(NamedTuple):
    """The store that a package is copied to."""

    registry: "Registry"
    store: EventStore
    storage: ActorRef[StorageRole]
    writer: ActorRef[WriterRole]


class Filling:
    """The filling of one copy.

    Attributes:
        new_objects: number of contents that were stored.
        new_bytes: their total size.
    """

    def __init__(
        self,
        package_id: str,
        entries: Sequence[FileRecord],
        other: OtherStore,
        read: Read,
        read_many: ReadMany,
        principal: str,
        progress: Callable[[IngestProgress], None] | None,
    ) -> None:
        self._package_id = package_id
        self._entries = entries
        self._other = other
        self._steps = Steps(other.store, other.storage, other.writer)
        self._read = read
        self._read_many = read_many
        self._principal = principal
        self._progress = progress
        self.new_objects = self.new_bytes = 0

    async def fill(self) -> None:
        """Put the entries that the copy lacks into it, batch by batch.

        Raises:
            PackageFinalizedAlready: the copy is finalized.
        """
        record, there = await self._other.store.files(self._package_id)
        if record.status != "open":
            raise PackageFinalizedAlready(self._package_id)
        paths = {entry.path for entry in there}
        files = [entry for entry in self._entries if entry.kind == "file"]
        done = IngestProgress(0, len(files), 0, sum(file.size_bytes for file in files))
        flagged = await self._steps.flagged()
        for batch in _batches([entry for entry in self._entries if entry.path not in paths]):
            batch_files = [entry for entry in batch if entry.kind == "file"]
            others = tuple(entry_of(entry) for entry in batch if entry.kind != "file")
            stored = await self._stored(batch_files, flagged)
            command = partial(ingest_command, self._package_id, on_existing=OnExisting.RESUME, others=others)
            await self._steps.put(stored, lambda _index: None, command, self._principal)
            size_bytes = sum(file.size_bytes for file in batch_files)
            done = replace(done, files=done.files + len(batch_files), bytes=done.bytes + size_bytes)
            if self._progress is not None:
                self._progress(done)

    async def _stored(self, files: Sequence[FileRecord], flagged: Mapping[ContentAddress, Place]) -> list[IngestedFile]:
        """Store the contents that the other store lacks, and return all files."""
        contents = {address_of(file): file for file in files}
        sound = await self._sound(contents.keys() - flagged.keys())
        lacking = {address: file for address, file in contents.items() if address not in sound}
        small = {address: file for address, file in lacking.items() if file.size_bytes <= _SMALL_BYTES}
        results = await self._store_small(small, flagged)
        for address, file in lacking.items():
            if address not in small:
                async with self._read(file.content_address) as chunks:
                    message = StoreStream(chunks, file.size_bytes, flagged)
                    results[address] = await self._other.storage.ask(message, timeout=NO_TIME_LIMIT)
        self.new_objects += len(lacking)
        self.new_bytes += sum(file.size_bytes for file in lacking.values())
        return [
            IngestedFile(entry_of(file), None)
            if (result := results.get(address_of(file))) is None
            else ingested(file.path, file.executable, file.media_type, result)
            for file in files
        ]

    async def _sound(self, addresses: set[ContentAddress]) -> set[ContentAddress]:
        """Return the contents whose objects the other store's log names and its storage holds."""
        known = tuple((await self._other.store.known_objects(addresses)).values()) if addresses else ()
        sizes = await self._other.storage.ask(StatObjects(known), timeout=NO_TIME_LIMIT)
        return {each.address for each, size in zip(known, sizes, strict=True) if size == each.size_bytes}

    async def _store_small(
        self, small: Mapping[ContentAddress, FileRecord], flagged: Mapping[ContentAddress, Place]
    ) -> dict[ContentAddress, IngestResult]:
        if not small:
            return {}
        sources: list[FileSource] = []
        contents = await self._read_many([file.content_address for file in small.values()])
        for file, content in zip(small.values(), contents, strict=True):
            if isinstance(content, StorageError):
                raise content
            sources.append(FileSource(file.path, None, digests_of(file), content))
        return dict(zip(small, await self._steps.store_files(sources, flagged), strict=True))


def _batches(entries: Sequence[FileRecord]) -> Iterator[list[FileRecord]]:
    """Yield entries in batches for one command each, limited by their count and size and by the bytes of contents."""
    batch, contents, size = list[FileRecord](), 0, 0
    for record in entries:
        entry_size = entry_bytes(entry_of(record))
        content = record.size_bytes if record.size_bytes <= _SMALL_BYTES else 0
        full = len(batch) == ENTRIES_MAX or size + entry_size > ENTRIES_BYTES_MAX or contents + content > _BATCH_BYTES
        if batch and full:
            yield batch
            batch, contents, size = [], 0, 0
        batch.append(record)
        size += entry_size
        contents += content
    if batch:
        yield batch
