"""The system lane: pings that bypass an actor's mailbox. A task of the actor answers them while its handlers run.

So an answer shows that the actor's nursery is alive and that the event loop runs. The reading also has the state of the
handlers. Orders to stop or drain do not use the lane; they are method calls on the incarnation.
"""

from collections.abc import Callable, Mapping

import trio

__all__ = ["Ping", "SystemLane"]

_PINGS_MAX = 16


class Ping:
    """A ping on the system lane.

    Attributes:
        over: set when the ping is answered, or when nothing can answer it.
        summary: the actor's `state_summary`; None if the actor did not answer.
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
        """Queue a ping, or end it at once if the lane is not served or too many pings wait."""
        if not self._serving:
            ping.over.set()
            return
        try:
            self._sender.send_nowait(ping)
        except trio.WouldBlock:
            ping.over.set()

    def open(self) -> None:
        """Accept pings from now on; `serve` answers them."""
        self._serving = True

    async def serve(self) -> None:
        """Answer pings until cancelled."""
        try:
            async for ping in self._receiver:
                ping.summary = self._summary()
                ping.over.set()
        finally:
            self.close()

    def close(self) -> None:
        """Stop accepting pings, and end those that wait: closing a channel alone would drop them silently."""
        self._serving = False
        self._sender.close()
        while True:
            try:
                self._receiver.receive_nowait().over.set()
            except (trio.EndOfChannel, trio.ClosedResourceError):
                break
        self._receiver.close()
