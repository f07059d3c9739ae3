"""The transaction that imports events of another log, byte for byte, with the rows that they imply.

The transaction locks the head of the log. It compares events that the log already holds, checks the rest against the
rules of the log and writes them. The head then rejects other writers until the last event is imported. Running an
interrupted import again continues it, and two imports of the same log can run concurrently.
"""

from collections.abc import Sequence

from artifactstore.database import bulk, events
from artifactstore.database.schema import LIVE
from artifactstore.database.views import TableViewWriter
from artifactstore_protocols.event_store import READ_BYTES_MAX
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.log_file import LogDiffers
from artifactstore_protocols.substitutes import check_substitute
from artifactstore_protocols.unfinished_import import ImportRun, admit_import, after_import

__all__ = ["import_events"]


async def import_events(transaction: events.Transaction, arriving: Sequence[StoredEvent], run: ImportRun) -> int:
    """Write the events that the log does not hold yet, and return their number; see `EventStore.import_events`.

    Raises:
        ImportUnfinished, LogDiffers: see `EventStore.import_events`.
        UnknownEventType, EventRefused: an event is not allowed at its place.
        SQLAlchemyError: the database rejected the events. The caller must roll back.
    """
    from artifactstore.database import redacting  # noqa: PLC0415 - it defines tables that only a replay uses

    head = transaction.sequence
    admit_import(transaction.unfinished, run, head)
    if not arriving:
        if transaction.unfinished is not None or head == run.head:
            await events.note_import(transaction, after_import(head, run))
        return 0
    after = arriving[0].sequence - 1
    if after > head:
        raise LogDiffers(run.source, head + 1)
    overlap = arriving[: head - after]
    # Equal events have equal sizes, except for redacted ones.
    size_bytes = max(READ_BYTES_MAX, sum(len(stored.event.payload) for stored in overlap))
    there = await events.read(transaction.connection, after=after, limit=len(overlap), bytes_max=size_bytes)
    while there and len(there) < len(overlap):
        there += await events.read(
            transaction.connection, after=there[-1].sequence, limit=len(overlap) - len(there), bytes_max=size_bytes
        )
    for index, theirs in enumerate(overlap):
        if index >= len(there) or not there[index].event.same_record(theirs.event):
            raise LogDiffers(run.source, theirs.sequence)
        if theirs.event.is_redacted_after(there[index].event) and theirs.event.redacted_by is not None:
            check_substitute(there[index], theirs)
            await redacting.put_substitute(
                transaction.connection, theirs.sequence, theirs.event.payload, theirs.event.redacted_by
            )
    new = arriving[len(overlap) :]
    if new:
        if new[0].sequence == run.head + 1 and await redacting.is_pending(transaction):
            await redacting.project_again(transaction.connection, is_whole=False)
        views = TableViewWriter(transaction.connection, LIVE)
        operations = await events.admitted(transaction.connection, new, views)
        steps = events.append_imported(transaction, [stored.event for stored in new], operations)
        await bulk.run(transaction.connection, steps)
        await events.note_import(transaction, after_import(transaction.sequence, run))
    return len(new)
