"""The event log: `write` takes an event into a transaction, `read` and `replay` bring events out again.

Sequences are 1, 2, 3 … without a gap. A transaction that writes holds the lock on the one row of `log_head` from its
start, takes the numbers after the head, and moves the head as it ends; so commit order is sequence order, a rollback
burns no number, and no reader ever sees n+1 before n, whichever process wrote it.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, batched

from sqlalchemy import ColumnElement, Row, Select, func, literal_column, select, update

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import execute_all, insertion
from artifactstore.database.cells import DamagedCell, time_in
from artifactstore.database.errors import LogDamaged
from artifactstore.database.schema import CHANNEL_PREFIX, LIVE, events, log_head
from artifactstore.database.views import row_statements
from artifactstore_protocols.admission import LogTables, admit, examine, run_needs
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.events import CommandStamp, Event, EventConflict, StoredEvent, check_payload
from artifactstore_protocols.state import LastEvent
from artifactstore_protocols.views import RowOperation

__all__ = [
    "Transaction",
    "admitted",
    "check_end",
    "find_commands",
    "head",
    "lock_head",
    "move_head",
    "read",
    "replay",
    "write",
    "write_all",
]

_REPLAY_BATCH = 1000
_REPLAY_BYTES = 8 << 20  # of payloads at a time; a manifest can have many more, and then comes alone
_QUERY_PARAMETERS_MAX = 500
_NOTIFY: ColumnElement[object] = literal_column(
    f"pg_notify('{CHANNEL_PREFIX}' || log_head.tableoid, log_head.sequence::text)"
)


_HEAD = select(log_head.c.sequence)
_LOCK_HEAD = _HEAD.with_for_update()
_END = select(func.max(events.c.sequence))
_HEAD_AND_END = "SELECT sequence, (SELECT max(sequence) FROM events) AS last FROM log_head"


@dataclass(slots=True)
class Transaction:
    """A transaction that holds the head of the log.

    Attributes:
        connection: to read and write through.
        sequence: the last sequence taken: the head as this transaction will leave it.
    """

    connection: AsyncConnection
    sequence: int


async def lock_head(connection: AsyncConnection) -> int:
    """Take the head's lock until the transaction ends, and return where the head is.

    On SQLite the transaction's own BEGIN IMMEDIATE is the lock, so one statement does.

    Raises:
        LogDamaged: the head is not the last event.
    """
    if connection.dialect.name == "sqlite":
        rows = (await connection.exec_driver_sql(_HEAD_AND_END)).all()
        sequence = _only([row.sequence for row in rows])
        if type(sequence) is not int:
            raise DamagedCell(f"column sequence holds {repr(sequence)[:60]}, which is not int")
        _check_end(sequence, rows[0].last)
        return sequence
    sequence = _only((await connection.execute(_LOCK_HEAD)).scalars().all())
    await check_end(connection, sequence)  # not in one statement, which would not see what the lock waited for
    return sequence


async def head(connection: AsyncConnection) -> int:
    """The last sequence that is committed; 0 before the first event."""
    return _only((await connection.execute(_HEAD)).scalars().all())


def _only(heads: Sequence[int]) -> int:
    if len(heads) != 1:
        raise LogDamaged(1, f"{len(heads)} rows say where its head is")
    return heads[0]


async def check_end(connection: AsyncConnection, sequence: int) -> None:
    """Make sure that the head of the log is its last event, before anything is written after it.

    Raises:
        LogDamaged: it is another one.
    """
    _check_end(sequence, (await connection.execute(_END)).scalar_one())


def _check_end(sequence: int, end: int | None) -> None:
    last = end or 0
    if last != sequence:
        raise LogDamaged(min(last, sequence) + 1, f"the last event is {last}, and the head says {sequence}")


async def move_head(transaction: Transaction) -> None:
    """Store the head. Once a transaction, after its last event.

    On PostgreSQL the commit also sends word of it to those who listen; a rollback sends none.
    """
    moved = update(log_head).values(sequence=transaction.sequence)
    if transaction.connection.dialect.name == "postgresql":
        moved = moved.returning(_NOTIFY)
    await transaction.connection.execute(moved)


async def write(transaction: Transaction, event: Event) -> int:
    """Append one event, or find it there. Returns its sequence.

    Raises:
        EventConflict: the id is in the log with other content.
    """
    query = select(events).where(events.c.event_id == event.event_id)
    existing = (await transaction.connection.execute(query)).one_or_none()
    if existing is None:
        await write_all(transaction, (event,))
        return transaction.sequence
    stored = _stored(existing)
    if not stored.event.same_content(event):
        raise EventConflict(event.event_id, stored.sequence)
    return stored.sequence


async def write_all(
    transaction: Transaction, new: Iterable[Event], operations: Iterable[RowOperation] = ()
) -> tuple[StoredEvent, ...]:
    """Append events whose ids are known to be new, and write rows that they imply into the views.

    The database's unique index holds the caller to new ids.
    """
    stored = tuple(StoredEvent(transaction.sequence + 1 + i, event) for i, event in enumerate(new))
    if stored:
        database = transaction.connection.dialect.name
        into_log = insertion(events, [_row(entry) for entry in stored], database)
        await execute_all(transaction.connection, [into_log, *row_statements(operations, LIVE, database)])
        transaction.sequence = stored[-1].sequence
    return stored


async def read(
    connection: AsyncConnection, *, after: int, limit: int, bytes_max: int, subject: str | None = None
) -> tuple[StoredEvent, ...]:
    """Events after the sequence `after`, in order; `EventStore.read_events` says which.

    Raises:
        LogDamaged: the next one is missing. What is there of the log can be read up to it.
        PayloadDiffers: the payload of one is not the one that its record names.
    """

    def wanted[*Columns](query: Select[*Columns]) -> Select[*Columns]:
        query = query.where(events.c.sequence > after).order_by(events.c.sequence).limit(limit)
        return query if subject is None else query.where(events.c.subject == subject)

    # Both databases know how long a value is without reading it.
    sizes = (await connection.execute(wanted(select(func.coalesce(func.length(events.c.payload), 0))))).scalars()
    limit = max(1, sum(total <= bytes_max for total in accumulate(sizes)))
    found = tuple(_stored(row) for row in await connection.execute(wanted(select(events))))
    return found if subject is not None else await _gapless(connection, found, after)


async def _gapless(connection: AsyncConnection, found: tuple[StoredEvent, ...], after: int) -> tuple[StoredEvent, ...]:
    """Events up to the first one that is missing; where that is the very next one, or the head says so, an error."""
    whole = tuple(stored for expected, stored in enumerate(found, after + 1) if stored.sequence == expected)
    if whole:
        return whole
    if found:
        raise LogDamaged(after + 1, f"it is missing, and {found[0].sequence} comes next")
    await check_end(connection, await head(connection))
    return ()


async def find_commands(
    connection: AsyncConnection, *, command_ids: Sequence[str], idempotency_keys: Sequence[str]
) -> tuple[StoredEvent, ...]:
    """Every event of the commands that have one of these ids or keys, in order of sequence."""
    ids = list(command_ids)
    for keys in batched(idempotency_keys, _QUERY_PARAMETERS_MAX):
        keyed = select(events.c.command_id).where(events.c.idempotency_key.in_(keys))
        ids += (await connection.execute(keyed)).scalars().all()
    found: list[StoredEvent] = []
    for some in batched(ids, _QUERY_PARAMETERS_MAX):
        query = select(events).where(events.c.command_id.in_(some))
        found += [_stored(row) for row in await connection.execute(query)]
    unique = {stored.sequence: stored for stored in found}
    return tuple(unique[sequence] for sequence in sorted(unique))


async def admitted(connection: AsyncConnection, batch: Sequence[StoredEvent], tables: LogTables) -> list[RowOperation]:
    """The rows that a run of events implies, every event held to the rules of the log.

    Args:
        connection: to read which commands the log holds before the run.
        batch: the run; the log goes up to its first event, and may hold it.
        tables: what follows from the log before the run.

    Raises:
        UnknownEventType, EventRefused: an event may not stand there.
    """
    examined = [examine(stored) for stored in batch]
    state = await tables.state(run_needs(examined))
    after = batch[0].sequence - 1
    for some in batched(sorted({stored.event.command.command_id for stored in batch}), _QUERY_PARAMETERS_MAX):
        query = select(events.c.command_id).where(events.c.command_id.in_(some), events.c.sequence <= after)
        state.commands.update((await connection.execute(query)).scalars())
    previous = select(events.c.command_id, events.c.actor, events.c.type).where(events.c.sequence == after)
    for row in await connection.execute(previous):
        state.last = LastEvent(row.command_id, row.actor, row.type)
    return [operation for each in examined for operation in admit(each, state)]


async def replay(
    connection: AsyncConnection,
    *,
    into: LogTables,
    after: int = 0,
    told: Callable[[int], None] = lambda _sequence: None,
) -> int:
    """Feed every event after `after` through the projections into `into`. Returns the last sequence seen.

    Every event is held to the rules of the log. The connection's transaction decides what "every" means. Nothing but
    the log and `into` is read: no clock, no other view. `told` is called with the last sequence of each batch.

    Raises:
        UnknownEventType, EventRefused: an event may not stand there; what was applied must be rolled back.
        LogDamaged: a sequence is missing, before the head or at its end; likewise.
    """
    async for batch in _batches(connection, after):
        await into.apply(await admitted(connection, batch, into))
        after = batch[-1].sequence
        told(after)
    return after


async def _batches(connection: AsyncConnection, after: int) -> AsyncIterator[tuple[StoredEvent, ...]]:
    while batch := await read(connection, after=after, limit=_REPLAY_BATCH, bytes_max=_REPLAY_BYTES):
        yield batch
        after = batch[-1].sequence


def _row(stored: StoredEvent) -> tuple[object, ...]:
    event, stamp = stored.event, stored.event.command
    return (
        stored.sequence,
        event.event_id,
        event.type,
        event.subject,
        event.actor,
        event.recorded_at_us,
        stamp.command_id,
        stamp.digest,
        stamp.idempotency_key,
        event.payload_digest,
        event.payload,
    )


def _stored(row: Row[tuple[object, ...]]) -> StoredEvent:
    try:
        event = Event(
            event_id=row.event_id,
            type=row.type,
            subject=row.subject,
            actor=row.actor,
            recorded_at_us=time_in("recorded_at", row.recorded_at),
            payload=row.payload,
            command=CommandStamp(row.command_id, row.command_digest, row.idempotency_key),
        )
    except InvalidValue as error:
        raise LogDamaged(row.sequence, str(error)) from error
    check_payload(row.sequence, event.type, event.payload_digest, row.payload_digest)
    return StoredEvent(row.sequence, event)
