"""Events of another log on their way into this one: what is there is compared, what is not is handed to the writer."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from artifactstore.database.errors import Refused
from artifactstore.event_writer import COMMIT_TIMEOUT_S
from artifactstore.supervision import ActorRef
from artifactstore.transfer.log_files import READ_BYTES
from artifactstore_protocols.event_store import EventStore, LogReading
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.imports import ImportRun, LogEnd, UnfinishedImport, admit_import
from artifactstore_protocols.log_file import LogDiffers, LogFileInvalid
from artifactstore_protocols.messages import ImportEvents, WriterRole

__all__ = ["Arrival", "finishing", "first_difference"]


def finishing(command: str, path: Path) -> str:
    """The command line that finishes what reads from a path, wherever it is run."""
    return f"artifactstore {command} {shlex.quote(str(path.absolute()))}"


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
    """One log arriving in order, from its first event on. First all of it is shown by `see`, then it is taken.

    Args:
        store: for what is there.
        writer: for what is not.
        source: what errors call the log that arrives.
        command: what a person runs to finish this, should it break off.
        found: this log when it began.

    Attributes:
        head: of this log, when it began.
        written: how many events were not there before.
    """

    def __init__(
        self, store: EventStore, writer: ActorRef[WriterRole], *, source: str, command: str, found: LogReading
    ) -> None:
        self._store = store
        self._writer = writer
        self._source = source
        self._command = command
        self.head = found.head
        self._unfinished = found.unfinished
        self._continues: LogEnd | None = None
        self._end = LogEnd(0, "")
        self.written = 0

    def see(self, batch: Sequence[StoredEvent]) -> None:
        """Look at a run of the log before any is taken: how far it goes, and whether it finishes what was begun."""
        for stored in batch:
            if self._unfinished is not None and stored.sequence == self._unfinished.end.sequence:
                self._continues = LogEnd(stored.sequence, stored.event.event_id)
        if batch:
            self._end = LogEnd(batch[-1].sequence, batch[-1].event.event_id)

    def admit(self) -> None:
        """Find out, now that all of it was seen, whether it finishes what was begun.

        Raises:
            ImportUnfinished: another import was begun.
        """
        admit_import(self._unfinished, self._run, self.head)

    async def begin(self) -> None:
        """Have the head of the log refuse other writers, until the last event that was seen is taken.

        Raises:
            ImportUnfinished: another import has begun meanwhile.
        """
        if self._end.sequence > self.head or self._unfinished is not None:
            await self._ask(())

    async def compare(self, batch: Sequence[StoredEvent]) -> None:
        """Hold the part of a run that should be there against what is there.

        Raises:
            LogDiffers: this log holds another event at one of their sequences.
        """
        there = [stored for stored in batch if stored.sequence <= self.head]
        if there and (sequence := await first_difference(self._store, there)) is not None:
            raise LogDiffers(self._source, sequence)

    async def take(self, batch: Sequence[StoredEvent]) -> None:
        """Put into the log what was not there of a run; some of it may have come there by another way meanwhile.

        Raises:
            ImportUnfinished: another import has begun before this one could.
            LogDiffers: somebody had written another event there before this one began.
            LogFileInvalid: the database does not take the events.
        """
        new = tuple(stored for stored in batch if stored.sequence > self.head)
        if not new:
            return
        try:
            self.written += await self._ask(new)
        except Refused as error:
            reason = f"the database refuses events {new[0].sequence} to {new[-1].sequence} ({error.reason})"
            raise LogFileInvalid(self._source, 0, reason) from error

    @property
    def _run(self) -> ImportRun:
        return ImportRun(self._source, self.head, UnfinishedImport(self._end, self._command), self._continues)

    async def _ask(self, events: tuple[StoredEvent, ...]) -> int:
        return await self._writer.ask(ImportEvents(events, self._run), timeout=COMMIT_TIMEOUT_S)
