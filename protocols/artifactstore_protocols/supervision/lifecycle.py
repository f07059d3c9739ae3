"""The life of one supervised child, as a table.

A child is always in exactly one state, and a signal moves it to another. The signals are what a supervisor has
concluded (`decision.py`): whether an exit becomes RETRY, REST or DROP follows from the restart type (`VERDICTS`), or,
for a child that was being stopped, from why it was. A pair that the table lacks cannot happen; meeting one is a bug
of the caller and raises IllegalSignal.

What the table cannot express: the order among siblings. `decision.py` holds it in two small functions.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from artifactstore_protocols.supervision.policy import Restart

__all__ = ["TRANSITIONS", "VERDICTS", "ChildState", "ExitKind", "IllegalSignal", "Signal", "mermaid", "step"]


class ChildState(StrEnum):
    """Where a child is in its life."""

    IDLE = "idle"
    """Listed and down: stopped by order, or finished."""
    QUEUED = "queued"
    """To be started when its turn comes."""
    STARTING = "starting"
    RUNNING = "running"
    DOOMED = "doomed"
    """To be stopped when its turn comes; until then it works on."""
    STOPPING = "stopping"
    BACKOFF = "backoff"
    """Failed, and waiting before it is tried again."""
    REMOVED = "removed"


class Signal(StrEnum):
    """What a supervisor concludes about a child."""

    QUEUE = "queue"
    START = "start"
    READY = "ready"
    RETRY = "retry"
    DOOM = "doom"
    STOP = "stop"
    REST = "rest"
    DROP = "drop"


class ExitKind(StrEnum):
    """How a child ended when nobody had ordered it to."""

    FINISHED = "finished"
    CRASHED = "crashed"


class IllegalSignal(AssertionError):
    """A signal that cannot reach a child in this state."""


_ROWS: Mapping[ChildState, Mapping[Signal, ChildState]] = {
    ChildState.IDLE: {Signal.QUEUE: ChildState.QUEUED, Signal.DROP: ChildState.REMOVED},
    ChildState.QUEUED: {
        Signal.START: ChildState.STARTING,
        Signal.REST: ChildState.IDLE,
        Signal.DROP: ChildState.REMOVED,
    },
    ChildState.STARTING: {
        Signal.READY: ChildState.RUNNING,
        Signal.RETRY: ChildState.BACKOFF,
        Signal.REST: ChildState.IDLE,
        Signal.DROP: ChildState.REMOVED,
        Signal.DOOM: ChildState.DOOMED,
    },
    ChildState.RUNNING: {
        Signal.RETRY: ChildState.BACKOFF,
        Signal.REST: ChildState.IDLE,
        Signal.DROP: ChildState.REMOVED,
        Signal.DOOM: ChildState.DOOMED,
    },
    ChildState.DOOMED: {
        Signal.READY: ChildState.DOOMED,
        Signal.STOP: ChildState.STOPPING,
        Signal.QUEUE: ChildState.QUEUED,
        Signal.REST: ChildState.IDLE,
        Signal.DROP: ChildState.REMOVED,
    },
    ChildState.STOPPING: {
        Signal.READY: ChildState.STOPPING,
        Signal.QUEUE: ChildState.QUEUED,
        Signal.REST: ChildState.IDLE,
        Signal.DROP: ChildState.REMOVED,
    },
    ChildState.BACKOFF: {
        Signal.QUEUE: ChildState.QUEUED,
        Signal.REST: ChildState.IDLE,
        Signal.DROP: ChildState.REMOVED,
    },
    ChildState.REMOVED: {},
}

TRANSITIONS: Mapping[tuple[ChildState, Signal], ChildState] = MappingProxyType(
    {(state, signal): to for state, row in _ROWS.items() for signal, to in row.items()}
)

VERDICTS: Mapping[tuple[Restart, ExitKind], Signal] = MappingProxyType(
    {
        (Restart.PERMANENT, ExitKind.FINISHED): Signal.RETRY,
        (Restart.PERMANENT, ExitKind.CRASHED): Signal.RETRY,
        (Restart.TRANSIENT, ExitKind.FINISHED): Signal.REST,
        (Restart.TRANSIENT, ExitKind.CRASHED): Signal.RETRY,
        (Restart.TEMPORARY, ExitKind.FINISHED): Signal.DROP,
        (Restart.TEMPORARY, ExitKind.CRASHED): Signal.DROP,
    }
)


def step(state: ChildState, signal: Signal) -> ChildState:
    """The state that follows.

    Raises:
        IllegalSignal: the table has no such row.
    """
    try:
        return TRANSITIONS[state, signal]
    except KeyError:
        raise IllegalSignal(f"a child that is {state} cannot take {signal}") from None


def mermaid() -> str:
    """The table as a Mermaid state diagram, one line a transition, in the order of the table."""
    lines = ["stateDiagram-v2", "    [*] --> idle"]
    lines += [f"    {state} --> {to}: {signal}" for (state, signal), to in TRANSITIONS.items()]
    lines.append("    removed --> [*]")
    return "\n".join(lines)
