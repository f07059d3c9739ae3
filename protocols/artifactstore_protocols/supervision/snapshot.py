"""What an operator sees: a tree of plain values, taken at one instant and never changed.

Times are seconds of the tree's clock, ages are seconds before the snapshot was taken.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from msgspec import Struct

from artifactstore_protocols.supervision.errors import UnknownChild
from artifactstore_protocols.supervision.lifecycle import ChildState
from artifactstore_protocols.supervision.messages import Message
from artifactstore_protocols.supervision.policy import Intensity, MailboxLimits, Restart, Strategy
from artifactstore_protocols.supervision.table import Phase

__all__ = [
    "ActorSnapshot",
    "Block",
    "DeadLetter",
    "DeadLetterReason",
    "Failure",
    "MailboxSnapshot",
    "Reading",
    "Stall",
    "SupervisorSnapshot",
    "WorkSnapshot",
]


class DeadLetterReason(StrEnum):
    """Why a message that nobody waits for came to nothing."""

    POISON = "poison"
    """It crashed its actor as often as `max_deliveries` allows."""
    REFUSED = "refused"
    """Its handler answered with a Refusal, and there was no asker to tell."""
    STOPPED = "stopped"
    """Its actor was stopped for good before it was handled to the end."""


class DeadLetter(Struct, frozen=True):
    """One message that was told to an actor in vain.

    Attributes:
        actor: path of the receiver.
        message: the message itself.
        reason: see `DeadLetterReason`.
        deliveries: how often a handler was started on it.
        cause: the last failure or refusal, where there was one.
        at: when it died.
    """

    actor: str
    message: Message[object]
    reason: DeadLetterReason
    deliveries: int
    cause: BaseException | None
    at: float


class Failure(Struct, frozen=True):
    """The last failure of a child.

    Attributes:
        kind: type name of the exception.
        text: its message.
        at: when it happened.
        decision: what the supervisor made of it.
    """

    kind: str
    text: str
    at: float
    decision: str


class Stall(Struct, frozen=True):
    """An actor whose start, stop or crash is not over although its time has passed; trio cannot end a task by force.

    Attributes:
        since: when the time had passed.
        stack: where the actor's tasks stand, innermost frame last.
    """

    since: float
    stack: str


class Block(Struct, frozen=True):
    """A handler that held up the whole event loop, since it computed or waited without awaiting.

    Attributes:
        blocked_s: real seconds without a sign of life when it was noticed.
        stack: where it stood, innermost frame last.
    """

    blocked_s: float
    stack: str


class MailboxSnapshot(Struct, frozen=True):
    """How full a mailbox is.

    Attributes:
        depth: messages that wait.
        depth_peak: the most that ever waited.
        oldest_s: seconds that the message has waited which waits longest; None when there is none.
        size_bytes: bytes that wait.
        size_bytes_peak: the most that ever waited.
        senders_waiting: senders that wait for room.
        abandoned: asks so far whose asker left before they were started.
        limits: see `MailboxLimits`.
        open: whether it takes messages.
    """

    depth: int
    depth_peak: int
    oldest_s: float | None
    size_bytes: int
    size_bytes_peak: int
    senders_waiting: int
    abandoned: int
    limits: MailboxLimits
    open: bool


class WorkSnapshot(Struct, frozen=True):
    """A handler in flight.

    Attributes:
        message: type name of the message or messages.
        count: messages in it; above 1 for a batch only.
        age_s: seconds since it began.
    """

    message: str
    count: int
    age_s: float


class ActorSnapshot(Struct, frozen=True):
    """One actor.

    Attributes:
        name: its name.
        path: names from the root, joined by `/`.
        state: see `ChildState`.
        restart: its restart type.
        starts: how often it was started.
        uptime_s: seconds since it became ready; None while it is not running.
        mailbox: see `MailboxSnapshot`.
        work: handlers in flight, oldest first.
        tasks: names of the tasks that it started and that still run.
        last_failure: None when it never failed.
        stall: set while it outlives a deadline.
        last_block: the last time that one of its handlers blocked the event loop, where a watchdog is set.
    """

    name: str
    path: str
    state: ChildState
    restart: Restart
    starts: int
    uptime_s: float | None
    mailbox: MailboxSnapshot
    work: tuple[WorkSnapshot, ...] = ()
    tasks: tuple[str, ...] = ()
    last_failure: Failure | None = None
    stall: Stall | None = None
    last_block: Block | None = None


class SupervisorSnapshot(Struct, frozen=True):
    """One supervisor and all below it.

    Attributes:
        name: its name.
        path: names from the root, joined by `/`.
        state: its state as a child; the root's follows from its phase.
        phase: see `Phase`.
        restart: its restart type.
        starts: how often it was started.
        strategy: see `Strategy`.
        intensity: its limit on restarts; None when it never gives up.
        restarts_in_period: restarts that count against the limit now.
        children: in start order.
        last_failure: None when it never failed as a whole.
        at: when the snapshot was taken.
    """

    name: str
    path: str
    state: ChildState
    phase: Phase
    restart: Restart
    starts: int
    strategy: Strategy
    intensity: Intensity | None
    restarts_in_period: int
    children: "tuple[ActorSnapshot | SupervisorSnapshot, ...]"
    last_failure: Failure | None
    at: float

    def walk(self) -> "Iterator[ActorSnapshot | SupervisorSnapshot]":
        """This supervisor and everything below it, in start order."""
        yield self
        for child in self.children:
            if isinstance(child, SupervisorSnapshot):
                yield from child.walk()
            else:
                yield child

    def find(self, path: str) -> "ActorSnapshot | SupervisorSnapshot":
        """The entry of this path.

        Raises:
            UnknownChild: there is none.
        """
        for entry in self.walk():
            if entry.path == path:
                return entry
        raise UnknownChild(path)

    def actor(self, path: str) -> ActorSnapshot:
        """The actor of this path.

        Raises:
            UnknownChild: there is none, or it is a supervisor.
        """
        entry = self.find(path)
        if isinstance(entry, SupervisorSnapshot):
            raise UnknownChild(path)
        return entry


class Reading(Struct, frozen=True):
    """An actor's answer to a ping on its system lane.

    Attributes:
        path: the actor.
        state: see `ChildState`.
        answered: whether the actor's own task answered in time; if not, the rest is what its supervisor knows.
        latency_s: from the ping to the answer.
        depth: messages that wait in its mailbox.
        oldest_s: seconds that the message has waited which waits longest; None when there is none.
        current: type name of the message whose handler has run longest; None when it is idle.
        current_age_s: seconds that handler has run.
        crashed_at: when its last few crashes were, oldest first.
        last_crash: kind and text of the latest one; None when it never crashed.
        summary: the actor's own `state_summary`.
        at: when the reading was taken.
        why_down: the latest failure of what keeps it down, be that the actor itself, a sibling that takes it along or a
            supervisor above it; None while it runs, and when nothing failed.
    """

    path: str
    state: ChildState
    answered: bool
    latency_s: float
    depth: int
    oldest_s: float | None
    current: str | None
    current_age_s: float | None
    crashed_at: tuple[float, ...]
    last_crash: str | None
    at: float
    summary: Mapping[str, str | int]
    why_down: Failure | None = None
