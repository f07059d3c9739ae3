"""SqlEventStore: the event store on SQLite and PostgreSQL. Each method is one unit of work on the database's thread."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from artifactstore.database import events, queries
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import Steps, run
from artifactstore.database.commit import commit_batch, commit_each
from artifactstore.database.contents import contents
from artifactstore.database.database import Database, Refused
from artifactstore.database.importing import import_events
from artifactstore_protocols.commands import CommandRequest
from artifactstore_protocols.event_store import READ_BYTES_MAX, CommandOutcome, Location, LogReading, PackageContents
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.imports import ImportRun
from artifactstore_protocols.records import FileRecord, MetadataSchema, PackageRecord, ReplayProgress, ReplayReport
from artifactstore_protocols.storage import KnownObject, Place

__all__ = ["SqlEventStore"]

_PROBE_TIMEOUT_S = 5.0


class SqlEventStore:
    """Implements `EventStore`; see there for what the methods promise.

    Args:
        database: opened and closed by this store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def name(self) -> str:
        """The file's path, or host and database."""
        return self._database.location.name

    async def open(self) -> None:
        """Open the database, and set its schema up if it has none."""
        await self._database.open()

    async def close(self) -> None:
        """Close the database."""
        await self._database.close()

    def must_be_writable(self) -> None:
        """Refuse to write where that cannot be."""
        self._database.must_be_writable()

    async def probe(self) -> LogReading:
        """Read the head, and see that it is the last event, and the file the one that was opened."""

        async def look(connection: AsyncConnection) -> LogReading:
            head, unfinished = await events.read_head(connection)
            await events.check_end(connection, head)
            return LogReading(
                head,
                self._database.free_bytes(),
                self._database.read_only,
                unfinished,
                await events.read_store_id(connection),
            )

        return await self._database.read(look, timeout_s=_PROBE_TIMEOUT_S)

    async def store_id(self) -> str:
        """The id of this database, which is in no export and no backup."""
        return await self._database.read(events.read_store_id)

    async def commit(
        self,
        requests: Sequence[CommandRequest],
        *,
        now_us: Callable[[], int],
        new_id: Callable[[], str],
        files_per_package_max: int,
    ) -> Sequence[CommandOutcome]:
        """Commit a batch; if the database refuses it as a whole, once more with a savepoint for every command."""

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
        """Take over another log's events."""
        return await self._database.write(lambda transaction: import_events(transaction, events, run))

    async def read_events(
        self, *, after: int, limit: int, subject: str | None = None, bytes_max: int = READ_BYTES_MAX
    ) -> Sequence[StoredEvent]:
        """Events, in order."""

        async def read(connection: AsyncConnection) -> Sequence[StoredEvent]:
            return await events.read(connection, after=after, limit=limit, subject=subject, bytes_max=bytes_max)

        return await self._database.read(read)

    async def wait_for_growth(self, after: int) -> int:
        """The head, as soon as it is past a sequence."""
        return await self._database.wait_for_growth(after)

    async def replay(self, *, rebuild: bool, progress: Callable[[ReplayProgress], None] | None = None) -> ReplayReport:
        """Check or rebuild the views. A cancelled caller leaves at once, and the work ends after its next batch."""
        if rebuild:
            self._database.must_be_writable()
        left = False

        def told(counts: ReplayProgress) -> None:
            if left:
                raise asyncio.CancelledError
            if progress is not None:
                progress(counts)

        from artifactstore.database import replay  # noqa: PLC0415 - with tables that nothing else uses

        work = replay.rebuild if rebuild else replay.check
        try:
            return await self._database.read(partial(work, progress=told), timeout_s=None)
        finally:
            left = True

    async def package(self, package_id: str) -> PackageRecord:
        """One package."""
        return await self._database.read(lambda connection: queries.package(connection, package_id))

    async def find_packages(self, wanted: str) -> Sequence[PackageRecord]:
        """Packages by id or name."""
        return await self._database.read(lambda connection: queries.find_packages(connection, wanted))

    async def packages(self, *, after: int, limit: int) -> Sequence[PackageRecord]:
        """A page of packages."""
        return await self._database.read(lambda connection: queries.packages(connection, after=after, limit=limit))

    async def contents(self, package_id: str) -> PackageContents:
        """What a manifest is made from."""

        async def read(connection: AsyncConnection) -> PackageContents:
            return await contents(connection, await queries.package(connection, package_id))

        return await self._database.read(read)

    async def file(self, package_id: str, path_key: str) -> FileRecord | None:
        """One entry."""

        async def read(connection: AsyncConnection) -> FileRecord | None:
            await queries.package(connection, package_id)
            return await queries.file(connection, package_id, path_key)

        return await self._database.read(read)

    async def files(self, package_id: str) -> tuple[PackageRecord, Sequence[FileRecord]]:
        """A package and all of its entries."""

        async def read(connection: AsyncConnection) -> tuple[PackageRecord, Sequence[FileRecord]]:
            package = await queries.package(connection, package_id)
            return package, await queries.list_files(connection, package)

        return await self._database.read(read)

    async def manifest_bytes(self, package_id: str) -> bytes | None:
        """A package's manifest."""

        async def read(connection: AsyncConnection) -> bytes | None:
            await queries.package(connection, package_id)
            return await queries.manifest_bytes(connection, package_id)

        return await self._database.read(read)

    async def deduplicated_bytes(self, package_id: str) -> int:
        """Bytes that were there before."""
        return await self._database.read(lambda connection: queries.deduplicated_bytes(connection, package_id))

    async def locations(self, *, package_id: str | None, after: str, limit: int) -> Sequence[Location]:
        """A page of objects."""
        return await self._database.read(
            lambda connection: queries.locations(connection, package_id=package_id, after=after, limit=limit)
        )

    async def known_objects(self, addresses: Collection[ContentAddress]) -> Mapping[ContentAddress, KnownObject]:
        """Where contents are now."""
        return await self._database.read(lambda connection: queries.known_objects(connection, addresses))

    async def location_totals(self, *, package_id: str | None) -> tuple[int, int]:
        """Count and bytes of objects."""
        return await self._database.read(lambda connection: queries.location_totals(connection, package_id=package_id))

    async def files_with_content(self, content_address: str, *, limit: int) -> Sequence[str]:
        """Files that hold a content."""
        return await self._database.read(
            lambda connection: queries.files_with_content(connection, content_address, limit=limit)
        )

    async def flagged_objects(self) -> Mapping[ContentAddress, Place]:
        """Contents to be stored again, and where."""
        return await self._database.read(queries.flagged_objects)

    async def flagged_counts(self) -> Mapping[str, int]:
        """How many objects are flagged, by problem."""
        return await self._database.read(queries.flagged_counts)

    async def metadata_schema(self, name: str) -> MetadataSchema | None:
        """The latest version of a schema."""
        return await self._database.read(lambda connection: queries.metadata_schema(connection, name))
