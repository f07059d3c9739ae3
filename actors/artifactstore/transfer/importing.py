"""The import of a whole log from one file. The file is verified first, then written batch by batch.

Nothing is written before three checks have passed: the file is complete, every event keeps the rules of the log, and
this log is the beginning of the file's log. Each batch is one transaction. After an interruption, the log ends with a
whole batch, and its head refuses other writers. The same import, when repeated, continues from there.
"""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path

from artifactstore.database.log_validator import LogValidator
from artifactstore.refusals import LogFilePartial
from artifactstore.supervision import ActorRef
from artifactstore.transfer.log_files import LogFileSource
from artifactstore.transfer.log_importer import LogImporter, resume_command
from artifactstore.transfer.objects import flawed_objects
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.log_file import LogFileHeader, LogFileSummary
from artifactstore_protocols.messages import StorageRole, WriterRole
from artifactstore_protocols.records import LogImport, TransferProgress

__all__ = ["import_log"]


async def import_log(
    store: EventStore,
    writer: ActorRef[WriterRole],
    storage: ActorRef[StorageRole],
    path: Path,
    progress: Callable[[TransferProgress], None] | None,
) -> LogImport:
    """Import the log in a file.

    Raises:
        StoreReadOnly: the store is open read-only.
        SourceUnreadable: the file cannot be read.
        LogFileInvalid: the file is damaged or incomplete; nothing was written. Or, later, the file changed or the
            database refuses an event; the batches before were written.
        LogFilePartial: the file does not begin with the first event; nothing was written.
        UnknownEventType: a newer release wrote an event; nothing was written.
        EventRefused: an event breaks a rule of the log; nothing was written.
        LogDiffers: this log is not the beginning of the file's log, or ceased to be before the import began.
        ImportUnfinished: another import is unfinished and must be finished first.
    """
    store.must_be_writable()
    async with LogFileSource.open(path) as file:
        command = resume_command("events --import", path)
        importer = LogImporter(store, writer, source=file.name, command=command, found=await store.probe())
        counting = _Counting(2 * file.size_bytes, progress)
        async with LogValidator.opened() as validator:

            async def take(events: Sequence[StoredEvent], piece_bytes: int) -> None:
                await validator.validate(events)
                importer.scan(events)
                counting.add(0, piece_bytes)

            def check_header(header: LogFileHeader) -> None:
                if header.after:
                    raise LogFilePartial(file.name, header.after)

            summary = await file.verify(take, check_header)
            await validator.finish()
        counting.events_total = summary.header.last
        await _apply(file, importer, counting)
        failures = await importer.finish()
    return await _report(store, storage, str(path), summary, importer, failures)


class _Counting:
    """The progress of an import. The file is read twice, so its bytes count twice."""

    def __init__(self, bytes_total: int, progress: Callable[[TransferProgress], None] | None) -> None:
        self._progress = progress
        self._bytes_total = bytes_total
        self._events = self._bytes = 0
        self.events_total = 0

    def add(self, events: int, piece_bytes: int) -> None:
        self._events += events
        self._bytes += piece_bytes
        if self._progress is not None:
            self._progress(TransferProgress(self._events, self.events_total, self._bytes, self._bytes_total))


async def _apply(file: LogFileSource, importer: LogImporter, counting: _Counting) -> None:
    """Compare the events that this log already has, then write the new ones."""
    importer.check_allowed()
    async with aclosing(file.batches()) as batches:
        async for batch, _bytes in batches:
            if batch and batch[0].sequence > importer.head:
                break
            await importer.compare(batch)
    await importer.begin()
    async with aclosing(file.batches()) as batches:
        async for batch, piece_bytes in batches:
            await importer.append(batch)
            counting.add(len(batch), piece_bytes)


async def _report(
    store: EventStore,
    storage: ActorRef[StorageRole],
    path: str,
    summary: LogFileSummary,
    importer: LogImporter,
    failures: tuple[str, ...],
) -> LogImport:
    """Return the report, with the objects that the log names and the storage lacks."""
    return LogImport(
        file=path,
        events=summary.header.last,
        written=importer.written,
        sequence=(await store.probe()).head,
        digest=str(summary.digest),
        flaws=await flawed_objects(store, storage),
        failures=failures,
    )
