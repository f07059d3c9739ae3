"""The steps of an ingest: StorageActor stores bytes, EventWriter commits commands, unchanged files are skipped."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain, count, starmap
from typing import NamedTuple

from artifactstore.event_writer import COMMIT_TIMEOUT_S
from artifactstore.ids import new_id
from artifactstore.ingest.files_cache import FilesCache
from artifactstore.ingest.scan import Scan, ScannedFile
from artifactstore.supervision import NO_TIME_LIMIT, ActorRef
from artifactstore_protocols.commands import (
    ENTRIES_BYTES_MAX,
    ENTRIES_MAX,
    Command,
    CommandRequest,
    IngestFiles,
    OnExisting,
    entry_bytes,
    file_entry_bytes,
)
from artifactstore_protocols.dataplane import FileSource, IngestResult
from artifactstore_protocols.entries import Entry, Place, StoredObject, directory_entry, file_entry, link_entry
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.events import Committed
from artifactstore_protocols.identity import PRIMARY_ALGORITHM, ContentAddress, Digest
from artifactstore_protocols.media_types import media_type_of
from artifactstore_protocols.messages import (
    Commit,
    ServeObject,
    StatObjects,
    StorageRole,
    StoreFiles,
    StoreStream,
    WriterRole,
)
from artifactstore_protocols.packages import ObjectsNotStored
from artifactstore_protocols.storage import KnownObject, ObjectDamaged, ObjectMissing

__all__ = [
    "IngestedFile",
    "Steps",
    "batches",
    "ingest_command",
    "ingested",
    "links_and_directories",
    "runs",
    "stored_object",
]

_BATCH_BYTES = 64 << 20
BATCHES_TOGETHER = 4
"""Number of batches that one transaction stores and another commits. A transaction touches most pages of every index
over digests, however few rows it has, so that fewer transactions write much less."""

_COMMITS_TRIED = 8
"""Maximum number of attempts to commit a command whose objects are flagged or retired meanwhile."""


class IngestedFile(NamedTuple):
    """A stored file: its entry, and the object if this ingest stored it; None if the object existed before."""

    entry: Entry
    stored: StoredObject | None


class Steps:
    """The calls of an ingest to the other actors.

    Args:
        store: the event store, for reading views.
        storage: the actor that stores bytes.
        writer: the actor that commits commands.
    """

    def __init__(self, store: EventStore, storage: ActorRef[StorageRole], writer: ActorRef[WriterRole]) -> None:
        self._store = store
        self._storage = storage
        self._writer = writer

    async def commit(self, command: Command, principal: str, idempotency_key: str | None) -> Committed:
        """Have EventWriter commit a command, and return the commit."""
        return await self._writer.ask(
            Commit(CommandRequest(new_id(), command, principal, idempotency_key)), timeout=COMMIT_TIMEOUT_S
        )

    async def store_batch(
        self,
        source_of: Callable[[ScannedFile], FileSource],
        batch: Sequence[ScannedFile],
        cache: FilesCache,
        flagged: Mapping[ContentAddress, Place],
    ) -> tuple[IngestedFile, ...]:
        """Store scanned files in one transaction; skip unchanged files whose objects are stored.

        Args:
            source_of: returns where the content of a file is.
            batch: the files.
            cache: the files cache of the sources.
            flagged: the result of `flagged`.
        """
        there = await self._there(batch, cache, flagged)
        sources = [source_of(file) for file in batch if file.stamp not in there]
        results = iter(await self.store_files(sources, flagged) if sources else ())
        files: list[IngestedFile] = []
        for file in batch:
            media_type = media_type_of(file.path)
            if (digest := there.get(file.stamp)) is None:
                files.append(ingested(file.path, file.executable, media_type, next(results)))
            else:
                entry = file_entry(file.path, file.executable, media_type, file.size_bytes, digest)
                files.append(IngestedFile(entry, None))
        return tuple(files)

    async def store_files(
        self, sources: Sequence[FileSource], flagged: Mapping[ContentAddress, Place]
    ) -> list[IngestResult]:
        """Store files, or raise the first error. After an error, stored objects are in no package but use space."""
        stored: list[IngestResult] = []
        for answer in await self._storage.ask(StoreFiles(tuple(sources), flagged), timeout=NO_TIME_LIMIT):
            if isinstance(answer, ArtifactStoreError):
                raise answer
            stored.append(answer)
        return stored

    async def flagged(self) -> Mapping[ContentAddress, Place]:
        """Return the contents whose objects are flagged as flawed, each with the place to store it at again."""
        return await self._store.flagged_objects()

    async def put(
        self,
        files: Sequence[IngestedFile],
        source_of: Callable[[int], FileSource | None],
        command_of: Callable[[Sequence[IngestedFile]], IngestFiles],
        principal: str,
        idempotency_key: str | None = None,
    ) -> tuple[Committed, Sequence[IngestedFile]]:
        """Put stored files into a package. Return the commit, and the files as they are stored after it.

        An object can be flagged or retired after its bytes were stored. Then the log rejects the command. This method
        stores the content under its next key, from its source or else from the object itself, and sends the command
        again.

        Raises:
            ObjectsNotStored: a flagged or retired object has no source and cannot be read, or the last attempt failed.
        """
        for tries_left in count(_COMMITS_TRIED - 1, -1):
            try:
                return await self.commit(command_of(files), principal, idempotency_key), files
            except ObjectsNotStored as refused:
                if not tries_left:
                    raise
                files = await self._stored_again(files, source_of, refused)
        raise AssertionError("a count has an end")

    async def _stored_again(
        self, files: Sequence[IngestedFile], source_of: Callable[[int], FileSource | None], refused: ObjectsNotStored
    ) -> list[IngestedFile]:
        """Store the contents of a rejected command at their next places; return the files with the new objects."""
        digests = {address.digest.raw for address in refused.contents}
        wanted = {index: source_of(index) for index, file in enumerate(files) if file.entry.digest in digests}
        found = {index: source for index, source in wanted.items() if source is not None}
        stored = await self.store_files(list(found.values()), refused.next_places) if found else []
        results = dict(zip(found, stored, strict=True))
        for index in wanted.keys() - found.keys():
            results[index] = await self._copied(files[index].stored, refused)
        return [
            ingested(file.entry.path, file.entry.executable, file.entry.media_type, results[index])
            if index in results
            else file
            for index, file in enumerate(files)
        ]

    async def _copied(self, stored: StoredObject | None, refused: ObjectsNotStored) -> IngestResult:
        """Store a content again from its object; raise `refused` if the object cannot be read."""
        if stored is None:
            raise refused
        address = ContentAddress(Digest(PRIMARY_ALGORITHM, stored.digest.hex()))
        try:
            known = KnownObject(address, stored.size_bytes, stored.place)
            with closing(await self._storage.ask(ServeObject(known), timeout=NO_TIME_LIMIT)) as stream:
                copy = StoreStream(stream, stored.size_bytes, refused.next_places)
                return await self._storage.ask(copy, timeout=NO_TIME_LIMIT)
        except (ObjectMissing, ObjectDamaged):
            raise refused from None

    async def _there(
        self, batch: Sequence[ScannedFile], cache: FilesCache, flagged: Mapping[ContentAddress, Place]
    ) -> dict[bytes, bytes]:
        """Return the digests, by stamp, of files that are unchanged since they were read and whose objects are stored.

        The log must name the objects, and the storage must hold them, both with the size of the file.
        """
        cached = {file.stamp: digest for file in batch if (digest := cache.get(file.stamp)) is not None}
        if not cached:
            return {}
        addresses = {ContentAddress(Digest(PRIMARY_ALGORITHM, digest.hex())) for digest in cached.values()}
        known = tuple((await self._store.known_objects(addresses - flagged.keys())).values())
        sizes = await self._storage.ask(StatObjects(known), timeout=NO_TIME_LIMIT)
        sound = {
            (each.address.digest.raw, each.size_bytes)
            for each, size in zip(known, sizes, strict=True)
            if size == each.size_bytes
        }
        return {
            file.stamp: digest
            for file in batch
            if (digest := cached.get(file.stamp)) is not None and (digest, file.size_bytes) in sound
        }


def ingested(path: str, executable: bool, media_type: str, result: IngestResult) -> IngestedFile:
    """Return the stored file that a result of StorageActor describes."""
    stored = stored_object(result)
    return IngestedFile(file_entry(path, executable, media_type, result.size_bytes, stored.digest), stored)


def stored_object(result: IngestResult) -> StoredObject:
    """Return the proof that a content is durable, from the result that has it."""
    receipt = result.receipt
    return StoredObject(
        result.digests.primary.raw,
        result.digests.sha256.raw,
        result.size_bytes,
        Place(receipt.backend_id, receipt.object_key),
        receipt.retrieval_tier,
        receipt.restore_status,
    )


def ingest_command(
    package_id: str, files: Sequence[IngestedFile], on_existing: OnExisting, others: tuple[Entry, ...] = ()
) -> IngestFiles:
    """Return the command that puts files, links and empty directories into a package."""
    entries = (*(file.entry for file in files), *others)
    stored = tuple(file.stored for file in files if file.stored is not None)
    return IngestFiles(package_id, entries, stored, on_existing)


def links_and_directories(scan: Scan) -> Iterator[tuple[Entry, ...]]:
    """Yield the links and empty directories of a scan in batches for one command each, limited by count and bytes."""
    batch: list[Entry] = []
    size = 0
    for entry in chain(starmap(link_entry, scan.links), map(directory_entry, scan.directories)):
        entry_size = entry_bytes(entry)
        if batch and (len(batch) == ENTRIES_MAX or size + entry_size > ENTRIES_BYTES_MAX):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(entry)
        size += entry_size
    if batch:
        yield tuple(batch)


def batches(files: Sequence[ScannedFile]) -> Iterator[list[ScannedFile]]:
    """Yield batches of at least one file for one command each, limited by count and by bytes."""
    batch: list[ScannedFile] = []
    size, entries = 0, 0
    for file in files:
        entry = file_entry_bytes(file.path, media_type_of(file.path))
        if batch and (
            len(batch) == ENTRIES_MAX or size + file.size_bytes > _BATCH_BYTES or entries + entry > ENTRIES_BYTES_MAX
        ):
            yield batch
            batch, size, entries = [], 0, 0
        batch.append(file)
        size += file.size_bytes
        entries += entry
    if batch:
        yield batch


def runs(files: Sequence[ScannedFile]) -> Iterator[list[list[ScannedFile]]]:
    """Yield groups of at least one batch that are stored together, limited by count and by bytes."""
    run: list[list[ScannedFile]] = []
    size = 0
    for batch in batches(files):
        batch_size = sum(file.size_bytes for file in batch)
        if run and (len(run) == BATCHES_TOGETHER or size + batch_size > _BATCH_BYTES):
            yield run
            run, size = [], 0
        run.append(batch)
        size += batch_size
    if run:
        yield run
