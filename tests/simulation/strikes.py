"""Faults that can strike at any step: they are about processes, actors, calls, or what lies on the disk."""

from collections.abc import Sequence

import trio

from artifactstore.supervision import Tree
from artifactstore_protocols.supervision import Refusal
from simulation.faults import StepFailure, StepFault
from simulation.posix import SimulatedPosix
from simulation.process import ACTOR_PATHS, Process
from simulation.world import World

__all__ = ["Strikes"]


class Strikes:
    """Carries such faults out.

    Args:
        world: that they are noted in.
        posix: the disk.
        nursery: for what takes time.
    """

    def __init__(self, world: World, posix: SimulatedPosix, nursery: trio.Nursery) -> None:
        self._world = world
        self._posix = posix
        self._nursery = nursery

    def strike(self, fault: StepFault, processes: Sequence[Process]) -> None:
        """Carry one out, if there is something for it to strike."""
        if self._happens(fault, processes):
            self._world.note_struck(fault)

    def _happens(self, fault: StepFault, processes: Sequence[Process]) -> bool:
        process = processes[fault.size % len(processes)]
        match fault.kind:
            case StepFailure.BIT_ROTTED | StepFailure.OBJECT_VANISHED:
                return self._posix.spoil(fault.kind, fault.size)
            case StepFailure.PROCESS_KILLED:
                return process.kill()
            case StepFailure.POWER_LOST:
                killed = [each.kill() for each in processes]
                self._posix.lose_power()
                return any(killed)
            case StepFailure.CALL_CANCELLED:
                return _cancel(process, fault.size)
            case StepFailure.ACTOR_RESTARTED:
                return self._restart(process, ACTOR_PATHS[fault.size % len(ACTOR_PATHS)])

    def _restart(self, process: Process, path: str) -> bool:
        if process.running is None:
            return False
        self._nursery.start_soon(self._restart_child, process.running.tree, path)
        return True

    async def _restart_child(self, tree: Tree, path: str) -> None:
        try:
            await tree.restart_child(path)
        except Refusal as refusal:
            self._world.trace.note("no restart of", path, type(refusal).__name__)


def _cancel(process: Process, which: int) -> bool:
    calls = list(process.running.life.calls) if process.running else []
    if not calls:
        return False
    calls[which % len(calls)].cancel(reason="the caller leaves")
    return True
