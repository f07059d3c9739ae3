"""Registry: everything that a program can do with a store, in one object.

Changes go to the actors and return once they are durable. Reads go to the tables and the object storage, and wait for
no writer. A registry is used by trio tasks of the run that opened it; `artifactstore.aio` and `artifactstore.blocking`
offer the same methods to other programs.

A method that needs a large module, such as export or backup, imports it when called, so that short commands start fast.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, cast

import outcome
import rfc8785
import trio
from msgspec.structs import replace

from artifactstore import finding
from artifactstore.arguments import Sources, checked, source_tree
from artifactstore.callbacks import thread_safe_callback, with_progress, with_stream
from artifactstore.config import Settings
from artifactstore.database.errors import DatabaseDamaged, DatabaseUnavailable, OutcomeUnknown
from artifactstore.environment import environment, in_thread
from artifactstore.event_writer import COMMIT_TIMEOUT_S
from artifactstore.host_loop import loop_here
from artifactstore.ids import new_id
from artifactstore.ingest import check_creation
from artifactstore.os_paths import path_text
from artifactstore.package_paths import AsyncAccess, Opened, Package, PackageContents
from artifactstore.package_preview import find_schema, preview_package
from artifactstore.refusals import (
    FileNotInPackage,
    NotAFile,
    StoreClosed,
    WrongEventLoop,
)
from artifactstore.supervision import NO_TIME_LIMIT, Tree
from artifactstore.tree import Actors
from artifactstore_protocols import canonical, manifest
from artifactstore_protocols.canonical import CanonicalValue
from artifactstore_protocols.collection import GRACE_S, CollectionProgress, CollectionReport, ObjectTotals
from artifactstore_protocols.commands import (
    AnnotatePackage,
    Command,
    CommandRequest,
    DeleteKeepPolicy,
    DeleteTag,
    OnExisting,
    RecordFindings,
    RecordVerification,
    RegisterMetadataSchema,
    ReplaceObjects,
    RequireSchema,
    SetKeepPolicy,
    SetTag,
    UnrequireSchema,
)
from artifactstore_protocols.dataplane import SERVED_CHUNK_BYTES, FileSource
from artifactstore_protocols.disk_usage import UNIQUE_PACKAGES_MAX, NameUsage, UniqueUsage
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.event_types import HoldPlaced, MetadataSchemaRegistered, SchemaRequirementSet, TagSet
from artifactstore_protocols.event_types.tag_set import tag_subject
from artifactstore_protocols.events import Committed, StoredEvent
from artifactstore_protocols.expiry import ABANDONED_AFTER
from artifactstore_protocols.export_choice import ChosenEntries, ExportChoice, choose_entries
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.keep_policies import KeepPolicy, KeepPolicyNotFound, KeepVerdict
from artifactstore_protocols.keep_rules import KeepRules
from artifactstore_protocols.life_cycle import (
    CUSTOM,
    AddRetentionClass,
    ConfirmClock,
    DeletePackage,
    ExtendRetention,
    ObserveClock,
    PlaceHold,
    ReleaseHold,
    SetRetention,
)
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.messages import (
    AddDirectory,
    AddFile,
    Commit,
    FinalizePackage,
    GetHealth,
    IngestTree,
    OpenObjectFile,
    OpenPackage,
    OpenTail,
    PreviewIngest,
    ReadObjects,
    Replay,
    ServeObject,
    Stream,
)
from artifactstore_protocols.metadata import Metadata
from artifactstore_protocols.moments import duration_us
from artifactstore_protocols.package_listing import (
    ALL,
    EntryFilter,
    EntryListing,
    PackageFilter,
    PackageListing,
    SortKey,
)
from artifactstore_protocols.package_tree import PackageTree
from artifactstore_protocols.packages import NotFinalized, PackageIdNeeded, TagNotFound
from artifactstore_protocols.paths import check_path, path_key, without_dot
from artifactstore_protocols.purging import ContentPurged, PurgeReport
from artifactstore_protocols.records import (
    BackupReport,
    CopyReport,
    DirectoryIngest,
    DirectoryItem,
    EntryChange,
    ExpiredPackage,
    ExportReport,
    FileRecord,
    FinalizedPackage,
    FoundEntry,
    HealthReport,
    HistoryEntry,
    Hold,
    IngestPreview,
    IngestProgress,
    IngestSummary,
    LogExport,
    LogImport,
    MetadataSchema,
    PackageRecord,
    RepairReport,
    ReplayProgress,
    ReplayReport,
    RestoreReport,
    RetainedPackage,
    RetentionReport,
    Tag,
    TransferProgress,
    VerifyProgress,
    VerifyReport,
)
from artifactstore_protocols.redaction import RedactionReport
from artifactstore_protocols.retention import (
    DEFAULT_RETENTION,
    RETENTION_CLASSES,
    RetentionClass,
    added_class,
    check_class_name,
)
from artifactstore_protocols.selection import EVERYTHING, Selection
from artifactstore_protocols.storage import HeldFile, KnownObject, StorageError
from artifactstore_protocols.store_stats import StoreStats
from artifactstore_protocols.supervision import ActorStopped, SupervisorSnapshot
from artifactstore_protocols.token_records import Token
from artifactstore_protocols.tokens import ALL_PACKAGES, Grant, Scope, Secret

__all__ = ["DEFAULT_PRINCIPAL", "PackageReads", "Registry", "StoreClosed", "event_store", "package_reads"]

_PAGE = 500
DEFAULT_PRINCIPAL = "anonymous"
"""The principal that is recorded if the caller names none."""


class Registry:
    """A running store. `open_registry` creates one.

    Every change takes `principal`, the one that its events record. Most changes take `idempotency_key`: a caller that
    does not know whether a call succeeded repeats it with the same key and gets the first call's answer. A `package`
    argument is a package's id or a part of it, a name, which means the newest finalized package of that name, or
    another form that `artifactstore_protocols.package_references` lists. Methods that change an open package prefer the
    open package of a name. An argument that has none of these forms raises `InvalidValue`.

    Every method checks its arguments first, and raises `InvalidValue` for a value that the annotation does not allow.
    In addition to the errors in its own documentation, every method except `snapshot` raises:

    - an `AskError` if an actor is down;
    - `DatabaseUnavailable` or a related error if the database is unavailable;
    - `StoreClosed` after the block that opened the store has ended;
    - `WrongEventLoop` if the caller does not run in the trio run that opened the store. A worker thread uses
      `trio.from_thread.run`.
    """

    def __init__(
        self, actors: Actors, store: EventStore, tree: Tree, closed: trio.Event, root: Path | None = None
    ) -> None:
        self._actors_while_open = actors
        self._store_while_open = store
        self._tree = tree
        self._closed = closed
        self._root = root
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
        metadata: Metadata | None = None,
        schema: str | None = None,
        parents: Sequence[str] = (),
        principal: str = DEFAULT_PRINCIPAL,
        idempotency_key: str | None = None,
    ) -> PackageRecord:
        """Create an open package.

        Args:
            name: the name of the package.
            retention: the name of its retention class.
            metadata: values by key: text, integers, booleans, lists and maps.
            schema: the schema that the metadata must fit, as `NAME` or `NAME@VERSION`. It must also fit, together with
                the annotations, when the package is finalized.
            parents: the finalized packages that this one is made from.
            principal: the principal.
            idempotency_key: see the class.

        Raises:
            SchemaNotFound, SchemaViolated: there is no such schema, or the metadata does not fit it.
            SchemaRequired: packages of this name must have another schema.
            PackageNotFound, AmbiguousPackage, NotFinalized: a parent is no finalized package.
            UnknownRetentionClass: the retention class does not exist.
            InvalidValue: a value breaks a rule.
            IdempotencyConflict: the key belongs to a different call.
        """
        ids = await self._package_ids(parents)
        message = OpenPackage(name, retention, dict(metadata or {}), principal, idempotency_key, schema, ids)
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
        principal: str = DEFAULT_PRINCIPAL,
        idempotency_key: str | None = None,
    ) -> FileRecord:
        """Put one file into an open package.

        Args:
            package: the package; see the class.
            path: the path of the file in the package.
            source: a local file, or its bytes in chunks of any size. A child task of the caller reads the stream. The
                stream is no longer in use when this returns or raises; if it is a generator, it is closed.
            expected_size: size in bytes that the content must have; None if unknown.
            executable: None takes the value of the local file; a stream gets False.
            media_type: None derives it from the path.
            replace: replace an existing file of this path.
            principal: the principal.
            idempotency_key: see the class.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PackageFinalizedAlready, PathRefused, PathTaken, PathConflict, TooManyFiles: the package does not accept the
                file.
            SourceError, SourceInsideStore, StorageError: the file cannot be read or stored. The package is unchanged.
            Exception: what reading the stream raised, unchanged. The package is unchanged.
        """
        on_existing = OnExisting.REPLACE if replace else OnExisting.REFUSE

        async def add(bytes_of_it: FileSource | AsyncIterator[bytes]) -> FileRecord:
            message = AddFile(
                package_id=await self._package_id(package, prefer_open=True),
                path=path,
                source=bytes_of_it,
                expected_size=expected_size,
                executable=executable,
                media_type=media_type,
                on_existing=on_existing,
                principal=principal,
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
        sources: Sources,
        *,
        prefix: str = "",
        strip_components: int = 0,
        replace: bool = False,
        links: LinkPolicy = LinkPolicy.KEEP,
        selection: Selection = EVERYTHING,
        skip_unreadable: bool = False,
        principal: str = DEFAULT_PRINCIPAL,
        progress: Callable[[IngestProgress], None] | None = None,
        files_cache: bool = True,
    ) -> DirectoryIngest:
        """Put everything below a directory into an open package, with one transaction per batch.

        The entries are files, symbolic links and empty directories. `selection` says which are taken. By default links
        are kept as links; see `LinkPolicy`. A repeated call, after an interruption or not, skips entries that the
        package already has with the same content. With `files_cache`, a file that an earlier ingest read and that is
        unchanged since is not read again, provided its content is in the store. If `progress` raises an exception, the
        ingest stops and raises that exception.

        `sources` may also be a file, a `Source`, or a sequence of these. Of several, each directory keeps its name in
        the package; see `artifactstore_protocols.sources`. `prefix` is the directory of the package for all.
        `strip_components` removes so many names from the beginning of each path, before `prefix` is added.

        Raises:
            PathUnusable, IgnoreFileRefused, EntriesRefused, PathRefused, TreeTooLarge: a source is rejected, before
                anything is stored. `EntriesRefused` lists all entries that the package cannot hold.
            Exception: the errors of `ingest_file`.
        """
        on_existing = OnExisting.REPLACE if replace else OnExisting.RESUME
        tree = source_tree(
            sources,
            prefix,
            links,
            selection,
            skip_unreadable=skip_unreadable,
            strip_components=strip_components,
        )
        package_id = await self._package_id(package, prefer_open=True)

        async def add(tell: Callable[[IngestProgress], None] | None) -> DirectoryIngest:
            message = AddDirectory(package_id, tree, on_existing, principal, tell, files_cache)
            return await self._actors.ingest.ask(message, timeout=NO_TIME_LIMIT)

        return await with_progress(progress, add)

    @checked
    async def finalize_package(self, package: str, *, principal: str = DEFAULT_PRINCIPAL) -> FinalizedPackage:
        """Finalize a package. A package that is already finalized gives the same answer.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PackageBusy: this process is putting files into the package.
            PackageChanged: another process is putting files into the package.
        """
        message = FinalizePackage(await self._package_id(package, prefer_open=True), principal)
        return await self._actors.ingest.ask(message, timeout=NO_TIME_LIMIT)

    @checked
    async def ingest_tree(
        self,
        sources: Sources,
        *,
        name: str | None = None,
        prefix: str = "",
        strip_components: int = 0,
        retention: str = DEFAULT_RETENTION,
        metadata: Metadata | None = None,
        schema: str | None = None,
        parents: Sequence[str] = (),
        links: LinkPolicy = LinkPolicy.KEEP,
        selection: Selection = EVERYTHING,
        skip_unreadable: bool = False,
        principal: str = DEFAULT_PRINCIPAL,
        idempotency_key: str | None = None,
        progress: Callable[[IngestProgress], None] | None = None,
        files_cache: bool = True,
    ) -> IngestSummary:
        """Create a package, put a directory into it and finalize it. By default the package has the directory's name.

        See `create_package` for `metadata`, `schema` and `parents`, and `ingest_directory` for the other arguments.
        Several sources need a `name`.

        After an interruption, the same call continues with the package of the interrupted call if it has an idempotency
        key. The key covers the package, not the sources. Without a key it does so with `files_cache`, unless a source
        is an archive or a descriptor, or the sources have lost a path that the package holds: then it creates a new
        package.

        Raises:
            Exception: the errors of `create_package`, `ingest_directory` and `finalize_package`. A rejected directory
                creates no package. A later failure leaves an open package behind, with one exception: if the first
                batch of files fails and no idempotency key could find the package again, there is no package.
        """
        tree = source_tree(
            sources,
            prefix,
            links,
            selection,
            skip_unreadable=skip_unreadable,
            strip_components=strip_components,
        )
        ids = await self._package_ids(parents)

        async def ingest(tell: Callable[[IngestProgress], None] | None) -> IngestSummary:
            message = IngestTree(
                tree=tree,
                name=name,
                retention_class=retention,
                metadata=dict(metadata or {}),
                principal=principal,
                idempotency_key=idempotency_key,
                progress=tell,
                files_cache=files_cache,
                schema=schema,
                parents=ids,
            )
            return await self._actors.ingest.ask(message, timeout=NO_TIME_LIMIT)

        return await with_progress(progress, ingest)

    @checked
    async def preview_ingest(
        self,
        sources: Sources,
        *,
        prefix: str = "",
        strip_components: int = 0,
        links: LinkPolicy = LinkPolicy.KEEP,
        selection: Selection = EVERYTHING,
        skip_unreadable: bool = False,
    ) -> IngestPreview:
        """Return what `ingest_tree` and `ingest_directory` would store and leave out, without storing anything.

        A pipe as the source is read to its end.

        Raises:
            PathUnusable, IgnoreFileRefused, EntriesRefused, PathRefused, TreeTooLarge: a source would be rejected.
        """
        tree = source_tree(
            sources,
            prefix,
            links,
            selection,
            skip_unreadable=skip_unreadable,
            strip_components=strip_components,
        )
        return await self._actors.ingest.ask(PreviewIngest(tree), timeout=NO_TIME_LIMIT)

    @checked
    async def preview_package(
        self,
        name: str,
        *,
        retention: str = DEFAULT_RETENTION,
        metadata: Metadata | None = None,
        schema: str | None = None,
        parents: Sequence[str] = (),
    ) -> str | None:
        """Return the schema that `create_package` would give to a package, as `NAME@VERSION`; None for none.

        Nothing is created. See `create_package` for the arguments.

        Raises:
            SchemaNotFound, SchemaRequired, SchemaViolated, PackageNotFound, AmbiguousPackage, NotFinalized,
                UnknownRetentionClass, InvalidValue: `create_package` would refuse the package.
        """
        ids = await self._package_ids(parents)
        package = OpenPackage(name, retention, dict(metadata or {}), DEFAULT_PRINCIPAL, None, schema, ids)
        check_creation(package)
        return await preview_package(self._store, package)

    @checked
    async def register_metadata_schema(
        self,
        name: str,
        schema: Mapping[str, CanonicalValue],
        *,
        principal: str = DEFAULT_PRINCIPAL,
        idempotency_key: str | None = None,
    ) -> MetadataSchema:
        """Add the next version of a named JSON Schema, which packages that name it must fit.

        A part of JSON Schema 2020-12 is supported; see `artifactstore_protocols.metadata_schema`.

        Raises:
            InvalidValue: the schema has a keyword that is not supported, such as `pattern`. The error has its place.
            NotEncodable: the schema holds a float or a value that JSON cannot represent.
        """
        value = dict(schema)
        canonical.encode(value)
        command = RegisterMetadataSchema(name, rfc8785.dumps(value).decode())
        committed = await self._commit(command, principal, idempotency_key)
        # From the event, not from the table: a repeated call returns the version that the first call created.
        registered = cast("MetadataSchemaRegistered", committed.payloads()[0])
        return MetadataSchema(registered.name, registered.version, registered.schema)

    @checked
    async def get_metadata_schema(self, schema: str) -> MetadataSchema:
        """Return a metadata schema: `NAME` is its latest version, and `NAME@VERSION` another one.

        Raises:
            SchemaNotFound: there is no such schema.
        """
        found = await find_schema(self._store, schema)
        return _required(found, await self._store.schema_requirements())

    @checked
    async def list_metadata_schemas(self) -> AsyncGenerator[MetadataSchema]:
        """Yield every version of every metadata schema in the order of names and versions, read in pages."""
        after = ("", 0)
        while page := await self._store.metadata_schemas(after=after, limit=_PAGE):
            requirements = await self._store.schema_requirements()
            for each in page:
                yield _required(each, requirements)
            after = (page[-1].name, page[-1].version)

    @checked
    async def require_schema(self, glob: str, schema: str, *, principal: str = DEFAULT_PRINCIPAL) -> MetadataSchema:
        """Require a schema for new packages whose name matches a glob, and return the schema.

        A package that is created without a schema gets it, and one with another schema is refused. Packages that exist
        keep what they have. A glob that has a requirement gets this one instead.

        Args:
            glob: a glob for names of packages; see `artifactstore_protocols.globs`.
            schema: the schema, as `NAME` (the version that is the latest one now) or `NAME@VERSION`.
            principal: the principal.

        Raises:
            SchemaNotFound: there is no such schema.
            InvalidValue: the glob is invalid, or there are 100 already.
        """
        committed = await self._commit(RequireSchema(glob, schema), principal, None)
        for payload in committed.payloads():
            schema = cast("SchemaRequirementSet", payload).schema
        found = await find_schema(self._store, schema)
        return _required(found, await self._store.schema_requirements())

    @checked
    async def unrequire_schema(self, glob: str, *, principal: str = DEFAULT_PRINCIPAL) -> None:
        """No longer require a schema for new packages whose name matches a glob. Packages keep their schemas.

        Raises:
            SchemaNotRequired: no schema is required for exactly this glob.
        """
        await self._commit(UnrequireSchema(glob), principal, None)

    @checked
    async def annotate_package(
        self,
        package: str,
        annotations: Metadata | None = None,
        *,
        remove: Sequence[str] = (),
        principal: str = DEFAULT_PRINCIPAL,
    ) -> PackageRecord:
        """Set and remove annotations of an open or finalized package, and return the package.

        Annotations stand beside the manifest, which does not change. Their history is in `history`.

        Args:
            package: the package; see the class.
            annotations: values by key, as metadata has them. No key may be one of the metadata.
            remove: the keys of annotations to remove.
            principal: the principal.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            MetadataKeyTaken: the package's metadata has one of the keys.
            AnnotationNotFound: the package lacks an annotation that should be removed.
        """
        package_id = await self._package_id(package)
        return await self._changed(AnnotatePackage(package_id, annotations or {}, tuple(remove)), principal, None)

    @checked
    async def delete_package(
        self, package: str, *, reason: str, before_expiry: bool = False, principal: str = DEFAULT_PRINCIPAL
    ) -> PackageRecord:
        """Delete an open or finalized package, and return its record. A package that is gone already does not change.

        The record stays, with name, counts, digests, metadata, tags and annotations, and so does the manifest. The
        files cannot be read any more.

        Args:
            package: the id of the package. A name is refused: it can mean another package tomorrow.
            reason: why, in 1 to 200 printable characters.
            before_expiry: whether to delete a finalized package whose retention has not ended.
            principal: the principal.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PackageIdNeeded: the text is not the id of a package.
            PackageKept: a hold or a protected tag keeps it, or its retention has not ended.
        """
        package_id = await self._exact_id(package)
        command = DeletePackage(package_id, reason, before_expiry, environment.get().now_us())
        return await self._changed(command, principal, None)

    @checked
    async def place_hold(
        self, package: str, *, reason: str, principal: str = DEFAULT_PRINCIPAL, idempotency_key: str | None = None
    ) -> Hold:
        """Place a hold on an open or finalized package. Until it is released, the package is not deleted and stays.

        A package can have several holds.

        Args:
            package: the id of the package. A name is refused: it can mean another package tomorrow.
            reason: why, in 1 to 200 printable characters.
            principal: the principal.
            idempotency_key: see the class.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PackageIdNeeded: the text is not the id of a package.
            PackageGone: the package was deleted or has expired.
        """
        command = PlaceHold(new_id(), await self._exact_id(package), reason)
        committed = await self._commit(command, principal, idempotency_key)
        [stored], [payload] = committed.events, committed.payloads()
        placed, event = cast("HoldPlaced", payload), stored.event
        return Hold(
            placed.hold_id,
            placed.package_id,
            placed.reason,
            event.principal,
            event.recorded_at_us,
            stored.sequence,
        )

    @checked
    async def release_hold(self, hold: str, *, principal: str = DEFAULT_PRINCIPAL) -> None:
        """Release a hold, which is named by its id.

        Raises:
            HoldNotFound: there is no such hold, or it was released before.
        """
        await self._commit(ReleaseHold(hold), principal, None)

    @checked
    async def list_holds(self, package: str | None = None) -> AsyncGenerator[Hold]:
        """Yield the holds that were not released, of one package or of all, read in pages in the order of their ids.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
        """
        package_id = None if package is None else await self._package_id(package)
        after = ""
        while page := await self._store.holds(package_id=package_id, after=after, limit=_PAGE):
            for each in page:
                yield each
            after = page[-1].hold_id

    @checked
    async def set_retention(self, package: str, retention: str, *, principal: str = DEFAULT_PRINCIPAL) -> PackageRecord:
        """Set how long a finalized package is kept after it was finalized, and return its record.

        This may also shorten its retention, unless a hold is on it. The manifest keeps the retention that the package
        was finalized with.

        Args:
            package: the id of the package. A name is refused: it can mean another package tomorrow.
            retention: a retention class, or a duration such as `30d` (or s, m, h, w).
            principal: the principal.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PackageIdNeeded: the text is not the id of a package.
            PackageGone, NotFinalized: the package is gone, or open.
            PackageKept: its retention would become shorter, and a hold is on it.
            UnknownRetentionClass: the text is no class and no duration.
        """
        package_id, duration = await self._exact_id(package), duration_us(retention)
        if duration is None:
            check_class_name(retention)
        command = SetRetention(package_id, retention if duration is None else CUSTOM, duration)
        return await self._changed(command, principal, None)

    @checked
    async def extend_retention(
        self, package: str, duration: str, *, principal: str = DEFAULT_PRINCIPAL, idempotency_key: str | None = None
    ) -> PackageRecord:
        """Keep a finalized package longer, and return its record.

        The duration is added to the end of its retention, or to the present time if its retention has ended.

        Args:
            package: the id of the package. A name is refused: it can mean another package tomorrow.
            duration: how much longer, such as `30d` (or s, m, h, w).
            principal: the principal.
            idempotency_key: see the class. Without one, a repeated call extends the retention once more.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PackageIdNeeded: the text is not the id of a package.
            PackageGone, NotFinalized: the package is gone, or open.
            PackageKept: its retention is permanent.
            InvalidValue: the duration is none.
        """
        longer_us = _duration_us(duration)
        package_id = await self._exact_id(package)
        command = ExtendRetention(package_id, longer_us, environment.get().now_us())
        return await self._changed(command, principal, idempotency_key)

    @checked
    async def add_retention_class(
        self, name: str, duration: str, *, principal: str = DEFAULT_PRINCIPAL
    ) -> RetentionClass:
        """Add a retention class, and return it. It never changes, so packages keep what they were promised.

        Args:
            name: 1 to 40 of a-z, 0-9, `_` and `-`, the first a letter, and no class that every store has.
            duration: how long a package is kept after it was finalized, such as `90d` (or s, m, h, w).
            principal: the principal.

        Raises:
            RetentionClassTaken: the store has the class already, with another duration.
            InvalidValue: the name or the duration is none, or every store has a class of this name.
        """
        command = AddRetentionClass(name, _duration_us(duration))
        await self._commit(command, principal, None)
        return added_class(name, command.duration_us)

    @checked
    async def list_retention_classes(self) -> AsyncGenerator[RetentionClass]:
        """Yield the classes that every store has, and then those that were added, in the order of their names."""
        for each in (*RETENTION_CLASSES.values(), *await self._store.retention_classes()):
            yield each

    @checked
    async def explain_retention(self, package: str) -> RetentionReport:
        """Return what keeps a package and until when, or which rule or person lets or let it go, with the events.

        If a keep policy matches the name of the package, reads all finalized packages of the name.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
        """
        package_id = await self._package_id(package)
        from artifactstore.explaining import explain  # noqa: PLC0415 - see above

        return await explain(self._store, package_id, environment.get().now_us())

    @checked
    async def list_retention(self, expiring_within: str = "0d") -> AsyncGenerator[RetainedPackage]:
        """Yield the finalized packages whose retention ends within a time, first those that ended first.

        They may be kept by a hold or a protected tag nevertheless.

        Args:
            expiring_within: a duration such as `7d` (or s, m, h, w); by default only those whose retention has ended.

        Raises:
            InvalidValue: the duration is none.
        """
        until_us = environment.get().now_us() + _duration_us(expiring_within)
        after = (0, "")
        while page := await self._store.retained(until_us=until_us, after=after, limit=_PAGE, kept=True):
            for each in page:
                yield each
            after = (page[-1].expires_at_us, page[-1].package_id)

    @checked
    async def expire_packages(
        self,
        *,
        dry_run: bool = False,
        yes_expire: int | None = None,
        abandoned_after: str = ABANDONED_AFTER,
        principal: str = DEFAULT_PRINCIPAL,
    ) -> AsyncGenerator[ExpiredPackage]:
        """Let go what is due, and yield each package that went.

        These are finalized packages whose retention has ended, in the order of that end, and open packages that nobody
        touched for long. A hold, a protected tag and the class `permanent` keep a package. Another run can go on at the
        same time.

        Args:
            dry_run: whether to change nothing, and yield what would go.
            yes_expire: the number of packages that may go even if that is most of them; any other number stops the run.
            abandoned_after: how long nobody touched an open package that goes, such as `7d` (or s, m, h, w).
            principal: the principal.

        Raises:
            ClockDoubtful: the clock is behind the time that the store saw last, or more than 31 days ahead of it.
            TooMuchExpires: at least 10 packages, and more than half of all, would go, or not `yes_expire`.
            InvalidValue: the duration is none.
        """
        from artifactstore.expiry import expire  # noqa: PLC0415 - see above

        expired = expire(
            self._store,
            lambda command: self._commit(command, principal, None),
            now_us=environment.get().now_us(),
            abandoned_after_us=_duration_us(abandoned_after),
            dry_run=dry_run,
            confirmed=yes_expire,
        )
        async with aclosing(expired) as packages:
            async for each in packages:
                yield each

    @checked
    async def observe_clock(self, *, principal: str = DEFAULT_PRINCIPAL) -> None:
        """Record the time by the clock, as the service does every hour. Within an hour of the last, nothing happens.

        Raises:
            ClockDoubtful: the clock differs too much from the time that the store saw last.
        """
        await self._commit(ObserveClock(environment.get().now_us()), principal, None)

    @checked
    async def confirm_clock(self, *, principal: str = DEFAULT_PRINCIPAL) -> int:
        """Confirm that the clock is right, and return its time in microseconds since 1970 UTC."""
        now_us = environment.get().now_us()
        await self._commit(ConfirmClock(now_us), principal, None)
        return now_us

    @checked
    async def set_tag(
        self, tag: str, package: str, *, protect: bool | None = None, principal: str = DEFAULT_PRINCIPAL
    ) -> Tag:
        """Set a tag to a finalized package, and return the tag. A tag that is set like this already does not change.

        Args:
            tag: the name of the tag. `tag:NAME` names its package wherever a package is named.
            package: the package; see the class.
            protect: True: the tag can be neither moved nor deleted. False: it can. None: as before.
            principal: the principal.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            NotFinalized: the package is open.
            TagProtected: the tag is protected and names another package.
        """
        package_id = await self._package_id(package)
        while not (committed := await self._commit(SetTag(tag, package_id, protect), principal, None)).events:
            current = await self._store.tag(tag)
            if current is not None and current.package_id == package_id:
                return current  # otherwise somebody has moved or deleted it meanwhile
        [stored], [payload] = committed.events, committed.payloads()
        was_set, event = cast("TagSet", payload), stored.event
        return Tag(tag, was_set.package_id, was_set.protected, event.principal, event.recorded_at_us, stored.sequence)

    @checked
    async def delete_tag(self, tag: str, *, principal: str = DEFAULT_PRINCIPAL) -> None:
        """Delete a tag. Its package stays, and the log keeps its history.

        Raises:
            TagNotFound: there is no such tag.
            TagProtected: the tag is protected.
        """
        await self._commit(DeleteTag(tag), principal, None)

    @checked
    async def list_tags(self) -> AsyncGenerator[Tag]:
        """Yield every tag in the order of the names, read in pages."""
        after = ""
        while page := await self._store.tags(after=after, limit=_PAGE):
            for each in page:
                yield each
            after = page[-1].tag

    @checked
    async def tag_history(self, tag: str) -> AsyncGenerator[HistoryEntry]:
        """Yield who set or deleted a tag and when, in order, also for a tag that was deleted.

        Raises:
            TagNotFound: no event is about this tag.
        """
        DeleteTag(tag)  # refuses what is no tag
        entries = self._entries(tag_subject(tag))
        async with aclosing(entries):
            found = False
            async for entry in entries:
                found = True
                yield entry
        if not found:
            raise TagNotFound(tag)

    @checked
    async def set_keep_policy(self, group: str, rules: KeepRules, *, principal: str = DEFAULT_PRINCIPAL) -> KeepPolicy:
        """Set the keep policy of a group, in place of the one before, and return it. The same policy does not change.

        Setting a policy lets no package go; `apply_keep_policies` does.

        Args:
            group: a package name, or a glob of names.
            rules: the rules that keep packages. A package of the group goes if no rule of any policy keeps it.
            principal: the principal.
        """
        command = SetKeepPolicy(group, rules)
        while not (committed := await self._commit(command, principal, None)).events:
            current = await self._keep_policy(group)
            if current is not None and current.rules == rules:
                return current  # otherwise somebody has changed it meanwhile
        [stored] = committed.events
        return KeepPolicy(group, rules, stored.event.principal, stored.event.recorded_at_us, stored.sequence)

    async def _keep_policy(self, group: str) -> KeepPolicy | None:
        return next((each for each in await self._store.keep_policies() if each.group == group), None)

    @checked
    async def get_keep_policy(self, group: str) -> KeepPolicy:
        """Return the keep policy of a group.

        Raises:
            KeepPolicyNotFound: the group has none.
        """
        found = await self._keep_policy(DeleteKeepPolicy(group).group)
        if found is None:
            raise KeepPolicyNotFound(group)
        return found

    @checked
    async def delete_keep_policy(self, group: str, *, principal: str = DEFAULT_PRINCIPAL) -> None:
        """Delete the keep policy of a group. Its packages stay.

        Raises:
            KeepPolicyNotFound: the group has none.
        """
        await self._commit(DeleteKeepPolicy(group), principal, None)

    @checked
    async def apply_keep_policies(
        self,
        group: str | None = None,
        *,
        dry_run: bool = False,
        yes_expire: int | None = None,
        principal: str = DEFAULT_PRINCIPAL,
    ) -> AsyncGenerator[KeepVerdict]:
        """Let packages go that no keep policy keeps, also before their retention ends. Yield what policies say of each.

        Yields the packages of each name newest first, once those that go are gone. A package whose name no policy
        matches is not judged. Protected tags, holds and permanent retention always keep a package. The record of each
        package that goes has the rule `policy:GROUP`. A repeated call continues an interrupted one.

        Args:
            group: the group of the policy; None for all policies. Other policies that match a name can keep packages.
            dry_run: only judge, and let nothing go.
            yes_expire: the number of packages that may go even if that is most of them; any other number stops the run.
            principal: the principal.

        Raises:
            KeepPolicyNotFound: the group has no policy.
            ClockDoubtful: the clock is behind the time that the store saw last, or more than 31 days ahead of it.
            TooMuchExpires: at least 10 packages, and more than half of those of the group, or without a group of the
                store, would go, or not `yes_expire`. If none would go, the number does not matter.
        """
        from artifactstore.keeping_policies import apply_policies  # noqa: PLC0415 - see above

        applied = apply_policies(
            self._store,
            group,
            lambda command: self._commit(command, principal, None),
            dry_run=dry_run,
            confirmed=yes_expire,
        )
        async with aclosing(applied) as verdicts:
            async for each in verdicts:
                yield each

    @checked
    async def list_keep_policies(self) -> AsyncGenerator[KeepPolicy]:
        """Yield every keep policy in the order of the groups."""
        for each in await self._store.keep_policies():
            yield each

    @checked
    async def create_token(
        self,
        name: str,
        *,
        scopes: Sequence[Scope],
        packages: Sequence[str] = (ALL_PACKAGES,),
        expires: str = "90d",
        principal: str = DEFAULT_PRINCIPAL,
    ) -> Secret:
        """Create a token for the service, and return its secret, which nothing can show again.

        If the outcome is unknown, revoke the token and create another one: its secret is lost.

        Args:
            name: 1 to 100 of A-Z, a-z, 0-9, `.`, `_` and `-`, the first a letter or a digit. No other token has or had
                this name. The principal of what the token does is `token:` and the name.
            scopes: what the token may do: `read`, `write`, `tag`, `delete`, `admin`. No scope includes another one.
            packages: globs for the names of the packages with which it may do so. One with `admin` is for all.
            expires: when it ends: `90d` (or m, h, w) from now, a day, a time, or `never`.
            principal: the principal.

        Raises:
            TokenNameTaken: a token of this name exists or existed.
            ClockDoubtful: the clock is behind the time that the store saw last, or more than 31 days ahead of it.
            InvalidValue: the name, a scope, a glob or the expiry is none.
        """
        from artifactstore.access_tokens import create_token  # noqa: PLC0415 - see above

        return await create_token(
            self._store,
            lambda command: self._commit(command, principal, None),
            name,
            scopes=scopes,
            packages=packages,
            expires=expires,
        )

    @checked
    async def get_token(self, name: str) -> Token:
        """Return a token, without its secret.

        Raises:
            TokenNotFound: there is no such token.
        """
        from artifactstore.access_tokens import get_token  # noqa: PLC0415 - see above

        return await get_token(self._store, name)

    @checked
    async def list_tokens(self) -> AsyncGenerator[Token]:
        """Yield every token in the order of the names, also those that were revoked, have expired or were imported."""
        from artifactstore.access_tokens import listed_tokens  # noqa: PLC0415 - see above

        async with aclosing(listed_tokens(self._store)) as tokens:
            async for each in tokens:
                yield each

    @checked
    async def revoke_token(self, name: str, reason: str, *, principal: str = DEFAULT_PRINCIPAL) -> Token:
        """Revoke a token for good, and return it. A token that is revoked already does not change.

        Args:
            name: the name of the token, which is never used again.
            reason: why, in 1 to 200 printable characters.
            principal: the principal.

        Raises:
            TokenNotFound: there is no such token.
        """
        from artifactstore.access_tokens import revoke_token  # noqa: PLC0415 - see above

        return await revoke_token(self._store, lambda command: self._commit(command, principal, None), name, reason)

    @checked
    async def identify(self, secret: str) -> Grant:
        """Return what the token of a secret allows. It works from its creation until its end or its revocation.

        Raises:
            TokenInvalid: no token of this store has the secret, or the token is revoked or has expired, or the text is
                no secret. The error does not say which.
        """
        from artifactstore.access_tokens import identify  # noqa: PLC0415 - see above

        return await identify(self._store, secret)

    @checked
    async def get_package(self, package: str) -> PackageRecord:
        """Return a package.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
        """
        return await self._store.find_package(package)

    async def _package_ids(self, packages: Sequence[str]) -> tuple[str, ...]:
        """Return the ids of packages; of a package that is named twice, one."""
        return tuple(dict.fromkeys([await self._package_id(each) for each in packages]))

    async def _resolved(self, where: PackageFilter) -> PackageFilter:
        """Return a filter with the id of the package that it names."""
        return where if where.made_from is None else replace(where, made_from=await self._package_id(where.made_from))

    async def _exact_id(self, package: str) -> str:
        """Return the id of a package that is named by its id.

        Raises:
            PackageIdNeeded: it is named in another way.
        """
        package_id = await self._package_id(package, prefer_open=True)
        if package != package_id:
            raise PackageIdNeeded(package, package_id)
        return package_id

    async def _package_id(self, package: str, *, prefer_open: bool = False) -> str:
        return (await self._store.find_package(package, prefer_open=prefer_open)).package_id

    @checked
    async def list_packages(
        self,
        where: PackageFilter = ALL,
        *,
        sort: SortKey = "created",
        reverse: bool = False,
        after: str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[PackageRecord]:
        """Iterate over packages: by default over all, the newest first.

        Packages that are created meanwhile neither repeat nor hide others.

        Args:
            where: which packages.
            sort: `created` (the newest first), `name` (by code points) or `size` (the largest first).
            reverse: whether to reverse this order.
            after: a package of the list, after which it continues.
            limit: the maximum number of packages.

        Raises:
            PackageNotFound, AmbiguousPackage: no package is `after`, or several are.
        """
        page = PackageListing(await self._resolved(where), sort, ascending=(sort == "name") != reverse)
        async with aclosing(finding.list_packages(self._store, page, after=after, limit=limit)) as packages:
            async for each in packages:
                yield each

    @checked
    async def find(
        self,
        wanted: EntryFilter,
        *,
        packages: PackageFilter = ALL,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncGenerator[FoundEntry]:
        """Iterate over the entries with a path, a name or a content, and their packages: the newest package first.

        A content, a file name and a pattern that ends with one are found by an index. An exact path, and what begins
        with the same text, are one search in each package. Only a pattern like `*.log` compares every path.

        Args:
            wanted: which entries.
            packages: in which packages.
            reverse: whether the oldest package comes first.
            limit: the maximum number of entries.
        """
        page = EntryListing(wanted, await self._resolved(packages), ascending=reverse)
        async with aclosing(finding.find_entries(self._store, page, limit=limit)) as found:
            async for each in found:
                yield each

    @checked
    async def list_files(self, package: str) -> Sequence[FileRecord]:
        """Return the files, symbolic links and empty directories of a package, sorted by the parts of their paths.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
        """
        _package, entries = await self._store.files(await self._package_id(package))
        return entries

    @checked
    async def list_directory(self, package: str, path: str = "") -> Sequence[DirectoryItem]:
        """Return the items of one directory of a package, sorted by name; of its root by default.

        The path of a file or a symbolic link gives that one item. Links are not followed.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            FileNotInPackage: the package has nothing at this path.
        """
        package_id = await self._package_id(package)
        from artifactstore_protocols.directories import list_directory  # noqa: PLC0415 - see above

        _package, entries = await self._store.files(package_id)
        items = await in_thread(lambda: list_directory(entries, without_dot(path)))
        if items is None:
            raise FileNotInPackage(package_id, path)
        return items

    @checked
    async def diff_packages(self, before: str, after: str, *, other: Settings | None = None) -> Sequence[EntryChange]:
        """Return the differences that lead from one package to another, in the order of their paths.

        Contents, executable bits, kinds and link targets count; media types do not. So there is no difference exactly
        if the tree digests are equal. A file whose content was removed at another path counts as renamed.

        Args:
            before: the first package; see the class.
            after: the second package.
            other: the store of the second package, which must exist; None for this store.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            Exception: the errors of `open_registry`, for the other store.
        """
        first = await self._package_id(before)
        from artifactstore_protocols.package_diff import changes_between, differing_pairs  # noqa: PLC0415 - see above

        if other is None:
            pairs = await self._store.differences(first, await self._package_id(after))
            return await in_thread(lambda: changes_between(pairs))
        _package, entries = await self._store.files(first)
        from artifactstore.open import open_registry  # noqa: PLC0415 - it imports this module

        async with open_registry(other, create=False) as registry:
            found = await outcome.acapture(registry.list_files, after)
        theirs = found.unwrap()
        return await in_thread(lambda: changes_between(differing_pairs(entries, theirs)))

    @checked
    async def get_file_record(self, package: str, path: str, *, follow_links: bool = False) -> FileRecord:
        """Return the record of one file, symbolic link or empty directory.

        Args:
            package: the package; see the class.
            path: its path in the package.
            follow_links: whether to follow links of the package, also in the middle of the path. The record has the
                path that they lead to.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PathRefused: the path breaks a rule.
            NotAFile: it is a directory with entries; or links are followed, and one leads to nothing in the package.
            FileNotInPackage: the package has no such entry.
        """
        package_id = await self._package_id(package)
        path = without_dot(path)
        record = await self._store.file(package_id, path_key(check_path(path)))
        if record is not None and not (follow_links and record.kind == "link"):
            return record
        from artifactstore_protocols.package_tree import Place  # noqa: PLC0415 - see above

        _package, entries = await self._store.files(package_id)
        place = await in_thread(lambda: PackageTree(entries).resolve(path, follow=follow_links))
        if isinstance(place, Place) and (follow_links or place.path == path_key(path)):
            if place.entry is not None:
                return place.entry
            raise NotAFile(package_id, place.path, "directory", "")
        if record is not None:
            raise NotAFile(package_id, path, record.kind, record.target)
        raise FileNotInPackage(package_id, path)

    @checked
    @asynccontextmanager
    async def get_file(
        self, package: str, path: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open one file, or a range of its bytes, as a stream of large chunks.

        Links of the package are followed. The bytes of a whole file are compared with its digest before the last chunk
        is delivered.

        Raises:
            PackageNotFound, AmbiguousPackage, PathRefused, FileNotInPackage, NotAFile, RangeRefused, ObjectMissing: on
                entry.
            ObjectDamaged: while reading.
        """
        record = await self.get_file_record(package, path, follow_links=True)
        if record.kind != "file":
            raise NotAFile(record.package_id, record.path, record.kind, record.target)
        async with self._object(record.content_address, offset=offset, length=length) as stream:
            yield stream

    @checked
    async def open_package(self, package: str) -> Package:
        """Open a package for reading by paths like those of `pathlib`.

        Its entries are read once and kept in memory: about 1 KB for each. Later changes of an open package, and newer
        packages of the name, do not show. The package needs no closing.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
        """
        record, entries = await self._store.files(await self._package_id(package))
        tree = await in_thread(lambda: PackageTree(entries))
        return Package(Opened(record, tree, AsyncAccess(PackageContents(self._open_object, self._contents), _here)))

    @asynccontextmanager
    async def _object(
        self, content_address: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[Stream[bytes]]:
        stream = await self._open_object(content_address, offset, length)
        try:
            yield stream
        finally:
            stream.close()

    async def _open_object(
        self, content_address: str, offset: int, length: int | None, chunk_bytes: int = SERVED_CHUNK_BYTES
    ) -> Stream[bytes]:
        (known,) = await self._known([content_address])
        if isinstance(known, ContentPurged):
            raise known
        return await self._actors.storage.ask(ServeObject(known, offset, length, chunk_bytes), timeout=NO_TIME_LIMIT)

    async def _contents(self, content_addresses: Sequence[str]) -> tuple[bytes | StorageError, ...]:
        found = await self._known(content_addresses)
        known = tuple(each for each in found if not isinstance(each, ContentPurged))
        read = iter(await self._actors.storage.ask(ReadObjects(known), timeout=NO_TIME_LIMIT) if known else ())
        return tuple(each if isinstance(each, ContentPurged) else next(read) for each in found)

    async def _object_file(self, content_address: str) -> HeldFile | None:
        (known,) = await self._known([content_address])
        if isinstance(known, ContentPurged):
            raise known
        return await self._actors.storage.ask(OpenObjectFile(known), timeout=NO_TIME_LIMIT)

    async def _known(self, content_addresses: Sequence[str]) -> list[KnownObject | ContentPurged]:
        addresses = [ContentAddress.parse(each) for each in content_addresses]
        known = dict[ContentAddress, KnownObject | ContentPurged](await self._store.known_objects(set(addresses)))
        if missing := {address for address in addresses if address not in known}:
            purged = await self._store.purged_contents(missing)
            known.update((address, record.error_at()) for address, record in purged.items())
            for address in missing - purged.keys():
                raise DatabaseDamaged(self._store.name, f"a file has content {address}, and nothing says where that is")
        return [known[address] for address in addresses]

    @checked
    async def export_package(
        self,
        package: str,
        directory: Path,
        *,
        subtree: str = "",
        paths: Sequence[str] | None = None,
        strip_components: int = 0,
        links: LinkPolicy = LinkPolicy.KEEP,
        update: bool = False,
        keep_going: bool = False,
        progress: Callable[[IngestProgress], None] | None = None,
    ) -> ExportReport:
        """Write a package to a new or empty directory: every file checked, with executable bits, then the links.

        A repeated call for the same directory continues an interrupted export. It compares existing files by content
        and writes only what is missing. It never overwrites a file and never follows a link in the directory. The
        report lists what the file system cannot represent, such as executable bits.

        Args:
            package: the package; see the class.
            directory: the directory.
            subtree: a directory, a file or a link of the package; the path above its content is left out.
            paths: files, links and directories of the package; by default everything.
            strip_components: how many names to remove from the beginning of each path.
            links: what to do with symbolic links. Kept ones must not lead out of what is exported. A followed link
                becomes the file or the directory that it leads to in the package.
            update: whether the directory may hold anything. Files and links that differ from the package are replaced,
                each at once. What is not in the package is kept.
            keep_going: whether to leave out what cannot be exported: files whose objects are damaged or missing, and
                kept links that lead out of what is exported. The error's report names them.
            progress: called with the progress.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PathsNotInPackage, PathsCollide, LinksLeadOut: the choice of entries is rejected. Nothing was written.
            InvalidValue: nothing would be left, or links are refused or cannot be followed. Nothing was written.
            ObjectMissing, ObjectDamaged: an object cannot be exported. Files that are already written stay.
            TargetRefused: the directory holds something else, or cannot be written to.
            PathRefused: the tables hold a path or a link that leads out of the directory. Nothing was written.
            ExportIncomplete: some of the entries are not in the directory, which the error's report names.
        """
        choice = ExportChoice(subtree, None if paths is None else tuple(paths), strip_components, links)
        package_id, chosen = await self._chosen(package, choice, leave_out_links=keep_going)
        from artifactstore.package_export import write_package  # noqa: PLC0415 - see above

        return await write_package(
            package_id,
            chosen,
            directory,
            self._object,
            self._contents,
            self._object_file,
            progress,
            update=update,
            keep_going=keep_going,
        )

    async def _chosen(
        self, package: str, choice: ExportChoice, *, leave_out_links: bool = False
    ) -> tuple[str, ChosenEntries]:
        package_id = await self._package_id(package)
        _package, entries = await self._store.files(package_id)
        choose = partial(choose_entries, leave_out_links=leave_out_links)
        return package_id, await in_thread(partial(choose, package_id, entries, choice))

    @checked
    @asynccontextmanager
    async def export_archive(
        self,
        package: str,
        form: Literal["tar", "zip"],
        *,
        subtree: str = "",
        paths: Sequence[str] | None = None,
        strip_components: int = 0,
        links: LinkPolicy = LinkPolicy.KEEP,
        progress: Callable[[IngestProgress], None] | None = None,
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open a package, or a part of it, as the bytes of one tar or zip file.

        The bytes follow from the entries alone: equal entries give equal archives, in every store. If an object is
        damaged or missing, the stream raises an error before the end of the archive. For `subtree`, `paths`,
        `strip_components` and `links`, see `export_package`.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            PathsNotInPackage, PathsCollide, LinksLeadOut: the choice of entries is rejected.
            ObjectMissing, ObjectDamaged: while reading.
        """
        choice = ExportChoice(subtree, None if paths is None else tuple(paths), strip_components, links)
        _package_id, chosen = await self._chosen(package, choice)
        from artifactstore.package_export import archive  # noqa: PLC0415 - see above

        async with aclosing(archive(chosen.entries, form, self._object, self._contents, progress)) as chunks:
            yield chunks

    @checked
    async def copy_package(
        self,
        package: str,
        to: Settings,
        *,
        tags: bool = False,
        principal: str = DEFAULT_PRINCIPAL,
        progress: Callable[[IngestProgress], None] | None = None,
    ) -> CopyReport:
        """Copy a finalized package to another store, which is created if it does not exist.

        The copy has the same name, metadata, schema, annotations, retention class, entries and tree digest, and an id
        of its own. A schema that the other store lacks is registered there. The parents of the copy are those of the
        package that the other store has, or has copies of; the report names the others.

        Contents that the other store has are not read; every other byte is checked. A repeated call continues an
        interrupted copy, and finds a finished one. It carries over what annotations say now; annotations that only the
        copy has stay.

        Args:
            package: the package; see the class.
            to: the other store.
            tags: also set the tags of the package to the copy, with their protection. A tag of the other store moves.
            principal: the principal.
            progress: is called after each batch.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            NotFinalized: the package is open.
            SameStore: the other store is this one.
            UnknownRetentionClass: the other store does not have the retention class.
            SchemaDiffers: the other store has another schema of the same name and version.
            SchemaRequired, SchemaViolated: the other store requires another schema for packages of this name.
            ObjectMissing, ObjectDamaged: an object cannot be copied. The copy stays open.
            CopyDiffers: the tables of a store are damaged. The copy stays open.
            TagProtected: the other store protects one of the tags. The copy is finalized.
            Exception: the errors of `open_registry`, for the other store.
        """
        package_id = await self._package_id(package)
        from artifactstore.open import open_registry  # noqa: PLC0415 - it imports this module
        from artifactstore.package_copy import OtherStore, copy_package, original  # noqa: PLC0415 - see above

        source = await original(self._store, package_id)
        async with open_registry(to) as other:
            actors, store = other._actors, other._store  # noqa: SLF001 - a registry reads the parts of another one
            target = OtherStore(other, store, actors.storage, actors.writer)
            copying = partial(copy_package, self._store, source, target, self._object, self._contents, tags=tags)
            done = await outcome.acapture(copying, principal, progress)
        return done.unwrap()

    @checked
    async def get_manifest_bytes(self, package: str, form: Literal["cbor", "json"] = "cbor") -> bytes:
        """Return the manifest of a finalized package, as canonical CBOR or as RFC 8785 JSON.

        The log keeps the manifest of a package that is gone.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            NotFinalized: the package is open.
            PackageGone: it was open when it was deleted or expired.
            PayloadDiffers: the bytes in the log do not match the manifest digest.
            ManifestRedacted: the manifest was redacted.
        """
        package_id = await self._package_id(package)
        record = await self._store.package(package_id)
        if record.manifest_digest is None:
            record.check_not_gone()
            raise NotFinalized(package_id)
        payload = await self._store.manifest_bytes(package_id)
        if payload is None:
            raise DatabaseDamaged(
                self._store.name, f"the event that finalized package {package_id} is not in its place"
            )
        if form == "cbor":
            return payload
        return await in_thread(lambda: manifest.jcs(manifest.decode(payload)))

    @checked
    @asynccontextmanager
    async def tail_events(self, since: int = 0) -> AsyncGenerator[AsyncIterator[StoredEvent]]:
        """Open a stream of every event after `since`, in order and each once, then of new events until it is closed.

        The stream survives a restart of the actor that feeds it, and continues after the last delivered event.
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
                continue  # opening it again waits for the actor's next incarnation, or raises if there is none
            finally:
                stream.close()

    @checked
    async def read_events(self, since: int = 0, *, limit: int = 500) -> Sequence[StoredEvent]:
        """Return up to `limit` events after `since` that the log has now; fewer if the events are large."""
        return await self._store.read_events(after=since, limit=limit)

    @checked
    async def export_events(
        self, file: Path, *, progress: Callable[[TransferProgress], None] | None = None
    ) -> LogExport:
        """Write the log up to its current head to a file that `import_events` of any store can read.

        The file appears complete and durable, or not at all. Equal logs produce equal files.

        Raises:
            TargetRefused: the file cannot be written.
            LogDamaged: an event is missing from the log.
        """
        from artifactstore.transfer.exporting import export_log  # noqa: PLC0415 - see above

        return await export_log(self._store, file, progress)

    @checked
    async def exported_events(self) -> AsyncGenerator[bytes]:
        """Yield the bytes of the file that `export_events` would write."""
        from artifactstore.transfer.exporting import log_text  # noqa: PLC0415 - see above

        async with aclosing((await log_text(self._store)).chunks()) as chunks:
            async for chunk in chunks:
                yield chunk

    @checked
    async def import_events(
        self, file: Path, *, progress: Callable[[TransferProgress], None] | None = None
    ) -> LogImport:
        """Import the log in a file that `export_events` wrote, unchanged: ids, times, principals and idempotency keys.

        The store's log must be a prefix of the file's log; an empty log is a prefix of any. Existing events are
        compared, later ones are written. Nothing is written before the whole file was read and is valid. The store
        accepts no other writes until the last event is written. A repeated call continues an interrupted import. The
        file does not hold the objects. The answer names the objects that this store lacks.

        Raises:
            LogFileInvalid, LogFilePartial, UnknownEventType, EventRefused: the file is rejected. Nothing was written.
            LogDiffers: the store's log is not a prefix of the file's log.
            ImportUnfinished: another import has begun and must be finished first.
        """
        actors = self._actors
        from artifactstore.transfer.importing import import_log  # noqa: PLC0415 - see above

        return await import_log(self._store, actors.writer, actors.storage, file, progress)

    @checked
    async def backup(
        self, directory: Path, *, prune: bool = False, progress: Callable[[TransferProgress], None] | None = None
    ) -> BackupReport:
        """Copy the log and all objects that it names to a directory, or update the backup in that directory.

        The backup is of the store at the time of the call; other writes continue meanwhile. Only missing events and
        objects are copied, and every byte is checked. The report lists objects of this store that are damaged or
        missing; all others are copied. A repeated call continues an interrupted backup.

        Args:
            directory: a new or empty directory, or an earlier backup.
            prune: whether to remove from the backup the objects that this store has collected.
            progress: called repeatedly with the work that is done.

        Raises:
            BackupRefused, LogDiffers: the directory holds something else, or the backup of another store.
            LogFileInvalid: the last log file in the directory is damaged.
            TargetRefused, StorageError: the backup cannot be written.
            LogDamaged: an event is missing from the log.
        """
        from artifactstore.last_runs import note_backup  # noqa: PLC0415 - see above
        from artifactstore.transfer.backup import back_up  # noqa: PLC0415 - see above

        report = await back_up(self._store, self._actors.storage, directory, progress, prune=prune)
        await note_backup(self._store, report)
        return report

    @checked
    async def preview_pruning(self, directory: Path) -> ObjectTotals:
        """Return how many objects, and bytes, `backup` with `prune` would remove from a backup.

        Raises:
            BackupRefused: the directory holds no backup.
        """
        from artifactstore.transfer.pruning import preview_pruning  # noqa: PLC0415 - see above

        return await preview_pruning(self._store, directory)

    @checked
    async def restore(
        self,
        directory: Path,
        *,
        principal: str = DEFAULT_PRINCIPAL,
        progress: Callable[[TransferProgress], None] | None = None,
    ) -> RestoreReport:
        """Restore a backup into this store: its log, unchanged, and the objects that this store lacks.

        The store's log must be a prefix of the backup's log; that of a new store is. Every byte is checked. The report
        lists objects that are damaged or missing in the backup; all others are restored. The store accepts no other
        writes until the last event is written. A repeated call continues an interrupted restore.

        Raises:
            BackupRefused: the directory holds no backup.
            LogFileInvalid, UnknownEventType, EventRefused, LogDiffers: the backup's log is damaged, breaks a rule, or
                belongs to another store. Nothing was written.
            ImportUnfinished: another import has begun and must be finished first.
            StorageError: an object could not be stored.
        """
        actors = self._actors
        from artifactstore.transfer.restore import restore  # noqa: PLC0415 - see above

        async def commit(command: ReplaceObjects) -> None:
            await self._commit(command, principal, None)

        return await restore(self._store, actors.writer, actors.storage, directory, progress, commit)

    @checked
    async def history(self, package: str | None = None) -> AsyncGenerator[HistoryEntry]:
        """Yield who did what and when, in order, for one package or for the whole store.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
        """
        package_id = None if package is None else await self._package_id(package)
        async with aclosing(self._entries(package_id)) as entries:
            async for entry in entries:
                yield entry

    async def _entries(self, subject: str | None) -> AsyncGenerator[HistoryEntry]:
        from artifactstore.history import history_entry  # noqa: PLC0415 - see above

        after = 0
        while page := await self._store.read_events(after=after, limit=_PAGE, subject=subject):
            for stored in page:
                yield history_entry(stored)
            after = page[-1].sequence

    @checked
    async def verify(
        self,
        package: str | None = None,
        *,
        max_age_s: int | None = None,
        sample_ppm: int | None = None,
        seed: int | None = None,
        limit_rate: int | None = None,
        principal: str = DEFAULT_PRINCIPAL,
        progress: Callable[[VerifyProgress], None] | None = None,
    ) -> VerifyReport:
        """Read every object again, of one package or of the whole store, and compare the manifests with the tables.

        Damaged and missing objects are recorded in the log, also if the verification is interrupted. If they cannot be
        recorded, the report has the reason. `repair`, or ingesting the same content again, repairs an object.

        A verification of the store begins with the object that was not read for the longest time, and records after
        each batch of objects that it has read them. With `max_age_s` or `sample_ppm` it reads a part of the objects,
        and no manifests.

        Args:
            package: the package; see the class. None for the whole store.
            max_age_s: read only objects that no ingest and no verification has read for so many seconds.
            sample_ppm: read only a random sample, of this share in parts per million.
            seed: a number from 0 to 2^32 - 1 that selects the sample; None for a random one. The report has it.
            limit_rate: read at most so many bytes a second on average. One object is read without a pause.
            principal: the principal.
            progress: called with the totals, and after every object.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
            WrongStorageRoot: nearly every object of the store is missing. The missing objects are not recorded.
            StorageDenied: this process lacks permission to read nearly all of the objects.
            InvalidValue: the arguments cannot be combined.
        """
        from artifactstore.verify import Verification  # noqa: PLC0415 - see above
        from artifactstore.verify_scope import check_scope, scope_of  # noqa: PLC0415 - see above

        check_scope(package, max_age_s=max_age_s, sample_ppm=sample_ppm, seed=seed, limit_rate=limit_rate)
        package_id = None if package is None else await self._package_id(package)
        scope = await scope_of(
            self._store, package_id, max_age_s=max_age_s, sample_ppm=sample_ppm, seed=seed, limit_rate=limit_rate
        )

        async def commit(command: RecordFindings | RecordVerification) -> None:
            await self._commit(command, principal, None)

        return await Verification(self._store, self._actors.storage, scope, progress, commit).run()

    @checked
    async def repair(
        self,
        source: Path | Settings | None = None,
        *,
        dry_run: bool = False,
        principal: str = DEFAULT_PRINCIPAL,
        progress: Callable[[VerifyProgress], None] | None = None,
    ) -> RepairReport:
        """Repair damaged and missing objects with contents from elsewhere, and record that in the log.

        Looks for objects that a verification has flagged, and for those that are missing or have another size. A
        content that the source has is stored again under the next key of the object, after a check of both digests. A
        flagged object that is intact loses its flag. A repeated call does what is left.

        Args:
            source: a directory with any files, which are found by their size and their digest; a backup; the directory
                of another store; or the settings of another store. None only reports what is needed.
            dry_run: only report what the call would repair.
            principal: the principal.
            progress: called with the totals, and after each page of objects.

        Raises:
            RepairSourceRefused: the source cannot be read.
            SameStore: the source is this store.
            WrongStorageRoot: nearly every object of the store is missing, so the object root is probably wrong.
            StorageError: an object cannot be stored. What was repaired before is kept.
            Exception: the errors of `open_registry`, for another store.
        """
        actors = self._actors
        from artifactstore.repair import open_source, repair  # noqa: PLC0415 - see above

        async def commit(command: RecordFindings | ReplaceObjects) -> Committed:
            return await self._commit(command, principal, None)

        async with open_source(self._store, source) as opened:
            work = partial(repair, self._store, actors.storage, opened, commit, progress, dry_run=dry_run)
            done = await outcome.acapture(work)
        return done.unwrap()

    @checked
    async def collect_garbage(
        self,
        *,
        grace_s: float = GRACE_S,
        orphan_age_s: float | None = None,
        dry_run: bool = False,
        principal: str = DEFAULT_PRINCIPAL,
        progress: Callable[[CollectionProgress], None] | None = None,
    ) -> CollectionReport:
        """Delete the objects that no package refers to, and give their room back.

        Ingests, readers, backups and other collections may run meanwhile. An interrupted collection is continued by
        the next one.

        Args:
            grace_s: how long an object is kept after its last package went, in seconds.
            orphan_age_s: the age from which bytes that no event names are deleted, in seconds; None for a day. A dry
                run counts these bytes only if it is given: then it lists the whole storage.
            dry_run: only count.
            principal: the principal.
            progress: called after each page of objects.

        Raises:
            CollectionRefused: another store collects in the object root, or this database was put back to an earlier
                point.
            ProjectionDamaged: the tables contradict each other. Nothing more was deleted.
            StorageError: the object root cannot be used.
        """

        async def commit(command: Command) -> Committed:
            return await self._commit(command, principal, None)

        from artifactstore.collecting import Collection  # noqa: PLC0415 - see above

        collection = Collection(
            self._store,
            self._actors.storage,
            self._root,
            commit,
            grace_s=grace_s,
            orphan_age_s=orphan_age_s,
            progress=progress,
        )
        return await (collection.preview() if dry_run else collection.run())

    @checked
    async def purge(
        self,
        digests: Sequence[str],
        *,
        reason: str,
        confirm: Sequence[str] = (),
        backups: Sequence[Path] = (),
        principal: str = DEFAULT_PRINCIPAL,
    ) -> PurgeReport:
        """Destroy contents for good, whatever refers to them: leaked secrets, and personal data.

        Neither a hold nor a retention prevents it, and nothing undoes it. The files stay in their packages, and reading
        one raises `ContentPurged`. This store never takes the contents again. A repeated call completes an interrupted
        one.

        Args:
            digests: the content addresses, 1 to 256.
            reason: why, in 1 to 200 printable characters. It stays in the log, so do not repeat the secret.
            confirm: the digests again. Without them, nothing is done.
            backups: the directories of backups. Each is brought up to date, without the contents.
            principal: the principal.

        Raises:
            PurgeUnconfirmed: `confirm` does not repeat the digests. The error has the number of files.
            InvalidValue: a text is no content address, or the log names no such content.
            CollectionRefused: another store collects in the object root, or this database was put back to an earlier
                point.
        """

        async def commit(command: Command) -> Committed:
            return await self._commit(command, principal, None)

        from artifactstore.collecting import Collection  # noqa: PLC0415 - see above
        from artifactstore.purging import purge  # noqa: PLC0415 - see above

        storage = self._actors.storage
        collection = Collection(self._store, storage, self._root, commit, grace_s=0, orphan_age_s=0, progress=None)
        return await purge(
            self._store,
            collection,
            commit,
            self.backup,
            digests=digests,
            reason=reason,
            confirm=confirm,
            backups=backups,
        )

    @checked
    async def redact(
        self,
        text: str,
        *,
        reason: str,
        confirm_events: int | None = None,
        backups: Sequence[Path] = (),
        principal: str = DEFAULT_PRINCIPAL,
    ) -> RedactionReport:
        """Replace a text in the names, paths and metadata of all packages for good: a name of a person, or a secret.

        The log keeps its records, sequences and digests, and gets an event that says so without the text. Tables follow
        from the redacted log. The manifest of a package that had the text cannot be printed or verified any more.
        Other writers wait meanwhile. A repeated call completes an interrupted one.

        Args:
            text: the text, part of one name between two slashes. Case matters.
            reason: why, in 1 to 200 printable characters. It stays in the log, so do not repeat the text.
            confirm_events: the number of events that the text is replaced in. Without it, nothing is changed.
            backups: the directories of backups. Each is brought up to date, without the text.
            principal: the principal.

        Raises:
            RedactionUnconfirmed: `confirm_events` is another number. The error has the right one.
            RedactionImpossible: an event would break a rule of the log, as if a path became too long.
            InvalidValue: the text is too short, or the reason or the principal repeats it.
            ImportUnfinished: an import is unfinished.
        """
        from artifactstore.redacting import redact  # noqa: PLC0415 - see above

        return await redact(
            self._store,
            self.backup,
            text=text,
            reason=reason,
            confirm_events=confirm_events,
            backups=backups,
            principal=principal,
        )

    @checked
    async def replay(
        self, *, check: bool = False, progress: Callable[[ReplayProgress], None] | None = None
    ) -> ReplayReport:
        """Rebuild the projection from the log and repair the live tables; with `check`, only compare them.

        Raises:
            UnknownEventType, EventRefused: an event breaks a rule of the log. The tables are unchanged.
            Exception: what `progress` raised. The replay stops at its next batch.
        """

        async def replay(tell: Callable[[ReplayProgress], None] | None) -> ReplayReport:
            message = Replay(rebuild=not check, progress=None if tell is None else thread_safe_callback(tell))
            return await self._actors.projection.ask(message, timeout=NO_TIME_LIMIT)

        return await with_progress(progress, replay)

    @checked
    async def stats(self) -> StoreStats:
        """Return what the store holds: packages, files, bytes, and its last backup and verification.

        Reads a few rows, however large the store is.
        """
        return await self._store.stats()

    @checked
    async def disk_usage(self, name: str | None = None) -> Sequence[NameUsage]:
        """Return the space that the packages of each name take, the largest first.

        Reads one row of a table for each package, and no entries.

        Args:
            name: a name, or a glob of names; None for all.
        """
        matches = PackageFilter(name=name).matches_name
        found: list[NameUsage] = []
        after = ""
        while page := await self._store.name_usage(name=name, after=after, limit=_PAGE):
            found += (each for each in page if matches(each.name))
            after = page[-1].name
        return sorted(found, key=lambda each: (-each.bytes, each.name))

    @checked
    async def unique_usage(self, chosen: Sequence[str]) -> UniqueUsage:
        """Return what would be freed if these packages went together, and no other package.

        Args:
            chosen: 1 to `UNIQUE_PACKAGES_MAX` packages; see the class.

        Raises:
            PackageNotFound, AmbiguousPackage: no package matches, or several do.
        """
        if not 0 < len(chosen) <= UNIQUE_PACKAGES_MAX:
            raise InvalidValue("chosen", str(len(chosen)), f"name 1 to {UNIQUE_PACKAGES_MAX} packages")
        return await self._store.unique_usage(await self._package_ids(chosen))

    @checked
    async def health(self, *, max_age_s: float = 1.0) -> HealthReport:
        """Return the state of every checked part, from readings that are at most `max_age_s` seconds old."""
        return await self._actors.health.ask(GetHealth(max_age_s))

    @checked
    def snapshot(self) -> SupervisorSnapshot:
        """Return the current supervision tree; after the store is closed, its last state."""
        return self._tree.snapshot()

    async def _changed(
        self,
        command: AnnotatePackage | DeletePackage | SetRetention | ExtendRetention,
        principal: str,
        idempotency_key: str | None,
    ) -> PackageRecord:
        """Commit a command that changes a package, and return the package.

        Raises:
            OutcomeUnknown: the database could not be read after the commit, or as `EventStore.commit`.
        """
        await self._commit(command, principal, idempotency_key)
        try:
            return await self._store.package(command.package_id)
        except DatabaseUnavailable as error:
            raise OutcomeUnknown(error.database, f"{error.reason}, after the command was sent") from error

    async def _commit(self, command: Command, principal: str, idempotency_key: str | None) -> Committed:
        return await self._actors.writer.ask(
            Commit(CommandRequest(new_id(), command, principal, idempotency_key)), timeout=COMMIT_TIMEOUT_S
        )


class PackageReads(NamedTuple):
    """How the service reads packages. Programs have the methods of `Registry`, which check more and promise more.

    Attributes:
        entry: returns the entry at a path of a package by their ids, `paths.path_key` for the path; None if there is
            none.
        open_object: opens a range of an object as a stream: content address, offset, length and length of the chunks.
        read_objects: reads small objects, and compares them with their digests.
        whole_object: opens a whole object, for archives.
        chosen_entries: returns the entries of a package that an archive takes.
    """

    entry: Callable[[str, str], Awaitable[FileRecord | None]]
    open_object: Callable[[str, int, int | None, int], Awaitable[Stream[bytes]]]
    read_objects: Callable[[Sequence[str]], Awaitable[Sequence[bytes | StorageError]]]
    whole_object: Callable[[str], AbstractAsyncContextManager[AsyncIterator[bytes]]]
    chosen_entries: Callable[[str, ExportChoice], Awaitable[Sequence[FileRecord]]]


def package_reads(registry: Registry) -> PackageReads:
    """Return how the service reads the packages of a store: by content address, which no program needs."""

    async def chosen(package_id: str, choice: ExportChoice) -> Sequence[FileRecord]:
        choose = registry._chosen  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        _package_id, found = await choose(package_id, choice)
        return found.entries

    return PackageReads(
        registry._store.file,  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        registry._open_object,  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        registry._contents,  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        registry._object,  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        chosen,
    )


def _duration_us(text: str) -> int:
    """Return a duration in microseconds.

    Raises:
        InvalidValue: the text is none.
    """
    if (found := duration_us(text)) is None:
        raise InvalidValue("duration", text[:60], "write 30d, or with s, m, h or w")
    return found


def event_store(registry: Registry) -> EventStore:
    """Return the log and the tables of an open registry, for a front door that narrows what its callers may read.

    Raises:
        StoreClosed, WrongEventLoop: as the methods of the registry.
    """
    return registry._store  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - of the class above


async def _here[T](work: Callable[[], Awaitable[T]]) -> T:
    """Run the work of a caller that is in the run of the store."""
    return await work()


def _required(schema: MetadataSchema, requirements: Mapping[str, str]) -> MetadataSchema:
    """Return a schema with the globs that require this version."""
    reference = f"{schema.name}@{schema.version}"
    return replace(schema, required_for=tuple(glob for glob, each in requirements.items() if each == reference))
