"""The states of one supervised child, as a table of transitions.

A child is always in exactly one state, and a signal may move it to another. `decision.py` and `transition.py` decide
the signals. An unexpected exit becomes RETRY, REST or DROP by the child's restart type (`VERDICTS`). For a child that
was being stopped, the signal follows from the reason for the stop. A pair of state and signal that the table lacks
cannot happen. It means a bug of the caller and raises IllegalSignal.

The table does not express the order among siblings. `transition.py` does, in `_stop_eligible` and `_start_eligible`.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from artifactstore_protocols.supervision.policy import Restart

__all__ = ["TRANSITIONS", "VERDICTS", "ChildState", "ExitKind", "IllegalSignal", "Signal", "mermaid", "step"]


class ChildState(StrEnum):
    """The state of a child."""

    IDLE = "idle"
    """The child is not running, and can be started."""
    QUEUED = "queued"
    """The child will start when its turn comes."""
    STARTING = "starting"
    RUNNING = "running"
    DOOMED = "doomed"
    """The child will be stopped when its turn comes. Until then it continues to work."""
    STOPPING = "stopping"
    BACKOFF = "backoff"
    """The child failed, and waits before it is restarted."""
    REMOVED = "removed"


class Signal(StrEnum):
    """A signal from a supervisor's decision to a child's state."""

    QUEUE = "queue"
    START = "start"
    READY = "ready"
    RETRY = "retry"
    DOOM = "doom"
    STOP = "stop"
    REST = "rest"
    DROP = "drop"


class ExitKind(StrEnum):
    """How a child ended."""

    FINISHED = "finished"
    CRASHED = "crashed"


class IllegalSignal(AssertionError):
    """The signal is not possible in the child's state."""


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
    """Return the state that follows a state after a signal.

    Raises:
        IllegalSignal: the table has no transition for this state and signal.
    """
    try:
        return TRANSITIONS[state, signal]
    except KeyError:
        raise IllegalSignal(f"a child that is {state} cannot take {signal}") from None


def mermaid() -> str:
    """Return the table as a Mermaid state diagram, with one line for each transition, in the order of the table."""
    lines = ["stateDiagram-v2", "    [*] --> idle"]
    lines += [f"    {state} --> {to}: {signal}" for (state, signal), to in TRANSITIONS.items()]
    lines.append("    removed --> [*]")
    return "\n".join(lines)
