"""A stream between an actor's task and its consumer: paced, complete or broken off, and never left behind."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import pytest
import trio
import trio.testing

from artifactstore.streams import ChannelStream
from artifactstore_protocols.storage_errors import StorageFailed
from artifactstore_protocols.supervision import ActorCrashed, ActorStopped


class _Source:
    """Counts up; `ended` tells that the actor's task has let go of it."""

    def __init__(self, count: int, failure: Exception | None = None) -> None:
        self.made = 0
        self.ended = trio.Event()
        self._count, self._failure = count, failure

    async def __call__(self) -> AsyncGenerator[int]:
        try:
            while self.made < self._count:
                self.made += 1
                yield self.made
            if self._failure is not None:
                raise self._failure
        finally:
            self.ended.set()


def _stream(source: Callable[[], AsyncGenerator[int]], nursery: trio.Nursery) -> ChannelStream[int]:
    def start(fill: Callable[[], Awaitable[None]]) -> None:
        nursery.start_soon(fill)

    return ChannelStream("reader", "numbers", source=source, start=start)


async def test_a_complete_stream_ends() -> None:
    async with trio.open_nursery() as nursery:
        stream = _stream(_Source(3), nursery)
        assert [item async for item in stream] == [1, 2, 3]
        stream.close()


async def test_the_consumer_decides_the_pace() -> None:
    source = _Source(100)
    async with trio.open_nursery() as nursery:
        stream = _stream(source, nursery)
        await trio.testing.wait_all_tasks_blocked()
        assert source.made == 0, "nothing runs before somebody reads"
        assert await anext(stream) == 1
        await trio.testing.wait_all_tasks_blocked()
        assert source.made == 2, "one taken, one in the hand"
        stream.close()
        await source.ended.wait()
        assert source.made == 2


async def test_a_stream_that_nobody_read_has_no_task() -> None:
    source = _Source(3)
    async with trio.open_nursery() as nursery:
        _stream(source, nursery)
        _stream(source, nursery).close()
        assert not nursery.child_tasks
    assert source.made == 0


async def test_closing_is_harmless_twice_and_before_the_first_item() -> None:
    async with trio.open_nursery() as nursery:
        stream = _stream(_Source(3), nursery)
        stream.close()
        stream.close()
        with pytest.raises(trio.ClosedResourceError):
            await anext(stream)


async def test_a_refusal_of_the_source_reaches_the_consumer_with_its_cause() -> None:
    failure = StorageFailed("local", "reading", "EIO")
    failure.__cause__ = OSError("no disk")
    async with trio.open_nursery() as nursery:
        stream = _stream(_Source(1, failure), nursery)
        assert await anext(stream) == 1
        with pytest.raises(StorageFailed) as caught:
            await anext(stream)
        assert caught.value is failure
        assert isinstance(caught.value.__cause__, OSError)


async def test_a_defect_of_the_source_is_a_crash_to_the_consumer_and_a_failure_of_the_task() -> None:
    failure = KeyError("a defect")
    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, check=lambda raised: raised is failure)):
        async with trio.open_nursery() as nursery:
            stream = _stream(_Source(1, failure), nursery)
            assert await anext(stream) == 1
            with trio.CancelScope(shield=True), pytest.raises(ActorCrashed) as caught:
                await anext(stream)
            assert caught.value.cause is caught.value.__cause__ is failure
            assert (caught.value.actor, caught.value.message) == ("reader", "numbers")
            assert not caught.value.may_have_taken_effect


async def test_a_stream_whose_actor_stops_is_not_complete() -> None:
    source = _Source(100)
    async with trio.open_nursery() as actor:
        stream = _stream(source, actor)
        assert await anext(stream) == 1
        actor.cancel_scope.cancel()
    assert source.ended.is_set()
    with pytest.raises(ActorStopped) as caught:
        await anext(stream)
    assert (caught.value.actor, caught.value.message) == ("reader", "numbers")
    assert not caught.value.may_have_taken_effect


async def test_a_stream_whose_actor_is_gone_before_the_first_item_is_not_complete() -> None:
    async with trio.open_nursery() as actor:
        stream = _stream(_Source(3), actor)
    with pytest.raises(ActorStopped):
        await anext(stream)


async def test_a_cancelled_consumer_can_go_on() -> None:
    """Cancelling a wait for an item loses none."""
    gate = trio.Event()

    async def gated() -> AsyncGenerator[int]:
        await gate.wait()
        yield 1

    async with trio.open_nursery() as nursery:
        stream = _stream(gated, nursery)
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(stream)
        gate.set()
        assert [item async for item in stream] == [1]


async def test_the_source_is_closed_in_the_task_that_ran_it() -> None:
    tasks: list[trio.lowlevel.Task] = []

    async def noted() -> AsyncGenerator[int]:
        tasks.append(trio.lowlevel.current_task())
        try:
            yield 1
        finally:
            tasks.append(trio.lowlevel.current_task())

    async with trio.open_nursery() as nursery:
        stream = _stream(noted, nursery)
        async with aclosing(_items(stream)) as items:
            assert await anext(items) == 1
        stream.close()
    assert tasks[0] is tasks[1]
    assert tasks[0] is not trio.lowlevel.current_task()


async def _items(stream: ChannelStream[int]) -> AsyncGenerator[int]:
    async for item in stream:
        yield item
