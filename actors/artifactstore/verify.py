"""Verification: read every object again, and hold manifests and the rules against what the views say.

Nothing is trusted that can be measured: every byte is read and hashed with both algorithms. What is found is recorded
in the log, so that the next ingest of the same content heals it, and so that an audit shows it. It is recorded as the
verification continues, also by one that is interrupted, so that hours of reading are not lost.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise

import trio

from artifactstore.concurrently import for_each_concurrent
from artifactstore.database.errors import DatabaseUnavailable, OutcomeUnknown
from artifactstore.environment import in_thread
from artifactstore.ingest.sealing import counted_text, entry_totals, stated_totals
from artifactstore.refusals import WrongStorageRoot
from artifactstore.supervision import NO_TIME_LIMIT, ActorRef
from artifactstore_protocols import manifest
from artifactstore_protocols.commands import OBJECTS_MAX, ObjectFinding
from artifactstore_protocols.dataplane import VerifyResult
from artifactstore_protocols.entries import Place
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import EventStore, Location
from artifactstore_protocols.events import PayloadDiffers
from artifactstore_protocols.identity import ContentAddress, ContentDigests
from artifactstore_protocols.links import check_target, escaping_links
from artifactstore_protocols.media_types import check_media_type
from artifactstore_protocols.messages import StatObjects, StorageRole, VerifyObjects
from artifactstore_protocols.object_keys import first_key, parse_key
from artifactstore_protocols.paths import check_path, path_key, tree_order
from artifactstore_protocols.records import FileRecord, FlawedObject, PackageRecord, VerifyProgress, VerifyReport
from artifactstore_protocols.storage import KnownObject
from artifactstore_protocols.storage_errors import StorageDenied

__all__ = ["Verification"]

_BATCH = 2048
_CONCURRENT = 2
_RUN = 512
_SMALL_BYTES = 64 << 10
_FILES_NAMED = 3
_PARTING_S = 10.0
"""How long a verification that is interrupted may take to record what it has found."""

_ROW_FLAWS_NAMED = 100
_SAMPLE = 100
_GONE_PERCENT_MIN = 90
"""From this share of missing objects on, a wrong or unmounted root is more likely than so many losses."""


class Verification:
    """One verification, of one package or of the whole store.

    Args:
        store: for what should be.
        storage: for what is.
        package_id: of the package, or None for everything.
        progress: told after every object.
        record: puts findings into the log that it does not know yet.
    """

    def __init__(
        self,
        store: EventStore,
        storage: ActorRef[StorageRole],
        package_id: str | None,
        progress: Callable[[VerifyProgress], None] | None,
        record: Callable[[tuple[ObjectFinding, ...]], Awaitable[object]],
    ) -> None:
        self._store = store
        self._storage = storage
        self._package_id = package_id
        self._progress = progress
        self._done = VerifyProgress(0, 0, 0, 0)
        self._mismatches: list[FlawedObject] = []
        self._missing: list[FlawedObject] = []
        self._unreadable: list[FlawedObject] = []
        self._row_flaws: list[str] = []
        self._record = record
        self._unrecorded: list[ObjectFinding] = []

    async def run(self) -> VerifyReport:
        """Read everything, and record what is flawed.

        Raises:
            WrongStorageRoot: nearly every object of the store is missing.
            StorageDenied: this process may read hardly any object.
        """
        count, size = await self._store.location_totals(package_id=self._package_id)
        self._done = VerifyProgress(0, count, 0, size)
        try:
            await self._objects()
        except BaseException:
            with trio.CancelScope(shield=True, relative_deadline=_PARTING_S), suppress(ArtifactStoreError):
                await self._record_found()
            raise
        not_recorded = None
        try:
            await self._record_found()
        except (DatabaseUnavailable, OutcomeUnknown) as error:  # what took hours to find is told all the same
            not_recorded = str(error)
        manifests, differing = await self._check_packages()
        return VerifyReport(
            objects=self._done.objects,
            bytes=self._done.bytes,
            mismatches=tuple(sorted(self._mismatches, key=lambda flaw: flaw.content_address)),
            missing=tuple(sorted(self._missing, key=lambda flaw: flaw.content_address)),
            manifests=manifests,
            manifest_mismatches=tuple(differing),
            row_flaws=tuple(self._row_flaws[:_ROW_FLAWS_NAMED]),
            not_recorded=not_recorded,
            unreadable=tuple(sorted(self._unreadable, key=lambda flaw: flaw.content_address)),
        )

    async def _objects(self) -> None:
        after = ""
        while batch := await self._locations(after):
            await for_each_concurrent(_runs(batch), self._run, at_once=_CONCURRENT)
            if not _nearly_all(len(self._missing), self._done.objects):
                with suppress(DatabaseUnavailable, OutcomeUnknown):  # it is tried again
                    await self._record_found()
            after = batch[-1].content_address

    async def _locations(self, after: str) -> Sequence[Location]:
        return await self._store.locations(package_id=self._package_id, after=after, limit=_BATCH)

    async def _run(self, locations: Sequence[Location]) -> None:
        """Read some objects at once."""
        readable: list[Location] = []
        known: list[KnownObject] = []
        for location in locations:
            each = location.known
            if _is_key_of(location.object_key, each.address):
                readable.append(location)
                known.append(each)
            else:
                flaw = f"object {each.address} has the key {location.object_key!r}, which is not its own"
                self._row_flaws.append(flaw)
                self._tell(location)
        try:
            results = await self._storage.ask(VerifyObjects(tuple(known)), timeout=NO_TIME_LIMIT)
        except StorageDenied:
            if len(readable) > 1:  # the others may be readable
                for location in readable:
                    await self._run([location])
                return
            denied = len(self._unreadable) + 1
            if denied > _SAMPLE and _nearly_all(denied, self._done.objects + 1):
                raise  # which is no matter of single objects
            await self._object(readable[0], readable[0].known.address, "unreadable")
            return
        for location, result in zip(readable, results, strict=True):
            await self._object(location, result.address, _problem(result, location))

    async def _object(self, location: Location, address: ContentAddress, problem: str | None) -> None:
        integrity = problem or "intact"
        if integrity not in {"unreadable", location.integrity}:
            place = Place(location.backend_id, location.object_key)
            self._unrecorded.append(ObjectFinding(address.digest.raw, place, integrity))
        if problem is not None:
            await self._note(location, address, problem)
        self._tell(location)

    def _tell(self, location: Location) -> None:
        done = self._done
        self._done = VerifyProgress(
            done.objects + 1, done.objects_total, done.bytes + location.size_bytes, done.bytes_total
        )
        if self._progress is not None:
            self._progress(self._done)

    async def _note(self, location: Location, address: ContentAddress, problem: str) -> None:
        files = await self._store.files_with_content(str(address), limit=_FILES_NAMED)
        flaw = FlawedObject(str(address), location.size_bytes, tuple(files))
        found = {"missing": self._missing, "unreadable": self._unreadable}.get(problem, self._mismatches)
        found.append(flaw)

    async def _record_found(self) -> None:
        await self._refuse_a_wrong_root()
        while found := tuple(self._unrecorded[:OBJECTS_MAX]):
            await self._record(found)
            del self._unrecorded[: len(found)]

    async def _refuse_a_wrong_root(self) -> None:
        """Before missing objects are recorded, look for others: one package may have lost all of its few."""
        if not _nearly_all(len(self._missing), self._done.objects):
            return
        sample = await self._store.locations(package_id=None, after="", limit=_SAMPLE)
        known = tuple(location.known for location in sample)
        found = await self._storage.ask(StatObjects(known), timeout=NO_TIME_LIMIT)
        if _nearly_all(gone := found.count(None), len(found)):
            raise WrongStorageRoot(gone, len(found))

    async def _check_packages(self) -> tuple[int, list[str]]:
        checked, differing, after = 0, list[str](), 0
        while batch := await self._packages(after):
            for package in batch:
                package, recorded = await self._store.files(package.package_id)  # noqa: PLW2901 - as it is now
                if len(self._row_flaws) < _ROW_FLAWS_NAMED:
                    self._row_flaws += await in_thread(partial(_flaws_of, package, recorded))
                if package.status != "finalized":
                    continue
                checked += 1
                if not await self._manifest_agrees(package, recorded):
                    differing.append(package.package_id)
            after = batch[-1].created_sequence
            if self._package_id is not None:
                break
        return checked, differing

    async def _packages(self, after: int) -> Sequence[PackageRecord]:
        package_id = self._package_id
        if package_id is not None:
            return [await self._store.package(package_id)]
        return await self._store.packages(after=after, limit=_BATCH)

    async def _manifest_agrees(self, package: PackageRecord, recorded: Sequence[FileRecord]) -> bool:
        """Whether the sealed bytes are the ones that the view names, and list the entries that the view has."""
        try:
            payload = await self._store.manifest_bytes(package.package_id)
        except PayloadDiffers:
            return False
        return await in_thread(lambda: _agrees(package, payload, recorded))


def _runs(locations: Sequence[Location]) -> Iterator[list[Location]]:
    """Objects that are read at once: many small ones, or a large one alone."""
    run: list[Location] = []
    for location in locations:
        if location.size_bytes > _SMALL_BYTES:
            yield [location]
            continue
        run.append(location)
        if len(run) == _RUN:
            yield run
            run = []
    if run:
        yield run


def _is_key_of(object_key: str, address: ContentAddress) -> bool:
    if object_key == first_key(address):
        return True
    try:
        return parse_key(object_key)[0] == address
    except ArtifactStoreError:
        return False


def _nearly_all(missing: int, objects: int) -> bool:
    return objects > 0 and 100 * missing >= _GONE_PERCENT_MIN * objects


def _problem(result: VerifyResult, location: Location) -> str | None:
    if result.status != "ok":
        return result.status
    measured = result.digests
    same = (
        measured is not None
        and measured.sha256.hex == location.digest_sha256
        and result.size_bytes == location.size_bytes
    )
    return None if same else "damaged"


def _flaws_of(package: PackageRecord, recorded: Sequence[FileRecord]) -> list[str]:
    """Rows of a package and of its entries that no event could have put there."""
    flaws: list[str] = []
    for file in recorded:
        try:
            _check_entry(file)
        except ArtifactStoreError as error:
            flaws.append(f"a {file.kind} of package {package.package_id}: {error}")
        if file.size_bytes < 0:
            flaws.append(f"file {file.path!r} of package {package.package_id} has {file.size_bytes} bytes")
    keys = [tree_order(path_key(file.path)) for file in recorded]
    if any(before >= after for before, after in pairwise(keys)):
        flaws.append(f"the entries of package {package.package_id} are not under the keys of their paths")
    links = {file.path: file.target for file in recorded if file.kind == "link"}
    if escaping := escaping_links(links, (file.path for file in recorded if file.kind != "link")):
        flaws.append(f"links of package {package.package_id} lead out of it: {', '.join(map(repr, escaping))}")
    counted, stated = entry_totals(recorded), stated_totals(package)
    if counted != stated:
        said = f"package {package.package_id} says that it has {counted_text(stated)}"
        flaws.append(f"{said}, and has {counted_text(counted)}")
    return flaws


def _check_entry(entry: FileRecord) -> None:
    check_path(entry.path)
    if entry.kind == "file":
        check_media_type(entry.media_type)
        ContentDigests(ContentAddress.parse(entry.content_address).digest, ContentAddress.parse(entry.sha256).digest)
    elif entry.kind == "link":
        check_target(entry.path, entry.target)


def _agrees(package: PackageRecord, payload: bytes | None, recorded: Sequence[FileRecord]) -> bool:
    if payload is None:
        return False
    try:
        sealed = manifest.decode(payload)
    except ArtifactStoreError:
        return False
    digest = ContentAddress(manifest.manifest_digest(payload))
    algorithms = {entry.content_address.partition(":")[0] for entry in recorded if entry.kind == "file"}
    return algorithms <= {sealed.digest_algorithm} and (
        (str(digest), sealed.provenance.tree_digest, len(sealed.entries), set(sealed.entries))
        == (package.manifest_digest, package.tree_digest, len(recorded), set(map(_manifest_entry, recorded)))
    )


def _manifest_entry(record: FileRecord) -> manifest.Entry:
    """Return an entry of a package as its manifest lists it."""
    match record.kind:
        case "file":
            digests = _digest_in(record.content_address), _digest_in(record.sha256)
            executable, size_bytes = record.executable, record.size_bytes
            return manifest.FileEntry("file", record.path, executable, size_bytes, record.media_type, *digests)
        case "link":
            return manifest.LinkEntry("link", record.path, record.target)
        case "directory":
            return manifest.DirectoryEntry("directory", record.path)


def _digest_in(address: str) -> bytes:
    return bytes.fromhex(address.partition(":")[2])
