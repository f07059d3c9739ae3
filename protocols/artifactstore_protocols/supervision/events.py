"""What a supervisor takes in, and what it then has done: the two alphabets of `decision.py`.

An event is something that happened or an order from outside; an action is for the runtime to carry out. Times are
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
    """The child has ended, whoever wanted it; `draw`, in [0, 1), is for the jitter of a restart."""

    name: str
    kind: ExitKind
    at: float
    draw: float


class Elapsed(Struct, frozen=True):
    """The delay that was asked for in this generation of the child is over."""

    name: str
    generation: int


class Add(Struct, frozen=True):
    """Order: take this child in as the last one and start it."""

    child: Child


class StartChild(Struct, frozen=True):
    """Order: start a child that is down."""

    name: str


class StopChild(Struct, frozen=True):
    """Order: stop the child; a temporary one is removed with it. Stopping one that is down does nothing."""

    name: str


class RestartChild(Struct, frozen=True):
    """Order: stop the child if it runs, and start it, without waiting for a backoff; siblings are left alone."""

    name: str


class Remove(Struct, frozen=True):
    """Order: forget a child that is down."""

    name: str


class Shutdown(Struct, frozen=True):
    """Order: stop everything in reverse order, working off mailboxes first when `drain`."""

    drain: bool = True


type Order = Add | StartChild | StopChild | RestartChild | Remove
type Event = Ready | Exited | Elapsed | Shutdown | Order


class Start(Struct, frozen=True):
    """Start the child; answer with Ready or Exited."""

    name: str


class Stop(Struct, frozen=True):
    """Stop the child, after working off its mailbox when `drain`; answer with Exited."""

    name: str
    drain: bool


class Delay(Struct, frozen=True):
    """Wait, then answer with Elapsed of this generation."""

    name: str
    seconds: float
    generation: int


class Release(Struct, frozen=True):
    """The child is down and no restart is coming: answer whoever waits for it; forget it when `removed`."""

    name: str
    removed: bool


class Enter(Struct, frozen=True):
    """The supervisor has reached this phase: RUNNING, or one of the three ends."""

    phase: Phase


type Action = Start | Stop | Delay | Release | Enter
