"""The watchdog thread: it names who blocks the loop, once a blockage, and lets go when the tree ends.

The handlers below block until the watchdog itself releases them, so nothing here depends on how long anything takes. A
busy machine may hold up the loop for longer than the limit at any other moment, too; those reports are passed over.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import override

import pytest
import trio

from artifactstore.supervision import (
    Actor,
    ActorRef,
    ActorSpec,
    Concurrent,
    LoopBlocked,
    Report,
    Request,
    handles,
    open_tree,
)

from .probe import Script, probe, tree_of

LIMIT_S = 0.05
GUARD_S = 60.0


class BlockingRole:
    pass


@dataclass(frozen=True, slots=True)
class BlockLoop(Request[None, BlockingRole]):
    pass


@dataclass(frozen=True, slots=True)
class BlockLoopInNursery(BlockLoop):
    pass


@dataclass(frozen=True, slots=True)
class BlockLoopInWorker(BlockLoop):
    """Handled by a worker that the asker's task started."""


@dataclass(frozen=True, slots=True)
class BlockLoopInTask(BlockLoop):
    pass


@dataclass(frozen=True, slots=True)
class BlockLoopInTasksNursery(BlockLoop):
    pass


class Blocking(Actor[BlockingRole]):
    def __init__(self, released: threading.Event) -> None:
        self.released = released

    @handles(BlockLoop)
    async def block(self, _: BlockLoop) -> None:
        self.released.wait(GUARD_S)

    @handles(BlockLoopInNursery)
    async def block_in_nursery(self, message: BlockLoopInNursery) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.block, message)

    @handles(BlockLoopInWorker, mode=Concurrent(2))
    async def block_in_worker(self, message: BlockLoopInWorker) -> None:
        await self.block(message)

    @handles(BlockLoopInTask)
    async def block_in_task(self, message: BlockLoopInTask) -> None:
        await self.context.start_child("task", self.block, message).wait()

    @handles(BlockLoopInTasksNursery)
    async def block_in_nursery_of_a_task(self, _: BlockLoopInTasksNursery) -> None:
        await self.context.start_child("task", self.block_in_nursery, BlockLoopInNursery()).wait()


@pytest.mark.parametrize(
    "message",
    [BlockLoop(), BlockLoopInNursery(), BlockLoopInWorker(), BlockLoopInTask(), BlockLoopInTasksNursery()],
    ids=lambda message: type(message).__name__,
)
async def test_an_actor_that_blocks_the_loop_is_named_with_its_stack(message: BlockLoop) -> None:
    released, reports, threads = threading.Event(), list[LoopBlocked](), list[int]()

    def listener(report: Report) -> None:
        assert isinstance(report, LoopBlocked)
        if "released.wait" in report.stack:
            reports.append(report)
            threads.append(threading.get_ident())
            released.set()

    ref = ActorRef[BlockingRole]("a")
    spec = tree_of(ActorSpec(ref=ref, factory=lambda: Blocking(released)))
    async with open_tree(spec, on_report=listener, loop_blocked_after_s=LIMIT_S) as tree:
        assert tree.snapshot().actor("root/a").last_block is None
        await ref.ask(message)
        block = tree.snapshot().actor("root/a").last_block
    [report] = reports
    assert (report.path, report.blocked_s) == ("root/a", LIMIT_S)
    assert "in block" in report.stack
    assert block is not None
    assert (block.blocked_s, block.stack) == (LIMIT_S, report.stack)
    assert threads[0] != threading.get_ident(), "the loop cannot report on itself"


async def test_code_outside_the_actors_that_blocks_the_loop_is_reported_without_a_name() -> None:
    released, paths = threading.Event(), list[str | None]()

    def listener(report: Report) -> None:
        assert isinstance(report, LoopBlocked)
        if "released.wait" in report.stack:
            paths.append(report.path)
            released.set()

    async with open_tree(tree_of(), on_report=listener, loop_blocked_after_s=LIMIT_S):
        released.wait(GUARD_S)
    assert paths == [None]


async def test_a_process_that_was_stopped_as_a_whole_is_not_taken_for_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its clock has continued: the wait that it was stopped in is over at once, before its loop can say anything."""
    going_on, reports = threading.Event(), list[Report]()

    class StoppedInTheFirstWait(threading.Condition):
        waits = 0

        @override
        def wait_for[T](self, predicate: Callable[[], T], timeout: float | None = None) -> T:
            self.waits += 1
            if self.waits == 1:
                return predicate()
            going_on.set()
            return super().wait_for(predicate, timeout)

    monkeypatch.setattr("artifactstore.supervision.watchdog.threading.Condition", StoppedInTheFirstWait)
    async with open_tree(tree_of(), on_report=reports.append, loop_blocked_after_s=60):
        going_on.wait()
    assert reports == []


async def test_the_watchdog_ends_with_its_tree() -> None:
    async with open_tree(tree_of(probe(Script(), "a")[1]), loop_blocked_after_s=60):
        assert "artifactstore watchdog" in {thread.name for thread in threading.enumerate()}
    assert "artifactstore watchdog" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("limit_s", [0, -1, float("nan")])
async def test_a_limit_must_be_above_nothing(limit_s: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        async with open_tree(tree_of(), loop_blocked_after_s=limit_s):
            raise AssertionError("the block must not run")
