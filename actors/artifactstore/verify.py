"""Verification: it reads every object again, and checks the rows of packages against their manifests and the rules.

Every byte is read and hashed with both algorithms. Findings are recorded in the log. So the next ingest of the same
content repairs a flawed object, and the history shows the finding. Findings are recorded during the verification, and
also when it is interrupted, so that hours of reading are not lost.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise

import trio

from artifactstore.concurrently import for_each_concurrent
from artifactstore.database.errors import DatabaseUnavailable, OutcomeUnknown
from artifactstore.environment import in_thread
from artifactstore.ingest.finalizing import counted_text, entry_totals, recorded_totals
from artifactstore.refusals import WrongStorageRoot
from artifactstore.supervision import NO_TIME_LIMIT, ActorRef
from artifactstore_protocols import manifest
from artifactstore_protocols.commands import OBJECTS_MAX, ObjectFinding
from artifactstore_protocols.dataplane import VerifyResult
from artifactstore_protocols.entries import Place
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.event_store import EventStore, Location, PackageContents
from artifactstore_protocols.events import PayloadDiffers
from artifactstore_protocols.identity import ContentAddress, ContentDigests, Digest, digest_length
from artifactstore_protocols.links import check_target, escaping_links
from artifactstore_protocols.media_types import check_media_type
from artifactstore_protocols.messages import StatObjects, StorageRole, VerifyObjects
from artifactstore_protocols.object_keys import first_key, parse_key
from artifactstore_protocols.package_listing import PackageListing
from artifactstore_protocols.packages import PackageGone
from artifactstore_protocols.paths import check_path, path_key, tree_order
from artifactstore_protocols.records import FlawedObject, PackageRecord, VerifyProgress, VerifyReport
from artifactstore_protocols.storage import KnownObject
from artifactstore_protocols.storage_errors import StorageDenied

__all__ = ["Verification"]

_BATCH = 2048
_CONCURRENT = 2
_RUN = 512
_SMALL_BYTES = 64 << 10
_FILES_NAMED = 3
_PARTING_S = 10.0
"""How long an interrupted verification may take to record its findings."""

_ROW_FLAWS_NAMED = 100
_SAMPLE = 100
_GONE_PERCENT_MIN = 90
"""From this percentage of missing objects on, a wrong or unmounted object root is more likely than so many losses."""


class Verification:
    """One verification, of one package or of the whole store.

    Args:
        store: the event store, which says which objects and packages should exist.
        storage: the actor that reads the objects.
        package_id: the package to verify, or None for the whole store.
        progress: called with the totals first, then after every object.
        record: records findings in the log. It is called only with findings that the log does not have yet.
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
        """Read all objects, record the findings, and check the packages.

        Raises:
            WrongStorageRoot: at least 90% of the objects are missing, so the object root is probably wrong.
            StorageDenied: this process lacks the permission to read at least 90% of the objects.
        """
        count, size = await self._store.location_totals(package_id=self._package_id)
        self._done = VerifyProgress(0, count, 0, size)
        if self._progress is not None:
            self._progress(self._done)  # the totals, before the first object, which may be large
        try:
            await self._objects()
        except BaseException:
            with trio.CancelScope(shield=True, relative_deadline=_PARTING_S), suppress(ArtifactStoreError):
                await self._record_found()
            raise
        not_recorded = None
        try:
            await self._record_found()
        except (DatabaseUnavailable, OutcomeUnknown) as error:  # still report findings that took hours
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
        """Verify all objects, and record the findings after each batch."""
        after = ""
        while batch := await self._locations(after):
            await for_each_concurrent(_runs(batch), self._run, at_once=_CONCURRENT)
            if not _nearly_all(len(self._missing), self._done.objects):
                with suppress(DatabaseUnavailable, OutcomeUnknown):  # tried again after the next batch
                    await self._record_found()
            after = batch[-1].content_address

    async def _locations(self, after: str) -> Sequence[Location]:
        return await self._store.locations(package_id=self._package_id, after=after, limit=_BATCH)

    async def _run(self, locations: Sequence[Location]) -> None:
        """Verify some objects with one request."""
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
                raise  # the cause is not a single object
            await self._object(readable[0], readable[0].known.address, "unreadable")
            return
        for location, result in zip(readable, results, strict=True):
            await self._object(location, result.address, _problem(result, location))

    async def _object(self, location: Location, address: ContentAddress, problem: str | None) -> None:
        """Note the status of one object, and queue a finding if the log has another status."""
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
        """Add a flawed object to the report, with some of the files that have its content."""
        files = await self._store.files_with_content(str(address), limit=_FILES_NAMED)
        flaw = FlawedObject(str(address), location.size_bytes, tuple(files))
        found = {"missing": self._missing, "unreadable": self._unreadable}.get(problem, self._mismatches)
        found.append(flaw)

    async def _record_found(self) -> None:
        """Record the queued findings, unless the object root is probably wrong."""
        await self._refuse_a_wrong_root()
        while found := tuple(self._unrecorded[:OBJECTS_MAX]):
            await self._record(found)
            del self._unrecorded[: len(found)]

    async def _refuse_a_wrong_root(self) -> None:
        """Raise WrongStorageRoot if nearly all objects of a sample of the whole store are missing.

        This runs before missing objects are recorded. Without the sample, a package that has really lost its few
        objects would look like a wrong root.
        """
        if not _nearly_all(len(self._missing), self._done.objects):
            return
        sample = await self._store.locations(package_id=None, after="", limit=_SAMPLE)
        known = tuple(location.known for location in sample)
        found = await self._storage.ask(StatObjects(known), timeout=NO_TIME_LIMIT)
        if _nearly_all(gone := found.count(None), len(found)):
            raise WrongStorageRoot(gone, len(found))

    async def _check_packages(self) -> tuple[int, list[str]]:
        """Check the packages. Return the number of manifests and the ids of packages whose manifest differs."""
        checked, differing, after = 0, list[str](), 0
        while batch := await self._packages(after):
            for package in batch:
                try:
                    contents = await self._store.contents(package.package_id)
                except PackageGone:
                    if self._package_id is not None:
                        raise
                    continue  # it went while this ran
                agrees = contents.package.status == "finalized" and await self._manifest_agrees(contents)
                if len(self._row_flaws) < _ROW_FLAWS_NAMED:
                    self._row_flaws += await in_thread(partial(_flaws_of, contents, entries_checked=agrees))
                if contents.package.status == "finalized":
                    checked += 1
                    differing += [] if agrees else [package.package_id]
            after = batch[-1].created_sequence
            if self._package_id is not None:
                break
        return checked, differing

    async def _packages(self, after: int) -> Sequence[PackageRecord]:
        package_id = self._package_id
        if package_id is not None:
            return [await self._store.package(package_id)]
        return await self._store.packages(PackageListing(ascending=True, after=(after, after), limit=_BATCH))

    async def _manifest_agrees(self, contents: PackageContents) -> bool:
        """Return whether the stored manifest has the digests of the package and lists the entries of its rows."""
        try:
            payload = await self._store.manifest_bytes(contents.package.package_id)
        except PayloadDiffers:
            return False
        return await in_thread(lambda: _agrees(contents, payload))


def _runs(locations: Sequence[Location]) -> Iterator[list[Location]]:
    """Yield groups of objects to verify with one request: up to 512 small objects, or one large object."""
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
    """Return whether a key belongs to an address, in any generation."""
    if object_key == first_key(address):
        return True
    try:
        return parse_key(object_key)[0] == address
    except ArtifactStoreError:
        return False


def _nearly_all(missing: int, objects: int) -> bool:
    """Return whether at least 90% of the objects are missing."""
    return objects > 0 and 100 * missing >= _GONE_PERCENT_MIN * objects


def _problem(result: VerifyResult, location: Location) -> str | None:
    """Return the flaw that a result shows; None if digests and size are those of the row."""
    if result.status != "ok":
        return result.status
    measured = result.digests
    same = (
        measured is not None
        and measured.sha256.hex == location.digest_sha256
        and result.size_bytes == location.size_bytes
    )
    return None if same else "damaged"


def _flaws_of(contents: PackageContents, *, entries_checked: bool) -> list[str]:
    """Return the flaws in the rows of a package and its entries that no event could have caused.

    Args:
        contents: the rows.
        entries_checked: whether the entries equal those of the manifest. Decoding the manifest has checked them and
            their links.
    """
    package, entries, flaws = contents.package, contents.entries, list[str]()
    if not entries_checked:
        flaws += _flaws_of_entries(contents)
    keys = [path_key(entry.path) for entry in entries]
    if any(before >= after for before, after in pairwise(keys)):
        flaws.append(f"the entries of package {package.package_id} are not under the keys of their paths")
    counted = entry_totals((entry.kind, entry.size_bytes if entry.kind == "file" else 0) for entry in entries)
    if counted != (stated := recorded_totals(package)):
        said = f"package {package.package_id} says that it has {counted_text(stated)}"
        flaws.append(f"{said}, and has {counted_text(counted)}")
    return flaws


def _flaws_of_entries(contents: PackageContents) -> Iterator[str]:
    """Yield the flaws of the entries of a package, and links that lead out of it."""
    package_id = contents.package.package_id
    for entry in contents.entries:
        try:
            _check_entry(entry, contents.digest_algorithms)
        except ArtifactStoreError as error:
            yield f"a {entry.kind} of package {package_id}: {error}"
        if entry.kind == "file" and entry.size_bytes < 0:
            yield f"file {entry.path!r} of package {package_id} has {entry.size_bytes} bytes"
    links = {entry.path: entry.target for entry in contents.entries if entry.kind == "link"}
    if escaping := escaping_links(links, (entry.path for entry in contents.entries if entry.kind != "link")):
        yield f"links of package {package_id} lead out of it: {', '.join(map(repr, escaping))}"


def _check_entry(entry: manifest.Entry, algorithms: Collection[str]) -> None:
    """Raise an error if an entry breaks a rule of its kind."""
    check_path(entry.path)
    if entry.kind == "file":
        check_media_type(entry.media_type)
        sha256 = Digest("sha256", entry.sha256.hex())
        of_this_length = [name for name in algorithms if digest_length(name) == len(entry.digest)]
        if not of_this_length:
            raise InvalidValue("digest", entry.digest.hex(), f"no digest of {', '.join(algorithms)} has this length")
        if len(of_this_length) == 1:
            ContentDigests(Digest(of_this_length[0], entry.digest.hex()), sha256)
    elif entry.kind == "link":
        check_target(entry.path, entry.target)


def _agrees(contents: PackageContents, payload: bytes | None) -> bool:
    """Return whether a manifest has the package's digests and lists its entries."""
    if payload is None:
        return False
    try:
        listed = manifest.decode(payload)
    except ArtifactStoreError:
        return False
    package = contents.package
    entries = tuple(sorted(contents.entries, key=lambda entry: tree_order(entry.path)))
    digests = str(ContentAddress(manifest.manifest_digest(payload))), listed.provenance.tree_digest
    return (
        digests == (package.manifest_digest, package.tree_digest)
        and contents.digest_algorithms <= {listed.digest_algorithm}
        and entries == listed.entries
    )
