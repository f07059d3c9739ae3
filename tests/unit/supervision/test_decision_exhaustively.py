"""Every state that a supervisor of two children can come to, and every event there: decided, and never stuck.

Times and draws are left out of what tells states apart, and so is how often a child was started: they choose delays and
no transitions. Children that are added or removed by order are drawn by the laws in test_decision_laws.py.
"""

from collections.abc import Iterator
from itertools import product

import pytest
from msgspec.structs import replace

from artifactstore_protocols.supervision import ChildState, Intensity, Phase, Restart, Strategy
from artifactstore_protocols.supervision.decision import Decision, boot, decide
from artifactstore_protocols.supervision.errors import (
    ChildBusy,
    ChildExists,
    SupervisorNotRunning,
    UnknownChild,
)
from artifactstore_protocols.supervision.events import (
    Elapsed,
    Event,
    Exited,
    Ready,
    RestartChild,
    Shutdown,
    Start,
    StartChild,
    StopChild,
)
from artifactstore_protocols.supervision.lifecycle import ExitKind
from artifactstore_protocols.supervision.policy import Backoff
from artifactstore_protocols.supervision.table import Child, Supervision

pytestmark = pytest.mark.slow

BACKOFF = Backoff(initial_s=1, jitter=0, healthy_after_s=0)
REFUSALS = (ChildBusy, ChildExists, SupervisorNotRunning, UnknownChild)
HAS_A_TASK = {ChildState.STARTING, ChildState.RUNNING, ChildState.DOOMED, ChildState.STOPPING}
AT_REST = {Phase.RUNNING, Phase.STOPPED, Phase.GAVE_UP, Phase.START_FAILED}

type Unready = frozenset[str]
type Place = tuple[Supervision, Unready]


def after(decision: Decision, unready: Unready) -> Place:
    """Where a decision leads: the table without what makes no difference, and who was started and is not ready."""
    started = {action.name for action in decision.actions if isinstance(action, Start)}
    children = tuple(
        replace(child, attempt=0, generation=1, ready_at=None if child.ready_at is None else 0.0)
        for child in decision.state.children
    )
    return replace(decision.state, children=children), unready | started


def what_may_happen(state: Supervision, unready: Unready) -> Iterator[Event]:
    """All that the children and their delays can bring about by themselves."""
    yield from (Ready(name, 0.0) for name in sorted(unready))
    for child in state.children:
        if child.state in HAS_A_TASK:
            yield from (Exited(child.name, kind, 0.0, 0.0) for kind in ExitKind)
        if child.state is ChildState.BACKOFF:
            yield Elapsed(child.name, 1)


def orders(names: str) -> Iterator[Event]:
    yield Shutdown()
    for name in names:
        yield from (StartChild(name), StopChild(name), RestartChild(name))


def explore(strategy: Strategy, intensity: Intensity | None, restarts: tuple[Restart, ...]) -> int:
    names = "ab"
    rows = tuple(Child(name, restart, BACKOFF) for name, restart in zip(names, restarts, strict=True))
    begin = after(boot(Supervision("s", strategy, intensity, rows)), frozenset())
    seen, todo = {begin}, [begin]
    while todo:
        state, unready = todo.pop()
        own = list(what_may_happen(state, unready))
        if not own:
            assert state.phase in AT_REST, f"stuck: {state}"
            assert ChildState.QUEUED not in {child.state for child in state.children}, f"queued for ever: {state}"
        for event in (*own, *orders(names)):
            try:
                decision = decide(state, event)
            except REFUSALS:
                continue  # any other error, an illegal signal above all, fails the test
            spoken = {event.name} if isinstance(event, Ready | Exited) else set[str]()
            place = after(decision, unready - spoken)
            if place not in seen:
                seen.add(place)
                todo.append(place)
    return len(seen)


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("intensity", [None, Intensity(1, 10)], ids=["without end", "one restart"])
def test_every_state_has_a_way_on_and_every_event_a_decision(strategy: Strategy, intensity: Intensity | None) -> None:
    for restarts in product(Restart, repeat=2):
        assert explore(strategy, intensity, restarts) > 1
