"""What a supervisor does next: a pure function from its state and one event to a new state and actions.

`decide` never waits, reads no clock and draws no number: times and draws arrive in the events, and everything that
takes time (a start, a stop, a delay) is an action whose end comes back as an event. So one table of children and the
rules below are the whole of supervision; `artifactstore.supervision.supervisor` only carries out the actions.

The rules, beside the table of `lifecycle.py`:

- Children start in their order, each after the one before it is ready, and stop in the reverse order.
- A child that fails is restarted after its backoff, together with the siblings that its strategy names. Siblings that
  are down, because they were stopped by order or have finished, stay down (OTP would start them).
- Every restart, and every failed attempt at one, spends intensity; above the limit the supervisor stops all children
  and gives up.
- A child that does not get ready while the supervisor boots makes the whole start fail, in reverse order.
- An order (start, stop, restart, remove a child) is refused, by raising, unless the supervisor is running.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import assert_never, override

from artifactstore_protocols.supervision.errors import (
    ChildBusy,
    ChildExists,
    SupervisorNotRunning,
    UnknownChild,
)
from artifactstore_protocols.supervision.lifecycle import VERDICTS, ChildState, ExitKind, Signal, step
from artifactstore_protocols.supervision.policy import Backoff, Intensity, Restart, Strategy

__all__ = [
    "Action",
    "Add",
    "Child",
    "Decision",
    "Delay",
    "Elapsed",
    "Enter",
    "Event",
    "Exited",
    "Outcome",
    "Phase",
    "Ready",
    "Release",
    "Remove",
    "RestartChild",
    "Shutdown",
    "Start",
    "StartChild",
    "Stop",
    "StopChild",
    "Supervision",
    "boot",
    "decide",
]


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


_ENDS = {
    Phase.STOPPING: Phase.STOPPED,
    Phase.GIVING_UP: Phase.GAVE_UP,
    Phase.UNWINDING: Phase.START_FAILED,
}

_DOWN = frozenset({ChildState.IDLE, ChildState.REMOVED})
_SETTLED = frozenset({ChildState.IDLE, ChildState.RUNNING})
_ON_THE_WAY_DOWN = frozenset({ChildState.DOOMED, ChildState.STOPPING})

_STRENGTH = {Signal.QUEUE: 0, Signal.REST: 1, Signal.DROP: 2}
"""When a child is to be stopped for two reasons, the more final one wins."""


@dataclass(frozen=True, slots=True)
class Child:
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


@dataclass(frozen=True, slots=True)
class Supervision:
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


type Event = Ready | Exited | Elapsed | Add | StartChild | StopChild | RestartChild | Remove | Shutdown


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was decided about a child that ended, for its crash report.

    Attributes:
        name: the child.
        signal: RETRY, REST, DROP or QUEUE.
        delay_s: the wait before a restart, with RETRY.
        siblings: names of the siblings that restart with it, with RETRY.
        phase: the supervisor's phase after the decision.
    """

    name: str
    signal: Signal
    delay_s: float | None
    siblings: tuple[str, ...]
    phase: Phase

    @override
    def __str__(self) -> str:
        if self.phase is Phase.GIVING_UP:
            return "its supervisor gives up: restart intensity exceeded"
        if self.phase is Phase.UNWINDING:
            return "the start of its supervisor fails"
        if self.signal is Signal.RETRY:
            company = f", with {', '.join(self.siblings)}" if self.siblings else ""
            return f"restart in {self.delay_s:.3f} s{company}"
        return {Signal.REST: "stays down", Signal.DROP: "is removed"}.get(self.signal, "restarts as ordered")


@dataclass(frozen=True, slots=True)
class Decision:
    """The new state, what to do, in order, and for an exit what was concluded."""

    state: Supervision
    actions: tuple[Action, ...]
    outcome: Outcome | None = None


def boot(state: Supervision) -> Decision:
    """Begin: queue every child and start the first."""
    turn = _Turn(state)
    for child in state.children:
        turn.move(child.name, Signal.QUEUE)
    turn.advance()
    return turn.decision()


def decide(state: Supervision, event: Event) -> Decision:
    """Take one event in.

    Raises:
        UnknownChild: an order names a child that does not exist.
        ChildExists: Add of a name that is taken, StartChild of a child that runs.
        ChildBusy: the child's state does not allow the order now.
        SupervisorNotRunning: an order to a supervisor that is not running.
        IllegalSignal: an event that cannot happen, such as Ready of a child that was not started.
    """
    turn = _Turn(state)
    match event:
        case Ready():
            turn.move(event.name, Signal.READY, ready_at=event.at, trial=None)
        case Exited():
            _exited(turn, event)
        case Elapsed():
            child = state.find(event.name)
            if child and child.state is ChildState.BACKOFF and child.generation == event.generation:
                turn.move(child.name, Signal.QUEUE)
        case Shutdown():
            if state.phase in {Phase.BOOTING, Phase.RUNNING}:
                turn.end(Phase.STOPPING, drain=event.drain)
        case _:
            _order(turn, event)
    turn.advance()
    return turn.decision()


class _Turn:
    """One decision in the making: the state so far and the actions so far."""

    def __init__(self, state: Supervision) -> None:
        self.state = state
        self.actions: list[Action] = []
        self.outcome: Outcome | None = None

    def decision(self) -> Decision:
        return Decision(self.state, tuple(self.actions), self.outcome)

    def update(self, name: str, change: Callable[[Child], Child]) -> Child:
        """Replace one row."""
        new = change(self.state.child(name))
        rows = (new if child.name == name else child for child in self.state.children)
        self.state = replace(self.state, children=tuple(rows))
        return new

    def move(
        self,
        name: str,
        signal: Signal,
        *,
        ready_at: float | None = None,
        trial: Signal | None = None,
    ) -> Child:
        """Send one signal to one child, and release it when that puts it down."""
        child = self.state.child(name)
        to = step(child.state, signal)
        changed = replace(child, state=to)
        if signal is Signal.READY:
            changed = replace(changed, ready_at=ready_at, trial=None)
        elif signal is Signal.QUEUE:
            changed = replace(changed, trial=trial, then=None, drain=False)
        elif signal is Signal.START:
            changed = replace(changed, generation=child.generation + 1)
        elif to in _DOWN:
            changed = replace(changed, trial=None, then=None, drain=False, attempt=0)
        self.update(name, lambda _: changed)
        if to in _DOWN:
            removed = to is ChildState.REMOVED
            self.actions.append(Release(name, removed))
            if removed:
                rest = tuple(row for row in self.state.children if row.name != name)
                self.state = replace(self.state, children=rest)
        return changed

    def doom(self, name: str, then: Signal, *, drain: bool) -> None:
        """See to it that a child goes down and that its exit will be `then`."""
        child = self.state.child(name)
        match child.state:
            case ChildState.STARTING | ChildState.RUNNING:
                self.move(name, Signal.DOOM)
                self.update(name, lambda row: replace(row, then=then, drain=drain))
            case ChildState.DOOMED | ChildState.STOPPING:
                if child.then is None or _STRENGTH[then] > _STRENGTH[child.then]:
                    self.update(name, lambda row: replace(row, then=then, drain=drain))
            case ChildState.QUEUED:
                if then is not Signal.QUEUE:
                    self.move(name, then)
            case ChildState.BACKOFF:
                self.move(name, then)
            case ChildState.IDLE | ChildState.REMOVED:
                pass
            case _:
                assert_never(child.state)

    def end(self, phase: Phase, *, drain: bool) -> None:
        """Put the supervisor on its way down, and all children with it."""
        self.state = replace(self.state, phase=phase)
        for child in self.state.children:
            self.doom(child.name, Signal.REST, drain=drain)

    def advance(self) -> None:
        """Stop and start every child whose turn it is; then see whether a phase is complete."""
        for index in reversed(range(len(self.state.children))):
            child = self.state.children[index]
            if child.state is ChildState.DOOMED and not _stop_waits(self.state, index):
                self.move(child.name, Signal.STOP)
                self.actions.append(Stop(child.name, child.drain))
        if self.state.phase in {Phase.BOOTING, Phase.RUNNING}:
            for index, child in enumerate(self.state.children):
                if child.state is ChildState.QUEUED and not _start_waits(self.state, index):
                    self.move(child.name, Signal.START)
                    self.actions.append(Start(child.name))
        states = {child.state for child in self.state.children}
        if self.state.phase is Phase.BOOTING and states <= _SETTLED:
            self._enter(Phase.RUNNING)
        elif self.state.phase in _ENDS and states <= _DOWN:
            self._enter(_ENDS[self.state.phase])

    def _enter(self, phase: Phase) -> None:
        self.state = replace(self.state, phase=phase)
        self.actions.append(Enter(phase))


def _stop_waits(state: Supervision, index: int) -> bool:
    """Whether a doomed child has to wait for a later sibling to be down first."""
    if state.phase not in _ENDS and state.strategy is Strategy.ONE_FOR_ONE:
        return False
    return _any(state.children[index + 1 :], _ON_THE_WAY_DOWN)


def _start_waits(state: Supervision, index: int) -> bool:
    """Whether a queued child has to wait: for an earlier one to be ready, or for a later one to be down."""
    if state.phase is not Phase.BOOTING and state.strategy is Strategy.ONE_FOR_ONE:
        return False
    later = _ON_THE_WAY_DOWN
    if state.strategy is Strategy.ONE_FOR_ALL:
        later = later | {ChildState.BACKOFF}
    earlier = frozenset(ChildState) - _SETTLED
    return _any(state.children[:index], earlier) or _any(state.children[index + 1 :], later)


def _any(children: Iterable[Child], states: frozenset[ChildState]) -> bool:
    return any(child.state in states for child in children)


def _exited(turn: _Turn, event: Exited) -> None:
    child = turn.state.child(event.name)
    siblings: tuple[str, ...] = ()
    delay_s: float | None = None
    if child.then is not None:
        signal = child.then
        turn.move(child.name, signal)
    elif child.state is ChildState.STARTING and child.trial is not None:
        signal = child.trial
        turn.move(child.name, signal)
    elif turn.state.phase is Phase.BOOTING and child.ready_at is None:
        signal = Signal.REST
        turn.move(child.name, signal)
        turn.end(Phase.UNWINDING, drain=False)
    else:
        kind = ExitKind.CRASHED if child.state is ChildState.STARTING else event.kind
        signal = VERDICTS[child.restart, kind]
        if signal is Signal.RETRY and not _spend(turn, event.at):
            signal = Signal.REST
            turn.move(child.name, signal)
            turn.end(Phase.GIVING_UP, drain=False)
        elif signal is Signal.RETRY:
            delay_s, siblings = _retry(turn, child, event)
        else:
            turn.move(child.name, signal)
    turn.outcome = Outcome(child.name, signal, delay_s, siblings, turn.state.phase)


def _spend(turn: _Turn, at: float) -> bool:
    """Note a restart; False when it is one more than the intensity allows."""
    limit = turn.state.intensity
    if limit is None:
        return True
    recent = (*(time for time in turn.state.restarts if at - time <= limit.period_s), at)
    turn.state = replace(turn.state, restarts=recent)
    return len(recent) <= limit.max_restarts


def _retry(turn: _Turn, child: Child, event: Exited) -> tuple[float, tuple[str, ...]]:
    """Send a failed child to its backoff and take its group down; the delay, and who restarts with it."""
    healthy = (
        child.state is ChildState.RUNNING
        and child.ready_at is not None
        and event.at - child.ready_at >= child.backoff.healthy_after_s
    )
    attempt = 0 if healthy else child.attempt
    delay_s = child.backoff.delay_s(attempt, event.draw)
    turn.move(child.name, Signal.RETRY)
    turn.update(child.name, lambda row: replace(row, attempt=attempt + 1))
    turn.actions.append(Delay(child.name, delay_s, child.generation))
    joined: list[str] = []
    for sibling in _group(turn.state, child.name):
        if sibling.state in _DOWN:
            continue
        if sibling.restart is Restart.TEMPORARY:
            turn.doom(sibling.name, Signal.DROP, drain=False)
        else:
            turn.doom(sibling.name, Signal.QUEUE, drain=False)
            joined.append(sibling.name)
    return delay_s, tuple(joined)


def _group(state: Supervision, name: str) -> tuple[Child, ...]:
    """The siblings that a failure of this child takes down, in start order."""
    index = next(at for at, child in enumerate(state.children) if child.name == name)
    match state.strategy:
        case Strategy.ONE_FOR_ONE:
            return ()
        case Strategy.REST_FOR_ONE:
            return state.children[index + 1 :]
        case Strategy.ONE_FOR_ALL:
            return state.children[:index] + state.children[index + 1 :]
        case _:
            assert_never(state.strategy)


def _order(turn: _Turn, order: Add | StartChild | StopChild | RestartChild | Remove) -> None:
    if turn.state.phase is not Phase.RUNNING:
        raise SupervisorNotRunning(turn.state.path, turn.state.phase)
    if isinstance(order, Add):
        _add(turn, order.child)
        return
    child = turn.state.child(order.name)
    path = f"{turn.state.path}/{child.name}"
    match order:
        case StartChild():
            if child.state is ChildState.RUNNING:
                raise ChildExists(path, child.state)
            if child.state is not ChildState.IDLE:
                raise ChildBusy(path, child.state)
            turn.move(child.name, Signal.QUEUE, trial=Signal.REST)
        case StopChild():
            then = Signal.DROP if child.restart is Restart.TEMPORARY else Signal.REST
            turn.doom(child.name, then, drain=True)
        case RestartChild():
            _restart(turn, child, path)
        case Remove():
            if child.state is not ChildState.IDLE:
                raise ChildBusy(path, child.state)
            turn.move(child.name, Signal.DROP)
        case _:
            assert_never(order)


def _add(turn: _Turn, child: Child) -> None:
    present = turn.state.find(child.name)
    if present:
        raise ChildExists(f"{turn.state.path}/{child.name}", present.state)
    turn.state = replace(turn.state, children=(*turn.state.children, child))
    turn.move(child.name, Signal.QUEUE, trial=Signal.DROP)


def _restart(turn: _Turn, child: Child, path: str) -> None:
    match child.state:
        case ChildState.IDLE:
            turn.move(child.name, Signal.QUEUE, trial=Signal.REST)
        case ChildState.BACKOFF:
            turn.move(child.name, Signal.QUEUE)
        case ChildState.RUNNING:
            turn.doom(child.name, Signal.QUEUE, drain=False)
        case _:
            raise ChildBusy(path, child.state)
