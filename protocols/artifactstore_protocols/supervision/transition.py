"""The processing of one event: changes to the table of children, and the order in which siblings stop and start.

`Transition` applies signals to children, which change their states by the table in `lifecycle.py`, and collects
actions. `advance` then stops and starts the children whose turn it is. The two methods below it contain all rules for
the order among siblings.
"""

from msgspec.structs import replace

from artifactstore_protocols.supervision.events import Action, Enter, Release, Start, Stop
from artifactstore_protocols.supervision.lifecycle import ChildState, Signal, step
from artifactstore_protocols.supervision.policy import Strategy
from artifactstore_protocols.supervision.table import Child, Phase, Supervision

__all__ = ["UP", "Transition"]

UP = frozenset({Phase.BOOTING, Phase.RUNNING})
_ENDS = {
    Phase.STOPPING: Phase.STOPPED,
    Phase.GIVING_UP: Phase.GAVE_UP,
    Phase.UNWINDING: Phase.START_FAILED,
}

_SETTLED = frozenset({ChildState.IDLE, ChildState.RUNNING})
_ON_THE_WAY_DOWN = frozenset({ChildState.DOOMED, ChildState.STOPPING})

_FINALITY = {Signal.QUEUE: 0, Signal.REST: 1, Signal.DROP: 2}
"""The rank of each signal. If a child is to be stopped with two signals, the signal with the higher rank wins."""


class Transition:
    """The state and the actions so far, while one event is processed.

    Attributes:
        state: the state of the supervisor.
        actions: the actions to carry out, in order.
    """

    def __init__(self, state: Supervision) -> None:
        self.state = state
        self.actions: list[Action] = []

    def put(self, row: Child) -> None:
        """Replace the row of the child with the same name."""
        rows = tuple(row if child.name == row.name else child for child in self.state.children)
        self.state = replace(self.state, children=rows)

    def move(self, name: str, signal: Signal) -> None:
        """Send one signal to one child, and release the child if it is down afterwards."""
        child = self.state.child(name)
        moved = replace(child, state=step(child.state, signal))
        if signal is Signal.QUEUE:
            moved = replace(moved, then=None, trial=None)
        self.put(moved)
        if moved.state is ChildState.IDLE:
            self.put(replace(moved, then=None, trial=None, attempt=0))
            self.actions.append(Release(name, removed=False))
        elif moved.state is ChildState.REMOVED:
            rest = tuple(row for row in self.state.children if row.name != name)
            self.state = replace(self.state, children=rest)
            self.actions.append(Release(name, removed=True))

    def schedule_stop(self, child: Child, then: Signal, *, drain: bool) -> None:
        """Take a child down, and set `then` as the signal for its exit."""
        match child.state:
            case ChildState.STARTING | ChildState.RUNNING:
                self.move(child.name, Signal.DOOM)
                self.put(replace(self.state.child(child.name), then=then, drain=drain))
            case ChildState.DOOMED | ChildState.STOPPING:
                if child.then is None or _FINALITY[then] > _FINALITY[child.then]:
                    self.put(replace(child, then=then, drain=drain))
            case ChildState.QUEUED:
                if then is not Signal.QUEUE:
                    self.move(child.name, then)
            case ChildState.BACKOFF:
                self.move(child.name, then)
            case _:
                pass  # the child is already down

    def end(self, phase: Phase, *, drain: bool) -> None:
        """Set the phase in which the supervisor goes down, and take all children down."""
        self.state = replace(self.state, phase=phase)
        for child in self.state.children:
            self.schedule_stop(child, Signal.REST, drain=drain)

    def advance(self) -> None:
        """Stop and start every child whose turn it is, and then enter the next phase if the current one is complete."""
        self._stop_eligible()
        if self.state.phase in UP:
            self._start_eligible()
        states = {child.state for child in self.state.children}
        if self.state.phase is Phase.BOOTING and states <= _SETTLED:
            self._enter(Phase.RUNNING)
        elif self.state.phase in _ENDS and states <= {ChildState.IDLE}:
            self._enter(_ENDS[self.state.phase])

    def _stop_eligible(self) -> None:
        """Stop the doomed children whose later siblings are down.

        With ONE_FOR_ONE, siblings are independent, so a doomed child does not wait while the supervisor is up.
        """
        together = self.state.phase in UP and self.state.strategy is Strategy.ONE_FOR_ONE
        later_go_down = False
        for child in reversed(self.state.children):
            if child.state is ChildState.DOOMED and (together or not later_go_down):
                self.move(child.name, Signal.STOP)
                self.actions.append(Stop(child.name, drain=child.drain))
            later_go_down = later_go_down or child.state in _ON_THE_WAY_DOWN

    def _start_eligible(self) -> None:
        """Start the queued children whose earlier siblings are settled, and of whose later siblings none is going down.

        With ONE_FOR_ONE, siblings are independent, so a queued child does not wait, except while the supervisor boots.
        With ONE_FOR_ALL, a later sibling in its backoff delays a queued child as well.
        """
        alone = self.state.phase is not Phase.BOOTING and self.state.strategy is Strategy.ONE_FOR_ONE
        down = _ON_THE_WAY_DOWN
        if self.state.strategy is Strategy.ONE_FOR_ALL:
            down = down | {ChildState.BACKOFF}
        children = self.state.children
        last_down = max((index for index, child in enumerate(children) if child.state in down), default=-1)
        earlier_unsettled = False
        for index, child in enumerate(children):
            if child.state is ChildState.QUEUED and (alone or not (earlier_unsettled or index < last_down)):
                self.move(child.name, Signal.START)
                self.put(replace(self.state.child(child.name), generation=child.generation + 1))
                self.actions.append(Start(child.name))
            earlier_unsettled = earlier_unsettled or child.state not in _SETTLED

    def _enter(self, phase: Phase) -> None:
        self.state = replace(self.state, phase=phase)
        self.actions.append(Enter(phase))
