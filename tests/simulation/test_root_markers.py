"""A clone and a rewound database on one root: whatever they do in any order, one store collects, and never earlier.

The databases are models; the marker on disk and all decisions are the real ones.
"""

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.backends.root_marker import read_marker, update_marker
from artifactstore_protocols.root_markers import CollectionRefused, RootMarker, claimed, collecting, collection_refusal

STORE = "0198f3a0-7c00-4000-8000-{:012}"


def event_id_of(name: str) -> str:
    """The id of the event that stored an object."""
    return f"0198f3a0-7c00-7000-8000-{int(name.removeprefix('object ')):012}"


@dataclass(frozen=True)
class Database:
    """A log, as a list of the objects that each event needs, and the id of what keeps it."""

    store_id: str
    log: tuple[str, ...] = ()


@dataclass
class World:
    """Databases that know one root, and the collections that there were."""

    root: Path
    databases: list[Database] = field(default_factory=lambda: [Database(STORE.format(0))])
    objects: set[str] = field(default_factory=set[str])
    collections: list[Database] = field(default_factory=list[Database])
    refusals: set[str] = field(default_factory=set[str])
    stored: int = 0

    def act(self, what: str, number: int) -> None:
        at = number % len(self.databases)
        database = self.databases[at]
        match what:
            case "open":
                update_marker(self.root, partial(claimed, database.store_id, writes=False))
            case "ingest":
                self.stored += 1
                self.objects.add(name := f"object {self.stored}")
                self.databases[at] = dataclasses.replace(database, log=(*database.log, name))
            case "clone":  # its log is imported, or its backup restored, into a new database
                self.databases.append(Database(STORE.format(len(self.databases)), database.log))
            case "rewind":  # an earlier copy of the database is put back
                self.databases[at] = dataclasses.replace(database, log=database.log[: number % (len(database.log) + 1)])
            case _:
                self.collect(database)

    def collect(self, database: Database) -> None:
        """As a collector does: decide, note the head, and delete what its log does not need."""
        known = {number: event_id_of(name) for number, name in enumerate(database.log, 1)}
        try:
            update_marker(self.root, partial(collecting, database.store_id, known))
        except CollectionRefused as refusal:
            self.refusals.add(refusal.code)
            return
        self.collections.append(database)
        self.objects &= set(database.log)


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["open", "ingest", "clone", "rewind", "collect"]), st.integers(0, 7)), max_size=30
)


@pytest.mark.slow
@given(actions=ACTIONS)
def test_one_store_collects_and_never_at_an_earlier_head(actions: list[tuple[str, int]]) -> None:
    with TemporaryDirectory() as directory:
        world = World(Path(directory))
        for what, number in actions:
            world.act(what, number)
            marker = read_marker(world.root)
            if world.collections:
                latest = world.collections[-1]
                last = event_id_of(latest.log[-1]) if latest.log else ""
                assert marker == RootMarker(latest.store_id, len(latest.log), last)
                assert {each.store_id for each in world.collections} == {latest.store_id}
                for earlier, later in pairwise(world.collections):
                    assert later.log[: len(earlier.log)] == earlier.log
                assert set(latest.log) <= world.objects  # nothing that the collector's log needs is gone


def test_a_clone_deletes_nothing_of_the_store_that_it_was_made_of(tmp_path: Path) -> None:
    world = World(tmp_path)
    for what, number in (("open", 0), ("ingest", 0), ("clone", 0), ("ingest", 0), ("open", 1), ("collect", 1)):
        world.act(what, number)
    assert world.refusals == {"root-of-another-store"}
    assert world.objects == {"object 1", "object 2"}


def test_a_rewound_database_deletes_nothing_of_what_it_has_forgotten(tmp_path: Path) -> None:
    world = World(tmp_path)
    for what, number in (("open", 0), ("ingest", 0), ("ingest", 0), ("collect", 0), ("rewind", 1), ("collect", 0)):
        world.act(what, number)
    assert len(world.databases[0].log) == 1
    for what in ("ingest", "collect", "ingest", "collect"):  # its log becomes as long as it was, and longer
        world.act(what, 0)
    assert world.refusals == {"store-rewound"}
    assert len(world.objects) == 4


def test_a_root_that_nobody_claimed_is_nobodys_to_collect_in(tmp_path: Path) -> None:
    refusal = collection_refusal(STORE.format(0), 3, read_marker(tmp_path), None)
    assert isinstance(refusal, CollectionRefused)
    assert refusal.code == "root-unclaimed"
