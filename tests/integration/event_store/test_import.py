"""Taking over another log's events: as they are, once, in order, with the rows that they imply; or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import trio
from msgspec.structs import replace

from artifactstore_protocols.commands import FinalizePackage
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.event_types import EVENT_TYPES, PACKAGE_FINALIZED, UnknownEventType
from artifactstore_protocols.events import Committed, StoredEvent
from artifactstore_protocols.log_file import LogDiffers
from command_strategies import Ids, created
from database_tools import Scribe
from event_stores import SimulatedStores, log_of, run_of
from story import tell_story

_SOURCE = "elsewhere"


@dataclass(frozen=True, slots=True)
class Origin:
    """A log of every type of event, made elsewhere, and the digest of its projection.

    Its fifth and sixth event are of one command, and its last one is of a command with the key `once`.
    """

    log: Sequence[StoredEvent]
    digest: str


@pytest.fixture
async def origin(nursery: trio.Nursery) -> Origin:
    async with SimulatedStores(nursery).opened() as elsewhere:
        scribe = Scribe(elsewhere)
        await tell_story(scribe)
        log = await log_of(elsewhere)
        finalized = next(stored.event.subject for stored in log if stored.event.type == PACKAGE_FINALIZED.name)
        await scribe.send(scribe.ask(FinalizePackage(finalized, 1, b""), key="nothing to do"))
        await scribe.send(scribe.ask(created(50), key="once"))
        return Origin(await log_of(elsewhere), (await elsewhere.replay(rebuild=False)).projection_digest)


async def _take_over(store: EventStore, log: Sequence[StoredEvent]) -> int:
    return await store.import_events(tuple(log), run_of(log, source=_SOURCE))


async def test_events_and_rows_are_those_of_the_other_log(store: EventStore, origin: Origin) -> None:
    assert {stored.event.type for stored in origin.log} == EVENT_TYPES.keys() - {
        "v1.payloads.redacted"
    }  # test_redacting has it
    assert await _take_over(store, origin.log[:5]) == 5
    assert await _take_over(store, origin.log[5:]) == len(origin.log) - 5
    assert await log_of(store) == origin.log
    report = await store.replay(rebuild=False)
    assert report.identical
    assert report.projection_digest == origin.digest


async def test_what_is_there_is_compared_and_not_written_again(store: EventStore, origin: Origin) -> None:
    await _take_over(store, origin.log[:4])
    assert await _take_over(store, origin.log[:4]) == 0
    assert await _take_over(store, origin.log[1:]) == len(origin.log) - 4
    assert await _take_over(store, origin.log) == 0
    assert await log_of(store) == origin.log


async def test_a_repeated_command_finds_its_first_answer_in_the_new_home(
    store: EventStore, scribe: Scribe, origin: Origin
) -> None:
    await _take_over(store, origin.log)
    (outcome,) = await scribe.send(scribe.ask(created(50), key="once"))
    assert isinstance(outcome, Committed)
    assert outcome.repeated
    assert outcome.events == (origin.log[-1],)


async def test_another_event_at_the_same_place_is_named_and_nothing_is_written(
    store: EventStore, scribe: Scribe, origin: Origin
) -> None:
    await _take_over(store, origin.log[:2])
    await scribe.send(scribe.ask(created(50), command_id=Ids(500)()))
    mine = await log_of(store)
    with pytest.raises(LogDiffers) as differs:
        await _take_over(store, origin.log)
    assert (differs.value.sequence, differs.value.source) == (3, _SOURCE)
    assert await log_of(store) == mine
    for changed in (
        replace(origin.log[1].event, recorded_at_us=7),
        replace(origin.log[1].event, payload=origin.log[0].event.payload),
        replace(origin.log[1].event, payload=b""),  # what is there does not fit into what may be read of it
        replace(origin.log[1].event, command=replace(origin.log[1].event.command, idempotency_key="other")),
    ):
        with pytest.raises(LogDiffers) as differs:
            await _take_over(store, [origin.log[0], StoredEvent(2, changed)])
        assert differs.value.sequence == 2


async def test_a_log_that_does_not_reach_so_far_is_not_given_a_hole(store: EventStore, origin: Origin) -> None:
    await _take_over(store, origin.log[:1])
    with pytest.raises(LogDiffers) as differs:
        await _take_over(store, origin.log[2:])
    assert differs.value.sequence == 2
    assert await log_of(store) == origin.log[:1]


@pytest.mark.slow
async def test_a_run_with_an_event_that_cannot_be_had_leaves_nothing(store: EventStore, origin: Origin) -> None:
    unknown = replace(origin.log[3], event=replace(origin.log[3].event, type="v9.unknown"))
    with pytest.raises(UnknownEventType, match="at sequence 4"):
        await _take_over(store, [*origin.log[:3], unknown])
    assert await log_of(store) == ()
    assert await _take_over(store, origin.log) == len(origin.log)
    assert (await store.replay(rebuild=False)).identical


@pytest.mark.slow
async def test_two_at_once_take_each_event_over_once(store: EventStore, origin: Origin) -> None:
    written: list[int] = []

    async def take_over() -> None:
        written.extend([await _take_over(store, [stored]) for stored in origin.log])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_over)
        nursery.start_soon(take_over)
    assert sum(written) == len(origin.log)
    assert len(written) == 2 * len(origin.log)
    assert await log_of(store) == origin.log
    assert (await store.replay(rebuild=False)).projection_digest == origin.digest
