"""IngestActor: admits packages and files, and finalizes packages.

It decides what is tried and in what order; the bytes are StorageActor's and the facts are EventWriter's. A directory
goes in batches, each stored first and then committed in one transaction, so that what is in the log is always in the
store. While one batch is committed, the next ones are stored. An ingest that was interrupted reads only what is missing
when it is asked for again, as long as there is a files cache.

A package that is being filled by this process cannot be finalized: the request is refused. Another
process may finalize it in between two batches; then the ingest is refused, and what it had committed is sealed.
"""

import logging
import os
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import override

import trio
from msgspec.structs import replace

from artifactstore.callbacks import thread_safe_callback
from artifactstore.database.errors import OutcomeUnknown
from artifactstore.environment import check_wanted, in_thread
from artifactstore.ids import new_id, now_us
from artifactstore.ingest.answers import created_package, entries_sequence, file_record
from artifactstore.ingest.files_cache import FilesCache
from artifactstore.ingest.filling import Seen, fill
from artifactstore.ingest.own_files import NOWHERE, OwnFiles, StorePlaces
from artifactstore.ingest.refusals import SourceInsideStore
from artifactstore.ingest.scan import Scan, scan_directory
from artifactstore.ingest.sealing import build_manifest, finalized_package, newly_finalized
from artifactstore.ingest.steps import Steps, ingest_command, ingested
from artifactstore.os_paths import path_bytes
from artifactstore.supervision import NO_TIME_LIMIT, Actor, ActorRef, Concurrent, OnCancel, handles
from artifactstore_protocols import canonical, commands
from artifactstore_protocols.canonical import CanonicalValue
from artifactstore_protocols.commands import CreatePackage, OnExisting
from artifactstore_protocols.dataplane import FileSource, SourceOverrun, SourceTruncated
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.events import IdempotencyConflict
from artifactstore_protocols.identity import new_hasher
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.media_types import check_media_type, media_type_of
from artifactstore_protocols.messages import (
    AddDirectory,
    AddFile,
    FinalizePackage,
    IngestRole,
    IngestTree,
    OpenPackage,
    StorageRole,
    StoreStream,
    WriterRole,
)
from artifactstore_protocols.packages import PackageChanged, PackageFinalizedAlready
from artifactstore_protocols.paths import check_path, path_key
from artifactstore_protocols.records import (
    DirectoryIngest,
    FileRecord,
    FinalizedPackage,
    IngestProgress,
    IngestSummary,
    PackageRecord,
)
from artifactstore_protocols.retention import retention_class

__all__ = ["IngestActor", "PackageBusy", "check_creation"]

_logger = logging.getLogger("artifactstore.ingest")

_SESSIONS = 64
_FINALIZE_ATTEMPTS = 3


@dataclass(eq=False)
class PackageBusy(ArtifactStoreError):
    """A package cannot be finalized while this process puts files into it."""

    package_id: str
    ingests: int
    template = "package {self.package_id} has {self.ingests} ingest(s) under way; finalize it when they are done"


class IngestActor(Actor[IngestRole]):
    """Turns requests into stored bytes and committed commands.

    Args:
        store: for reading views.
        storage: where bytes go.
        writer: where commands go.
        files_per_package_max: how many files a package may hold.
        places: where the store's own files are, which are never taken in.
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
        committed = await self._steps.commit(command, message.actor, message.idempotency_key)
        created = committed.events[0]
        if not committed.repeated:
            _logger.info("package created", extra={"package": created.event.subject})
            return created_package(committed)
        return await self._read_back(self._store.package(created.event.subject))

    @handles(AddFile, mode=Concurrent(_SESSIONS), on_cancel=OnCancel.CANCEL)
    async def add_file(self, message: AddFile) -> FileRecord:
        """Store one file, then record it."""
        commands.check_caller(message.actor, message.idempotency_key)
        check_path(message.path)
        media_type = message.media_type or media_type_of(message.path)
        check_media_type(media_type)
        self._store.must_be_writable()
        with self._fills(message.package_id):
            if message.idempotency_key is None:  # a repeated call is answered, whatever became of the package
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
                files, lambda _index: source, into, message.actor, message.idempotency_key
            )
        if sequence := entries_sequence(committed):  # a repeated command has the same entry
            return file_record(message.package_id, sequence, file.entry, result.digests.sha256.raw)
        key = path_key(message.path)
        record = await self._read_back(self._store.file(message.package_id, key))
        written = file_record(message.package_id, committed.sequence, file.entry, result.digests.sha256.raw)
        if record is not None and replace(record, sequence=written.sequence) == written:
            return record
        return written  # a repeated command, and another file has taken the place since

    @handles(AddDirectory, mode=Concurrent(_SESSIONS), on_cancel=OnCancel.CANCEL)
    async def add_directory(self, message: AddDirectory) -> DirectoryIngest:
        """Put a tree into an open package."""
        commands.check_caller(message.actor)
        self._store.must_be_writable()
        with self._fills(message.package_id):
            package = await self._require_open(message.package_id)

            async def opened() -> PackageRecord:
                return package

            seen = await self._scan(message)
            async with self._files_cache(seen, wanted=message.files_cache) as cache:
                done = await fill(self._steps, seen, message, opened, message.on_existing, cache)
        return DirectoryIngest(
            package_id=message.package_id,
            files=len(seen.files),
            links=len(seen.scan.links),
            directories=len(seen.scan.directories),
            bytes=done.bytes,
            unchanged_files=len(seen.files) - done.written,
            reused_files=done.reused,
            excluded=seen.scan.excluded,
            sequence=done.sequence,
        )

    @handles(FinalizePackage, mode=Concurrent(_SESSIONS), on_cancel=OnCancel.COMPLETE)
    async def finalize_package(self, message: FinalizePackage) -> FinalizedPackage:
        """Seal a package, or find it sealed."""
        if busy := self._filling[message.package_id]:
            raise PackageBusy(message.package_id, busy)
        return await self._finalize(message.package_id, message.actor)

    @handles(IngestTree, mode=Concurrent(_SESSIONS), on_cancel=OnCancel.CANCEL)
    async def ingest_tree(self, message: IngestTree) -> IngestSummary:
        """Create, fill and finalize, in one go."""
        commands.check_caller(message.actor, message.idempotency_key)
        self._store.must_be_writable()
        seen = await self._scan(message)
        name = seen.root.rpartition("/")[2] if message.name is None else message.name
        asked = OpenPackage(name, message.retention_class, message.metadata, message.actor, message.idempotency_key)
        creation = _creation(asked)
        identity = _identity(asked, message.links)
        async with self._files_cache(seen, wanted=message.files_cache) as cache:
            with ExitStack() as filling:
                package: PackageRecord | None = None

                async def opened() -> PackageRecord:
                    nonlocal package
                    if package is None:
                        package = await self._open_for(seen, creation, asked, identity, cache)
                        filling.enter_context(self._fills(package.package_id))
                    return package

                # A package that is created first and cannot be filled stays open. With a caller's key or one in the
                # cache it is found again and filled further; any other waits until its first batch is stored.
                if message.idempotency_key is not None or identity in cache.keys:
                    await opened()
                # A package of the caller's own key may hold what the caller put there; one of the cache's does not.
                taken = OnExisting.REPLACE if message.idempotency_key is None else OnExisting.RESUME
                reused = 0
                try:
                    if package is None or package.status == "open":
                        reused = (await fill(self._steps, seen, message, opened, taken, cache)).reused
                except PackageFinalizedAlready:
                    if message.idempotency_key is None:
                        raise
                    # Another call with the same key was quicker; its answer is this one's too.
                package_id = (await opened()).package_id
            sealed = await self._finalize(package_id, message.actor)
            cache.keys.pop(identity, None)
        saved = await self._read_back(self._store.deduplicated_bytes(package_id))
        return IngestSummary(
            package_id=sealed.package_id,
            name=sealed.name,
            manifest_digest=sealed.manifest_digest,
            tree_digest=sealed.tree_digest,
            files=sealed.files,
            links=sealed.links,
            directories=sealed.directories,
            bytes=sealed.bytes,
            deduplicated_bytes=saved,
            reused_files=reused,
            excluded=seen.scan.excluded,
            sequence=sealed.sequence,
        )

    async def _open_for(
        self, seen: Seen, creation: CreatePackage, asked: OpenPackage, identity: str, cache: FilesCache
    ) -> PackageRecord:
        """The package that an ingest is to fill: the one that an interrupted run began, if it still can be, or anew."""
        if asked.idempotency_key is not None or not cache.in_use:
            return await self._create(creation, asked)
        if (key := cache.keys.pop(identity, None)) is not None:
            begun = await self._begun(seen, creation, replace(asked, idempotency_key=key))
            if begun is not None:
                cache.keys[identity] = key
                return begun
        cache.keys[identity] = key = new_id()
        await in_thread(cache.save)  # before there is a package that only this key finds
        return await self._create(_creation(asked), replace(asked, idempotency_key=key))

    async def _begun(self, seen: Seen, creation: CreatePackage, asked: OpenPackage) -> PackageRecord | None:
        """The package of a key in the cache, made now unless it is there; None if it cannot become this directory's.

        It cannot if it is sealed, or if it holds a path that the directory has lost: nothing takes an entry out of one.
        """
        try:
            package = await self._create(creation, asked)
        except IdempotencyConflict:  # no cache of ours holds a key that something else was done with
            return None
        package, entries = await self._store.files(package.package_id)
        recorded = [entry.path for entry in entries]
        may_go_on = package.status == "open" and set(seen.scan.paths()).issuperset(recorded)
        return package if may_go_on else None

    @asynccontextmanager
    async def _files_cache(self, seen: Seen, *, wanted: bool) -> AsyncGenerator[FilesCache]:
        """The files cache of a directory, saved and closed however the block ends."""
        name = new_hasher("blake3")
        name.update(canonical.encode([ascii(self._store.name), os.geteuid(), ascii(seen.root)]))
        place = self._places.files_cache if wanted else None
        stamps = (file.stamp for file in seen.files)
        cache = await in_thread(partial(FilesCache.open, place, name.hexdigest(), stamps, check_wanted))

        def leave() -> None:
            cache.save()
            cache.close()

        try:
            yield cache
        finally:
            with trio.CancelScope(shield=True):
                await in_thread(leave)

    async def _finalize(self, package_id: str, actor: str) -> FinalizedPackage:
        for _attempt in range(_FINALIZE_ATTEMPTS - 1):
            try:
                return await self._finalize_once(package_id, actor)
            except PackageChanged:
                continue  # another process put a file in; its manifest is another one
        return await self._finalize_once(package_id, actor)

    async def _finalize_once(self, package_id: str, actor: str) -> FinalizedPackage:
        contents = await self._store.contents(package_id)
        package = contents.package
        if package.status == "open":
            build = partial(build_manifest, actor=actor, finalized_at_us=now_us(), check_wanted=check_wanted)
            payload, summary = await in_thread(partial(build, contents))
            del contents  # nothing needs the entries any more, and they are the most that this process holds
            command = commands.FinalizePackage(package_id, package.version, payload, summary)
            committed = await self._steps.commit(command, actor, None)
            if committed.events:
                text = "package finalized: %d files, %d bytes, manifest %s"
                sealed = (package.files, package.bytes, summary.manifest_digest)
                _logger.info(text, *sealed, extra={"package": package_id})
                return newly_finalized(package, summary, committed.events[0].sequence)
        # Sealed already, if only since the contents were read; its digests are those of whoever sealed it.
        return finalized_package(await self._read_back(self._store.package(package_id)))

    async def _scan(self, message: AddDirectory | IngestTree) -> Seen:
        progress = message.progress
        looked_at_us = now_us()

        def scan(tell: Callable[[IngestProgress], None] | None) -> Scan:
            return scan_directory(
                message.directory,
                files_max=self._files_max,
                links=message.links,
                own=OwnFiles.of(self._places),
                check_wanted=check_wanted,
                tell=lambda files, size: None if tell is None else tell(IngestProgress(0, files, 0, size, True)),
            )

        tell = None if progress is None else thread_safe_callback(progress)
        scanned = await in_thread(partial(scan, tell))
        if scanned.excluded:
            _logger.info("left out what is the store's own, or a link: %s", ", ".join(scanned.excluded))
        return Seen(scanned, looked_at_us)

    async def _require_open(self, package_id: str) -> PackageRecord:
        """Refuse before a byte is read; the writer checks again, in its transaction."""
        package = await self._store.package(package_id)
        if package.status != "open":
            raise PackageFinalizedAlready(package_id)
        return package

    async def _read_back[R](self, reading: Awaitable[R]) -> R:
        """What a commit has made, for its answer. A failure to read it must not look like a refusal of the command."""
        try:
            return await reading
        except ArtifactStoreError as error:
            raise OutcomeUnknown(self._store.name, f"it did, and the answer cannot be read: {error}") from error

    @contextmanager
    def _fills(self, package_id: str) -> Generator[None]:
        self._filling[package_id] += 1
        try:
            yield
        finally:
            self._filling[package_id] -= 1
            if not self._filling[package_id]:
                del self._filling[package_id]  # or it would stay for as long as the store is open


def check_creation(message: OpenPackage) -> None:
    """Refuse what no package can be called or kept by; for callers who want to know before there is a store.

    Raises:
        InvalidValue, UnknownRetentionClass: as the handlers raise it.
    """
    commands.check_caller(message.actor, message.idempotency_key)
    _creation(message)


def _creation(message: OpenPackage) -> CreatePackage:
    retention_class(message.retention_class)
    return CreatePackage(new_id(), message.name, message.retention_class, dict(message.metadata))


def _examine(source: FileSource, places: StorePlaces) -> bool:
    """Refuse a file of the store's own. Returns whether its owner may execute it."""
    path = path_bytes(source.path if source.root is None else f"{source.root}/{source.path}")
    if OwnFiles.of(places).hold(os.path.realpath(path)):
        raise SourceInsideStore(source.path)
    try:
        return bool(os.lstat(path).st_mode & 0o100)
    except OSError:
        return False  # reading it will say what is wrong


def _check_size(expected: int | None, received: int) -> None:
    """Hold a file to what its caller declared, as the data plane holds a stream."""
    if expected is not None and received < expected:
        raise SourceTruncated(expected, received)
    if expected is not None and received > expected:
        raise SourceOverrun(expected, received)


def _identity(asked: OpenPackage, links: LinkPolicy) -> str:
    """What two ingests of a directory must share to fill the same package."""
    identity = new_hasher("blake3")
    metadata: CanonicalValue = dict(asked.metadata)
    identity.update(canonical.encode([asked.name, asked.retention_class, metadata, asked.actor, links.value]))
    return identity.hexdigest()
