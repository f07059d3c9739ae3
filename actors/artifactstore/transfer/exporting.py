"""The export of a whole log to one file, up to the head at the start, while the store is in use."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

from artifactstore.saving import save
from artifactstore.target_limits import TargetLimits
from artifactstore.transfer.log_files import LogFileText
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.log_file import LogFileHeader
from artifactstore_protocols.records import LogExport, TransferProgress

__all__ = ["export_log", "log_text"]


async def log_text(store: EventStore) -> LogFileText:
    """Return the current log as the text of a log file, which is produced while it is read."""
    return LogFileText(store, LogFileHeader(0, (await store.probe()).head))


async def export_log(store: EventStore, target: Path, progress: Callable[[TransferProgress], None] | None) -> LogExport:
    """Write the current log to a file. The file appears complete and durable, or not at all.

    Raises:
        TargetRefused: the file cannot be written.
        LogDamaged: an event is missing in the log.
    """
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
