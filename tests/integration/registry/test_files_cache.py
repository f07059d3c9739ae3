"""A file that has not changed since it was read is not read again, and only if its content is there after all."""

import os
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from artifactstore import Registry, Selection, Settings, open_registry
from artifactstore.database.store import SqlEventStore
from artifactstore.dataplane.inprocess import InProcessDataPlane
from artifactstore.ingest.steps import Steps
from artifactstore.storage import StorageActor
from artifactstore_protocols.commands import Command, IngestFiles
from artifactstore_protocols.dataplane import FileSource, IngestResult, SourceUnreadable
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.events import Committed
from artifactstore_protocols.messages import StoreFiles
from artifactstore_protocols.records import IngestProgress, IngestSummary
from artifactstore_protocols.storage import StorageFull
from integration.registry.samples import Boom, check_sound, content_of, object_file, paths_in, plant, quiet
from stored_objects import overwrite

pytestmark = pytest.mark.slow

NAMES = "abcdef"

GUARD_S = 120
"""Ends a test that waits for what will not come."""


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifactstore.ingest.steps.ENTRIES_MAX", 2)
    monkeypatch.setattr("artifactstore.ingest.steps.BATCHES_TOGETHER", 1)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were handed to the data plane to be opened and hashed, in order."""
    handed: list[str] = []
    ingest_files = InProcessDataPlane.ingest_files

    async def counting(self: InProcessDataPlane, batch: Sequence[FileSource], **options: object) -> object:
        handed.extend(source.path for source in batch)
        return await ingest_files(self, batch, **options)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(InProcessDataPlane, "ingest_files", counting)
    return handed


@pytest.fixture
def quiet_tree(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six files; what was written before a scan counts as written long before it."""
    monkeypatch.setattr("artifactstore.ingest.files_cache._RACY_NS", 0)
    return plant(tree, {name: name.encode() for name in NAMES})


def caches(settings: Settings) -> list[Path]:
    return list((settings.storage_local_root / "files-cache").iterdir())


async def interrupted(
    registry: Registry, ingest: Callable[[Callable[[IngestProgress], None]], Awaitable[object]]
) -> None:
    """Ingest until a batch is committed, then fall out of it."""

    def stop(counts: IngestProgress) -> None:
        if counts.files:
            raise Boom

    with pytest.raises(Boom):
        await ingest(stop)
    await quiet(registry)


async def interrupted_tree(registry: Registry, tree: Path, **options: str) -> str:
    """Interrupt the ingest of a tree; the package that is left."""
    await interrupted(
        registry,
        lambda stop: registry.ingest_tree(tree, progress=stop, **options),  # type: ignore[arg-type]  # only texts are given
    )
    package, *_ = [record async for record in registry.list_packages()]
    assert package.status == "open"
    assert package.files >= 2
    return package.package_id


async def finalized(registry: Registry, tree: Path, reads: list[str]) -> tuple[IngestSummary, list[str]]:
    """Ingest a tree to its end: the answer, and what was read for it."""
    reads.clear()
    summary = await registry.ingest_tree(tree)
    await check_sound(registry)
    return summary, sorted(reads)


async def test_an_unchanged_tree_is_not_read_again(
    registry: Registry, settings: Settings, quiet_tree: Path, reads: list[str]
) -> None:
    first, read = await finalized(registry, quiet_tree, reads)
    assert ("".join(read), first.reused_files) == (NAMES, 0)
    (cache,) = caches(settings)
    assert cache.stat().st_mode & 0o077 == 0
    again, read = await finalized(registry, quiet_tree, reads)
    assert (read, again.reused_files, again.files) == ([], 6, 6)
    assert again.package_id != first.package_id
    assert again.tree_digest == first.tree_digest
    assert again.deduplicated_bytes == again.bytes
    assert await content_of(registry, again.package_id, "b") == b"b"


async def test_another_process_finds_the_cache(
    registry: Registry, settings: Settings, quiet_tree: Path, reads: list[str]
) -> None:
    await registry.ingest_tree(quiet_tree)
    async with open_registry(settings) as other:
        reads.clear()
        assert (await other.ingest_tree(quiet_tree)).reused_files == 6
    assert reads == []


def _equal_size(tree: Path) -> None:
    before = (tree / "a").stat()
    (tree / "a").write_bytes(b"A")
    os.utime(tree / "a", ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def _same_times(tree: Path) -> None:
    """Another file in its place, with the modification time set back: only inode and change time tell."""
    before = (tree / "a").stat()
    (tree / "new").write_bytes(b"A")
    os.utime(tree / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tree / "new").rename(tree / "a")


@pytest.mark.parametrize("change", [_equal_size, _same_times])
async def test_a_changed_file_of_equal_size_is_read_again(
    registry: Registry, quiet_tree: Path, reads: list[str], change: Callable[[Path], None]
) -> None:
    await registry.ingest_tree(quiet_tree)
    change(quiet_tree)
    summary, read = await finalized(registry, quiet_tree, reads)
    assert (read, summary.reused_files) == (["a"], 5)
    assert await content_of(registry, summary.package_id, "a") == b"A"


async def test_a_renamed_file_is_not_read_again_and_keeps_its_own_bit(
    registry: Registry, quiet_tree: Path, reads: list[str]
) -> None:
    await registry.ingest_tree(quiet_tree)
    (quiet_tree / "a").rename(quiet_tree / "a.json")
    (quiet_tree / "b").chmod(0o755)
    summary, read = await finalized(registry, quiet_tree, reads)
    files = {file.path: (file.executable, file.media_type) for file in await registry.list_files(summary.package_id)}
    assert files["a.json"] == (False, "application/json")
    assert files["b"] == (True, "application/octet-stream")
    assert set(read) <= {"a.json", "b"}, "file systems differ in what moves a change time"


async def test_a_file_that_was_written_just_before_it_was_looked_at_is_read_again(
    registry: Registry, tree: Path, reads: list[str]
) -> None:
    """It may have been written once more within the same tick of its file system's clock."""
    plant(tree, {name: name.encode() for name in NAMES})
    for name in NAMES:
        os.utime(tree / name, (0, 0))  # its change time is now nevertheless
    package = await interrupted_tree(registry, tree)
    stored = await paths_in(registry, package)
    summary, read = await finalized(registry, tree, reads)
    assert "".join(read) == NAMES
    assert (summary.package_id, summary.reused_files, summary.continued_files) == (package, 0, len(stored))


async def test_an_interrupted_ingest_is_continued_in_its_package_and_what_it_read_is_not_read_again(
    registry: Registry, settings: Settings, quiet_tree: Path, reads: list[str]
) -> None:
    package = await interrupted_tree(registry, quiet_tree)
    stored = await paths_in(registry, package)
    summary, read = await finalized(registry, quiet_tree, reads)
    assert read == [name for name in NAMES if name not in stored]
    assert (summary.package_id, summary.files, summary.reused_files) == (package, 6, len(stored))
    assert summary.continued_files == len(stored) > 0
    assert summary.tree_digest == (await registry.ingest_tree(quiet_tree)).tree_digest, "as if it had gone in one go"
    kinds = [event.event.type for event in await registry.read_events()]
    batches = ["v1.objects.stored", "v1.files.ingested"] * 3
    assert kinds[:9] == ["v1.log.created", "v1.package.created", *batches, "v1.package.finalized"]
    assert len(caches(settings)) == 1


async def test_a_finalized_package_is_not_the_next_ones(registry: Registry, quiet_tree: Path) -> None:
    package = await interrupted_tree(registry, quiet_tree)
    assert (await registry.ingest_tree(quiet_tree)).package_id == package
    assert (await registry.ingest_tree(quiet_tree)).package_id != package


async def test_a_file_that_was_touched_is_read_again_and_what_it_is_now_counts(
    registry: Registry, quiet_tree: Path, reads: list[str]
) -> None:
    package = await interrupted_tree(registry, quiet_tree)
    stored = await paths_in(registry, package)
    (quiet_tree / "a").write_bytes(b"A")
    (quiet_tree / "b").chmod(0o755)
    summary, read = await finalized(registry, quiet_tree, reads)
    assert read == [name for name in NAMES if name not in stored or name in "ab"]
    assert summary.package_id == package
    assert await content_of(registry, package, "a") == b"A"
    assert [file.executable for file in await registry.list_files(package)] == [False, True, *[False] * 4]


async def test_a_directory_that_lost_a_file_is_another_package(
    registry: Registry, quiet_tree: Path, reads: list[str]
) -> None:
    """Nothing takes a file out of a package, and the one that is finalized must be what the directory is."""
    left = await interrupted_tree(registry, quiet_tree)
    stored = await paths_in(registry, left)
    (quiet_tree / "a").unlink()
    summary, read = await finalized(registry, quiet_tree, reads)
    assert summary.package_id != left
    assert await paths_in(registry, summary.package_id) == list("bcdef")
    assert read == [name for name in "bcdef" if name not in stored]
    assert (await registry.get_package(left)).status == "open"


async def test_a_selection_without_a_stored_file_is_another_package(registry: Registry, quiet_tree: Path) -> None:
    left = await interrupted_tree(registry, quiet_tree)
    summary = await registry.ingest_tree(quiet_tree, selection=Selection(exclude=["a"]))
    assert summary.package_id != left
    assert await paths_in(registry, summary.package_id) == list("bcdef")
    assert summary.excluded == ("a",)


@pytest.mark.parametrize("loss", ["gone", "short", "flagged"])
async def test_a_file_whose_object_is_not_there_is_read_and_stored_again(
    registry: Registry, settings: Settings, quiet_tree: Path, reads: list[str], loss: str
) -> None:
    first = await registry.ingest_tree(quiet_tree)
    lost = object_file(settings, (await registry.get_file_record(first.package_id, "b")).content_address)
    if loss == "gone":
        lost.unlink()
    else:
        overwrite(lost, b"" if loss == "short" else b"X")
    if loss == "flagged":
        assert not (await registry.verify()).sound
    summary, read = await finalized(registry, quiet_tree, reads)
    assert (read, summary.reused_files) == (["b"], 5)
    assert await content_of(registry, summary.package_id, "b") == b"b"


async def test_a_content_that_is_flagged_while_an_ingest_runs_is_stored_again(
    registry: Registry, settings: Settings, quiet_tree: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit refuses what was there when it was looked up; the caller does not notice."""
    first = await registry.ingest_tree(quiet_tree)
    damaged = object_file(settings, (await registry.get_file_record(first.package_id, "a")).content_address)
    commit = Steps.commit
    verified = False

    async def verify_before(steps: Steps, command: Command, actor: str, key: str | None) -> Committed:
        nonlocal verified
        if isinstance(command, IngestFiles) and not verified:
            verified = True
            overwrite(damaged, b"X")
            assert not (await registry.verify()).sound
        return await commit(steps, command, actor, key)

    monkeypatch.setattr(Steps, "commit", verify_before)
    summary, read = await finalized(registry, quiet_tree, reads)
    assert (read, summary.reused_files) == (["a"], 5)
    assert await content_of(registry, summary.package_id, "a") == b"a"
    assert (await registry.verify()).sound


async def test_a_content_that_the_log_does_not_name_is_stored_again(
    registry: Registry, settings: Settings, quiet_tree: Path, tmp_path: Path, reads: list[str]
) -> None:
    """A store that was set up anew over the same objects has no log that could know them."""
    await registry.ingest_tree(quiet_tree)
    anew = replace(settings, database_url=f"sqlite:///{tmp_path / 'anew.db'}")
    async with open_registry(anew) as other:
        (cache,) = caches(settings)
        await other.create_package("p")
        package = await interrupted_tree(other, quiet_tree)
        (theirs,) = [path for path in caches(settings) if path != cache]
        cache.replace(theirs)  # as if the log had been lost, and not its name
        reads.clear()
        summary = await other.ingest_tree(quiet_tree)
        assert summary.package_id != package, "the note of the interrupted one went with its cache"
        assert len(reads) >= 2
        await check_sound(other)


def _torn(cache: Path) -> None:
    os.truncate(cache, cache.stat().st_size - 1)


def _foreign(cache: Path) -> None:
    cache.write_bytes(b"SQLite format 3\0" + cache.read_bytes())


def _flipped(cache: Path) -> None:
    cache.write_bytes(cache.read_bytes()[:-1] + b"\xff")


def _directory(cache: Path) -> None:
    cache.unlink()
    cache.mkdir()


def _fifo(cache: Path) -> None:
    cache.unlink()
    os.mkfifo(cache)


def _link(cache: Path) -> None:
    cache.symlink_to(cache.rename(f"{cache}.moved"))


DAMAGES: list[Callable[[Path], None]] = [Path.unlink, _torn, _foreign, _flipped, _directory, _fifo, _link]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_or_foreign_cache_is_ignored(
    registry: Registry, settings: Settings, quiet_tree: Path, reads: list[str], damage: Callable[[Path], None]
) -> None:
    await registry.ingest_tree(quiet_tree)
    (cache,) = caches(settings)
    damage(cache)
    summary, read = await finalized(registry, quiet_tree, reads)
    assert ("".join(read), summary.reused_files) == (NAMES, 0)


async def test_without_a_files_cache_nothing_is_remembered(
    registry: Registry, settings: Settings, quiet_tree: Path, reads: list[str]
) -> None:
    await registry.ingest_tree(quiet_tree)
    reads.clear()
    assert (await registry.ingest_tree(quiet_tree, files_cache=False)).reused_files == 0
    assert sorted(reads) == list(NAMES)
    (cache,) = caches(settings)
    cache.unlink()
    package = (await registry.create_package("p")).package_id
    added = await registry.ingest_directory(package, quiet_tree, files_cache=False)
    assert (added.reused_files, caches(settings)) == (0, [])


async def test_a_second_ingest_at_the_same_time_goes_without(
    registry: Registry, quiet_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not join the first one's package."""
    first_commits, second_is_done = trio.Event(), trio.Event()
    commit = Steps.commit
    held: list[str] = []

    async def hold_the_first(steps: Steps, command: Command, actor: str, key: str | None) -> Committed:
        if isinstance(command, IngestFiles) and not held:
            held.append(command.package_id)
            first_commits.set()
            await second_is_done.wait()
        return await commit(steps, command, actor, key)

    monkeypatch.setattr(Steps, "commit", hold_the_first)
    packages: list[str] = []

    async def ingest() -> None:
        packages.append((await registry.ingest_tree(quiet_tree)).package_id)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ingest)
        await first_commits.wait()
        with trio.fail_after(GUARD_S):
            await ingest()
        second_is_done.set()
    assert len(set(packages)) == 2
    assert packages[1] == held[0]


async def test_an_ingest_that_was_finalized_after_all_is_not_the_next_ones_answer(
    registry: Registry, quiet_tree: Path, reads: list[str]
) -> None:
    """Somebody who did not see the answer may have changed the directory since."""
    package = await interrupted_tree(registry, quiet_tree)
    await registry.finalize_package(package)
    summary, _read = await finalized(registry, quiet_tree, reads)
    assert summary.package_id != package
    assert await paths_in(registry, summary.package_id) == list(NAMES)


async def test_a_callers_own_key_finds_its_package_and_reads_only_the_rest(
    registry: Registry, quiet_tree: Path, reads: list[str]
) -> None:
    package = await interrupted_tree(registry, quiet_tree, idempotency_key="k")
    stored = await paths_in(registry, package)
    reads.clear()
    summary = await registry.ingest_tree(quiet_tree, idempotency_key="k")
    assert (summary.package_id, summary.reused_files) == (package, len(stored))
    assert sorted(reads) == [name for name in NAMES if name not in stored]
    reads.clear()
    again = await registry.ingest_tree(quiet_tree, idempotency_key="k")
    assert (again.manifest_digest, again.reused_files, reads) == (summary.manifest_digest, 0, [])
    assert (summary.continued_files, again.continued_files) == (len(stored), 0)


@pytest.mark.parametrize(
    "different", [{"name": "other"}, {"retention": "short"}, {"principal": "other"}, {"metadata": {"k": "v"}}], ids=str
)
async def test_an_ingest_that_differs_continues_with_no_package(
    registry: Registry, quiet_tree: Path, different: dict[str, str]
) -> None:
    left = await interrupted_tree(registry, quiet_tree)
    summary = await registry.ingest_tree(quiet_tree, **different)  # type: ignore[arg-type]  # texts
    assert summary.package_id != left
    assert (await registry.ingest_tree(quiet_tree)).package_id == left, "which is still known"


async def test_a_directory_that_goes_into_an_open_package_is_continued_likewise(
    registry: Registry, quiet_tree: Path, reads: list[str]
) -> None:
    package = (await registry.create_package("p")).package_id
    await interrupted(registry, lambda stop: registry.ingest_directory(package, quiet_tree, progress=stop))
    stored = await paths_in(registry, package)
    reads.clear()
    added = await registry.ingest_directory(package, quiet_tree)
    assert sorted(reads) == [name for name in NAMES if name not in stored]
    assert (added.files, added.bytes, added.unchanged_files, added.reused_files) == (6, 6, len(stored), len(stored))
    reads.clear()
    again = await registry.ingest_directory(package, quiet_tree)
    assert (again.unchanged_files, again.reused_files, reads) == (6, 6, [])


async def test_an_ingest_that_fails_with_its_first_files_leaves_neither_package_nor_cache(
    registry: Registry, settings: Settings, quiet_tree: Path
) -> None:
    with pytest.raises(SourceUnreadable):
        await registry.ingest_tree(quiet_tree, progress=lambda _counts: (quiet_tree / "a").unlink())
    assert caches(settings) == []
    assert [record async for record in registry.list_packages()] == []


async def test_an_ingest_that_cannot_commit_leaves_one_package_however_often_it_is_repeated(
    registry: Registry, quiet_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Steps.commit

    async def fail(steps: Steps, command: Command, actor: str, key: str | None) -> Committed:
        if isinstance(command, IngestFiles):
            raise StorageFull("local", "committing", "ENOSPC")
        return await commit(steps, command, actor, key)

    with monkeypatch.context() as patch:
        patch.setattr(Steps, "commit", fail)
        for _run in range(3):
            with pytest.raises(StorageFull):
                await registry.ingest_tree(quiet_tree)
    (left,) = [record async for record in registry.list_packages()]
    assert (await registry.ingest_tree(quiet_tree)).package_id == left.package_id


async def test_what_a_batch_asks_of_the_others(
    registry: Registry, quiet_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One ask of the storage and one commit; for what the cache knows, one query and one look at the storage."""
    asked: Counter[str] = Counter()

    def count(owner: type[object], name: str) -> None:
        original = getattr(owner, name)

        async def counting(*arguments: object, **options: object) -> object:
            asked[name] += 1
            return await original(*arguments, **options)

        monkeypatch.setattr(owner, name, counting)

    for name in ("store_files", "stat_objects"):
        count(StorageActor, name)
    for name in ("flagged_objects", "known_objects"):
        count(SqlEventStore, name)
    package = (await registry.create_package("p")).package_id
    await registry.ingest_directory(package, quiet_tree)
    assert asked == {"store_files": 3, "flagged_objects": 1}
    asked.clear()
    assert (await registry.ingest_directory(package, quiet_tree)).reused_files == 6
    assert asked == {"known_objects": 3, "stat_objects": 3, "flagged_objects": 1}


async def test_the_next_two_batches_are_stored_while_one_is_committed(
    registry: Registry, quiet_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first commit waits until two more batches are stored, which wait until the first is being committed."""
    store_files, commit = StorageActor.store_files, Steps.commit
    stored: list[str] = []
    committed: list[str] = []
    commits, two_more = trio.Event(), trio.Event()

    async def store(actor: StorageActor, message: StoreFiles) -> tuple[IngestResult | ArtifactStoreError, ...]:
        first = message.batch[0].path
        if first != "a":
            await commits.wait()
        answers = await store_files(actor, message)
        stored.append(first)
        if len(stored) == 3:
            two_more.set()
        return answers

    async def put(steps: Steps, command: Command, actor: str, key: str | None) -> Committed:
        if isinstance(command, IngestFiles):
            commits.set()
            await two_more.wait()
            committed.append(command.entries[0].path)
        return await commit(steps, command, actor, key)

    monkeypatch.setattr(StorageActor, "store_files", store)
    monkeypatch.setattr(Steps, "commit", put)
    with trio.fail_after(GUARD_S):
        summary = await registry.ingest_tree(quiet_tree)
    assert (sorted(stored), committed) == (["a", "c", "e"], ["a", "c", "e"])
    assert await paths_in(registry, summary.package_id) == list(NAMES)


async def test_a_batch_that_cannot_be_stored_leaves_those_before_it_and_none_after_it(
    registry: Registry, quiet_tree: Path
) -> None:
    """Here the second one fails before the first is committed, and the third is stored by then, or not."""
    package = (await registry.create_package("p")).package_id
    with pytest.raises(SourceUnreadable):
        await registry.ingest_directory(package, quiet_tree, progress=lambda _counts: remove(quiet_tree / "c"))
    await quiet(registry)
    assert await paths_in(registry, package) == ["a", "b"]
    await check_sound(registry)


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)
