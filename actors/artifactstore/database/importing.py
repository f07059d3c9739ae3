"""One transaction that takes over events of another log: byte for byte, with the rows that they imply.

Holding the head of the log, it compares what is there already, holds the rest to the rules of the log and writes it.
The head then refuses other writers until the last event is there. An interrupted import continues by itself,
two at once of the same log do no harm, and nobody can write in between.
"""

from collections.abc import Sequence

from artifactstore.database import bulk, events
from artifactstore.database.schema import LIVE
from artifactstore.database.views import TableViewWriter
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.imports import ImportRun, admit_import, after_import
from artifactstore_protocols.log_file import LogDiffers

__all__ = ["import_events"]


async def import_events(transaction: events.Transaction, arriving: Sequence[StoredEvent], run: ImportRun) -> int:
    """Write those of the events that are not there; see `EventStore.import_events`.

    Raises:
        ImportUnfinished, LogDiffers: see there.
        UnknownEventType, EventRefused: an event may not stand there.
        SQLAlchemyError: the database refused the events; nothing of them may be kept.
    """
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
    # What is there is no larger, or it differs: so no more is read of it than has arrived.
    size_bytes = sum(len(stored.event.payload) for stored in overlap)
    there = await events.read(transaction.connection, after=after, limit=len(overlap), bytes_max=size_bytes)
    for index, theirs in enumerate(overlap):
        if index >= len(there) or there[index] != theirs:
            raise LogDiffers(run.source, theirs.sequence)
    new = arriving[len(overlap) :]
    if new:
        views = TableViewWriter(transaction.connection, LIVE)
        operations = await events.admitted(transaction.connection, new, views)
        steps = events.append_imported(transaction, [stored.event for stored in new], operations)
        await bulk.run(transaction.connection, steps)
        await events.note_import(transaction, after_import(transaction.sequence, run))
    return len(new)
