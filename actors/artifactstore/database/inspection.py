"""The inspection of a database for diagnosis, which creates and changes nothing."""

from collections.abc import Mapping
from contextlib import suppress

from msgspec import Struct, field
from msgspec.structs import replace
from sqlalchemy import func, select, text

from artifactstore.database import queries
from artifactstore.database.access import with_access
from artifactstore.database.asyncio_core import AsyncConnection, AsyncEngine
from artifactstore.database.engines import connected, reader_engine, writer_engine
from artifactstore.database.errors import DatabaseBusy, LogDamaged
from artifactstore.database.events import check_end, head, lock_head, read_head, read_store_id
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.migrate import schema_revision
from artifactstore.database.schema import LIVE, SCHEMA_REVISION, events
from artifactstore.database.translation import translated
from artifactstore.database.verification import verification_state
from artifactstore.sqlite_access import Access
from artifactstore_protocols.event_store import Location
from artifactstore_protocols.unfinished_import import ImportUnfinished, admit_command
from artifactstore_protocols.views import CLOCK, FILES, PACKAGES

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
    """An open package, and the time when it last changed."""

    package_id: str
    changed_at_us: int


class DatabaseInspection(Struct, frozen=True):
    """The result of an inspection. Without this release's schema, only `revision` and `read_only` are set.

    Attributes:
        revision: the revision of the schema; None if the database has no tables.
        last_recorded_at_us: the time of the last event; None if the log is empty.
        locations: a sample of the objects that the log names.
        open_packages: up to 1000 open packages, oldest first.
        flagged: the number of flagged objects by problem, without objects whose content was stored again.
        unfinished_import: the error that writers get while an import is unfinished; None if there is none.
        log_damage: the damage at the head of the log; None if the head is the last event.
        head_lock: the sessions that hold the head of the log, oldest first; empty if they are unknown. None if the lock
            was free, or the database is read-only.
        read_only: the reason why the database cannot be written; None if it can.
        store_id: the store id of the database; None without this release's schema, or if its row is damaged.
        head: the sequence of the last event in the log.
        unverified_since_us: since when nothing has read the object that was not read for the longest time; None without
            objects.
        observed_clock_us: the time that was observed or confirmed last; None before the first.
        collected_event_id: the id of the event at the sequence in the marker of the root; None if there is none.
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
    unverified_since_us: int | None = None
    observed_clock_us: int | None = None
    collected_event_id: str | None = None


async def inspect_database(
    location: DatabaseLocation, *, from_address: str, sample: int, lock_wait_s: float, collected_at: int
) -> DatabaseInspection:
    """Inspect an existing database. Call this from an asyncio event loop.

    Args:
        location: the database.
        from_address: the content address after which the sample starts. A random address gives a random sample, since
            address order is unrelated to any other order.
        sample: the maximum number of contents in the sample.
        lock_wait_s: how long to wait for the lock on the head before the inspection reports its holders.
        collected_at: the sequence of the event in the marker of the root; 0 for none.

    Raises:
        DatabaseUnavailable: the database cannot be read.
    """
    with translated(location.name):
        return await with_access(
            location.path, lambda access: _inspected(location, access, from_address, sample, lock_wait_s, collected_at)
        )


async def _inspected(
    location: DatabaseLocation,
    access: Access | None,
    from_address: str,
    sample: int,
    lock_wait_s: float,
    collected_at: int,
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
                observed_clock_us=await connection.scalar(select(LIVE[CLOCK].c.observed_at)),
                locations=await _sample(connection, from_address, sample),
                open_packages=await _open_packages(connection),
                flagged=await queries.flagged_counts(connection),
                unverified_since_us=(await verification_state(connection)).oldest_at_us,
                unfinished_import=await _unfinished_import(connection),
                log_damage=await _log_damage(connection),
                collected_event_id=await connection.scalar(
                    select(events.c.event_id).where(events.c.sequence == collected_at)
                ),
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
    except LogDamaged:  # reported in `log_damage`
        return None


async def _unfinished_import(connection: AsyncConnection) -> ImportUnfinished | None:
    try:
        found = await read_head(connection)
        admit_command(found.unfinished, found.sequence)
    except ImportUnfinished as unfinished:
        return unfinished
    except LogDamaged:  # reported in `log_damage`
        return None
    return None


async def _sample(connection: AsyncConnection, from_address: str, count: int) -> tuple[Location, ...]:
    found = list(await queries.locations(connection, package_id=None, after=from_address, limit=count))
    if len(found) < count:  # continue from the first address
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
    """Lock the head and release it; return None, or the sessions that hold the lock if it is not free in time."""
    try:
        with translated(location.name):
            async with connected(writer) as connection:
                with suppress(LogDamaged):  # reported in `log_damage`
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
