"""Replay: build every projection again from the log alone, then compare with the live tables, or repair them.

Both ways fill temporary twins of the view tables. A check does so in one snapshot and never takes the head of the log.
A rebuild catches up without the lock, notes which rows differ, and takes the lock only for the last events and for
those rows: live rows that did not differ have moved on by the same events as their twins, so they need no touch.
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

__all__ = ["check", "rebuild"]

_LITTLE_EVENTS = 256
_CATCH_UPS_MAX = 16


type Told = Callable[[ReplayProgress], None] | None


async def check(connection: AsyncConnection, progress: Told = None) -> ReplayReport:
    """Replay and compare within one snapshot; nothing that lasts is written. `progress` is told of each batch.

    Raises:
        UnknownEventType, EventRefused: an event breaks a rule of the log.
        LogDamaged: the log is not gapless up to its head.
    """
    async with connection.begin() as transaction:
        await connection.run_sync(_create, SHADOW)
        told = _teller(progress, await events.head(connection))
        report = await _compare(connection, after=0, repaired_rows=0, told=told)
        await transaction.rollback()  # which takes the temporary tables with it
    return report


async def rebuild(connection: AsyncConnection, progress: Told = None) -> ReplayReport:
    """Replay, and make the live tables what the log implies.

    Args:
        connection: a reader's, with no transaction begun; several are begun in turn.
        progress: told of each batch, but for what is written meanwhile.

    Raises:
        UnknownEventType, EventRefused: an event breaks a rule of the log; the live tables are as they were.
        LogDamaged: the log is not gapless up to its head; likewise.
        DirectConnectionNeeded: a pooler stands in between.
    """
    if not await is_direct(connection):
        raise DirectConnectionNeeded  # its temporary tables would stay behind in somebody else's session
    async with connection.begin():
        await connection.run_sync(_create, SHADOW)
        await connection.run_sync(_create, DIFFERING)
    try:
        report = await _rebuild(connection, progress)
        async with connection.begin():
            await connection.run_sync(TEMPORARY.drop_all, checkfirst=False)
    except BaseException:
        await connection.invalidate()  # the temporary tables end with it, whatever state it is in
        raise
    return report


async def _rebuild(connection: AsyncConnection, progress: Told) -> ReplayReport:
    into = TableViewWriter(connection, SHADOW)
    async with connection.begin():
        told = _teller(progress, await events.head(connection))
        after = await events.replay(connection, into=into, told=told)
        repaired = 0
        for view, keys in DIFFERING.items():
            repaired += await _note_differences(connection, LIVE[view], SHADOW[view], keys)
    after = await _catch_up(connection, into, after)
    async with writing(connection):
        await events.lock_head(connection)
        after = await events.replay(connection, into=into, after=after)
        for view, keys in DIFFERING.items():
            await _mend(connection, LIVE[view], SHADOW[view], keys)
    async with connection.begin():
        return await _compare(connection, after=after, repaired_rows=repaired)


async def _catch_up(connection: AsyncConnection, into: TableViewWriter, after: int) -> int:
    """Replay what was written meanwhile, until that is little: the rest is replayed with writers waiting."""
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
    """Keep the keys of rows that only one of the two has, or that differ. Returns how many there are."""
    only_live = select(live).except_(select(*_columns_like(shadow, live))).subquery()
    only_shadow = select(*_columns_like(shadow, live)).except_(select(live)).subquery()
    names = [column.name for column in keys.columns]
    differing: list[Select[tuple[object, ...]]] = [
        select(*(side.c[name] for name in names)) for side in (only_live, only_shadow)
    ]
    await connection.execute(insert(keys).from_select(names, union(*differing)))
    return (await connection.execute(select(func.count()).select_from(keys))).scalar_one()


async def _mend(connection: AsyncConnection, live: Table, shadow: Table, keys: Table) -> None:
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
