"""What a supervisor takes in, and what it then has done: the two alphabets of `decision.py`.

An event is something that happened or an order from outside; an action is for the runtime to carry out. Times are
seconds of the caller's clock.
"""

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Ready:
    """The child has started."""

    name: str
    at: float


@dataclass(frozen=True, slots=True)
class Exited:
    """The child has ended, whoever wanted it; `draw`, in [0, 1), is for the jitter of a restart."""

    name: str
    kind: ExitKind
    at: float
    draw: float


@dataclass(frozen=True, slots=True)
class Elapsed:
    """The delay that was asked for in this generation of the child is over."""

    name: str
    generation: int


@dataclass(frozen=True, slots=True)
class Add:
    """Order: take this child in as the last one and start it."""

    child: Child


@dataclass(frozen=True, slots=True)
class StartChild:
    """Order: start a child that is down."""

    name: str


@dataclass(frozen=True, slots=True)
class StopChild:
    """Order: stop the child; a temporary one is removed with it. Stopping one that is down does nothing."""

    name: str


@dataclass(frozen=True, slots=True)
class RestartChild:
    """Order: stop the child if it runs, and start it, without waiting for a backoff; siblings are left alone."""

    name: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Order: forget a child that is down."""

    name: str


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Order: stop everything in reverse order, working off mailboxes first when `drain`."""

    drain: bool = True


type Order = Add | StartChild | StopChild | RestartChild | Remove
type Event = Ready | Exited | Elapsed | Shutdown | Order


@dataclass(frozen=True, slots=True)
class Start:
    """Start the child; answer with Ready or Exited."""

    name: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the child, after working off its mailbox when `drain`; answer with Exited."""

    name: str
    drain: bool


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait, then answer with Elapsed of this generation."""

    name: str
    seconds: float
    generation: int


@dataclass(frozen=True, slots=True)
class Release:
    """The child is down and no restart is coming: answer whoever waits for it; forget it when `removed`."""

    name: str
    removed: bool


@dataclass(frozen=True, slots=True)
class Enter:
    """The supervisor has reached this phase: RUNNING, or one of the three ends."""

    phase: Phase


type Action = Start | Stop | Delay | Release | Enter
