"""Every order of steps of two ingests and two collectors of one content: no byte that is referred to is lost."""

import pytest

from simulation.object_model import Faults, State, explore

ONE_COLLECTOR = State(collectors=(("idle", 0),))


@pytest.mark.slow
def test_no_referenced_byte_is_lost_beside_one_collector() -> None:
    visited, lost = explore(ONE_COLLECTOR)
    assert lost is None
    assert visited > 1_000


@pytest.mark.slow
def test_no_referenced_byte_is_lost_beside_two_collectors() -> None:
    visited, lost = explore(State())
    assert lost is None
    assert visited > 100_000


@pytest.mark.parametrize("faults", [Faults(deletes_before_retirement=True), Faults(commits_unchecked=True)], ids=repr)
def test_the_model_notices_a_broken_rule(faults: Faults) -> None:
    _visited, lost = explore(ONE_COLLECTOR, faults)
    assert lost is not None
