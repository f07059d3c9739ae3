"""The machine of a simulated world: its calendar, its random bits, and worker threads that run inline.

A call that would block runs at once, in the loop's own thread, between two virtual delays. So a run has one thread
and one order, and cancellation, limits and crashes still meet calls that take their time.
"""

import random
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import nullcontext
from typing import override

import trio

from artifactstore.environment import Environment
from simulation.faults import ThreadFailure, ThreadFault
from simulation.world import SimulatedBug, World, shielded

__all__ = ["SimulatedEnvironment"]


class SimulatedEnvironment(Environment):
    """What `artifactstore.environment` asks for, from a world."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._bits = random.Random(f"machine {seed}")  # noqa: S311 - ids need to differ, not to be secret

    @override
    def now_us(self) -> int:
        return self._world.now_us()

    @override
    def random_bits(self, count: int) -> int:
        return self._bits.getrandbits(count)

    @override
    async def in_thread[T](
        self, work: Callable[[], T], *, limiter: trio.CapacityLimiter | None, abandon_on_cancel: bool
    ) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()
        async with limiter or trio.CapacityLimiter(1):
            with nullcontext() if abandon_on_cancel else shielded():
                await self._begin()
                result = work()
                await self._world.pause()
                return result

    async def _begin(self) -> None:
        fault = self._world.meet(ThreadFault)
        await self._world.pause()
        if fault is not None:
            self._world.note_struck(fault)
            if fault.kind is ThreadFailure.THREAD_CRASHED:
                raise SimulatedBug("in a worker thread")
            await trio.sleep(fault.size)

    @override
    def check_cancelled(self) -> None:
        """Nothing: no time passes inside a call."""

    @override
    def thread_beside(self, name: str) -> Executor:
        return _Inline()


class _Inline(Executor):
    """Does what is submitted at once."""

    @override
    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        done = Future[T]()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done
