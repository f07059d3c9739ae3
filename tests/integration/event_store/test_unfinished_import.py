"""While an import is unfinished, the head takes nothing but its events: from no command, no other log, no process."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from msgspec.structs import replace

from artifactstore_protocols.commands import Command, CreatePackage, RegisterMetadataSchema
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.events import Committed, StoredEvent
from artifactstore_protocols.log_file import LogDiffers
from artifactstore_protocols.unfinished_import import ImportUnfinished
from command_strategies import Ids, created, found, ingest, ingested, package_id_of
from database_tools import Scribe
from event_stores import SimulatedStores, Stores, end_of, log_of, run_of
from memory_log import MemoryLog
from story import tell_story

pytestmark = pytest.mark.slow

PIECE = 3


@pytest.fixture
async def log(nursery: trio.Nursery) -> Sequence[StoredEvent]:
    """A log of every type of event, made elsewhere, whose last command had the key `once`."""
    async with SimulatedStores(nursery).opened() as elsewhere:
        scribe = Scribe(elsewhere)
        await tell_story(scribe)
        await scribe.send(scribe.ask(created(50), key="once"))
        return await log_of(elsewhere)


def another_log(log: Sequence[StoredEvent]) -> list[StoredEvent]:
    """A log that agrees with another one but for the last event."""
    last = log[-1]
    return [*log[:-1], StoredEvent(last.sequence, replace(last.event, event_id=Ids(7000)()))]


def commands() -> list[Command]:
    """What people and programs ask for: an ingest, a verification, a new package, a finalization and a schema."""
    memory = MemoryLog()
    memory.commit(created(2))
    return [
        CreatePackage(package_id_of(77), "new", "standard", {}),
        ingest(ingested("x", b"x"), package=2),
        memory.finalize(package_id_of(2)),
        found((b"x", "damaged"), as_of=0),
        RegisterMetadataSchema("other", '{"type":"object"}'),
    ]


async def refused_to_all(stores: Stores, log: Sequence[StoredEvent], there: int) -> None:
    """From another process, every write but the import's own is refused and leaves no trace."""
    async with stores.opened() as other:
        scribe = Scribe(other)
        ids = Ids(9000)
        outcomes = await scribe.send(*(scribe.ask(command, command_id=ids()) for command in commands()))
        for outcome in outcomes:
            assert isinstance(outcome, ImportUnfinished)
            assert (outcome.head, outcome.end) == (there, len(log))
            assert outcome.command == "take over elsewhere"
        for theirs, held in ((another_log(log), there), (log[:-1], there)):
            for events in ((), tuple(theirs[there : there + 1])):
                with pytest.raises(ImportUnfinished):
                    await other.import_events(events, run_of(theirs, head=held, source="a third log"))
        assert await log_of(other) == tuple(log[:there])
        reading = await other.probe()
        assert reading.head == there
        assert reading.unfinished == run_of(log).until


@pytest.mark.parametrize("step", range(0, 18, PIECE))
async def test_an_import_interrupted_at_any_step_keeps_others_out_until_it_is_finished(
    stores: Stores, log: Sequence[StoredEvent], step: int
) -> None:
    assert len(log) > step
    async with stores.opened() as first:
        await first.import_events((), run_of(log))
        for start in range(0, step, PIECE):
            await first.import_events(tuple(log[start : min(start + PIECE, step)]), run_of(log))
    await refused_to_all(stores, log, step)
    async with stores.opened() as second:
        await second.import_events((), run_of(log, head=step))
        await refused_to_all(stores, log, step)
        assert await second.import_events(tuple(log), run_of(log, head=step)) == len(log) - step
        assert (await second.probe()).unfinished is None
        assert await log_of(second) == tuple(log)
        assert (await second.replay(rebuild=False)).identical
        (outcome,) = await Scribe(second).send(Scribe(second).ask(created(77), command_id=Ids(9000)()))
        assert isinstance(outcome, Committed)


async def test_a_piece_alone_keeps_others_out_too(stores: Stores, log: Sequence[StoredEvent]) -> None:
    """An import that could not begin in time, because somebody wrote, and found the log equal all the same."""
    async with stores.opened() as store:
        await store.import_events(tuple(log[:PIECE]), run_of(log))
        await refused_to_all(stores, log, PIECE)


async def test_a_command_that_is_in_the_log_is_answered_meanwhile(stores: Stores, log: Sequence[StoredEvent]) -> None:
    """Its answer is in the log already: nothing is written."""
    async with stores.opened() as store:
        scribe = Scribe(store)
        first = scribe.ask(created(50), key="once")
        longer = [*log, StoredEvent(len(log) + 1, replace(log[0].event, event_id=Ids(7000)()))]
        await store.import_events(tuple(log), run_of(longer))
        (outcome,) = await scribe.send(first)
        assert isinstance(outcome, Committed)
        assert (outcome.repeated, outcome.events) == (True, (log[-1],))


async def test_a_longer_log_that_holds_the_end_finishes_it(stores: Stores, log: Sequence[StoredEvent]) -> None:
    """A backup that has grown since its restore broke off."""
    begun = log[:-PIECE]
    async with stores.opened() as store:
        await store.import_events((), run_of(begun))
        await store.import_events(tuple(log[:PIECE]), run_of(begun))
        run = run_of(log, head=PIECE, continues=end_of(begun))
        await store.import_events((), run)
        assert (await store.probe()).unfinished == run.until
        with pytest.raises(ImportUnfinished):  # the shorter one is no longer what is to be finished
            await store.import_events(tuple(begun), run_of(begun))
        await store.import_events(tuple(log), run)
        assert (await store.probe()).unfinished is None
        assert await log_of(store) == tuple(log)


async def test_an_import_that_somebody_wrote_before_leaves_the_store_to_them(
    stores: Stores, log: Sequence[StoredEvent]
) -> None:
    async with stores.opened() as store:
        await Scribe(store).tell(created(77))
        await store.import_events((), run_of(log, head=0))
        assert (await store.probe()).unfinished is None
        with pytest.raises(LogDiffers):
            await store.import_events(tuple(log), run_of(log, head=0))
        assert (await store.probe()).unfinished is None


async def test_what_fails_leaves_the_import_unfinished(stores: Stores, log: Sequence[StoredEvent]) -> None:
    async with stores.opened() as store:
        await store.import_events((), run_of(log))
        hole = tuple(log[PIECE:])
        with pytest.raises(LogDiffers):
            await store.import_events(hole, run_of(log))
        await refused_to_all(stores, log, 0)


async def test_replay_repairs_tables_meanwhile(stores: Stores, log: Sequence[StoredEvent]) -> None:
    async with stores.opened() as store:
        await store.import_events(tuple(log[:PIECE]), run_of(log))
        await stores.falsify(package_id_of(1))
        assert (await store.replay(rebuild=True)).repaired_rows == 1
        assert (await store.replay(rebuild=False)).identical
        assert (await store.probe()).unfinished == run_of(log).until


async def test_writers_at_once_are_refused_or_come_before(stores: Stores, log: Sequence[StoredEvent]) -> None:
    """A command and an import race for the head. The log is one of the two, never a mixture."""
    results: list[object] = []

    async def take_over(store: EventStore) -> None:
        try:
            await store.import_events((), run_of(log))
            for start in range(0, len(log), PIECE):
                await store.import_events(tuple(log[start : start + PIECE]), run_of(log))
        except ArtifactStoreError as error:
            results.append(error)

    async with several(stores, 3) as (one, two, three), trio.open_nursery() as nursery:
        nursery.start_soon(take_over, one)
        nursery.start_soon(take_over, two)
        for number in range(5):
            scribe = Scribe(three)
            results += await scribe.send(scribe.ask(created(70 + number), command_id=Ids(9000 + number)()))
    async with stores.opened() as store:
        held = await log_of(store)
        if held[1] == log[1]:
            assert held[: len(log)] == tuple(log)
        else:
            assert not set(held[1:]) & set(log[1:])
        assert (await store.probe()).unfinished is None
        assert (await store.replay(rebuild=False)).identical


@asynccontextmanager
async def several(stores: Stores, count: int) -> AsyncGenerator[list[EventStore]]:
    """Some connections, open."""
    opened = [stores.connect() for _ in range(count)]
    for store in opened:
        await store.open()
    try:
        yield opened
    finally:
        for store in opened:
            await store.close()
