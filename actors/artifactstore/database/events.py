"""The event log: `append` writes events in a transaction, and `read` and `replay` read them.

Sequences are 1, 2, 3 … without a gap. A writing transaction locks the only row of `log_head` at its start. It assigns
the sequences after the head, and moves the head. So commit order is sequence order, and a rollback leaves no gap. No
reader sees event n+1 before event n, even if different processes wrote them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import cache
from itertools import accumulate
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from msgspec import Struct
from sqlalchemy import ColumnElement, Row, Select, bindparam, func, literal_column, select, update
from sqlalchemy.exc import OperationalError

from artifactstore.database.asyncio_core import AsyncConnection, finished
from artifactstore.database.bulk import (
    Cells,
    Lookup,
    Query,
    Statement,
    Steps,
    compiled,
    insertion,
    lookup,
    query,
    run,
    wanted,
)
from artifactstore.database.cells import DamagedCell, time_in
from artifactstore.database.engines import is_busy
from artifactstore.database.errors import LogDamaged
from artifactstore.database.schema import CHANNEL_PREFIX, LIVE, events, log_head
from artifactstore.database.views import row_statements
from artifactstore_protocols.admission import LogTables, admit, admit_part, examine, run_needs
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import PAYLOADS_REDACTED
from artifactstore_protocols.events import (
    CommandStamp,
    Event,
    EventConflict,
    EventRefused,
    StoredEvent,
    check_payload,
)
from artifactstore_protocols.state import LastEvent, LogState, Redaction
from artifactstore_protocols.totals import totals_rows
from artifactstore_protocols.unfinished_import import LogEnd, UnfinishedImport, admit_command
from artifactstore_protocols.views import RowOperation

if TYPE_CHECKING:
    from artifactstore.database.sqlite_driver import Connection

__all__ = [
    "Head",
    "Transaction",
    "admitted",
    "adopt_store_id",
    "append",
    "append_imported",
    "check_end",
    "check_redactions",
    "find_commands",
    "head",
    "lock_head",
    "note_import",
    "read",
    "read_head",
    "read_store_id",
    "redactions",
    "replay",
    "write",
    "write_all",
]

_REPLAY_BATCH = 1000
_REPLAY_BYTES = 2 << 20  # of payloads in one batch; a larger payload, such as a manifest, is a batch by itself
_NOTIFY: ColumnElement[object] = literal_column(
    f"pg_notify('{CHANNEL_PREFIX}' || log_head.tableoid, log_head.sequence::text)"
)


_HEAD = select(log_head.c.sequence)
_WHOLE_HEAD = select(log_head)
_STORE_ID = select(log_head.c.store_id)
_LOCK_HEAD = _WHOLE_HEAD.with_for_update()
_END = select(events.c.sequence, events.c.recorded_at).order_by(events.c.sequence.desc()).limit(1)
_HEAD_AND_END = (
    "SELECT sequence, import_end, import_event_id, import_command, (SELECT max(sequence) FROM events) AS last, "
    "(SELECT recorded_at FROM events WHERE sequence = (SELECT max(sequence) FROM events)) AS recorded_at FROM log_head"
)


class Head(NamedTuple):
    """The head of the log: its last sequence, the unfinished import if there is one, and the time of the last event."""

    sequence: int
    unfinished: UnfinishedImport | None = None
    recorded_at_us: int = 0


class Transaction(Struct):
    """A transaction that holds the head of the log.

    Attributes:
        connection: the connection of the transaction.
        sequence: the last sequence, including the events that this transaction has appended.
        unfinished: the unfinished import after this transaction; None if there is none.
        recorded_at_us: the time of the last event, including those that this transaction has appended; 0 without one.
    """

    connection: AsyncConnection
    sequence: int
    unfinished: UnfinishedImport | None = None
    recorded_at_us: int = 0

    @property
    def database(self) -> str:
        """The name of the database's dialect."""
        return self.connection.dialect.name


async def lock_head(connection: AsyncConnection, *, wait_s: float = 0.0) -> Head:
    """Lock the head until the transaction ends, and return it.

    On SQLite, the transaction's BEGIN IMMEDIATE is the lock. It is sent with the query after `begin_before_lock`.

    Args:
        connection: a connection in a writer's transaction.
        wait_s: how long to ask for the lock of SQLite again, in seconds. On PostgreSQL the session's own limit applies.

    Raises:
        LogDamaged: the head is not the last event.
        OperationalError: the lock was not free in time.
    """
    if connection.dialect.name == "sqlite":
        sequence, *unfinished, last, recorded_at_us = _only(await _locked(connection, wait_s))
        if type(sequence) is not int:
            raise DamagedCell(f"column sequence holds {repr(sequence)[:60]}, which is not int")
        _check_end(sequence, last)
        found = _head_of(sequence, *unfinished)
        return found._replace(recorded_at_us=0 if last is None else time_in("recorded_at", recorded_at_us))
    found = _head_in(_only((await connection.execute(_LOCK_HEAD)).all()))
    # A single statement would miss commits made during the wait.
    return found._replace(recorded_at_us=await check_end(connection, found.sequence))


async def _locked(connection: AsyncConnection, wait_s: float) -> Sequence[Cells]:
    driver = cast("Connection", (await connection.get_raw_connection()).driver_connection)
    if not connection.sync_connection.in_transaction():
        await connection.begin()
    deadline_s = monotonic() + wait_s
    while True:
        try:
            return await run(connection, _lock_steps(begin=not driver.in_transaction))
        except OperationalError as error:
            if not is_busy(error) or monotonic() >= deadline_s:
                raise
        except asyncio.CancelledError:
            await finished(connection.invalidate())  # the driver may begin the transaction after this
            raise


def _lock_steps(*, begin: bool) -> Steps[Sequence[Cells]]:
    if begin:
        yield Statement("BEGIN IMMEDIATE", [()])
    return (yield Lookup([(_HEAD_AND_END, ())], _unchecked))


def _unchecked(_rows: Sequence[Cells]) -> None:
    """`lock_head` checks the cells of its one row."""


async def read_head(connection: AsyncConnection) -> Head:
    """Return the committed head of the log."""
    return _head_in(_only((await connection.execute(_WHOLE_HEAD)).all()))


async def read_store_id(connection: AsyncConnection) -> str:
    """Return the store id, which the database got when it was set up."""
    ids: Sequence[str] = (await connection.execute(_STORE_ID)).scalars().all()
    return _only(ids)


def _head_in(row: Row[tuple[object, ...]]) -> Head:
    return _head_of(row.sequence, row.import_end, row.import_event_id, row.import_command)


def _head_of(sequence: int, *unfinished: object) -> Head:
    if unfinished == (None, None, None):
        return Head(sequence)
    if tuple(map(type, unfinished)) != (int, str, str):
        raise DamagedCell(f"the head of the log holds {repr(unfinished)[:60]}, which is no import")
    end, event_id, command = cast("tuple[int, str, str]", unfinished)
    return Head(sequence, UnfinishedImport(LogEnd(end, event_id), command))


async def head(connection: AsyncConnection) -> int:
    """Return the last committed sequence; 0 before the first event."""
    heads: Sequence[int] = (await connection.execute(_HEAD)).scalars().all()
    return _only(heads)


def _only[T](heads: Sequence[T]) -> T:
    if len(heads) != 1:
        raise LogDamaged(1, f"{len(heads)} rows say where its head is")
    return heads[0]


async def check_end(connection: AsyncConnection, sequence: int) -> int:
    """Check that `sequence`, the head of the log, is the last event, and return its time; 0 in an empty log.

    Raises:
        LogDamaged: the last event has another sequence.
    """
    last = (await connection.execute(_END)).first()
    _check_end(sequence, None if last is None else last.sequence)
    return 0 if last is None else time_in("recorded_at", last.recorded_at)


def _check_end(sequence: int, end: int | None) -> None:
    last = end or 0
    if last != sequence:
        raise LogDamaged(min(last, sequence) + 1, f"the last event is {last}, and the head says {sequence}")


def _head_moved(sequence: int, database: str) -> Statement:
    """Return a statement that moves the head. On PostgreSQL, its commit also notifies listeners."""
    return Statement(_moving_head(database), [(sequence,)])


@cache
def _moving_head(database: str) -> str:
    moved = update(log_head).values(sequence=bindparam("sequence"))
    return compiled(moved if database == "sqlite" else moved.returning(_NOTIFY), database)[0]


async def write(transaction: Transaction, event: Event) -> int:
    """Append one event if its id is new, and return its sequence.

    Raises:
        EventConflict: the log has an event with the same id but other content.
    """
    same = select(events).where(events.c.event_id == event.event_id)
    existing = (await transaction.connection.execute(same)).one_or_none()
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
    """Append events through the connection of the transaction; see `append`."""
    return await run(transaction.connection, append(transaction, new, operations))


def append(
    transaction: Transaction, new: Iterable[Event], operations: Iterable[RowOperation] = ()
) -> Steps[tuple[StoredEvent, ...]]:
    """Append events of commands, write the rows that they imply into the views, and move the head.

    The caller must pass new event ids; a unique index of the database enforces this.

    Raises:
        ImportUnfinished: an import is unfinished, so the log accepts no commands.
    """
    new = tuple(new)
    if new:
        admit_command(transaction.unfinished, transaction.sequence)
    return (yield from append_imported(transaction, new, operations))


def append_imported(
    transaction: Transaction, new: Iterable[Event], operations: Iterable[RowOperation] = ()
) -> Steps[tuple[StoredEvent, ...]]:
    """Append events like `append`, but for an import that was admitted."""
    stored = tuple(StoredEvent(transaction.sequence + 1 + i, event) for i, event in enumerate(new))
    if stored:
        database, sequence = transaction.database, stored[-1].sequence
        yield insertion(events, [_row(entry) for entry in stored], database)
        for statement in row_statements(operations, LIVE, database):  # noqa: UP028 - `yield from` a list cannot receive rows
            yield statement
        yield _head_moved(sequence, database)
        transaction.sequence = sequence
        transaction.recorded_at_us = stored[-1].event.recorded_at_us
    return stored


async def note_import(transaction: Transaction, unfinished: UnfinishedImport | None) -> None:
    """Store the unfinished import in the head, or clear it if None."""
    if transaction.unfinished != unfinished:
        end = None if unfinished is None else unfinished.end
        noted = update(log_head).values(
            import_end=None if end is None else end.sequence,
            import_event_id=None if end is None else end.event_id,
            import_command=None if unfinished is None else unfinished.command,
        )
        await transaction.connection.execute(noted)
        transaction.unfinished = unfinished


async def adopt_store_id(transaction: Transaction, store_id: str) -> None:
    """Bind the tokens of an empty log to the store id of a backup that is to be restored."""
    if transaction.sequence == 0:
        await transaction.connection.execute(update(log_head).values(restored_store_id=store_id))


async def read(
    connection: AsyncConnection, *, after: int, limit: int, bytes_max: int, subject: str | None = None
) -> tuple[StoredEvent, ...]:
    """Return events after the sequence `after` in order; see `EventStore.read_events`.

    Raises:
        LogDamaged: the event `after + 1` is missing although the log continues. Earlier events can be read.
        PayloadDiffers: the payload of an event does not match the digest in its record.
    """

    def page[*Columns](of: Select[*Columns]) -> Select[*Columns]:
        of = of.where(events.c.sequence > after).order_by(events.c.sequence).limit(limit)
        return of if subject is None else of.where(events.c.subject == subject)

    # Both databases return the length of a value without reading the value.
    sizes = (await connection.execute(page(select(func.coalesce(func.length(events.c.payload), 0))))).scalars()
    limit = max(1, sum(total <= bytes_max for total in accumulate(sizes)))
    found = tuple(_stored(row) for row in await connection.execute(page(select(events))))
    return found if subject is not None else await _gapless(connection, found, after)


async def _gapless(connection: AsyncConnection, found: tuple[StoredEvent, ...], after: int) -> tuple[StoredEvent, ...]:
    """Return the events before the first missing one, or raise `LogDamaged` if event `after + 1` is missing."""
    whole = tuple(stored for expected, stored in enumerate(found, after + 1) if stored.sequence == expected)
    if whole:
        return whole
    if found:
        raise LogDamaged(after + 1, f"it is missing, and {found[0].sequence} comes next")
    await check_end(connection, await head(connection))
    return ()


def find_commands(
    command_ids: Iterable[str], idempotency_keys: Iterable[str], database: str
) -> Steps[tuple[StoredEvent, ...]]:
    """Return all events of the commands with one of these ids or keys, in order of sequence."""
    rows = yield lookup(_of_commands(database), [(each,) for each in command_ids])
    if keys := [(each,) for each in idempotency_keys]:
        rows += yield lookup(_of_keys(database), keys)
    found = {stored.sequence: stored for stored in map(_stored, rows)}
    return tuple(found[sequence] for sequence in sorted(found))


@cache
def _of_commands(database: str) -> Query:
    values = wanted(database, command_id=str)
    return query(select(events).where(events.c.command_id == values["command_id"]), values, database)


@cache
def _of_keys(database: str) -> Query:
    values = wanted(database, idempotency_key=str)
    keyed = events.alias("keyed")
    same = select(events).join(keyed, events.c.command_id == keyed.c.command_id)
    return query(same.where(keyed.c.idempotency_key == values["idempotency_key"]), values, database)


async def admitted(connection: AsyncConnection, batch: Sequence[StoredEvent], tables: LogTables) -> list[RowOperation]:
    """Check a run of events against the rules of the log, and return the row operations that they imply.

    Args:
        connection: the connection to read earlier commands of the log.
        batch: consecutive events. The log holds all earlier events, and may hold the run itself.
        tables: the projection of the log before the run.

    Raises:
        UnknownEventType, EventRefused: an event is not allowed at its place.
    """
    in_parts = len(batch) == 1
    examined = [examine(stored, in_parts=in_parts) for stored in batch]
    state = await tables.state(run_needs(examined))
    await run(connection, _add_commands(state, batch, connection.dialect.name))
    await run(connection, _add_redactions(state, batch, connection.dialect.name))
    operations = [operation for each in examined for operation in admit(each, state)]
    operations += totals_rows(state)
    for each in examined if in_parts else ():
        for part in each.parts():
            admit_part(each, part, await tables.state(part.needs))
    return operations


def _add_commands(state: LogState, batch: Sequence[StoredEvent], database: str) -> Steps[None]:
    """Add to `state` the commands of a run that the log holds before it, and the last event before the run."""
    after = batch[0].sequence - 1
    command_ids = {stored.event.command.command_id for stored in batch}
    before = yield lookup(_command_before(database), [(command_id, after) for command_id in sorted(command_ids)])
    state.commands.update(command_id for (command_id,) in before)
    for command_id, principal, event_type, recorded_at_us in (yield lookup(_event_at(database), [(after,)])):
        state.last = LastEvent(command_id, principal, event_type)
        state.log_time_us = recorded_at_us


def _add_redactions(state: LogState, batch: Sequence[StoredEvent], database: str) -> Steps[None]:
    """Add to `state` the redactions that the redacting events of a run name, and those that name them."""
    redacting = [stored for stored in batch if stored.event.type == PAYLOADS_REDACTED.name]
    if not redacting:
        return
    named = {sequence for stored in redacting for sequence, _digest in cast("Any", stored.decode()).events}
    rows = yield lookup(_redactions(database, "sequence"), [(sequence,) for sequence in sorted(named)])
    rows += yield lookup(_redactions(database, "redacted_by"), [(stored.sequence,) for stored in redacting])
    state.redactions.update((sequence, Redaction(*redaction)) for sequence, *redaction in rows)
    for stored in batch:
        redacted_by, substitute = stored.event.redacted_by, stored.event.substitute
        if redacted_by is not None and substitute is not None:
            state.redactions[stored.sequence] = Redaction(redacted_by, substitute)


@cache
def _redactions(database: str, column: Literal["sequence", "redacted_by"]) -> Query:
    values = wanted(database, **{column: int})
    selected = select(events.c.sequence, events.c.redacted_by, events.c.substitute_digest)
    return query(
        selected.where(events.c[column] == values[column], events.c.redacted_by.is_not(None)), values, database
    )


async def check_redactions(connection: AsyncConnection) -> None:
    """Check that the log holds the event that redacts each redacted one. That event checks the substitute.

    Raises:
        EventRefused: a payload is a substitute, and no event of the log has its digest.
    """
    redacting = events.alias("redacting")
    is_there = (
        select(redacting.c.sequence)
        .where(redacting.c.sequence == events.c.redacted_by, redacting.c.type == PAYLOADS_REDACTED.name)
        .exists()
    )
    missing = (
        select(events.c.sequence, events.c.type, events.c.redacted_by)
        .where(events.c.redacted_by.is_not(None), ~is_there)
        .limit(1)
    )
    if (row := (await connection.execute(missing)).first()) is not None:
        reason = f"event {row.redacted_by}, which redacts it, is not there; if this is a backup, run the backup again"
        raise EventRefused(row.sequence, row.type, reason)


async def redactions(connection: AsyncConnection, after: int, last: int) -> dict[int, int]:
    """Return the redacted events of a range; see `EventStore.redactions`."""
    is_any = select(events.c.sequence).where(events.c.redacted_by > 0).limit(1)
    if (await connection.execute(is_any)).first() is None:  # the index of redactions is empty in nearly every log
        return {}
    in_range = (events.c.sequence > after) & (events.c.sequence <= last) & events.c.redacted_by.is_not(None)
    found = await connection.execute(select(events.c.sequence, events.c.redacted_by).where(in_range))
    return {row.sequence: row.redacted_by for row in found}


@cache
def _command_before(database: str) -> Query:
    values = wanted(database, command_id=str, sequence=int)
    before = (events.c.command_id == values["command_id"]) & (events.c.sequence <= values["sequence"])
    return query(select(events.c.command_id).where(before), values, database)


@cache
def _event_at(database: str) -> Query:
    values = wanted(database, sequence=int)
    selected = select(events.c.command_id, events.c.principal, events.c.type, events.c.recorded_at)
    return query(selected.where(events.c.sequence == values["sequence"]), values, database)


async def replay(
    connection: AsyncConnection,
    *,
    into: LogTables,
    after: int = 0,
    told: Callable[[int], None] = lambda _sequence: None,
    is_whole: bool = True,
) -> int:
    """Check and project every event after `after` into `into`, and return the last sequence.

    The snapshot of the connection's transaction determines the last event. The function reads only the log and `into`:
    no clock and no other view. It calls `told` with the last sequence of each batch. After an error, the caller must
    roll back. Unless the log `is_whole`, an import that is unfinished may bring the events that redact earlier ones.

    Raises:
        UnknownEventType, EventRefused: an event is not allowed at its place.
        LogDamaged: a sequence is missing, or the head is not the last event.
    """
    async for batch in _batches(connection, after):
        await into.apply(await admitted(connection, batch, into))
        after = batch[-1].sequence
        told(after)
    if is_whole:
        await check_redactions(connection)
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
        event.principal,
        event.recorded_at_us,
        stamp.command_id,
        stamp.digest,
        stamp.idempotency_key,
        event.payload_digest,
        event.payload,
        event.redacted_by,
        event.substitute,
    )


def _stored(row: Sequence[Any]) -> StoredEvent:
    """Return the event of a row; the cells are in the order of the table's columns."""
    (
        sequence,
        event_id,
        event_type,
        subject,
        principal,
        recorded_at_us,
        command_id,
        digest,
        key,
        payload_digest,
        payload,
        redacted_by,
        substitute,
    ) = row
    try:
        recorded_at_us = time_in("recorded_at", recorded_at_us)
        command = CommandStamp(command_id, digest, key)
        recorded = "" if redacted_by is None else payload_digest
        event = Event(event_id, event_type, subject, principal, recorded_at_us, payload, command, recorded, redacted_by)
    except InvalidValue as error:
        raise LogDamaged(sequence, str(error)) from error
    if redacted_by is None:
        check_payload(sequence, event.type, event.payload_digest, payload_digest)
    else:
        check_payload(sequence, event.type, event.substitute or "", str(substitute))
    return StoredEvent(sequence, event)
