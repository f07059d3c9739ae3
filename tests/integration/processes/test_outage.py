"""PostgreSQL stops and starts under load: typed errors while it is away, and work that continues afterwards."""

from collections import Counter
from collections.abc import Awaitable, Callable
from enum import IntEnum
from functools import partial
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from artifactstore import Registry, Settings, open_registry
from artifactstore.database.actor import DatabaseActor
from artifactstore.database.asyncio_thread import DatabaseClosed
from artifactstore.database.errors import DatabaseUnavailable, OutcomeUnknown
from artifactstore.database.location import DatabaseLocation
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.supervision import ChildState
from integration.registry.samples import actor_named, actors, add, check_sound, crash, settings_in, stream_of
from postgres_server import PostgresServer

GUARD_S = 120
PRODUCERS = 8
PACKAGES = 24
"""How many are finalized before the server stops, and how many more when it is back."""


class Server(IntEnum):
    """What the server does, in order."""

    UP = 0
    STOPPING = 1
    AWAY = 2
    STARTING = 3
    BACK = 4


class Load:
    """Producers on one registry, and what was said to them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._changed = trio.Event()
        self._numbers = iter(range(1_000_000))
        self.server = Server.UP
        self.enough = False
        self.finalized: list[tuple[str, int]] = []
        self.refused: Counter[type[Exception]] = Counter()
        self.told: set[int] = set()
        self.seen: list[StoredEvent] = []
        self.health: list[tuple[Server, Server, bool]] = []

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(GUARD_S):
            while not condition():
                await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def produce(self, producer: int) -> None:
        """Fill and finalize packages; whatever is refused is asked again, in the same words."""
        registry = self._registry
        while not self.enough:
            name = f"p{next(self._numbers)}"
            package = await self._insist(producer, partial(registry.create_package, name, idempotency_key=name))
            await self._insist(producer, partial(self._fill, package.package_id, name))
            finalized = await self._insist(producer, partial(registry.finalize_package, package.package_id))
            self.finalized.append((package.package_id, finalized.sequence))
            self._change()

    async def _fill(self, package_id: str, name: str) -> None:
        await self._registry.ingest_file(package_id, "f", stream_of(name.encode()), idempotency_key=f"{name} f")

    async def _insist[T](self, producer: int, ask: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await ask()
            except (DatabaseUnavailable, OutcomeUnknown) as error:
                self.refused[type(error)] += 1
                if self.server is Server.AWAY:
                    self.told.add(producer)
                self._change()
            await self._next_report()

    async def _next_report(self) -> None:
        reports = len(self.health)
        await self.until(lambda: len(self.health) > reports)

    async def watch_health(self) -> None:
        """Ask all the time. What the server did before and after belongs to the answer."""
        while True:
            before = self.server
            report = await self._registry.health(max_age_s=0)
            self.health.append((before, self.server, report.healthy))
            self._change()

    async def follow(self) -> None:
        """Read along from the first event; the outage is not to be noticed here."""
        async with self._registry.tail_events() as tail:
            async for stored in tail:
                self.seen.append(stored)
                self._change()


@pytest.fixture
def shared(tmp_path: Path, postgres_location: DatabaseLocation) -> Settings:
    """A store on PostgreSQL."""
    url = postgres_location.url.render_as_string(hide_password=False)
    return replace(settings_in(tmp_path), database_url=url)


@pytest.mark.parametrize("immediate", [False, True], ids=["fast", "immediate"])
async def test_work_continues_by_itself_when_the_server_is_back(
    shared: Settings, postgres_server: PostgresServer, *, immediate: bool
) -> None:
    async with open_registry(shared) as registry:
        load = Load(registry)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.watch_health)
            nursery.start_soon(load.follow)
            async with trio.open_nursery() as producers:
                for producer in range(PRODUCERS):
                    producers.start_soon(load.produce, producer)
                await load.until(lambda: len(load.finalized) >= PACKAGES and bool(load.health))
                load.server = Server.STOPPING
                await trio.to_thread.run_sync(lambda: postgres_server.stop(immediate=immediate))
                load.server = Server.AWAY
                try:
                    await load.until(lambda: len(load.told) == PRODUCERS)
                    await load.until(lambda: (Server.AWAY, Server.AWAY, False) in load.health)
                finally:
                    load.server = Server.STARTING
                    with trio.CancelScope(shield=True):
                        await trio.to_thread.run_sync(postgres_server.start)
                load.server = Server.BACK
                before = len(load.finalized)
                await load.until(lambda: len(load.finalized) >= before + PACKAGES)
                await load.until(lambda: (Server.BACK, Server.BACK, True) in load.health)
                load.enough = True
            log = await check_sound(registry)
            await load.until(lambda: len(load.seen) == len(log))
            nursery.cancel_scope.cancel()
        assert load.seen == log
        _check_health(load.health)
        assert load.refused[DatabaseUnavailable] >= PRODUCERS
        finalizations = {stored.event.subject: stored.sequence for stored in log if "finalized" in stored.event.type}
        assert finalizations == dict(load.finalized)
        assert Counter(stored.event.type for stored in log[1:]) == dict.fromkeys(
            ("v1.package.created", "v1.objects.stored", "v1.files.ingested", "v1.package.finalized"),
            len(load.finalized),
        )
        assert all(actor.starts == 1 for actor in actors(registry)), "an outage is an answer, and no crash"


def _check_health(reports: list[tuple[Server, Server, bool]]) -> None:
    """A report that fell wholly into the time before, between or after must say so."""
    for server, healthy in ((Server.UP, True), (Server.AWAY, False), (Server.BACK, True)):
        said = [report for before, after, report in reports if before == after == server]
        assert said
        assert set(said) == {healthy}, server


async def test_a_core_that_crashes_while_the_server_is_away_comes_back_with_it(
    shared: Settings, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its restarts fail for as long as there is no server; the root never gives the core up."""
    monkeypatch.setattr("artifactstore.probes.CRASHES_WITHIN_S", 0.0)  # it is about now, not about what was
    async with open_registry(shared) as registry:
        package = (await registry.create_package("p")).package_id
        await add(registry, package, "f", b"acknowledged")
        await trio.to_thread.run_sync(lambda: postgres_server.stop(immediate=True))
        try:
            crash(monkeypatch, DatabaseActor, "probe")
            assert not (await registry.health(max_age_s=0)).healthy
            while actor_named(registry, "database").starts < 4:
                with pytest.raises((DatabaseUnavailable, DatabaseClosed)):
                    await registry.get_package(package)
                assert not (await registry.health(max_age_s=0)).healthy
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(postgres_server.start)
        while actor_named(registry, "ingest").state is not ChildState.RUNNING:
            await registry.health(max_age_s=0)
        await add(registry, package, "g", b"after")
        assert (await registry.finalize_package(package)).files == 2
        assert (await registry.health(max_age_s=0)).healthy
        await check_sound(registry)
