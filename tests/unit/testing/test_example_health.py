"""How to test the HealthActor alone: probes where database and storage would be, slow or unwell as the test says."""

import trio

from artifactstore.database.actor import DatabaseActor
from artifactstore.database.errors import DatabaseUnavailable
from artifactstore.health import HealthActor
from artifactstore.probes import probe_actor, probe_database, probe_storage
from artifactstore.storage import StorageActor
from artifactstore.testing import Probe, open_actor
from artifactstore_protocols.messages import (
    DatabaseReading,
    DatabaseRole,
    GetHealth,
    ProbeDatabase,
    ProbeStorage,
    StorageRole,
)
from artifactstore_protocols.storage import BackendHealth

ROOM = BackendHealth("local", 1 << 40, 1 << 39, None, 0.001, None)


def health(database: Probe[DatabaseRole], storage: Probe[StorageRole]) -> HealthActor:
    return HealthActor(
        {"database": probe_database(database.ref), "storage": probe_storage(storage.ref)},
        {"actor:storage": probe_actor(storage.ref)},
    )


async def test_a_report_is_made_of_what_was_measured(autojump_clock: trio.testing.MockClock) -> None:
    database, storage = Probe(DatabaseActor, "database"), Probe(StorageActor, "storage")
    database.answer(ProbeDatabase, lambda _: DatabaseReading("simulated", 7, None))
    storage.answer(ProbeStorage, lambda _: (ROOM,))
    async with open_actor("health", lambda: health(database, storage), database, storage) as harness:
        report = await harness.ref.ask(GetHealth(0))
        details = {part.name: part.details for part in report.components}
        assert report.healthy
        assert details["database"]["head"] == 7
        assert details["storage"]["local_free_bytes"] == 1 << 39


async def test_a_part_that_does_not_answer_is_unwell_and_the_others_are_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    database, storage = Probe(DatabaseActor, "database"), Probe(StorageActor, "storage")
    storage.answer(ProbeStorage, lambda _: (ROOM,))
    async with open_actor("health", lambda: health(database, storage), database, storage) as harness:
        report = await harness.ref.ask(GetHealth(0))
        assert [part.name for part in report.components if not part.healthy] == ["database"]
        database.expect_nothing()


async def test_what_a_part_refuses_is_the_reason(autojump_clock: trio.testing.MockClock) -> None:
    database, storage = Probe(DatabaseActor, "database"), Probe(StorageActor, "storage")
    storage.answer(ProbeStorage, lambda _: (ROOM,))

    def is_gone(_: ProbeDatabase) -> object:
        raise DatabaseUnavailable("simulated", "it is gone")

    database.answer(ProbeDatabase, is_gone)
    async with open_actor("health", lambda: health(database, storage), database, storage) as harness:
        report = await harness.ref.ask(GetHealth(0))
        assert not report.healthy
        assert any("it is gone" in reason for reason in report.reasons)
