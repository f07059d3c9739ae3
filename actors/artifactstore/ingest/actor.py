"""IngestActor: admits packages and files, and seals packages.

It decides what is tried and in what order; the bytes are StorageActor's and the facts are EventWriter's. A directory
goes in batches, each stored first and then committed in one transaction, so that what is in the log is always in the
store, and an ingest that was interrupted goes on where it stopped when it is asked for again.

A package that is being filled by this process cannot be finalised: the request is refused, the ingest goes on. Another
process may finalise it in between two batches; then the ingest is refused, and what it had committed is sealed.
"""

from collections import Counter
from collections.abc import Awaitable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import override

from artifactstore.database.errors import OutcomeUnknown
from artifactstore.event_writer import COMMIT_TIMEOUT_S
from artifactstore.ids import new_id, now_us
from artifactstore.ingest.answers import created_package, file_record
from artifactstore.ingest.scan import ScannedFile, scan_directory
from artifactstore.ingest.sealing import build_manifest, finalized_package, newly_finalized
from artifactstore.machine import in_thread
from artifactstore.supervision import Actor, ActorRef, Concurrent, OnCancel, handles
from artifactstore_protocols import commands
from artifactstore_protocols.commands import (
    Command,
    CommandRequest,
    Committed,
    CreatePackage,
    IngestedFile,
    IngestFiles,
    OnExisting,
)
from artifactstore_protocols.dataplane import FileSource, IngestResult, SourceOverrun, SourceTruncated
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.media_types import check_media_type, media_type_of
from artifactstore_protocols.messages import (
    AddDirectory,
    AddFile,
    Commit,
    FinalizePackage,
    IngestRole,
    IngestTree,
    OpenPackage,
    StorageRole,
    StoreFiles,
    StoreStream,
    WriterRole,
)
from artifactstore_protocols.packages import PackageChanged, PackageFinalizedAlready
from artifactstore_protocols.paths import check_path, path_key
from artifactstore_protocols.payloads import FileIngested, FileReplaced
from artifactstore_protocols.records import (
    DirectoryIngest,
    FileRecord,
    FinalizedPackage,
    IngestProgress,
    IngestSummary,
    PackageRecord,
)
from artifactstore_protocols.retention import retention_class

__all__ = ["IngestActor", "PackageBusy"]

_BATCH_FILES = 256
_BATCH_BYTES = 64 << 20
_SESSIONS = 64
_FINALIZE_ATTEMPTS = 3
_LONG_S = 24 * 3600.0
"""How long one batch may take: a single file can be as large as the disk."""


@dataclass(eq=False)
class PackageBusy(ArtifactStoreError):
    """A package cannot be finalised while this process puts files into it."""

    package_id: str
    ingests: int

    @override
    def __str__(self) -> str:
        return f"package {self.package_id} has {self.ingests} ingest(s) under way; finalise it when they are done"


class IngestActor(Actor[IngestRole]):
    """Turns requests into stored bytes and committed commands.

    Args:
        store: for reading views.
        storage: where bytes go.
        writer: where commands go.
        files_per_package_max: how many files a package may hold.
    """

    def __init__(
        self,
        store: EventStore,
        storage: ActorRef[StorageRole],
        writer: ActorRef[WriterRole],
        *,
        files_per_package_max: int,
    ) -> None:
        self._store = store
        self._storage = storage
        self._writer = writer
        self._files_max = files_per_package_max
        self._filling: Counter[str] = Counter()

    @override
    def state_summary(self) -> dict[str, str | int]:
        return {"packages being filled": len(+self._filling)}

    @handles(OpenPackage, mode=Concurrent(_SESSIONS), on_cancel=OnCancel.COMPLETE)
    async def open_package(self, message: OpenPackage) -> PackageRecord:
        """Create a package."""
        return await self._create(_creation(message), message)

    async def _create(self, command: CreatePackage, message: OpenPackage) -> PackageRecord:
        committed = await self._commit(command, message.actor, message.idempotency_key)
        created = committed.events[0]
        if not committed.repeated:
            return created_package(created)
        return await self._read_back(self._store.package(created.event.subject))

    @handles(AddFile, mode=Concurrent(_SESSIONS), on_cancel=OnCancel.CANCEL)
    async def add_file(self, message: AddFile) -> FileRecord:
        """Store one file, then record it."""
        check_path(message.path)
        media_type = message.media_type or media_type_of(message.path)
        check_media_type(media_type)
        with self._fills(message.package_id):
            if message.idempotency_key is None:  # a repeated call is answered, whatever became of the package
                await self._require_open(message.package_id)
            executable = message.executable
            if isinstance(message.source, FileSource):
                if executable is None:
                    executable = await in_thread(partial(_is_executable, message.source))
                result = (await self._store_files((message.source,)))[0]
                _check_size(message.expected_size, result.size_bytes)
            else:
                result = await self._storage.ask(
                    StoreStream(message.source, message.expected_size, await self._flagged()), timeout=_LONG_S
                )
            file = _ingested(message.path, bool(executable), media_type, result)
            command = IngestFiles(message.package_id, (file,), message.on_existing)
            committed = await self._commit(command, message.actor, message.idempotency_key)
        for stored in committed.events:
            payload = stored.decode()
            if isinstance(payload, FileIngested | FileReplaced):
                return file_record(stored.sequence, payload)
        key = path_key(message.path)
        record = await self._store.file(message.package_id, key)
        if record is None:
            raise AssertionError(f"{message.path!r} was committed and is not in the view")
        return record

    @handles(AddDirectory, mode=Concurrent(_SESSIONS), on_cancel=OnCancel.CANCEL)
    async def add_directory(self, message: AddDirectory) -> DirectoryIngest:
        """Put a tree into an open package."""
        with self._fills(message.package_id):
            await self._require_open(message.package_id)
            scanned = await self._scan(message.directory)
            return await self._add_scanned(scanned, message)

    @handles(FinalizePackage, mode=Concurrent(_SESSIONS), on_cancel=OnCancel.COMPLETE)
    async def finalize_package(self, message: FinalizePackage) -> FinalizedPackage:
        """Seal a package, or find it sealed."""
        if busy := self._filling[message.package_id]:
            raise PackageBusy(message.package_id, busy)
        return await self._finalize(message.package_id, message.actor)

    @handles(IngestTree, mode=Concurrent(_SESSIONS), on_cancel=OnCancel.CANCEL)
    async def ingest_tree(self, message: IngestTree) -> IngestSummary:
        """Create, fill and seal, in one go."""
        scanned = await self._scan(message.directory)
        name = message.name
        if name is None:
            name = (await in_thread(Path(message.directory).resolve)).name
        key = message.idempotency_key
        asked = OpenPackage(name, message.retention_class, message.metadata, message.actor, key)
        creation = _creation(asked)
        # A package that is created first and cannot be filled stays open. With a key it is found again and filled
        # further; without one nobody could, so it is created only once its first batch is stored.
        ahead = await self._store_batch(next(_batches(scanned), list[ScannedFile]())) if key is None else ()
        package = await self._create(creation, asked)
        if package.status == "open":
            add = AddDirectory(
                package.package_id, message.directory, OnExisting.RESUME, message.actor, message.progress
            )
            try:
                with self._fills(package.package_id):
                    await self._add_scanned(scanned, add, ahead)
            except PackageFinalizedAlready:
                if key is None:
                    raise
                # Another call with the same key was quicker; its answer is this one's too.
        sealed = await self._finalize(package.package_id, message.actor)
        saved = await self._read_back(self._store.deduplicated_bytes(package.package_id))
        return IngestSummary(
            package_id=sealed.package_id,
            name=sealed.name,
            manifest_digest=sealed.manifest_digest,
            tree_digest=sealed.tree_digest,
            files=sealed.files,
            bytes=sealed.bytes,
            deduplicated_bytes=saved,
            sequence=sealed.sequence,
        )

    async def _finalize(self, package_id: str, actor: str) -> FinalizedPackage:
        for _attempt in range(_FINALIZE_ATTEMPTS - 1):
            try:
                return await self._finalize_once(package_id, actor)
            except PackageChanged:
                continue  # another process put a file in; its manifest is another one
        return await self._finalize_once(package_id, actor)

    async def _finalize_once(self, package_id: str, actor: str) -> FinalizedPackage:
        contents = await self._store.contents(package_id)
        if contents.package.status == "open":
            payload, summary = await in_thread(lambda: build_manifest(contents, actor=actor, finalized_at_us=now_us()))
            command = commands.FinalizePackage(new_id(), package_id, contents.package.version, payload, summary)
            committed = await self._commit(command, actor, None)
            if committed.events:
                return newly_finalized(contents.package, summary, committed.events[0].sequence)
        # Sealed already, if only since the contents were read; its digests are those of whoever sealed it.
        return finalized_package(await self._read_back(self._store.package(package_id)))

    async def _scan(self, directory: str) -> tuple[ScannedFile, ...]:
        return await in_thread(lambda: scan_directory(directory, files_max=self._files_max))

    async def _add_scanned(
        self, scanned: Sequence[ScannedFile], message: AddDirectory, ahead: tuple[IngestedFile, ...] = ()
    ) -> DirectoryIngest:
        """Store and commit batch after batch; the first one may be stored already, `ahead` of its package."""
        total = IngestProgress(0, len(scanned), 0, sum(file.size_bytes for file in scanned))
        progress = total
        written, sequence = 0, 0
        for batch in _batches(scanned):
            files, ahead = ahead or await self._store_batch(batch), ()
            command = IngestFiles(message.package_id, files, message.on_existing)
            committed = await self._commit(command, message.actor, None)
            sequence = committed.sequence
            written += sum(event.event.subject == message.package_id for event in committed.events)
            progress = replace(
                progress,
                files=progress.files + len(batch),
                bytes=progress.bytes + sum(file.size_bytes for file in files),
            )
            if message.progress is not None:
                message.progress(progress)
        return DirectoryIngest(message.package_id, len(scanned), progress.bytes, len(scanned) - written, sequence)

    async def _store_batch(self, batch: Sequence[ScannedFile]) -> tuple[IngestedFile, ...]:
        results = await self._store_files([file.source for file in batch])
        return tuple(
            _ingested(file.path, file.executable, media_type_of(file.path), result)
            for file, result in zip(batch, results, strict=True)
        )

    async def _store_files(self, sources: Sequence[FileSource]) -> list[IngestResult]:
        """Store files, or raise the first one's error; what was stored then is in no package, and costs only space."""
        stored: list[IngestResult] = []
        answers = await self._storage.ask(StoreFiles(tuple(sources), await self._flagged()), timeout=_LONG_S)
        for answer in answers:
            if isinstance(answer, ArtifactStoreError):
                raise answer
            stored.append(answer)
        return stored

    async def _flagged(self) -> frozenset[ContentAddress]:
        return await self._store.flagged_addresses()

    async def _require_open(self, package_id: str) -> None:
        """Refuse before a byte is read; the writer checks again, in its transaction."""
        package = await self._store.package(package_id)
        if package.status != "open":
            raise PackageFinalizedAlready(package_id)

    async def _commit(self, command: Command, actor: str, idempotency_key: str | None) -> Committed:
        return await self._writer.ask(
            Commit(CommandRequest(new_id(), command, actor, idempotency_key)), timeout=COMMIT_TIMEOUT_S
        )

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


def _creation(message: OpenPackage) -> CreatePackage:
    retention_class(message.retention_class)
    return CreatePackage(new_id(), new_id(), message.name, message.retention_class, dict(message.metadata))


def _is_executable(source: FileSource) -> bool:
    path = Path(source.path) if source.root is None else Path(source.root, source.path)
    try:
        return bool(path.lstat().st_mode & 0o100)
    except OSError:
        return False  # reading it will say what is wrong


def _check_size(expected: int | None, received: int) -> None:
    """Hold a file to what its caller declared, as the data plane holds a stream."""
    if expected is not None and received < expected:
        raise SourceTruncated(expected, received)
    if expected is not None and received > expected:
        raise SourceOverrun(expected, received)


def _ingested(path: str, executable: bool, media_type: str, result: IngestResult) -> IngestedFile:
    return IngestedFile(
        event_id=new_id(),
        healed_event_id=new_id(),
        path=path,
        size_bytes=result.size_bytes,
        executable=executable,
        media_type=media_type,
        digests=result.digests,
        receipt=result.receipt,
    )


def _batches(files: Sequence[ScannedFile]) -> Iterator[list[ScannedFile]]:
    """Runs of files that are worth one transaction: limited by count and by bytes, at least one file each."""
    batch: list[ScannedFile] = []
    size = 0
    for file in files:
        if batch and (len(batch) == _BATCH_FILES or size + file.size_bytes > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size_bytes
    if batch:
        yield batch
