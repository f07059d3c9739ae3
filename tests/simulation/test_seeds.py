"""A thousand simulations, from a thousand seeds; every tenth is run twice and must go the same way."""

import random
from dataclasses import replace

import pytest

from artifactstore.testing.simulation.grammar import sample
from artifactstore.testing.simulation.plan import Plan
from artifactstore.testing.simulation.run import simulate

SEEDS = 1000
CHUNK = 50
TWICE_EVERY = 10


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_no_oracle_is_violated(first: int) -> None:
    for seed in range(first, first + CHUNK):
        plan = replace(sample(Plan, random.Random(seed)), seed=seed)  # noqa: S311 - simulated chance
        outcome = simulate(plan.seed, plan.workload, plan.faults)
        outcome.check()
        if seed % TWICE_EVERY == 0:
            assert simulate(plan.seed, plan.workload, plan.faults).trace_digest == outcome.trace_digest
