"""The asyncio thread: what crosses, what is left when a caller leaves, and that the host notices nothing."""

import asyncio
import gc
import signal
import sys
import threading
from functools import partial

import pytest
import trio

from artifactstore.database.asyncio_thread import AsyncioThread, DatabaseClosed
from artifactstore.refusals import NoThreadLeft
from database_tools import Gate


class Sour(Exception):
    pass


async def forty_two() -> int:
    await asyncio.sleep(0)
    return 42


async def spoil() -> None:
    await asyncio.sleep(0)
    raise Sour


@pytest.fixture
def thread() -> AsyncioThread:
    return AsyncioThread("test-asyncio")


@pytest.mark.parametrize("leave", [True, False])
async def test_results_and_exceptions_cross(thread: AsyncioThread, leave: bool) -> None:
    thread.start()
    assert await thread.run(forty_two, abandon_on_cancel=leave) == 42
    with pytest.raises(Sour):
        await thread.run(spoil, abandon_on_cancel=leave)
    await thread.stop()


async def test_work_runs_on_its_own_thread_and_loop(thread: AsyncioThread) -> None:
    async def where() -> tuple[str, bool, asyncio.AbstractEventLoop]:
        return threading.current_thread().name, threading.current_thread().daemon, asyncio.get_running_loop()

    thread.start()
    [first, second] = [await thread.run(where, abandon_on_cancel=False) for _ in range(2)]
    assert first == second
    assert first[:2] == ("test-asyncio", True)
    await thread.stop()
    assert first[2].is_closed()
    assert "test-asyncio" not in {running.name for running in threading.enumerate()}


async def test_a_caller_may_leave_and_the_work_continues(thread: AsyncioThread) -> None:
    gate = Gate()
    ended = Gate()

    async def work() -> None:
        await gate.stop_here()
        ended.open()
        await ended.stop_here()
        raise Sour  # which nobody hears

    thread.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(thread.run, work, abandon_on_cancel=True))
        await gate.arrival()
        nursery.cancel_scope.cancel()
    gate.open()
    await ended.arrival()
    await thread.stop()
    gc.collect()  # asyncio would complain now of an exception that nobody asked for


async def test_a_caller_that_waits_for_a_commit_waits_though_it_is_cancelled(thread: AsyncioThread) -> None:
    gate = Gate()

    async def work() -> int:
        await gate.stop_here()
        return 42

    thread.start()
    heard: list[int] = []
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            heard.append(await thread.run(work, abandon_on_cancel=False))

        nursery.start_soon(ask)
        await gate.arrival()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
        assert heard == []
        gate.open()
    assert heard == [42]
    await thread.stop()


def test_work_may_outlive_the_trio_run_that_asked_for_it(thread: AsyncioThread) -> None:
    gate = Gate()

    async def leave() -> None:
        thread.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(thread.run, gate.stop_here, abandon_on_cancel=True))
            await gate.arrival()
            nursery.cancel_scope.cancel()

    trio.run(leave)
    gate.open()
    trio.run(thread.stop)


async def test_nothing_runs_before_the_start_and_after_the_stop(thread: AsyncioThread) -> None:
    for _ in range(2):
        with pytest.raises(DatabaseClosed, match="try again shortly"):
            await thread.run(forty_two, abandon_on_cancel=True)
        await thread.stop()
        thread.start()
        assert await thread.run(forty_two, abandon_on_cancel=False) == 42
        await thread.stop()


async def test_a_stop_waits_for_work_that_must_be_heard_and_ends_the_rest(thread: AsyncioThread) -> None:
    order: list[str] = []
    gate, reading = Gate(), Gate()

    async def commit() -> None:
        await gate.stop_here()
        order.append("commit")

    async def read() -> None:
        reading.open()
        await reading.stop_here()
        await asyncio.Event().wait()

    async def ending() -> None:
        order.append("ending")

    async def ask() -> None:
        with pytest.raises(DatabaseClosed):
            await thread.run(read, abandon_on_cancel=True)
        order.append("read")
        gate.open()

    thread.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(thread.run, commit, abandon_on_cancel=False))
        nursery.start_soon(ask)
        await gate.arrival()
        await reading.arrival()
        nursery.start_soon(thread.stop, ending)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(DatabaseClosed):
            await thread.run(forty_two, abandon_on_cancel=False)
    assert order == ["read", "commit", "ending"]


async def test_work_that_has_not_begun_when_the_stop_comes_is_answered(thread: AsyncioThread) -> None:
    """The loop is busy; it finds the work and the order to stop at once."""
    begun, busy = threading.Event(), threading.Event()

    async def block() -> None:
        begun.set()
        busy.wait()

    thread.start()
    answers: list[type[Exception]] = []

    async def ask() -> None:
        with pytest.raises(DatabaseClosed):
            await thread.run(forty_two, abandon_on_cancel=True)
        answers.append(DatabaseClosed)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(thread.run, block, abandon_on_cancel=False))
        await trio.to_thread.run_sync(begun.wait)
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(thread.stop)
        await trio.testing.wait_all_tasks_blocked()
        busy.set()
    assert answers == [DatabaseClosed]


async def test_the_host_notices_nothing(thread: AsyncioThread) -> None:
    def of_the_host() -> tuple[object, ...]:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
        return asyncio._get_running_loop(), sys.get_asyncgen_hooks(), handlers

    before = of_the_host()
    thread.start()
    await thread.run(forty_two, abandon_on_cancel=False)
    during = of_the_host()
    await thread.stop()
    assert before == during == of_the_host()
    assert before[0] is None


async def test_a_system_without_threads_leaves_no_loop_open(
    thread: AsyncioThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(NoThreadLeft):
            thread.start()
    with pytest.raises(DatabaseClosed):
        await thread.run(forty_two, abandon_on_cancel=False)
    gc.collect()  # an open loop would complain now
