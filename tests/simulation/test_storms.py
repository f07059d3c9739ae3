"""Storms in which packages come and go beside collections: nothing that is referred to is lost, and nothing else stays.

Defects of the life cycle, put into the code on purpose, are found within a stated number of storms.
"""

from collections.abc import Callable, Sequence

import pytest

from artifactstore import collecting
from artifactstore.collecting import Collection
from artifactstore_protocols import judging
from artifactstore_protocols.entries import Place
from artifactstore_protocols.messages import DeleteObjects
from simulation import life_cycle_defects as defects
from simulation import store
from simulation.run import simulate
from simulation.storms import storm_of

type Patch = pytest.MonkeyPatch

QUICK, SLOW = 2, 20


@pytest.mark.parametrize(
    "seeds", [range(QUICK), pytest.param(range(QUICK, SLOW), marks=pytest.mark.slow)], ids=["a few", "more"]
)
def test_a_storm_loses_nothing_and_leaves_nothing(seeds: Sequence[int]) -> None:
    for seed in seeds:
        plan = storm_of(seed)
        simulate(plan.seed, plan.workload, plan.faults).check()


def delete_before_the_retirement_commits(patch: Patch) -> None:
    retire = Collection._retire  # pyright: ignore[reportPrivateUsage]

    async def delete(
        collection: Collection, objects: Sequence[tuple[Place, int]], cause: str, until_us: int | None = None
    ) -> Sequence[tuple[Place, int]]:
        if objects:
            places = tuple(place for place, _size in objects)
            await collection._storage.ask(DeleteObjects(places))  # pyright: ignore[reportPrivateUsage]
        return await retire(collection, objects, cause, until_us)

    patch.setattr(Collection, "_retire", delete)


DEFECTS: dict[str, tuple[int, Callable[[Patch], None]]] = {
    "collect by age": (15, lambda patch: patch.setattr(collecting, "sort_listed", defects.sorted_by_age)),
    "use what is condemned without a reprieve": (
        15,
        lambda patch: patch.setattr(judging, "reprieve_objects", defects.no_reprieve),
    ),
    "reuse a retired key": (15, lambda patch: patch.setattr(judging, "decide", defects.decided_with_any_key)),
    "delete before the retirement commits": (15, delete_before_the_retirement_commits),
    "forget holds on import": (15, lambda patch: patch.setattr(store, "admit", defects.admitted_without_holds)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "defect"), DEFECTS.values(), ids=DEFECTS)
def test_a_defect_is_found(seeds: int, defect: Callable[[Patch], None], monkeypatch: Patch) -> None:
    defect(monkeypatch)
    for seed in range(seeds):
        plan = storm_of(seed)
        if simulate(plan.seed, plan.workload, plan.faults).violations:
            return
    pytest.fail(f"not found in {seeds} seeds")
