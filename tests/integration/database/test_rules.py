"""The rules that always hold, one test each, by the numbers that the design gives them."""

import pytest
from sqlalchemy import delete

from artifactstore.database.bulk import run
from artifactstore.database.database import Database
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.schema import LIVE
from artifactstore.database.state import load_state
from artifactstore.database.store import SqlEventStore
from artifactstore_protocols.commands import ENTRIES_MAX, IngestFiles, OnExisting, RemoveObjects, RetireObjects
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import EVENT_TYPES
from artifactstore_protocols.events import Committed
from artifactstore_protocols.life_cycle import DeletePackage
from artifactstore_protocols.packages import ObjectsNotStored, ProjectionDamaged
from artifactstore_protocols.releasing import RELEASED_MAX, ReleaseEntries
from artifactstore_protocols.state import Needs
from artifactstore_protocols.views import FILES
from command_strategies import (
    address_of,
    created,
    found,
    ingest,
    ingested,
    package_id_of,
    place_of,
)
from database_tools import Scribe, surgery
from simulation.faults import CommitFailure, CommitFault
from simulation.run import simulate
from simulation.workload import Client, CreatePackage, IngestFile, Workload
from story import assert_identical, tell_story

RETIRE = RetireObjects((place_of(b"x"),), "condemned")


async def unused(scribe: Scribe) -> None:
    """A package held `x` once, and holds `yy`."""
    await scribe.tell(created(), ingest(ingested("a", b"x")))
    await scribe.tell(ingest(ingested("a", b"yy"), on_existing=OnExisting.REPLACE))


def test_rule_01_durable_before_acknowledged() -> None:
    """The simulation looks at what the disk would keep if the power failed at the moment of an answer."""
    put = IngestFile(0, 0, 1, 1, breaks_after=9, replace=False, keyed=False)
    client = Client(0, together=False, operations=(CreatePackage(0, keyed=True), put))
    outcome = simulate(1, Workload((client,)))
    outcome.check()
    assert outcome.checks > len(client.operations)


async def test_rule_02_gapless(store: SqlEventStore, scribe: Scribe) -> None:
    await scribe.send(scribe.ask(created()), scribe.ask(created()), scribe.ask(created(2)))
    events = await store.read_events(after=0, limit=9)
    assert [stored.sequence for stored in events] == [1, 2, 3]


@pytest.mark.slow
async def test_rule_03_nothing_is_condemned_or_retired_by_tables_that_disagree(
    location: DatabaseLocation, store: SqlEventStore, scribe: Scribe
) -> None:
    await scribe.tell(created(), ingest(ingested("a", b"x")))
    await surgery(location, delete(LIVE[FILES]))
    orphan = RetireObjects((place_of(b"x", 2),), "orphan")
    for command in (RETIRE, orphan):
        [outcome] = await scribe.send(scribe.ask(command))
        assert isinstance(outcome, ProjectionDamaged)
    await store.replay(rebuild=True)
    assert (await scribe.tell(RETIRE))[0].events == (), "a package refers to it"


async def test_rule_04_a_key_names_one_content_for_ever(scribe: Scribe) -> None:
    await unused(scribe)
    await scribe.tell(RETIRE)
    late, other = ingested("late", b"x"), ingested("other", b"zzz")
    stolen = other._replace(stored=other.stored._replace(place=place_of(b"x")))
    refused, hostile, again = await scribe.send(
        *(scribe.ask(ingest(file)) for file in (late, stolen, ingested("b", b"x", generation=2)))
    )
    assert isinstance(refused, ObjectsNotStored)
    assert refused.next_places == {address_of(b"x"): place_of(b"x", 2)}
    assert isinstance(hostile, InvalidValue)
    assert isinstance(again, Committed)


async def test_rule_05_references_are_checked_at_commit(scribe: Scribe) -> None:
    await unused(scribe)
    without = IngestFiles(package_id_of(1), (ingested("b", b"x").entry,), (), OnExisting.REFUSE)
    [reprieved] = await scribe.tell(without)
    assert [stored.event.type for stored in reprieved.events] == ["v1.objects.reprieved", "v1.files.ingested"]
    await scribe.tell(found((b"x", "damaged")))
    for path, file in (("c", without.entries[0]), ("d", ingested("d", b"never stored").entry)):
        command = IngestFiles(package_id_of(1), (file._replace(path=path),), (), OnExisting.REFUSE)
        [outcome] = await scribe.send(scribe.ask(command))
        assert isinstance(outcome, ObjectsNotStored)


@pytest.mark.slow
async def test_rule_06_retired_before_deleted(scribe: Scribe) -> None:
    await unused(scribe)
    remove = RemoveObjects((place_of(b"x"),))
    outcomes = [(await scribe.send(scribe.ask(command)))[0] for command in (remove, RETIRE, remove)]
    assert [type(outcome) for outcome in outcomes] == [InvalidValue, Committed, Committed]


@pytest.mark.parametrize(
    "failure", [CommitFailure.COMMIT_LATE, CommitFailure.COMMIT_LOST, CommitFailure.COMMIT_UNACKNOWLEDGED]
)
def test_rule_07_an_unknown_outcome_is_never_reported_as_success_or_failure(failure: CommitFailure) -> None:
    client = Client(0, together=False, operations=(CreatePackage(0, keyed=True),))
    outcome = simulate(1, Workload((client,)), (CommitFault(failure, 1, 1),))
    outcome.check()
    assert outcome.struck[failure] == 1


@pytest.mark.slow
async def test_rule_08_bounded(store: SqlEventStore, scribe: Scribe) -> None:
    await tell_story(scribe)
    assert len(await store.read_events(after=0, limit=3)) == 3
    assert len(await store.read_events(after=0, limit=99, bytes_max=1)) == 1
    places = tuple(place_of(b"x", generation) for generation in range(1, 300))
    with pytest.raises(InvalidValue):
        RemoveObjects(places)


@pytest.mark.slow
async def test_rule_08_a_wide_range_of_released_entries_loads_one_entry_too_many(
    database: Database, scribe: Scribe
) -> None:
    """An event from outside can name any range. One entry more than may be released is enough to refuse it."""
    await scribe.tell(created())
    for batch in range(RELEASED_MAX // ENTRIES_MAX + 1):
        files = (ingested(f"{batch}/{number:03}", b"x") for number in range(ENTRIES_MAX))
        await scribe.send(scribe.ask(ingest(*files)), files_per_package_max=2 * RELEASED_MAX)
    needs = Needs(packages=frozenset({package_id_of(1)}), ranges=frozenset({(package_id_of(1), "0/001", "~")}))
    state = await database.read(lambda connection: run(connection, load_state(needs, connection.dialect.name)))
    loaded = sorted(state.packages[package_id_of(1)].entries)
    assert (len(loaded), loaded[0]) == (RELEASED_MAX + 1, "0/001")
    await scribe.tell(DeletePackage(package_id_of(1), "no need"))
    [refused] = await scribe.send(scribe.ask(ReleaseEntries(package_id_of(1), "0/001", "~")))
    assert isinstance(refused, InvalidValue)


@pytest.mark.slow
async def test_rule_09_one_explanation(store: SqlEventStore, scribe: Scribe) -> None:
    await tell_story(scribe)
    events = await store.read_events(after=0, limit=99)
    told = [(stored.event.type, EVENT_TYPES[stored.event.type].describe(stored.decode())) for stored in events]
    condemned = [text for name, text in told if name == "v1.objects.condemned"]
    for rule in ("replaced", "package deleted"):
        assert any(f"by rule {rule!r}" in text for text in condemned), rule
    assert any(place_of(b"gone").object_key in text for name, text in told if name == "v1.objects.removed")
    assert all(stored.event.principal and stored.event.recorded_at_us for stored in events)


@pytest.mark.slow
async def test_rule_10_portable(store: SqlEventStore, scribe: Scribe) -> None:
    """A log in memory gives the same tables, and no event names a path of the machine."""
    memory = await tell_story(scribe)
    assert_identical(await store.replay(rebuild=False), memory)
    assert all(b"/tmp" not in stored.event.payload for stored in await store.read_events(after=0, limit=99))
