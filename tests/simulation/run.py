"""`simulate`: one whole simulation, from its plan to what it came to."""

import logging
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Final

import trio

from artifactstore.environment import environment
from artifactstore.supervision import Report
from artifactstore.testing.scheduling import run_seeded
from simulation.aftermath import look_back
from simulation.calls import Ending, Performer
from simulation.clients import Clients
from simulation.faults import Fault, StepFault
from simulation.follower import Follower
from simulation.judge import Judge
from simulation.log import SimulatedLog
from simulation.outcome import Outcome
from simulation.plan import Plan
from simulation.posix import SimulatedPosix
from simulation.process import Process
from simulation.restoring import live_on, restore
from simulation.strikes import Strikes
from simulation.threads import SimulatedEnvironment
from simulation.workload import PROCESSES, Workload
from simulation.world import World

__all__ = ["simulate"]

_LIMIT_S: Final = 24 * 3600.0
_SETTLED_WITHIN_S: Final = 120.0
"""Longer than any fault lasts, any backoff and any shutdown."""
_LOOK_EVERY_S: Final = 0.25


def simulate(seed: int, workload: Workload, faults: Sequence[Fault] = ()) -> Outcome:
    """Run the real actors under a workload and faults, in virtual time, and hold what happens to the oracles.

    While it runs, the local storage backends of this process work on the simulated disk where their root is a simulated
    one; others do not notice.

    Args:
        seed: decides the order of tasks, the length of waits and what survives a loss of power.
        workload: what clients ask for.
        faults: what goes wrong.
    """
    with _crashes_unlogged():
        return run_seeded(seed, _Simulation(Plan(seed, workload, tuple(faults))).run)


@contextmanager
def _crashes_unlogged() -> Generator[None]:
    """Crashes are part of a simulation; they go into its trace."""
    logger = logging.getLogger("artifactstore")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


class _Simulation:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._lives = count(1)
        self._processes: list[Process] = []

    async def run(self) -> Outcome:
        self._world = World(self._plan.seed, self._plan.faults)
        self._posix = SimulatedPosix(self._world)
        environment.set(SimulatedEnvironment(self._world, self._plan.seed))
        with self._posix.installed():
            async with trio.open_nursery() as nursery:
                self._log = SimulatedLog(self._world, nursery)
                self._judge = Judge(self._world, self._log, self._posix)
                self._clients = Clients(self._world, self._judge, Performer(self._world))
                strikes = Strikes(self._world, self._posix, nursery)
                self._world.on_step = lambda fault: strikes.strike(fault, self._processes)
                with trio.move_on_after(_LIMIT_S) as patience:
                    await self._all()
                self._judge.require(not patience.cancelled_caught, "the simulation did not end")
        return self._outcome()

    async def _all(self) -> None:
        async with self._running(PROCESSES), trio.open_nursery() as following:
            followers = [Follower(process) for process in self._processes]
            for follower in followers:
                following.start_soon(follower.run)
            async with trio.open_nursery() as clients:
                for number, client in enumerate(self._plan.workload.clients):
                    clients.start_soon(self._clients.run, number, client, self._processes[client.process])
            self._world.calm()
            self._world.set_clock_right()
            await self._until(lambda: self._log.head_is_free() and self._have_seen_all(followers))
            for follower in followers:
                self._judge.saw("a follower", follower.seen)
                self._judge.require(self._have_seen_all([follower]), "a follower has not seen all")
            following.cancel_scope.cancel()
        self._judge.tidy()
        self._posix.lose_power()
        self._world.trace.note("the power is lost once everything has ended")
        async with self._running(1):
            await look_back(await self._processes[0].up(), self._clients, self._judge)
        self._judge.tidy()
        if self._judge.violations:
            return
        self._log = await restore(self._world, self._log, self._posix, self._judge)
        async with self._running(1):
            await live_on(await self._processes[0].up(), self._world, self._judge)
        self._judge.tidy()

    @asynccontextmanager
    async def _running(self, processes: int) -> AsyncGenerator[None]:
        self._processes = [
            Process(
                number,
                seed=self._plan.seed,
                world=self._world,
                log=self._log,
                posix=self._posix,
                next_life=lambda: next(self._lives),
                on_report=self._report,
            )
            for number in range(processes)
        ]
        async with trio.open_nursery() as running:
            for process in self._processes:
                running.start_soon(process.run)
            yield
            await self._until(lambda: not any(process.left_over() for process in self._processes))
            for process in self._processes:
                self._judge.require(not process.left_over(), "left over:", process.left_over())
                process.stop()

    async def _until(self, settled: Callable[[], bool]) -> None:
        """Wait until something is so, or should have been for long."""
        with trio.move_on_after(_SETTLED_WITHIN_S):
            while not settled():  # noqa: ASYNC110 - what is waited for has no event of its own
                await trio.sleep(_LOOK_EVERY_S)

    def _have_seen_all(self, followers: Sequence[Follower]) -> bool:
        return all(len(follower.seen) == len(self._log.events) for follower in followers)

    def _report(self, life: int, report: Report) -> None:
        self._world.trace.note("report of life", life, type(report).__name__, report.path)
        if any(process.running and process.running.life.number == life for process in self._processes):
            self._judge.reported(report)

    def _outcome(self) -> Outcome:
        calls = self._clients.calls
        self._world.trace.note("end", self._world.counts[StepFault], self._log.tables.digest())
        return Outcome(
            plan=self._plan,
            violations=tuple(self._judge.violations),
            trace_digest=self._world.trace.digest(),
            trace=self._world.trace.last(),
            struck=dict(self._world.struck),
            lost=dict(self._world.lost),
            endings={ending: sum(call.ending is ending for call in calls) for ending in Ending},
            events=len(self._log.events),
            checks=self._judge.checks,
            virtual_s=trio.current_time(),
        )
