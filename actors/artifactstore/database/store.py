"""`SqlEventStore`: the event store on SQLite and PostgreSQL. Each method is one unit of work on the database thread."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from artifactstore.database import (
    collectable,
    events,
    keep_policies,
    keeping,
    purged,
    queries,
    retention_classes,
    stats,
    tokens,
    uploads,
    usage,
    verification,
)
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import Steps, run
from artifactstore.database.commit import commit_batch, commit_each
from artifactstore.database.contents import contents
from artifactstore.database.database import Database, Refused
from artifactstore.database.engines import STATEMENT_TIMEOUT_S
from artifactstore.database.importing import import_events
from artifactstore.database.state import load_state
from artifactstore_protocols.collection import CollectableObject, ObjectTotals, UnreleasedPackage
from artifactstore_protocols.commands import CommandRequest
from artifactstore_protocols.disk_usage import NameUsage, UniqueUsage
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import READ_BYTES_MAX, CommandOutcome, Location, LogReading, PackageContents
from artifactstore_protocols.event_types.keep_policies_applied import obstacle_needs, obstacles
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.keep_policies import GroupMember, KeepPolicy
from artifactstore_protocols.package_listing import EntryListing, EntryPage, PackageListing
from artifactstore_protocols.purging import PurgedContent
from artifactstore_protocols.pushing import UploadRights
from artifactstore_protocols.records import (
    FileRecord,
    Hold,
    LeftPackage,
    MetadataSchema,
    PackageRecord,
    ReplayProgress,
    ReplayReport,
    RetainedPackage,
    Tag,
)
from artifactstore_protocols.redaction import RedactionReport, RedactionRequest
from artifactstore_protocols.retention import RetentionClass
from artifactstore_protocols.state import ObjectState
from artifactstore_protocols.storage import KnownObject, Place
from artifactstore_protocols.store_stats import LastRun, RunKind, StoreStats
from artifactstore_protocols.token_records import StoredToken, TokenFrame
from artifactstore_protocols.unfinished_import import ImportRun
from artifactstore_protocols.verification import DueKey, DueObjects, VerificationState

__all__ = ["SqlEventStore"]

_PROBE_TIMEOUT_S = 5.0
_LEFTOVERS = "free space of the database still holds the text"


class SqlEventStore:
    """The implementation of `EventStore`, which documents the methods and their errors.

    Args:
        database: the database, which this store opens and closes.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def name(self) -> str:
        """The path of the SQLite file, or the host and name of the PostgreSQL database."""
        return self._database.location.name

    async def open(self) -> None:
        """Open the database. Create the schema if there is none."""
        await self._database.open()

    async def close(self) -> None:
        """Close the database."""
        await self._database.close()

    def must_be_writable(self) -> None:
        """Raise `StoreReadOnly` if the database cannot be written."""
        self._database.must_be_writable()

    async def probe(self) -> LogReading:
        """Return the head after a check that it is the last event and that the database file was not replaced."""

        async def look(connection: AsyncConnection) -> LogReading:
            head, unfinished, _at_us = await events.read_head(connection)
            recorded_at_us = await events.check_end(connection, head)
            return LogReading(
                head,
                self._database.free_bytes(),
                self._database.read_only,
                unfinished,
                await events.read_store_id(connection),
                recorded_at_us,
            )

        return await self._database.read(look, timeout_s=_PROBE_TIMEOUT_S)

    async def store_id(self) -> str:
        """Return the id of this database. In the log, only tokens name it."""
        return await self._database.read(events.read_store_id)

    async def commit(
        self,
        requests: Sequence[CommandRequest],
        *,
        now_us: Callable[[], int],
        new_id: Callable[[], str],
        files_per_package_max: int,
    ) -> Sequence[CommandOutcome]:
        """Commit a batch. If the database refuses it as a whole, retry with a savepoint for each command."""

        async def write(commit: Callable[..., Steps[Sequence[CommandOutcome]]]) -> Sequence[CommandOutcome]:
            judge = partial(
                commit,
                requests=requests,
                now_us=now_us,
                new_id=new_id,
                files_per_package_max=files_per_package_max,
            )
            return await self._database.write(lambda transaction: run(transaction.connection, judge(transaction)))

        try:
            return await write(commit_batch)
        except Refused:
            return await write(commit_each)

    async def import_events(self, events: Sequence[StoredEvent], run: ImportRun) -> int:
        """Import events of another log. There is no time limit if redactions make this project the log again."""
        brings_first = bool(events) and events[0].sequence <= run.head + 1 <= events[-1].sequence
        is_redacted = any(stored.event.redacted_by is not None for stored in events)
        grows = run.head > 0 and brings_first and (is_redacted or bool(await self.redactions(after=0, last=run.head)))
        return await self._database.write(
            lambda transaction: import_events(transaction, events, run),
            timeout_s=None if grows else STATEMENT_TIMEOUT_S,
        )

    async def read_events(
        self, *, after: int, limit: int, subject: str | None = None, bytes_max: int = READ_BYTES_MAX
    ) -> Sequence[StoredEvent]:
        """Return events in order."""

        async def read(connection: AsyncConnection) -> Sequence[StoredEvent]:
            return await events.read(connection, after=after, limit=limit, subject=subject, bytes_max=bytes_max)

        return await self._database.read(read)

    async def wait_for_growth(self, after: int) -> int:
        """Wait some seconds at most for the head to pass a sequence; return the head."""
        return await self._database.wait_for_growth(after)

    async def replay(self, *, rebuild: bool, progress: Callable[[ReplayProgress], None] | None = None) -> ReplayReport:
        """Check or rebuild the views. Cancellation returns at once; the work stops after its current batch."""
        if rebuild:
            self._database.must_be_writable()
        left = False

        def told(counts: ReplayProgress) -> None:
            if left:
                raise asyncio.CancelledError
            if progress is not None:
                progress(counts)

        from artifactstore.database import replay  # noqa: PLC0415 - it defines tables that only a replay uses

        work = replay.rebuild if rebuild else replay.check
        try:
            return await self._database.read(partial(work, progress=told), timeout_s=None)
        finally:
            left = True

    async def events_of_key(self, idempotency_key: str) -> Sequence[StoredEvent]:
        """Return the events of the command that has a key."""

        async def read(connection: AsyncConnection) -> Sequence[StoredEvent]:
            return await run(connection, events.find_commands((), (idempotency_key,), connection.dialect.name))

        return await self._database.read(read)

    async def package(self, package_id: str) -> PackageRecord:
        """Return a package."""
        return await self._database.read(lambda connection: queries.package(connection, package_id))

    async def find_package(
        self, text: str, *, prefer_open: bool = False, within: Sequence[str] | None = None
    ) -> PackageRecord:
        """Return the package that a text names."""
        return await self._database.read(
            lambda connection: queries.find_package(connection, text, prefer_open=prefer_open, within=within)
        )

    async def packages(self, page: PackageListing) -> Sequence[PackageRecord]:
        """Return one page of a list of packages."""
        return await self._database.read(lambda connection: queries.packages(connection, page))

    async def find_entries(self, page: EntryListing) -> EntryPage:
        """Return one page of the entries that a search finds."""
        return await self._database.read(lambda connection: queries.find_entries(connection, page))

    async def contents(self, package_id: str) -> PackageContents:
        """Return the contents that a manifest lists."""

        async def read(connection: AsyncConnection) -> PackageContents:
            return await contents(connection, await queries.readable_package(connection, package_id))

        return await self._database.read(read)

    async def file(self, package_id: str, path_key: str) -> FileRecord | None:
        """Return an entry, or None."""

        async def read(connection: AsyncConnection) -> FileRecord | None:
            await queries.readable_package(connection, package_id)
            return await queries.file(connection, package_id, path_key)

        return await self._database.read(read)

    async def files(self, package_id: str) -> tuple[PackageRecord, Sequence[FileRecord]]:
        """Return a package and all of its entries."""

        async def read(connection: AsyncConnection) -> tuple[PackageRecord, Sequence[FileRecord]]:
            package = await queries.readable_package(connection, package_id)
            return package, await queries.list_files(connection, package)

        return await self._database.read(read)

    async def file_page(self, package_id: str, *, after: str, limit: int) -> Sequence[FileRecord]:
        """Return a page of the entries of a package."""

        async def read(connection: AsyncConnection) -> Sequence[FileRecord]:
            package = await queries.readable_package(connection, package_id)
            return await queries.file_page(connection, package, after=after, limit=limit)

        return await self._database.read(read)

    async def differences(self, before: str, after: str) -> Sequence[tuple[FileRecord | None, FileRecord | None]]:
        """Return the entries at which two packages differ."""

        async def read(connection: AsyncConnection) -> Sequence[tuple[FileRecord | None, FileRecord | None]]:
            packages = [await queries.readable_package(connection, package_id) for package_id in (before, after)]
            return await queries.differences(connection, *packages)

        return await self._database.read(read)

    async def manifest_bytes(self, package_id: str) -> bytes | None:
        """Return the manifest bytes of a package; None while it is open."""

        async def read(connection: AsyncConnection) -> bytes | None:
            await queries.package(connection, package_id)
            return await queries.manifest_bytes(connection, package_id)

        return await self._database.read(read)

    async def deduplicated_bytes(self, package_id: str) -> int:
        """Return the bytes of a package's files whose content the log already had."""
        return await self._database.read(lambda connection: queries.deduplicated_bytes(connection, package_id))

    async def locations(self, *, package_id: str | None, after: str, limit: int) -> Sequence[Location]:
        """Return the objects of a page of contents."""
        return await self._database.read(
            lambda connection: queries.locations(connection, package_id=package_id, after=after, limit=limit)
        )

    async def known_objects(self, addresses: Collection[ContentAddress]) -> Mapping[ContentAddress, KnownObject]:
        """Return where contents can be read."""
        return await self._database.read(lambda connection: queries.known_objects(connection, addresses))

    async def referable_contents(
        self, addresses: Collection[ContentAddress], rights: UploadRights | None
    ) -> Mapping[ContentAddress, int]:
        """Return the sizes of contents to which a package may refer."""
        return await self._database.read(lambda connection: uploads.referable_contents(connection, addresses, rights))

    async def note_uploads(self, addresses: Collection[ContentAddress], rights: UploadRights) -> None:
        """Record receipts of contents."""
        await self._database.write(lambda transaction: uploads.note_uploads(transaction, addresses, rights))

    async def upload_ends(self, addresses: Collection[ContentAddress], *, now_us: int) -> Mapping[ContentAddress, int]:
        """Return when the receipts of contents end."""
        return await self._database.read(lambda connection: uploads.upload_ends(connection, addresses, now_us))

    async def location_totals(self, *, package_id: str | None) -> tuple[int, int]:
        """Return the number of objects and their bytes."""
        return await self._database.read(lambda connection: queries.location_totals(connection, package_id=package_id))

    async def files_with_content(self, content_address: str, *, limit: int) -> Sequence[str]:
        """Return files that hold a content."""
        return await self._database.read(
            lambda connection: queries.files_with_content(connection, content_address, limit=limit)
        )

    async def count_files_with_content(self, content_address: str) -> int:
        """Return the number of files that hold a content."""
        return await self._database.read(
            lambda connection: verification.count_files_with_content(connection, content_address)
        )

    async def flagged_objects(self) -> Mapping[ContentAddress, Place]:
        """Return the contents with a flawed object, each with the place to store it again."""
        return await self._database.read(queries.flagged_objects)

    async def unused_places(self, addresses: Collection[ContentAddress]) -> Mapping[ContentAddress, Place]:
        """Return where contents can be stored again."""
        return await self._database.read(lambda connection: verification.unused_places(connection, addresses))

    async def flagged_counts(self) -> Mapping[str, int]:
        """Return the number of flagged objects by problem."""
        return await self._database.read(queries.flagged_counts)

    async def collectable_objects(
        self, state: ObjectState, *, after: CollectableObject | None, limit: int
    ) -> Sequence[CollectableObject]:
        """Return a page of condemned or retired objects."""
        return await self._database.read(
            lambda connection: collectable.collectable_objects(connection, state, after, limit)
        )

    async def retired_totals(self) -> ObjectTotals:
        """Return the totals of the retired objects."""
        return await self._database.read(collectable.retired_totals)

    async def waiting_totals(self, *, after_us: int) -> ObjectTotals:
        """Return the totals of the objects that were condemned after a time."""
        return await self._database.read(lambda connection: collectable.waiting_totals(connection, after_us))

    async def unreleased_packages(self, *, after: int, limit: int) -> Sequence[UnreleasedPackage]:
        """Return a page of gone packages that still hold entries."""
        return await self._database.read(lambda connection: collectable.unreleased_packages(connection, after, limit))

    async def entry_keys(self, number: int, *, after: str, limit: int) -> Sequence[str]:
        """Return a page of the path keys of a package."""
        return await self._database.read(lambda connection: collectable.entry_keys(connection, number, after, limit))

    async def object_states(self, places: Collection[Place]) -> Mapping[Place, ObjectState]:
        """Return the states of objects at places."""
        return await self._database.read(lambda connection: collectable.object_states(connection, places))

    async def collected_contents(self, addresses: Collection[ContentAddress]) -> frozenset[ContentAddress]:
        """Return the contents that were collected."""
        return await self._database.read(lambda connection: collectable.collected_contents(connection, addresses))

    async def purged_contents(self, addresses: Collection[ContentAddress]) -> Mapping[ContentAddress, PurgedContent]:
        """Return those of the contents that were purged."""
        return await self._database.read(lambda connection: purged.purged_contents(connection, addresses))

    async def list_purged(self, *, after: str, limit: int) -> Sequence[PurgedContent]:
        """Return purged contents."""
        return await self._database.read(lambda connection: purged.list_purged(connection, after, limit))

    async def places_of_purged(self, addresses: Collection[ContentAddress]) -> Sequence[tuple[Place, int]]:
        """Return the places that purged contents ever had."""
        return await self._database.read(lambda connection: purged.places_of_purged(connection, addresses))

    async def redact(self, request: RedactionRequest, *, now_us: int, command_id: str) -> RedactionReport:
        """Redact a text. Then write the database file anew, since its free space has the payloads as they were."""
        from artifactstore.database import redacting  # noqa: PLC0415 - it defines tables that only a replay uses

        report = await self._database.write(
            partial(redacting.redact, request=request, now_us=now_us, command_id=command_id), timeout_s=None
        )
        return replace(report, failures=await self.overwrite_leftovers())

    async def overwrite_leftovers(self) -> tuple[str, ...]:
        """Write the database file anew. The redaction is committed, so an error is only reported."""
        try:
            if await self._database.overwrite_leftovers():
                return ()
        except ArtifactStoreError as error:
            return (f"{_LEFTOVERS} ({error})",)
        return (f"{_LEFTOVERS}, because another process uses the database",)

    async def redactions(self, *, after: int, last: int) -> Mapping[int, int]:
        """Return the redacted events of a range."""
        return await self._database.read(lambda connection: events.redactions(connection, after, last))

    async def stats(self) -> StoreStats:
        """Return the totals and the last backup."""
        return await self._database.read(stats.stats)

    async def note_run(self, kind: RunKind, last: LastRun) -> None:
        """Record a complete backup."""
        await self._database.write(lambda transaction: stats.note_run(transaction, kind, last))

    async def due_objects(self, due: DueObjects, *, after: DueKey | None, limit: int) -> Sequence[Location]:
        """Return objects to verify."""
        return await self._database.read(
            lambda connection: verification.due_objects(connection, due, after=after, limit=limit)
        )

    async def due_totals(self, due: DueObjects) -> tuple[int, int]:
        """Return the number of objects to verify, and their bytes."""
        return await self._database.read(lambda connection: verification.due_totals(connection, due))

    async def last_event_before(self, at_us: int) -> int:
        """Return the last event before a time."""
        return await self._database.read(lambda connection: verification.last_event_before(connection, at_us))

    async def verification_state(self) -> VerificationState:
        """Return how current the verification is."""
        return await self._database.read(verification.verification_state)

    async def tag(self, tag: str) -> Tag | None:
        """Return a tag, or None."""
        return await self._database.read(lambda connection: queries.tag(connection, tag))

    async def tags(self, *, after: str, limit: int, within: Sequence[str] | None = None) -> Sequence[Tag]:
        """Return a page of tags."""
        return await self._database.read(
            lambda connection: queries.tags(connection, after=after, limit=limit, within=within)
        )

    async def retention_classes(self) -> Sequence[RetentionClass]:
        """Return the retention classes that the store has added."""
        return await self._database.read(retention_classes.retention_classes)

    async def keep_policies(self) -> Sequence[KeepPolicy]:
        """Return all keep policies."""
        return await self._database.read(keep_policies.keep_policies)

    async def tokens(self, *, after: str, limit: int) -> Sequence[StoredToken]:
        """Return a page of tokens."""
        return await self._database.read(lambda connection: tokens.tokens(connection, after, limit))

    async def token(self, name: str) -> StoredToken | None:
        """Return a token."""
        return await self._database.read(lambda connection: tokens.token(connection, name))

    async def token_frame(self) -> TokenFrame:
        """Return what decides whether tokens work."""
        return await self._database.read(tokens.token_frame)

    async def find_token(self, digest_in: Callable[[str], bytes]) -> tuple[TokenFrame, StoredToken | None]:
        """Return the token with a digest."""
        return await self._database.read(lambda connection: tokens.find_token(connection, digest_in))

    async def adopt_store_id(self, store_id: str) -> None:
        """Take the store id of a backup."""
        await self._database.write(lambda transaction: events.adopt_store_id(transaction, store_id))

    async def name_usage(self, *, name: str | None, after: str, limit: int) -> Sequence[NameUsage]:
        """Return the space that the packages of some names take."""
        return await self._database.read(lambda connection: usage.name_usage(connection, name, after, limit))

    async def unique_usage(self, package_ids: Sequence[str]) -> UniqueUsage:
        """Return what would be freed if these packages went together."""
        return await self._database.read(lambda connection: usage.unique_usage(connection, package_ids))

    async def next_group(self, *, name: str | None, after: str) -> Sequence[GroupMember]:
        """Return the finalized packages of the next name."""
        return await self._database.read(lambda connection: keep_policies.next_group(connection, name, after))

    async def group(self, name: str) -> Sequence[GroupMember]:
        """Return the finalized packages of a name."""
        return await self._database.read(lambda connection: keep_policies.group(connection, name))

    async def obstacles(self, package_ids: Sequence[str]) -> Mapping[str, str]:
        """Return what keeps packages from any policy."""

        async def read(connection: AsyncConnection) -> Mapping[str, str]:
            needs = obstacle_needs(package_ids)
            return obstacles(package_ids, await run(connection, load_state(needs, connection.dialect.name)))

        return await self._database.read(read)

    async def holds(self, *, package_id: str | None, after: str, limit: int) -> Sequence[Hold]:
        """Return a page of holds."""
        return await self._database.read(
            lambda connection: keeping.holds(connection, package_id=package_id, after=after, limit=limit)
        )

    async def retained(
        self, *, until_us: int, after: tuple[int, str], limit: int, kept: bool
    ) -> Sequence[RetainedPackage]:
        """Return a page of packages whose retention ends."""
        return await self._database.read(
            lambda connection: keeping.retained(connection, until_us=until_us, after=after, limit=limit, kept=kept)
        )

    async def left_packages(self, *, until_us: int, after: int, limit: int) -> Sequence[LeftPackage]:
        """Return a page of open packages that nobody touched."""
        return await self._database.read(
            lambda connection: keeping.left_packages(connection, until_us=until_us, after=after, limit=limit)
        )

    async def kept_by(self, package_id: str) -> tuple[int, Sequence[Tag]]:
        """Return the event of a package's retention, and its protected tags."""
        return await self._database.read(lambda connection: keeping.kept_by(connection, package_id))

    async def observed_clock(self) -> int | None:
        """Return the time that was observed last."""
        return await self._database.read(keeping.observed_clock)

    async def metadata_schema(self, name: str, version: int | None = None) -> MetadataSchema | None:
        """Return a version of a metadata schema, or None."""
        return await self._database.read(lambda connection: queries.metadata_schema(connection, name, version))

    async def metadata_schemas(self, *, after: tuple[str, int], limit: int) -> Sequence[MetadataSchema]:
        """Return a page of metadata schemas."""
        return await self._database.read(
            lambda connection: queries.metadata_schemas(connection, after=after, limit=limit)
        )

    async def schema_requirements(self) -> Mapping[str, str]:
        """Return the schemas that packages must have, by globs for their names."""
        return await self._database.read(queries.schema_requirements)
