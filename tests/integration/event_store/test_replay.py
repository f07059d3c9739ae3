"""What every event store promises about its views: they are what the log implies, and a replay repairs them."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from artifactstore_protocols.commands import CommandRequest
from artifactstore_protocols.event_store import EventStore
from command_strategies import Step, package_id_of, steps
from database_tools import Scribe
from event_stores import Stores, log_of
from memory_log import MemoryLog
from story import STORY, assert_identical, tell_story


@pytest.mark.slow
async def test_an_empty_log_replays_to_empty_views(store: EventStore) -> None:
    for rebuild in (False, True):
        report = await store.replay(rebuild=rebuild)
        assert report.identical
        assert (report.events, report.sequence, report.repaired_rows) == (0, 0, 0)


@pytest.mark.slow
async def test_replays_repeat_on_the_same_connections(store: EventStore, scribe: Scribe) -> None:
    """A database's temporary tables are gone each time, and prepared statements outlive them."""
    memory = await tell_story(scribe)
    for rebuild in (False, True, False, True, True, False):
        report = await store.replay(rebuild=rebuild)
        assert_identical(report, memory)
        assert report.repaired_rows == 0


# A shrinking search over a database would take minutes; the laws of decisions and views are shrunk in memory.
@pytest.mark.slow
@settings(max_examples=8, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=steps())
async def test_any_run_of_commands_keeps_views_equal_to_replay(stores: Stores, story: list[Step]) -> None:
    async with stores.opened() as store:
        await stores.empty()
    async with stores.opened() as store:
        memory = await tell_story(Scribe(store), story)
        assert_identical(await store.replay(rebuild=False), memory)
        payloads = [stored.event.payload for stored in await log_of(store)]
        assert payloads == [stored.event.payload for stored in memory.events]


async def test_one_batch_writes_what_single_commands_write(store: EventStore, scribe: Scribe) -> None:
    """Operations of a batch are folded, which must not show."""
    memory = MemoryLog()
    requests: list[CommandRequest] = []
    for step in STORY:
        command = memory.command(step)
        memory.commit(command)
        requests.append(scribe.ask(command))
    await scribe.send(*requests)
    assert_identical(await store.replay(rebuild=False), memory)


@pytest.mark.slow
async def test_a_row_that_no_event_put_there_is_found_and_repaired(
    stores: Stores, store: EventStore, scribe: Scribe
) -> None:
    memory = await tell_story(scribe)
    before = await store.replay(rebuild=False)
    await stores.falsify(package_id_of(1))
    assert (await store.package(package_id_of(1))).version == 99
    found = await store.replay(rebuild=False)
    assert not found.identical
    assert (found.projection_digest, found.repaired_rows) == (before.projection_digest, 0)
    assert found.live_digest != before.live_digest
    repaired = await store.replay(rebuild=True)
    assert_identical(repaired, memory)
    assert repaired.repaired_rows == 1
    assert_identical(await store.replay(rebuild=False), memory)
