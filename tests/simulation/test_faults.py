"""Every kind of fault that there is really strikes, and is counted; what was not synced is really lost."""

from typing import Final

import pytest

from simulation.faults import (
    ChangeFailure,
    ChangeFault,
    CommitFailure,
    CommitFault,
    Fault,
    FaultKind,
    OpenFailure,
    OpenFault,
    PreadFailure,
    PreadFault,
    ReadFailure,
    ReadFault,
    StepFailure,
    StepFault,
    ThreadFailure,
    ThreadFault,
)
from simulation.run import simulate
from simulation.simulate import plan_of

ALL: Final[list[Fault]] = [
    *(OpenFault(kind, 1, 1) for kind in OpenFailure),
    *(CommitFault(kind, 2, 1) for kind in CommitFailure),
    *(ReadFault(kind, 5, 1) for kind in ReadFailure),
    *(ChangeFault(kind, 8, 1) for kind in ChangeFailure),
    *(PreadFault(kind, 2, 1) for kind in PreadFailure),
    *(ThreadFault(kind, 3, 1) for kind in ThreadFailure),
    *(StepFault(kind, 90, 1) for kind in StepFailure),
]
SEEDS: Final = 20


def _struck(fault: Fault) -> dict[FaultKind, int]:
    """What struck in the first simulation in which anything did; not every workload reaches each point."""
    for seed in range(SEEDS):
        outcome = simulate(seed, plan_of(seed).workload, [fault])
        outcome.check()
        if outcome.struck:
            return dict(outcome.struck)
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("fault", ALL, ids=[fault.kind for fault in ALL])
def test_it_strikes_and_is_counted_and_no_oracle_is_violated(fault: Fault) -> None:
    assert _struck(fault) == {fault.kind: 1}


@pytest.mark.slow
def test_what_was_not_synced_is_lost_with_the_power_and_counted() -> None:
    """The tests of the simulated disk check which data is lost."""
    lost: set[str] = set()
    for seed in range(SEEDS):
        outcome = simulate(seed, plan_of(seed).workload, [StepFault(StepFailure.POWER_LOST, 100 + seed, 0)])
        outcome.check()
        lost |= {what.partition(",")[0] for what in outcome.lost}
        if lost == {"names", "contents"}:
            return
    pytest.fail(f"only {lost}")
