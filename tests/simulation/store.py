"""One process's connection to the simulated log: transactions and reads, and all that can go wrong with them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import accumulate
from typing import Final

import trio
from msgspec.structs import replace

from artifactstore.database.asyncio_thread import DatabaseClosed
from artifactstore.database.errors import DatabaseBusy, DatabaseUnavailable, OutcomeUnknown
from artifactstore_protocols.admission import admit, admit_part, examine, run_needs
from artifactstore_protocols.collection import CollectableObject, ObjectTotals, UnreleasedPackage
from artifactstore_protocols.commands import CommandRequest
from artifactstore_protocols.disk_usage import NameUsage, UniqueUsage
from artifactstore_protocols.event_store import READ_BYTES_MAX, CommandOutcome, Location, LogReading, PackageContents
from artifactstore_protocols.event_types import PACKAGE_FINALIZED
from artifactstore_protocols.event_types.keep_policies_applied import obstacle_needs, obstacles
from artifactstore_protocols.event_types.store_verified import VERIFICATION
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.judging import command_needs, judge_batch
from artifactstore_protocols.keep_policies import GroupMember, KeepPolicy
from artifactstore_protocols.log_file import LogDiffers
from artifactstore_protocols.package_listing import EntryListing, EntryPage, PackageFilter, PackageListing
from artifactstore_protocols.paths import path_key
from artifactstore_protocols.purging import PurgedContent
from artifactstore_protocols.pushing import RECEIPT_US, UploadRights
from artifactstore_protocols.records import (
    FileRecord,
    Hold,
    LeftPackage,
    MetadataSchema,
    PackageRecord,
    ReplayProgress,
    ReplayReport,
    RetainedPackage,
    Tag,
)
from artifactstore_protocols.redaction import RedactionReport, RedactionRequest
from artifactstore_protocols.retention import RetentionClass, is_permanent
from artifactstore_protocols.state import LastEvent, LogState, Needs, ObjectState
from artifactstore_protocols.storage import KnownObject, Place
from artifactstore_protocols.store_stats import LastRun, RunKind, StoreStats
from artifactstore_protocols.token_records import StoredToken, TokenFrame
from artifactstore_protocols.totals import totals_rows
from artifactstore_protocols.unfinished_import import ImportRun, admit_import, after_import
from artifactstore_protocols.verification import DueKey, DueObjects, VerificationState
from artifactstore_protocols.views import RowOperation
from package_queries import find_among, select_entries, select_page
from simulation.faults import CommitFailure, CommitFault, Fault, OpenFault, ReadFailure, ReadFault
from simulation.log import NAME, SimulatedLog
from simulation.tables import Tables, due_key
from simulation.world import Life, SimulatedBug, World, shielded

__all__ = ["SimulatedEventStore"]

_STALL_S: Final = 1.0
_PATIENCE_S: Final = 5.0


class SimulatedEventStore:
    """One process's connection; implements `EventStore`."""

    def __init__(self, world: World, log: SimulatedLog, life: Life) -> None:
        self._world = world
        self._log = log
        self._life = life
        self._is_open = False
        self._commits = 0
        self._idle = trio.Event()

    @property
    def name(self) -> str:
        """See `EventStore`, as for all that follows."""
        return NAME

    async def open(self) -> None:
        """Connect."""
        fault = self._world.meet(OpenFault, self._life.process)
        await self._world.pause()
        if fault is not None:
            self._world.note_struck(fault)
            raise DatabaseUnavailable(NAME, "it does not answer")
        if not self._life.alive:
            raise DatabaseUnavailable(NAME, "this process was killed")
        self._is_open = True

    async def close(self) -> None:
        """Disconnect, once what is being committed is done."""
        with shielded():
            while self._commits:
                await self._idle.wait()
            await self._world.pause()
        self._is_open = False

    async def commit(
        self,
        requests: Sequence[CommandRequest],
        *,
        now_us: Callable[[], int],
        new_id: Callable[[], str],
        files_per_package_max: int,
    ) -> Sequence[CommandOutcome]:
        """One transaction. A cancelled caller waits for its end."""
        self._check_open()
        self._commits += 1
        try:
            with shielded():
                fault = self._world.meet(CommitFault, self._life.process, len(requests))
                if fault is not None:
                    self._world.note_struck(fault)
                await self._world.pause()
                if fault is not None and fault.kind is CommitFailure.COMMIT_CONFLICTED:
                    raise DatabaseBusy(NAME, "another writer has the head of the log")
                await self._log.lock_head()
                return await self._transaction(fault, requests, now_us, new_id, files_per_package_max)
        finally:
            self._commits -= 1
            self._idle.set()
            self._idle = trio.Event()

    async def _transaction(
        self,
        fault: Fault | None,
        requests: Sequence[CommandRequest],
        now_us: Callable[[], int],
        new_id: Callable[[], str],
        files_max: int,
    ) -> Sequence[CommandOutcome]:
        kind = None if fault is None else fault.kind
        seconds = 0.0 if fault is None else fault.size * _STALL_S
        lands_late = False
        try:
            judged = judge_batch(
                requests,
                self._state(command_needs([request.command for request in requests])),
                self._log.known(requests),
                head=self._log.head(),
                now_us=now_us,
                new_id=new_id,
                entries_max=files_max,
                unfinished=self._log.unfinished,
            )
            if kind is CommitFailure.COMMIT_CRASHED:
                raise SimulatedBug("before the commit")
            await self._world.pause()
            if kind is CommitFailure.COMMIT_STALLED:
                await trio.sleep(seconds)
            self._check_open()  # a process that was killed meanwhile has not committed
            if kind is CommitFailure.COMMIT_FAILED or not self._world.has_room(CommitFailure.LOG_FULL, fault):
                raise DatabaseUnavailable(
                    NAME, "it rolled back: no room" if kind is None else f"it rolled back: {kind}"
                )
            if kind is CommitFailure.COMMIT_LATE:
                lands_late = True
                self._log.append_late(seconds, judged.events, judged.operations)
            elif kind is not CommitFailure.COMMIT_LOST:
                self._log.append(judged.events, judged.operations)
        finally:
            if not lands_late:
                self._log.release_head()
        await self._world.pause()
        if kind in {CommitFailure.COMMIT_LATE, CommitFailure.COMMIT_LOST, CommitFailure.COMMIT_UNACKNOWLEDGED}:
            raise OutcomeUnknown(NAME, "the connection broke")
        if kind is CommitFailure.COMMIT_CRASHED_LATE:
            raise SimulatedBug("after the commit")
        return judged.outcomes

    async def import_events(self, events: Sequence[StoredEvent], run: ImportRun) -> int:
        """Take over another log's events; faults are not drawn for it."""
        self._check_open()
        with shielded():
            await self._log.lock_head()
            try:
                await self._world.pause()
                admit_import(self._log.unfinished, run, self._log.head())
                for stored in events:
                    if stored.sequence <= self._log.head() and stored != self._log.events[stored.sequence - 1]:
                        raise LogDiffers(run.source, stored.sequence)
                if events and events[0].sequence > self._log.head() + 1:
                    raise LogDiffers(run.source, self._log.head() + 1)
                new = [stored for stored in events if stored.sequence > self._log.head()]
                begins = not events and (self._log.unfinished is not None or self._log.head() == run.head)
                if new:
                    self._log.append(new, self._admitted(new))
                if new or begins:
                    self._log.unfinished = after_import(self._log.head(), run)
                return len(new)
            finally:
                self._log.release_head()

    def _admitted(self, new: Sequence[StoredEvent]) -> list[RowOperation]:
        in_parts = len(new) == 1
        examined = [examine(stored, in_parts=in_parts) for stored in new]
        state = self._state(run_needs(examined))
        state.commands = {stored.event.command.command_id for stored in self._log.events}
        if self._log.events:
            last = self._log.events[-1].event
            state.last = LastEvent(last.command.command_id, last.principal, last.type)
        operations = [operation for each in examined for operation in admit(each, state)]
        operations += totals_rows(state)
        for each in examined if in_parts else ():
            for part in each.parts():
                admit_part(each, part, self._state(part.needs))
        return operations

    def must_be_writable(self) -> None:
        """It always is."""

    def _state(self, needs: Needs) -> LogState:
        """What a transaction sees; before the clock is observed, the time when the log began stands for it."""
        return self._log.tables.state(needs, events=self._log.events)

    def _reading(self) -> LogReading:
        last = self._log.events[-1].event.recorded_at_us if self._log.events else 0
        return LogReading(self._log.head(), None, None, self._log.unfinished, self._log.store_id, last)

    async def probe(self) -> LogReading:
        """The head."""
        return await self._read("probe", self._reading)

    async def read_events(
        self, *, after: int, limit: int, subject: str | None = None, bytes_max: int = READ_BYTES_MAX
    ) -> Sequence[StoredEvent]:
        """Events, in order."""

        def read() -> Sequence[StoredEvent]:
            found = [
                stored
                for stored in self._log.events
                if stored.sequence > after and subject in {None, stored.event.subject}
            ][:limit]
            sizes = accumulate(len(stored.event.payload) for stored in found)
            return found[: max(1, sum(total <= bytes_max for total in sizes))]

        return await self._read("events", read)

    async def wait_for_growth(self, after: int) -> int:
        """The head, as soon as it is past a sequence, or after a while; every process is notified of a commit."""
        grown = self._log.grown
        head = await self._read("growth", self._log.head)
        if head > after:
            return head
        with trio.move_on_after(_PATIENCE_S):
            await grown.wait()
        return await self._read("growth", self._log.head)

    async def replay(self, *, rebuild: bool, progress: Callable[[ReplayProgress], None] | None = None) -> ReplayReport:
        """Compare, or repair."""
        await self._read("replay", lambda: None)
        if rebuild:
            await self._log.lock_head()
        try:
            self._check_open()
            built = Tables.built_from(self._log.events)
            repaired = built.differences(self._log.tables) if rebuild else 0
            if rebuild:
                self._log.tables = built
            live, sequence = self._log.tables, self._log.head()
        finally:
            if rebuild:
                self._log.release_head()
        if progress is not None:
            progress(ReplayProgress(sequence, sequence))
        built_digest, live_digest = (str(ContentAddress(each.digest())) for each in (built, live))
        return ReplayReport(sequence, sequence, built_digest, live_digest, repaired)

    async def package(self, package_id: str) -> PackageRecord:
        """One package."""
        return await self._read("package", lambda: self._log.tables.package(package_id))

    async def find_package(
        self, text: str, *, prefer_open: bool = False, within: Sequence[str] | None = None
    ) -> PackageRecord:
        """The package that a text names."""
        where = PackageFilter(within=within)

        def find() -> PackageRecord:
            tags = {each.tag: each.package_id for each in self._log.tables.tags()}
            packages = [each for each in self._log.tables.packages() if where.matches_name(each.name)]
            return find_among(text, packages, tags, prefer_open=prefer_open)

        return await self._read("find", find)

    async def packages(self, page: PackageListing) -> Sequence[PackageRecord]:
        """A page of packages."""
        return await self._read("packages", lambda: select_page(self._log.tables.packages(), page))

    async def find_entries(self, page: EntryListing) -> EntryPage:
        """A page of the entries that a search finds."""
        return await self._read(
            "find", lambda: select_entries(self._log.tables.packages(), self._log.tables.files, page)
        )

    async def contents(self, package_id: str) -> PackageContents:
        """A package, its files and their locations."""

        def look() -> PackageContents:
            tables = self._log.tables
            return tables.contents(tables.readable_package(package_id))

        return await self._read("contents", look)

    async def file(self, package_id: str, path_key: str) -> FileRecord | None:
        """One file."""
        return await self._read("file", lambda: self._log.tables.file(package_id, path_key))

    async def files(self, package_id: str) -> tuple[PackageRecord, Sequence[FileRecord]]:
        """A package and all of its files."""

        def look() -> tuple[PackageRecord, Sequence[FileRecord]]:
            return self._log.tables.package(package_id), self._log.tables.files(package_id)

        return await self._read("files", look)

    async def file_page(self, package_id: str, *, after: str, limit: int) -> Sequence[FileRecord]:
        """A page of the entries of a package."""

        def look() -> Sequence[FileRecord]:
            self._log.tables.readable_package(package_id)
            entries = sorted(self._log.tables.files(package_id), key=lambda entry: path_key(entry.path))
            return [entry for entry in entries if path_key(entry.path) > after][:limit]

        return await self._read("file page", look)

    async def differences(self, before: str, after: str) -> Sequence[tuple[FileRecord | None, FileRecord | None]]:
        """The entries at which two packages differ."""

        def look() -> Sequence[tuple[FileRecord | None, FileRecord | None]]:
            tables = self._log.tables
            old, new = (
                {path_key(entry.path): entry for entry in tables.files(package_id)} for package_id in (before, after)
            )
            return [
                (old.get(key), new.get(key))
                for key in sorted(old.keys() | new.keys())
                if _compared(old.get(key)) != _compared(new.get(key))
            ]

        return await self._read("differences", look)

    async def manifest_bytes(self, package_id: str) -> bytes | None:
        """A package's manifest."""

        def look() -> bytes | None:
            self._log.tables.package(package_id)
            finalized = (
                stored.event.payload
                for stored in self._log.events
                if stored.event.type == PACKAGE_FINALIZED.name and stored.event.subject == package_id
            )
            return next(finalized, None)

        return await self._read("manifest", look)

    async def deduplicated_bytes(self, package_id: str) -> int:
        """Bytes that were there before."""
        return await self._read("deduplicated", lambda: self._log.tables.deduplicated_bytes(package_id))

    async def locations(self, *, package_id: str | None, after: str, limit: int) -> Sequence[Location]:
        """A page of objects."""
        return await self._read(
            "locations",
            lambda: _page_of(
                [at for at in self._log.tables.locations(package_id) if at.content_address > after], limit
            ),
        )

    async def known_objects(self, addresses: Collection[ContentAddress]) -> Mapping[ContentAddress, KnownObject]:
        """Where contents are now."""

        def find() -> dict[ContentAddress, KnownObject]:
            found = sorted(self._log.tables.locations(None), key=lambda at: at.integrity == "intact")
            known = {at.known.address: at.known for at in found}
            return {address: known[address] for address in addresses if address in known}

        return await self._read("known objects", find)

    async def location_totals(self, *, package_id: str | None) -> tuple[int, int]:
        """Count and bytes of objects."""

        def count() -> tuple[int, int]:
            found = self._log.tables.locations(package_id)
            return len(found), sum(at.size_bytes for at in found)

        return await self._read("totals", count)

    async def files_with_content(self, content_address: str, *, limit: int) -> Sequence[str]:
        """Files that hold a content."""

        def find() -> list[str]:
            holders = [file for file in self._log.tables.all_files() if file.content_address == content_address]
            holders.sort(key=lambda file: file.sequence)
            return [f"{file.package_id}/{file.path}" for file in holders[:limit]]

        return await self._read("holders", find)

    async def count_files_with_content(self, content_address: str) -> int:
        """How many files hold a content."""
        files = self._log.tables.all_files
        return await self._read("holders", lambda: sum(each.content_address == content_address for each in files()))

    async def unused_places(self, addresses: Collection[ContentAddress]) -> Mapping[ContentAddress, Place]:
        """Where contents can be stored again."""
        return await self._read("unused places", lambda: self._log.tables.unused(addresses))

    async def due_objects(self, due: DueObjects, *, after: DueKey | None, limit: int) -> Sequence[Location]:
        """A page of objects to verify."""
        return await self._read(
            "due objects",
            lambda: [at for at in self._log.tables.due(due) if after is None or due_key(at) > after][:limit],
        )

    async def due_totals(self, due: DueObjects) -> tuple[int, int]:
        """Count and bytes of objects to verify."""

        def count() -> tuple[int, int]:
            found = self._log.tables.due(due)
            return len(found), sum(at.size_bytes for at in found)

        return await self._read("due totals", count)

    async def last_event_before(self, at_us: int) -> int:
        """The last event before a time."""
        return await self._read(
            "event before",
            lambda: max((each.sequence for each in self._log.events if each.event.recorded_at_us < at_us), default=0),
        )

    async def verification_state(self) -> VerificationState:
        """How current the verification is."""

        def look() -> VerificationState:
            times = {each.sequence: each.event.recorded_at_us for each in self._log.events}
            last = max((each.sequence for each in self._log.events if each.event.subject == VERIFICATION), default=0)
            due = self._log.tables.due(DueObjects(len(self._log.events)))
            oldest = times.get(due[0].verified_sequence) if due else None
            return VerificationState(times.get(last), last, oldest)

        return await self._read("verification state", look)

    async def flagged_objects(self) -> Mapping[ContentAddress, Place]:
        """Contents to be stored again, and where."""

        def look() -> Mapping[ContentAddress, Place]:
            return self._log.tables.flagged()  # a rebuild may have put new tables there meanwhile

        return await self._read("flagged", look)

    async def flagged_counts(self) -> Mapping[str, int]:
        """How many objects are flagged, by problem."""

        def count() -> Mapping[str, int]:
            return self._log.tables.flagged_counts()  # as above

        return await self._read("flagged counts", count)

    async def stats(self) -> StoreStats:
        """The totals, and what was last backed up and verified."""
        runs = self._log.last_runs

        def totals() -> StoreStats:
            found = self._log.tables.stats()
            return replace(found, last_backup=runs.get("backup"))

        return await self._read("stats", totals)

    async def collectable_objects(
        self, state: ObjectState, *, after: CollectableObject | None, limit: int
    ) -> Sequence[CollectableObject]:
        """See `EventStore`."""
        return await self._read("collectable", lambda: self._log.tables.collectable(state, after)[:limit])

    async def retired_totals(self) -> ObjectTotals:
        """See `EventStore`."""
        found = await self.collectable_objects("retired", after=None, limit=1 << 62)
        return ObjectTotals(len(found), sum(each.size_bytes for each in found))

    async def waiting_totals(self, *, after_us: int) -> ObjectTotals:
        """See `EventStore`."""
        found = await self.collectable_objects("condemned", after=None, limit=1 << 62)
        chosen = [each.size_bytes for each in found if each.changed_at_us > after_us]
        return ObjectTotals(len(chosen), sum(chosen))

    async def unreleased_packages(self, *, after: int, limit: int) -> Sequence[UnreleasedPackage]:
        """See `EventStore`."""
        return await self._read("unreleased", lambda: self._log.tables.unreleased(after)[:limit])

    async def entry_keys(self, number: int, *, after: str, limit: int) -> Sequence[str]:
        """See `EventStore`."""
        return await self._read("keys", lambda: self._log.tables.keys_of(number, after)[:limit])

    async def object_states(self, places: Collection[Place]) -> Mapping[Place, ObjectState]:
        """See `EventStore`."""
        return await self._read("states", lambda: self._log.tables.states_at(places))

    async def collected_contents(self, addresses: Collection[ContentAddress]) -> frozenset[ContentAddress]:
        """See `EventStore`."""
        return await self._read("collected", lambda: self._log.tables.collected(addresses))

    async def purged_contents(self, addresses: Collection[ContentAddress]) -> Mapping[ContentAddress, PurgedContent]:
        """See `EventStore`."""

        def look() -> Mapping[ContentAddress, PurgedContent]:
            found = {ContentAddress.parse(each.content_address): each for each in self._log.tables.purged_contents()}
            return {address: found[address] for address in addresses if address in found}

        return await self._read("purged", look)

    async def list_purged(self, *, after: str, limit: int) -> Sequence[PurgedContent]:
        """See `EventStore`."""
        return await self._read(
            "purged",
            lambda: [each for each in self._log.tables.purged_contents() if each.content_address > after][:limit],
        )

    async def places_of_purged(self, addresses: Collection[ContentAddress]) -> Sequence[tuple[Place, int]]:
        """See `EventStore`."""
        return await self._read("places", lambda: self._log.tables.places_of_purged(addresses))

    async def redact(self, request: RedactionRequest, *, now_us: int, command_id: str) -> RedactionReport:
        """No program redacts."""
        raise AssertionError(request, now_us, command_id)

    async def overwrite_leftovers(self) -> tuple[str, ...]:
        """Nothing is replaced."""
        return ()

    async def redactions(self, *, after: int, last: int) -> Mapping[int, int]:  # noqa: ARG002
        """Nothing is redacted."""
        return {}

    async def note_run(self, kind: RunKind, last: LastRun) -> None:
        """Note a backup or a verification."""
        self._check_open()
        await self._world.pause()
        self._check_open()
        self._log.last_runs[kind] = last

    async def referable_contents(
        self, addresses: Collection[ContentAddress], rights: UploadRights | None
    ) -> Mapping[ContentAddress, int]:
        """See `EventStore`."""

        def look() -> Mapping[ContentAddress, int]:
            sizes = self._log.tables.usable_sizes()
            found = {each: sizes[each.digest.raw] for each in addresses if each.digest.raw in sizes}
            if rights is None:
                return found
            readable = self._log.tables.contents_within(rights.readable)
            held = self._receipts(rights)
            return {each: size for each, size in found.items() if each.digest.raw in readable | held}

        return await self._read("referable", look)

    def _receipts(self, rights: UploadRights) -> set[bytes]:
        return {
            digest
            for (principal, package_id, digest), end_us in self._log.uploads.items()
            if (principal, package_id) == (rights.principal, rights.package_id) and end_us > rights.now_us
        }

    async def note_uploads(self, addresses: Collection[ContentAddress], rights: UploadRights) -> None:
        """See `EventStore`."""
        self._check_open()
        await self._world.pause()
        self._check_open()
        for address in addresses:
            key = rights.principal, rights.package_id, address.digest.raw
            self._log.uploads[key] = rights.now_us + RECEIPT_US

    async def upload_ends(self, addresses: Collection[ContentAddress], *, now_us: int) -> Mapping[ContentAddress, int]:
        """See `EventStore`."""

        def look() -> Mapping[ContentAddress, int]:
            ends: dict[bytes, int] = {}
            for (_principal, _package_id, digest), end_us in self._log.uploads.items():
                if end_us > now_us:
                    ends[digest] = max(end_us, ends.get(digest, 0))
            return {each: ends[each.digest.raw] for each in addresses if each.digest.raw in ends}

        return await self._read("uploads", look)

    async def tag(self, tag: str) -> Tag | None:
        """One tag."""
        return await self._read(
            "tag", lambda: next((each for each in self._log.tables.tags() if each.tag == tag), None)
        )

    async def tags(self, *, after: str, limit: int, within: Sequence[str] | None = None) -> Sequence[Tag]:
        """A page of tags."""
        where = PackageFilter(within=within)

        def look() -> Sequence[Tag]:
            tables = self._log.tables
            tags = [each for each in tables.tags() if each.tag > after]
            return [each for each in tags if where.matches_name(tables.package(each.package_id).name)][:limit]

        return await self._read("tags", look)

    async def retention_classes(self) -> Sequence[RetentionClass]:
        """Every added class."""
        return await self._read("retention classes", self._log.tables.retention_classes)

    async def keep_policies(self) -> Sequence[KeepPolicy]:
        """All keep policies."""
        return await self._read("keep policies", self._log.tables.keep_policies)

    async def token(self, name: str) -> StoredToken | None:
        """One token."""
        found = await self.tokens(after="", limit=1 << 30)
        return next((each for each in found if each.grant.name == name), None)

    async def tokens(self, *, after: str, limit: int) -> Sequence[StoredToken]:
        """A page of tokens."""
        return await self._read(
            "tokens", lambda: [each for each in self._log.tables.stored_tokens() if each.grant.name > after][:limit]
        )

    async def token_frame(self) -> TokenFrame:
        """What decides whether a token works."""
        return await self._read("token frame", self._frame)

    def _frame(self) -> TokenFrame:
        times = [each.event.recorded_at_us for each in self._log.events[-1:]]
        seen = [*times, *filter(None, [self._log.tables.observed_clock()])]
        return TokenFrame(self._log.token_store_id, max(seen, default=None))

    async def find_token(self, digest_in: Callable[[str], bytes]) -> tuple[TokenFrame, StoredToken | None]:
        """The token of a digest."""

        def look() -> tuple[TokenFrame, StoredToken | None]:
            frame = self._frame()
            digest = digest_in(frame.store_id)
            return frame, next((each for each in self._log.tables.stored_tokens() if each.digest == digest), None)

        return await self._read("token", look)

    async def adopt_store_id(self, store_id: str) -> None:
        """Take the store id of a backup."""
        self._check_open()
        if not self._log.events:
            self._log.token_store_id = store_id

    async def name_usage(self, *, name: str | None, after: str, limit: int) -> Sequence[NameUsage]:
        """A page of names."""
        where = PackageFilter(name=name)

        def page() -> list[NameUsage]:
            found = self._log.tables.name_usage()
            return [each for each in found if each.name > after and where.matches_name(each.name)][:limit]

        return await self._read("usage", page)

    async def unique_usage(self, package_ids: Sequence[str]) -> UniqueUsage:
        """What only these packages need."""
        return await self._read("unique usage", lambda: self._log.tables.unique_usage(package_ids))

    async def next_group(self, *, name: str | None, after: str) -> Sequence[GroupMember]:
        """The packages of the next name."""
        where = PackageFilter(name=name)
        return await self._read("group", lambda: self._log.tables.next_group(where, after))

    async def group(self, name: str) -> Sequence[GroupMember]:
        """The packages of a name."""
        return await self._read("group", lambda: self._log.tables.group(name))

    async def obstacles(self, package_ids: Sequence[str]) -> Mapping[str, str]:
        """What keeps packages."""
        return await self._read(
            "obstacles", lambda: obstacles(package_ids, self._log.tables.state(obstacle_needs(package_ids)))
        )

    async def holds(self, *, package_id: str | None, after: str, limit: int) -> Sequence[Hold]:
        """A page of holds."""

        def look() -> Sequence[Hold]:
            held = [each for each in self._log.tables.holds() if each.hold_id > after]
            return [each for each in held if package_id in {None, each.package_id}][:limit]

        return await self._read("holds", look)

    async def retained(
        self, *, until_us: int, after: tuple[int, str], limit: int, kept: bool
    ) -> Sequence[RetainedPackage]:
        """A page of packages whose retention ends."""

        def look() -> Sequence[RetainedPackage]:
            found = [each for each in self._log.tables.retained(until_us) if kept or not each.is_kept]
            return [each for each in found if (each.expires_at_us, each.package_id) > after][:limit]

        return await self._read("retained", look)

    async def left_packages(self, *, until_us: int, after: int, limit: int) -> Sequence[LeftPackage]:
        """A page of open packages that nobody touched."""

        def look() -> Sequence[LeftPackage]:
            tables = self._log.tables
            touched = {each.event.subject: each.event.recorded_at_us for each in self._log.events}
            return [
                LeftPackage(each.package_id, each.name, each.version, touched[each.package_id], each.created_sequence)
                for each in tables.packages()
                if each.status == "open" and each.created_sequence > after and not tables.is_kept(each.package_id)
                if touched[each.package_id] <= until_us and not is_permanent(each.retention_class)
            ][:limit]

        return await self._read("left packages", look)

    async def events_of_key(self, idempotency_key: str) -> Sequence[StoredEvent]:
        """The events of the command with a key."""

        def look() -> Sequence[StoredEvent]:
            keyed = {
                each.event.command.command_id
                for each in self._log.events
                if each.event.command.idempotency_key == idempotency_key
            }
            return [each for each in self._log.events if each.event.command.command_id in keyed]

        return await self._read("events of a key", look)

    async def kept_by(self, package_id: str) -> tuple[int, Sequence[Tag]]:
        """What keeps a package."""

        def look() -> tuple[int, Sequence[Tag]]:
            tables = self._log.tables
            protected = [each for each in tables.tags() if each.package_id == package_id and each.protected]
            return tables.retention_sequence(package_id), protected

        return await self._read("kept by", look)

    async def observed_clock(self) -> int | None:
        """The time that was observed last."""

        def look() -> int | None:
            began = [each.event.recorded_at_us for each in self._log.events[:1]]
            return next(iter([*filter(None, [self._log.tables.observed_clock()]), *began]), None)

        return await self._read("clock", look)

    async def metadata_schema(self, name: str, version: int | None = None) -> MetadataSchema | None:
        """A version of a schema."""
        return await self._read("schema", lambda: self._log.tables.schema(name, version))

    async def metadata_schemas(self, *, after: tuple[str, int], limit: int) -> Sequence[MetadataSchema]:
        """A page of schemas."""

        def page() -> list[MetadataSchema]:
            return [each for each in self._log.tables.schemas() if (each.name, each.version) > after][:limit]

        return await self._read("schemas", page)

    async def schema_requirements(self) -> Mapping[str, str]:
        """The required schemas."""
        return await self._read("requirements", self._log.tables.requirements)

    async def _read[T](self, what: str, answer: Callable[[], T]) -> T:
        """Answer from one instant, after a while. A cancelled caller leaves at once."""
        self._check_open()
        fault = self._world.meet(ReadFault, self._life.process, what)
        await self._world.pause()
        if fault is not None:
            self._world.note_struck(fault)
            if fault.kind is ReadFailure.READ_FAILED:
                raise DatabaseUnavailable(NAME, "the connection broke")
            if fault.kind is ReadFailure.READ_CRASHED:
                raise SimulatedBug("in a read")
            await trio.sleep(fault.size * _STALL_S)
        self._check_open()
        found = answer()
        await self._world.pause()
        return found

    def _check_open(self) -> None:
        if not self._life.alive:
            raise DatabaseUnavailable(NAME, "this process was killed")
        if not self._is_open:
            raise DatabaseClosed


def _page_of(locations: Sequence[Location], contents: int) -> list[Location]:
    """Return the objects of the first few contents."""
    addresses = list(dict.fromkeys(at.content_address for at in locations))[:contents]
    return [at for at in locations if at.content_address in addresses]


def _compared(entry: FileRecord | None) -> object:
    return entry and (entry.path, entry.kind, entry.executable, entry.content_address, entry.target)
