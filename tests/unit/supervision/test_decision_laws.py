"""Laws of supervision that hold for every strategy, restart type and order of events.

The world below keeps what a runtime would have under way (runs, stops, delays), lets Hypothesis choose what happens
next among all that can, and checks the laws after each step.
"""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore_protocols.supervision import ChildState, Intensity, Phase, Refusal, Restart, Strategy
from artifactstore_protocols.supervision.decision import boot, decide
from artifactstore_protocols.supervision.events import (
    Action,
    Add,
    Delay,
    Elapsed,
    Enter,
    Event,
    Exited,
    Ready,
    Release,
    Remove,
    RestartChild,
    Shutdown,
    Start,
    StartChild,
    Stop,
    StopChild,
)
from artifactstore_protocols.supervision.lifecycle import ExitKind
from artifactstore_protocols.supervision.table import Supervision

from .machine import row

NAMES = ("a", "b", "c", "d")
ENDS = {Phase.STOPPED, Phase.GAVE_UP, Phase.START_FAILED}
ON_THE_WAY_DOWN = {ChildState.DOOMED, ChildState.STOPPING}


class World:
    """What a runtime would have under way for one supervisor."""

    def __init__(self, state: Supervision) -> None:
        self.now = 0.0
        self.unready: set[str] = set()
        self.running: set[str] = set()
        self.stopping: set[str] = set()
        self.delays: list[Elapsed] = []
        self.starts: dict[str, int] = {}
        self.ever_ready = False
        decision = boot(state)
        self.state = decision.state
        self.carry_out(decision.actions)

    def possible(self) -> list[Event]:
        """Everything that can happen now, apart from orders."""
        events: list[Event] = [Ready(name, self.now) for name in sorted(self.unready)]
        events += [Exited(name, kind, self.now, 0.5) for name in sorted(self.running) for kind in ExitKind]
        events += self.delays
        return events

    def take(self, event: Event) -> None:
        if isinstance(event, Exited):
            for under_way in (self.unready, self.running, self.stopping):
                under_way.discard(event.name)
        if isinstance(event, Ready):
            self.unready.discard(event.name)
        if isinstance(event, Elapsed):
            self.delays.remove(event)
        before = self.state
        try:
            decision = decide(before, event)
        except Refusal:
            assert isinstance(event, Add | StartChild | StopChild | RestartChild | Remove)
            return
        self.state = decision.state
        self.carry_out(decision.actions)
        self.check()

    def carry_out(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Start(name):
                    assert name not in self.running, "a child runs once at a time"
                    self.running.add(name)
                    self.unready.add(name)
                    self.starts[name] = self.starts.get(name, 0) + 1
                    assert self.state.child(name).restart is not Restart.TEMPORARY or self.starts[name] == 1
                case Stop(name):
                    assert name in self.running, "only what runs is stopped"
                    assert name not in self.stopping, "and only once"
                    self.stopping.add(name)
                    self.check_stop_order(name)
                case Delay(name, seconds, generation):
                    assert seconds > 0
                    self.delays.append(Elapsed(name, generation))
                case Release(name, removed):
                    assert name not in self.running, "what is released is down"
                    if removed:
                        self.starts.pop(name, None)
                case Enter(phase):
                    self.ever_ready = self.ever_ready or phase is Phase.RUNNING

    def check_stop_order(self, name: str) -> None:
        if self.state.strategy is Strategy.ONE_FOR_ONE and self.state.phase in {Phase.BOOTING, Phase.RUNNING}:
            return
        names = [child.name for child in self.state.children]
        later = self.state.children[names.index(name) + 1 :]
        assert not [child for child in later if child.state in ON_THE_WAY_DOWN], "stops are in reverse order"

    def check(self) -> None:
        state = self.state
        if state.intensity is not None and state.phase in {Phase.BOOTING, Phase.RUNNING}:
            assert len(state.restarts) <= state.intensity.max_restarts
        if state.phase in ENDS:
            assert not self.running, "an end is an end"
            assert {child.state for child in state.children} <= {ChildState.IDLE}
        waiting = [child for child in state.children if child.state is ChildState.QUEUED]
        on_the_way = self.unready | self.stopping
        backing_off = [child for child in state.children if child.state is ChildState.BACKOFF]
        assert not waiting or on_the_way or backing_off, "a queued child waits for something"
        for child in backing_off:
            assert Elapsed(child.name, child.generation) in self.delays, "a backoff always ends"
        for child in state.children:
            runs = child.state in {ChildState.STARTING, ChildState.RUNNING} | ON_THE_WAY_DOWN
            assert runs == (child.name in self.running), "the table knows what runs"


def table_of(strategy: Strategy, intensity: Intensity | None, restarts: Sequence[Restart]) -> Supervision:
    rows = tuple(row(name, restart) for name, restart in zip(NAMES, restarts, strict=False))
    return Supervision("sup", strategy, intensity, rows)


def add(name: str, restart: Restart) -> Add:
    return Add(row(name, restart))


tables = st.builds(
    table_of,
    st.sampled_from(Strategy),
    st.none() | st.builds(Intensity, st.integers(0, 4), st.sampled_from([1.0, 10.0])),
    st.lists(st.sampled_from(Restart), max_size=len(NAMES)),
)

orders = st.one_of(
    st.builds(StartChild, st.sampled_from(NAMES)),
    st.builds(StopChild, st.sampled_from(NAMES)),
    st.builds(RestartChild, st.sampled_from(NAMES)),
    st.builds(Remove, st.sampled_from(NAMES)),
    st.builds(add, st.sampled_from(NAMES), st.sampled_from(Restart)),
)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.data(), tables)
def test_whatever_happens_the_laws_hold_and_a_shutdown_comes_to_an_end(data: st.DataObject, table: Supervision) -> None:
    world = World(table)
    for _ in range(data.draw(st.integers(0, 30), label="steps")):
        possible = world.possible()
        ordinary = bool(possible) and data.draw(st.integers(0, 3)) > 0
        event: Event = data.draw(st.sampled_from(possible) if ordinary else orders, label="event")
        world.now += data.draw(st.sampled_from([0.0, 0.5, 200.0]), label="time passes")
        world.take(event)
    world.take(Shutdown())
    while world.state.phase not in ENDS:
        assert world.stopping, "an end that is under way waits for a stop"
        name = data.draw(st.sampled_from(sorted(world.stopping)), label="stops")
        world.take(Exited(name, ExitKind.FINISHED, world.now, 0.5))


@settings(max_examples=50, deadline=None)
@given(tables)
def test_a_boot_without_failures_starts_all_in_order(table: Supervision) -> None:
    world = World(table)
    ready: list[str] = []
    while world.unready:
        (name,) = world.unready
        world.take(Ready(name, world.now))
        ready.append(name)
    assert ready == [child.name for child in table.children]
    assert world.state.phase is Phase.RUNNING
