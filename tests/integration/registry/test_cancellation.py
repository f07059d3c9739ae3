"""A call that is cancelled at any point has its whole effect or none, and leaves no task, message or temp file."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from artifactstore import Registry, Settings
from artifactstore.database.store import SqlEventStore
from artifactstore.dataplane.inprocess import InProcessDataPlane
from artifactstore.dataplane.stream import StreamIngest
from artifactstore.event_writer import EventWriter
from artifactstore.ingest import IngestActor
from artifactstore.storage import StorageActor
from artifactstore_protocols.canonical import CanonicalValue
from artifactstore_protocols.records import FinalizedPackage
from integration.registry.samples import (
    CHUNK,
    actors,
    check_sound,
    content_of,
    paths_in,
    plant,
    quiet,
    stream_of,
    temp_files,
)

LARGE = b"0123456789abcdef" * (CHUNK // 16) + b"and a rest"

STREAM_POINTS: list[tuple[type[object], str]] = [
    (IngestActor, "add_file"),
    (SqlEventStore, "package"),
    (SqlEventStore, "flagged_objects"),
    (StorageActor, "store_stream"),
    (InProcessDataPlane, "ingest_stream"),
    (StreamIngest, "receive"),
    (StreamIngest, "store"),
    (StreamIngest, "close"),
    (EventWriter, "commit"),
    (SqlEventStore, "commit"),
]
DIRECTORY_POINTS: list[tuple[type[object], str]] = [
    (IngestActor, "add_directory"),
    (SqlEventStore, "flagged_objects"),
    (StorageActor, "store_files"),
    (InProcessDataPlane, "ingest_files"),
    (EventWriter, "commit"),
    (SqlEventStore, "commit"),
]


@pytest.fixture
async def package(registry: Registry) -> str:
    return (await registry.create_package("p")).package_id


async def _cancelled_at(
    point: tuple[type[object], str], nth: int, *, before: bool, call: Callable[[], Awaitable[object]]
) -> None:
    """Make a call, and cancel it just before or just after the nth use of a method somewhere below."""
    owner, name = point
    original = getattr(owner, name)
    scope = trio.CancelScope()
    uses = 0

    async def meet(*arguments: object, **options: object) -> object:
        nonlocal uses
        uses += 1
        if uses == nth and before:
            scope.cancel()
        try:
            return await original(*arguments, **options)
        finally:
            if uses == nth:
                scope.cancel()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, meet)
        with scope:
            await call()
    assert uses >= nth, "the point was never reached"


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"small", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_a_cancelled_stream_is_in_its_package_whole_or_not_at_all(
    registry: Registry, settings: Settings, package: str, content: bytes, before: bool
) -> None:
    for number, point in enumerate(STREAM_POINTS):
        path = f"file {number}"

        async def ingest(path: str = path) -> None:
            await registry.ingest_file(package, path, stream_of(content[:9], content[9:]))

        await _cancelled_at(point, 1, before=before, call=ingest)
        await quiet(registry)
        assert temp_files(settings) == []
        if path in await paths_in(registry, package):
            assert await content_of(registry, package, path) == content
        else:
            await ingest()
    assert len(await paths_in(registry, package)) == len(STREAM_POINTS)
    assert all(actor.starts == 1 for actor in actors(registry))
    await check_sound(registry)


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_a_cancelled_path_is_in_its_package_whole_or_not_at_all(
    registry: Registry, settings: Settings, package: str, tmp_path: Path, before: bool
) -> None:
    source = plant(tmp_path, {"source": LARGE}) / "source"
    for number, point in enumerate(DIRECTORY_POINTS[1:]):
        path = f"file {number}"

        async def ingest(path: str = path) -> None:
            await registry.ingest_file(package, path, source)

        await _cancelled_at(point, 1, before=before, call=ingest)
        await quiet(registry)
        assert temp_files(settings) == []
        if path not in await paths_in(registry, package):
            await ingest()
    assert await content_of(registry, package, "file 0") == LARGE
    await check_sound(registry)


@pytest.mark.slow
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_a_cancelled_directory_is_in_its_package_batch_by_batch(
    registry: Registry, settings: Settings, tree: Path, monkeypatch: pytest.MonkeyPatch, nth: int, before: bool
) -> None:
    monkeypatch.setattr("artifactstore.ingest.steps.ENTRIES_MAX", 2)
    monkeypatch.setattr("artifactstore.ingest.steps.BATCHES_TOGETHER", 1)
    plant(tree, {name: name.encode() for name in "abcdef"})
    for point in DIRECTORY_POINTS:
        package = (await registry.create_package("p")).package_id

        async def ingest(package: str = package) -> int:
            return (await registry.ingest_directory(package, tree)).unchanged_files

        once = point[1] in {"add_directory", "flagged_objects"}
        await _cancelled_at(point, 1 if once else nth, before=before, call=ingest)
        await quiet(registry)
        assert temp_files(settings) == []
        committed = await paths_in(registry, package)
        assert committed == list("abcdef")[: len(committed)]
        assert len(committed) % 2 == 0, "a batch is one transaction"
        assert await ingest() == len(committed), "and what is there is passed over"
        assert await paths_in(registry, package) == list("abcdef")
    assert all(actor.starts == 1 for actor in actors(registry))
    await check_sound(registry)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_a_cancelled_finalizing_is_completed_discarded(
    registry: Registry, settings: Settings, before: bool
) -> None:
    points: list[tuple[type[object], str]] = [
        (IngestActor, "finalize_package"),
        (SqlEventStore, "contents"),
        (EventWriter, "commit"),
        (SqlEventStore, "commit"),
    ]
    for point in points:
        package = (await registry.create_package("p")).package_id

        async def finalize(package: str = package) -> FinalizedPackage:
            return await registry.finalize_package(package)

        await _cancelled_at(point, 1, before=before, call=finalize)
        await quiet(registry)
        assert (await registry.get_package(package)).status == "finalized"
        finalized = await finalize()
        assert finalized.sequence == (await registry.get_package(package)).finalized_sequence
    log = await check_sound(registry)
    assert len(log) == 1 + 2 * len(points)


async def test_a_message_that_is_cancelled_while_it_is_queued_is_never_handled(
    registry: Registry, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = EventWriter.commit
    holding, release = trio.Event(), trio.Event()

    async def hold(*arguments: object) -> object:
        monkeypatch.setattr(EventWriter, "commit", commit)
        holding.set()
        await release.wait()
        return await commit(*arguments)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(EventWriter, "commit", hold)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(registry.create_package, "first")
        await holding.wait()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as abandoned:
                abandoned.start_soon(registry.register_metadata_schema, "never", dict[str, CanonicalValue]())
                await trio.testing.wait_all_tasks_blocked(0.001)
                scope.cancel()
        release.set()
    await quiet(registry)
    assert [stored.event.type for stored in await check_sound(registry)] == [
        "v1.log.created",
        *["v1.package.created"] * 2,
    ]


async def test_a_stream_that_is_cancelled_between_its_chunks_is_nowhere(
    registry: Registry, settings: Settings, package: str
) -> None:
    """After none, some and all of its bytes; what is longer than a chunk is being written by then."""
    for chunks in ([], [b"some"], [LARGE], [LARGE, LARGE]):
        with trio.CancelScope() as scope:

            async def until_cancelled(
                chunks: list[bytes] = chunks, scope: trio.CancelScope = scope
            ) -> AsyncGenerator[bytes]:
                for chunk in chunks:
                    yield chunk
                scope.cancel()
                await trio.lowlevel.checkpoint()

            await registry.ingest_file(package, "f", until_cancelled())
        assert scope.cancelled_caught
        await quiet(registry)
        assert await paths_in(registry, package) == []
        assert temp_files(settings) == []
    assert len(await check_sound(registry)) == 2
