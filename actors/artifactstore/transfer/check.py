"""The check of a backup. It reads every byte of the log and the objects, needs no store, and writes nothing."""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path

from msgspec.structs import replace

from artifactstore.concurrently import for_each_concurrent
from artifactstore.transfer.backup_log import BackupLog
from artifactstore.transfer.backup_objects import BackupObjects, objects_to_read
from artifactstore.transfer.directory import BackupDirectory
from artifactstore.transfer.objects import FlawNotes, NamedObject, batches_of, flaws_by_size, named_by
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.records import BackupCheck, TransferProgress
from artifactstore_protocols.storage import KnownObject

__all__ = ["check_backup"]

_READS_AT_ONCE = 2
_BATCH_OBJECTS = 512
_BATCH_BYTES = 16 << 20


async def check_backup(path: Path, progress: Callable[[TransferProgress], None] | None = None) -> BackupCheck:
    """Read a whole backup, and compare it with its own checksums and digests.

    The check uses about 100 bytes of memory for each object of the backup.

    Raises:
        BackupRefused: the directory holds no backup, or only a first one that was interrupted.
        LogFileInvalid: a log file is damaged or missing.
        UnknownEventType: a newer release wrote an event.
        EventRefused: an event breaks a rule of the log.
    """
    directory = await BackupDirectory.to_read(path)
    async with objects_to_read(directory) as objects, BackupLog.verified(directory) as log:
        return await _Check(directory, objects, progress).run(log)


class _Check:
    """One check while it runs."""

    def __init__(
        self, directory: BackupDirectory, objects: BackupObjects, progress: Callable[[TransferProgress], None] | None
    ) -> None:
        self._directory = directory
        self._objects = objects
        self._progress = progress
        self._flaws = FlawNotes()
        self._seen: set[str] = set()
        self._bytes = 0

    async def run(self, log: BackupLog) -> BackupCheck:
        """Verify the objects of every batch of events, and return the result."""
        done = TransferProgress(0, log.events, 0, log.bytes)
        async with aclosing(log.batches()) as batches:
            async for batch in batches:
                named = named_by(batch)
                await self._read(await log.kept(named))
                size_bytes = sum(each.size_bytes for each in named)
                done = replace(done, events=done.events + len(batch), bytes=done.bytes + size_bytes)
                if self._progress is not None:
                    self._progress(done)
        return BackupCheck(
            directory=self._directory.name,
            events=log.events,
            objects=len(self._seen),
            bytes=self._bytes,
            digest=log.digest,
            flaws=self._flaws.result(),
        )

    async def _read(self, named: Sequence[NamedObject]) -> None:
        """Verify the objects that this check has not seen yet, and note their flaws."""
        by_address = {str(each.address): each for each in named}
        new = [each for address, each in by_address.items() if address not in self._seen]
        self._seen.update(str(each.address) for each in new)
        known, found = await self._objects.look_up(new)
        whole: list[NamedObject] = []
        places: dict[ContentAddress, KnownObject] = {}
        for each, place, flaw in zip(new, known, flaws_by_size(new, found), strict=True):
            self._bytes += each.size_bytes
            if flaw is None:
                whole.append(each)
                places[each.address] = place
            else:  # not read, as a longer object may be too large to read
                await self._flaws.add(flaw, each)

        async def read(batch: Sequence[NamedObject]) -> None:
            results = await self._objects.plane.verify_objects([places[each.address] for each in batch])
            for each, result in zip(batch, results, strict=True):
                if result.status == "missing":
                    await self._flaws.add("missing", each)
                elif (result.digests, result.size_bytes) != (each.digests, each.size_bytes):
                    await self._flaws.add("damaged", each)

        batches = batches_of(whole, count_max=_BATCH_OBJECTS, bytes_max=_BATCH_BYTES)
        await for_each_concurrent(batches, read, at_once=_READS_AT_ONCE)
