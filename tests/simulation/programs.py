"""Programs over the pure rules: ingests, collectors, holds, keep policies, purges, deaths and restores, interleaved.

A program is a list of numbers, so a test can draw it, and shrink it. What a commit makes true is decided by the real
rules; the disk is a set of places. An ingest first puts its bytes, and then commits. A collector reads, commits,
deletes and commits again, and what it has read may be old by then. What the dead have asked for may land later.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from artifactstore_protocols import admission, collection
from artifactstore_protocols.commands import OnExisting, RemoveObjects, RetireObjects, SetKeepPolicy
from artifactstore_protocols.entries import Place
from artifactstore_protocols.event_types import ObjectsRetired
from artifactstore_protocols.event_types.objects_retired import CONDEMNED, ORPHAN
from artifactstore_protocols.keep_policies import ApplyKeepPolicies
from artifactstore_protocols.keep_rules import KeepRules
from artifactstore_protocols.life_cycle import ABANDONED, DeletePackage, ExpirePackage, PlaceHold, ReleaseHold
from artifactstore_protocols.object_keys import parse_key
from artifactstore_protocols.packages import ObjectsNotStored
from artifactstore_protocols.purging import PurgeContents
from artifactstore_protocols.releasing import ReleaseEntries
from artifactstore_protocols.state import LogState, ObjectState
from artifactstore_protocols.storage import ListedObject
from command_strategies import BACKEND_ID, Create, ingest, ingested, package_id_of, place_of, stored_object
from memory_log import MemoryLog

__all__ = ["STEPS_MAX", "run"]

STEPS_MAX: Final = 1 << 16
"""Each number of a program is below this."""

_CONTENTS: Final = (b"x", b"yy")
_PATHS: Final = ("a", "b")
_INGESTS: Final = 3
_COLLECTORS: Final = 2
_LATEST: Final = 3
_YEARS_US: Final = 1 << 50
_FINALIZED_EVERY: Final = 4
_PURGED_EVERY: Final = 8
"""Only so many of the steps that could finalize or purge do: after them, a program has less to fill and to store."""


@dataclass
class Ingest:
    """One file on its way into a package: its bytes are put, and then it is committed."""

    package: int
    path: str
    content: bytes
    generation: int = 1
    is_put: bool = False

    @property
    def place(self) -> Place:
        """Where it puts its bytes."""
        return place_of(self.content, self.generation)


@dataclass
class Collector:
    """What a collector does next, and the places that it does it to."""

    does: str = "look"
    places: Sequence[Place] = ()


@dataclass
class Store:
    """Everything.

    Attributes:
        log: what is committed.
        disk: the places that have bytes.
        ingests: those that run; None where none does.
        collectors: what each of them does next.
        late: calls of the dead that have not landed yet: whether it is a put, and the place.
        packages: how many there were.
        holds: the package of each hold, by the hold's number.
        finalized: the packages that were finalized, the first one first.
        purged: the contents that were purged.
    """

    log: MemoryLog = field(default_factory=MemoryLog)
    disk: set[Place] = field(default_factory=set[Place])
    ingests: list[Ingest | None] = field(default_factory=lambda: [None] * _INGESTS)
    collectors: list[Collector] = field(default_factory=lambda: [Collector() for _ in range(_COLLECTORS)])
    late: list[tuple[bool, Place]] = field(default_factory=list[tuple[bool, Place]])
    packages: int = 0
    holds: dict[int, int] = field(default_factory=dict[int, int])
    finalized: list[int] = field(default_factory=list[int])
    purged: set[bytes] = field(default_factory=set[bytes])

    def step(self, number: int) -> None:
        """Take the step that a number stands for, if there is one to take."""
        what, rest = number % len(_ACTIONS), number // len(_ACTIONS)
        _ACTIONS[what](self, rest)
        self.check()

    def create(self, _rest: int) -> None:
        """Make a package, unless there are several to fill."""
        if sum(not self._is_gone(number) for number in range(1, self.packages + 1)) < _LATEST:
            self.packages += 1
            assert self.log.ask(Create(self.packages, "short", {})) is None

    def ingest(self, rest: int) -> None:
        """Begin an ingest, or take its next step."""
        at, rest = rest % _INGESTS, rest // _INGESTS
        running = self.ingests[at]
        if running is None:
            there = [number for number in range(1, self.packages + 1) if not self._is_gone(number)]
            if there:
                package = there[rest // 8 % len(there)]
                self.ingests[at] = Ingest(package, _PATHS[rest % 2], _CONTENTS[rest // 2 % 4 == 0])
        elif running.is_put:
            file = ingested(running.path, running.content, generation=running.generation)
            before = len(self.log.events)
            refusal = self.log.commit(ingest(file, package=running.package, on_existing=OnExisting.REPLACE))
            is_new = refusal is None and len(self.log.events) > before
            assert not is_new or running.content not in self.purged, "a purged content is back"
            if isinstance(refusal, ObjectsNotStored):
                [place] = refusal.next_places.values()
                running.generation, running.is_put = parse_key(place.object_key)[1], False
            else:
                self.ingests[at] = None
        else:
            self.disk.add(running.place)
            running.is_put = True

    def collect(self, rest: int) -> None:
        """Take the next step of a collector."""
        at, rest = rest % _COLLECTORS, rest // _COLLECTORS
        self.collectors[at] = self._collected(self.collectors[at], rest)

    def _collected(self, collector: Collector, rest: int) -> Collector:
        places = collector.places
        match collector.does:
            case "look":
                return self._looked(rest % 4)
            case "sort":
                now = self._states()
                states: dict[Place, ObjectState] = {place: now[place] for place in places if place in now}
                listed = [ListedObject(place.object_key, 1, 1.0) for place in places]
                found = collection.sort_listed(BACKEND_ID, listed, states, 0.0)
                if rest % 2:
                    return Collector("retire orphans", tuple(place for place, _size in found.orphans))
                return Collector("delete", tuple(place for place, _size in (*found.retired, *found.late)))
            case "retire" | "retire orphans":
                return Collector("delete", self.retire(places, ORPHAN if "orphans" in collector.does else CONDEMNED))
            case "delete":
                self.disk -= set(places)
                return Collector("remove", places)
            case _:
                if places:
                    self.log.commit(RemoveObjects(tuple(places)))
                return Collector()

    def _looked(self, rest: int) -> Collector:
        states = self._states()
        match rest:
            case 0:
                for package_id, package in sorted(self.log.state.packages.items()):
                    if package.gone is not None and package.entries:
                        keys = sorted(package.entries)
                        assert self.log.commit(ReleaseEntries(package_id, keys[0], keys[-1])) is None
                return Collector()
            case 1:
                return Collector("retire", tuple(place for place, state in states.items() if state == "condemned"))
            case 2:
                return Collector("delete", tuple(place for place, state in states.items() if state == "retired"))
            case _:
                return Collector("sort", tuple(sorted(self.disk)))

    def retire(self, places: Sequence[Place], cause: str) -> Sequence[Place]:
        """Retire places; return those that were retired."""
        before = len(self.log.events)
        if places:
            assert self.log.commit(RetireObjects(tuple(places), cause)) is None
        payloads = [stored.decode() for stored in self.log.events[before:]]
        return [place for each in payloads if isinstance(each, ObjectsRetired) for place in each.objects]

    def die(self, rest: int) -> None:
        """An ingest or a collector dies; what it was about to do to the disk may land later."""
        at = rest % (_INGESTS + _COLLECTORS)
        if at < _INGESTS:
            running, self.ingests[at] = self.ingests[at], None
            if running is not None and not running.is_put:
                self.late.append((True, running.place))
        else:
            collector = self.collectors[at - _INGESTS]
            if collector.does == "delete":
                self.late += ((False, place) for place in collector.places)
            self.collectors[at - _INGESTS] = Collector()

    def land(self, rest: int) -> None:
        """A call of the dead lands."""
        if self.late:
            is_put, place = self.late.pop(rest % len(self.late))
            (self.disk.add if is_put else self.disk.discard)(place)

    def end(self, rest: int) -> None:
        """Delete a package, or let it expire."""
        if self.packages:
            number = self._package(rest // 2)
            package_id = package_id_of(number)
            version = self.log.state.packages[package_id].version
            expire = ExpirePackage(package_id, ABANDONED, _YEARS_US, version)
            self.log.commit(expire if rest % 2 else DeletePackage(package_id, "a test", before_expiry=True))
            assert number not in self.holds.values() or not self._is_gone(number)

    def hold(self, rest: int) -> None:
        """Place a hold."""
        if self.packages:
            number = len(self.log.events)
            package = self._package(rest)
            if self.log.commit(PlaceHold(package_id_of(1000 + number), package_id_of(package), "a case")) is None:
                self.holds[number] = package

    def _package(self, rest: int) -> int:
        """One of the latest packages."""
        return self.packages - rest % min(self.packages, _LATEST)

    def release(self, rest: int) -> None:
        """Release a hold."""
        if self.holds:
            number = sorted(self.holds)[rest % len(self.holds)]
            assert self.log.commit(ReleaseHold(package_id_of(1000 + number))) is None
            del self.holds[number]

    def finalize(self, rest: int) -> None:
        """Finalize a package now and then, unless a content of it was purged."""
        if self.packages and rest % _FINALIZED_EVERY == 0:
            number = self._package(rest // _FINALIZED_EVERY)
            if self.log.commit(self.log.finalize(package_id_of(number))) is None and number not in self.finalized:
                self.finalized.append(number)

    def keep(self, rest: int) -> None:
        """Apply a keep policy: of the finalized packages, all but the last ones go, and those under a hold stay."""
        last, there = 1 + rest % 2, [number for number in self.finalized if not self._is_gone(number)]
        if there:
            assert self.log.commit(SetKeepPolicy("nightly", KeepRules(last=last))) is None
            chosen = tuple(map(package_id_of, there))
            assert self.log.commit(ApplyKeepPolicies("nightly", "nightly", chosen, _YEARS_US)) is None
            stay = {number for number in there if number in there[-last:] or number in self.holds.values()}
            assert {number for number in there if not self._is_gone(number)} == stay

    def purge(self, rest: int) -> None:
        """Purge a content, now and then."""
        if rest % _PURGED_EVERY == 0:
            content = _CONTENTS[rest // _PURGED_EVERY % 2]
            if self.log.commit(PurgeContents((stored_object(content).digest,), "leaked")) is None:
                self.purged.add(content)

    def restore(self, _rest: int) -> None:
        """The log is imported into a new database."""
        restored, state = MemoryLog(), LogState()
        for stored in self.log.events:
            restored.views.apply(admission.admit(admission.examine(stored), state))
        restored.views.count_totals()
        restored.events = self.log.events
        restored.state = restored.views.state(events=restored.events)
        self.log = restored

    def check(self) -> None:
        """What is referred to is there, unless it was purged; it is live, and nothing else; what is held is there."""
        entries = (entry for package in self.log.state.packages.values() for entry in package.entries.values())
        referred = {entry.digest for entry in entries}
        current: dict[bytes, list[Place]] = {}
        for digest, places in self.log.state.objects.items():
            for place, held in places.items():
                if held.is_current:
                    current.setdefault(digest, []).append(place)
                    assert (held.state == "live") == (digest in referred), (place, held)
        purged = {stored_object(content).digest for content in self.purged}
        assert purged.isdisjoint(current), "a purged content is there"
        for digest in referred - purged:
            assert any(place in self.disk for place in current.get(digest, ())), "bytes are lost"
        for package in self.holds.values():
            assert not self._is_gone(package)

    def finish(self) -> None:
        """Once everybody has died and two collections have run, the disk has what is referred to, and no more."""
        self.ingests = [None] * _INGESTS
        while self.late:
            self.land(0)
        for _ in range(2):
            for rest in (0, 1, 2, 3):
                for odd in (0, 1):
                    collector = self._looked(rest)
                    while collector.does != "look":
                        collector = self._collected(collector, odd)
                        self.check()
        live = {place for place, state in self._states().items() if state == "live"}
        assert self.disk == live, "more is left than what is referred to"

    def _is_gone(self, number: int) -> bool:
        return self.log.state.packages[package_id_of(number)].gone is not None

    def _states(self) -> dict[Place, ObjectState]:
        objects = self.log.state.objects
        return {place: held.state for digest in sorted(objects) for place, held in sorted(objects[digest].items())}


_ACTIONS: Final[tuple[Callable[[Store, int], None], ...]] = (
    *[Store.create] * 2,
    *[Store.ingest] * 8,
    *[Store.collect] * 10,
    *[Store.end] * 2,
    Store.hold,
    *[Store.release] * 2,
    Store.finalize,
    Store.keep,
    Store.purge,
    Store.die,
    Store.land,
    Store.restore,
)


def run(program: Sequence[int]) -> Store:
    """Run a program, and hold every step and the end to what must be true."""
    store = Store()
    for number in program:
        store.step(number)
    store.finish()
    return store
