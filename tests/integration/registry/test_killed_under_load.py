"""Each actor is killed in the middle of its messages while many producers are at work on a real store.

Whatever it was that died, and however far its message had come: every asker is answered, what was acknowledged is in
the log and can be read, what was asked again took effect once, and the store is healthy again.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from artifactstore import Registry, Settings
from artifactstore.database.actor import DatabaseActor
from artifactstore.database.asyncio_thread import DatabaseClosed
from artifactstore.database.errors import DatabaseUnavailable, OutcomeUnknown
from artifactstore.event_writer import EventWriter
from artifactstore.health import HealthActor
from artifactstore.ingest import IngestActor
from artifactstore.projection import ProjectionActor
from artifactstore.storage import StorageActor
from artifactstore.supervision import Actor
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.records import FileRecord
from artifactstore_protocols.supervision import AskError, ChildState
from integration.registry.samples import (
    Boom,
    actor_named,
    check_sound,
    content_of,
    quiet,
    stream_of,
    temp_files,
)

pytestmark = pytest.mark.slow

PRODUCERS = 16
GUARD_S = 120
"""Only a test that fails takes that long: an asker that is never answered would wait for ever."""

STEPS = (0, 3, 20, math.inf)
"""How far each message comes that its actor dies on, in steps of the scheduler: not at all … done, and not answered."""

CORE_RESTARTS_MAX = 5
"""How often the core restarts an actor within its period before it gives up."""

ACTORS: dict[str, type[Actor[Any]]] = {
    "database": DatabaseActor,
    "storage": StorageActor,
    "event-writer": EventWriter,
    "projection": ProjectionActor,
    "ingest": IngestActor,
    "health": HealthActor,
}


@dataclass
class Load:
    """Callers that ask again, with the same key, whatever they are told, until they are told that it is done.

    Attributes:
        registry: that they ask.
        calls: how many wait for an answer right now.
        refused: what they were told instead of an answer.
        acknowledged: the files that are there, by path.
        seen: what a tail has shown meanwhile.
    """

    registry: Registry
    calls: int = 0
    refused: list[Exception] = field(default_factory=list[Exception])
    acknowledged: dict[str, FileRecord] = field(default_factory=dict[str, FileRecord])
    seen: list[StoredEvent] = field(default_factory=list[StoredEvent])
    over: bool = False

    async def until_done[R](self, call: Callable[[], Awaitable[R]]) -> R:
        while True:
            self.calls += 1
            try:
                return await call()
            except (AskError, DatabaseClosed, DatabaseUnavailable, OutcomeUnknown) as error:
                self.refused.append(error)
            finally:
                self.calls -= 1
            await trio.testing.wait_all_tasks_blocked(0.001)

    async def produce(self, number: int, package: str) -> None:
        count = 0
        while not self.over:
            path, content = f"{number}/{count}", f"{number} wrote {count}".encode()
            self.acknowledged[path] = await self.until_done(partial(self._add, package, path, content))
            assert await self.until_done(partial(content_of, self.registry, package, path)) == content
            count += 1

    async def _add(self, package: str, path: str, content: bytes) -> FileRecord:
        return await self.registry.ingest_file(package, path, stream_of(content), idempotency_key=f"file {path}")

    async def look_after_it(self) -> None:
        while not self.over:
            await self.until_done(lambda: self.registry.health(max_age_s=0))
            report = await self.until_done(lambda: self.registry.replay(check=True))
            assert report.identical

    async def follow(self) -> None:
        async def catch_up() -> None:
            async with self.registry.tail_events(len(self.seen)) as tail:
                async for stored in tail:
                    self.seen.append(stored)

        await self.until_done(catch_up)


class Assassin:
    """Kills an actor once it is in the middle of a message while most producers wait.

    Attributes:
        killed: how many calls were waiting each time.
    """

    def __init__(self, patch: pytest.MonkeyPatch, actor: type[Actor[Any]], load: Load) -> None:
        self.killed: list[int] = []
        self._load = load
        self._steps: float | None = None
        self._struck = trio.Event()
        for handler in actor.handlers.values():
            patch.setattr(actor, handler.method, self._deadly(getattr(actor, handler.method)))

    async def strike(self, steps: float) -> None:
        """Kill it that many steps into its next message, and return when it was struck."""
        self._steps, self._struck = steps, trio.Event()
        await self._struck.wait()

    def _deadly(self, handle: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def handle_or_die(*arguments: object) -> object:
            if self._steps is None or self._load.calls < PRODUCERS // 2:
                return await handle(*arguments)
            steps, self._steps = self._steps, None
            self.killed.append(self._load.calls)
            self._struck.set()
            async with trio.open_nursery() as nursery:
                if steps < math.inf:
                    nursery.start_soon(self._stab, int(steps))
                await handle(*arguments)
                nursery.cancel_scope.cancel(reason="it came to its end before the stab")
            raise Boom

        return handle_or_die

    async def _stab(self, steps: int) -> None:
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        raise Boom


async def _healthy_after(registry: Registry, name: str, starts: int) -> None:
    """Wait until an actor has been started so often, and everything is well."""
    while (found := actor_named(registry, name)).starts < starts or found.state is not ChildState.RUNNING:
        await trio.testing.wait_all_tasks_blocked(0.001)
    while True:
        try:
            if (await registry.health(max_age_s=0)).healthy:
                return
        except AskError:
            await trio.testing.wait_all_tasks_blocked(0.001)


async def _restarted_or_given_up(registry: Registry, name: str, starts: int) -> bool:
    """Wait until an actor is back, or its supervisor has given up; whether that is so."""
    while True:
        core = registry.snapshot().find("root/core")
        if core.last_failure is not None:
            return True
        found = actor_named(registry, name)
        if found.starts >= starts and found.state is ChildState.RUNNING:
            return False
        await trio.testing.wait_all_tasks_blocked(0.001)


async def _settle(load: Load, log: list[StoredEvent], package: str, settings: Settings) -> None:
    """Hold a store at rest to what its callers were told."""
    assert load.refused, "somebody was told"
    files = [stored for stored in log if stored.event.type == "v1.files.ingested"]
    assert len(files) == len(load.acknowledged), "what was asked for again took effect once"
    for path, record in load.acknowledged.items():
        assert log[record.sequence - 1] in files
        number, count = path.split("/")
        assert await content_of(load.registry, package, path) == f"{number} wrote {count}".encode()
    assert temp_files(settings) == []
    verified = await load.registry.verify()
    assert (verified.objects, verified.mismatches, verified.missing) == (len(load.acknowledged), (), ())


@pytest.fixture(autouse=True)
def health_is_about_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Crashes that are over are not held against an actor, which would take the tests ten seconds each."""
    monkeypatch.setattr("artifactstore.probes.CRASHES_WITHIN_S", 0.0)


@pytest.mark.parametrize("name", ACTORS)
async def test_killed_in_the_middle_of_a_message_under_load(
    registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    package = (await registry.create_package("p")).package_id
    load = Load(registry)
    assassin = Assassin(monkeypatch, ACTORS[name], load)
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.follow)
            async with trio.open_nursery() as busy:
                busy.start_soon(load.look_after_it)
                for number in range(PRODUCERS):
                    busy.start_soon(load.produce, number, package)
                for times, steps in enumerate(STEPS, 1):
                    await assassin.strike(steps)
                    await _healthy_after(registry, name, times + 1)
                load.over = True
            log = await check_sound(registry)
            while len(load.seen) < len(log):
                await trio.testing.wait_all_tasks_blocked(0.001)
            nursery.cancel_scope.cancel(reason="it has seen everything")
        await quiet(registry)
    assert len(assassin.killed) == len(STEPS)
    assert min(assassin.killed) >= PRODUCERS // 2, "it was under load each time"
    assert load.seen == log, "a tail sees each event once, in order"
    await _settle(load, log, package, settings)


async def test_storage_killed_until_the_core_gives_up_is_what_health_says_and_it_comes_back(
    registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The root lives on and tries the core again, which is held at its first step, so that health can be asked then."""
    for module in ("health", "probes"):
        monkeypatch.setattr(f"artifactstore.{module}.PROBE_TIMEOUT_S", 0.2)
    holding, release = trio.Event(), trio.Event()
    start = DatabaseActor.on_start

    async def start_when_told(actor: DatabaseActor) -> None:
        holding.set()
        await release.wait()
        await start(actor)

    package = (await registry.create_package("p")).package_id
    monkeypatch.setattr(DatabaseActor, "on_start", start_when_told)
    load = Load(registry)
    assassin = Assassin(monkeypatch, StorageActor, load)
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as busy:
            for number in range(PRODUCERS):
                busy.start_soon(load.produce, number, package)
            gave_up = False
            while not gave_up:
                await assassin.strike(3)
                gave_up = await _restarted_or_given_up(registry, "storage", len(assassin.killed) + 1)
            await holding.wait()
            report = await registry.health(max_age_s=0)
            assert not report.healthy
            unwell = {part.name: part.detail for part in report.components if not part.healthy}
            down = {f"actor:{each}" for each in ACTORS if each != "health"}
            assert {"registry", "database", "storage", *down} <= unwell.keys()
            for name in ACTORS.keys() - {"health"}:
                why = unwell[f"actor:{name}"]
                assert "root/core gave up: root/core/storage failed too often, last with Boom()" in why
            assert actor_named(registry, "health").starts == 1
            release.set()
            await _healthy_after(registry, "ingest", len(assassin.killed) + 1)
            load.over = True
        log = await check_sound(registry)
        await quiet(registry)
    assert len(assassin.killed) > CORE_RESTARTS_MAX
    assert registry.snapshot().find("root/core").starts == 2
    await _settle(load, log, package, settings)
