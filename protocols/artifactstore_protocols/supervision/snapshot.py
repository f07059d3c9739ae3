"""Snapshots of a supervision tree for operators: immutable plain values that describe one instant.

Times are seconds of the tree's clock. Ages are seconds before the snapshot.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from msgspec import Struct

from artifactstore_protocols.supervision.errors import UnknownChild
from artifactstore_protocols.supervision.lifecycle import ChildState
from artifactstore_protocols.supervision.message_base import Message
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
    """Why a message that was sent with `tell` was not handled."""

    POISON = "poison"
    """The message crashed its actor `max_deliveries` times."""
    REFUSED = "refused"
    """The handler raised a Refusal, and no caller waits for it."""
    STOPPED = "stopped"
    """The actor was stopped for good before it had handled the message."""


class DeadLetter(Struct, frozen=True):
    """A message that was sent with `tell` and not handled.

    Attributes:
        actor: the path of the receiver.
        message: the message itself.
        reason: see `DeadLetterReason`.
        deliveries: the number of handler calls that were started for the message.
        cause: the last failure or refusal; None if there was none.
        at: the time when the message became a dead letter.
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
        kind: the type name of the exception.
        text: the message of the exception.
        at: the time of the failure.
        decision: the supervisor's decision, in words.
    """

    kind: str
    text: str
    at: float
    decision: str


class Stall(Struct, frozen=True):
    """An actor whose start, stop or crash has passed its deadline and is not over. Trio cannot end a task by force.

    Attributes:
        since: the deadline.
        stack: the stack of the actor's task, innermost frame last.
    """

    since: float
    stack: str


class Block(Struct, frozen=True):
    """A handler that blocked the event loop, because it computed or waited without awaiting.

    Attributes:
        blocked_s: the watchdog's limit, which the block exceeded, in real seconds.
        stack: the stack of the handler, innermost frame last.
    """

    blocked_s: float
    stack: str


class MailboxSnapshot(Struct, frozen=True):
    """The status of a mailbox.

    Attributes:
        depth: the number of messages that wait.
        depth_peak: the highest number of messages that ever waited.
        oldest_s: how long the oldest message has waited, in seconds; None if no message waits.
        size_bytes: the total size of the messages that wait.
        size_bytes_peak: the highest total size of messages that ever waited.
        senders_waiting: the number of senders that wait for space.
        abandoned: the total number of asks whose caller stopped waiting before a handler was started.
        limits: see `MailboxLimits`.
        open: whether the mailbox accepts messages.
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
    """A running handler.

    Attributes:
        message: the type name of its message or messages.
        count: the number of its messages; above 1 only for a batch.
        age_s: the seconds since it began.
    """

    message: str
    count: int
    age_s: float


class ActorSnapshot(Struct, frozen=True):
    """The status of one actor.

    Attributes:
        name: its name.
        path: the names from the root to the actor, joined by `/`.
        state: see `ChildState`.
        restart: its restart type.
        starts: the number of its starts.
        uptime_s: the seconds since it became ready; None while it is not running.
        mailbox: see `MailboxSnapshot`.
        work: its running handlers, oldest first.
        tasks: the names of the running tasks that it started.
        last_failure: its last failure; None if it never failed.
        stall: set while the actor exceeds a deadline; None otherwise.
        last_block: the last block of the event loop by one of its handlers; None if no watchdog reported one.
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
    """The status of one supervisor and of all its descendants.

    Attributes:
        name: its name.
        path: the names from the root to the supervisor, joined by `/`.
        state: its state as a child. The state of the root follows from its phase.
        phase: see `Phase`.
        restart: its restart type.
        starts: the number of its starts.
        strategy: see `Strategy`.
        intensity: its limit on restarts; None if it never gives up.
        restarts_in_period: the number of restarts that count towards the limit now.
        children: its children, in start order.
        last_failure: its last failure as a whole; None if it never failed.
        at: the time of the snapshot.
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
        """Yield this supervisor and all its descendants, in start order."""
        yield self
        for child in self.children:
            if isinstance(child, SupervisorSnapshot):
                yield from child.walk()
            else:
                yield child

    def find(self, path: str) -> "ActorSnapshot | SupervisorSnapshot":
        """Return the actor or supervisor with this path.

        Raises:
            UnknownChild: no actor or supervisor has this path.
        """
        for entry in self.walk():
            if entry.path == path:
                return entry
        raise UnknownChild(path)

    def actor(self, path: str) -> ActorSnapshot:
        """Return the actor with this path.

        Raises:
            UnknownChild: no actor has this path.
        """
        entry = self.find(path)
        if isinstance(entry, SupervisorSnapshot):
            raise UnknownChild(path)
        return entry


class Reading(Struct, frozen=True):
    """The result of a ping to an actor on its system lane.

    Attributes:
        path: the path of the actor.
        state: see `ChildState`.
        answered: whether the actor's own task replied in time. If not, the other values are those that its supervisor
            knows.
        latency_s: the time from the ping to the reply, in seconds.
        depth: the number of messages that wait in its mailbox.
        oldest_s: how long the oldest message has waited, in seconds; None if no message waits.
        current: the type name of the message whose handler has run longest; None if no handler runs.
        current_age_s: how long that handler has run, in seconds; None if no handler runs.
        crashed_at: the times of its last few crashes, oldest first.
        last_crash: the kind and text of the latest crash; None if it never crashed.
        at: the time of the reading.
        summary: the actor's own `state_summary`; empty if the actor did not reply.
        why_down: the latest failure that keeps the actor down: its own, that of a sibling that is restarted together
            with it, or that of a supervisor above it. None while it runs, and if nothing failed.
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
