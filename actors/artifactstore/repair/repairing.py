"""The repair: it looks for flawed objects page by page, asks the source for their contents, and stores these."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from msgspec.structs import replace

from artifactstore.refusals import WrongStorageRoot
from artifactstore.repair.other_store import is_refused
from artifactstore.repair.source import Offer, RepairSource
from artifactstore.supervision import NO_TIME_LIMIT, ActorRef
from artifactstore.transfer.objects import NamedObject, batches_of
from artifactstore_protocols.commands import OBJECTS_MAX, ObjectFinding, RecordFindings, ReplaceObjects
from artifactstore_protocols.dataplane import FileSource, IngestResult, SourceError
from artifactstore_protocols.entries import Place, StoredObject
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import EventStore, Location
from artifactstore_protocols.event_types import ObjectsStored
from artifactstore_protocols.events import Committed
from artifactstore_protocols.identity import ContentAddress, ContentDigests, Digest
from artifactstore_protocols.messages import StatObjects, StorageRole, StoreFiles, StoreStream, VerifyObjects
from artifactstore_protocols.records import FlawedObject, RepairReport, VerifyProgress
from artifactstore_protocols.storage import ObjectDamaged, ObjectMissing

__all__ = ["repair"]

_PAGE: Final = 2048
_AT_ONCE: Final = 10_000
"""The number of contents that a source looks for at once. A directory is scanned once for them."""

_BATCH_BYTES: Final = 64 << 20
_NEEDED_NAMED: Final = 100
_FILES_NAMED: Final = 3
_SAMPLE: Final = 100
_GONE_PERCENT_MIN: Final = 90

type Commit = Callable[[RecordFindings | ReplaceObjects], Awaitable[Committed]]


async def repair(
    store: EventStore,
    storage: ActorRef[StorageRole],
    source: RepairSource | None,
    commit: Commit,
    progress: Callable[[VerifyProgress], None] | None,
    *,
    dry_run: bool,
) -> RepairReport:
    """Repair flawed objects, and return what was repaired and what is still needed; see `Registry.repair`."""
    changes = source is not None and not dry_run
    if changes:
        store.must_be_writable()
    return await _Repair(store, storage, source, commit, progress, changes=changes).run()


class _Repair:
    """One repair while it runs."""

    def __init__(
        self,
        store: EventStore,
        storage: ActorRef[StorageRole],
        source: RepairSource | None,
        commit: Commit,
        progress: Callable[[VerifyProgress], None] | None,
        *,
        changes: bool,
    ) -> None:
        self._store = store
        self._storage = storage
        self._source = source
        self._commit = commit
        self._progress = progress
        self._changes = changes
        self._as_of = 0
        self._report = RepairReport(None if source is None else source.name, not changes, 0, 0, 0, 0, 0, 0, ())

    async def run(self) -> RepairReport:
        self._as_of = (await self._store.probe()).head
        await self._refuse_a_wrong_root()
        wanted: list[NamedObject] = []
        async with aclosing(self._flawed()) as pages:
            async for page in pages:
                wanted += page
                while len(wanted) >= _AT_ONCE:
                    await self._repair_from_source(wanted[:_AT_ONCE])
                    del wanted[:_AT_ONCE]
        if wanted:
            await self._repair_from_source(wanted)
        return self._report

    def _count(self, **changes: int) -> None:
        report = self._report
        self._report = replace(report, **{name: getattr(report, name) + by for name, by in changes.items()})

    async def _refuse_a_wrong_root(self) -> None:
        """Raise WrongStorageRoot if nearly all objects of a sample are missing."""
        sample = await self._store.locations(package_id=None, after="", limit=_SAMPLE)
        sizes = await self._storage.ask(StatObjects(tuple(each.known for each in sample)), timeout=NO_TIME_LIMIT)
        gone = sizes.count(None)
        if sizes and 100 * gone >= _GONE_PERCENT_MIN * len(sizes):
            raise WrongStorageRoot(gone, len(sizes))

    async def _flawed(self) -> AsyncGenerator[list[NamedObject]]:
        """Yield the flawed objects of each page of all objects, after recording what is new about them."""
        count, size_bytes = await self._store.location_totals(package_id=None)
        done, after = VerifyProgress(0, count, 0, size_bytes), ""
        self._tell(done)
        while page := await self._store.locations(package_id=None, after=after, limit=_PAGE):
            known = tuple(each.known for each in page)
            sizes = await self._storage.ask(StatObjects(known), timeout=NO_TIME_LIMIT)
            suspects = [
                each
                for each, size in zip(page, sizes, strict=True)
                if each.integrity != "intact" or size != each.size_bytes
            ]
            yield await self._confirmed(suspects)
            size_bytes = done.bytes + sum(each.size_bytes for each in page)
            done = VerifyProgress(done.objects + len(page), count, size_bytes, done.bytes_total)
            self._tell(done)
            after = page[-1].content_address

    def _tell(self, done: VerifyProgress) -> None:
        if self._progress is not None:
            self._progress(done)

    async def _confirmed(self, suspects: Sequence[Location]) -> list[NamedObject]:
        """Read suspects, record what the log does not know yet, and return the flawed ones."""
        if not suspects:
            return []
        named = [_named(each) for each in suspects]
        message = VerifyObjects(tuple(each.known for each in suspects))
        results = await self._storage.ask(message, timeout=NO_TIME_LIMIT)
        findings: list[ObjectFinding] = []
        flawed: list[NamedObject] = []
        for location, each, result in zip(suspects, named, results, strict=True):
            is_whole = result.status == "ok" and result.digests == each.digests
            integrity = "intact" if is_whole else "missing" if result.status == "missing" else "damaged"
            if integrity != location.integrity:
                findings.append(ObjectFinding(each.address.digest.raw, each.place, integrity))
            if integrity != "intact":
                flawed.append(each)
        self._count(objects=len(suspects), intact=len(suspects) - len(flawed))
        if self._changes:
            for start in range(0, len(findings), OBJECTS_MAX):
                await self._commit(RecordFindings(tuple(findings[start : start + OBJECTS_MAX]), self._as_of))
        return flawed

    async def _repair_from_source(self, wanted: Sequence[NamedObject]) -> None:
        """Repair objects with what the source has, and note which are still needed."""
        source, repaired = self._source, set[Place]()
        if source is not None:
            contents = list({each.address: each for each in wanted}.values())
            await source.prepare(contents)
            for batch in batches_of(contents, count_max=OBJECTS_MAX, bytes_max=_BATCH_BYTES):
                found = await (self._store_found(source, batch) if self._changes else self._check(source, batch))
                repaired |= {each.place for each in wanted if each.address in found}
        done = [each for each in wanted if each.place in repaired]
        self._count(
            repaired=len(done), repaired_bytes=sum(each.size_bytes for each in done), remaining=len(wanted) - len(done)
        )
        for each in wanted:
            if each.place not in repaired and len(self._report.needed) < _NEEDED_NAMED:
                files = await self._store.files_with_content(str(each.address), limit=_FILES_NAMED)
                count = await self._store.count_files_with_content(str(each.address))
                flaw = FlawedObject(str(each.address), each.size_bytes, tuple(files), count)
                self._report = replace(self._report, needed=(*self._report.needed, flaw))

    async def _check(self, source: RepairSource, batch: Sequence[NamedObject]) -> set[ContentAddress]:
        sound, refused = await source.check(batch)
        self._count(refused=refused)
        return {each.address for each in sound}

    async def _store_found(self, source: RepairSource, batch: Sequence[NamedObject]) -> set[ContentAddress]:
        """Store the contents that the source has under their next keys, record that, and return their addresses."""
        found = await source.find(batch)
        self._count(refused=found.refused)
        if not found.offers:
            return set()
        unused = await self._store.unused_places([offer.named.address for offer in found.offers])
        files = [(offer.named, offer.source) for offer in found.offers if isinstance(offer.source, FileSource)]
        answers: list[tuple[NamedObject, IngestResult | ArtifactStoreError]] = []
        if files:
            message = StoreFiles(tuple(file for _named, file in files), unused)
            results = await self._storage.ask(message, timeout=NO_TIME_LIMIT)
            answers += zip((named for named, _file in files), results, strict=True)
        for offer in found.offers:
            if not isinstance(offer.source, FileSource):
                answers.append((offer.named, await self._stored_stream(offer, unused)))
        stored = [made for named, answer in answers if (made := self._stored(named, answer)) is not None]
        if not stored:
            return set()
        committed = await self._commit(ReplaceObjects(tuple(stored)))
        # A content that no package refers to any more is not recorded. A collector removes its bytes again.
        recorded = [payload for payload in committed.payloads() if isinstance(payload, ObjectsStored)]
        digests = {each.digest for payload in recorded for each in payload.objects}
        return {each.address for each in batch if each.address.digest.raw in digests}

    async def _stored_stream(
        self, offer: Offer, unused: Mapping[ContentAddress, Place]
    ) -> IngestResult | ArtifactStoreError:
        if isinstance(offer.source, FileSource):
            raise TypeError(offer.source)
        try:
            async with offer.source() as chunks:
                message = StoreStream(chunks, offer.named.size_bytes, unused)
                return await self._storage.ask(message, timeout=NO_TIME_LIMIT)
        except (ObjectDamaged, ObjectMissing, SourceError) as error:
            return error

    def _stored(self, named: NamedObject, answer: IngestResult | ArtifactStoreError) -> StoredObject | None:
        """Return the proof that a content is stored; None if the source had other bytes, or none.

        Raises:
            StorageError: this store cannot store it.
        """
        if isinstance(answer, IngestResult):
            if answer.digests != named.digests:
                self._count(refused=1)
                return None
            place = Place(answer.receipt.backend_id, answer.receipt.object_key)
            return StoredObject(named.digests.primary.raw, named.digests.sha256.raw, named.size_bytes, place)
        if isinstance(answer, SourceError):
            self._count(refused=1)
        elif isinstance(answer, ObjectDamaged | ObjectMissing):
            self._count(refused=is_refused(answer))
        else:
            raise answer
        return None


def _named(location: Location) -> NamedObject:
    address = ContentAddress.parse(location.content_address)
    digests = ContentDigests(address.digest, Digest("sha256", location.digest_sha256))
    return NamedObject(digests, location.size_bytes, Place(location.backend_id, location.object_key))
