"""`simulate`: one whole simulation, from its plan to what it found."""

import json
import logging
import shlex
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import trio

from artifactstore.machine import machine
from artifactstore.supervision import Report
from artifactstore.testing.scheduling import run_seeded
from artifactstore.testing.simulation.calls import Call, Ending, Performer
from artifactstore.testing.simulation.clients import Clients
from artifactstore.testing.simulation.contents import CONTENT_OF, planted
from artifactstore.testing.simulation.faults import Fault, FaultKind, StepFailure, StepFault
from artifactstore.testing.simulation.grammar import as_json
from artifactstore.testing.simulation.judge import Judge, address_of
from artifactstore.testing.simulation.log import SimulatedLog
from artifactstore.testing.simulation.plan import Plan
from artifactstore.testing.simulation.posix import OBJECTS, SCRATCH, SimulatedPosix
from artifactstore.testing.simulation.process import ACTOR_PATHS, Process, Running
from artifactstore.testing.simulation.threads import SimulatedMachine
from artifactstore.testing.simulation.workload import PROCESSES, CreatePackage, IngestFile, Workload
from artifactstore.testing.simulation.world import World
from artifactstore_protocols.supervision import Refusal

__all__ = ["Outcome", "simulate"]

_LIMIT_S: Final = 24 * 3600.0
_SETTLE_S: Final = 120.0
"""Longer than any fault lasts and any shutdown takes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulation came to.

    Attributes:
        plan: what was simulated.
        violations: oracles that were violated, in words; none if all is well.
        trace_digest: of everything that happened; the same for the same plan.
        trace: the last of what happened, a line each.
        struck: faults that struck, by kind.
        endings: how many calls were answered, refused, or stayed unknown.
        events: length of the log at the end.
        checks: how many times something was held to an oracle.
        virtual_s: virtual seconds that it took.
    """

    plan: Plan
    violations: tuple[str, ...]
    trace_digest: str
    trace: tuple[str, ...]
    struck: Mapping[FaultKind, int]
    endings: Mapping[Ending, int]
    events: int
    checks: int
    virtual_s: float

    @property
    def command(self) -> str:
        """A command line that simulates the same again."""
        plan = json.dumps(as_json(self.plan), separators=(",", ":"))
        return f"python -m artifactstore.testing.simulate --plan {shlex.quote(plan)}"

    def check(self) -> None:
        """Pass if no oracle was violated.

        Raises:
            AssertionError: with what was violated, the command to see it again, and what happened last.
        """
        if self.violations:
            raise AssertionError("\n".join([*self.violations, "", self.command, "", *self.trace]))


def simulate(seed: int, workload: Workload, faults: Sequence[Fault] = ()) -> Outcome:
    """Run the real actors under a workload and faults, in virtual time, and hold what happens to the oracles.

    Args:
        seed: decides the order of tasks, the length of waits and what survives a loss of power.
        workload: what clients ask for.
        faults: what goes wrong.
    """
    plan = Plan(seed, workload, tuple(faults))
    with _crashes_unlogged():
        return run_seeded(seed, lambda: _Simulation(plan, planted()).run())


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
    def __init__(self, plan: Plan, trees: tuple[Path, ...]) -> None:
        self._plan = plan
        self._trees = trees
        self._world = World(plan.seed, plan.faults)
        self._posix = SimulatedPosix(self._world)
        self._lives = count(1)
        self._processes: list[Process] = []

    async def run(self) -> Outcome:
        machine.set(SimulatedMachine(self._world, self._plan.seed))
        with self._posix.installed():
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._log = SimulatedLog(self._world, nursery)
                self._judge = Judge(self._world, self._log, self._posix)
                perform = Performer(self._world, self._trees)
                self._clients = Clients(self._world, self._judge, perform)
                with trio.move_on_after(_LIMIT_S) as patience:
                    await self._all()
                self._judge.require(not patience.cancelled_caught, "the simulation did not end")
                nursery.cancel_scope.cancel()
        return self._outcome()

    async def _all(self) -> None:
        self._world.on_step = self._strike
        async with self._running(PROCESSES):
            async with trio.open_nursery() as clients:
                for number, client in enumerate(self._plan.workload.clients):
                    clients.start_soon(self._clients.run, number, client, self._processes[client.process])
            self._world.calm()
            await trio.sleep(_SETTLE_S)
        self._tidy()
        self._posix.lose_power()
        self._world.trace.note("the power is lost once everything has ended")
        async with self._running(1):
            running = await self._processes[0].up()
            await self._look_back(running)
        self._tidy()

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
            for process in self._processes:
                process.stop()

    def _strike(self, fault: Fault) -> None:
        """A fault that is about a process, or about what is on the disk."""
        process = self._processes[fault.size % len(self._processes)]
        match fault.kind:
            case StepFailure.BIT_ROTTED | StepFailure.OBJECT_VANISHED:
                if not self._posix.spoil(fault.kind, fault.size):
                    return
            case StepFailure.PROCESS_KILLED:
                process.kill()
            case StepFailure.POWER_LOST:
                for each in self._processes:
                    each.kill()
                self._posix.lose_power()
            case StepFailure.CALL_CANCELLED:
                calls = list(process.running.life.calls) if process.running else []
                if not calls:
                    return
                calls[fault.size % len(calls)].cancel(reason="the caller leaves")
            case _:
                self._restart_actor(process, ACTOR_PATHS[fault.size % len(ACTOR_PATHS)])
        self._world.note_struck(fault)

    def _restart_actor(self, process: Process, path: str) -> None:
        if process.running is not None:
            tree = process.running.tree

            async def restart() -> None:
                try:
                    await tree.restart_child(path)
                except Refusal as refusal:
                    self._world.trace.note("no restart of", path, type(refusal).__name__)

            self._nursery.start_soon(restart)

    def _report(self, life: int, report: Report) -> None:
        self._world.trace.note("report of life", life, type(report).__name__, report.path)
        if any(process.running and process.running.life.number == life for process in self._processes):
            self._judge.reported(report)

    def _tidy(self) -> None:
        """Nothing is left over when every process has ended in order."""
        for process in self._processes:
            self._judge.require(not process.left_over, "left over:", process.left_over)
        self._judge.require(self._posix.open_files() == 0, "open files:", self._posix.open_files())
        self._judge.require(self._log.head_is_free(), "the head of the log is locked")

    async def _look_back(self, running: Running) -> None:
        """Once all is calm: what was unknown can be found out, what is spoilt heals, and nothing is lost."""
        registry = running.registry
        temporary = [path for path, _ in self._posix.disk.files(f"{OBJECTS}/{SCRATCH}") if not path.endswith(".lock")]
        self._judge.require(not temporary, "temp files:", temporary)
        for call in self._clients.calls:
            if call.ending is Ending.UNKNOWN and call.key is not None:
                await self._clients.attempt(running, call)
                self._judge.require(call.endings[-1] is not Ending.UNKNOWN, call.actor, "cannot be found out")
        self._judge.stored()
        self._judge.verified(await registry.verify(), exact=True)
        await self._heal(running)
        self._judge.verified(await registry.verify(), exact=True)
        report = await registry.replay(check=True)
        self._judge.require(report.identical, "a replay differs from the views")
        health = await registry.health(max_age_s=0)
        self._judge.require(health.healthy, "in the end it is not healthy:", health.reasons)
        self._judge.history(self._clients.calls)

    async def _heal(self, running: Running) -> None:
        spoilt = {str(address) for address in self._log.tables.flagged()}
        if not spoilt:
            return
        for content, held in enumerate(CONTENT_OF):
            if address_of(held) in spoilt:
                create = Call(CreatePackage(0, keyed=False), f"healer/{content}/create")
                package = await self._clients.attempt(running, create)
                call = Call(IngestFile(0, 0, content, 1, replace=False, keyed=False), f"healer/{content}")
                call.package_id = getattr(package, "package_id", "")
                await self._clients.attempt(running, call)
                self._judge.require(call.ending is Ending.ANSWERED, content, "cannot be healed")
        self._judge.require(not self._log.tables.flagged(), "still flagged:", self._log.tables.flagged())

    def _outcome(self) -> Outcome:
        calls = self._clients.calls
        self._world.trace.note("end", self._world.counts[StepFault], self._log.tables.digest())
        return Outcome(
            plan=self._plan,
            violations=tuple(self._judge.violations),
            trace_digest=self._world.trace.digest(),
            trace=self._world.trace.last(),
            struck=dict(self._world.struck),
            endings={ending: sum(call.ending is ending for call in calls) for ending in Ending},
            events=len(self._log.events),
            checks=self._judge.checks,
            virtual_s=trio.current_time(),
        )
