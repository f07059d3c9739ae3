"""The oracles: what must be true of every simulation, whatever goes wrong in it.

Some are held at the moment of an answer: what is acknowledged is in the log and, should the power fail that instant,
on the disk. The others are held against the whole history at its end. What is violated is collected as text; nothing
is raised into the code under test.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import starmap
from typing import Final, cast

import blake3

from artifactstore.database.errors import LogDamaged, OutcomeUnknown
from artifactstore.supervision import CrashReport, Report, StartFailed, SupervisorGaveUp
from artifactstore_protocols.collection import CollectionReport
from artifactstore_protocols.entries import Entry, directory_entry, link_entry
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_types import (
    ENTRIES_RELEASED,
    HOLD_PLACED,
    HOLD_RELEASED,
    LOG_CREATED,
    OBJECTS_CONDEMNED,
    OBJECTS_FLAGGED,
    OBJECTS_REPRIEVED,
    OBJECTS_RESTORED,
    OBJECTS_RETIRED,
    OBJECTS_STORED,
    PACKAGE_DELETED,
    PACKAGE_EXPIRED,
    PACKAGE_FINALIZED,
    RETENTION_CHANGED,
    CommandNoted,
    FilesIngested,
    HoldPlaced,
    PackageCreated,
    PackageDeleted,
    PackageExpired,
    PackageFinalized,
    PayloadInvalid,
    UnknownEventType,
)
from artifactstore_protocols.events import EventRefused, IdempotencyConflict, StoredEvent
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.manifest import manifest_digest
from artifactstore_protocols.object_keys import parse_key
from artifactstore_protocols.packages import ProjectionDamaged
from artifactstore_protocols.records import (
    DirectoryIngest,
    FileRecord,
    FinalizedPackage,
    Hold,
    IngestSummary,
    MetadataSchema,
    PackageRecord,
    ReplayReport,
    VerifyReport,
)
from artifactstore_protocols.root_markers import CollectionRefused
from artifactstore_protocols.storage import ObjectDamaged, ObjectMissing
from artifactstore_protocols.supervision import ActorCrashed, AskCycle, AskError, AskTimeout, Refusal, UnhandledMessage
from simulation.calls import Answer, Call, Ending, StreamBroke
from simulation.contents import CONTENT_OF, EMPTY_IN, LINKS_OF, PATH_OF, TREE_OF
from simulation.faults import ChangeFailure, OpenFailure, PreadFailure, StepFailure, ThreadFailure
from simulation.log import SimulatedLog
from simulation.posix import OBJECTS, SCRATCH, SimulatedPosix
from simulation.tables import Tables
from simulation.watch import Watch
from simulation.workload import (
    Collect,
    CreatePackage,
    DeletePackage,
    Expire,
    Finalize,
    GetFile,
    IngestDirectory,
    IngestFile,
    IngestTree,
    PlaceHold,
    RegisterSchema,
    Replay,
    Tail,
)
from simulation.world import SimulatedBug, World

__all__ = ["Judge", "address_of"]

_NEVER: Final = (
    AskCycle,
    AskTimeout,
    CollectionRefused,
    IdempotencyConflict,
    LogDamaged,
    PayloadInvalid,
    ProjectionDamaged,
    EventRefused,
    UnhandledMessage,
    UnknownEventType,
)
"""Errors that no fault excuses. No fault takes as long as the shortest of the timeouts."""

_BESIDE: Final = frozenset(
    each.name
    for each in (
        LOG_CREATED,
        OBJECTS_CONDEMNED,
        OBJECTS_FLAGGED,
        OBJECTS_REPRIEVED,
        OBJECTS_RESTORED,
        OBJECTS_RETIRED,
        OBJECTS_STORED,
    )
)
"""Events that stand beside the one that a call is about."""

_AFTER_FINALIZED: Final = frozenset(
    each.name
    for each in (
        ENTRIES_RELEASED,
        HOLD_PLACED,
        HOLD_RELEASED,
        PACKAGE_DELETED,
        PACKAGE_EXPIRED,
        RETENTION_CHANGED,
    )
)
"""Events that keep or end a finalized package; nothing else happens to one."""

_MANY: Final = Collect, Expire, IngestDirectory, IngestTree
"""Operations that take several commands."""

_LEAVES_TEMP_FILES: Final = (
    StepFailure.PROCESS_KILLED,
    StepFailure.POWER_LOST,
    ChangeFailure.DISK_FAILED,
    ThreadFailure.THREAD_CRASHED,
)
"""Faults that can strike the removal of a temp file itself; then it is the next life that sweeps."""


def address_of(content: bytes) -> str:
    """Content address of some bytes."""
    return f"blake3:{blake3.blake3(content).hexdigest()}"


class Judge:
    """Holds one simulation to the oracles.

    Attributes:
        violations: what was found, in words.
        checks: how many times something was held to an oracle.
        watch: what it looks at whenever something is committed or deleted.
    """

    def __init__(self, world: World, log: SimulatedLog, posix: SimulatedPosix) -> None:
        self.violations: list[str] = []
        self.checks = 0
        self._world = world
        self._log = log
        self._posix = posix
        self.watch = Watch(world, log, posix, self.require)

    def look_at(self, log: SimulatedLog) -> None:
        """From now on hold another log to the oracles, which has a past."""
        self._log = log
        self.watch = Watch(self._world, log, self._posix, self.require)

    def require(self, condition: bool, *what: object) -> None:
        """Hold one thing to be true."""
        self.checks += 1
        if not condition:
            text = " ".join(map(str, what))
            self.violations.append(text)
            self._world.trace.note("VIOLATION:", text)

    def answered(self, call: Call, answer: Answer) -> None:
        """What was acknowledged is durable, and is what was asked for."""
        match call.operation, answer:
            case CreatePackage(), PackageRecord(package_id=package_id, created_sequence=sequence):
                payload = self._payload(sequence)
                created = isinstance(payload, PackageCreated) and payload.package_id == package_id
                self.require(created, call.principal, "was answered with package", package_id, "that is not in the log")
            case IngestFile(path=path, content=content), FileRecord() as record:
                self._file(call, record, PATH_OF[path], CONTENT_OF[content])
            case IngestDirectory(tree=tree), DirectoryIngest(sequence=sequence):
                self.require(sequence <= self._log.head(), call.principal, "was answered with sequence", sequence)
                self._tree(call.package_id, tree)
            case IngestTree(tree=tree), IngestSummary(package_id=package_id, sequence=sequence, manifest_digest=digest):
                self._finalized(call, sequence, digest)
                self._tree(package_id, tree)
            case Finalize(), FinalizedPackage(sequence=sequence, manifest_digest=digest):
                self._finalized(call, sequence, digest)
            case RegisterSchema(), MetadataSchema(version=version):
                self.require(version > 0, call.principal, "was answered with version", version)
                self._mine(call, 1)
            case GetFile(), (FileRecord() as record, bytes(content)):
                self._read(call, record, content)
            case Tail(), list() as seen:
                self.saw(call.principal, cast("list[StoredEvent]", seen))
            case DeletePackage() | PlaceHold() | Expire() | Collect(), _:
                self._kept_or_ended(call, answer)
            case Replay(), ReplayReport(identical=identical):
                self.require(identical, call.principal, "found views that differ from the log")
            case _, VerifyReport() as report:
                self.verified(report, exact=False)
            case _:
                self.require(answer is not None, call.principal, "was answered with nothing")

    def failed(self, call: Call, error: BaseException) -> Ending:
        """What an error says about the effect of a call; whether it is one that may come at all."""
        if isinstance(error, ActorCrashed):
            self.require(isinstance(error.cause, SimulatedBug), call.principal, "met a crash:", repr(error.cause))
        excused = isinstance(error, Refusal | SimulatedBug | StreamBroke) and not isinstance(error, _NEVER)
        unclaimed = isinstance(error, CollectionRefused) and error.code == "root-unclaimed"
        excused |= unclaimed and any(self._world.struck[kind] for kind in ChangeFailure)  # it could not be claimed
        self.require(excused, call.principal, "was refused with", repr(error))
        if isinstance(error, ObjectDamaged | ObjectMissing):
            spoilt = (
                error.object_key in self._posix.harmed_once
                or self._world.struck[PreadFailure.BYTES_UNREADABLE] > 0
                or self.watch.state_of(error.object_key) in {"retired", "removed"}
            )
            self.require(spoilt, call.principal, "was told that a sound object is not:", error)
        if isinstance(error, AskError):
            return Ending.UNKNOWN if error.may_have_taken_effect else Ending.REFUSED
        known = isinstance(error, ArtifactStoreError | StreamBroke) and not isinstance(error, OutcomeUnknown)
        return Ending.REFUSED if known else Ending.UNKNOWN

    def repeated(self, call: Call, first: Answer, again: Answer) -> None:
        """A call that is repeated with its key gets its first answer, unless nothing had to be written for that."""
        match first, again:
            case PackageRecord(package_id=before), PackageRecord(package_id=after):
                self.require(before == after, call.principal, "made package", before, "and then", after)
            case IngestSummary(manifest_digest=before), IngestSummary(manifest_digest=after):
                self.require(before == after, call.principal, "finalized", before, "and then", after)
            case MetadataSchema(version=before), MetadataSchema(version=after):
                self.require(before == after, call.principal, "registered", before, "and then", after)
            case Hold(hold_id=before), Hold(hold_id=after):
                self.require(before == after, call.principal, "placed hold", before, "and then", after)
            case FileRecord(sequence=before), FileRecord(sequence=after):
                same = before == after or self._log.events[before - 1].event.principal != call.principal
                self.require(same, call.principal, "put a file at", before, "and then at", after)
            case _:
                wrote = any(stored.event.principal == call.principal for stored in self._log.events)
                gone = self.watch.is_gone(call.package_id) or not call.package_id
                self.require(again is not None or not wrote or gone, call.principal, "was answered, and then was not")

    def reported(self, report: Report) -> None:
        """Actors crash for no other reason than a fault."""
        if isinstance(report, CrashReport):
            cause = report.cause
            while isinstance(cause, SupervisorGaveUp | StartFailed) and cause.cause is not None:
                cause = cause.cause
            excused = isinstance(cause, SimulatedBug) or self._world.struck[OpenFailure.OPEN_REFUSED] > 0
            self.require(excused, report.path, "crashed:", repr(cause))

    def saw(self, who: str, events: Sequence[StoredEvent]) -> None:
        """A tail from the start has every event once, in order, as the log has it."""
        self.require(list(events) == self._log.events[: len(events)], who, "saw", [each.sequence for each in events])

    def verified(self, report: VerifyReport, *, exact: bool) -> None:
        """A verification names what faults have spoilt, and nothing else."""
        named = {flaw.content_address for flaw in (*report.mismatches, *report.missing)}
        if exact:
            stored = self._log.tables.locations(None)
            expected = {at.content_address for at in stored if self._posix.is_harmed(at.object_key)}
            self.require(named == expected, "verification named", named, "and should have named", expected)
        elif not self._world.struck[PreadFailure.BYTES_UNREADABLE]:
            harmed = {str(parse_key(key)[0]) for key in self._posix.harmed_once}
            self.require(named <= harmed, "verification named sound objects:", named)
        self.require(not report.manifest_mismatches, "manifests differ:", report.manifest_mismatches)
        self.require(not report.row_flaws, "rows break rules:", report.row_flaws)

    def tidy(self) -> None:
        """Nothing is left over when every process has ended in order."""
        self.require(self._posix.open_files() == 0, "open files:", self._posix.open_files())
        self.require(self._log.head_is_free(), "the head of the log is locked")
        if not any(self._world.struck[kind] for kind in _LEAVES_TEMP_FILES):
            temporary = [path for path, _ in self._posix.disk.files(f"{OBJECTS}/{SCRATCH}")]
            self.require(not temporary, "temp files:", temporary)

    def head(self) -> int:
        """The last sequence of the log."""
        return self._log.head()

    def flagged(self) -> frozenset[ContentAddress]:
        """Objects that are known to be spoilt."""
        return frozenset(self._log.tables.flagged())

    def history(self, calls: Iterable[Call]) -> None:
        """What must be true of the log once everything is over."""
        events = self._log.events
        sequences = [stored.sequence for stored in events]
        self.require(sequences == list(range(1, len(events) + 1)), "sequences are", sequences)
        ids = Counter(stored.event.event_id for stored in events)
        self.require(
            len(ids) == len(events), "event ids come twice:", [each for each, count in ids.items() if count > 1]
        )
        try:
            built = Tables.built_from(events).digest()
        except EventRefused as refused:
            self.require(False, "the log breaks a rule:", refused)
        else:
            self.require(built == self._log.tables.digest(), "a replay differs from the views")
        by_actor: defaultdict[str, int] = defaultdict(int)
        for stored in events:
            if stored.event.type not in _BESIDE:
                by_actor[stored.event.principal] += 1
        self._finalized_for_ever()
        for call in calls:
            if not isinstance(call.operation, _MANY):
                written = by_actor[call.principal]
                self.require(written <= 1, call.principal, "took effect", written, "times")
                if call.ending is Ending.REFUSED:
                    self.require(written == 0, call.principal, "was refused, and is in the log")

    def stored(self) -> None:
        """Every object that a file names is there with its bytes, unless a fault spoilt it."""
        for file in self._log.tables.all_files():
            if file.kind == "file":
                self._durable(file.content_address, "a file of the log")

    def _finalized_for_ever(self) -> None:
        finalized: set[str] = set()
        for stored in self._log.events:
            keeps = stored.event.subject not in finalized or stored.event.type in _AFTER_FINALIZED
            self.require(keeps, "sequence", stored.sequence, "changes a finalized package")
            if stored.event.type == PACKAGE_FINALIZED.name:
                finalized.add(stored.event.subject)

    def _read(self, call: Call, record: FileRecord, content: bytes) -> None:
        """What was read is what some event has put at that path: the last before the call began, or a later one."""
        at_path = [
            (sequence, address)
            for sequence, package_id, path, address in self._entries()
            if (package_id, path) == (record.package_id, record.path)
        ]
        began = max((sequence for sequence, _ in at_path if sequence <= call.began_at), default=0)
        current = {address for sequence, address in at_path if sequence >= began}
        self.require(address_of(content) in current, call.principal, "was given other bytes than were put there")
        self.require(record.sequence >= began, call.principal, "was shown sequence", record.sequence, "after", began)

    def _entries(self) -> list[tuple[int, str, str, str]]:
        """Every file that was ever put anywhere: sequence, package, path and content address."""
        return [
            (stored.sequence, payload.package_id, entry.path, f"{payload.digest_algorithm}:{entry.digest.hex()}")
            for stored in self._log.events
            if isinstance(payload := stored.decode(), FilesIngested)
            for entry in payload.entries
            if entry.kind == "file"
        ]

    def _others_in(self, package_id: str) -> set[Entry]:
        """Every link and empty directory that was ever put into a package."""
        return {
            entry
            for stored in self._log.events
            if isinstance(payload := stored.decode(), FilesIngested) and payload.package_id == package_id
            for entry in payload.entries
            if entry.kind != "file"
        }

    def _kept_or_ended(self, call: Call, answer: Answer) -> None:
        """What is kept or ended is so by an event; and a collection deletes what it set out to."""
        match call.operation, answer:
            case DeletePackage(), PackageRecord(gone_sequence=int(sequence)):
                gone = self._payload(sequence)
                is_mine = isinstance(gone, PackageDeleted | PackageExpired) and gone.package_id == call.package_id
                self.require(is_mine, call.principal, "was told of the end of a package that is not in the log")
            case PlaceHold(), Hold(hold_id=hold_id, sequence=sequence):
                held = self._payload(sequence)
                placed = isinstance(held, HoldPlaced) and held.hold_id == hold_id
                self.require(placed, call.principal, "was answered with a hold that is not in the log")
            case Expire(), list() as expired:
                went = all(isinstance(self._payload(each.sequence or 0), PackageExpired) for each in expired)
                self.require(went, call.principal, "was told of an expiry that is not in the log")
            case Collect(), CollectionReport(failures=failures):
                struck = any(self._world.struck[kind] for kind in ChangeFailure)
                self.require(not failures or struck, call.principal, "failed to delete:", failures)
            case _:
                self.require(False, call.principal, "was answered with", answer)

    def _payload(self, sequence: int) -> object:
        events = self._log.events
        return events[sequence - 1].decode() if 0 < sequence <= len(events) else None

    def _mine(self, call: Call, count: int) -> None:
        found = sum(
            stored.event.principal == call.principal and stored.event.type not in _BESIDE for stored in self._log.events
        )
        self.require(found == count, call.principal, "was answered, and has", found, "events")

    def _file(self, call: Call, record: FileRecord, path: str, content: bytes) -> None:
        address = address_of(content)
        sequence = record.sequence
        if isinstance(self._payload(sequence), CommandNoted):  # the file was there, and has been replaced since
            entries = (
                each for each in self._entries() if each[0] < sequence and each[1:] == (call.package_id, path, address)
            )
            sequence = max((each[0] for each in entries), default=0)
        there = (sequence, call.package_id, path, address) in self._entries()
        self.require(there, call.principal, "was answered with", record, "that is not in the log")
        self._durable(address, call.principal)

    def _tree(self, package_id: str, tree: int) -> None:
        found = {(path, address) for _sequence, owner, path, address in self._entries() if owner == package_id}
        wanted = {(path, address_of(content)) for path, content in TREE_OF[tree].items()}
        self.require(wanted <= found, "of a directory in", package_id, "these are not in the log:", wanted - found)
        others = {*starmap(link_entry, LINKS_OF[tree].items()), *map(directory_entry, EMPTY_IN[tree])}
        lost = others - self._others_in(package_id)
        self.require(not lost, "of a directory in", package_id, "these are not in the log:", lost)
        for _, address in sorted(wanted):
            self._durable(address, "a directory")

    def _finalized(self, call: Call, sequence: int, digest: str) -> None:
        payload = self._payload(sequence)
        finalized = (
            isinstance(payload, PackageFinalized) and str(ContentAddress(manifest_digest(payload.manifest))) == digest
        )
        self.require(finalized, call.principal, "was answered with a finalization that is not in the log")

    def _durable(self, address: str, who: str) -> None:
        self.watch.must_be_safe(bytes.fromhex(address.partition(":")[2]), who)
