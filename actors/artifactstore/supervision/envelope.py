"""Envelopes, which wrap messages on their way, and the handler calls that envelopes become part of.

An envelope moves NEW -> WAITING -> STARTED -> SETTLED, or to ABANDONED when its caller leaves first. Settling it wakes
the caller. Settling it twice, or after the caller has left, does nothing, so no code has to check for a race.
"""

import math
from collections.abc import Sequence
from contextvars import ContextVar
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import trio
from msgspec import Struct

from artifactstore.supervision.handlers import Handler
from artifactstore.supervision.requests import joint_name, name_of_request
from artifactstore_protocols.supervision import Message, OnCancel

if TYPE_CHECKING:
    from artifactstore.supervision.mailbox import Mailbox

__all__ = ["Envelope", "EnvelopeState", "Hook", "Work", "current_actor", "current_caller", "home"]


class EnvelopeState(IntEnum):
    """The progress of a message."""

    NEW = 0
    WAITING = 1
    STARTED = 2
    SETTLED = 3
    ABANDONED = 4


_GONE: Message[Any] = Message()
"""Replaces an abandoned message, so that its payload is freed while its envelope is still queued."""


class Envelope:
    """One message, and the event that its caller waits for. A message sent with `tell` has no caller.

    Attributes:
        message: the message.
        handler: the handler of the message.
        size_bytes: what the message counts for in the mailbox.
        chain: the mailboxes of all actors that wait for this answer, first caller first.
        replied: set once the envelope is settled; None for a message sent with `tell`.
        reply: the answer, or None.
        error: the exception to raise at the caller instead.
        state: see `EnvelopeState`.
        deliveries: number of handler calls started for it.
        deadline: trio time when its caller times out; infinite for a message sent with `tell`.
        crashes: number of its handler calls that failed.
        queued_at: trio time when it entered the mailbox.
        request: name of the request that the message belongs to; see `requests`.
        work: the handler call that it is part of, from its start until the envelope is settled or abandoned.
    """

    __slots__ = (
        "chain",
        "crashes",
        "deadline",
        "deliveries",
        "error",
        "handler",
        "message",
        "queued_at",
        "replied",
        "reply",
        "request",
        "size_bytes",
        "state",
        "work",
    )

    def __init__(
        self,
        message: Message[Any],
        handler: Handler,
        *,
        chain: "tuple[Mailbox, ...]" = (),
        replied: trio.Event | None = None,
        deadline: float = math.inf,
    ) -> None:
        self.message = message
        self.handler = handler
        self.size_bytes = message.size_bytes
        self.chain = chain
        self.replied = replied
        self.deadline = deadline
        self.request = name_of_request()
        self.reply: object = None
        self.error: Exception | None = None
        self.state = EnvelopeState.NEW
        self.deliveries = 0
        self.crashes = 0
        self.queued_at = math.inf
        self.work: Work | None = None

    def answer(self, reply: object) -> None:
        """Settle with a reply."""
        if self.state < EnvelopeState.SETTLED:
            self.state = EnvelopeState.SETTLED
            self.work = None  # breaks the cycle with the work, so that the message is freed at once
            self.reply = reply
            if self.replied is not None:
                self.replied.set()

    def refuse(self, error: Exception) -> None:
        """Settle with an error."""
        if self.state < EnvelopeState.SETTLED:
            self.error = error
            self.answer(None)

    def is_wanted(self) -> bool:
        """Return whether a caller still waits for its start. An envelope past its deadline becomes abandoned."""
        if self.state is EnvelopeState.WAITING and self.deadline <= trio.current_time():
            self.state = EnvelopeState.ABANDONED
        return self.state is EnvelopeState.WAITING

    def leave(self) -> bool:
        """Mark the envelope as abandoned by its caller. Return whether the message was still waiting to be started."""
        waiting = self.state is EnvelopeState.WAITING
        started = self.state is EnvelopeState.STARTED
        if self.state < EnvelopeState.SETTLED:
            self.state = EnvelopeState.ABANDONED
            self.message = _GONE
        work, self.work = self.work, None  # breaks the cycle, as in `answer`
        if started and work is not None:
            work.one_left()
        return waiting


class Work:
    """One running handler call, with the envelopes that it answers.

    Attributes:
        mailbox: the mailbox of the actor that runs it.
        handler: the handler.
        envelopes: one envelope, or several for a batch.
        messages: the messages of the envelopes when the call began.
        began_at: trio time of its start.
        scope: cancels only this handler call. It is shielded while the handler must run to completion.
    """

    __slots__ = ("began_at", "envelopes", "handler", "mailbox", "messages", "scope")

    def __init__(
        self, mailbox: "Mailbox", handler: Handler, envelopes: Sequence[Envelope], scope: trio.CancelScope
    ) -> None:
        self.mailbox = mailbox
        self.handler = handler
        self.envelopes = envelopes
        self.messages = tuple(envelope.message for envelope in envelopes)
        self.began_at = trio.current_time()
        self.scope = scope
        for envelope in envelopes:
            envelope.state = EnvelopeState.STARTED
            envelope.deliveries += 1
            envelope.work = self

    @property
    def chain(self) -> "tuple[Mailbox, ...]":
        """The mailboxes of all actors that wait for this call, each once, then that of the actor that runs it."""
        waiting = dict.fromkeys(box for envelope in self.envelopes for box in envelope.chain)
        return (*waiting, self.mailbox)

    @property
    def request(self) -> str:
        """The name of the request that this call belongs to; for several, their joint name."""
        return joint_name([envelope.request for envelope in self.envelopes])

    @property
    def deadline(self) -> float:
        """The trio time when the last of its callers times out."""
        return max(envelope.deadline for envelope in self.envelopes)

    def one_left(self) -> None:
        """Note that a caller has left: cancel the handler if all have left and its `on_cancel` is CANCEL."""
        if self.handler.on_cancel is OnCancel.CANCEL and all(
            envelope.state is EnvelopeState.ABANDONED for envelope in self.envelopes
        ):
            self.scope.cancel(reason="the asker has left")


class Hook(Struct, frozen=True):
    """A running hook of an actor. The actor's own messages wait for it.

    Attributes:
        chain: the actor's mailbox alone.
        deadline: trio time when the hook is cancelled.
    """

    chain: "tuple[Mailbox]"
    deadline: float


current_caller: ContextVar[Work | Hook | None] = ContextVar("current_caller", default=None)
"""The handler call or hook that this task runs for. A task that outlives it resets this."""

home: ContextVar[str | None] = ContextVar("home", default=None)
"""The path of the actor that this task belongs to: as a worker, as its task, or in a nursery of either."""


def current_actor() -> str | None:
    """Return the path of the actor whose handler or hook runs in this task, or in a thread that it waits for."""
    caller = current_caller.get()
    return None if caller is None else caller.chain[-1].path
