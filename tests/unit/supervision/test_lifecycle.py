"""The table of one child's life: complete and closed."""

from itertools import product

import pytest

from artifactstore_protocols.supervision import ChildState, Restart
from artifactstore_protocols.supervision.lifecycle import (
    TRANSITIONS,
    VERDICTS,
    ExitKind,
    IllegalSignal,
    Signal,
    step,
)


@pytest.mark.parametrize(("state", "signal"), list(product(ChildState, Signal)))
def test_every_pair_either_leads_to_a_state_or_is_illegal(state: ChildState, signal: Signal) -> None:
    if (state, signal) in TRANSITIONS:
        assert step(state, signal) is TRANSITIONS[state, signal]
    else:
        with pytest.raises(IllegalSignal, match=state):
            step(state, signal)


def test_every_state_can_be_reached_and_every_state_but_removed_can_be_left() -> None:
    reached = {ChildState.IDLE}
    while more := {to for (state, _), to in TRANSITIONS.items() if state in reached} - reached:
        reached |= more
    assert reached == set(ChildState)
    assert {state for state, _ in TRANSITIONS} == set(ChildState) - {ChildState.REMOVED}


def test_only_backoff_and_a_stop_lead_from_a_run_to_another() -> None:
    """A child that ran is started again only after its backoff, or after it was stopped to be restarted."""
    before_queue = {state for (state, _), to in TRANSITIONS.items() if to is ChildState.QUEUED}
    assert before_queue == {ChildState.IDLE, ChildState.BACKOFF, ChildState.DOOMED, ChildState.STOPPING}


@pytest.mark.parametrize("state", [ChildState.STARTING, ChildState.RUNNING])
@pytest.mark.parametrize(("restart", "kind"), list(product(Restart, ExitKind)))
def test_every_exit_has_a_verdict_that_a_child_that_runs_can_take(
    state: ChildState, restart: Restart, kind: ExitKind
) -> None:
    assert (state, VERDICTS[restart, kind]) in TRANSITIONS
