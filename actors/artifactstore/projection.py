"""ProjectionActor: what follows from the log, for those who watch it and for the views.

A tail reads the log, never a broadcast: it catches up from where its reader is, then waits for word that the log has
grown. So there is no seam between the past and the live events to lose one in or to see one twice, and a slow reader
holds up nobody. Word comes from this process's writer, and from one watch over the log, which runs while there are
tails and hears of what other processes wrote. A database that is gone for a while delays the tails and does not end
them: they continue after the last event that they have handed over.
"""

import logging
from collections.abc import AsyncGenerator
from functools import partial
from typing import Final, override

import trio

from artifactstore.database.asyncio_thread import DatabaseClosed
from artifactstore.database.errors import DatabaseDamaged, DatabaseReplaced, DatabaseUnavailable, LogDamaged
from artifactstore.environment import environment
from artifactstore.streams import ChannelStream
from artifactstore.supervision import Actor, Backoff, Concurrent, OnCancel, OnTaskCrash, handles
from artifactstore.supervision.tasks import TaskHandle
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.messages import (
    HeadMoved,
    OpenTail,
    ProbeTails,
    ProjectionRole,
    Replay,
    Stream,
    TailsReading,
)
from artifactstore_protocols.records import ReplayReport

__all__ = ["ProjectionActor"]

_TAIL_BATCH: Final = 256
_TAIL_BYTES: Final = 1 << 20
"""How long the payloads are that a tail holds for its reader, unless one alone is longer."""

_TAILS: Final = 1024
_PROBES: Final = 4
_AGAIN: Final = Backoff(initial_s=0.1, maximum_s=5.0, jitter=0.5)
_DRAW_BITS: Final = 16
_AWAY: Final = (DatabaseUnavailable, DatabaseClosed)
_UNWATCHED: Final = (*_AWAY, LogDamaged)

_logger = logging.getLogger("artifactstore.projection")


class _Tail:
    """One tail: the stream that its reader has, and how far it has been filled."""

    def __init__(self, since: int) -> None:
        self.sent = since
        self.stream: ChannelStream[StoredEvent]


class ProjectionActor(Actor[ProjectionRole]):
    """Feeds tails and rebuilds views.

    Args:
        store: that holds log and views.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._head = 0
        self._grown = trio.Event()
        self._opened = 0
        self._watches = 0
        self._tails: dict[_Tail, None] = {}
        self._watch: TaskHandle | None = None

    @override
    def state_summary(self) -> dict[str, str | int]:
        return {"head": self._head, "tails opened": self._opened, "tails": len(self._tails)}

    @handles(HeadMoved)
    async def head_moved(self, message: HeadMoved) -> None:
        """Wake the tails."""
        if message.sequence > self._head:
            self._wake(message.sequence)

    def _wake(self, head: int) -> None:
        self._head = head
        self._grown.set()
        self._grown = trio.Event()

    @handles(OpenTail, mode=Concurrent(_TAILS), on_cancel=OnCancel.CANCEL)
    async def open_tail(self, message: OpenTail) -> Stream[StoredEvent]:
        """Follow the log from a sequence on."""
        self._opened += 1
        tail = _Tail(message.since)
        tail.stream = ChannelStream(
            self.context.name,
            "tail",
            source=partial(self._follow, tail),
            start=partial(self.context.start_child, f"tail-{self._opened}", on_crash=OnTaskCrash.REPORT),
        )
        return tail.stream

    @handles(ProbeTails, mode=Concurrent(_PROBES), on_cancel=OnCancel.CANCEL)
    async def probe_tails(self, message: ProbeTails) -> TailsReading:  # noqa: ARG002
        """How far the tails have come."""
        slowest = min((tail.sent for tail in self._tails), default=None)
        return TailsReading(len(self._tails), self._head, slowest)

    async def _follow(self, tail: _Tail) -> AsyncGenerator[StoredEvent]:
        self._tails[tail] = None
        if self._watch is None:
            self._watches += 1  # the one before may still be on its way out
            self._watch = self.context.start_child(f"watch-{self._watches}", self._watch_log)
        try:
            failures = 0
            while True:
                grown = self._grown  # taken before the read, so that growth in between is not slept through
                try:
                    batch = await self._store.read_events(after=tail.sent, limit=_TAIL_BATCH, bytes_max=_TAIL_BYTES)
                except (DatabaseDamaged, DatabaseReplaced):
                    raise
                except _AWAY:
                    with trio.move_on_after(_delay_s(failures)):
                        await grown.wait()
                    failures += 1
                    continue
                failures = 0
                for stored in batch:
                    yield stored
                    tail.sent = stored.sequence
                if not batch:
                    await grown.wait()
        finally:
            del self._tails[tail]
            if not self._tails:
                self._watch.cancel()
                self._watch = None

    async def _watch_log(self) -> None:
        """Wake the tails whenever the head is elsewhere, and when it can be read again after it could not."""
        failures = 0
        while True:
            try:
                head = await self._store.wait_for_growth(self._head)
            except _UNWATCHED as error:
                if not failures:
                    _logger.warning("events cannot be followed for now: %s", error)
                    self._wake(self._head)  # they find out for themselves what it means for them
                await trio.sleep(_delay_s(failures))
                failures += 1
            else:
                if failures or head != self._head:
                    self._wake(head)
                failures = 0

    @handles(Replay, mode=Concurrent(1), on_cancel=OnCancel.CANCEL)
    async def replay(self, message: Replay) -> ReplayReport:
        """Check the views against the log, or rebuild them from it."""
        return await self._store.replay(rebuild=message.rebuild, progress=message.progress)


def _delay_s(failures: int) -> float:
    return _AGAIN.delay_s(failures, environment.get().random_bits(_DRAW_BITS) / (1 << _DRAW_BITS))
