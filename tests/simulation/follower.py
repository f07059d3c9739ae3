"""Somebody who reads the log as it grows, through whatever happens to the process that feeds it."""

from typing import Final

import trio

from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.supervision import Refusal
from simulation.process import Process, Running
from simulation.world import SimulatedBug

__all__ = ["Follower"]

_AGAIN_S: Final = 0.5


class Follower:
    """Follows the log through one process, and continues after what it has seen last.

    Attributes:
        seen: every event that it was given.
    """

    def __init__(self, process: Process) -> None:
        self.seen: list[StoredEvent] = []
        self._process = process

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            running = await self._process.up()
            with running.life.call():
                await self._follow(running)
            await trio.sleep(_AGAIN_S)

    async def _follow(self, running: Running) -> None:
        try:
            async with running.registry.tail_events(self.seen[-1].sequence if self.seen else 0) as tail:
                async for stored in tail:
                    self.seen.append(stored)
        except (Refusal, SimulatedBug):
            return  # the log or the actor is not there now
