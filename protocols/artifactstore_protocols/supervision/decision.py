"""The decisions of a supervisor: a pure function from its state and one event to a new state and actions.

`decide` never waits, reads no clock and draws no random number. Times and random numbers are in the events. Everything
that takes time (a start, a stop, a delay) is an action, and a later event reports its end. So the table of children and
the rules below define all of supervision. `artifactstore.supervision.supervisor` only carries out the actions.

The table of `lifecycle.py` and these rules apply:

- Children start in order, each after the one before it is ready. They stop in reverse order.
- A child that fails is restarted after its backoff, together with the siblings that the supervisor's strategy names.
  Siblings that are down, because an order stopped them or because they finished, stay down (OTP would start them).
- Every restart, and every failed attempt of one, counts towards the intensity. Above the limit, the supervisor stops
  all children and gives up.
- If a child does not become ready while the supervisor boots, the whole start fails. The other children are stopped in
  reverse order.
- An order (add, start, stop, restart or remove a child) raises an error unless the supervisor is running.
"""

from typing import override

from msgspec import Struct
from msgspec.structs import replace

from artifactstore_protocols.supervision.errors import ChildBusy, ChildExists, SupervisorNotRunning
from artifactstore_protocols.supervision.events import (
    Action,
    Add,
    Delay,
    Elapsed,
    Event,
    Exited,
    Order,
    Ready,
    RestartChild,
    Shutdown,
    StartChild,
    StopChild,
)
from artifactstore_protocols.supervision.lifecycle import VERDICTS, ChildState, ExitKind, Signal
from artifactstore_protocols.supervision.policy import Restart, Strategy
from artifactstore_protocols.supervision.table import Child, Phase, Supervision
from artifactstore_protocols.supervision.transition import UP, Transition

__all__ = ["Decision", "Outcome", "boot", "decide"]


class Outcome(Struct, frozen=True):
    """The decision about a child that ended, for its crash report.

    Attributes:
        name: the name of the child.
        signal: RETRY, REST, DROP or QUEUE.
        delay_s: the delay before the restart, in seconds; None unless the signal is RETRY.
        siblings: the names of the siblings that restart with the child; empty unless the signal is RETRY.
        phase: the supervisor's phase after the decision.
    """

    name: str
    signal: Signal
    delay_s: float | None
    siblings: tuple[str, ...]
    phase: Phase

    @override
    def __str__(self) -> str:
        if self.phase in {Phase.GIVING_UP, Phase.GAVE_UP}:
            return "its supervisor gives up"
        if self.phase in {Phase.UNWINDING, Phase.START_FAILED}:
            return "the start of its supervisor fails"
        if self.signal is Signal.RETRY:
            company = f", with {', '.join(self.siblings)}" if self.siblings else ""
            return f"restart in {self.delay_s:.3f} s{company}"
        return {Signal.REST: "stays down", Signal.DROP: "is removed"}.get(self.signal, "restart as ordered")


class Decision(Struct, frozen=True):
    """The new state, and the actions to carry out in order. After an exit, `outcome` is the decision on the child."""

    state: Supervision
    actions: tuple[Action, ...]
    outcome: Outcome | None = None


def boot(state: Supervision) -> Decision:
    """Queue every child and start the first."""
    transition = Transition(state)
    for child in state.children:
        transition.move(child.name, Signal.QUEUE)
    transition.advance()
    return Decision(transition.state, tuple(transition.actions))


def decide(state: Supervision, event: Event) -> Decision:
    """Return the decision about one event.

    Raises:
        UnknownChild: an order names a child that does not exist.
        ChildExists: an Add order has the name of an existing child, or a StartChild order names a running child.
        ChildBusy: the child's state does not allow the order now.
        SupervisorNotRunning: the event is an order and the supervisor is not running.
        IllegalSignal: the event cannot happen, such as Ready for a child that was not started.
    """
    transition = Transition(state)
    outcome: Outcome | None = None
    match event:
        case Ready():
            transition.move(event.name, Signal.READY)
            transition.put(replace(transition.state.child(event.name), ready_at=event.at, trial=None))
        case Exited():
            outcome = _exited(transition, event)
        case Elapsed():
            child = state.find(event.name)
            if child and child.state is ChildState.BACKOFF and child.generation == event.generation:
                transition.move(child.name, Signal.QUEUE)
        case Shutdown():
            if state.phase in UP:
                transition.end(Phase.STOPPING, drain=event.drain)
        case _:
            _order(transition, event)
    transition.advance()
    return Decision(transition.state, tuple(transition.actions), outcome)


def _exited(transition: Transition, event: Exited) -> Outcome:
    child = transition.state.child(event.name)
    starting = child.state is ChildState.STARTING
    siblings: tuple[str, ...] = ()
    delay_s: float | None = None
    # The first case that applies decides: the child was being stopped, its start by order failed, the boot failed, or
    # its restart type.
    if child.then is not None:
        signal = child.then
        transition.move(child.name, signal)
    elif starting and child.trial is not None:
        signal = child.trial
        transition.move(child.name, signal)
    elif transition.state.phase is Phase.BOOTING and child.ready_at is None:
        signal = Signal.REST
        transition.move(child.name, signal)
        transition.end(Phase.UNWINDING, drain=False)
    else:
        signal = VERDICTS[child.restart, ExitKind.CRASHED if starting else event.kind]
        if signal is not Signal.RETRY:
            transition.move(child.name, signal)
        elif _spend(transition, event.at):
            delay_s, siblings = _retry(transition, child, event)
        else:
            signal = Signal.REST
            transition.move(child.name, signal)
            transition.end(Phase.GIVING_UP, drain=False)
    return Outcome(child.name, signal, delay_s, siblings, transition.state.phase)


def _spend(transition: Transition, at: float) -> bool:
    """Record a restart. Return whether the intensity allows it."""
    limit = transition.state.intensity
    if limit is None:
        return True
    recent = (*(time for time in transition.state.restarts if at - time <= limit.period_s), at)
    transition.state = replace(transition.state, restarts=recent)
    return len(recent) <= limit.max_restarts


def _retry(transition: Transition, child: Child, event: Exited) -> tuple[float, tuple[str, ...]]:
    """Begin the backoff of a failed child and take its group down. Return the delay and the siblings that restart."""
    healthy = (
        child.state is ChildState.RUNNING
        and child.ready_at is not None
        and event.at - child.ready_at >= child.backoff.healthy_after_s
    )
    attempt = 0 if healthy else child.attempt
    delay_s = child.backoff.delay_s(attempt, event.draw)
    transition.move(child.name, Signal.RETRY)
    transition.put(replace(transition.state.child(child.name), attempt=attempt + 1))
    transition.actions.append(Delay(child.name, delay_s, child.generation))
    joined: list[str] = []
    for sibling in _group(transition.state, child.name):
        if sibling.state is ChildState.IDLE:
            continue
        if sibling.restart is Restart.TEMPORARY:
            transition.schedule_stop(sibling, Signal.DROP, drain=False)
        else:
            transition.schedule_stop(sibling, Signal.QUEUE, drain=False)
            joined.append(sibling.name)
    return delay_s, tuple(joined)


def _group(state: Supervision, name: str) -> tuple[Child, ...]:
    """Return the siblings that a failure of this child takes down, in start order."""
    index = next(at for at, child in enumerate(state.children) if child.name == name)
    if state.strategy is Strategy.ONE_FOR_ONE:
        return ()
    earlier = state.children[:index] if state.strategy is Strategy.ONE_FOR_ALL else ()
    return earlier + state.children[index + 1 :]


def _order(transition: Transition, order: Order) -> None:
    if transition.state.phase is not Phase.RUNNING:
        raise SupervisorNotRunning(transition.state.path, transition.state.phase)
    if isinstance(order, Add):
        _add(transition, order.child)
        return
    child = transition.state.child(order.name)
    if isinstance(order, StartChild):
        if child.state is ChildState.RUNNING:
            raise ChildExists(f"{transition.state.path}/{child.name}", child.state)
        _require_idle(transition, child)
        _try_start(transition, child, Signal.REST)
    elif isinstance(order, StopChild):
        then = Signal.DROP if child.restart is Restart.TEMPORARY else Signal.REST
        transition.schedule_stop(child, then, drain=True)
    elif isinstance(order, RestartChild):
        _restart(transition, child)
    else:
        _require_idle(transition, child)
        transition.move(child.name, Signal.DROP)


def _require_idle(transition: Transition, child: Child) -> None:
    if child.state is not ChildState.IDLE:
        raise ChildBusy(f"{transition.state.path}/{child.name}", child.state)


def _try_start(transition: Transition, child: Child, trial: Signal) -> None:
    """Queue a child that an order starts. If the start fails, the child gets the signal `trial` and is not retried."""
    transition.move(child.name, Signal.QUEUE)
    transition.put(replace(transition.state.child(child.name), trial=trial))


def _add(transition: Transition, child: Child) -> None:
    present = transition.state.find(child.name)
    if present:
        raise ChildExists(f"{transition.state.path}/{child.name}", present.state)
    transition.state = replace(transition.state, children=(*transition.state.children, child))
    _try_start(transition, child, Signal.DROP)


def _restart(transition: Transition, child: Child) -> None:
    match child.state:
        case ChildState.IDLE:
            _try_start(transition, child, Signal.REST)
        case ChildState.BACKOFF:
            transition.move(child.name, Signal.QUEUE)
        case ChildState.RUNNING:
            transition.schedule_stop(child, Signal.QUEUE, drain=False)
        case _:
            raise ChildBusy(f"{transition.state.path}/{child.name}", child.state)
