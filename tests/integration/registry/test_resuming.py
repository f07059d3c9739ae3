"""An ingest that comes after an interrupted one reads only what is not stored yet, and seals what the directory is."""

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from artifactstore import Registry, Settings
from artifactstore.dataplane.inprocess import InProcessDataPlane
from artifactstore_protocols.dataplane import FileSource
from artifactstore_protocols.records import IngestProgress, IngestSummary
from integration.registry.samples import Boom, check_sound, content_of, object_file, paths_in, plant, quiet
from stored_objects import overwrite

NAMES = "abcdef"


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifactstore.ingest.steps.ENTRIES_MAX", 2)


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    return tmp_path / "journals"


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
def old_tree(tree: Path) -> Path:
    """Six files that nobody has written to for an hour."""
    return age(plant(tree, {name: name.encode() for name in NAMES}))


def kept(journals: Path) -> list[Path]:
    return list(journals.iterdir())


def age(tree: Path) -> Path:
    for path in tree.iterdir():
        hour_ago = path.stat().st_mtime - 3600
        os.utime(path, (hour_ago, hour_ago))
    return tree


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


async def interrupted_tree(registry: Registry, tree: Path, journals: Path, **options: str) -> str:
    """Interrupt the ingest of a tree; the package that is left."""
    await interrupted(
        registry,
        lambda stop: registry.ingest_tree(tree, progress=stop, resume_in=journals, **options),  # type: ignore[arg-type]  # only texts are given
    )
    *_, package = [record async for record in registry.list_packages()]
    assert package.status == "open"
    assert package.files >= 2
    return package.package_id


async def sealed(registry: Registry, tree: Path, journals: Path, reads: list[str]) -> tuple[IngestSummary, list[str]]:
    """Ingest a tree to its end: the answer, and what was read for it."""
    reads.clear()
    summary = await registry.ingest_tree(tree, resume_in=journals)
    assert kept(journals) == [], "a sealed package needs no journal"
    await check_sound(registry)
    return summary, reads


async def test_what_was_stored_is_not_read_again(
    registry: Registry, old_tree: Path, journals: Path, reads: list[str]
) -> None:
    package = await interrupted_tree(registry, old_tree, journals)
    stored = await paths_in(registry, package)
    summary, read = await sealed(registry, old_tree, journals, reads)
    assert read == [name for name in NAMES if name not in stored]
    assert (summary.package_id, summary.files, summary.resumed_files) == (package, 6, len(stored))
    assert summary.tree_digest == (await registry.ingest_tree(old_tree)).tree_digest, "as if it had gone in one go"
    kinds = [event.event.type for event in await registry.read_events()]
    batches = ["v1.objects.stored", "v1.files.ingested"] * 3
    assert kinds[:8] == ["v1.package.created", *batches, "v1.package.finalized"]


async def test_progress_begins_with_what_is_there(registry: Registry, old_tree: Path, journals: Path) -> None:
    package = await interrupted_tree(registry, old_tree, journals)
    stored = len(await paths_in(registry, package))
    told: list[IngestProgress] = []
    await registry.ingest_tree(old_tree, resume_in=journals, progress=told.append)
    assert told[0] == IngestProgress(files=stored, files_total=6, bytes=stored, bytes_total=6)
    assert told[1] == IngestProgress(files=stored + 2, files_total=6, bytes=stored + 2, bytes_total=6)
    assert told[-1] == IngestProgress(files=6, files_total=6, bytes=6, bytes_total=6)


async def test_a_file_that_was_touched_is_read_again_and_what_it_is_now_counts(
    registry: Registry, old_tree: Path, journals: Path, reads: list[str]
) -> None:
    package = await interrupted_tree(registry, old_tree, journals)
    stored = await paths_in(registry, package)
    (old_tree / "a").write_bytes(b"A")
    (old_tree / "b").chmod(0o755)
    summary, read = await sealed(registry, old_tree, journals, reads)
    assert read == [name for name in NAMES if name not in stored or name in "ab"]
    assert summary.package_id == package
    assert await content_of(registry, package, "a") == b"A"
    assert [file.executable for file in await registry.list_files(package)] == [False, True, *[False] * 4]


async def test_a_file_that_was_written_just_before_it_was_looked_at_is_read_again(
    registry: Registry, tree: Path, journals: Path, reads: list[str]
) -> None:
    """It may have been written once more within the same tick of its file system's clock."""
    plant(tree, {name: name.encode() for name in NAMES})
    package = await interrupted_tree(registry, tree, journals)
    summary, read = await sealed(registry, tree, journals, reads)
    assert "".join(read) == NAMES
    assert (summary.package_id, summary.resumed_files) == (package, 0)


async def test_a_directory_that_lost_a_file_is_another_package(
    registry: Registry, old_tree: Path, journals: Path, reads: list[str]
) -> None:
    """Nothing takes a file out of a package, and the one that is sealed must be what the directory is."""
    left = await interrupted_tree(registry, old_tree, journals)
    (old_tree / "a").unlink()
    summary, read = await sealed(registry, old_tree, journals, reads)
    assert summary.package_id != left
    assert await paths_in(registry, summary.package_id) == list("bcdef")
    assert "".join(read) == "bcdef"
    assert (await registry.get_package(left)).status == "open"


@pytest.mark.parametrize("loss", ["gone", "short", "flagged"])
async def test_a_file_whose_object_is_not_there_is_read_again(
    registry: Registry, settings: Settings, old_tree: Path, journals: Path, reads: list[str], loss: str
) -> None:
    package = await interrupted_tree(registry, old_tree, journals)
    stored = await paths_in(registry, package)
    lost = object_file(settings, (await registry.get_file_record(package, "b")).content_address)
    if loss == "gone":
        lost.unlink()
    else:
        overwrite(lost, b"" if loss == "short" else b"X")
    if loss == "flagged":
        assert not (await registry.verify()).sound
    _summary, read = await sealed(registry, old_tree, journals, reads)
    assert read == [name for name in NAMES if name not in stored or name == "b"]
    assert await content_of(registry, package, "b") == b"b"


async def test_an_ingest_that_was_sealed_after_all_is_not_the_next_ones_answer(
    registry: Registry, old_tree: Path, journals: Path, reads: list[str]
) -> None:
    """Somebody who did not see the answer may have changed the directory since."""
    package = await interrupted_tree(registry, old_tree, journals)
    await registry.finalize_package(package)
    summary, read = await sealed(registry, old_tree, journals, reads)
    assert summary.package_id != package
    assert "".join(read) == NAMES


async def test_a_callers_own_key_finds_its_package_and_reads_only_the_rest(
    registry: Registry, old_tree: Path, journals: Path, reads: list[str]
) -> None:
    package = await interrupted_tree(registry, old_tree, journals, idempotency_key="k")
    stored = await paths_in(registry, package)
    reads.clear()
    summary = await registry.ingest_tree(old_tree, resume_in=journals, idempotency_key="k")
    assert (summary.package_id, summary.resumed_files) == (package, len(stored))
    assert reads == [name for name in NAMES if name not in stored]
    again = await registry.ingest_tree(old_tree, resume_in=journals, idempotency_key="k")
    assert (again.manifest_digest, again.resumed_files) == (summary.manifest_digest, 0)
    assert kept(journals) == []


@pytest.mark.parametrize(
    "different", [{"name": "other"}, {"retention": "short"}, {"actor": "other"}, {"metadata": {"k": "v"}}], ids=str
)
async def test_an_ingest_that_differs_goes_on_with_nothing(
    registry: Registry, old_tree: Path, journals: Path, reads: list[str], different: dict[str, str]
) -> None:
    left = await interrupted_tree(registry, old_tree, journals)
    reads.clear()
    summary = await registry.ingest_tree(old_tree, resume_in=journals, **different)  # type: ignore[arg-type]  # texts
    assert summary.package_id != left
    assert "".join(reads) == NAMES


async def test_a_journal_whose_key_belongs_to_something_else_is_begun_anew(
    registry: Registry, old_tree: Path, journals: Path
) -> None:
    left = await interrupted_tree(registry, old_tree, journals)
    (journal,) = kept(journals)
    taken = "01890a5d-ac96-774b-bcce-b302099a8057"
    await registry.register_metadata_schema("s", {}, idempotency_key=taken)
    header, *rest = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join([f'{{"journal": 1, "key": "{taken}"}}\n', *rest]))
    assert header != journal.read_text().splitlines(keepends=True)[0]
    assert (await registry.ingest_tree(old_tree, resume_in=journals)).package_id != left


async def test_without_a_journal_nothing_is_remembered(registry: Registry, old_tree: Path, reads: list[str]) -> None:
    await interrupted(registry, lambda stop: registry.ingest_tree(old_tree, progress=stop))
    reads.clear()
    assert (await registry.ingest_tree(old_tree)).resumed_files == 0
    assert "".join(reads) == NAMES


async def test_a_directory_that_goes_into_an_open_package_is_resumed_likewise(
    registry: Registry, old_tree: Path, journals: Path, reads: list[str]
) -> None:
    package = (await registry.create_package("p")).package_id
    await interrupted(
        registry, lambda stop: registry.ingest_directory(package, old_tree, progress=stop, resume_in=journals)
    )
    stored = await paths_in(registry, package)
    reads.clear()
    added = await registry.ingest_directory(package, old_tree, resume_in=journals)
    assert reads == [name for name in NAMES if name not in stored]
    assert (added.files, added.bytes, added.unchanged_files, added.resumed_files) == (6, 6, len(stored), len(stored))
    assert kept(journals) == []
    reads.clear()
    assert (await registry.ingest_directory(package, old_tree, resume_in=journals)).resumed_files == 0
    assert "".join(reads) == NAMES, "one that was not interrupted leaves nothing to go on with"


async def test_an_ingest_that_fails_with_its_first_files_leaves_neither_package_nor_journal(
    registry: Registry, old_tree: Path, journals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_arguments: object, **_options: object) -> object:
        raise Boom

    with monkeypatch.context() as patch:
        patch.setattr(InProcessDataPlane, "ingest_files", fail)
        with pytest.raises(Exception, match="storage"):
            await registry.ingest_tree(old_tree, resume_in=journals)
    assert kept(journals) == []
    assert [record async for record in registry.list_packages()] == []
