"""Tails of the log: from any point, without a gap or a repeat, with any writer and after any crash."""

from collections.abc import Callable, Sequence

import pytest
import trio
import trio.testing

from artifactstore import Registry, Settings, open_registry
from artifactstore.database.actor import DatabaseActor
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.store import SqlEventStore
from artifactstore.errors import InvalidValue, Refused
from artifactstore.projection import ProjectionActor
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.supervision import ActorCrashed
from database_tools import opened
from integration.registry.samples import Boom, actor_named, actors, crash, quiet, whole_log

MANY = 700
"""More than a tail reads at a time, and more than it holds for a reader that is slow."""


async def _follow(registry: Registry, since: int, until: int, seen: list[StoredEvent]) -> None:
    async with registry.tail_events(since) as tail:
        async for stored in tail:
            seen.append(stored)
            if stored.sequence == until:
                return
    raise AssertionError("the tail ended")


async def _write(registry: Registry, count: int) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(registry.create_package, f"p{number}")


async def _write_many(registry: Registry) -> None:
    """Many events, and few transactions."""
    await _write(registry, MANY)


async def test_readers_catch_up_and_follow(registry: Registry) -> None:
    """Some begin before the first event, some in the middle, some when all is written, from different points."""
    readers: list[tuple[int, list[StoredEvent]]] = []
    async with trio.open_nursery() as nursery:

        def begin(since: int) -> None:
            readers.append((since, []))
            nursery.start_soon(_follow, registry, since, 60, readers[-1][1])

        begin(0)
        begin(30)
        await trio.testing.wait_all_tasks_blocked(0.001)
        await _write(registry, 20)
        begin(0)
        begin(10)
        await _write(registry, 20)
        begin(39)
        begin(50)
        await _write(registry, 20)
        begin(0)
        begin(59)
    log = await whole_log(registry)
    for since, seen in readers:
        assert seen == log[since:60]
    await quiet(registry)


@pytest.mark.slow
async def test_a_slow_reader_holds_up_nobody(registry: Registry) -> None:
    async with registry.tail_events() as slow:
        waiting = trio.Event()
        first: list[StoredEvent] = []

        async def take_one() -> None:
            waiting.set()
            first.append(await anext(slow))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_one)
            await waiting.wait()
            await _write_many(registry)
        quick: list[StoredEvent] = []
        await _follow(registry, 0, MANY + 1, quick)
        rest = [await anext(slow) for _ in range(MANY)]
        assert first + rest == quick == await whole_log(registry)
    await quiet(registry)


async def test_what_another_process_writes_is_found(registry: Registry, settings: Settings) -> None:
    """Nobody tells this store of it: its tail looks for itself."""
    seen: list[StoredEvent] = []
    async with open_registry(settings) as other, trio.open_nursery() as nursery:
        nursery.start_soon(_follow, registry, 0, 9, seen)
        for _ in range(3):
            await _write(other, 2)
            await _write(registry, 1)
    assert [stored.sequence for stored in seen] == list(range(1, 10))


async def test_a_point_that_is_not_reached_yet(registry: Registry) -> None:
    seen: list[StoredEvent] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_follow, registry, 5, 8, seen)
        await _write(registry, 8)
    assert [stored.sequence for stored in seen] == [6, 7, 8]


@pytest.mark.parametrize("crashes", [1, 3], ids=["once", "until it is a dead letter"])
async def test_a_crash_of_the_feeding_actor_is_not_noticed(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, crashes: int
) -> None:
    """`HeadMoved` is told, not asked: it is given to the actor again until it has crashed it three times."""
    readers: list[list[StoredEvent]] = [[], []]
    async with trio.open_nursery() as nursery:
        for seen in readers:
            nursery.start_soon(_follow, registry, 0, 41, seen)
        await _write(registry, 10)
        crash(monkeypatch, ProjectionActor, "head_moved", times=crashes)
        await _write(registry, 30)
    log = await whole_log(registry)
    assert readers == [log, log]
    assert actor_named(registry, "projection").starts == 1 + crashes
    await quiet(registry)


async def test_a_restart_of_everything_below_is_not_noticed(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[StoredEvent] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_follow, registry, 0, 21, seen)
        await _write(registry, 10)
        crash(monkeypatch, DatabaseActor, "probe")
        assert not (await registry.health(max_age_s=0)).healthy
        while actor_named(registry, "ingest").starts == 1:
            await trio.testing.wait_all_tasks_blocked(0.001)
        await _write(registry, 10)
    assert seen == await whole_log(registry)


async def test_an_actor_that_fails_to_open_a_tail_says_so(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    await _write(registry, 1)
    crash(monkeypatch, ProjectionActor, "open_tail")
    with pytest.raises(ActorCrashed):
        await _follow(registry, 0, 1, [])
    seen: list[StoredEvent] = []
    await _follow(registry, 0, 1, seen)
    assert len(seen) == 1


async def test_a_defect_in_one_tail_is_told_to_its_reader_and_reported_and_the_others_go_on(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A tail is one of a thousand: its crash is no reason to restart the actor that feeds them all."""
    seen: list[StoredEvent] = []
    read_events = SqlEventStore.read_events

    async def fail_from_five(store: SqlEventStore, *, after: int, limit: int, bytes_max: int) -> Sequence[StoredEvent]:
        if after == 5:
            raise Boom
        return await read_events(store, after=after, limit=limit, bytes_max=bytes_max)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_follow, registry, 0, 10, seen)
        await _write(registry, 4)
        while len(seen) < 4:
            await trio.testing.wait_all_tasks_blocked(0.001)
        await _write(registry, 2)
        while len(seen) < 6:
            await trio.testing.wait_all_tasks_blocked(0.001)
        with monkeypatch.context() as patch:
            patch.setattr(SqlEventStore, "read_events", fail_from_five)
            with pytest.raises(ActorCrashed) as crashed:
                await _follow(registry, 5, 6, [])
        assert isinstance(crashed.value.cause, Boom)
        await _write(registry, 4)
    assert [stored.sequence for stored in seen] == list(range(1, 11))
    assert actor_named(registry, "projection").starts == 1
    reported = [record.getMessage() for record in caplog.records if record.name == "artifactstore.supervision"]
    assert len(reported) == 1
    assert reported[0].startswith("root/core/projection/tail-2 crashed")
    assert "the task ends, its actor continues" in reported[0]


@pytest.mark.parametrize("read", [0, 1, 2])
async def test_a_reader_that_leaves_early_leaves_no_task_behind(registry: Registry, read: int) -> None:
    await _write(registry, 2)
    async with registry.tail_events() as tail:
        for _ in range(read):
            await anext(tail)
    await quiet(registry)


async def test_a_reader_that_is_cancelled_leaves_no_task_behind(registry: Registry) -> None:
    """While it waits for what comes, and in the moment in which its tail is opened."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_follow, registry, 0, 1, list[StoredEvent]())
        await trio.testing.wait_all_tasks_blocked(0.001)
        nursery.cancel_scope.cancel()
    await quiet(registry)


async def test_a_reader_that_is_cancelled_as_its_tail_opens_leaves_no_task_behind(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_tail: Callable[..., object] = ProjectionActor.open_tail
    scope = trio.CancelScope()

    async def open_and_lose_the_asker(*arguments: object) -> object:
        stream = await open_tail(*arguments)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        scope.cancel()
        return stream  # pyright: ignore[reportUnknownVariableType]

    monkeypatch.setattr(ProjectionActor, "open_tail", open_and_lose_the_asker)
    with scope:
        await _follow(registry, 0, 1, [])
    assert scope.cancelled_caught
    await quiet(registry)


async def test_closing_the_store_ends_a_tail_with_an_error(settings: Settings) -> None:
    """It must not look like the end of the log."""
    seen: list[StoredEvent] = []
    caught: list[BaseException] = []

    async def follow(registry: Registry) -> None:
        try:
            await _follow(registry, 0, 3, seen)
        except Exception as error:
            caught.append(error)

    async with trio.open_nursery() as nursery, open_registry(settings) as registry:
        nursery.start_soon(follow, registry)
        await _write(registry, 1)
        while not seen:
            await trio.testing.wait_all_tasks_blocked(0.001)
    assert [type(error).__name__ for error in caught] == ["StoreClosed"]


@pytest.mark.parametrize("number", [-1, 2**63, 10**30, 10**5000], ids=["negative", "one too large", "large", "huge"])
async def test_a_number_that_is_no_sequence_is_refused_and_crashes_nobody(registry: Registry, number: int) -> None:
    await registry.create_package("p")
    with pytest.raises(InvalidValue, match="invalid since"):
        await registry.read_events(number)
    with pytest.raises(InvalidValue, match="invalid limit"):
        await registry.read_events(0, limit=number)
    with pytest.raises(InvalidValue, match="invalid since"):
        async with registry.tail_events(number) as tail:
            await anext(tail)
    assert not await registry.read_events(2**63 - 1)
    assert [actor.name for actor in actors(registry) if actor.last_failure is not None] == []


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
async def test_a_store_that_is_asked_past_the_numbers_of_a_database_refuses(
    location: DatabaseLocation, number: int
) -> None:
    async with opened(location) as database:
        with pytest.raises(Refused):
            await SqlEventStore(database).read_events(after=number, limit=1)
