"""Storms in which packages come and go beside collections: nothing that is referred to is lost, and nothing else stays.

Defects of the life cycle, put into the code on purpose, are found within a stated number of storms.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import pytest

from artifactstore import collecting
from artifactstore.collecting import Collection
from artifactstore_protocols import judging
from artifactstore_protocols.admission import Examined, admit
from artifactstore_protocols.collection import Listed, content_place
from artifactstore_protocols.commands import Command, IngestFiles
from artifactstore_protocols.entries import Place
from artifactstore_protocols.event_types import Payload
from artifactstore_protocols.judging import decide
from artifactstore_protocols.messages import DeleteObjects
from artifactstore_protocols.state import LogState, ObjectState
from artifactstore_protocols.storage import ListedObject
from artifactstore_protocols.views import HOLDS, RowOperation
from simulation import store
from simulation.run import simulate
from simulation.storms import storm_of

type Patch = pytest.MonkeyPatch

SAMPLE, SLOW = 3, 50


def collect_by_age(patch: Patch) -> None:
    def old(
        backend_id: str, listed: Iterable[ListedObject], states: Mapping[Place, ObjectState], orphan_age_s: float
    ) -> Listed:
        places = [(content_place(backend_id, each.object_key), each) for each in listed]
        found = [(place, each.size_bytes) for place, each in places if place and each.age_s >= orphan_age_s]
        return Listed((), (), tuple(each for each in found if states.get(each[0]) not in {"live", "condemned"}))

    patch.setattr(collecting, "sort_listed", old)


def use_what_is_condemned_without_a_reprieve(patch: Patch) -> None:
    patch.setattr(judging, "reprieve_objects", lambda *_: None)


def reuse_a_retired_key(patch: Patch) -> None:
    def forget(command: Command, state: LogState, *, entries_max: int) -> tuple[Payload, ...]:
        for each in command.stored if isinstance(command, IngestFiles) else ():
            held = state.places_of(each.digest).get(each.place)
            if held is not None and not held.is_current:
                del state.objects[each.digest][each.place]
        return decide(command, state, entries_max=entries_max)

    patch.setattr(judging, "decide", forget)


def delete_before_the_retirement_commits(patch: Patch) -> None:
    retire = Collection._retire  # pyright: ignore[reportPrivateUsage]

    async def delete(
        collection: Collection, objects: Sequence[tuple[Place, int]], cause: str
    ) -> Sequence[tuple[Place, int]]:
        if objects:
            places = tuple(place for place, _size in objects)
            await collection._storage.ask(DeleteObjects(places))  # pyright: ignore[reportPrivateUsage]
        return await retire(collection, objects, cause)

    patch.setattr(Collection, "_retire", delete)


def forget_holds_on_import(patch: Patch) -> None:
    def forget(examined: Examined, state: LogState) -> Sequence[RowOperation]:
        return [operation for operation in admit(examined, state) if operation.table is not HOLDS]

    patch.setattr(store, "admit", forget)


SEEDS: dict[Callable[[Patch], None], int] = {
    collect_by_age: 5,
    use_what_is_condemned_without_a_reprieve: 5,
    reuse_a_retired_key: 5,
    delete_before_the_retirement_commits: 5,
    forget_holds_on_import: 5,
}


@pytest.mark.parametrize(
    "seeds",
    [range(SAMPLE), pytest.param(range(SAMPLE, SLOW), marks=pytest.mark.slow)],
)
def test_a_storm_loses_nothing_and_leaves_nothing(seeds: Iterable[int]) -> None:
    for seed in seeds:
        plan = storm_of(seed)
        simulate(plan.seed, plan.workload, plan.faults).check()


@pytest.mark.slow
@pytest.mark.parametrize(("defect", "seeds"), [pytest.param(*each, id=each[0].__name__) for each in SEEDS.items()])
def test_a_defect_is_found(defect: Callable[[Patch], None], seeds: int, monkeypatch: Patch) -> None:
    defect(monkeypatch)
    for seed in range(seeds):
        plan = storm_of(seed)
        if simulate(plan.seed, plan.workload, plan.faults).violations:
            return
    pytest.fail(f"not found in {seeds} seeds")
