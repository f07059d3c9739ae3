"""ProjectionActor: feeds tails with events from the log, and rebuilds the projection.

A tail reads the log, not a broadcast. It reads from its subscriber's position to the head, then waits until the log has
grown. So it never loses or repeats an event between past and live events, and a slow subscriber delays no other one.

The event writer of this process wakes the tails. While there are tails, one task follows the head for events of other
processes. If the database is unavailable for a while, the tails wait and then continue after the last event that they
delivered.
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
"""Most payload bytes that a tail buffers for its subscriber; a single larger event still passes."""

_TAILS: Final = 1024
_PROBES: Final = 4
_AGAIN: Final = Backoff(initial_s=0.1, maximum_s=5.0, jitter=0.5)
_DRAW_BITS: Final = 16
_AWAY: Final = (DatabaseUnavailable, DatabaseClosed)
_UNWATCHED: Final = (*_AWAY, LogDamaged)

_logger = logging.getLogger("artifactstore.projection")


class _Tail:
    """One tail: the stream of its subscriber, and the sequence of the last event sent."""

    def __init__(self, since: int) -> None:
        self.sent = since
        self.stream: ChannelStream[StoredEvent]


class ProjectionActor(Actor[ProjectionRole]):
    """The actor that feeds tails and rebuilds the projection.

    Args:
        store: the event store with the log and the tables.
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
        """Open a stream of all events after a sequence."""
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
        """Return how far behind the head the slowest tail is."""
        slowest = min((tail.sent for tail in self._tails), default=None)
        return TailsReading(len(self._tails), self._head, slowest)

    async def _follow(self, tail: _Tail) -> AsyncGenerator[StoredEvent]:
        self._tails[tail] = None
        if self._watch is None:
            self._watches += 1  # a cancelled watch task can still be running under its name
            self._watch = self.context.start_child(f"watch-{self._watches}", self._follow_head)
        try:
            failures = 0
            while True:
                grown = self._grown  # taken before the read, so that growth during the read wakes the wait below
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

    async def _follow_head(self) -> None:
        """Wake the tails when the head moves, and when the log becomes readable again after a failure."""
        failures = 0
        while True:
            try:
                head = await self._store.wait_for_growth(self._head)
            except _UNWATCHED as error:
                if not failures:
                    _logger.warning("events cannot be followed for now: %s", error)
                    self._wake(self._head)  # each tail reads, and handles the error itself
                await trio.sleep(_delay_s(failures))
                failures += 1
            else:
                if failures or head != self._head:
                    self._wake(head)
                failures = 0

    @handles(Replay, mode=Concurrent(1), on_cancel=OnCancel.CANCEL)
    async def replay(self, message: Replay) -> ReplayReport:
        """Compare the projection with the log, or rebuild it from the log."""
        return await self._store.replay(rebuild=message.rebuild, progress=message.progress)


def _delay_s(failures: int) -> float:
    return _AGAIN.delay_s(failures, environment.get().random_bits(_DRAW_BITS) / (1 << _DRAW_BITS))
