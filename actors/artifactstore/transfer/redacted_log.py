"""The redaction of a backup: its log files get the substitutes of the events that the store has redacted.

A log file's digest covers the records of its events. So the file that takes its place has the same name and the same
digest, and the files after it still continue it.
"""

from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from artifactstore.saving import save
from artifactstore.target_limits import TargetLimits
from artifactstore.transfer.log_files import LogFileSource, LogFileText
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.log_file import LogFileSummary

__all__ = ["rewrite_redacted"]


async def rewrite_redacted(store: EventStore, files: Sequence[Path], durable: TargetLimits) -> int:
    """Write the log files anew that lack a redaction of the store; return the last event that redacts one of theirs.

    The store may redact more meanwhile. What is returned covers all redactions that the files hold.

    Args:
        store: the event store.
        files: the log files of the backup, in order.
        durable: notes what the file system cannot flush.

    Raises:
        LogFileInvalid: a log file is damaged. It is kept.
        TargetRefused: a file cannot be written.
    """
    redacting = 0

    async def note(events: Sequence[StoredEvent]) -> None:
        nonlocal redacting
        redacting = max(redacting, *(stored.event.redacted_by or 0 for stored in events))

    for path in files:
        first, last = map(int, path.stem.split("-"))
        redactions = await store.redactions(after=first - 1, last=last)
        if redactions:
            redacting = max(redacting, *redactions.values())
            async with LogFileSource.open(path) as file:
                summary, found = await _redactions_in(file)
            if found != redactions:
                async with aclosing(LogFileText(store, summary.header, note).chunks()) as chunks:
                    await save(chunks, path, durable=durable)
    return redacting


async def _redactions_in(file: LogFileSource) -> tuple[LogFileSummary, dict[int, int]]:
    found = dict[int, int]()

    async def take(events: Sequence[StoredEvent], _bytes: int) -> None:
        redacted = ((stored.sequence, stored.event.redacted_by) for stored in events)
        found.update((sequence, by) for sequence, by in redacted if by is not None)

    return await file.verify(take), found
