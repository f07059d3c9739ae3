"""Drives the pure decisions without a runtime: feeds events, keeps the table, and records every action."""

from artifactstore_protocols.supervision import ChildState, Intensity, Phase, Restart, Strategy
from artifactstore_protocols.supervision.decision import Decision, boot, decide
from artifactstore_protocols.supervision.events import Action, Event, Exited, Ready, Shutdown
from artifactstore_protocols.supervision.lifecycle import ExitKind
from artifactstore_protocols.supervision.policy import Backoff
from artifactstore_protocols.supervision.table import Child, Supervision

BACKOFF = Backoff(initial_s=1, factor=2, maximum_s=60, jitter=0, healthy_after_s=100)


def row(name: str, restart: Restart = Restart.PERMANENT) -> Child:
    return Child(name, restart, BACKOFF)


class Machine:
    def __init__(
        self,
        *children: Child | str,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity | None = None,
    ) -> None:
        rows = tuple(row(child) if isinstance(child, str) else child for child in children)
        self.now = 0.0
        self.last: Decision = boot(Supervision("sup", strategy, intensity, rows))

    @property
    def state(self) -> Supervision:
        return self.last.state

    @property
    def phase(self) -> Phase:
        return self.state.phase

    def states(self) -> dict[str, ChildState]:
        return {child.name: child.state for child in self.state.children}

    def do(self, event: Event) -> tuple[Action, ...]:
        self.last = decide(self.state, event)
        return self.last.actions

    def ready(self, *names: str) -> tuple[Action, ...]:
        actions: tuple[Action, ...] = ()
        for name in names:
            actions = self.do(Ready(name, self.now))
        return actions

    def crash(self, name: str, draw: float = 0.0) -> tuple[Action, ...]:
        return self.do(Exited(name, ExitKind.CRASHED, self.now, draw))

    def finish(self, name: str) -> tuple[Action, ...]:
        return self.do(Exited(name, ExitKind.FINISHED, self.now, 0.0))

    def shutdown(self) -> tuple[Action, ...]:
        return self.do(Shutdown())


def running(
    *children: Child | str, strategy: Strategy = Strategy.ONE_FOR_ONE, intensity: Intensity | None = None
) -> Machine:
    """A machine whose children are all up."""
    machine = Machine(*children, strategy=strategy, intensity=intensity)
    for child in children:
        machine.ready(child if isinstance(child, str) else child.name)
    assert machine.phase is Phase.RUNNING
    return machine
