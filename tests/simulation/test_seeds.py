"""A thousand simulations, from a thousand seeds; every tenth is run twice and must go the same way.

`make test` runs the first 25, `make test-all` 250, and `make soak` the rest and then new ones.
"""

import pytest

from simulation.run import simulate
from simulation.simulate import plan_of

SEEDS = 1000
SAMPLE = 250
CHUNK = 25
TWICE_EVERY = 10


def _marks(first: int) -> list[pytest.MarkDecorator]:
    if first < CHUNK:
        return []
    return [pytest.mark.slow] if first < SAMPLE else [pytest.mark.soak]


FIRST = [pytest.param(first, marks=_marks(first)) for first in range(0, SEEDS, CHUNK)]


@pytest.mark.parametrize("first", FIRST)
def test_no_oracle_is_violated(first: int) -> None:
    for seed in range(first, first + CHUNK):
        plan = plan_of(seed)
        outcome = simulate(plan.seed, plan.workload, plan.faults)
        outcome.check()
        if seed % TWICE_EVERY == 0:
            assert simulate(plan.seed, plan.workload, plan.faults).trace_digest == outcome.trace_digest
