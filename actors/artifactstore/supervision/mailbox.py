"""The queue of messages for an actor, bounded by count and by bytes. Its cell owns it, so it outlives crashes.

A mailbox has one trio memory channel per lane. One lane holds all serial and batched messages in order of arrival. Each
concurrent message type has its own lane, so a type at its limit never delays another. The bounds apply to all lanes
together. A message enters only through `_admit`. Senders that wait for room are admitted in order of arrival.

If the caller of an ask leaves, the message keeps its place until it is reached, but its bytes are released. Closing a
channel drops nothing: `release` takes out every remaining message and settles it.
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
        path: path of the actor.
        spawn: starts a worker on a lane; None while no incarnation runs workers.
        serial: the lane of all messages that are not concurrent.
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
        """Accept messages of these types. Existing lanes keep their messages."""
        self._handlers = handlers
        for message, handler in handlers.items():
            mode = handler.mode
            lane = Lane(mode.limit, on_demand=True) if isinstance(mode, Concurrent) else self.serial
            self._lanes.setdefault(message, lane)
        self._open = True

    @property
    def depth(self) -> int:
        """The number of queued messages."""
        return len(self._queued)

    @property
    def oldest_s(self) -> float | None:
        """The longest time in seconds that a queued message has waited; None if none is queued."""
        # Not the first one: a message that was put back is behind younger ones in `_queued`.
        queued = min((envelope.queued_at for envelope in self._queued), default=None)
        return None if queued is None else trio.current_time() - queued

    def lanes(self) -> Iterator[Lane]:
        """Yield every lane once, the serial one first."""
        yield self.serial
        yield from (lane for lane in self._lanes.values() if lane is not self.serial)

    def snapshot(self) -> MailboxSnapshot:
        """Return how full the mailbox is."""
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
        """Send a message and wait for its reply. Raises the errors of `ActorRef.ask`."""
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
            # Otherwise the error's traceback keeps this frame alive, which keeps the error alive.
            envelope.error = error = None

    async def tell(self, message: Message[Any]) -> None:
        """Send a message, and wait for room if needed. Raises the errors of `ActorRef.tell`."""
        envelope = Envelope(message, self._handler(message))
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._offer(envelope):
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            await self._wait_for_room(envelope)

    def try_tell(self, message: Message[Any]) -> None:
        """Send a message without waiting. Raises the errors of `ActorRef.try_tell`."""
        if not self._offer(Envelope(message, self._handler(message))):
            raise self._full(message)

    async def take(self, lane: Lane) -> Envelope:
        """Wait for the next message of a lane and return it. Its caller may have left."""
        envelope = await lane.take()
        self._leave(envelope)
        return envelope

    def gather(self, lane: Lane, first: Envelope, mode: Batched) -> list[Envelope]:
        """Return the batch that begins with `first`, with the messages of its type queued behind it, within the limits.

        A message that was in a crashed batch is delivered alone, so that the message that causes the crash is
        identified.
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
        """Queue a message again, as the first of its lane."""
        envelope.state = EnvelopeState.WAITING
        envelope.work = None
        self._count(envelope)
        self._lanes[type(envelope.message)].returned.appendleft(envelope)

    def close(self) -> None:
        """Stop accepting messages. Queued messages stay."""
        self._open = False
        while self._waiting:
            trio.lowlevel.reschedule(self._waiting.popitem(last=False)[0])

    def release(self) -> None:
        """Stop accepting messages, refuse all queued asks and bury all queued tells."""
        self.close()
        for lane in self.lanes():
            while (envelope := lane.take_nowait()) is not None:
                self._leave(envelope)
                if envelope.replied is None:
                    self.bury(envelope, DeadLetterReason.STOPPED)
                else:
                    envelope.refuse(self._stopped(envelope.message))

    def bury(self, envelope: Envelope, reason: DeadLetterReason, cause: BaseException | None = None) -> None:
        """Make a dead letter of a message that was sent with `tell`."""
        envelope.answer(None)
        self._dead_letters.add(self.path, envelope.message, reason, envelope.deliveries, cause)

    def _handler(self, message: Message[Any]) -> Handler:
        handler = self._handlers.get(type(message))
        if handler is None:
            raise UnhandledMessage(self.path, type(message).__name__)
        return handler

    def _offer(self, envelope: Envelope) -> bool:
        """Admit a message if there is room and no sender waits. Return whether it was admitted."""
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
