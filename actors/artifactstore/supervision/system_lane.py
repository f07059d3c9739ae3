"""The way to an actor past its mailbox: pings, which a task of the actor's own answers while its handlers run.

So an answer shows that the actor's task group is alive and that the loop gets round to it; what the handlers are doing
is in the reading beside it. Orders to stop and to drain do not travel at all, they are calls on the incarnation.
"""

from collections.abc import Callable, Mapping

import trio

__all__ = ["Ping", "SystemLane"]

_PINGS_MAX = 16


class Ping:
    """A question on the system lane.

    Attributes:
        over: set when it was answered, or nobody is there to answer it.
        summary: the actor's `state_summary`; None when it was not the actor that answered.
    """

    def __init__(self) -> None:
        self.over = trio.Event()
        self.summary: Mapping[str, str | int] | None = None


class SystemLane:
    """The pings of one incarnation."""

    def __init__(self, summary: Callable[[], Mapping[str, str | int]]) -> None:
        self._summary = summary
        self._sender, self._receiver = trio.open_memory_channel[Ping](_PINGS_MAX)
        self._serving = False

    def send(self, ping: Ping) -> None:
        """Put a question, or end it at once when nobody serves the lane or too many wait already."""
        if not self._serving:
            ping.over.set()
            return
        try:
            self._sender.send_nowait(ping)
        except trio.WouldBlock:
            ping.over.set()

    def open(self) -> None:
        """Take questions from now on; `serve` will answer them."""
        self._serving = True

    async def serve(self) -> None:
        """Answer until cancelled."""
        try:
            async for ping in self._receiver:
                ping.summary = self._summary()
                ping.over.set()
        finally:
            self.close()

    def close(self) -> None:
        """Take no more questions, and end those that wait: closing a channel alone would drop them in silence."""
        self._serving = False
        self._sender.close()
        while True:
            try:
                self._receiver.receive_nowait().over.set()
            except (trio.EndOfChannel, trio.ClosedResourceError):
                break
        self._receiver.close()
