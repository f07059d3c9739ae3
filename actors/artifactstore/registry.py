"""Registry: everything that a program can ask of a store, in one object.

Changes go to the actors and return once they are durable; reads go to the views and to the storage, and pass no
writer. A registry is used by trio tasks of the run that opened it; `artifactstore.aio` and `artifactstore.blocking`
offer the same to other programs.

A method that needs a part of its own, such as an export or a backup, imports it: a short command loads none of them.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Literal, cast

import rfc8785
import trio

from artifactstore.arguments import checked
from artifactstore.callbacks import thread_safe_callback, with_progress, with_stream
from artifactstore.database.errors import DatabaseDamaged
from artifactstore.environment import in_thread
from artifactstore.event_writer import COMMIT_TIMEOUT_S
from artifactstore.host_loop import loop_here
from artifactstore.ids import new_id
from artifactstore.os_paths import path_text
from artifactstore.refusals import (
    AmbiguousPackage,
    FileNotInPackage,
    NotAFile,
    NotFinalized,
    StoreClosed,
    WrongEventLoop,
)
from artifactstore.supervision import NO_TIME_LIMIT, Tree
from artifactstore.tree import Actors
from artifactstore_protocols import canonical, manifest
from artifactstore_protocols.canonical import CanonicalValue
from artifactstore_protocols.commands import (
    Command,
    CommandRequest,
    ObjectFinding,
    OnExisting,
    RecordFindings,
    RegisterMetadataSchema,
    ReplaceObjects,
)
from artifactstore_protocols.dataplane import FileSource
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.event_types import MetadataSchemaRegistered
from artifactstore_protocols.events import Committed, StoredEvent
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.messages import (
    AddDirectory,
    AddFile,
    Commit,
    FinalizePackage,
    GetHealth,
    IngestTree,
    OpenPackage,
    OpenTail,
    ReadObjects,
    Replay,
    ServeObject,
    Stream,
)
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.paths import check_path, path_key
from artifactstore_protocols.records import (
    AuditEntry,
    BackupReport,
    DirectoryIngest,
    ExportReport,
    FileRecord,
    FinalizedPackage,
    HealthReport,
    IngestProgress,
    IngestSummary,
    LogExport,
    LogImport,
    MetadataSchema,
    PackageRecord,
    ReplayProgress,
    ReplayReport,
    RestoreReport,
    TransferProgress,
    VerifyProgress,
    VerifyReport,
)
from artifactstore_protocols.retention import DEFAULT_RETENTION
from artifactstore_protocols.storage import KnownObject, StorageError
from artifactstore_protocols.supervision import ActorStopped, SupervisorSnapshot

__all__ = ["DEFAULT_ACTOR", "Registry", "StoreClosed"]

_PAGE = 500
DEFAULT_ACTOR = "anonymous"
"""Who is recorded where a caller does not say who it is."""


class Registry:
    """A running store. `open_registry` makes one.

    Every change takes `actor`, who is recorded as having done it, and most take `idempotency_key`: a caller who does
    not know whether a call went through repeats it with the same key, and gets the first answer. A `package` is the id
    of one, or its name if only one package has it.

    Every method checks its arguments first, and raises `InvalidValue` for one that its annotation does not allow.
    Besides the errors named, every method raises `AskError`s when an actor is down, `DatabaseUnavailable` and its kin
    when the database is, `StoreClosed` once the block that opened the store has been left, and `WrongEventLoop` when
    another run of trio calls it, or none: worker threads come by `trio.from_thread.run`.
    """

    def __init__(self, actors: Actors, store: EventStore, tree: Tree, closed: trio.Event) -> None:
        self._actors_while_open = actors
        self._store_while_open = store
        self._tree = tree
        self._closed = closed
        self._run = trio.lowlevel.current_trio_token()

    @property
    def _actors(self) -> Actors:
        self._check_use()
        return self._actors_while_open

    @property
    def _store(self) -> EventStore:
        self._check_use()
        return self._store_while_open

    def _check_use(self) -> None:
        if self._closed.is_set():
            raise StoreClosed
        here = loop_here()
        if here != "trio" or trio.lowlevel.current_trio_token() is not self._run:
            raise WrongEventLoop("trio", here)

    @checked
    async def create_package(
        self,
        name: str,
        *,
        retention: str = DEFAULT_RETENTION,
        metadata: Mapping[str, str] | None = None,
        actor: str = DEFAULT_ACTOR,
        idempotency_key: str | None = None,
    ) -> PackageRecord:
        """Open a package.

        Raises:
            UnknownRetentionClass, InvalidValue, IdempotencyConflict.
        """
        message = OpenPackage(name, retention, dict(metadata or {}), actor, idempotency_key)
        return await self._actors.ingest.ask(message, timeout=NO_TIME_LIMIT)

    @checked
    async def ingest_file(
        self,
        package: str,
        path: str,
        source: Path | AsyncIterable[bytes],
        *,
        expected_size: int | None = None,
        executable: bool | None = None,
        media_type: str | None = None,
        replace: bool = False,
        actor: str = DEFAULT_ACTOR,
        idempotency_key: str | None = None,
    ) -> FileRecord:
        """Put one file into an open package.

        Args:
            package: its id, or its name if only one package has it.
            path: where it goes in there.
            source: a local file, or its bytes in chunks of any size. A stream is read by a child task of the caller's
                and is not in use any more when this returns or raises; a generator is closed by then.
            expected_size: how many bytes it must have; None if that is not known.
            executable: None takes it from the local file, and False for a stream.
            media_type: None takes it from the path.
            replace: let it take the place of a file that is there.
            actor: who does it.
            idempotency_key: see the class.

        Raises:
            PackageNotFound, AmbiguousPackage: there is no such package, or there are several.
            PackageFinalizedAlready, PathRefused, PathTaken, PathConflict, TooManyFiles: refused.
            SourceError, SourceInsideStore, StorageError: nothing of the file is in the package.
            Exception: what reading the stream raised, unchanged; nothing of the file is in the package.
        """
        on_existing = OnExisting.REPLACE if replace else OnExisting.REFUSE

        async def add(bytes_of_it: FileSource | AsyncIterator[bytes]) -> FileRecord:
            message = AddFile(
                package_id=await self._package_id(package),
                path=path,
                source=bytes_of_it,
                expected_size=expected_size,
                executable=executable,
                media_type=media_type,
                on_existing=on_existing,
                actor=actor,
                idempotency_key=idempotency_key,
            )
            return await self._actors.ingest.ask(message, timeout=NO_TIME_LIMIT)

        if isinstance(source, Path):
            return await add(FileSource(path_text(source)))
        return await with_stream(source, add)

    @checked
    async def ingest_directory(
        self,
        package: str,
        directory: Path,
        *,
        replace: bool = False,
        links: LinkPolicy = LinkPolicy.KEEP,
        actor: str = DEFAULT_ACTOR,
        progress: Callable[[IngestProgress], None] | None = None,
        files_cache: bool = True,
    ) -> DirectoryIngest:
        """Put everything below a directory into an open package, a transaction per batch.

        Files, symbolic links and empty directories are taken. Links are kept as links by default: see `LinkPolicy`.
        Asked for again, after an interruption or not, it passes over what is there already with the same content.
        With `files_cache`, a file that an earlier ingest has read and that has not been touched since is not read
        again, if its content is in the store. What `progress` raises interrupts it, and is raised here.

        Raises:
            As `ingest_file`, and NotADirectory, LinksRefused, SpecialFileRefused, TreeTooLarge before anything
            is stored.
        """
        on_existing = OnExisting.REPLACE if replace else OnExisting.RESUME
        package_id = await self._package_id(package)

        async def add(tell: Callable[[IngestProgress], None] | None) -> DirectoryIngest:
            message = AddDirectory(package_id, path_text(directory), on_existing, actor, tell, files_cache, links)
            return await self._actors.ingest.ask(message, timeout=NO_TIME_LIMIT)

        return await with_progress(progress, add)

    @checked
    async def finalize_package(self, package: str, *, actor: str = DEFAULT_ACTOR) -> FinalizedPackage:
        """Finalize a package; one that is finalized already gives the same answer.

        Raises:
            PackageNotFound, AmbiguousPackage: there is no such package, or there are several.
            PackageBusy: this process puts files into it just now.
            PackageChanged: another process does.
        """
        message = FinalizePackage(await self._package_id(package), actor)
        return await self._actors.ingest.ask(message, timeout=NO_TIME_LIMIT)

    @checked
    async def ingest_tree(
        self,
        directory: Path,
        *,
        name: str | None = None,
        retention: str = DEFAULT_RETENTION,
        metadata: Mapping[str, str] | None = None,
        links: LinkPolicy = LinkPolicy.KEEP,
        actor: str = DEFAULT_ACTOR,
        idempotency_key: str | None = None,
        progress: Callable[[IngestProgress], None] | None = None,
        files_cache: bool = True,
    ) -> IngestSummary:
        """Create a package, put a directory into it and finalize it. The name is the directory's own by default.

        What is stored, and how links are treated, is as for `ingest_directory`. With `files_cache`, as there, the same
        call after an interruption continues with the package that the interrupted one began, key or no key, unless
        the directory has lost a path that is in there.

        Raises:
            As `create_package`, `ingest_directory` and `finalize_package`. A directory that is refused leaves
            nothing behind. One that fails later leaves an open package, unless it fails with its first batch of files
            and nobody could find the package again by an idempotency key.
        """

        async def ingest(tell: Callable[[IngestProgress], None] | None) -> IngestSummary:
            message = IngestTree(
                directory=path_text(directory),
                name=name,
                retention_class=retention,
                metadata=dict(metadata or {}),
                actor=actor,
                idempotency_key=idempotency_key,
                progress=tell,
                files_cache=files_cache,
                links=links,
            )
            return await self._actors.ingest.ask(message, timeout=NO_TIME_LIMIT)

        return await with_progress(progress, ingest)

    @checked
    async def register_metadata_schema(
        self,
        name: str,
        schema: Mapping[str, CanonicalValue],
        *,
        actor: str = DEFAULT_ACTOR,
        idempotency_key: str | None = None,
    ) -> MetadataSchema:
        """Add the next version of a named JSON schema for package metadata; it is recorded, not enforced.

        Raises:
            NotEncodable: the schema holds floats, or what JSON cannot hold.
        """
        value = dict(schema)
        canonical.encode(value)
        command = RegisterMetadataSchema(name, rfc8785.dumps(value).decode())
        committed = await self._commit(command, actor, idempotency_key)
        # From the event, not from the view: a repeated call gets the version that the first one made.
        registered = cast("MetadataSchemaRegistered", committed.payloads()[0])
        return MetadataSchema(registered.name, registered.version, registered.schema)

    @checked
    async def get_package(self, package: str) -> PackageRecord:
        """A package by its id, or by its name where only one has it.

        Raises:
            PackageNotFound, AmbiguousPackage.
        """
        # No package is called what UTF-8, or a text of PostgreSQL, cannot hold; neither database can be asked for it.
        askable = "\0" not in package and package.encode(errors="ignore").decode() == package
        found = await self._store.find_packages(package) if askable else ()
        if not found:
            raise PackageNotFound(package)
        if len(found) > 1:
            raise AmbiguousPackage(package, tuple(record.package_id for record in found))
        return found[0]

    async def _package_id(self, package: str) -> str:
        return (await self.get_package(package)).package_id

    @checked
    async def list_packages(self) -> AsyncGenerator[PackageRecord]:
        """Every package, in order of creation, read a page at a time."""
        after = 0
        while page := await self._store.packages(after=after, limit=_PAGE):
            for record in page:
                yield record
            after = page[-1].created_sequence

    @checked
    async def list_files(self, package: str) -> Sequence[FileRecord]:
        """The files, symbolic links and empty directories of a package, in the order of their paths' parts.

        Raises:
            PackageNotFound, AmbiguousPackage: there is no such package, or there are several.
        """
        _package, entries = await self._store.files(await self._package_id(package))
        return entries

    @checked
    async def get_file_record(self, package: str, path: str) -> FileRecord:
        """What is known of one file, symbolic link or empty directory.

        Raises:
            PackageNotFound, AmbiguousPackage, PathRefused, FileNotInPackage.
        """
        package_id = await self._package_id(package)
        record = await self._store.file(package_id, path_key(check_path(path)))
        if record is None:
            raise FileNotInPackage(package_id, path)
        return record

    @checked
    @asynccontextmanager
    async def get_file(
        self, package: str, path: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """The bytes of one file, or a range of them, as a stream of large chunks.

        A whole file is checked against its digest before the last chunk is handed over.

        Raises:
            PackageNotFound, AmbiguousPackage, PathRefused, FileNotInPackage, NotAFile, RangeRefused, ObjectMissing: on
                entry.
            ObjectDamaged: while reading.
        """
        record = await self.get_file_record(package, path)
        if record.kind != "file":
            raise NotAFile(record.package_id, path, record.kind, record.target)
        async with self._object(record.content_address, offset=offset, length=length) as stream:
            yield stream

    @asynccontextmanager
    async def _object(
        self, content_address: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[Stream[bytes]]:
        (known,) = await self._known([content_address])
        message = ServeObject(known, offset, length)
        stream = await self._actors.storage.ask(message, timeout=NO_TIME_LIMIT)
        try:
            yield stream
        finally:
            stream.close()

    async def _contents(self, content_addresses: Sequence[str]) -> tuple[bytes | StorageError, ...]:
        message = ReadObjects(tuple(await self._known(content_addresses)))
        return await self._actors.storage.ask(message, timeout=NO_TIME_LIMIT)

    async def _known(self, content_addresses: Sequence[str]) -> list[KnownObject]:
        addresses = [ContentAddress.parse(each) for each in content_addresses]
        known = await self._store.known_objects(set(addresses))
        for address in addresses:
            if address not in known:
                raise DatabaseDamaged(self._store.name, f"a file has content {address}, and nothing says where that is")
        return [known[address] for address in addresses]

    @checked
    async def export_package(
        self,
        package: str,
        directory: Path,
        *,
        progress: Callable[[IngestProgress], None] | None = None,
    ) -> ExportReport:
        """Write a package below a new or empty directory: each file checked, executable bits included, then the links.

        An export that was interrupted continues when it is called again for the same directory: what is there is
        compared by content, and only what is missing is written. Nothing that is there is overwritten, and no link in
        the directory is followed. What the file system cannot keep, such as executable bits, is in the report.

        Raises:
            PackageNotFound, AmbiguousPackage: there is no such package, or there are several.
            ObjectMissing, ObjectDamaged: what was written until then stays.
            TargetRefused: the directory holds something else, or takes no more.
            PathRefused: the views hold a path or a link that leads out of the directory; nothing was written.
            ExportIncomplete: the file system did not take some of the entries; the error's report names them.
        """
        package_id = await self._package_id(package)
        _package, entries = await self._store.files(package_id)
        from artifactstore.package_export import write_package  # noqa: PLC0415 - see above

        return await write_package(package_id, entries, directory, self._object, self._contents, progress)

    @checked
    async def get_manifest_bytes(self, package: str, form: Literal["cbor", "json"] = "cbor") -> bytes:
        """The manifest of a finalized package: its canonical CBOR, or the same as RFC 8785 JSON.

        Raises:
            PackageNotFound, AmbiguousPackage, NotFinalized.
            PayloadDiffers: the log holds other bytes than the manifest's digest says.
        """
        package_id = await self._package_id(package)
        if (await self._store.package(package_id)).status == "open":
            raise NotFinalized(package_id)
        payload = await self._store.manifest_bytes(package_id)
        if payload is None:
            reason = f"the event that finalized package {package_id} is not in its place"
            raise DatabaseDamaged(self._store.name, reason)
        if form == "cbor":
            return payload
        return await in_thread(lambda: manifest.jcs(manifest.decode(payload)))

    @checked
    @asynccontextmanager
    async def tail_events(self, since: int = 0) -> AsyncGenerator[AsyncIterator[StoredEvent]]:
        """Every event after `since`, in order and each once, then those to come, for as long as it is read.

        It outlives a restart of the actor that feeds it: it continues after the last event that was handed over.
        """
        async with aclosing(self._tail(since)) as tail:
            yield tail

    async def _tail(self, since: int) -> AsyncGenerator[StoredEvent]:
        while True:
            stream = await self._actors.projection.ask(OpenTail(since))
            try:
                async for stored in stream:
                    yield stored
                    since = stored.sequence
            except ActorStopped:
                continue  # opening it again waits for the actor's next incarnation, or says that there is none
            finally:
                stream.close()

    @checked
    async def read_events(self, since: int = 0, *, limit: int = 500) -> Sequence[StoredEvent]:
        """Up to `limit` events after `since` that are in the log now; fewer at a time where they are large."""
        return await self._store.read_events(after=since, limit=limit)

    @checked
    async def export_events(
        self, file: Path, *, progress: Callable[[TransferProgress], None] | None = None
    ) -> LogExport:
        """Write the log to a file, up to its head as it is now, for `import_events` of any store to take over.

        The file is there whole and durable or not at all. Equal logs give equal files.

        Raises:
            TargetRefused: the file system does not take it.
            LogDamaged: an event is missing in the log.
        """
        from artifactstore.transfer.exporting import export_log  # noqa: PLC0415 - see above

        return await export_log(self._store, file, progress)

    @checked
    async def exported_events(self) -> AsyncGenerator[bytes]:
        """The bytes of the file that `export_events` would write."""
        from artifactstore.transfer.exporting import log_text  # noqa: PLC0415 - see above

        async with aclosing((await log_text(self._store)).chunks()) as chunks:
            async for chunk in chunks:
                yield chunk

    @checked
    async def import_events(
        self, file: Path, *, progress: Callable[[TransferProgress], None] | None = None
    ) -> LogImport:
        """Take over the log in a file that `export_events` wrote, as it is: ids, times, actors and keys.

        This log has to be the beginning of that one, as an empty log is of any. What is there is compared, the rest is
        written; nothing at all before the whole file was read and found whole. Until the last event is there, the store
        takes no other writes. An interrupted import continues when it is asked for again. The objects are not in
        the file; the answer says which of them this store lacks.

        Raises:
            LogFileInvalid, LogFilePartial, UnknownEventType, EventRefused: the file is refused; nothing was written.
            LogDiffers: this log is not the beginning of that one.
            ImportUnfinished: another import was begun and must be finished first.
        """
        actors = self._actors
        from artifactstore.transfer.importing import import_log  # noqa: PLC0415 - see above

        return await import_log(self._store, actors.writer, actors.storage, file, progress)

    @checked
    async def backup(
        self, directory: Path, *, progress: Callable[[TransferProgress], None] | None = None
    ) -> BackupReport:
        """Copy the log and all objects that it names to a directory, or bring the backup there up to date.

        It is of the store as it was when this began; writing continues meanwhile. Only events and objects that are not
        there are copied, every byte checked. An object of this store that is not whole is in the report, and the rest
        is copied without it. Interrupted, it continues when it is asked for again.

        Raises:
            BackupRefused, LogDiffers: the directory holds something else, or the backup of another store.
            LogFileInvalid: the last log file in it is damaged.
            TargetRefused, StorageError: it cannot be written.
            LogDamaged: an event is missing in the log.
        """
        from artifactstore.transfer.backup import back_up  # noqa: PLC0415 - see above

        return await back_up(self._store, self._actors.storage, directory, progress)

    @checked
    async def restore(
        self,
        directory: Path,
        *,
        actor: str = DEFAULT_ACTOR,
        progress: Callable[[TransferProgress], None] | None = None,
    ) -> RestoreReport:
        """Bring this store to what a backup holds: its log, as it is, and the objects that this store lacks.

        This log has to be the beginning of the backup's, as that of a new store is. Every byte is checked. An object
        that is not whole in the backup is in the report, and the rest is restored without it. Until the last event is
        there, the store takes no other writes. Interrupted, it continues when it is asked for again.

        Raises:
            BackupRefused: there is no backup.
            LogFileInvalid, UnknownEventType, EventRefused, LogDiffers: its log is not whole, breaks a rule, or is
                not of this store; nothing was written.
            ImportUnfinished: another import was begun and must be finished first.
            StorageError: an object could not be stored.
        """
        actors = self._actors
        from artifactstore.transfer.restore import restore  # noqa: PLC0415 - see above

        async def commit(command: ReplaceObjects) -> None:
            await self._commit(command, actor, None)

        return await restore(self._store, actors.writer, actors.storage, directory, progress, commit)

    @checked
    async def audit(self, package: str | None = None) -> AsyncGenerator[AuditEntry]:
        """Who did what and when, to one package or to the whole store, in order.

        Raises:
            PackageNotFound, AmbiguousPackage: there is no such package, or there are several.
        """
        package_id = None if package is None else await self._package_id(package)
        from artifactstore.audit import audit_entry  # noqa: PLC0415 - see above

        after = 0
        while page := await self._store.read_events(after=after, limit=_PAGE, subject=package_id):
            for stored in page:
                yield audit_entry(stored)
            after = page[-1].sequence

    @checked
    async def verify(
        self,
        package: str | None = None,
        *,
        actor: str = DEFAULT_ACTOR,
        progress: Callable[[VerifyProgress], None] | None = None,
    ) -> VerifyReport:
        """Read every object again, of one package or of the whole store, and hold the manifests against the views.

        What is flawed is recorded in the log, also by a verification that is interrupted, or the report says why not.
        Ingesting the same content again heals it.

        Raises:
            PackageNotFound, AmbiguousPackage: there is no such package, or there are several.
        """
        package_id = None if package is None else await self._package_id(package)
        as_of = (await self._store.probe()).head

        async def record(findings: tuple[ObjectFinding, ...]) -> None:
            await self._commit(RecordFindings(findings, as_of), actor, None)

        from artifactstore.verify import Verification  # noqa: PLC0415 - see above

        return await Verification(self._store, self._actors.storage, package_id, progress, record).run()

    @checked
    async def replay(
        self, *, check: bool = False, progress: Callable[[ReplayProgress], None] | None = None
    ) -> ReplayReport:
        """Build every projection again from the log, and repair the live tables; with `check`, only compare them.

        Raises:
            UnknownEventType, EventRefused: an event breaks a rule of the log; the tables are as they were.
            Exception: what `progress` raised; the replay ends with its next batch then.
        """

        async def replay(tell: Callable[[ReplayProgress], None] | None) -> ReplayReport:
            message = Replay(rebuild=not check, progress=None if tell is None else thread_safe_callback(tell))
            return await self._actors.projection.ask(message, timeout=NO_TIME_LIMIT)

        return await with_progress(progress, replay)

    @checked
    async def health(self, *, max_age_s: float = 1.0) -> HealthReport:
        """The state of every part, from readings no older than `max_age_s` seconds."""
        return await self._actors.health.ask(GetHealth(max_age_s))

    @checked
    def snapshot(self) -> SupervisorSnapshot:
        """The supervision tree as it is now; after the store's end, as it was left."""
        return self._tree.snapshot()

    async def _commit(self, command: Command, actor: str, idempotency_key: str | None) -> Committed:
        return await self._actors.writer.ask(
            Commit(CommandRequest(new_id(), command, actor, idempotency_key)), timeout=COMMIT_TIMEOUT_S
        )
