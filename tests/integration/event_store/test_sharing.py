"""What every event store promises to several connections at once, and to callers that leave or close it meanwhile."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest
import trio

from artifactstore.database.asyncio_thread import DatabaseClosed
from artifactstore_protocols.event_store import CommandOutcome, EventStore
from artifactstore_protocols.events import Committed, StoredEvent
from artifactstore_protocols.packages import PackageNotFound
from command_strategies import Ids, created, ingest, ingested, package_id_of
from database_tools import Scribe
from event_stores import Stores, head_of, log_of

CONNECTIONS = 3
COMMITS = 10


async def _connections(stores: Stores, stack: AsyncExitStack) -> list[EventStore]:
    """Several of them; they race to be the first on a log that nobody has used yet."""
    connected: list[EventStore] = []

    async def connect() -> None:
        connected.append(await stack.enter_async_context(stores.opened()))

    async with trio.open_nursery() as nursery:
        for _ in range(CONNECTIONS):
            nursery.start_soon(connect)
    return connected


@pytest.mark.slow
async def test_they_share_one_gapless_log_and_nobody_ever_sees_a_hole(stores: Stores) -> None:
    written: list[StoredEvent] = []
    seen: list[int] = []
    async with AsyncExitStack() as stack:
        connected = await _connections(stores, stack)

        async def write(number: int) -> None:
            scribe, mine = Scribe(connected[number]), Ids(1 + number * COMMITS)  # the others have other ids
            for count in range(COMMITS):
                command = created(1 + number * COMMITS + count)
                [outcome] = await scribe.send(scribe.ask(command, command_id=mine()))
                assert isinstance(outcome, Committed), outcome
                written.extend(outcome.events)

        async def watch(store: EventStore) -> None:
            while True:
                log = await log_of(store)
                assert [stored.sequence for stored in log] == list(range(1, len(log) + 1))
                assert await head_of(store) >= len(log)
                seen.append(len(log))

        async with trio.open_nursery() as watching:
            watching.start_soon(watch, connected[0])
            async with trio.open_nursery() as writing:
                for number in range(CONNECTIONS):
                    writing.start_soon(write, number)
            watching.cancel_scope.cancel(reason="all is written")
        assert (await connected[0].replay(rebuild=False)).identical
        log = await log_of(connected[-1])
    assert len(log) == 1 + CONNECTIONS * COMMITS
    assert sorted(written, key=lambda stored: stored.sequence) == list(log[1:])
    assert seen == sorted(seen)


async def test_a_command_that_comes_by_all_at_once_takes_effect_once(stores: Stores) -> None:
    outcomes: list[CommandOutcome] = []
    async with AsyncExitStack() as stack:
        connected = await _connections(stores, stack)
        request = Scribe(connected[0]).ask(created(), key="nightly")

        async def send(store: EventStore) -> None:
            outcomes.extend(await Scribe(store).send(request))

        async with trio.open_nursery() as nursery:
            for store in connected * 3:
                nursery.start_soon(send, store)
        assert len(await log_of(connected[0])) == 2
    answers = [outcome for outcome in outcomes if isinstance(outcome, Committed)]
    assert len(answers) == 3 * CONNECTIONS
    assert len({answer.events for answer in answers}) == 1
    assert sorted(answer.repeated for answer in answers) == [False] + [True] * (3 * CONNECTIONS - 1)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [0, 1, 2, 4])
async def test_a_caller_that_leaves_leaves_its_whole_commit_or_none_of_it(
    store: EventStore, scribe: Scribe, steps: int
) -> None:
    requests = [scribe.ask(created()), scribe.ask(ingest(ingested("a"), ingested("b")))]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scribe.send, *requests)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel(reason="the caller leaves")
    assert len(await log_of(store)) in {0, 4}
    # Whichever it was, asking again finds out and does the rest.
    answers = [outcome for outcome in await scribe.send(*requests) if isinstance(outcome, Committed)]
    assert [answer.sequence for answer in answers] == [2, 4]
    assert (await store.replay(rebuild=False)).identical


async def test_a_read_that_nobody_wants_any_more_hinders_none(store: EventStore, scribe: Scribe) -> None:
    await scribe.tell(created())
    for _ in range(3):
        with trio.CancelScope() as scope:
            scope.cancel(reason="nobody wants it")
            await store.package(package_id_of(1))
        assert scope.cancelled_caught
    assert (await store.package(package_id_of(1))).name == "nightly"
    with pytest.raises(PackageNotFound):
        await store.package(package_id_of(2))


async def test_closing_finishes_what_is_under_way(stores: Stores, store: EventStore) -> None:
    """A commit beside a close is acknowledged and there, or refused and not there."""
    scribe = Scribe(store)
    answers: list[Sequence[CommandOutcome] | DatabaseClosed] = []

    async def send() -> None:
        try:
            answers.append(await scribe.send(scribe.ask(created())))
        except DatabaseClosed as error:
            answers.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        nursery.start_soon(store.close)
    async with stores.opened() as other:
        assert await head_of(other) == (0 if isinstance(answers[0], DatabaseClosed) else 2)


async def test_a_closed_store_says_so_until_it_is_opened_again(store: EventStore, scribe: Scribe) -> None:
    await scribe.tell(created())
    for _ in range(2):
        await store.close()
    for question in (
        store.probe(),
        store.package(package_id_of(1)),
        store.replay(rebuild=True),
        scribe.tell(created()),
    ):
        with pytest.raises(DatabaseClosed):
            await question
    await store.open()
    assert (await store.package(package_id_of(1))).created_sequence == 2
