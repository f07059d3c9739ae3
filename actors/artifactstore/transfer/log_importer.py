"""Events of another log that enter this log: existing events are compared, and new events are sent to the writer."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from artifactstore.database.errors import Refused
from artifactstore.event_writer import COMMIT_TIMEOUT_S
from artifactstore.supervision import NO_TIME_LIMIT, ActorRef
from artifactstore.transfer.log_files import READ_BYTES
from artifactstore_protocols.event_store import EventStore, LogReading
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.log_file import LogDiffers, LogFileInvalid
from artifactstore_protocols.messages import ImportEvents, WriterRole
from artifactstore_protocols.substitutes import check_substitute
from artifactstore_protocols.unfinished_import import ImportRun, LogEnd, UnfinishedImport, admit_import

__all__ = ["LogImporter", "first_difference", "resume_command"]


def resume_command(command: str, path: Path) -> str:
    """Return the command line that finishes a transfer from `path`, from any working directory."""
    return f"artifactstore {command} {shlex.quote(str(path.absolute()))}"


async def first_difference(store: EventStore, theirs: Sequence[StoredEvent]) -> int | None:
    """Return the first sequence at which the store lacks an event of a batch or has another; None if all are equal.

    Raises:
        EventRefused: the batch has a redacted event that differs from the one in the store in more than marks.
    """
    while theirs:
        mine = await store.read_events(after=theirs[0].sequence - 1, limit=len(theirs), bytes_max=READ_BYTES)
        if not mine:
            return theirs[0].sequence
        for found, expected in zip(mine, theirs, strict=False):
            if not found.event.same_record(expected.event):
                return expected.sequence
            if expected.event.is_redacted_after(found.event):
                check_substitute(found, expected)
        theirs = theirs[len(mine) :]
    return None


class LogImporter:
    """The import of another log. Pass all events in order to `scan`, then again to `append`.

    Args:
        store: reads the events that this log already has.
        writer: writes the new events.
        source: the name of the arriving log in errors.
        command: the command that a person runs to finish the import if it is interrupted.
        found: the status of this log when the import began.

    Attributes:
        head: the head of this log when the import began.
        written: how many new events were written.
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
        self._replaces = False
        self._end = LogEnd(0, "")
        self.written = 0

    def scan(self, batch: Sequence[StoredEvent]) -> None:
        """Note the end of the arriving log, and whether that log holds the end of an unfinished import."""
        for stored in batch:
            if self._unfinished is not None and stored.sequence == self._unfinished.end.sequence:
                self._continues = LogEnd(stored.sequence, stored.event.event_id)
        if batch:
            self._end = LogEnd(batch[-1].sequence, batch[-1].event.event_id)

    def check_allowed(self) -> None:
        """Check that no import of another log is unfinished. Call this after the whole log was passed to `scan`.

        Raises:
            ImportUnfinished: an import is unfinished, and the arriving log does not hold its last event.
        """
        admit_import(self._unfinished, self._run, self.head)

    async def begin(self) -> None:
        """Make the head of this log refuse other writers until the last event of the arriving log is written.

        Raises:
            ImportUnfinished: another import has begun meanwhile.
        """
        if self._end.sequence > self.head or self._unfinished is not None:
            await self._ask(())

    async def compare(self, batch: Sequence[StoredEvent]) -> None:
        """Compare the events of a batch that this log should already have with those that it has.

        Raises:
            LogDiffers: this log holds another event at one of the sequences.
            EventRefused: a redaction in the arriving log changed more than texts.
        """
        there = [stored for stored in batch if stored.sequence <= self.head]
        if there and (sequence := await first_difference(self._store, there)) is not None:
            raise LogDiffers(self._source, sequence)
        if redacted := {each.sequence: by for each in there if (by := each.event.redacted_by) is not None}:
            mine = await self._store.redactions(after=min(redacted) - 1, last=max(redacted))
            # An import that was interrupted may have replaced payloads already.
            is_new = any(mine.get(sequence, 0) < by for sequence, by in redacted.items())
            self._replaces |= is_new or self._unfinished is not None

    async def append(self, batch: Sequence[StoredEvent]) -> None:
        """Write the new events of a batch. Another process may have written some of them meanwhile.

        Raises:
            ImportUnfinished: another import began before this one.
            LogDiffers: another process wrote another event at one of the sequences before this import began.
            LogFileInvalid: the database refuses the events.
        """
        new = tuple(stored for stored in batch if stored.sequence > self.head)
        if any(stored.event.redacted_by is not None for stored in batch[: len(batch) - len(new)]):
            new = tuple(batch)  # this log may still have payloads that the other one has redacted
        if not new:
            return
        try:
            self.written += await self._ask(new)
        except Refused as error:
            reason = f"the database refuses events {new[0].sequence} to {new[-1].sequence} ({error.reason})"
            raise LogFileInvalid(self._source, 0, reason) from error

    async def finish(self) -> tuple[str, ...]:
        """Overwrite what replaced payloads left in the database. Call this at the end; it returns what was not done."""
        return await self._store.overwrite_leftovers() if self._replaces else ()

    @property
    def _run(self) -> ImportRun:
        return ImportRun(self._source, self.head, UnfinishedImport(self._end, self._command), self._continues)

    async def _ask(self, events: tuple[StoredEvent, ...]) -> int:
        """Send events to the writer, and return how many of them were new."""
        # Where payloads are replaced, the writer projects the log again, which takes as long as a replay.
        timeout_s = NO_TIME_LIMIT if self._replaces else COMMIT_TIMEOUT_S
        return await self._writer.ask(ImportEvents(events, self._run), timeout=timeout_s)
