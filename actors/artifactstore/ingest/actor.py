"""IngestActor: creates packages, puts files into them, and finalizes them.

The actor decides what to do and in what order. StorageActor stores the bytes, and EventWriter commits the events. A
directory is processed in batches. Each batch is stored first and then committed, so that the store holds every content
that the log names. While one batch is committed, the next ones are stored. If an interrupted ingest is repeated, it
reads only the missing files, as long as the files cache exists.

A package cannot be finalized while this process fills it. Another process can finalize it between two batches. Then the
ingest fails, and the finalized package holds the batches that were committed before.
"""

import logging
import os
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import cast, override

import trio
from msgspec.structs import asdict, replace

from artifactstore.callbacks import thread_safe_callback
from artifactstore.database.errors import OutcomeUnknown
from artifactstore.environment import check_cancelled, in_thread
from artifactstore.ids import new_id, now_us
from artifactstore.ingest.files_cache import FilesCache
from artifactstore.ingest.filling import Seen, fill
from artifactstore.ingest.finalizing import build_manifest, finalized_package, newly_finalized
from artifactstore.ingest.own_files import NOWHERE, OwnFiles, StorePlaces
from artifactstore.ingest.purged import purged_file
from artifactstore.ingest.refusals import SourceInsideStore
from artifactstore.ingest.results import (
    created_package,
    entries_sequence,
    file_record,
    preview_of,
    unreadable_note,
)
from artifactstore.ingest.sources import default_name, gather
from artifactstore.ingest.steps import Steps, ingest_command, ingested
from artifactstore.os_paths import path_bytes
from artifactstore.package_preview import preview_package
from artifactstore.supervision import NO_TIME_LIMIT, Actor, ActorRef, Concurrent, OnCancel, handles
from artifactstore_protocols import canonical, commands
from artifactstore_protocols.canonical import CanonicalValue
from artifactstore_protocols.commands import CreatePackage, OnExisting
from artifactstore_protocols.dataplane import FileSource, SourceOverrun, SourceTruncated
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.events import IdempotencyConflict
from artifactstore_protocols.expiry import ClockDoubtful
from artifactstore_protocols.identity import new_hasher
from artifactstore_protocols.manifest import ManifestInvalid
from artifactstore_protocols.media_types import check_media_type, media_type_of
from artifactstore_protocols.messages import (
    AddDirectory,
    AddFile,
    FinalizePackage,
    IngestRole,
    IngestTree,
    OpenPackage,
    PreviewIngest,
    StorageRole,
    StoreStream,
    WriterRole,
)
from artifactstore_protocols.metadata import UNREADABLE, Metadata
from artifactstore_protocols.packages import AnnotationsChanged, PackageChanged, PackageFinalizedAlready
from artifactstore_protocols.paths import ancestors, check_path, listed_paths, path_key
from artifactstore_protocols.records import (
    DirectoryIngest,
    FileRecord,
    FinalizedPackage,
    IngestPreview,
    IngestProgress,
    IngestSummary,
    PackageRecord,
)
from artifactstore_protocols.retention import check_class_name
from artifactstore_protocols.sources import SourceTree

__all__ = ["IngestActor", "PackageBusy", "check_creation"]

_logger = logging.getLogger("artifactstore.ingest")

_SESSIONS = 64
_FINALIZE_ATTEMPTS = 3


class PackageBusy(ArtifactStoreError):
    """A package cannot be finalized while this process puts files into it."""

    package_id: str
    ingests: int
    template = "package {self.package_id} has {self.ingests} ingest(s) under way; finalize it when they are done"


class IngestActor(Actor[IngestRole]):
    """The actor that turns requests into stored bytes and committed commands.

    Args:
        store: the event store, for reading views.
        storage: the actor that stores bytes.
        writer: the actor that commits commands.
        files_per_package_max: maximum number of files, links and empty directories of one ingested directory.
        places: locations of the store's own files, which are never ingested.
    """

    def __init__(
        self,
        store: EventStore,
        storage: ActorRef[StorageRole],
        writer: ActorRef[WriterRole],
        *,
        files_per_package_max: int,
        places: StorePlaces = NOWHERE,
    ) -> None:
        self._store = store
        self._storage = storage
        self._steps = Steps(store, storage, writer)
        self._files_max = files_per_package_max
        self._places = places
        self._filling: Counter[str] = Counter()

    @override
    def state_summary(self) -> dict[str, str | int]:
        return {"packages being filled": len(self._filling)}

    @handles(OpenPackage, mode=Concurrent(_SESSIONS), on_cancel=OnCancel.COMPLETE)
    async def open_package(self, message: OpenPackage) -> PackageRecord:
        """Create a package."""
        return await self._create(_creation(message), message)

    async def _create(self, command: CreatePackage, message: OpenPackage) -> PackageRecord:
        """Create a package; return its current state if the call is repeated."""
        committed = await self._steps.commit(command, message.principal, message.idempotency_key)
        created = committed.events[0]
        if not committed.repeated:
            _logger.info("package created", extra={"package": created.event.subject})
            return created_package(committed)
        return await self._read_back(self._store.package(created.event.subject))

    @handles(AddFile, mode=Concurrent(_SESSIONS), on_cancel=OnCancel.CANCEL)
    async def add_file(self, message: AddFile) -> FileRecord:
        """Store one file, then put it into its package."""
        commands.check_caller(message.principal, message.idempotency_key)
        check_path(message.path)
        media_type = message.media_type or media_type_of(message.path)
        check_media_type(media_type)
        self._store.must_be_writable()
        with self._fills(message.package_id):
            if message.idempotency_key is None:  # a repeated call succeeds even if the package is finalized now
                await self._require_open(message.package_id)
            executable = message.executable
            if isinstance(message.source, FileSource):
                executes = await in_thread(partial(_examine, message.source, self._places))
                executable = executes if executable is None else executable
                result = (await self._steps.store_files((message.source,), await self._steps.flagged()))[0]
                _check_size(message.expected_size, result.size_bytes)
            else:
                result = await self._storage.ask(
                    StoreStream(message.source, message.expected_size, await self._steps.flagged()),
                    timeout=NO_TIME_LIMIT,
                )
            files = (ingested(message.path, bool(executable), media_type, result),)
            source = message.source if isinstance(message.source, FileSource) else None
            into = partial(ingest_command, message.package_id, on_existing=message.on_existing)
            committed, (file,) = await self._steps.put(
                files, lambda _index: source, into, message.principal, message.idempotency_key
            )
        if sequence := entries_sequence(committed):  # a repeated command has the same entry
            return file_record(message.package_id, sequence, file.entry, result.digests.sha256.raw)
        key = path_key(message.path)
        record = await self._read_back(self._store.file(message.package_id, key))
        written = file_record(message.package_id, committed.sequence, file.entry, result.digests.sha256.raw)
        if record is not None and replace(record, sequence=written.sequence) == written:
            return record
        return written  # a repeated command, and another file has replaced this one since

    @handles(AddDirectory, mode=Concurrent(_SESSIONS), on_cancel=OnCancel.CANCEL)
    async def add_directory(self, message: AddDirectory) -> DirectoryIngest:
        """Put the entries of a directory into an open package."""
        commands.check_caller(message.principal)
        self._store.must_be_writable()
        with self._fills(message.package_id):
            package = await self._require_open(message.package_id)

            async def opened() -> PackageRecord:
                return package

            seen = await self._scan(message.tree, message.progress)
            _check_note(package.metadata, seen)
            async with self._files_cache(seen, wanted=message.files_cache) as cache:
                done = await fill(self._steps, seen, message, opened, message.on_existing, cache)
            await self._note_unreadable(package, seen, message.principal)
        return DirectoryIngest(
            package_id=message.package_id,
            files=len(seen.files),
            links=len(seen.scan.links),
            directories=len(seen.scan.directories),
            bytes=done.bytes,
            unchanged_files=len(seen.files) - done.written,
            reused_files=done.reused,
            excluded=seen.scan.excluded,
            unreadable=seen.scan.unreadable,
            sequence=done.sequence,
        )

    @handles(FinalizePackage, mode=Concurrent(_SESSIONS), on_cancel=OnCancel.COMPLETE)
    async def finalize_package(self, message: FinalizePackage) -> FinalizedPackage:
        """Finalize a package; return the same result if it is finalized already."""
        if busy := self._filling[message.package_id]:
            raise PackageBusy(message.package_id, busy)
        return await self._finalize(message.package_id, message.principal)

    @handles(IngestTree, mode=Concurrent(_SESSIONS), on_cancel=OnCancel.CANCEL)
    async def ingest_tree(self, message: IngestTree) -> IngestSummary:
        """Create a package, fill it from a directory, and finalize it."""
        commands.check_caller(message.principal, message.idempotency_key)
        self._store.must_be_writable()
        name = message.name
        if name is None:
            name = await in_thread(partial(default_name, message.tree.sources))
        seen = await self._scan(message.tree, message.progress)
        _check_note(message.metadata, seen)
        asked = OpenPackage(name, message.retention_class, message.metadata, message.principal, message.idempotency_key)
        asked = replace(asked, schema=message.schema, parents=message.parents)
        creation = _creation(asked)
        identity = _identity(asked, message.tree)
        async with self._files_cache(seen, wanted=message.files_cache) as cache:
            with ExitStack() as filling:
                package: PackageRecord | None = None
                continued = 0

                async def opened() -> PackageRecord:
                    nonlocal package, continued
                    if package is None:
                        package = await self._open_for(seen, creation, asked, identity, cache)
                        continued = package.files if package.status == "open" else 0
                        filling.enter_context(self._fills(package.package_id))
                    return package

                # A package that is created first stays open if filling it fails. With an idempotency key of the caller
                # or of the cache, a repeated call continues it. Without one, the package is created only after its
                # first batch is stored.
                if message.idempotency_key is not None or identity in cache.keys:
                    await self._refuse_excluded(await opened(), seen, message.idempotency_key)
                else:
                    await preview_package(self._store, asked)  # so that a package that is refused leaves no bytes
                # A package of the caller's key may hold other files of the caller, which must not be replaced.
                # A package of the cache's key holds only files of this ingest.
                taken = OnExisting.REPLACE if message.idempotency_key is None else OnExisting.RESUME
                reused = 0
                try:
                    if package is None or package.status == "open":
                        reused = (await fill(self._steps, seen, message, opened, taken, cache)).reused
                        await self._note_unreadable(await opened(), seen, message.principal)
                except PackageFinalizedAlready:
                    if message.idempotency_key is None:
                        raise
                    # Another call with the same key finalized the package first. Both return the same result.
                package_id = (await opened()).package_id
            finalized = await self._finalize(package_id, message.principal)
            cache.keys.pop(identity, None)
        saved = await self._read_back(self._store.deduplicated_bytes(package_id))
        return IngestSummary(
            **asdict(finalized),
            deduplicated_bytes=saved,
            reused_files=reused,
            continued_files=continued,
            excluded=seen.scan.excluded,
            unreadable=seen.scan.unreadable,
        )

    async def _open_for(
        self, seen: Seen, creation: CreatePackage, asked: OpenPackage, identity: str, cache: FilesCache
    ) -> PackageRecord:
        """Return the package to fill: the one of an interrupted ingest if that can continue, or a new one."""
        if asked.idempotency_key is not None or not cache.in_use:
            return await self._create(creation, asked)
        if (key := cache.keys.pop(identity, None)) is not None:
            begun = await self._begun(seen, creation, replace(asked, idempotency_key=key))
            if begun is not None:
                cache.keys[identity] = key
                return begun
        cache.keys[identity] = key = new_id()
        await in_thread(cache.save)  # before the package is created, since only this key finds it again
        return await self._create(_creation(asked), replace(asked, idempotency_key=key))

    async def _begun(self, seen: Seen, creation: CreatePackage, asked: OpenPackage) -> PackageRecord | None:
        """Return the package of a key in the cache, created if missing; None if it cannot become this directory's.

        A package cannot if it is finalized or gone, or if it holds a path that the directory no longer has: no command
        removes an entry from a package.
        """
        try:
            package = await self._create(creation, asked)
        except IdempotencyConflict:  # another command used the key, so this ingest did not write it to the cache
            return None
        if package.is_gone:
            return None
        package, entries = await self._store.files(package.package_id)
        recorded = [entry.path for entry in entries]
        may_go_on = package.status == "open" and set(seen.scan.paths()).issuperset(recorded)
        return package if may_go_on else None

    async def _refuse_excluded(self, package: PackageRecord, seen: Seen, key: str | None) -> None:
        """Refuse a package that an earlier call with the caller's key gave an entry which this call leaves out."""
        excluded = {*seen.scan.excluded, *seen.scan.unreadable}
        if key is None or not excluded:
            return
        _package, entries = await self._store.files(package.package_id)
        if any(path in excluded for entry in entries for path in (entry.path, *ancestors(entry.path))):
            raise IdempotencyConflict(key, package.created_sequence)

    @asynccontextmanager
    async def _files_cache(self, seen: Seen, *, wanted: bool) -> AsyncGenerator[FilesCache]:
        """Open the files cache of the sources for the block; save and close it after the block, even after an error."""
        name = new_hasher("blake3")
        sources = seen.gathered.cached_as
        name.update(canonical.encode([ascii(self._store.name), os.geteuid(), ascii(sources or "")]))
        place = self._places.files_cache if wanted and sources is not None else None
        stamps = (file.stamp for file in seen.files)
        cache = await in_thread(partial(FilesCache.open, place, name.hexdigest(), stamps, check_cancelled))

        def leave() -> None:
            cache.save()
            cache.close()

        try:
            yield cache
        finally:
            with trio.CancelScope(shield=True):
                await in_thread(leave)

    async def _finalize(self, package_id: str, principal: str) -> FinalizedPackage:
        """Finalize a package, and try again if another process changes it meanwhile."""
        for _attempt in range(_FINALIZE_ATTEMPTS - 1):
            try:
                return await self._finalize_once(package_id, principal)
            except (PackageChanged, ClockDoubtful):
                continue  # another process added entries or wrote later events, so the manifest is outdated
        return await self._finalize_once(package_id, principal)

    async def _finalize_once(self, package_id: str, principal: str) -> FinalizedPackage:
        """Build the manifest of an open package and commit it, or return the result of the first finalization."""
        contents = await self._store.contents(package_id)
        package = contents.package
        if package.status == "open":
            at_us = max(now_us(), (await self._store.probe()).recorded_at_us)  # a slow clock gives no early end
            build = partial(build_manifest, principal=principal, finalized_at_us=at_us, check_cancelled=check_cancelled)
            try:
                payload, summary = await in_thread(partial(build, contents))
            except ManifestInvalid as invalid:
                raise await purged_file(self._store, contents) or invalid from None
            del contents  # frees the entries, the largest part of this process's memory
            command = commands.FinalizePackage(package_id, package.version, payload, summary)
            committed = await self._steps.commit(command, principal, None)
            if committed.events:
                text = "package finalized: %d files, %d bytes, manifest %s"
                counts = (package.files, package.bytes, summary.manifest_digest)
                _logger.info(text, *counts, extra={"package": package_id})
                return newly_finalized(package, summary, committed.events[0].sequence)
        # The package is finalized, perhaps only since its contents were read. Return the first finalization's result.
        return finalized_package(await self._read_back(self._store.package(package_id)))

    @handles(PreviewIngest, mode=Concurrent(_SESSIONS), on_cancel=OnCancel.CANCEL)
    async def preview(self, message: PreviewIngest) -> IngestPreview:
        """Scan the sources of an ingest, and store nothing."""
        return preview_of((await self._scan(message.tree, None)).scan)

    async def _scan(self, tree: SourceTree, progress: Callable[[IngestProgress], None] | None) -> Seen:
        """Scan the sources of a request in a worker thread, and report progress."""
        looked_at_us = now_us()
        tell = None if progress is None else thread_safe_callback(progress)
        found = await in_thread(
            lambda: gather(
                tree,
                files_max=self._files_max,
                own=OwnFiles.of(self._places),
                check_cancelled=check_cancelled,
                tell=lambda files, size: None if tell is None else tell(IngestProgress(0, files, 0, size, True)),
            )
        )
        if found.scan.excluded:
            _logger.info("left out: %s", listed_paths(found.scan.excluded))
        if found.scan.unreadable:
            _logger.info("left out what cannot be read: %s", listed_paths(found.scan.unreadable))
        return Seen(found, looked_at_us)

    async def _note_unreadable(self, package: PackageRecord, seen: Seen, principal: str) -> None:
        """Record in an annotation of the package which paths were left out because they cannot be read.

        Another ingest into the package may note its own paths at the same time. Then this one adds to its note.
        """
        while True:
            note = unreadable_note(seen.scan.unreadable, seen.scan.paths(), package.annotations)
            before = package.annotations.get(UNREADABLE)
            if note.get(UNREADABLE) == before:
                return
            removed = () if note else (UNREADABLE,)
            expected = {} if before is None else {UNREADABLE: before}
            command = commands.AnnotatePackage(package.package_id, note, removed, expected)
            try:
                await self._steps.commit(command, principal, None)
            except AnnotationsChanged:
                package = await self._store.package(package.package_id)
            else:
                return

    async def _require_open(self, package_id: str) -> PackageRecord:
        """Return the package if it is open. This check precedes all reads; the writer checks again in a transaction."""
        package = await self._store.package(package_id)
        package.check_not_gone()
        if package.status != "open":
            raise PackageFinalizedAlready(package_id)
        return package

    async def _read_back[R](self, reading: Awaitable[R]) -> R:
        """Return the result of a read after a commit. A failed read must not look like a rejected command."""
        try:
            return await reading
        except ArtifactStoreError as error:
            raise OutcomeUnknown(self._store.name, f"it did, and the answer cannot be read: {error}") from error

    @contextmanager
    def _fills(self, package_id: str) -> Generator[None]:
        """Block the finalization of a package while the block runs."""
        self._filling[package_id] += 1
        try:
            yield
        finally:
            self._filling[package_id] -= 1
            if not self._filling[package_id]:
                del self._filling[package_id]  # otherwise the counter would grow while the store is open


def check_creation(message: OpenPackage) -> None:
    """Check the fields of a new package, for callers that have not opened the store yet.

    Raises:
        InvalidValue: the name, the metadata, the principal or the idempotency key is invalid.
        UnknownRetentionClass: no retention class has this name.
    """
    commands.check_caller(message.principal, message.idempotency_key)
    _creation(message)


def _creation(message: OpenPackage) -> CreatePackage:
    """Return the command that creates the package of a request, with a new id."""
    check_class_name(message.retention_class)
    return CreatePackage(
        new_id(), message.name, message.retention_class, dict(message.metadata), message.schema, message.parents
    )


def _examine(source: FileSource, places: StorePlaces) -> bool:
    """Reject a file of the store itself. Return whether the owner may execute the file."""
    path = path_bytes(source.path if source.root is None else f"{source.root}/{source.path}")
    if OwnFiles.of(places).hold(os.path.realpath(path)):
        raise SourceInsideStore(source.path)
    try:
        return bool(os.lstat(path).st_mode & 0o100)
    except OSError:
        return False  # the read that follows reports the error


def _check_note(metadata: Metadata, seen: Seen) -> None:
    """Refuse to skip paths, before anything is stored, if the package's metadata has the key that would note them."""
    if seen.scan.unreadable and UNREADABLE in metadata:
        raise InvalidValue("metadata key", UNREADABLE, "this name is for an annotation; choose another one")


def _check_size(expected: int | None, received: int) -> None:
    """Compare the size of a file with the size that its caller declared, as the data plane does for a stream."""
    if expected is not None and received < expected:
        raise SourceTruncated(expected, received)
    if expected is not None and received > expected:
        raise SourceOverrun(expected, received)


def _identity(asked: OpenPackage, tree: SourceTree) -> str:
    """Return a digest of the values that two ingests of the same sources must share to fill the same package."""
    identity = new_hasher("blake3")
    metadata = cast("CanonicalValue", dict(asked.metadata))
    lineage: list[CanonicalValue] = [asked.schema, *sorted(asked.parents)]
    of_package = [asked.name, asked.retention_class, metadata, asked.principal, lineage]
    identity.update(canonical.encode([*of_package, tree.links.value, tree.prefix, tree.strip_components]))
    return identity.hexdigest()
