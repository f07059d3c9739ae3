"""Any actor may crash at any message: the asker hears of it, the tree repairs itself, nothing acknowledged is lost."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import pytest
import trio
import trio.testing

from artifactstore import Registry
from artifactstore.database.actor import DatabaseActor
from artifactstore.database.asyncio_thread import DatabaseClosed
from artifactstore.database.store import SqlEventStore
from artifactstore.event_writer import EventWriter
from artifactstore.health import HealthActor
from artifactstore.ingest import IngestActor
from artifactstore.projection import ProjectionActor
from artifactstore.storage import StorageActor
from artifactstore.supervision import ActorRef
from artifactstore_protocols.commands import CommandRequest
from artifactstore_protocols.event_store import CommandOutcome
from artifactstore_protocols.messages import ProjectionRole
from artifactstore_protocols.records import HealthReport, MetadataSchema
from artifactstore_protocols.supervision import ActorCrashed, ActorStopped, AskError, ChildState, MailboxFull
from integration.registry.samples import (
    Boom,
    actor_named,
    actors,
    add,
    check_sound,
    content_of,
    crash,
    plant,
    quiet,
    unfinished,
)


class Options(TypedDict):
    """What `commit` takes besides the requests."""

    now_us: Callable[[], int]
    new_id: Callable[[], str]
    files_per_package_max: int


CORE = ("database", "storage", "event-writer", "projection", "ingest")


async def _restarted(registry: Registry, name: str) -> None:
    """Wait until an actor and all that depend on it have been started again."""
    after = CORE[CORE.index(name) :] if name in CORE else (name,)
    while not all(
        (found := actor_named(registry, each)).starts > 1 and found.state is ChildState.RUNNING for each in after
    ):
        await trio.testing.wait_all_tasks_blocked(0.001)


async def _running(registry: Registry) -> None:
    """Wait until the core is up."""
    while not all(actor_named(registry, each).state is ChildState.RUNNING for each in CORE):
        await trio.testing.wait_all_tasks_blocked(0.001)


@pytest.fixture
async def package(registry: Registry) -> str:
    package = (await registry.create_package("p")).package_id
    await add(registry, package, "f", b"acknowledged")
    return package


async def _read(registry: Registry, package: str) -> object:
    return await content_of(registry, package, "f")


async def _register(registry: Registry, _package: str) -> object:
    return await registry.register_metadata_schema("s", {})


async def _replay(registry: Registry, _package: str) -> object:
    return await registry.replay()


async def _finalize(registry: Registry, package: str) -> object:
    return await registry.finalize_package(package)


async def _ask_how_it_is(registry: Registry, _package: str) -> object:
    return await registry.health(max_age_s=0)


ASKED: list[tuple[str, type[Any], str, Callable[[Registry, str], Awaitable[object]]]] = [
    ("storage", StorageActor, "serve_object", _read),
    ("event-writer", EventWriter, "commit", _register),
    ("projection", ProjectionActor, "replay", _replay),
    ("ingest", IngestActor, "finalize_package", _finalize),
    ("health", HealthActor, "get_health", _ask_how_it_is),
]


@pytest.mark.parametrize(("name", "actor", "handler", "call"), ASKED, ids=[name for name, *_rest in ASKED])
async def test_the_asker_hears_of_a_crash_and_the_next_call_works(
    registry: Registry,
    package: str,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    actor: type[Any],
    handler: str,
    call: Callable[[Registry, str], Awaitable[object]],
) -> None:
    crash(monkeypatch, actor, handler)
    with pytest.raises(ActorCrashed) as crashed:
        await call(registry, package)
    assert isinstance(crashed.value.cause, Boom)
    assert crashed.value.may_have_taken_effect
    await call(registry, package)
    await _restarted(registry, name)
    before = CORE[: CORE.index(name)] if name in CORE else CORE
    assert all(actor_named(registry, each).starts == 1 for each in before), "only what depends on it is restarted"
    failure = actor_named(registry, name).last_failure
    assert failure is not None
    assert failure.kind == "Boom"
    assert await content_of(registry, package, "f") == b"acknowledged"
    assert (await registry.health(max_age_s=0)).healthy
    await check_sound(registry)
    await quiet(registry)


@pytest.mark.parametrize("handler", ["store_stream", "store_files"])
async def test_an_ingest_whose_storage_crashes_is_answered_and_can_be_repeated(
    registry: Registry, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, handler: str
) -> None:
    plant(tmp_path, {"source": b"content"})

    async def ingest() -> None:
        if handler == "store_stream":
            await add(registry, package, "g", b"content")
        else:
            await registry.ingest_file(package, "g", tmp_path / "source")

    crash(monkeypatch, StorageActor, handler)
    with pytest.raises(AskError):
        await ingest()
    await _restarted(registry, "storage")
    await ingest()
    assert await content_of(registry, package, "g") == b"content"
    await check_sound(registry)
    await quiet(registry)


async def test_commands_that_are_queued_when_the_writer_crashes_are_committed_after_it(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the one that was being committed is answered with the crash; the mailbox outlives the actor."""
    holding, release = trio.Event(), trio.Event()
    commit = EventWriter.commit

    async def hold_and_crash(*_arguments: object) -> None:
        monkeypatch.setattr(EventWriter, "commit", commit)
        holding.set()
        await release.wait()
        raise Boom

    monkeypatch.setattr(EventWriter, "commit", hold_and_crash)
    answers: list[MetadataSchema | ActorCrashed] = []

    async def register() -> None:
        try:
            answers.append(await registry.register_metadata_schema("s", {}))
        except ActorCrashed as crashed:
            answers.append(crashed)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(register)
        await holding.wait()
        for _ in range(20):
            nursery.start_soon(register)
        await trio.testing.wait_all_tasks_blocked(0.001)
        assert unfinished(registry)["event-writer"] == ["Commit", *["queued"] * 20]
        release.set()
    assert [type(answer).__name__ for answer in answers].count("ActorCrashed") == 1
    versions = [answer.version for answer in answers if isinstance(answer, MetadataSchema)]
    assert sorted(versions) == list(range(1, 21))
    assert len(await check_sound(registry)) == 21


async def test_a_crash_of_the_database_restarts_the_rest_of_the_core(
    registry: Registry, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that is under way is completed first, and its caller gets the result."""
    holding, release = trio.Event(), trio.Event()
    commit = SqlEventStore.commit

    async def commit_late(
        store: SqlEventStore, requests: Sequence[CommandRequest], **options: Unpack[Options]
    ) -> Sequence[CommandOutcome]:
        monkeypatch.setattr(SqlEventStore, "commit", commit)
        holding.set()
        await release.wait()
        return await commit(store, requests, **options)

    monkeypatch.setattr(SqlEventStore, "commit", commit_late)
    registered: list[MetadataSchema] = []

    async def register() -> None:
        registered.append(await registry.register_metadata_schema("s", {}))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(register)
        await holding.wait()
        crash(monkeypatch, DatabaseActor, "probe")
        report = await registry.health(max_age_s=0)
        assert "database" in {part.name for part in report.components if not part.healthy}
        assert "crashed" in report.reasons[0]
        release.set()
    assert [schema.version for schema in registered] == [1]
    await _restarted(registry, "database")
    assert (await registry.health(max_age_s=0)).healthy
    assert await content_of(registry, package, "f") == b"acknowledged"
    await add(registry, package, "g", b"after")
    await check_sound(registry)
    await quiet(registry)


@pytest.mark.slow
async def test_health_tells_that_the_core_is_down_and_when_it_is_back(
    registry: Registry, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core gives up, the root lives on, tries it again, and everything works as before."""
    monkeypatch.setattr("artifactstore.health.PROBE_TIMEOUT_S", 0.2)
    monkeypatch.setattr("artifactstore.probes.PROBE_TIMEOUT_S", 0.2)
    monkeypatch.setattr("artifactstore.probes.CRASHES_WITHIN_S", 0.0)  # it is about now, not about what was
    down, repaired, back = trio.Event(), trio.Event(), trio.Event()
    start, started = DatabaseActor.on_start, IngestActor.on_start

    async def start_in_vain(actor: DatabaseActor) -> None:
        if repaired.is_set():
            await start(actor)
            return
        if actor_named(registry, "database").starts >= 4:
            down.set()
        raise Boom

    async def note(actor: IngestActor) -> None:
        await started(actor)
        back.set()

    monkeypatch.setattr(DatabaseActor, "on_start", start_in_vain)
    monkeypatch.setattr(IngestActor, "on_start", note)
    crash(monkeypatch, DatabaseActor, "probe")
    await registry.health(max_age_s=0)
    await down.wait()
    report: HealthReport = await registry.health(max_age_s=0)
    unwell = {part.name for part in report.components if not part.healthy}
    assert {"database", "storage", *(f"actor:{name}" for name in CORE)} <= unwell
    assert actor_named(registry, "health").starts == 1
    repaired.set()
    await back.wait()
    await _running(registry)
    assert (await registry.health(max_age_s=0)).healthy
    assert await content_of(registry, package, "f") == b"acknowledged"
    await add(registry, package, "g", b"after")
    await check_sound(registry)


async def test_a_writer_that_cannot_tell_of_growth_still_acknowledges(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tails read the log; a full mailbox of theirs is no reason to fail a commit that is durable."""

    def full(ref: ActorRef[ProjectionRole], _message: object) -> None:
        raise MailboxFull(ref.name, "HeadMoved", 0, 0, 0)

    monkeypatch.setattr(ActorRef, "try_tell", full)
    await registry.create_package("p")
    async with registry.tail_events() as tail:
        assert (await anext(tail)).sequence == 1
    assert all(actor.starts == 1 for actor in actors(registry))


@pytest.mark.slow
async def test_what_waits_for_a_core_that_is_down_is_told(
    registry: Registry, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody hangs: a queued call gets `ActorStopped`, a read `DatabaseClosed`, and neither has had an effect."""
    start = DatabaseActor.on_start
    repaired = trio.Event()

    async def start_in_vain(actor: DatabaseActor) -> None:
        if not repaired.is_set():
            await actor.on_stop()  # as a database that is really gone
            raise Boom
        await start(actor)

    monkeypatch.setattr(DatabaseActor, "on_start", start_in_vain)
    crash(monkeypatch, DatabaseActor, "probe")
    await registry.health(max_age_s=0)

    async def go_on_asking() -> None:
        while True:
            await registry.create_package("q")

    with pytest.raises(ActorStopped) as stopped:
        await go_on_asking()
    assert stopped.value.actor.endswith("ingest")
    with pytest.raises(DatabaseClosed):
        await registry.get_package(package)
    repaired.set()
    await _running(registry)
    assert (await registry.get_package(package)).files == 1
