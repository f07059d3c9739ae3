"""The parts of a tree: one spec for each actor and each supervisor."""

import math
from collections.abc import Callable
from typing import Any

from msgspec import Struct, field

from artifactstore.supervision.actor import Actor
from artifactstore.supervision.ref import ActorRef
from artifactstore_protocols.supervision import Backoff, Intensity, MailboxLimits, Restart, Strategy

__all__ = ["ActorSpec", "ChildSpec", "SupervisorSpec"]


def _require_name(name: str) -> None:
    if not name or "/" in name:
        raise ValueError(f"{name!r} is no name for a child: it must not be empty or contain '/'")


class ActorSpec[Role](Struct, frozen=True, kw_only=True):
    """How to run one actor.

    Attributes:
        ref: the reference that callers use; its name is the actor's name. It is bound to this actor while the tree is
            open.
        factory: called without arguments at every start; returns a new actor, always of the same class.
        mailbox: see `MailboxLimits`.
        restart: see `Restart`.
        backoff: see `Backoff`.
        start_timeout_s: longest time for `on_start`.
        shutdown_timeout_s: seconds from the order to stop until all of the actor's tasks are cancelled.
        max_deliveries: how often a message sent with `tell` is delivered to a crashing handler before it becomes a dead
            letter.
    """

    ref: ActorRef[Role]
    factory: Callable[[], Actor[Role]]
    mailbox: MailboxLimits = field(default_factory=MailboxLimits)
    restart: Restart = Restart.PERMANENT
    backoff: Backoff = field(default_factory=Backoff)
    start_timeout_s: float = 30.0
    shutdown_timeout_s: float = 5.0
    max_deliveries: int = 3

    def __post_init__(self) -> None:
        _require_name(self.name)
        if not 0 < self.start_timeout_s < math.inf or not 0 <= self.shutdown_timeout_s < math.inf:
            raise ValueError(f"{self.name}: both timeouts must be finite, and the one for the start above 0")
        if self.max_deliveries < 1:
            raise ValueError(f"{self.name}: max_deliveries must be 1 or more")

    @property
    def name(self) -> str:
        """The name of the actor, unique among its siblings."""
        return self.ref.name


class SupervisorSpec(Struct, frozen=True, kw_only=True):
    """How to run a group of children, which start in this order and stop in the reverse order.

    Attributes:
        name: unique among its siblings.
        strategy: see `Strategy`.
        children: in order of dependency.
        intensity: when to give up; None for never, which suits a root whose children have a backoff.
        restart: what the parent supervisor does after this one has given up.
        backoff: how long the parent waits before it restarts this one.
    """

    name: str
    children: "tuple[ChildSpec, ...]"
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: Intensity | None = field(default_factory=Intensity)
    restart: Restart = Restart.PERMANENT
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        _require_name(self.name)
        if len({child.name for child in self.children}) != len(self.children):
            raise ValueError(f"the children of {self.name} need names that differ")


# The role ties the ref of a spec to its factory. A tree holds actors of every role, hence Any.
type ChildSpec = ActorSpec[Any] | SupervisorSpec
