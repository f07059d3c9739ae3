"""The state of a supervisor: its phase, and one row for each child in start order."""

from enum import StrEnum

from msgspec import Struct, field

from artifactstore_protocols.supervision.errors import UnknownChild
from artifactstore_protocols.supervision.lifecycle import ChildState, Signal
from artifactstore_protocols.supervision.policy import Backoff, Intensity, Restart, Strategy

__all__ = ["Child", "Phase", "Supervision"]


class Phase(StrEnum):
    """The phase of a supervisor."""

    BOOTING = "booting"
    RUNNING = "running"
    STOPPING = "stopping"
    GIVING_UP = "giving up"
    UNWINDING = "unwinding"
    """A child failed to start while the supervisor booted. The children that did start are being stopped."""
    STOPPED = "stopped"
    GAVE_UP = "gave up"
    START_FAILED = "start failed"


class Child(Struct, frozen=True):
    """One row of a supervisor's table.

    Attributes:
        name: its name, which is unique among its siblings.
        restart: its restart type.
        backoff: its delays before restarts.
        state: see `ChildState`.
        then: the signal to send at its exit, if the child is going down; None otherwise.
        drain: whether the child processes its mailbox first, if it is going down.
        trial: the signal to send if its start fails, for a child that an order started; None otherwise.
        attempt: the number of restarts in a row without a healthy time between them.
        generation: the number of its starts. It distinguishes stale timers from current ones.
        ready_at: the time when it last became ready, in seconds of the caller's clock; None if it never was.
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
        path: its path, for errors.
        strategy: see `Strategy`.
        intensity: the limit on restarts; None if the supervisor never gives up.
        children: the rows of its children, in start order.
        phase: see `Phase`.
        restarts: the times of the restarts within the last period.
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
        """Return the row of the child with this name; None if no child has it."""
        return next((child for child in self.children if child.name == name), None)

    def child(self, name: str) -> Child:
        """Return the row of the child with this name.

        Raises:
            UnknownChild: no child has this name.
        """
        child = self.find(name)
        if child is None:
            raise UnknownChild(f"{self.path}/{name}")
        return child
