"""Backups of the log and its objects to a directory, while the store is in use. Only new data is copied.

A backup reads the head of the log first. Objects never change, and an event is written after its objects. So every
object that the log names up to that head can be copied, whatever is written meanwhile. A log file is put in place
after its objects. The bytes of an object are checked against its address when they are read, and hashed with both
algorithms when they are written. The report lists flawed objects, and the backup continues without them.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

from msgspec.structs import replace

from artifactstore.concurrently import for_each_concurrent
from artifactstore.refusals import BackupRefused
from artifactstore.saving import save
from artifactstore.supervision import NO_TIME_LIMIT, ActorRef
from artifactstore.transfer.backup_objects import BackupObjects, objects_to_write
from artifactstore.transfer.directory import BackupDirectory
from artifactstore.transfer.log_files import LogFileSource, LogFileText
from artifactstore.transfer.log_importer import first_difference
from artifactstore.transfer.objects import (
    Flaw,
    FlawNotes,
    NamedObject,
    batches_of,
    flaws_by_size,
    named_by,
    objects_in_projection,
)
from artifactstore.transfer.pruning import Pruning
from artifactstore.transfer.purged_objects import remove_purged
from artifactstore.transfer.redacted_log import rewrite_redacted
from artifactstore_protocols.collection import ObjectTotals
from artifactstore_protocols.dataplane import IngestResult, RangeRefused, SourceOverrun, SourceTruncated
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.log_file import LogDiffers, LogFileHeader, LogFileSummary, check_name, log_file_name
from artifactstore_protocols.messages import ReadObjects, ServeObject, StorageRole, Stream
from artifactstore_protocols.records import BackupReport, TransferProgress
from artifactstore_protocols.storage import KnownObject, ObjectDamaged, ObjectMissing, StorageError

__all__ = ["back_up"]

_FILE_EVENTS_MAX = 10_000
_COPIES_AT_ONCE = 4
_SMALL_BYTES = 1 << 20
_SAMPLE_BYTES = 64 << 10
_BATCH_OBJECTS = 512
_BATCHES_AT_ONCE = 2
_BATCH_BYTES = 16 << 20


async def back_up(
    store: EventStore,
    storage: ActorRef[StorageRole],
    path: Path,
    progress: Callable[[TransferProgress], None] | None,
    *,
    prune: bool = False,
) -> BackupReport:
    """Create a backup, or update an existing one. With `prune`, remove from it what the store has collected.

    Raises:
        BackupRefused: the directory cannot be used for a backup, or holds more events than this log.
        LogDiffers: the log of the backup is not the beginning of this log.
        LogFileInvalid: a log file of the backup is missing, or its last log file is damaged.
        LogDamaged: an event is missing in this log.
        TargetRefused, StorageError: the directory cannot be written. Complete files are kept.
    """
    async with BackupDirectory.to_write(path) as directory, objects_to_write(directory) as objects:
        kept = await _kept(directory, store)
        pruning = Pruning(store, objects) if prune else None
        return await _Backup(store, storage, directory, objects, kept, progress, pruning).run()


async def _kept(directory: BackupDirectory, store: EventStore) -> LogFileSummary | None:
    """Return the summary of the backup's last log file, which this log must continue; None for a new backup."""
    files = await directory.log_files()
    if not files:
        return None
    last = deque[StoredEvent](maxlen=1)
    async with LogFileSource.open(files[-1]) as file:

        async def take(events: Sequence[StoredEvent], _bytes: int) -> None:
            last.extend(events[-1:])

        summary = await file.verify(take)
    check_name(files[-1].name, summary.header)
    head = (await store.probe()).head
    if head < summary.header.last:
        reason = f"it holds {summary.header.last} events, and this log ends at {head}; restore it, or name another"
        raise BackupRefused(directory.name, reason)
    # Every event has its own id, so logs that share an event share all events before it.
    if await first_difference(store, tuple(last)) is not None:
        await _raise_difference(files, directory.name, store)
    return summary


async def _raise_difference(files: Sequence[Path], name: str, store: EventStore) -> None:
    """Raise LogDiffers at the first event of the backup that this log lacks or has differently."""
    for path in files:
        async with LogFileSource.open(path) as file, aclosing(file.batches()) as batches:
            async for batch, _bytes in batches:
                if batch and (sequence := await first_difference(store, batch)) is not None:
                    raise LogDiffers(name, sequence)


class _Backup:
    """One backup while it runs."""

    def __init__(
        self,
        store: EventStore,
        storage: ActorRef[StorageRole],
        directory: BackupDirectory,
        objects: BackupObjects,
        kept: LogFileSummary | None,
        progress: Callable[[TransferProgress], None] | None,
        pruning: Pruning | None,
    ) -> None:
        self._store = store
        self._storage = storage
        self._directory = directory
        self._objects = objects
        self._plane = objects.plane
        self._kept = kept
        self._progress = progress
        self._pruning = pruning
        self._flaws = FlawNotes()
        self._flawed: set[str] = set()
        self._new_objects = self._new_bytes = 0
        self._head = 0
        self._done = TransferProgress(0, 0, 0, None)

    async def run(self) -> BackupReport:
        """Copy the objects, write the log files, and return the report."""
        after = 0 if self._kept is None else self._kept.header.last
        self._head = head = (await self._store.probe()).head
        objects, size_bytes = await self._store.location_totals(package_id=None)
        self._done = TransferProgress(0, head - after, 0, size_bytes)
        # First copy all objects of the projection. The objects that the events of each log file name are then already
        # copied, unless the projection is wrong or an ingest has run meanwhile.
        async with aclosing(objects_in_projection(self._store)) as pages:
            async for named in pages:
                await self._copy(named, compare=True)
                self._tell(size_bytes=sum(each.size_bytes for each in named))
        if self._pruning is not None:
            await self._pruning.look()
            await self._include_removals()
        await self._directory.keep_store_id((await self._store.token_frame()).store_id)
        kept = await self._write_log(self._kept)
        while await self._redact_log() > self._head:
            await self._include_removals()  # the backup needs the event that redacted something meanwhile
            kept = await self._write_log(kept)
        await remove_purged(self._store, self._objects, self._head)
        pruned = ObjectTotals() if self._pruning is None else await self._pruning.remove()
        return BackupReport(
            directory=self._directory.name,
            events=self._head,
            new_events=self._head - after,
            objects=objects,
            new_objects=self._new_objects,
            new_bytes=self._new_bytes,
            digest=str(kept.digest),
            flaws=self._flaws.result(),
            pruned_objects=pruned.objects,
            pruned_bytes=pruned.bytes,
            limits=self._directory.limits.noted(),
        )

    async def _write_log(self, kept: LogFileSummary | None) -> LogFileSummary:
        """Write the log files after the last one, and return the new last one. An empty log has one without events."""
        while kept is None or kept.header.last < self._head:
            after = 0 if kept is None else kept.header.last
            last = min(self._head, after + _FILE_EVENTS_MAX)
            header = LogFileHeader(after, last, None if kept is None or after == 0 else kept.digest)
            text = LogFileText(self._store, header, before=self._copy_for)
            async with aclosing(text.chunks()) as chunks:
                await save(chunks, self._directory.log / log_file_name(header), durable=self._directory.limits)
            kept = text.summary
        return kept

    async def _redact_log(self) -> int:
        """Redact the log files as the store has redacted its log, and return the last event that redacts anything."""
        return await rewrite_redacted(self._store, await self._directory.log_files(), self._directory.limits)

    async def _copy_for(self, events: Sequence[StoredEvent]) -> None:
        """Copy the objects that a batch of events names, before the events are written."""
        by_address = {each.address: each for each in named_by(events)}
        if self._pruning is not None:
            self._pruning.keep(by_address)
        known = await self._store.known_objects(by_address)  # an object may have a newer key by now
        states = await self._store.object_states([each.place for each in by_address.values()])
        named = [
            replace(each, place=known.get(address, each).place)
            for address, each in by_address.items()
            if address in known or states.get(each.place) not in {"retired", "removed"}
        ]
        if len(named) < len(by_address):
            await self._include_removals()
        await self._copy(named, compare=False)
        self._tell(events=len(events))

    async def _include_removals(self) -> None:
        """Extend the backup to the current head, because objects that it would need were collected meanwhile."""
        added = (await self._store.probe()).head - self._head
        self._head += added
        self._done = replace(self._done, events_total=(self._done.events_total or 0) + added)

    async def _copy(self, named: Sequence[NamedObject], *, compare: bool) -> None:
        """Copy objects that the backup lacks or has in another size; with `compare`, also those with other bytes."""
        known, found = await self._objects.look_up(named)
        flaws = flaws_by_size(named, found)
        present = [(each, place) for each, place, flaw in zip(named, known, flaws, strict=True) if flaw is None]
        wanted = [each for each, flaw in zip(named, flaws, strict=True) if flaw is not None]
        damaged = [place for place, flaw in zip(known, flaws, strict=True) if flaw == "damaged"]
        if compare:
            different = await self._different(present)
            wanted += different
            places = [place for each, place in present if each in different]
            results = await self._plane.verify_objects(places)
            damaged += [place for place, result in zip(places, results, strict=True) if result.status != "ok"]
        # Bytes at a key never change, so a damaged object is deleted before it is copied again. A sound object of the
        # backup is kept, because the store's object may be the damaged one.
        for answer in await self._plane.delete_objects([each.place for each in damaged]):
            if isinstance(answer, StorageError):
                raise answer
        absent = [each for each in wanted if str(each.address) not in self._flawed]
        small = [each for each in absent if each.size_bytes <= _SMALL_BYTES]
        batches = batches_of(small, count_max=_BATCH_OBJECTS, bytes_max=_BATCH_BYTES)
        await for_each_concurrent(batches, self._copy_small, at_once=_BATCHES_AT_ONCE)
        large = [each for each in absent if each.size_bytes > _SMALL_BYTES]
        await for_each_concurrent(large, self._copy_large, at_once=_COPIES_AT_ONCE)

    async def _different(self, kept: Sequence[tuple[NamedObject, KnownObject]]) -> list[NamedObject]:
        """Return the objects whose bytes in the backup differ. Small objects are read whole, large ones are sampled."""
        places = {named.address: known for named, known in kept}
        different: list[NamedObject] = []

        async def read(batch: Sequence[NamedObject]) -> None:
            results = await self._plane.verify_objects([places[each.address] for each in batch])
            different.extend(each for each, result in zip(batch, results, strict=True) if result.status != "ok")

        async def compare(large: NamedObject) -> None:
            if not await self._samples_equal(large, places[large.address]):
                different.append(large)

        small = [named for named, _ in kept if named.size_bytes <= _SMALL_BYTES]
        batches = batches_of(small, count_max=_BATCH_OBJECTS, bytes_max=_BATCH_BYTES)
        await for_each_concurrent(batches, read, at_once=_BATCHES_AT_ONCE)
        await for_each_concurrent(
            [named for named, _ in kept if named.size_bytes > _SMALL_BYTES], compare, at_once=_COPIES_AT_ONCE
        )
        return different

    async def _samples_equal(self, named: NamedObject, kept_object: KnownObject) -> bool:
        """Compare the beginning, the middle and the end of an object in the store and in the backup."""
        last = named.size_bytes - _SAMPLE_BYTES
        try:
            for offset in (0, last // 2, last):
                async with self._plane.serve_object(kept_object, offset=offset, length=_SAMPLE_BYTES) as chunks:
                    kept = b"".join([chunk async for chunk in chunks])
                stream = await self._storage.ask(ServeObject(named.known, offset, _SAMPLE_BYTES), timeout=NO_TIME_LIMIT)
                try:
                    if kept != b"".join([chunk async for chunk in stream]):
                        return False
                finally:
                    stream.close()
        except (ObjectMissing, ObjectDamaged, RangeRefused):
            return False  # copying the object shows which of the two is flawed
        return True

    async def _copy_small(self, batch: Sequence[NamedObject]) -> None:
        """Copy small objects through memory in one batch, because flushing costs more than writing their bytes."""
        read = await self._storage.ask(ReadObjects(tuple(each.known for each in batch)), timeout=NO_TIME_LIMIT)
        contents: list[tuple[NamedObject, bytes]] = []
        for named, content in zip(batch, read, strict=True):
            if isinstance(content, bytes):
                contents.append((named, content))
            elif isinstance(content, ObjectMissing):
                await self._note_missing(named)
            elif isinstance(content, ObjectDamaged):
                await self._note("damaged", named)
            else:
                raise content
        answers = await self._plane.ingest_contents([content for _named, content in contents])
        for (named, _content), answer in zip(contents, answers, strict=True):
            if not isinstance(answer, IngestResult):
                raise answer
            await self._settle(named, answer)

    async def _copy_large(self, named: NamedObject) -> None:
        async def store(stream: Stream[bytes]) -> None:
            await self._settle(named, await self._plane.ingest_stream(stream, expected_size=named.size_bytes))

        await self._read(named, store)

    async def _read(self, named: NamedObject, use: Callable[[Stream[bytes]], Awaitable[None]]) -> None:
        """Read an object of the store with `use`. Note the object if it is missing or damaged."""
        try:
            stream = await self._storage.ask(ServeObject(named.known), timeout=NO_TIME_LIMIT)
            try:
                await use(stream)
            finally:
                stream.close()
        except ObjectMissing:
            await self._note_missing(named)
        except (ObjectDamaged, SourceTruncated, SourceOverrun):
            await self._note("damaged", named)

    async def _settle(self, named: NamedObject, result: IngestResult) -> None:
        """Count a copied object, or note it as damaged if its digests differ from those in the log."""
        if result.digests == named.digests:
            self._new_objects += 1
            self._new_bytes += named.size_bytes
        else:
            await self._note("damaged", named)

    async def _note_missing(self, named: NamedObject) -> None:
        """Note that an object is missing, unless it was collected or stored at another key meanwhile."""
        states = await self._store.object_states([named.place])
        if states.get(named.place) not in {"retired", "removed"}:
            await self._note("missing", named)
            return
        known = await self._store.known_objects([named.address])
        if named.address in known:
            await self._copy([replace(named, place=known[named.address].place)], compare=False)
        else:
            await self._include_removals()

    async def _note(self, flaw: Flaw, named: NamedObject) -> None:
        """Note a flaw of an object, and skip the object from now on."""
        self._flawed.add(str(named.address))
        await self._flaws.add(flaw, named, self._store)

    def _tell(self, *, events: int = 0, size_bytes: int = 0) -> None:
        self._done = replace(self._done, events=self._done.events + events, bytes=self._done.bytes + size_bytes)
        if self._progress is not None:
            self._progress(self._done)
