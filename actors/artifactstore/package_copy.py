"""Copy of a finalized package to another store, with the same name, metadata, retention class, entries and tree digest.

Before anything is written, the entries are compared with the tree digest that the finalization recorded. Contents that
the other store has are not read. Each of the others is compared with its digest when it is read, and again when it is
stored. Before the copy is finalized, its entries are compared with the package's tree digest.

The idempotency key of the copy follows from the manifest digest of the package. So a repeated call continues an
interrupted copy, or finds the finished one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from artifactstore.environment import in_thread
from artifactstore.ingest.steps import IngestedFile, Steps, ingest_command, ingested
from artifactstore.package_export.reading import Read, ReadMany
from artifactstore.supervision import NO_TIME_LIMIT, ActorRef
from artifactstore_protocols import manifest
from artifactstore_protocols.commands import ENTRIES_BYTES_MAX, ENTRIES_MAX, OnExisting, entry_bytes
from artifactstore_protocols.dataplane import FileSource, IngestResult
from artifactstore_protocols.entries import Entry, Place, directory_entry, file_entry, link_entry
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.event_types import PackageCreated
from artifactstore_protocols.events import IdempotencyConflict
from artifactstore_protocols.identity import PRIMARY_ALGORITHM, ContentAddress, ContentDigests
from artifactstore_protocols.messages import StatObjects, StorageRole, StoreStream, WriterRole
from artifactstore_protocols.packages import NotFinalized, PackageFinalizedAlready
from artifactstore_protocols.records import CopyReport, FileRecord, IngestProgress, PackageRecord
from artifactstore_protocols.storage import StorageError

if TYPE_CHECKING:
    from artifactstore.registry import Registry

__all__ = ["CopyDiffers", "OtherStore", "SameStore", "copy_package", "original"]

_SMALL_BYTES: Final = 1 << 20
"""Maximum size of an object that is read in a batch."""

_BATCH_BYTES: Final = 8 << 20


@dataclass(eq=False)
class SameStore(ArtifactStoreError):
    """A package would be copied into the store that it is in.

    Attributes:
        store: the database of the store.
    """

    store: str
    template = "{self.store} is the database of both stores; name another store to copy to"


@dataclass(eq=False)
class CopyDiffers(ArtifactStoreError):
    """The entries of a package do not have its tree digest, so no copy of it was finalized.

    Attributes:
        package_id: the package, which is the original or the copy.
        tree_digest: the tree digest that it should have.
        found: the tree digest that its entries have.
    """

    package_id: str
    tree_digest: str
    found: str
    template = (
        "the entries of package {self.package_id} have tree digest {self.found}, not {self.tree_digest}; "
        "no copy was finalized: run `artifactstore replay` in its store, then copy again"
    )


class OtherStore(NamedTuple):
    """The store that a package is copied to."""

    registry: "Registry"
    store: EventStore
    storage: ActorRef[StorageRole]
    writer: ActorRef[WriterRole]


class Original(NamedTuple):
    """A package that can be copied: it is finalized, and its entries have its tree digest."""

    package: PackageRecord
    entries: Sequence[FileRecord]
    manifest_digest: str
    tree_digest: str


async def original(store: EventStore, package_id: str) -> Original:
    """Read a package that is to be copied.

    Raises:
        NotFinalized: the package is open.
        CopyDiffers: its entries do not have its tree digest.
    """
    package, entries = await store.files(package_id)
    if package.manifest_digest is None or package.tree_digest is None:
        raise NotFinalized(package_id)
    await _check_tree(package_id, entries, package.tree_digest)
    return Original(package, entries, package.manifest_digest, package.tree_digest)


async def copy_package(
    store: EventStore,
    source: Original,
    other: OtherStore,
    read: Read,
    read_many: ReadMany,
    principal: str,
    progress: Callable[[IngestProgress], None] | None,
) -> CopyReport:
    """Copy a package to another store.

    Raises:
        SameStore: both stores are one.
        CopyDiffers: the copy does not have the tree digest. It stays open.
        ObjectMissing, ObjectDamaged: an object cannot be copied. The copy stays open, and a repeated call continues it.
    """
    package, entries = source.package, source.entries
    store_id = (await store.probe()).store_id
    if store_id is not None and store_id == (await other.store.probe()).store_id:
        raise SameStore(store.name)
    opened = await _opened(source, other, principal)
    copy = _Copy(opened.package_id, entries, other, read, read_many, principal, progress)
    with suppress(PackageFinalizedAlready):  # by another call that made the same copy
        await copy.fill()
    _record, copied = await other.store.files(opened.package_id)
    await _check_tree(opened.package_id, copied, source.tree_digest)
    finalized = await other.registry.finalize_package(opened.package_id, principal=principal)
    return CopyReport(
        package_id=finalized.package_id,
        copied_from=package.package_id,
        name=finalized.name,
        manifest_digest=finalized.manifest_digest,
        tree_digest=finalized.tree_digest,
        files=finalized.files,
        links=finalized.links,
        directories=finalized.directories,
        bytes=finalized.bytes,
        new_objects=copy.new_objects,
        new_bytes=copy.new_bytes,
        sequence=finalized.sequence,
    )


async def _opened(source: Original, other: OtherStore, principal: str) -> PackageRecord:
    """Create the copy, or find the one that an earlier call created, also for another principal.

    Raises:
        IdempotencyConflict: somebody used the key for something else.
    """
    package = source.package
    try:
        return await other.registry.create_package(
            package.name,
            retention=package.retention_class,
            metadata=package.metadata,
            principal=principal,
            idempotency_key=f"copy of {source.manifest_digest}",
        )
    except IdempotencyConflict as conflict:  # the principal is a part of what a key means
        found = await other.store.read_events(after=conflict.sequence - 1, limit=1)
        if not found or not isinstance(found[0].decode(), PackageCreated):
            raise
        record = await other.store.package(found[0].event.subject)
        made = record.name, record.retention_class, record.metadata
        if made != (package.name, package.retention_class, package.metadata):
            raise
        return record


async def _check_tree(package_id: str, entries: Sequence[FileRecord], tree_digest: str) -> None:
    """Raise `CopyDiffers` if entries do not have a tree digest."""
    found = await in_thread(partial(_tree_digest, entries))
    if found != tree_digest:
        raise CopyDiffers(package_id, tree_digest, found)


def _tree_digest(entries: Sequence[FileRecord]) -> str:
    algorithms = {_address(each).digest.algorithm for each in entries if each.kind == "file"}
    digest = manifest.tree_digest(map(_manifest_entry, entries), min(algorithms, default=PRIMARY_ALGORITHM))
    return str(ContentAddress(digest))


def _manifest_entry(entry: FileRecord) -> manifest.Entry:
    if entry.kind == "link":
        return manifest.LinkEntry("link", entry.path, entry.target)
    if entry.kind == "directory":
        return manifest.DirectoryEntry("directory", entry.path)
    digests = _digests(entry)
    return manifest.FileEntry(
        "file",
        entry.path,
        entry.executable,
        entry.size_bytes,
        entry.media_type,
        digests.primary.raw,
        digests.sha256.raw,
    )


def _address(entry: FileRecord) -> ContentAddress:
    return ContentAddress.parse(entry.content_address)


def _digests(entry: FileRecord) -> ContentDigests:
    return ContentDigests(_address(entry).digest, ContentAddress.parse(entry.sha256).digest)


def _entry(record: FileRecord) -> Entry:
    """Return the entry that an ingest of this record would add."""
    if record.kind == "link":
        return link_entry(record.path, record.target)
    if record.kind == "directory":
        return directory_entry(record.path)
    digest = _address(record).digest.raw
    return file_entry(record.path, record.executable, record.media_type, record.size_bytes, digest)


class _Copy:
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
            others = tuple(_entry(entry) for entry in batch if entry.kind != "file")
            stored = await self._stored(batch_files, flagged)
            command = partial(ingest_command, self._package_id, on_existing=OnExisting.RESUME, others=others)
            await self._steps.put(stored, lambda _index: None, command, self._principal)
            size_bytes = sum(file.size_bytes for file in batch_files)
            done = replace(done, files=done.files + len(batch_files), bytes=done.bytes + size_bytes)
            if self._progress is not None:
                self._progress(done)

    async def _stored(self, files: Sequence[FileRecord], flagged: Mapping[ContentAddress, Place]) -> list[IngestedFile]:
        """Store the contents that the other store lacks, and return all files."""
        contents = {_address(file): file for file in files}
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
            IngestedFile(_entry(file), None)
            if (result := results.get(_address(file))) is None
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
            sources.append(FileSource(file.path, None, _digests(file), content))
        return dict(zip(small, await self._steps.store_files(sources, flagged), strict=True))


def _batches(entries: Sequence[FileRecord]) -> Iterator[list[FileRecord]]:
    """Yield entries in batches for one command each, limited by their count and size and by the bytes of contents."""
    batch, contents, size = list[FileRecord](), 0, 0
    for record in entries:
        entry_size = entry_bytes(_entry(record))
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
