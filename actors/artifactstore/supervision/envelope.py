"""A message on its way: what is wrapped around it, and the handler call that it becomes part of.

An envelope moves NEW -> WAITING -> STARTED -> SETTLED, or to ABANDONED when its asker leaves first. Whoever settles it
wakes the asker; settling twice, or after the asker has left, does nothing, so that no path has to ask who was first.
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
    """How far a message has come."""

    NEW = 0
    WAITING = 1
    STARTED = 2
    SETTLED = 3
    ABANDONED = 4


_GONE: Message[Any] = Message()
"""Stands in for an abandoned message, so that its payload is freed while its place is still queued."""


class Envelope:
    """One message, and its asker's place to wait; a message that was told has none.

    Attributes:
        message: what was said.
        handler: what will take it.
        size_bytes: what it counts for in the mailbox.
        chain: the mailboxes of all that wait for this answer, first asker first.
        replied: set once settled; None for a message that was told.
        reply: the answer, or None.
        error: what to raise at the asker instead.
        state: see `EnvelopeState`.
        deliveries: how often a handler was started on it.
        deadline: trio time at which its asker gives up; infinite for a message that was told.
        crashes: how many of those were ended by a failure of that handler.
        queued_at: trio time at which the mailbox took it in.
        request: what it is part of; see `requests`.
        work: the handler call it is part of, from its start until it is settled or abandoned.
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
            self.work = None  # which has this envelope, and would keep its message until the garbage collector comes
            self.reply = reply
            if self.replied is not None:
                self.replied.set()

    def refuse(self, error: Exception) -> None:
        """Settle with an error."""
        if self.state < EnvelopeState.SETTLED:
            self.error = error
            self.answer(None)

    def is_wanted(self) -> bool:
        """Whether somebody still waits for it to be started; one whose deadline has come counts as abandoned."""
        if self.state is EnvelopeState.WAITING and self.deadline <= trio.current_time():
            self.state = EnvelopeState.ABANDONED
        return self.state is EnvelopeState.WAITING

    def leave(self) -> bool:
        """The asker goes away; whether the message had not been started and so never will be."""
        waiting = self.state is EnvelopeState.WAITING
        started = self.state is EnvelopeState.STARTED
        if self.state < EnvelopeState.SETTLED:
            self.state = EnvelopeState.ABANDONED
            self.message = _GONE
        work, self.work = self.work, None  # as above
        if started and work is not None:
            work.one_left()
        return waiting


class Work:
    """One handler call in flight, with the envelopes that it answers.

    Attributes:
        mailbox: of the actor that runs it.
        handler: what runs.
        envelopes: one, or for a batch several.
        messages: their messages, as they were when it began.
        began_at: trio time.
        scope: cancels the handler alone; shielded while work is in it that is to be completed.
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
        """All that wait for this call, each once, and last the actor that runs it."""
        waiting = dict.fromkeys(box for envelope in self.envelopes for box in envelope.chain)
        return (*waiting, self.mailbox)

    @property
    def request(self) -> str:
        """The request that it is part of, or the first of them."""
        return joint_name([envelope.request for envelope in self.envelopes])

    @property
    def deadline(self) -> float:
        """Trio time at which the last of its askers gives up."""
        return max(envelope.deadline for envelope in self.envelopes)

    def one_left(self) -> None:
        """An asker has gone; when it was the last, nobody wants the result any more."""
        if self.handler.on_cancel is OnCancel.CANCEL and all(
            envelope.state is EnvelopeState.ABANDONED for envelope in self.envelopes
        ):
            self.scope.cancel(reason="the asker has left")


class Hook(Struct, frozen=True):
    """A hook of an actor that runs, for which the actor's own messages wait.

    Attributes:
        chain: the actor's mailbox alone.
        deadline: trio time at which the hook is cut off.
    """

    chain: "tuple[Mailbox]"
    deadline: float


current_caller: ContextVar[Work | Hook | None] = ContextVar("current_caller", default=None)
"""What this task runs on behalf of; tasks that outlive it reset it."""

home: ContextVar[str | None] = ContextVar("home", default=None)
"""The path of the actor that this task is part of, as a worker, as a task of the actor, or in a nursery of either."""


def current_actor() -> str | None:
    """The path of the actor whose handler or hook this task, or a thread that it waits for, runs."""
    caller = current_caller.get()
    return None if caller is None else caller.chain[-1].path
