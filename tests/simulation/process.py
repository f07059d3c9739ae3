"""A simulated process: the real tree of actors and the real registry on a simulated log and disk, life after life.

A life ends in order or is killed. A killed one is cut off from the world at that instant: what its tasks still do
while they wind down meets errors and changes nothing, and no client hears of it.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from artifactstore.backends.local import LocalBackend
from artifactstore.backends.registry import BackendRegistry
from artifactstore.backends.root_marker import update_marker
from artifactstore.config import Settings
from artifactstore.dataplane import InProcessDataPlane
from artifactstore.registry import Registry
from artifactstore.supervision import Report, StartFailed, Tree, open_tree
from artifactstore.tree import Actors, tree_spec
from artifactstore_protocols.root_markers import claimed
from artifactstore_protocols.storage import StorageError
from artifactstore_protocols.supervision import ActorSnapshot
from simulation.log import SimulatedLog
from simulation.posix import SimulatedPosix
from simulation.store import SimulatedEventStore
from simulation.world import Life, World

__all__ = ["ACTOR_PATHS", "Process", "Running"]

ACTOR_PATHS: Final = tuple(
    f"root/{name}"
    for name in ("core/database", "core/storage", "core/event-writer", "core/projection", "core/ingest", "health")
)
_FILES_MAX: Final = 6
_AGAIN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Running:
    """A life that is up."""

    life: Life
    registry: Registry
    tree: Tree
    store: SimulatedEventStore


class Process:
    """One process, through all its lives.

    Attributes:
        number: from 0.
        running: the life that is up; None while there is none.
    """

    def __init__(
        self,
        number: int,
        *,
        seed: int,
        world: World,
        log: SimulatedLog,
        posix: SimulatedPosix,
        next_life: Callable[[], int],
        on_report: Callable[[int, Report], None],
    ) -> None:
        self.number = number
        self.running: Running | None = None
        self._seed = seed
        self._world = world
        self._log = log
        self._posix = posix
        self._next_life = next_life
        self._on_report = on_report
        self._life: Life | None = None
        self._changed = trio.Event()
        self._stop = trio.Event()

    async def up(self) -> Running:
        """The life that is up, once there is one."""
        while self.running is None:
            await self._changed.wait()
        return self.running

    def stop(self) -> None:
        """End in order."""
        self._stop.set()

    def kill(self) -> bool:
        """End without a chance to tidy up; another life follows. False if there is none to end."""
        if self._life is None:
            return False
        self._publish(None)
        self._life.kill()
        self._posix.bury(self._life)
        return True

    def left_over(self) -> list[str]:
        """What is there although nobody asks for anything; that there is no life to ask is among it."""
        return ["no life"] if self.running is None else _busy(self.running.tree)

    async def run(self) -> None:
        """Live until stopped."""
        while not self._stop.is_set():
            life = self._life = Life(self.number, self._next_life())
            self._world.step("life", self.number, life.number)
            try:
                async with self._open(life) as running:
                    if life.alive:
                        self._publish(running)
                    await _first_of(life.died, self._stop)
                    self._publish(None)
            except (StorageError, StartFailed) as error:
                self._world.trace.note("no start", type(error).__name__)
                await trio.sleep(_AGAIN_S)
            finally:
                self._life = None
                self._posix.bury(life)

    @asynccontextmanager
    async def _open(self, life: Life) -> AsyncGenerator[Running]:
        store = SimulatedEventStore(self._world, self._log, life)
        actors = Actors()
        root = self._posix.admit(life)
        backend = LocalBackend(root)
        with suppress(OSError):  # the root stays unclaimed, and nobody collects in it
            update_marker(root, partial(claimed, self._log.store_id, writes=True))
        try:
            plane = InProcessDataPlane(BackendRegistry([backend], backend.backend_id))
            spec = tree_spec(actors, Settings(package_files_max=_FILES_MAX), store, plane, ())
            report = partial(self._on_report, life.number)
            async with open_tree(spec, seed=self._seed + life.number, on_report=report) as tree:
                yield Running(life, Registry(actors, store, tree, life.died, root), tree, store)
        finally:
            backend.close()

    def _publish(self, running: Running | None) -> None:
        self.running = running
        self._changed.set()
        self._changed = trio.Event()


async def _first_of(*events: trio.Event) -> None:
    async with trio.open_nursery() as nursery:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        for event in events:
            nursery.start_soon(wait, event)


def _busy(tree: Tree) -> list[str]:
    """What an idle tree should not have."""
    found: list[str] = []
    for each in tree.snapshot().walk():
        if isinstance(each, ActorSnapshot):
            found += [f"{each.mailbox.depth} messages in {each.path}"] * bool(each.mailbox.depth)
            found += [f"{work.message} in {each.path}" for work in each.work]
            found += [f"task {name} in {each.path}" for name in each.tasks]
            found += [f"senders wait at {each.path}"] * bool(each.mailbox.senders_waiting)
    return found
