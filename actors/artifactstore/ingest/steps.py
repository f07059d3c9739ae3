"""The steps that every ingest is made of: bytes to StorageActor, commands to EventWriter, and what need not be read."""

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

__all__ = ["IngestedFile", "Steps", "batches", "ingest_command", "ingested", "links_and_directories", "runs"]

_BATCH_BYTES = 64 << 20
BATCHES_TOGETHER = 4
"""Batches that are stored by one transaction and committed by another. A transaction touches most pages of every index
over digests, however few rows it has, so that fewer of them write much less."""

_COMMITS_TRIED = 8
"""How often a command may be refused because of an object that was flagged or retired meanwhile."""


class IngestedFile(NamedTuple):
    """A file whose content is in the store: its entry, and the proof if this ingest stored it; None if it was there."""

    entry: Entry
    stored: StoredObject | None


class Steps:
    """Asks the other actors on behalf of an ingest.

    Args:
        store: for reading views.
        storage: where bytes go.
        writer: where commands go.
    """

    def __init__(self, store: EventStore, storage: ActorRef[StorageRole], writer: ActorRef[WriterRole]) -> None:
        self._store = store
        self._storage = storage
        self._writer = writer

    async def commit(self, command: Command, actor: str, idempotency_key: str | None) -> Committed:
        """Have a command committed."""
        return await self._writer.ask(
            Commit(CommandRequest(new_id(), command, actor, idempotency_key)), timeout=COMMIT_TIMEOUT_S
        )

    async def store_batch(
        self, root: str, batch: Sequence[ScannedFile], cache: FilesCache, flagged: Mapping[ContentAddress, Place]
    ) -> tuple[IngestedFile, ...]:
        """Store some files of a directory in one transaction, but those that are known to be there.

        Args:
            root: the directory.
            batch: the files.
            cache: what they held when they were read.
            flagged: as `flagged` returned it.
        """
        there = await self._there(batch, cache, flagged)
        sources = [FileSource(file.source, root) for file in batch if file.stamp not in there]
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
        """Store files, or raise the first one's error; what was stored then is in no package, and costs only space."""
        stored: list[IngestResult] = []
        for answer in await self._storage.ask(StoreFiles(tuple(sources), flagged), timeout=NO_TIME_LIMIT):
            if isinstance(answer, ArtifactStoreError):
                raise answer
            stored.append(answer)
        return stored

    async def flagged(self) -> Mapping[ContentAddress, Place]:
        """Return where contents are stored again, when they come by, whose objects are known to be flawed."""
        return await self._store.flagged_objects()

    async def put(
        self,
        files: Sequence[IngestedFile],
        source_of: Callable[[int], FileSource | None],
        command_of: Callable[[Sequence[IngestedFile]], IngestFiles],
        actor: str,
        idempotency_key: str | None = None,
    ) -> tuple[Committed, Sequence[IngestedFile]]:
        """Put stored files into a package. Returns what was committed, and the files as they are stored then.

        An object may have been flagged or retired since its bytes were stored: the log refuses the command, the content
        is stored under its next key, from its source or else from the object itself, and the command is tried again.

        Raises:
            ObjectsNotStored: one that came as a stream is retired, and its bytes are gone.
        """
        for tries_left in count(_COMMITS_TRIED - 1, -1):
            try:
                return await self.commit(command_of(files), actor, idempotency_key), files
            except ObjectsNotStored as refused:
                if not tries_left:
                    raise
                files = await self._stored_again(files, source_of, refused)
        raise AssertionError("a count has an end")

    async def _stored_again(
        self, files: Sequence[IngestedFile], source_of: Callable[[int], FileSource | None], refused: ObjectsNotStored
    ) -> list[IngestedFile]:
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
        """The digests, by stamp, of files that nobody has touched since they were read and whose objects are there.

        The log has to name the objects, and the storage to hold them, both with the size of the file.
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
    """Return a file that was stored."""
    receipt = result.receipt
    digest = result.digests.primary.raw
    stored = StoredObject(
        digest,
        result.digests.sha256.raw,
        result.size_bytes,
        Place(receipt.backend_id, receipt.object_key),
        receipt.retrieval_tier,
        receipt.restore_status,
    )
    return IngestedFile(file_entry(path, executable, media_type, result.size_bytes, digest), stored)


def ingest_command(
    package_id: str, files: Sequence[IngestedFile], on_existing: OnExisting, others: tuple[Entry, ...] = ()
) -> IngestFiles:
    """Return the command that puts files, and entries that are no files, into a package."""
    entries = (*(file.entry for file in files), *others)
    stored = tuple(file.stored for file in files if file.stored is not None)
    return IngestFiles(package_id, entries, stored, on_existing)


def links_and_directories(scan: Scan) -> Iterator[tuple[Entry, ...]]:
    """Runs of the links and empty directories of a scan, each for one transaction: limited by count and by bytes."""
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
    """Runs of files that are worth one transaction: limited by count and by bytes, at least one file each."""
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
    """Runs of `batches` that are stored together: limited by count and by bytes, at least one batch each."""
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
