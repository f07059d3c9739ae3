"""A look into a database that sets nothing up and leaves nothing behind: for finding out what is wrong with it."""

from collections.abc import Mapping
from contextlib import suppress

from msgspec import Struct, field
from msgspec.structs import replace
from sqlalchemy import func, select, text

from artifactstore.database import queries
from artifactstore.database.access import Access, with_access
from artifactstore.database.asyncio_core import AsyncConnection, AsyncEngine
from artifactstore.database.engines import connected, reader_engine, writer_engine
from artifactstore.database.errors import DatabaseBusy, LogDamaged
from artifactstore.database.events import check_end, head, lock_head, read_head, read_store_id
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.migrate import schema_revision
from artifactstore.database.schema import LIVE, SCHEMA_REVISION, events
from artifactstore.database.translation import translated
from artifactstore_protocols.event_store import Location
from artifactstore_protocols.imports import ImportUnfinished, admit_command
from artifactstore_protocols.views import FILES, PACKAGES

__all__ = ["DatabaseInspection", "UnfinishedPackage", "inspect_database"]

_PACKAGES_SHOWN_MAX = 1000

_HOLDERS = text(
    """
    SELECT DISTINCT a.pid, a.application_name, coalesce(host(a.client_addr), 'this host') AS client, a.xact_start
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.relation = to_regclass('log_head') AND l.granted AND l.mode IN ('RowShareLock', 'RowExclusiveLock')
      AND a.pid <> pg_backend_pid()
    ORDER BY a.xact_start
    """
)


class UnfinishedPackage(Struct, frozen=True):
    """A package that is open, and when something last went into it."""

    package_id: str
    changed_at_us: int


class DatabaseInspection(Struct, frozen=True):
    """What was found. Without this release's schema, only which one there is.

    Attributes:
        revision: of the schema; None if there are no tables.
        last_recorded_at_us: when the last event was recorded; None if there is none.
        locations: some of the objects that the log names.
        open_packages: those that are not sealed, oldest first.
        flagged: how many objects verification found flawed and nobody has healed, by problem.
        unfinished_import: why writers are refused while an import is not finished; None if none is.
        log_damage: what is wrong with the head of the log; None if it is its last event.
        head_lock: who holds the head of the log, oldest first; empty if that is not known. None: it could be had.
        read_only: why nothing can be written; None if it can.
        store_id: random id of the database; None without this release's schema.
        head: the last sequence of its log.
    """

    revision: str | None
    last_recorded_at_us: int | None = None
    locations: tuple[Location, ...] = ()
    open_packages: tuple[UnfinishedPackage, ...] = ()
    flagged: Mapping[str, int] = field(default_factory=dict[str, int])
    unfinished_import: ImportUnfinished | None = None
    log_damage: LogDamaged | None = None
    head_lock: tuple[str, ...] | None = None
    read_only: str | None = None
    store_id: str | None = None
    head: int = 0


async def inspect_database(
    location: DatabaseLocation, *, from_address: str, sample: int, lock_wait_s: float
) -> DatabaseInspection:
    """Look into a database that exists, from an asyncio loop.

    Args:
        location: which one.
        from_address: the content address to begin the sample after; objects in order of address are in no order else.
        sample: how many objects to name at most.
        lock_wait_s: how long the head of the log may be held by somebody else without being remarkable.

    Raises:
        DatabaseUnavailable: it cannot be looked into.
    """
    with translated(location.name):
        return await with_access(
            location.path, lambda access: _inspected(location, access, from_address, sample, lock_wait_s)
        )


async def _inspected(
    location: DatabaseLocation, access: Access | None, from_address: str, sample: int, lock_wait_s: float
) -> DatabaseInspection:
    read_only = None if access is None else access.read_only
    reader = reader_engine(location, access, lock_timeout_s=lock_wait_s)
    writer = writer_engine(location, access, lock_timeout_s=lock_wait_s)
    try:
        async with connected(reader) as connection:
            revision = await connection.run_sync(schema_revision)
            if revision != SCHEMA_REVISION:
                return DatabaseInspection(revision, read_only=read_only)
            latest = select(events.c.recorded_at).order_by(events.c.sequence.desc()).limit(1)
            found = DatabaseInspection(
                revision,
                store_id=await _store_id(connection),
                head=await connection.scalar(select(func.coalesce(func.max(events.c.sequence), 0))) or 0,
                last_recorded_at_us=await connection.scalar(latest),
                locations=await _sample(connection, from_address, sample),
                open_packages=await _open_packages(connection),
                flagged=await queries.flagged_counts(connection),
                unfinished_import=await _unfinished_import(connection),
                log_damage=await _log_damage(connection),
                read_only=read_only,
            )
        held = None if read_only is not None else await _who_holds_the_head(location, writer, reader)
        return replace(found, head_lock=held)
    finally:
        await writer.dispose()
        await reader.dispose()


async def _log_damage(connection: AsyncConnection) -> LogDamaged | None:
    try:
        await check_end(connection, await head(connection))
    except LogDamaged as damage:
        return damage
    return None


async def _store_id(connection: AsyncConnection) -> str | None:
    try:
        return await read_store_id(connection)
    except LogDamaged:  # which is told already
        return None


async def _unfinished_import(connection: AsyncConnection) -> ImportUnfinished | None:
    try:
        found = await read_head(connection)
        admit_command(found.unfinished, found.sequence)
    except ImportUnfinished as unfinished:
        return unfinished
    except LogDamaged:  # which is told already
        return None
    return None


async def _sample(connection: AsyncConnection, from_address: str, count: int) -> tuple[Location, ...]:
    found = list(await queries.locations(connection, package_id=None, after=from_address, limit=count))
    if len(found) < count:  # round the end
        found += await queries.locations(connection, package_id=None, after="", limit=count - len(found))
    return tuple({location.content_address: location for location in found}.values())


async def _open_packages(connection: AsyncConnection) -> tuple[UnfinishedPackage, ...]:
    packages, files = LIVE[PACKAGES], LIVE[FILES]
    latest = (
        select(func.max(files.c.sequence))
        .where(files.c.package_number == packages.c.created_sequence)
        .correlate(packages)
        .scalar_subquery()
    )
    changed = select(events.c.recorded_at).where(events.c.sequence == latest).correlate(packages).scalar_subquery()
    query = (
        select(packages.c.package_id, func.coalesce(changed, packages.c.created_at).label("changed_at"))
        .where(packages.c.status == "open")
        .order_by(packages.c.created_sequence)
        .limit(_PACKAGES_SHOWN_MAX)
    )
    return tuple(UnfinishedPackage(row.package_id, row.changed_at) for row in await connection.execute(query))


async def _who_holds_the_head(
    location: DatabaseLocation, writer: AsyncEngine, reader: AsyncEngine
) -> tuple[str, ...] | None:
    """Take the lock that every writer takes, and give it back; who has it if it cannot be had."""
    try:
        with translated(location.name):
            async with connected(writer) as connection:
                with suppress(LogDamaged):  # which is told already
                    await lock_head(connection)
                await connection.rollback()
    except DatabaseBusy:
        if location.is_sqlite:
            return ()
        async with connected(reader) as connection:
            rows = (await connection.execute(_HOLDERS)).all()
        return tuple(
            f"session {row.pid} ({row.application_name or 'no name'}) from {row.client}, since {row.xact_start:%FT%TZ}"
            for row in rows
        )
    return None
