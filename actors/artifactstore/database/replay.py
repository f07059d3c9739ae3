"""The replay of the log, which builds the projection again to compare it with the live tables or to repair them.

Both functions fill temporary shadow tables. `check` uses one snapshot and never locks the head of the log. `rebuild`
replays most events without the lock and notes the rows that differ. It takes the lock only to replay the last events
and to repair those rows. Other live rows equal their shadow rows, and later events change both in the same way.
"""

from collections.abc import Callable

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, func, insert, select, tuple_, union

from artifactstore.database import events
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.engines import is_direct, writing
from artifactstore.database.errors import DirectConnectionNeeded
from artifactstore.database.schema import LIVE, ViewTables
from artifactstore.database.shadow import DIFFERING, SHADOW, TEMPORARY
from artifactstore.database.views import TableViewWriter, projection_digest
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.records import ReplayProgress, ReplayReport
from artifactstore_protocols.views import TOTALS

__all__ = ["check", "rebuild", "repair"]

_LITTLE_EVENTS = 256
_CATCH_UPS_MAX = 16


type Told = Callable[[ReplayProgress], None] | None


async def check(connection: AsyncConnection, progress: Told = None) -> ReplayReport:
    """Replay the log and compare the result with the live tables, in one snapshot. Only temporary tables are written.

    Args:
        connection: a reader's connection without an open transaction.
        progress: called after each batch.

    Raises:
        UnknownEventType, EventRefused: an event breaks a rule of the log.
        LogDamaged: the log has a gap, or its head is not the last event.
    """
    async with connection.begin() as transaction:
        await connection.run_sync(_create, SHADOW)
        told = _teller(progress, await events.head(connection))
        report = await _compare(connection, after=0, repaired_rows=0, told=told)
        await transaction.rollback()  # also drops the temporary tables
    return report


async def rebuild(connection: AsyncConnection, progress: Told = None) -> ReplayReport:
    """Replay the log and repair the live tables.

    Args:
        connection: a reader's connection without an open transaction. The function uses several transactions in turn.
        progress: called after each batch, except for events that are written during the replay.

    Raises:
        UnknownEventType, EventRefused: an event breaks a rule of the log. The live tables are unchanged.
        LogDamaged: the log has a gap, or its head is not the last event. The live tables are unchanged.
        DirectConnectionNeeded: the database is reached through a pooler.
    """
    if not await is_direct(connection):
        raise DirectConnectionNeeded  # the temporary tables would stay in a session that other clients use
    async with connection.begin():
        await connection.run_sync(_create, SHADOW)
        await connection.run_sync(_create, DIFFERING)
    try:
        report = await _rebuild(connection, progress)
        async with connection.begin():
            await connection.run_sync(TEMPORARY.drop_all, checkfirst=False)
    except BaseException:
        await connection.invalidate()  # closing the connection drops the temporary tables in any case
        raise
    return report


async def _rebuild(connection: AsyncConnection, progress: Told) -> ReplayReport:
    into = TableViewWriter(connection, SHADOW)
    async with connection.begin():
        told = _teller(progress, await events.head(connection))
        after = await events.replay(connection, into=into, told=told)
        repaired = 0
        for view, keys in DIFFERING.items():
            if view is not TOTALS:
                repaired += await _note_differences(connection, LIVE[view], SHADOW[view], keys)
    after = await _catch_up(connection, into, after)
    async with writing(connection):
        await events.lock_head(connection)
        after = await events.replay(connection, into=into, after=after)
        # Writers add to the totals what other rows say, so the totals could still have become wrong a moment ago.
        repaired += await _note_differences(connection, LIVE[TOTALS], SHADOW[TOTALS], DIFFERING[TOTALS])
        for view, keys in DIFFERING.items():
            await _repair(connection, LIVE[view], SHADOW[view], keys)
    async with connection.begin():
        return await _compare(connection, after=after, repaired_rows=repaired)


async def repair(connection: AsyncConnection) -> None:
    """Repair the live tables by the shadow tables, in a transaction that holds the head of the log."""
    for view, keys in DIFFERING.items():
        await _note_differences(connection, LIVE[view], SHADOW[view], keys)
        await _repair(connection, LIVE[view], SHADOW[view], keys)


async def _catch_up(connection: AsyncConnection, into: TableViewWriter, after: int) -> int:
    """Replay events written meanwhile until at most 256 are new; the rest is replayed while writers wait."""
    for _ in range(_CATCH_UPS_MAX):
        async with connection.begin():
            sequence = await events.replay(connection, into=into, after=after)
        if sequence - after <= _LITTLE_EVENTS:
            return sequence
        after = sequence
    return after


def _create(connection: Connection, tables: ViewTables) -> None:
    TEMPORARY.create_all(connection, tables=tuple(tables.values()), checkfirst=False)


def _teller(progress: Told, total: int) -> Callable[[int], None]:
    def tell(sequence: int) -> None:
        if progress is not None:
            progress(ReplayProgress(sequence, total))

    return tell


async def _compare(
    connection: AsyncConnection, *, after: int, repaired_rows: int, told: Callable[[int], None] = lambda _sequence: None
) -> ReplayReport:
    sequence = await events.replay(connection, into=TableViewWriter(connection, SHADOW), after=after, told=told)
    return ReplayReport(
        events=sequence,
        sequence=sequence,
        projection_digest=str(ContentAddress(await projection_digest(connection, SHADOW))),
        live_digest=str(ContentAddress(await projection_digest(connection, LIVE))),
        repaired_rows=repaired_rows,
    )


async def _note_differences(connection: AsyncConnection, live: Table, shadow: Table, keys: Table) -> int:
    """Store the keys of rows that differ or are in one table only, and return their number."""
    only_live = select(live).except_(select(*_columns_like(shadow, live))).subquery()
    only_shadow = select(*_columns_like(shadow, live)).except_(select(live)).subquery()
    names = [column.name for column in keys.columns]
    differing: list[Select[tuple[object, ...]]] = [
        select(*(side.c[name] for name in names)) for side in (only_live, only_shadow)
    ]
    await connection.execute(insert(keys).from_select(names, union(*differing)))
    return (await connection.execute(select(func.count()).select_from(keys))).scalar_one()


async def _repair(connection: AsyncConnection, live: Table, shadow: Table, keys: Table) -> None:
    def is_noted(table: Table) -> ColumnElement[bool]:
        noted = select(*keys.columns)
        return tuple_(*(table.c[column.name] for column in keys.columns)).in_(noted)

    await connection.execute(delete(live).where(is_noted(live)))
    columns = _columns_like(shadow, live)
    await connection.execute(
        insert(live).from_select([column.name for column in columns], select(*columns).where(is_noted(shadow)))
    )


def _columns_like(table: Table, other: Table) -> list[ColumnElement[object]]:
    return [table.c[column.name] for column in other.columns]
