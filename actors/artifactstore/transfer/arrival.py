"""Events of another log on their way into this one: what is there is compared, what is not is handed to the writer."""

from collections.abc import Sequence

from artifactstore.database.errors import Refused
from artifactstore.event_writer import COMMIT_TIMEOUT_S
from artifactstore.supervision import ActorRef
from artifactstore.transfer.log_files import READ_BYTES
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.log_file import LogDiffers, LogFileInvalid
from artifactstore_protocols.messages import ImportEvents, WriterRole

__all__ = ["Arrival", "first_difference"]


async def first_difference(store: EventStore, theirs: Sequence[StoredEvent]) -> int | None:
    """The first sequence of a run at which this log holds another event, or none."""
    while theirs:
        mine = await store.read_events(after=theirs[0].sequence - 1, limit=len(theirs), bytes_max=READ_BYTES)
        if not mine:
            return theirs[0].sequence
        for found, expected in zip(mine, theirs, strict=False):
            if found != expected:
                return expected.sequence
        theirs = theirs[len(mine) :]
    return None


class Arrival:
    """One log arriving in order, from its first event on.

    Args:
        store: for what is there.
        writer: for what is not.
        source: what errors call the log that arrives.
        head: of this log, when it began.

    Attributes:
        written: how many events were not there before.
    """

    def __init__(self, store: EventStore, writer: ActorRef[WriterRole], source: str, head: int) -> None:
        self._store = store
        self._writer = writer
        self._source = source
        self._head = head
        self.written = 0

    async def compare(self, batch: Sequence[StoredEvent]) -> None:
        """Hold the part of a run that should be there against what is there.

        Raises:
            LogDiffers: this log holds another event at one of their sequences.
        """
        there = [stored for stored in batch if stored.sequence <= self._head]
        if there and (sequence := await first_difference(self._store, there)) is not None:
            raise LogDiffers(self._source, sequence)

    async def take(self, batch: Sequence[StoredEvent]) -> None:
        """Put into the log what was not there of a run; some of it may have come there by another way meanwhile.

        Raises:
            LogDiffers: somebody has written another event there meanwhile; runs before this one are in the log.
            LogFileInvalid: the database does not take the events.
        """
        new = tuple(stored for stored in batch if stored.sequence > self._head)
        if not new:
            return
        try:
            self.written += await self._writer.ask(ImportEvents(new, self._source), timeout=COMMIT_TIMEOUT_S)
        except Refused as error:
            reason = f"the database refuses events {new[0].sequence} to {new[-1].sequence} ({error.reason})"
            raise LogFileInvalid(self._source, 0, reason) from error
