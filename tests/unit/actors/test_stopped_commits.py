"""A commit that becomes durable while actors are stopped is reported as committed to every caller."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from artifactstore.config import Settings
from artifactstore.database.actor import DatabaseActor
from artifactstore.registry import Registry
from artifactstore.supervision import ActorCrashed, ActorStopped, open_tree
from artifactstore.tree import Actors, tree_spec
from artifactstore_protocols.commands import CommandRequest, CreatePackage, FinalizePackage, RegisterMetadataSchema
from artifactstore_protocols.event_store import CommandOutcome
from artifactstore_protocols.messages import DatabaseReading, ProbeDatabase
from integration.registry.samples import plant, stream_of
from simulation.parts import Parts, simulated_parts
from simulation.store import SimulatedEventStore

type Call = Callable[[Registry, str, Path], Awaitable[object]]

SLOW_S = 20.0
CALLS: dict[str, tuple[type, Call]] = {
    "create": (CreatePackage, lambda registry, _package, _tree: registry.create_package("q")),
    "a stream": (object, lambda registry, package, _tree: registry.ingest_file(package, "f", stream_of(b"x"))),
    "a file": (object, lambda registry, package, tree: registry.ingest_file(package, "f", tree / "f")),
    "a directory": (object, lambda registry, package, tree: registry.ingest_directory(package, tree)),
    "finalize": (FinalizePackage, lambda registry, package, _tree: registry.finalize_package(package)),
    "a tree": (FinalizePackage, lambda registry, _package, tree: registry.ingest_tree(tree)),
    "a schema": (
        RegisterMetadataSchema,
        lambda registry, _package, _tree: registry.register_metadata_schema("s", {"type": "object"}),
    ),
}


@asynccontextmanager
async def opened(actors: Actors) -> AsyncGenerator[tuple[Registry, Parts]]:
    async with simulated_parts() as parts:
        spec = tree_spec(actors, Settings(), parts.store, parts.plane, ())
        async with open_tree(spec) as tree:
            yield Registry(actors, parts.store, tree, trio.Event()), parts


async def crash(_actor: DatabaseActor, _message: ProbeDatabase) -> DatabaseReading:
    raise RuntimeError("as it was told")


@pytest.mark.parametrize(
    ("name", "crashes"),
    [*((name, False) for name in CALLS), *((name, True) for name in ("create", "finalize", "a schema"))],
)
async def test_it_is_answered_as_committed(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, *, crashes: bool
) -> None:
    last, call = CALLS[name]
    tree = plant(tmp_path / "tree", {"f": b"content"})
    commit, committing, answers, actors = SimulatedEventStore.commit, trio.Event(), list[object](), Actors()

    async def slow(
        store: SimulatedEventStore,
        requests: Sequence[CommandRequest],
        *,
        now_us: Callable[[], int],
        new_id: Callable[[], str],
        files_per_package_max: int,
    ) -> Sequence[CommandOutcome]:
        if isinstance(requests[0].command, last):
            committing.set()
            with trio.CancelScope(shield=True):  # as a thread does
                await trio.sleep(SLOW_S)
        return await commit(store, requests, now_us=now_us, new_id=new_id, files_per_package_max=files_per_package_max)

    async def ask(registry: Registry, package: str) -> None:
        answers.append(await call(registry, package, tree))

    async with trio.open_nursery() as nursery, opened(actors) as (registry, parts):
        package = (await registry.create_package("p")).package_id
        monkeypatch.setattr(SimulatedEventStore, "commit", slow)
        before = len(parts.log.events)
        nursery.start_soon(ask, registry, package)
        await committing.wait()
        if crashes:
            monkeypatch.setattr(DatabaseActor, "probe", crash)
            with pytest.raises(ActorCrashed):
                await actors.database.ask(ProbeDatabase())
            await trio.sleep(2 * SLOW_S)
            assert len(answers) == 1, "before it is closed"
    assert len(answers) == 1
    assert len(parts.log.events) > before


async def test_a_tree_of_which_more_is_to_come_is_stopped(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The rest of it may take hours, and the actors that it needs are to start anew."""
    tree = plant(tmp_path / "tree", {f"{number}": b"content" for number in range(300)})  # two batches
    commit, committing, actors = SimulatedEventStore.commit, trio.Event(), Actors()

    async def noted(
        store: SimulatedEventStore,
        requests: Sequence[CommandRequest],
        *,
        now_us: Callable[[], int],
        new_id: Callable[[], str],
        files_per_package_max: int,
    ) -> Sequence[CommandOutcome]:
        if not isinstance(requests[0].command, CreatePackage):
            committing.set()
        return await commit(store, requests, now_us=now_us, new_id=new_id, files_per_package_max=files_per_package_max)

    async def ask(registry: Registry) -> None:
        with pytest.raises(ActorStopped, match="may have taken effect"):
            await registry.ingest_tree(tree)

    monkeypatch.setattr(SimulatedEventStore, "commit", noted)
    async with opened(actors) as (registry, _parts), trio.open_nursery() as nursery:
        nursery.start_soon(ask, registry)
        await committing.wait()
        monkeypatch.setattr(DatabaseActor, "probe", crash)
        with pytest.raises(ActorCrashed):
            await actors.database.ask(ProbeDatabase())
