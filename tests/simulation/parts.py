"""An event store and a data plane in memory, for tests of the actors that use them; faults as a simulation has them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from artifactstore.backends.local import LocalBackend
from artifactstore.backends.registry import BackendRegistry
from artifactstore.dataplane import InProcessDataPlane
from artifactstore.environment import environment
from artifactstore_protocols.dataplane import DataPlane
from artifactstore_protocols.event_store import EventStore
from simulation.faults import Fault
from simulation.log import SimulatedLog
from simulation.posix import SimulatedPosix
from simulation.store import SimulatedEventStore
from simulation.threads import SimulatedEnvironment
from simulation.world import Life, World

__all__ = ["Parts", "simulated_parts"]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a store is made of, below its actors.

    Attributes:
        store: an open event store.
        plane: a data plane with one backend.
        log: what is committed.
        posix: the disk below the data plane, and what is open on it.
        world: what is to go wrong, and what happened.
    """

    store: EventStore
    plane: DataPlane
    log: SimulatedLog
    posix: SimulatedPosix
    world: World


@asynccontextmanager
async def simulated_parts(*faults: Fault, seed: int = 0) -> AsyncGenerator[Parts]:
    """Have both for the block. Run it under virtual time, since they take some."""
    world = World(seed, faults)
    posix = SimulatedPosix(world)
    life = Life(0, 1)
    token = environment.set(SimulatedEnvironment(world, seed))
    try:
        with posix.installed():
            async with trio.open_nursery() as nursery:
                log = SimulatedLog(world, nursery)
                store = SimulatedEventStore(world, log, life)
                await store.open()
                backend = LocalBackend(posix.admit(life))
                try:
                    plane = InProcessDataPlane(BackendRegistry([backend], backend.backend_id))
                    yield Parts(store, plane, log, posix, world)
                finally:
                    backend.close()
                    with trio.CancelScope(shield=True):
                        await store.close()
    finally:
        environment.reset(token)
