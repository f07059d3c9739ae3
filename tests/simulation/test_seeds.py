"""A thousand simulations, from a thousand seeds; every tenth is run twice and must go the same way.

`make test` runs the first fifty, `make test-all` the rest, and `make soak` new ones.
"""

import pytest

from simulation.run import simulate
from simulation.simulate import plan_of

SEEDS = 1000
CHUNK = 50
TWICE_EVERY = 10


FIRST = [pytest.param(seed, marks=[pytest.mark.slow] if seed else []) for seed in range(0, SEEDS, CHUNK)]


@pytest.mark.parametrize("first", FIRST)
def test_no_oracle_is_violated(first: int) -> None:
    for seed in range(first, first + CHUNK):
        plan = plan_of(seed)
        outcome = simulate(plan.seed, plan.workload, plan.faults)
        outcome.check()
        if seed % TWICE_EVERY == 0:
            assert simulate(plan.seed, plan.workload, plan.faults).trace_digest == outcome.trace_digest
