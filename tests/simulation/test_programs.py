"""Random programs over the pure rules of the life cycle, and the defects that they find."""

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import memory_log
from artifactstore_protocols import admission, collection, judging
from artifactstore_protocols.entries import Place
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_types import keep_policies_applied
from simulation import life_cycle_defects as defects
from simulation.programs import STEPS_MAX, Store, run

type Patch = pytest.MonkeyPatch

LENGTH = 200
PROGRAMS = st.lists(st.integers(0, STEPS_MAX - 1), max_size=LENGTH)


def program_of(seed: int) -> list[int]:
    source = random.Random(f"program {seed}")  # noqa: S311 - simulated chance
    return [source.randrange(STEPS_MAX) for _ in range(LENGTH)]


@given(program=PROGRAMS)
@settings(max_examples=15, deadline=None)
def test_no_program_loses_or_leaves_a_byte(program: list[int]) -> None:
    run(program)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [range(100), pytest.param(range(100, 20_000), marks=pytest.mark.soak)], ids=str)
def test_no_long_program_loses_or_leaves_a_byte(seeds: Sequence[int]) -> None:
    for seed in seeds:
        run(program_of(seed))


def delete_before_the_retirement_commits(patch: Patch) -> None:
    retire = Store.retire

    def delete(store: Store, places: Sequence[Place], cause: str) -> Sequence[Place]:
        store.disk -= set(places)
        return retire(store, places, cause)

    patch.setattr(Store, "retire", delete)


DEFECTS: dict[str, tuple[int, Callable[[Patch], None]]] = {
    "collect by age": (10, lambda patch: patch.setattr(collection, "sort_listed", defects.sorted_by_age)),
    "use what is condemned without a reprieve": (
        10,
        lambda patch: patch.setattr(judging, "reprieve_objects", defects.no_reprieve),
    ),
    "reuse a retired key": (10, lambda patch: patch.setattr(memory_log, "decide", defects.decided_with_any_key)),
    "delete before the retirement commits": (40, delete_before_the_retirement_commits),
    "forget purges on import": (
        20,
        lambda patch: patch.setattr(admission, "admit", defects.admitted_without_purges),
    ),
    "let a keep policy end a hold": (
        40,
        lambda patch: patch.setattr(keep_policies_applied, "expire_package", defects.expired_under_a_hold),
    ),
    "forget holds on import": (10, lambda patch: patch.setattr(admission, "admit", defects.admitted_without_holds)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "defect"), DEFECTS.values(), ids=DEFECTS)
def test_a_defect_is_found(seeds: int, defect: Callable[[Patch], None], monkeypatch: Patch) -> None:
    defect(monkeypatch)
    for seed in range(seeds):
        try:
            run(program_of(seed))
        except (AssertionError, ArtifactStoreError):
            return
    pytest.fail(f"not found in {seeds} programs")
