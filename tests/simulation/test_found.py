"""What simulations have found, each as the shortest plan that shows it."""

import pytest

from simulation.endings import Expire, Jump, MoveClock
from simulation.faults import CommitFailure, CommitFault, Fault
from simulation.run import simulate
from simulation.workload import Client, CreatePackage, Operation, Workload

CREATE = CreatePackage(0, keyed=False)


@pytest.mark.parametrize(
    ("operations", "faults"),
    [
        pytest.param(
            (CREATE,),
            (CommitFault(CommitFailure.COMMIT_LATE, 1, 1), CommitFault(CommitFailure.LOG_FULL, 2, 0)),
            id="the writer's second attempt failed, and it forgot that the first one might have succeeded",
        ),
        pytest.param(
            (CREATE, MoveClock(Jump.DAYS_AHEAD, confirmed=True), Expire(soon=True)),
            (CommitFault(CommitFailure.COMMIT_CRASHED_LATE, 4, 0),),
            id="a run of expiry that failed left its list of packages open",
        ),
    ],
)
def test_it_is_found_no_more(operations: tuple[Operation, ...], faults: tuple[Fault, ...]) -> None:
    outcome = simulate(0, Workload((Client(0, together=False, operations=operations),)), faults)
    outcome.check()
    assert sum(outcome.struck.values()) == len(faults)
