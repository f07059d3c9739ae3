"""Verification: it reads objects again, and checks the rows of packages against their manifests and the rules.

Every byte is read and hashed with both algorithms. A flaw is read a second time before it counts. Findings are recorded
in the log after each batch, and also when the verification is interrupted, so that hours of reading are not lost. After
a batch of the whole store, the log also says which objects were read. So an interrupted verification loses one batch at
most, and the next one can leave out what was read.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby

import trio
from msgspec import Struct

from artifactstore.affected import Affected
from artifactstore.concurrently import for_each_concurrent
from artifactstore.database.errors import DatabaseUnavailable, OutcomeUnknown, StoreReadOnly
from artifactstore.pace import Pace
from artifactstore.refusals import WrongStorageRoot
from artifactstore.supervision import NO_TIME_LIMIT, ActorRef
from artifactstore.verify_packages import ROW_FLAWS_NAMED, CheckedPackages, check_packages
from artifactstore_protocols.commands import OBJECTS_MAX, ObjectFinding, RecordFindings, RecordVerification
from artifactstore_protocols.dataplane import VerifyResult
from artifactstore_protocols.entries import Place
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import EventStore, Location
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.messages import StatObjects, StorageRole, VerifyObjects
from artifactstore_protocols.object_keys import first_key, parse_key
from artifactstore_protocols.records import VerifyProgress, VerifyReport
from artifactstore_protocols.storage import KnownObject
from artifactstore_protocols.storage_errors import StorageDenied
from artifactstore_protocols.verification import EVERY_OBJECT, VERIFIED_OBJECTS_MAX, DueKey, DueObjects, VerifiedKey

__all__ = ["Scope", "Verification"]

_BATCH = VERIFIED_OBJECTS_MAX
_BATCH_BYTES = 1 << 30
"""The bytes after which a batch ends, so that the next event is not hours away."""

_CONCURRENT = 2
_RUN = 512
_RUN_BYTES = 64 << 20
_SMALL_BYTES = 64 << 10
_PARTING_S = 10.0
"""How long an interrupted verification may take to record its findings."""

_SAMPLE = 100
_GONE_PERCENT_MIN = 90
"""From this percentage of missing objects on, a wrong or unmounted object root is more likely than so many losses."""

_logger = logging.getLogger("artifactstore.store")


class Scope(Struct, frozen=True):
    """What a verification reads, and how fast.

    Attributes:
        as_of: the head of the log when it began.
        package_id: the package whose objects it reads; None for the objects that are due.
        due: the objects of the store that are due.
        whole: whether it also checks the packages: not if it reads a part of the store.
        bytes_per_s: the limit of its speed; None for no limit.
    """

    as_of: int
    package_id: str | None
    due: DueObjects
    whole: bool
    bytes_per_s: int | None


class Verification:
    """One verification, of one package or of the objects that are due.

    Args:
        store: the event store, which says which objects and packages should exist.
        storage: the actor that reads the objects.
        scope: what it reads.
        progress: called with the totals first, then after every object.
        commit: commits a command. Findings that the log has already are not sent.
    """

    def __init__(
        self,
        store: EventStore,
        storage: ActorRef[StorageRole],
        scope: Scope,
        progress: Callable[[VerifyProgress], None] | None,
        commit: Callable[[RecordFindings | RecordVerification], Awaitable[object]],
    ) -> None:
        self._store = store
        self._storage = storage
        self._scope = scope
        self._progress = progress
        self._commit = commit
        self._pace = Pace(scope.bytes_per_s)
        self._done = VerifyProgress(0, 0, 0, 0)
        self._affected = Affected(store)
        self._unconfirmed = 0
        self._row_flaws: list[str] = []
        self._statuses: dict[Place, str] = {}
        self._unrecorded: list[ObjectFinding] = []
        self._read: list[RecordVerification] = []

    async def run(self) -> VerifyReport:
        """Read the objects, record the findings, and check the packages.

        Raises:
            WrongStorageRoot: at least 90% of the objects are missing, so the object root is probably wrong.
            StorageDenied: this process lacks the permission to read at least 90% of the objects.
        """
        count, size = await self._totals()
        self._done = VerifyProgress(0, count, 0, size)
        if self._progress is not None:
            self._progress(self._done)  # the totals, before the first object, which may be large
        try:
            await self._objects()
        except BaseException:
            with trio.CancelScope(shield=True, relative_deadline=_PARTING_S), suppress(ArtifactStoreError):
                await self._record()
            raise
        not_recorded = None
        try:
            await self._record()
        except (DatabaseUnavailable, OutcomeUnknown) as error:  # still report findings that took hours
            not_recorded = str(error)
        scope = self._scope
        packages = await check_packages(self._store, scope.package_id) if scope.whole else CheckedPackages(0, (), ())
        sampled = scope.due.sample != EVERY_OBJECT
        return VerifyReport(
            objects=self._done.objects,
            bytes=self._done.bytes,
            mismatches=self._affected.of("damaged"),
            missing=self._affected.of("missing"),
            manifests=packages.manifests,
            manifest_mismatches=packages.differing,
            row_flaws=tuple([*self._row_flaws, *packages.row_flaws][:ROW_FLAWS_NAMED]),
            not_recorded=not_recorded,
            unreadable=self._affected.of("unreadable"),
            unconfirmed=self._unconfirmed,
            affected=await self._affected.packages(),
            affected_packages=self._affected.package_count,
            seed=scope.due.sample.seed if sampled else None,
        )

    async def _totals(self) -> tuple[int, int]:
        scope = self._scope
        if scope.package_id is not None:
            return await self._store.location_totals(package_id=scope.package_id)
        return await self._store.due_totals(scope.due)

    async def _objects(self) -> None:
        """Verify all objects, and record what was found and read after each batch."""
        last: Location | None = None
        while batch := await self._batch(last):
            self._statuses = {}
            await for_each_concurrent(
                _runs(batch, self._scope.bytes_per_s or _RUN_BYTES), self._run, at_once=_CONCURRENT
            )
            if self._scope.package_id is None:
                self._read += self._verified(batch)
            if not _nearly_all(self._affected.count("missing"), self._done.objects):
                with suppress(DatabaseUnavailable, OutcomeUnknown):  # tried again after the next batch
                    await self._record()
            last = batch[-1]

    async def _batch(self, last: Location | None) -> Sequence[Location]:
        """Return the next objects: of a package in the order of addresses, otherwise in the order of verification."""
        scope = self._scope
        if scope.package_id is not None:
            after = "" if last is None else last.content_address
            return await self._store.locations(package_id=scope.package_id, after=after, limit=_BATCH)
        found = await self._store.due_objects(scope.due, after=None if last is None else _due_key(last), limit=_BATCH)
        return found[: _count_within(found, _BATCH_BYTES)]

    async def _run(self, locations: Sequence[Location]) -> None:
        """Verify some objects with one request, and flawed ones with a second request."""
        readable: list[Location] = []
        for location in locations:
            if _is_key_of(location.object_key, location.known.address):
                readable.append(location)
            else:
                flaw = f"object {location.content_address} has the key {location.object_key!r}, which is not its own"
                self._row_flaws.append(flaw)
                self._tell(location)
        await self._pace.before(sum(location.size_bytes for location in readable))
        try:
            problems = await self._problems(readable)
            suspects = [location for location, problem in zip(readable, problems, strict=True) if problem]
            again = dict(zip(map(_place, suspects), await self._problems(suspects), strict=True))
        except StorageDenied:
            if len(readable) > 1:  # the others may be readable
                for location in readable:
                    await self._run([location])
                return
            denied = self._affected.count("unreadable") + 1
            if denied > _SAMPLE and _nearly_all(denied, self._done.objects + 1):
                raise  # the cause is not a single object
            await self._object(readable[0], "unreadable")
            return
        self._unconfirmed += sum(problem is None for problem in again.values())
        for location in readable:
            await self._object(location, again.get(_place(location)))

    async def _problems(self, locations: Sequence[Location]) -> list[str | None]:
        """Read objects, and return the flaw of each; None for an intact one."""
        if not locations:
            return []
        known: tuple[KnownObject, ...] = tuple(location.known for location in locations)
        results = await self._storage.ask(VerifyObjects(known), timeout=NO_TIME_LIMIT)
        return [_problem(result, location) for result, location in zip(results, locations, strict=True)]

    async def _object(self, location: Location, problem: str | None) -> None:
        """Note the status of one object, and queue a finding if the log has another status."""
        integrity = problem or "intact"
        place = _place(location)
        self._statuses[place] = integrity
        if integrity not in {"unreadable", location.integrity}:
            self._unrecorded.append(ObjectFinding(location.known.address.digest.raw, place, integrity))
        if problem is not None:
            await self._affected.add(problem, location)
        self._tell(location)

    def _tell(self, location: Location) -> None:
        done = self._done
        self._done = VerifyProgress(
            done.objects + 1, done.objects_total, done.bytes + location.size_bytes, done.bytes_total
        )
        if self._progress is not None:
            self._progress(self._done)

    def _verified(self, batch: Sequence[Location]) -> Iterator[RecordVerification]:
        """Yield a command for each run of objects that were read. An object that could not be read ends a run."""
        was_read = {"intact", "damaged", "missing"}
        for read, run in groupby(batch, key=lambda each: self._statuses.get(_place(each)) in was_read):
            if read:
                objects = list(run)
                statuses = [self._statuses[_place(each)] for each in objects]
                yield RecordVerification(
                    self._scope.as_of,
                    VerifiedKey(objects[0].verified_sequence, _place(objects[0])),
                    VerifiedKey(objects[-1].verified_sequence, _place(objects[-1])),
                    self._scope.due.sample,
                    len(objects),
                    sum(each.size_bytes for each in objects),
                    statuses.count("damaged"),
                    statuses.count("missing"),
                )

    async def _record(self) -> None:
        """Record the queued findings and then the ranges, unless the object root is probably wrong."""
        await self._refuse_a_wrong_root()
        while found := tuple(self._unrecorded[:OBJECTS_MAX]):
            await self._commit(RecordFindings(found, self._scope.as_of))
            del self._unrecorded[: len(found)]
        while self._read:
            try:
                await self._commit(self._read[0])
            except (StoreReadOnly, OutcomeUnknown, DatabaseUnavailable) as error:
                if not isinstance(error, StoreReadOnly):
                    raise
                _logger.info("what was verified is not recorded: %s", error)
                self._read.clear()
                return
            except ArtifactStoreError as error:  # such as an unfinished import: it does not make objects unsound
                _logger.info("what was verified is not recorded: %s", error)
            del self._read[0]

    async def _refuse_a_wrong_root(self) -> None:
        """Raise WrongStorageRoot if nearly all objects of a sample of the whole store are missing.

        This runs before missing objects are recorded. Without the sample, a package that has really lost its few
        objects would look like a wrong root.
        """
        if not _nearly_all(self._affected.count("missing"), self._done.objects):
            return
        sample = await self._store.locations(package_id=None, after="", limit=_SAMPLE)
        known = tuple(location.known for location in sample)
        found = await self._storage.ask(StatObjects(known), timeout=NO_TIME_LIMIT)
        if _nearly_all(gone := found.count(None), len(found)):
            raise WrongStorageRoot(gone, len(found))


def _runs(locations: Sequence[Location], bytes_max: int) -> Iterator[list[Location]]:
    """Yield groups of objects to verify with one request: up to 512 small objects, or one large object."""
    run, size_bytes = list[Location](), 0
    for location in locations:
        if location.size_bytes > _SMALL_BYTES:
            yield [location]
            continue
        if run and (len(run) == _RUN or size_bytes + location.size_bytes > bytes_max):
            yield run
            run, size_bytes = [], 0
        run.append(location)
        size_bytes += location.size_bytes
    if run:
        yield run


def _count_within(locations: Sequence[Location], bytes_max: int) -> int:
    """Return how many of the first objects have at most these bytes together, and at least 1."""
    size_bytes = 0
    for count, location in enumerate(locations):
        size_bytes += location.size_bytes
        if count and size_bytes > bytes_max:
            return count
    return len(locations)


def _place(location: Location) -> Place:
    return Place(location.backend_id, location.object_key)


def _due_key(location: Location) -> DueKey:
    digest = ContentAddress.parse(location.content_address).digest.raw
    return location.verified_sequence, digest, location.backend_id, location.object_key


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
