"""The steps that every ingest is made of: bytes to StorageActor, commands to EventWriter, and what may be left out."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, starmap
from typing import NamedTuple

from artifactstore.event_writer import COMMIT_TIMEOUT_S
from artifactstore.ids import new_id
from artifactstore.ingest.resuming import Note, untouched
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
)
from artifactstore_protocols.dataplane import FileSource, IngestResult
from artifactstore_protocols.entries import Entry, Place, StoredObject, directory_entry, file_entry, link_entry
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.events import Committed
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.media_types import media_type_of
from artifactstore_protocols.messages import Commit, StatObjects, StorageRole, StoreFiles, WriterRole
from artifactstore_protocols.records import FileRecord

__all__ = ["IngestedFile", "Steps", "batches", "ingest_command", "ingested", "links_and_directories"]

_BATCH_BYTES = 64 << 20


class IngestedFile(NamedTuple):
    """A file that is stored: its entry, and the proof for its content."""

    entry: Entry
    stored: StoredObject


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

    async def store_batch(self, root: str, batch: Sequence[ScannedFile]) -> tuple[IngestedFile, ...]:
        """Store the files of a directory that make up one transaction."""
        results = await self.store_files([FileSource(file.source, root) for file in batch])
        return tuple(
            ingested(file.path, file.executable, media_type_of(file.path), result)
            for file, result in zip(batch, results, strict=True)
        )

    async def store_files(self, sources: Sequence[FileSource]) -> list[IngestResult]:
        """Store files, or raise the first one's error; what was stored then is in no package, and costs only space."""
        stored: list[IngestResult] = []
        answers = await self._storage.ask(StoreFiles(tuple(sources), await self.flagged()), timeout=NO_TIME_LIMIT)
        for answer in answers:
            if isinstance(answer, ArtifactStoreError):
                raise answer
            stored.append(answer)
        return stored

    async def flagged(self) -> Mapping[ContentAddress, Place]:
        """Return where objects are that are known to be flawed; their contents are stored again when they come by."""
        known = await self._store.known_objects(await self._store.flagged_addresses())
        return {address: each.place for address, each in known.items()}

    async def kept(
        self, package_id: str, scanned: Sequence[ScannedFile], notes: Mapping[str, Note]
    ) -> dict[str, FileRecord]:
        """The files of a directory that the package has from an interrupted run, and that nobody has touched since.

        Their objects are there, by name and size; they were hashed when they were read.
        """
        if not notes:
            return {}
        records = {record.path: record for record in await self._store.files(package_id)}
        found = untouched(scanned, notes, records)
        flagged = await self._store.flagged_addresses()
        addresses = {ContentAddress.parse(record.content_address) for record in found.values()} - flagged
        known = tuple((await self._store.known_objects(addresses)).values())
        sizes = await self._storage.ask(StatObjects(known), timeout=NO_TIME_LIMIT)
        sound = {str(each.address) for each, size in zip(known, sizes, strict=True) if size == each.size_bytes}
        return {path: record for path, record in found.items() if record.content_address in sound}


def ingested(path: str, executable: bool, media_type: str, result: IngestResult) -> IngestedFile:
    """Return a file that is stored."""
    receipt = result.receipt
    digest = bytes.fromhex(result.digests.primary.hex)
    stored = StoredObject(
        digest,
        bytes.fromhex(result.digests.sha256.hex),
        result.size_bytes,
        Place(receipt.backend_id, receipt.object_key),
        receipt.retrieval_tier,
        receipt.restore_status,
        receipt.outcome,
    )
    return IngestedFile(file_entry(path, executable, media_type, result.size_bytes, digest), stored)


def ingest_command(
    package_id: str, files: Sequence[IngestedFile], on_existing: OnExisting, others: tuple[Entry, ...] = ()
) -> IngestFiles:
    """Return the command that puts stored files, and entries that are no files, into a package."""
    entries = (*(file.entry for file in files), *others)
    return IngestFiles(package_id, entries, tuple(file.stored for file in files), on_existing)


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
        entry = entry_bytes(file_entry(file.path, file.executable, media_type_of(file.path), 0, b""))
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
