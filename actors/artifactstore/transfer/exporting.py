"""The export of a whole log to one file, up to the head at the start, while the store is in use.

An event that is redacted meanwhile needs the event that redacts it, which is beyond that head. So an export to a file
begins again, and a stream fails.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

from artifactstore.refusals import LogFileOvertaken
from artifactstore.saving import save
from artifactstore.target_limits import TargetLimits
from artifactstore.transfer.log_files import LogFileText
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.log_file import LogFileHeader
from artifactstore_protocols.records import LogExport, TransferProgress

__all__ = ["export_log", "log_text"]


async def log_text(store: EventStore) -> LogFileText:
    """Return the current log as the text of a log file, which is produced while it is read.

    Its `chunks` raise LogFileOvertaken if a part of the log is redacted before it is read.
    """
    head = (await store.probe()).head

    async def check(events: Sequence[StoredEvent]) -> None:
        redacting = max(stored.event.redacted_by or 0 for stored in events)
        if redacting > head:
            raise LogFileOvertaken(head, redacting)

    return LogFileText(store, LogFileHeader(0, head), before=check)


async def export_log(store: EventStore, target: Path, progress: Callable[[TransferProgress], None] | None) -> LogExport:
    """Write the current log to a file. The file appears complete and durable, or not at all.

    Raises:
        TargetRefused: the file cannot be written.
        LogDamaged: an event is missing in the log.
    """
    while True:
        try:
            return await _export(store, target, progress)
        except LogFileOvertaken:
            continue  # the next attempt has the head that the redaction left


async def _export(store: EventStore, target: Path, progress: Callable[[TransferProgress], None] | None) -> LogExport:
    text = await log_text(store)
    head = text.summary.header.last
    limits = TargetLimits()

    async def told() -> AsyncGenerator[bytes]:
        async with aclosing(text.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk
                if progress is not None:
                    progress(TransferProgress(text.events, head, text.bytes, None))

    async with aclosing(told()) as chunks:
        await save(chunks, target, durable=limits)
    return LogExport(str(target), head, text.bytes, str(text.summary.digest), limits.noted())
