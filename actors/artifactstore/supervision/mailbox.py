"""What waits for an actor: bounded by count and by bytes, and owned by the supervisor, so that it outlives crashes.

Inside are trio memory channels, one a lane: a lane for everything serial or batched, in order of arrival, and one for
each concurrent type, so that a type at its limit never holds up another. The bounds span all lanes. A message enters
only through `_admit`, which keeps first come, first served among senders that wait for room.

An ask whose asker left keeps its place until it is reached, but not its bytes. Nothing is ever dropped by closing a
channel: `release` takes every leftover out and answers it.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import trio

from artifactstore.supervision.dead_letters import DeadLetters
from artifactstore.supervision.envelope import Envelope, EnvelopeState, current_caller
from artifactstore.supervision.handlers import Handler
from artifactstore.supervision.lane import Lane
from artifactstore_protocols.supervision import (
    ActorStopped,
    AskCycle,
    AskTimeout,
    Batched,
    Concurrent,
    DeadLetterReason,
    MailboxFull,
    MailboxLimits,
    MailboxSnapshot,
    Message,
    UnhandledMessage,
)

__all__ = ["Mailbox"]


class Mailbox:
    """The queue of one actor.

    Attributes:
        path: of the actor.
        spawn: what starts a worker on a lane; None while no incarnation works.
        serial: the lane of everything that is not concurrent.
    """

    def __init__(self, path: str, limits: MailboxLimits, dead_letters: DeadLetters) -> None:
        self.path = path
        self.spawn: Callable[[Lane], None] | None = None
        self.serial = Lane(1, on_demand=False)
        self._limits = limits
        self._dead_letters = dead_letters
        self._handlers: Mapping[type[Message[Any]], Handler] = {}
        self._lanes: dict[type[Message[Any]], Lane] = {}
        self._open = False
        self._waiting: OrderedDict[trio.lowlevel.Task, Envelope] = OrderedDict()
        self._queued: dict[Envelope, None] = {}  # as an ordered set
        self._depth_peak = 0
        self._bytes = self._bytes_peak = 0
        self._abandoned = 0

    def open(self, handlers: Mapping[type[Message[Any]], Handler]) -> None:
        """Take messages of these types; lanes that exist keep what is in them."""
        self._handlers = handlers
        for message, handler in handlers.items():
            mode = handler.mode
            lane = Lane(mode.limit, on_demand=True) if isinstance(mode, Concurrent) else self.serial
            self._lanes.setdefault(message, lane)
        self._open = True

    @property
    def depth(self) -> int:
        """Messages that wait."""
        return len(self._queued)

    @property
    def oldest_s(self) -> float | None:
        """How many seconds the message has waited that waits longest; None when there is none."""
        # Not simply the first: one that was put back stands behind younger ones here.
        queued = min((envelope.queued_at for envelope in self._queued), default=None)
        return None if queued is None else trio.current_time() - queued

    def lanes(self) -> Iterator[Lane]:
        """Every lane once, the serial one first."""
        yield self.serial
        yield from (lane for lane in self._lanes.values() if lane is not self.serial)

    def snapshot(self) -> MailboxSnapshot:
        """How full it is."""
        return MailboxSnapshot(
            depth=self.depth,
            depth_peak=self._depth_peak,
            oldest_s=self.oldest_s,
            size_bytes=self._bytes,
            size_bytes_peak=self._bytes_peak,
            senders_waiting=len(self._waiting),
            abandoned=self._abandoned,
            limits=self._limits,
            open=self._open,
        )

    async def ask(self, message: Message[Any], timeout_s: float) -> object:
        """Send, and wait for the reply. Raises as `ActorRef.ask` says."""
        caller = current_caller.get()
        chain = () if caller is None else caller.chain
        if self in chain:
            raise AskCycle(tuple(box.path for box in (*chain, self)))
        replied = trio.Event()
        deadline = trio.current_time() + timeout_s
        envelope = Envelope(message, self._handler(message), chain=chain, replied=replied, deadline=deadline)
        try:
            with trio.CancelScope(deadline=deadline):
                if not self._offer(envelope):
                    await self._wait_for_room(envelope)
                await replied.wait()
        finally:
            if envelope.state is not EnvelopeState.SETTLED:
                self._abandon(envelope)
        if envelope.state is EnvelopeState.ABANDONED:
            started = envelope.deliveries > 0
            raise AskTimeout(self.path, type(message).__name__, started, timeout_s)
        error = envelope.error
        if error is None:
            return envelope.reply
        try:
            raise error
        finally:
            # Without this the traceback would keep the error, and so this frame, alive in a cycle.
            envelope.error = error = None

    async def tell(self, message: Message[Any]) -> None:
        """Send, waiting for room. Raises as `ActorRef.tell` says."""
        envelope = Envelope(message, self._handler(message))
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._offer(envelope):
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            await self._wait_for_room(envelope)

    def try_tell(self, message: Message[Any]) -> None:
        """Send at once or not at all. Raises as `ActorRef.try_tell` says."""
        if not self._offer(Envelope(message, self._handler(message))):
            raise self._full(message)

    async def take(self, lane: Lane) -> Envelope:
        """The next message of a lane, waiting for one; perhaps nobody wants it any more."""
        envelope = await lane.take()
        self._leave(envelope)
        return envelope

    def gather(self, lane: Lane, first: Envelope, mode: Batched) -> list[Envelope]:
        """The batch that `first` begins: what has queued up behind it, of its type and within the limits.

        A message that was in a crash before travels alone, so that the one which causes them is told apart.
        """
        batch = [first]
        size = first.size_bytes
        while len(batch) < mode.max_messages and first.crashes == 0:
            envelope = lane.take_nowait()
            if envelope is None:
                break
            if envelope.is_wanted():
                fits = envelope.handler is first.handler and size + envelope.size_bytes <= mode.max_bytes
                if not fits or envelope.crashes:
                    lane.returned.appendleft(envelope)
                    break
                batch.append(envelope)
                size += envelope.size_bytes
            self._leave(envelope)
        return batch

    def put_back(self, envelope: Envelope) -> None:
        """Queue a message once more, as the first of its lane."""
        envelope.state = EnvelopeState.WAITING
        envelope.work = None
        self._count(envelope)
        self._lanes[type(envelope.message)].returned.appendleft(envelope)

    def close(self) -> None:
        """Take no further message; what waits stays."""
        self._open = False
        while self._waiting:
            trio.lowlevel.reschedule(self._waiting.popitem(last=False)[0])

    def release(self) -> None:
        """Take no further message, answer every asker that waits and bury what was told."""
        self.close()
        for lane in self.lanes():
            while (envelope := lane.take_nowait()) is not None:
                self._leave(envelope)
                if envelope.replied is None:
                    self.bury(envelope, DeadLetterReason.STOPPED)
                else:
                    envelope.refuse(self._stopped(envelope.message))

    def bury(self, envelope: Envelope, reason: DeadLetterReason, cause: BaseException | None = None) -> None:
        """Make a dead letter of a message that was told."""
        envelope.answer(None)
        self._dead_letters.add(self.path, envelope.message, reason, envelope.deliveries, cause)

    def _handler(self, message: Message[Any]) -> Handler:
        handler = self._handlers.get(type(message))
        if handler is None:
            raise UnhandledMessage(self.path, type(message).__name__)
        return handler

    def _offer(self, envelope: Envelope) -> bool:
        """Let a message in if there is room and nobody waits before it."""
        if not self._open:
            raise self._stopped(envelope.message)
        if envelope.size_bytes > self._limits.bytes:
            raise self._full(envelope.message)
        if self._waiting or not self._has_room(envelope):
            return False
        self._admit(envelope)
        return True

    async def _wait_for_room(self, envelope: Envelope) -> None:
        task = trio.lowlevel.current_task()
        self._waiting[task] = envelope

        def abort(_: object) -> trio.lowlevel.Abort:
            del self._waiting[task]
            self._admit_waiting()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if envelope.state is EnvelopeState.NEW:
            raise self._stopped(envelope.message)

    def _has_room(self, envelope: Envelope) -> bool:
        return self.depth < self._limits.messages and self._bytes + envelope.size_bytes <= self._limits.bytes

    def _admit(self, envelope: Envelope) -> None:
        envelope.state = EnvelopeState.WAITING
        envelope.queued_at = trio.current_time()
        self._count(envelope)
        lane = self._lanes[type(envelope.message)]
        if lane.on_demand and self.spawn is not None and lane.wants_worker():
            self.spawn(lane)
        lane.sender.send_nowait(envelope)

    def _admit_waiting(self) -> None:
        while self._waiting:
            task, envelope = next(iter(self._waiting.items()))
            if not self._has_room(envelope):
                return
            del self._waiting[task]
            self._admit(envelope)
            trio.lowlevel.reschedule(task)

    def _count(self, envelope: Envelope) -> None:
        self._queued[envelope] = None
        self._bytes += envelope.size_bytes
        self._depth_peak = max(self._depth_peak, self.depth)
        self._bytes_peak = max(self._bytes_peak, self._bytes)

    def _leave(self, envelope: Envelope) -> None:
        del self._queued[envelope]
        self._bytes -= envelope.size_bytes
        self._admit_waiting()

    def _abandon(self, envelope: Envelope) -> None:
        if envelope.leave():
            self._abandoned += 1
            self._bytes -= envelope.size_bytes
            envelope.size_bytes = 0
            self._admit_waiting()

    def _stopped(self, message: Message[Any]) -> ActorStopped:
        return ActorStopped(self.path, type(message).__name__, may_have_taken_effect=False)

    def _full(self, message: Message[Any]) -> MailboxFull:
        return MailboxFull(
            self.path,
            type(message).__name__,
            message.size_bytes,
            self._limits.messages,
            self._limits.bytes,
        )
