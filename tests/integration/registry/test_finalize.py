"""Finalizing a package: once, for good, with a manifest that says exactly what the log and the views say."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import blake3
import pytest
import trio
from msgspec.structs import replace

from artifactstore import Registry, Settings, open_registry
from artifactstore.database.store import SqlEventStore
from artifactstore.errors import NotFinalized
from artifactstore.ingest.actor import PackageBusy
from artifactstore_protocols import manifest
from artifactstore_protocols.event_store import PackageContents
from artifactstore_protocols.packages import PackageChanged, PackageFinalizedAlready, PackageNotFound, TooManyFiles
from artifactstore_protocols.records import IngestProgress
from artifactstore_protocols.retention import retention_class
from integration.registry.samples import (
    add,
    check_sound,
    content_of,
    object_file,
    objects,
    paths_in,
    plant,
    quiet,
    stream_of,
    whole_log,
)
from traced import traced


@pytest.fixture
async def package(registry: Registry) -> str:
    created = await registry.create_package("nightly", retention="short", metadata={"branch": "main"}, principal="ci")
    await add(registry, created.package_id, "b/file.txt", b"content")
    await registry.ingest_file(created.package_id, "a.sh", stream_of(b"#!/bin/sh\n"), executable=True)
    await add(registry, created.package_id, "b/same.bin", b"content")
    return created.package_id


async def test_the_manifest_is_what_event_row_and_views_say(registry: Registry, package: str) -> None:
    finalized = await registry.finalize_package(package, principal="release")
    payload = await registry.get_manifest_bytes(package)
    event = (await whole_log(registry))[-1]
    record = await registry.get_package(package)
    assert (event.event.type, event.event.subject, event.event.principal) == (
        "v1.package.finalized",
        package,
        "release",
    )
    assert event.event.payload == payload
    digest = f"blake3:{blake3.blake3(payload).hexdigest()}"
    assert finalized.manifest_digest == record.manifest_digest == digest
    assert finalized.sequence == record.finalized_sequence == event.sequence
    said = manifest.decode(payload)
    assert (said.package.package_id, said.package.name, said.package.metadata) == (
        package,
        "nightly",
        {"branch": "main"},
    )
    assert said.provenance.tree_digest == finalized.tree_digest == record.tree_digest
    assert said.provenance.principal == "release"
    assert [(file.path, file.size_bytes, file.executable, file.media_type) for file in said.files] == [
        (file.path, file.size_bytes, file.executable, file.media_type) for file in await registry.list_files(package)
    ]
    assert [file.path for file in said.files] == ["a.sh", "b/file.txt", "b/same.bin"]
    assert len(said.storage_receipts) == 2, "equal contents are one object"
    assert (finalized.files, finalized.bytes) == (3, 24)
    kept = retention_class("short")
    assert kept.duration_us is not None
    assert record.expires_at_us == said.package.finalized_at_us + kept.duration_us
    assert await registry.get_manifest_bytes(package, "json") == manifest.jcs(said)


@pytest.mark.slow
async def test_an_entry_takes_few_bytes_of_memory_to_finalize(registry: Registry, package: str, tmp_path: Path) -> None:
    """The rows of a package come in pages, and its entries are held once."""
    files, bytes_a_file_max = 5000, 900
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(files):
        (tree / f"{number:04}").write_bytes(b"%d" % number)
    many = await registry.create_package("many")
    await registry.ingest_directory(many.package_id, tree)
    await registry.finalize_package(package)  # what is made once is made
    with traced() as peak_bytes:
        await registry.finalize_package(many.package_id)
        assert peak_bytes() < files * bytes_a_file_max


async def test_an_open_package_has_no_manifest(registry: Registry, package: str) -> None:
    with pytest.raises(NotFinalized):
        await registry.get_manifest_bytes(package)
    with pytest.raises(PackageNotFound):
        await registry.get_manifest_bytes("no such package")


async def test_an_empty_package_can_be_finalized(registry: Registry) -> None:
    package = (await registry.create_package("empty")).package_id
    finalized = await registry.finalize_package(package)
    assert (finalized.files, finalized.bytes) == (0, 0)
    assert manifest.decode(await registry.get_manifest_bytes(package)).files == ()
    await check_sound(registry)


async def test_what_is_not_there_cannot_be_finalized(registry: Registry) -> None:
    with pytest.raises(PackageNotFound):
        await registry.finalize_package("no such package")


async def test_a_finalized_package_takes_no_change(
    registry: Registry, settings: Settings, package: str, tree: Path
) -> None:
    await registry.finalize_package(package)
    plant(tree, {"a.sh": b"#!/bin/sh\n"})
    (tree / "a.sh").chmod(0o755)
    before, stored = len(await whole_log(registry)), objects(settings)
    attempts: list[Callable[[], Awaitable[object]]] = [
        lambda: registry.ingest_file(package, "new", stream_of(b"new")),
        lambda: registry.ingest_file(package, "a.sh", stream_of(b"new"), replace=True),
        lambda: registry.ingest_file(package, "new", tree / "a.sh"),
        lambda: registry.ingest_directory(package, tree),
        lambda: registry.ingest_directory(package, tree, replace=True),
        lambda: registry.ingest_file(package, "new", stream_of(b"new"), idempotency_key="k"),
    ]
    for attempt in attempts[:-1]:
        with pytest.raises(PackageFinalizedAlready):
            await attempt()
    assert objects(settings) == stored, "refused before a byte is stored"
    with pytest.raises(PackageFinalizedAlready):
        await attempts[-1]()
    assert len(await whole_log(registry)) == before
    assert await paths_in(registry, package) == ["a.sh", "b/file.txt", "b/same.bin"]


async def test_finalizing_again_gives_the_same_answer(registry: Registry, settings: Settings, package: str) -> None:
    answers: list[object] = []

    async def finalize(by: Registry) -> None:
        answers.append(await by.finalize_package(package))

    async with open_registry(settings) as other:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(finalize, registry)
                nursery.start_soon(finalize, other)
        answers.append(await registry.finalize_package(package))
    assert len(answers) == 9
    assert all(answer == answers[0] for answer in answers)
    kinds = [stored.event.type for stored in await check_sound(registry)]
    assert kinds.count("v1.package.finalized") == 1


async def test_a_package_that_is_being_filled_is_busy_and_the_ingest_continues(
    registry: Registry, package: str
) -> None:
    asked, gate = trio.Event(), trio.Event()

    async def gated() -> AsyncGenerator[bytes]:
        asked.set()
        await gate.wait()
        yield b"late"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(registry.ingest_file, package, "late", gated())
        await asked.wait()
        with pytest.raises(PackageBusy) as refused:
            await registry.finalize_package(package)
        assert (refused.value.package_id, refused.value.ingests) == (package, 1)
        assert "1 ingest" in str(refused.value)
        other = (await registry.create_package("other")).package_id
        assert (await registry.finalize_package(other)).files == 0, "only that package is busy"
        gate.set()
    assert await content_of(registry, package, "late") == b"late"
    assert (await registry.finalize_package(package)).files == 4
    await quiet(registry)


async def test_a_directory_that_is_being_ingested_keeps_its_package_busy_too(
    registry: Registry, package: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artifactstore.ingest.steps.ENTRIES_MAX", 1)
    monkeypatch.setattr("artifactstore.ingest.steps.BATCHES_TOGETHER", 1)
    plant(tree, {"1": b"1", "2": b"2", "3": b"3"})
    answers: list[object] = []

    async def finalize() -> None:
        try:
            answers.append(await registry.finalize_package(package))
        except PackageBusy as refused:
            answers.append(refused.ingests)

    async with trio.open_nursery() as nursery:

        def after_a_batch(counts: IngestProgress) -> None:
            if counts.files == 1:
                nursery.start_soon(finalize)

        await registry.ingest_directory(package, tree, progress=after_a_batch)
    assert answers == [1]
    assert (await registry.finalize_package(package)).files == 6


async def test_another_process_may_finalize_between_two_batches(
    registry: Registry, settings: Settings, package: str
) -> None:
    """Then what had been committed is finalized, and the ingest is refused."""
    asked, gate = trio.Event(), trio.Event()

    async def gated() -> AsyncGenerator[bytes]:
        asked.set()
        await gate.wait()
        yield b"too late"

    async def ingest() -> None:
        with pytest.raises(PackageFinalizedAlready):
            await registry.ingest_file(package, "late", gated())

    async with open_registry(settings) as other, trio.open_nursery() as nursery:
        nursery.start_soon(ingest)
        await asked.wait()
        finalized = await other.finalize_package(package)
        gate.set()
    assert finalized.files == 3
    assert await registry.finalize_package(package) == finalized
    await check_sound(registry)


def _meddle(monkeypatch: pytest.MonkeyPatch, meddler: Registry, package: str, times: int) -> None:
    """Have another registry put a file in, each time after the manifest's contents were read."""
    contents = SqlEventStore.contents
    left = list(range(times))

    async def read_and_meddle(store: SqlEventStore, package_id: str) -> PackageContents:
        found = await contents(store, package_id)
        if left:
            await add(meddler, package, f"meddled {left.pop()}", b"x")
        return found

    monkeypatch.setattr(SqlEventStore, "contents", read_and_meddle)


async def test_a_change_by_another_process_meanwhile_is_finalized_too(
    registry: Registry, settings: Settings, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_registry(settings) as other:
        _meddle(monkeypatch, other, package, times=2)
        finalized = await registry.finalize_package(package)
    assert finalized.files == 5
    assert [file.path for file in manifest.decode(await registry.get_manifest_bytes(package)).files] == [
        file.path for file in await registry.list_files(package)
    ]
    await check_sound(registry)


async def test_a_package_that_keeps_changing_is_not_finalized(
    registry: Registry, settings: Settings, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_registry(settings) as other:
        _meddle(monkeypatch, other, package, times=3)
        with pytest.raises(PackageChanged) as changed:
            await registry.finalize_package(package)
    assert (changed.value.expected_version, changed.value.version) == (6, 7)
    assert (await registry.get_package(package)).status == "open"
    assert (await registry.finalize_package(package)).files == 6


async def test_a_package_holds_no_more_files_than_the_setting_says(settings: Settings, tree: Path) -> None:
    async with open_registry(replace(settings, package_files_max=2)) as registry:
        package = (await registry.create_package("p")).package_id
        await add(registry, package, "1", b"1")
        await add(registry, package, "2", b"2")
        with pytest.raises(TooManyFiles):
            await add(registry, package, "3", b"3")
        await registry.ingest_file(package, "2", stream_of(b"two"), replace=True)
        assert (await registry.finalize_package(package)).files == 2


async def test_a_finalized_package_survives_the_loss_of_its_object(
    registry: Registry, settings: Settings, package: str
) -> None:
    """What it is stays known; only its bytes are gone."""
    finalized = await registry.finalize_package(package)
    object_file(settings, (await registry.get_file_record(package, "a.sh")).content_address).unlink()
    assert await registry.finalize_package(package) == finalized
    assert manifest.decode(await registry.get_manifest_bytes(package)).files[0].path == "a.sh"
