"""The restore of a backup into a store whose log is empty or is the beginning of the backup's log.

Nothing is written before three checks have passed: every log file is complete and continues the one before it, every
event keeps the rules of the log, and this log is the beginning of the backup's log. Then the log is written batch by
batch. The objects of a batch are stored before its events, as in an ingest. A repeated restore continues an interrupted
one, and stores objects again that the store has lost since.
"""

import errno
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from itertools import batched
from pathlib import Path

from msgspec.structs import replace

from artifactstore.concurrently import for_each_concurrent
from artifactstore.supervision import NO_TIME_LIMIT, ActorRef
from artifactstore.transfer.backup_log import BackupLog
from artifactstore.transfer.backup_objects import BackupObjects, objects_to_read
from artifactstore.transfer.directory import BackupDirectory
from artifactstore.transfer.log_importer import LogImporter, resume_command
from artifactstore.transfer.objects import Flaw, FlawNotes, NamedObject, batches_of, flaws_by_size, named_by
from artifactstore_protocols.commands import OBJECTS_MAX, ReplaceObjects
from artifactstore_protocols.dataplane import FileSource, IngestResult, SourceError, SourceUnreadable
from artifactstore_protocols.entries import StoredObject
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.event_types.objects_stored import is_later_generation
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.messages import StatObjects, StorageRole, StoreFiles, VerifyObjects, WriterRole
from artifactstore_protocols.records import RestoreReport, TransferProgress
from artifactstore_protocols.storage import Place

__all__ = ["flaw_of", "restore"]

_BATCH_FILES = 256
_BATCH_BYTES = 64 << 20
_READS_AT_ONCE = 4
_ABSENT = {errno.errorcode[number] for number in (errno.ENOENT, errno.ENOTDIR)}
_UNREADABLE = errno.errorcode[errno.EIO]


async def restore(
    store: EventStore,
    writer: ActorRef[WriterRole],
    storage: ActorRef[StorageRole],
    path: Path,
    progress: Callable[[TransferProgress], None] | None,
    commit: Callable[[ReplaceObjects], Awaitable[object]],
) -> RestoreReport:
    """Restore a store from a backup.

    Objects are stored at their places as of the end of the log. If that key holds other bytes, or the object is
    flagged, the content is stored at its next key. `commit` records that after the last event of the log.

    Raises:
        StoreReadOnly: the store is open read-only.
        BackupRefused: the directory holds no backup, or only a first one that was interrupted.
        LogFileInvalid: a log file is damaged or missing; nothing was written. Or, later, a log file changed or the
            database refuses an event; the batches before were restored.
        UnknownEventType: a newer release wrote an event; nothing was written.
        EventRefused: an event breaks a rule of the log; nothing was written.
        LogDiffers: this log is not the beginning of the backup's log; no event was written.
        ImportUnfinished: another import is unfinished and must be finished first; no event was written.
        StorageError: an object cannot be stored here. Events and objects restored before are kept.
    """
    store.must_be_writable()
    directory = await BackupDirectory.to_read(path)
    command = resume_command("restore", path)
    importer = LogImporter(store, writer, source=directory.name, command=command, found=await store.probe())
    async with BackupLog.verified(directory, scan=importer.scan) as log, objects_to_read(directory) as objects:
        return await _Restore(store, storage, directory, objects, importer, progress, commit).run(log)


class _Restore:
    """One restore while it runs."""

    def __init__(
        self,
        store: EventStore,
        storage: ActorRef[StorageRole],
        directory: BackupDirectory,
        objects: BackupObjects,
        importer: LogImporter,
        progress: Callable[[TransferProgress], None] | None,
        commit: Callable[[ReplaceObjects], Awaitable[object]],
    ) -> None:
        self._commit = commit
        self._store = store
        self._storage = storage
        self._directory = directory
        self._objects = objects
        self._importer = importer
        self._progress = progress
        self._flaws = FlawNotes()
        self._flawed: set[str] = set()
        self._sound: set[Place] = set()  # written or read by this restore, so that each is read at most once
        self._flagged: Mapping[ContentAddress, Place] = {}
        self._replaced: list[StoredObject] = []
        self._new_objects = self._new_bytes = 0

    async def run(self, log: BackupLog) -> RestoreReport:
        """Store the objects and write the events batch by batch, commit replaced objects, and return the report."""
        await self._begin(log)
        self._flagged = await self._store.flagged_objects()
        done = TransferProgress(0, log.events, 0, log.bytes)
        async with aclosing(log.batches()) as batches:
            async for batch in batches:
                named = named_by(batch)
                await self._restore_objects(await self._where_they_are_now(await log.kept(named)))
                await self._importer.append(batch)
                size_bytes = sum(each.size_bytes for each in named)
                done = replace(done, events=done.events + len(batch), bytes=done.bytes + size_bytes)
                if self._progress is not None:
                    self._progress(done)
        for run in batched(self._replaced, OBJECTS_MAX):
            await self._commit(ReplaceObjects(run))
        failures = await self._importer.finish()
        return RestoreReport(
            directory=self._directory.name,
            events=log.events,
            written=self._importer.written,
            sequence=(await self._store.probe()).head,
            new_objects=self._new_objects,
            new_bytes=self._new_bytes,
            digest=log.digest,
            flaws=self._flaws.result(),
            failures=failures,
        )

    async def _begin(self, log: BackupLog) -> None:
        """Check that this log is the beginning of the backup's log, then make its head refuse other writers.

        A store without events takes the store id of the backup's tokens, so that they work here too.
        """
        self._importer.check_allowed()
        async with aclosing(log.batches()) as batches:
            async for batch in batches:
                if batch and batch[0].sequence > self._importer.head:
                    break
                await self._importer.compare(batch)
        store_id = await self._directory.store_id()
        await self._importer.begin()
        if self._importer.head == 0 and store_id is not None:
            await self._store.adopt_store_id(store_id)  # before any event, so that an interrupted restore does it again

    async def _where_they_are_now(self, named: Sequence[NamedObject]) -> list[NamedObject]:
        """Return the objects, each at the place that this log names if that place is newer than the backup's."""
        known = await self._store.known_objects({each.address for each in named})
        return [
            replace(each, place=now.place)
            if (now := known.get(each.address)) is not None and is_later_generation(now.place, each.place)
            else each
            for each in named
        ]

    async def _restore_objects(self, named: Sequence[NamedObject]) -> None:
        """Store the objects that the store lacks or has flawed. Objects of the right size are read to find flaws."""
        known = tuple(each.known for each in named)
        found = await self._storage.ask(StatObjects(known), timeout=NO_TIME_LIMIT)
        wanted: list[NamedObject] = []
        to_read: list[NamedObject] = []
        for each, flaw in zip(named, flaws_by_size(named, found), strict=True):
            if str(each.address) in self._flawed:
                continue
            if each.place in self._sound and flaw is None:
                continue
            if flaw is not None or self._place_for(each) != each.place:
                wanted.append(each)
            else:
                to_read.append(each)

        async def read(batch: Sequence[NamedObject]) -> None:
            message = VerifyObjects(tuple(each.known for each in batch))
            results = await self._storage.ask(message, timeout=NO_TIME_LIMIT)
            wanted.extend(each for each, result in zip(batch, results, strict=True) if result.status != "ok")

        runs = batches_of(to_read, count_max=_BATCH_FILES, bytes_max=_BATCH_BYTES)
        await for_each_concurrent(runs, read, at_once=_READS_AT_ONCE)
        self._sound.update(each.place for each in named)
        while wanted:  # a batch holds a content once; one that belongs in two backends is in two batches
            batch = list({each.address: each for each in reversed(wanted)}.values())
            await self._store_wanted(batch)
            wanted = [each for each in wanted if each not in batch]

    async def _store_wanted(self, wanted: Sequence[NamedObject]) -> None:
        """Store objects at their places, or at a later key if the place holds other bytes or is flagged."""
        for asked in batches_of(wanted, count_max=_BATCH_FILES, bytes_max=_BATCH_BYTES):
            found = await self._sources(asked)
            if not found:
                continue
            batch, sources = [each for each, _ in found], tuple(source for _, source in found)
            places = {each.address: self._place_for(each) for each in batch}
            answers = await self._storage.ask(StoreFiles(sources, places), timeout=NO_TIME_LIMIT)
            for each, answer in zip(batch, answers, strict=True):
                if isinstance(answer, IngestResult):
                    self._new_objects += 1
                    self._new_bytes += each.size_bytes
                    self._note_place(each, Place(answer.receipt.backend_id, answer.receipt.object_key))
                elif (flaw := flaw_of(answer)) is not None:
                    await self._note(flaw, each)
                else:
                    raise answer

    def _place_for(self, named: NamedObject) -> Place:
        """Return where to store an object: at its place, or at a later key if that place is flagged."""
        place = self._flagged.get(named.address)
        return named.place if place is None or not is_later_generation(place, named.place) else place

    def _note_place(self, named: NamedObject, place: Place) -> None:
        """Remember an object that was stored at another place than the log's, to commit that at the end."""
        if place != named.place:
            digest, sha256 = named.digests.primary.raw, named.digests.sha256.raw
            self._replaced.append(StoredObject(digest, sha256, named.size_bytes, place))

    async def _sources(self, wanted: Sequence[NamedObject]) -> list[tuple[NamedObject, FileSource]]:
        """Return the source of each object in the backup, with bytes if it is a row. Note flawed objects instead."""
        found: list[tuple[NamedObject, FileSource]] = []
        for each, source in zip(wanted, await self._objects.sources(wanted), strict=True):
            if isinstance(source, FileSource):
                found.append((each, source))
            else:
                await self._note(source, each)
        return found

    async def _note(self, flaw: Flaw, named: NamedObject) -> None:
        """Note a flaw of an object in the backup, and skip the object from now on."""
        self._flawed.add(str(named.address))
        await self._flaws.add(flaw, named)


def flaw_of(error: Exception) -> Flaw | None:
    """Return the flaw of a backup's object that an error shows; None if the error has another cause."""
    if not isinstance(error, SourceError):
        return None
    if not isinstance(error, SourceUnreadable):
        return "damaged"  # other bytes, or not a regular file
    if error.cause in _ABSENT:
        return "missing"
    return "damaged" if error.cause == _UNREADABLE else None
