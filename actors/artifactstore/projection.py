"""ProjectionActor: what follows from the log, for those who watch it and for the views.

A tail reads the log, never a broadcast: it catches up from where its reader is, then waits for word that the log has
grown. So there is no seam between the past and the live events to lose one in or to see one twice, and a slow reader
holds up nobody. Word comes from this process's writer; a poll of the head finds what other processes wrote.
"""

from collections.abc import AsyncGenerator
from functools import partial
from typing import override

import trio

from artifactstore.streams import ChannelStream
from artifactstore.supervision import Actor, Concurrent, OnCancel, handles
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.messages import HeadMoved, OpenTail, ProjectionRole, Replay, Stream
from artifactstore_protocols.records import ReplayReport

__all__ = ["ProjectionActor"]

_TAIL_BATCH = 256
_POLL_S = 0.25
_TAILS = 1024


class ProjectionActor(Actor[ProjectionRole]):
    """Feeds tails and rebuilds views.

    Args:
        store: that holds log and views.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._head = 0
        self._grown = trio.Event()
        self._tails = 0

    @override
    def state_summary(self) -> dict[str, str | int]:
        return {"head": self._head, "tails opened": self._tails}

    @handles(HeadMoved)
    async def head_moved(self, message: HeadMoved) -> None:
        """Wake the tails."""
        self._head = max(self._head, message.sequence)
        self._grown.set()
        self._grown = trio.Event()

    @handles(OpenTail, mode=Concurrent(_TAILS), on_cancel=OnCancel.CANCEL)
    async def open_tail(self, message: OpenTail) -> Stream[StoredEvent]:
        """Follow the log from a sequence on."""
        self._tails += 1
        return ChannelStream(
            self.context.name,
            "tail",
            source=partial(self._follow, message.since),
            start=partial(self.context.start_child, f"tail-{self._tails}"),
            items_max=_TAIL_BATCH,
        )

    async def _follow(self, after: int) -> AsyncGenerator[StoredEvent]:
        while True:
            grown = self._grown  # taken before the read, so that growth in between is not slept through
            batch = await self._store.read_events(after=after, limit=_TAIL_BATCH)
            for stored in batch:
                yield stored
                after = stored.sequence
            if not batch:
                with trio.move_on_after(_POLL_S):
                    await grown.wait()

    @handles(Replay, mode=Concurrent(1), on_cancel=OnCancel.COMPLETE)
    async def replay(self, message: Replay) -> ReplayReport:
        """Check the views against the log, or rebuild them from it."""
        return await self._store.replay(rebuild=message.rebuild)
