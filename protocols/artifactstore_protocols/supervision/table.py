"""The state of a supervisor: its phase, and one row for each child in start order."""

from enum import StrEnum

from msgspec import Struct, field

from artifactstore_protocols.supervision.errors import UnknownChild
from artifactstore_protocols.supervision.lifecycle import ChildState, Signal
from artifactstore_protocols.supervision.policy import Backoff, Intensity, Restart, Strategy

__all__ = ["Child", "Phase", "Supervision"]


class Phase(StrEnum):
    """Where a supervisor is in its life."""

    BOOTING = "booting"
    RUNNING = "running"
    STOPPING = "stopping"
    GIVING_UP = "giving up"
    UNWINDING = "unwinding"
    """A child failed to start at boot; those that did start are being stopped."""
    STOPPED = "stopped"
    GAVE_UP = "gave up"
    START_FAILED = "start failed"


class Child(Struct, frozen=True):
    """One row of a supervisor's table.

    Attributes:
        name: unique among its siblings.
        restart: when it is restarted.
        backoff: how long to wait before that.
        state: see `ChildState`.
        then: for a child on its way down, the signal that its exit will be.
        drain: for a child on its way down, whether its mailbox is worked off first.
        trial: for a child that was started by order, the signal that a failed start will be.
        attempt: restarts in a row without a healthy time between them.
        generation: number of starts; it tells a stale timer from a live one.
        ready_at: when it last became ready, in seconds of the caller's clock.
    """

    name: str
    restart: Restart = Restart.PERMANENT
    backoff: Backoff = field(default_factory=Backoff)
    state: ChildState = ChildState.IDLE
    then: Signal | None = None
    drain: bool = False
    trial: Signal | None = None
    attempt: int = 0
    generation: int = 0
    ready_at: float | None = None


class Supervision(Struct, frozen=True):
    """The whole state of a supervisor.

    Attributes:
        path: names it in errors.
        strategy: which siblings share a restart.
        intensity: the limit on restarts; None for a supervisor that never gives up.
        children: the table, in start order.
        phase: see `Phase`.
        restarts: times of the restarts within the last period.
    """

    path: str
    strategy: Strategy
    intensity: Intensity | None
    children: tuple[Child, ...]
    phase: Phase = Phase.BOOTING
    restarts: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len({child.name for child in self.children}) != len(self.children):
            raise ValueError(f"the children of {self.path} need names that differ")

    def find(self, name: str) -> Child | None:
        """The row of this name."""
        return next((child for child in self.children if child.name == name), None)

    def child(self, name: str) -> Child:
        """The row of this name.

        Raises:
            UnknownChild: there is none.
        """
        child = self.find(name)
        if child is None:
            raise UnknownChild(f"{self.path}/{name}")
        return child
