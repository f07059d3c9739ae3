"""A call that is repeated with its key: the first answer, and not one event more, whatever has happened since."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from artifactstore import Registry, Settings, open_registry
from artifactstore.database.store import SqlEventStore
from artifactstore.supervision import ActorCrashed
from artifactstore_protocols.dataplane import SourceUnreadable
from artifactstore_protocols.events import IdempotencyConflict
from artifactstore_protocols.records import FileRecord, IngestProgress
from integration.registry.samples import add, check_sound, content_of, paths_in, plant, stream_of, whole_log


async def _writes_nothing[R](registry: Registry, repeat: Callable[[], Awaitable[R]]) -> R:
    before = len(await whole_log(registry))
    answer = await repeat()
    assert len(await whole_log(registry)) == before
    return answer


async def test_creating_again_finds_the_same_package_as_it_is_now(registry: Registry) -> None:
    async def create(name: str = "p") -> str:
        return (await registry.create_package(name, metadata={"branch": "main"}, idempotency_key="k")).package_id

    first = await create()
    assert await _writes_nothing(registry, create) == first
    await add(registry, first, "f", b"content")
    await registry.finalize_package(first)
    again = await _writes_nothing(
        registry, lambda: registry.create_package("p", metadata={"branch": "main"}, idempotency_key="k")
    )
    assert (again.package_id, again.status, again.files) == (first, "finalized", 1)
    with pytest.raises(IdempotencyConflict):
        await create("q")
    assert await create() == first


async def test_ingesting_a_file_again_gives_its_first_record(registry: Registry, tmp_path: Path) -> None:
    package = (await registry.create_package("p")).package_id
    source = plant(tmp_path, {"source": b"content"}) / "source"

    async def by_stream() -> object:
        return await registry.ingest_file(package, "f", stream_of(b"con", b"tent"), idempotency_key="stream")

    async def by_path() -> object:
        return await registry.ingest_file(package, "g", source, idempotency_key="path")

    first_by_stream, first_by_path = await by_stream(), await by_path()
    assert await _writes_nothing(registry, by_stream) == first_by_stream
    assert await _writes_nothing(registry, by_path) == first_by_path
    await registry.ingest_file(package, "f", stream_of(b"other"), replace=True, idempotency_key="replace")
    assert await _writes_nothing(registry, by_stream) == first_by_stream, "although the path holds another file now"
    assert await content_of(registry, package, "f") == b"other"
    await registry.finalize_package(package)
    assert await _writes_nothing(registry, by_stream) == first_by_stream
    assert await _writes_nothing(registry, by_path) == first_by_path


async def test_a_key_is_kept_although_there_was_nothing_to_write(registry: Registry) -> None:
    """Or a later call with the key could do something else, although the first one was told that it had succeeded."""
    package = (await registry.create_package("p")).package_id
    first = await registry.ingest_file(package, "f", stream_of(b"content"))

    async def again(content: bytes = b"content") -> FileRecord:
        return await registry.ingest_file(package, "f", stream_of(content), replace=True, idempotency_key="k")

    assert await again() == first
    assert await _writes_nothing(registry, again) == first
    with pytest.raises(IdempotencyConflict):
        await _writes_nothing(registry, lambda: again(b"other"))
    await registry.ingest_file(package, "f", stream_of(b"changed"), replace=True)
    repeated = await _writes_nothing(registry, again)
    assert repeated.content_address == first.content_address, "the answer is that of the first call"
    assert await content_of(registry, package, "f") == b"changed"
    kinds = [stored.event.type for stored in await check_sound(registry)]
    assert kinds.count("v1.command.noted") == 1


async def test_the_same_key_for_something_else_is_refused(registry: Registry) -> None:
    package = (await registry.create_package("p", idempotency_key="create")).package_id
    await registry.ingest_file(package, "f", stream_of(b"content"), idempotency_key="k")
    attempts: list[Callable[[], Awaitable[object]]] = [
        lambda: registry.ingest_file(package, "f", stream_of(b"other"), idempotency_key="k"),
        lambda: registry.ingest_file(package, "g", stream_of(b"content"), idempotency_key="k"),
        lambda: registry.ingest_file(package, "f", stream_of(b"content"), executable=True, idempotency_key="k"),
        lambda: registry.ingest_file(package, "f", stream_of(b"content"), replace=True, idempotency_key="k"),
        lambda: registry.ingest_file(package, "f", stream_of(b"content"), principal="somebody", idempotency_key="k"),
        lambda: registry.create_package("p", idempotency_key="k"),
        lambda: registry.create_package("p", retention="short", idempotency_key="create"),
        lambda: registry.register_metadata_schema("s", {}, idempotency_key="k"),
    ]
    for attempt in attempts:
        with pytest.raises(IdempotencyConflict) as refused:
            await _writes_nothing(registry, attempt)
        assert refused.value.sequence in {2, 3}
    assert await paths_in(registry, package) == ["f"]


async def test_finalizing_again_needs_no_key(registry: Registry) -> None:
    package = (await registry.create_package("p")).package_id
    await add(registry, package, "f", b"content")
    first = await registry.finalize_package(package, principal="one")
    assert await _writes_nothing(registry, lambda: registry.finalize_package(package, principal="another")) == first


async def test_registering_a_schema_again_gives_the_version_of_the_first_time(registry: Registry) -> None:
    async def register(key: str | None) -> int:
        return (await registry.register_metadata_schema("build", {"type": "object"}, idempotency_key=key)).version

    assert [await register("k"), await register(None)] == [1, 2]
    assert await _writes_nothing(registry, lambda: register("k")) == 1
    with pytest.raises(IdempotencyConflict):
        await registry.register_metadata_schema("build", {"type": "array"}, idempotency_key="k")


async def test_ingesting_a_tree_again_gives_its_first_summary(registry: Registry, tree: Path) -> None:
    plant(tree, {"a": b"a", "b": b"b"})
    first = await registry.ingest_tree(tree, name="t", idempotency_key="k")
    plant(tree, {"c": b"came later"})
    again = await _writes_nothing(registry, lambda: registry.ingest_tree(tree, name="t", idempotency_key="k"))
    assert again == first


async def test_two_calls_with_one_key_at_once_are_one(registry: Registry, tree: Path) -> None:
    plant(tree, {f"{number}": b"%d" % number for number in range(20)})
    packages: list[str] = []
    records: list[object] = []
    summaries: list[object] = []

    async def create() -> None:
        packages.append((await registry.create_package("p", idempotency_key="create")).package_id)

    async def ingest() -> None:
        records.append(await registry.ingest_file(packages[0], "f", stream_of(b"content"), idempotency_key="ingest"))

    async def ingest_tree() -> None:
        summaries.append(await registry.ingest_tree(tree, name="t", idempotency_key="tree"))

    for work, answers in ((create, packages), (ingest, records), (ingest_tree, summaries)):
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(work)
        assert len(answers) == 8
        assert all(answer == answers[0] for answer in answers)
    log = await check_sound(registry)
    assert len(log) == 1 + 3 + 4


async def test_two_registries_with_one_key_at_once_are_one(registry: Registry, settings: Settings) -> None:
    packages: list[str] = []

    async def create(by: Registry) -> None:
        packages.append((await by.create_package("p", idempotency_key="create")).package_id)

    async with open_registry(settings) as other, trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(create, registry)
            nursery.start_soon(create, other)
    assert len(set(packages)) == 1
    assert len(await check_sound(registry)) == 2


@pytest.mark.slow
async def test_a_call_whose_answer_was_lost_can_be_repeated(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event store commits and then fails: the caller learns that it may have happened, and asks again."""
    commit = SqlEventStore.commit

    async def commit_and_fail(*arguments: object, **options: object) -> object:
        answers = await commit(*arguments, **options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        monkeypatch.setattr(SqlEventStore, "commit", commit)
        raise ConnectionResetError(answers)

    monkeypatch.setattr(SqlEventStore, "commit", commit_and_fail)
    with pytest.raises(ActorCrashed) as crashed:
        await registry.register_metadata_schema("s", {}, idempotency_key="k")
    assert crashed.value.may_have_taken_effect
    assert (await registry.register_metadata_schema("s", {}, idempotency_key="k")).version == 1
    assert len(await check_sound(registry)) == 2


async def test_a_directory_is_resumed_where_a_failed_attempt_stopped(
    registry: Registry, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches that were committed are passed over; only what is missing is written."""
    monkeypatch.setattr("artifactstore.ingest.steps.ENTRIES_MAX", 2)
    monkeypatch.setattr("artifactstore.ingest.steps.BATCHES_TOGETHER", 1)
    plant(tree, {name: name.encode() for name in "abcdef"})
    package = (await registry.create_package("p")).package_id

    def vanish(counts: IngestProgress) -> None:
        if counts.files == 0:
            (tree / "f").unlink()

    with pytest.raises(SourceUnreadable):
        await registry.ingest_directory(package, tree, progress=vanish)
    assert await paths_in(registry, package) == ["a", "b", "c", "d"]
    plant(tree, {"f": b"f"})
    result = await registry.ingest_directory(package, tree)
    assert (result.files, result.unchanged_files) == (6, 4)
    assert await paths_in(registry, package) == list("abcdef")
    again = await _writes_nothing(registry, lambda: registry.ingest_directory(package, tree))
    assert (again.files, again.unchanged_files, again.sequence) == (6, 6, result.sequence)
    kinds = [stored.event.type for stored in await check_sound(registry)]
    assert kinds == ["v1.log.created", "v1.package.created", *["v1.objects.stored", "v1.files.ingested"] * 3]


async def test_a_directory_that_was_cancelled_is_resumed(
    registry: Registry, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artifactstore.ingest.steps.ENTRIES_MAX", 1)
    monkeypatch.setattr("artifactstore.ingest.steps.BATCHES_TOGETHER", 1)
    plant(tree, {name: name.encode() for name in "abcdef"})
    package = (await registry.create_package("p")).package_id
    with trio.CancelScope() as scope:
        await registry.ingest_directory(
            package, tree, progress=lambda counts: scope.cancel() if counts.files == 3 else None
        )
    assert (await paths_in(registry, package))[:3] == ["a", "b", "c"]
    result = await registry.ingest_directory(package, tree)
    assert result.unchanged_files in {3, 4}  # a commit that had begun is completed
    assert await paths_in(registry, package) == list("abcdef")
    await check_sound(registry)
