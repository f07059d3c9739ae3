"""Work on a large store takes as long as it takes: no ask gives up after a day, and nothing is kept of it."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from artifactstore.config import Settings
from artifactstore.database.database import Database
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.store import SqlEventStore
from artifactstore.dataplane import InProcessDataPlane
from artifactstore.ingest import IngestActor
from artifactstore.registry import Registry
from artifactstore.supervision import open_tree
from artifactstore.tree import Actors, tree_spec
from artifactstore_protocols.records import ReplayReport
from integration.registry.samples import plant, stream_of
from simulation.parts import simulated_parts
from simulation.store import SimulatedEventStore

LONG_S = 30 * 3600.0


@asynccontextmanager
async def opened() -> AsyncGenerator[Registry]:
    actors = Actors()
    async with simulated_parts() as parts:
        spec = tree_spec(actors, Settings(), parts.store, parts.plane, ())
        async with open_tree(spec) as tree:
            yield Registry(actors, parts.store, tree, trio.Event())


def slow[**P, T](method: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    async def slowly(*args: P.args, **kwargs: P.kwargs) -> T:
        await trio.sleep(LONG_S)
        return await method(*args, **kwargs)

    return slowly


async def fill(registry: Registry, tree: Path) -> None:
    package = (await registry.create_package("p")).package_id
    await registry.ingest_file(package, "a stream", stream_of(b"a", b"b"))
    await registry.ingest_directory(package, tree)
    await registry.finalize_package(package)


@pytest.mark.parametrize(
    ("owner", "method"),
    [
        (InProcessDataPlane, "ingest_stream"),
        (InProcessDataPlane, "ingest_files"),
        (InProcessDataPlane, "verify_objects"),
        (SimulatedEventStore, "replay"),
        (SimulatedEventStore, "contents"),
    ],
)
async def test_it_may_take_longer_than_a_day(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, owner: type, method: str
) -> None:
    monkeypatch.setattr(owner, method, slow(getattr(owner, method)))
    began = trio.current_time()
    async with opened() as registry:
        await fill(registry, plant(tmp_path / "tree", {"f": b"content"}))
        assert (await registry.verify()).sound
        assert (await registry.replay(check=True)).identical
    assert trio.current_time() - began > LONG_S


async def test_the_database_gives_a_replay_no_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = list[float | None]()
    read = Database.read

    async def noted(
        database: Database, work: Callable[[Any], Awaitable[ReplayReport]], *, timeout_s: float | None
    ) -> ReplayReport:
        limits.append(timeout_s)
        return await read(database, work, timeout_s=timeout_s)

    store = SqlEventStore(Database(DatabaseLocation.parse(f"sqlite:///{tmp_path}/log.db")))
    await store.open()
    monkeypatch.setattr(Database, "read", noted)
    for rebuild in (False, True):
        assert (await store.replay(rebuild=rebuild)).identical
    await store.close()
    assert limits == [None, None]


@pytest.mark.slow
async def test_an_ingest_actor_forgets_the_packages_that_are_filled(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = list[IngestActor]()
    on_start = IngestActor.on_start

    async def remembered(actor: IngestActor) -> None:
        made.append(actor)
        await on_start(actor)

    monkeypatch.setattr(IngestActor, "on_start", remembered)
    async with opened() as registry:
        await fill(registry, plant(tmp_path / "tree", {"f": b"content"}))
        filling = [dict(actor._filling) for actor in made]  # pyright: ignore[reportPrivateUsage] - said nowhere else
        assert filling == [{}]
