"""One queue within a mailbox: a trio memory channel, and what has been put back before what is in it."""

import math
from collections import deque

import trio

from artifactstore.supervision.envelope import Envelope

__all__ = ["Lane"]


class Lane:
    """A queue within a mailbox, and how many workers may empty it at once.

    Attributes:
        limit: most workers; 1 for the serial lane.
        on_demand: whether workers are started as messages arrive; the serial lane has one all the time.
        workers: workers that the running incarnation has on it.
        returned: messages to be taken before those in the channel.
    """

    __slots__ = ("limit", "on_demand", "receiver", "returned", "sender", "workers")

    def __init__(self, limit: int, *, on_demand: bool) -> None:
        self.limit = limit
        self.on_demand = on_demand
        self.workers = 0
        self.returned: deque[Envelope] = deque()
        self.sender, self.receiver = trio.open_memory_channel[Envelope](math.inf)

    def backlog(self) -> int:
        """Messages in this lane."""
        return len(self.returned) + self.receiver.statistics().current_buffer_used

    def wants_worker(self) -> bool:
        """Whether one more message would find nobody to take it, although the limit allows one more worker."""
        return self.on_demand and self.workers < self.limit and not self.receiver.statistics().tasks_waiting_receive

    async def take(self) -> Envelope:
        """The first message, once there is one; a checkpoint in any case, so that a cancelled worker takes none."""
        if self.returned:
            await trio.lowlevel.checkpoint()
        # Looked at again: another worker of this lane may have taken it meanwhile.
        return self.returned.popleft() if self.returned else await self.receiver.receive()

    def take_nowait(self) -> Envelope | None:
        """The first message, or None."""
        if self.returned:
            return self.returned.popleft()
        try:
            return self.receiver.receive_nowait()
        except trio.WouldBlock:
            return None
