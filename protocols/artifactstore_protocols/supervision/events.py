"""The events that `decision.py` processes, and the actions that it returns.

An event reports something that happened, or is an order from outside. The runtime carries out the actions. Times are
seconds of the caller's clock.
"""

from msgspec import Struct

from artifactstore_protocols.supervision.lifecycle import ExitKind
from artifactstore_protocols.supervision.table import Child, Phase

__all__ = [
    "Action",
    "Add",
    "Delay",
    "Elapsed",
    "Enter",
    "Event",
    "Exited",
    "Order",
    "Ready",
    "Release",
    "Remove",
    "RestartChild",
    "Shutdown",
    "Start",
    "StartChild",
    "Stop",
    "StopChild",
]


class Ready(Struct, frozen=True):
    """The child has started."""

    name: str
    at: float


class Exited(Struct, frozen=True):
    """The child has ended, for any reason. `draw` is a random number in [0, 1), for the jitter of a restart."""

    name: str
    kind: ExitKind
    at: float
    draw: float


class Elapsed(Struct, frozen=True):
    """The delay that `Delay` requested for this generation of the child is over."""

    name: str
    generation: int


class Add(Struct, frozen=True):
    """Order: add this child as the last one and start it."""

    child: Child


class StartChild(Struct, frozen=True):
    """Order: start a child that is down."""

    name: str


class StopChild(Struct, frozen=True):
    """Order: stop the child, and remove it if it is temporary. Does nothing to a child that is down."""

    name: str


class RestartChild(Struct, frozen=True):
    """Order: stop the child if it runs, and start it without waiting for a backoff. Siblings are not affected."""

    name: str


class Remove(Struct, frozen=True):
    """Order: remove a child that is down."""

    name: str


class Shutdown(Struct, frozen=True):
    """Order: stop all children in reverse order. If `drain` is set, they first process their mailboxes."""

    drain: bool = True


type Order = Add | StartChild | StopChild | RestartChild | Remove
type Event = Ready | Exited | Elapsed | Shutdown | Order


class Start(Struct, frozen=True):
    """Start the child, and then report Ready or Exited."""

    name: str


class Stop(Struct, frozen=True):
    """Stop the child, and then report Exited. If `drain` is set, the child first processes its mailbox."""

    name: str
    drain: bool


class Delay(Struct, frozen=True):
    """Wait, and then report Elapsed with this generation."""

    name: str
    seconds: float
    generation: int


class Release(Struct, frozen=True):
    """Refuse all callers that wait for the child: it is down and will not restart. With `removed`, also forget it."""

    name: str
    removed: bool


class Enter(Struct, frozen=True):
    """Note that the supervisor has reached this phase: RUNNING, or one of the three final phases."""

    phase: Phase


type Action = Start | Stop | Delay | Release | Enter
