"""How to test the DatabaseActor alone: it owns a simulated event store, which can refuse to open."""

import pytest
import trio

from artifactstore.database.actor import DatabaseActor
from artifactstore.supervision import ActorCrashed
from artifactstore.testing import open_actor
from artifactstore_protocols.messages import ProbeDatabase
from simulation.faults import OpenFailure, OpenFault
from simulation.parts import simulated_parts


async def test_it_says_where_the_log_is_and_how_long(autojump_clock: trio.testing.MockClock) -> None:
    async with simulated_parts() as parts, open_actor("database", lambda: DatabaseActor(parts.store)) as harness:
        reading = await harness.ref.ask(ProbeDatabase())
        assert (reading.database, reading.head) == ("simulated", 0)


async def test_a_crash_opens_the_store_anew_however_often_that_fails(autojump_clock: trio.testing.MockClock) -> None:
    refused = OpenFault(OpenFailure.OPEN_REFUSED, 3, 0)  # the first is the fixture's, the second the actor's own
    async with simulated_parts(refused) as parts, open_actor("database", lambda: DatabaseActor(parts.store)) as harness:
        harness.crash_at("before ProbeDatabase")
        with pytest.raises(ActorCrashed):
            await harness.ref.ask(ProbeDatabase())
        await harness.ref.ask(ProbeDatabase())  # waits for the start that succeeds
        assert harness.snapshot.starts == 3
        assert len(harness.crashes) == 2
