"""One queue within a mailbox: a trio memory channel, and the messages that were put back before its content."""

import math
from collections import deque

import trio

from artifactstore.supervision.envelope import Envelope

__all__ = ["Lane"]


class Lane:
    """A queue within a mailbox, with a limit on the workers that take from it concurrently.

    Attributes:
        limit: most workers; 1 for the serial lane.
        on_demand: whether workers are started as messages arrive. The serial lane always has one.
        workers: number of workers of the running incarnation.
        returned: messages to take before those in the channel.
    """

    __slots__ = ("limit", "on_demand", "receiver", "returned", "sender", "workers")

    def __init__(self, limit: int, *, on_demand: bool) -> None:
        self.limit = limit
        self.on_demand = on_demand
        self.workers = 0
        self.returned: deque[Envelope] = deque()
        self.sender, self.receiver = trio.open_memory_channel[Envelope](math.inf)

    def backlog(self) -> int:
        """Return the number of messages in this lane."""
        return len(self.returned) + self.receiver.statistics().current_buffer_used

    def wants_worker(self) -> bool:
        """Return whether one more message would need another worker, and the limit allows one."""
        return self.on_demand and self.workers < self.limit and not self.receiver.statistics().tasks_waiting_receive

    async def take(self) -> Envelope:
        """Wait for the first message and return it. Always a checkpoint, so that a cancelled worker takes none."""
        if self.returned:
            await trio.lowlevel.checkpoint()
        # Checked again, because another worker of this lane may have taken it meanwhile.
        return self.returned.popleft() if self.returned else await self.receiver.receive()

    def take_nowait(self) -> Envelope | None:
        """Return the first message, or None if there is none."""
        if self.returned:
            return self.returned.popleft()
        try:
            return self.receiver.receive_nowait()
        except trio.WouldBlock:
            return None
