"""Trees with symbolic links and empty directories: the same on every way through a store, and never led out of it."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import cbor2
import pytest
import trio
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from msgspec.structs import replace

from artifactstore import Registry, Settings, open_registry
from artifactstore.database.location import DatabaseLocation
from artifactstore.errors import (
    DatabaseDamaged,
    EntriesRefused,
    EventRefused,
    ManifestInvalid,
    NotAFile,
    PathRefused,
    PathTaken,
    ProjectionDamaged,
    TooManyFiles,
    TreeTooLarge,
)
from artifactstore_protocols.event_types import FILES_INGESTED, FilesIngested, encode_payload
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.links import LinkPolicy, escaping_links
from artifactstore_protocols.log_file import LogFileEncoder, LogFileHeader
from artifactstore_protocols.records import IngestProgress
from integration.registry.samples import Boom, by_hand, check_sound, paths_in, quiet, settings_in, whole_log
from strategies import targets, tree_paths


def found_in(root: Path) -> dict[str, object]:
    """A directory as it is: content and executable bit of each file, what each link says, and empty directories."""
    found: dict[str, object] = {}
    for above, directories, files in os.walk(root):
        for path in (Path(above, name) for name in (*directories, *files)):
            name = os.fsencode(path.relative_to(root)).decode()
            if path.is_symlink():
                found[name] = os.readlink(path)  # noqa: PTH115 - as it is
            elif path.is_file():
                found[name] = path.read_bytes(), bool(path.stat().st_mode & 0o100)
            elif not any(path.iterdir()):
                found[name] = None
    return found


def plant_entries(root: Path, tree: Mapping[str, object]) -> Path:
    """Make what `found_in` finds."""
    root.mkdir(exist_ok=True)
    for name, entry in tree.items():
        path = root / name
        (path if entry is None else path.parent).mkdir(parents=True, exist_ok=True)
        match entry:
            case str():
                path.symlink_to(entry)
            case bytes(content), bool(executable):
                path.write_bytes(content)
                path.chmod(0o755 if executable else 0o644)
            case _:
                assert entry is None
    return root


SAMPLE: Mapping[str, object] = {
    "a.b": "a/f",
    "a/empty": None,
    "a/f": (b"content", True),
    "a/up": "../a/./..",
    "e\u0301": "a/up/a",
    "gone": "a/missing/../more",
    "loop": "loop",
    "z": (b"", False),
}


@st.composite
def trees(draw: st.DrawFn) -> dict[str, object]:
    """Trees of all three kinds of entries; some of their links lead out."""
    files = st.tuples(st.binary(max_size=9), st.booleans())
    return {path: draw(files | targets() | st.none()) for path in draw(tree_paths())}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a store is that all examples share."""
    return tmp_path_factory.mktemp("shared")


@pytest.mark.slow
@examples(max_examples=25)
@given(tree=trees())
def test_an_exported_tree_is_the_one_that_was_ingested(shared: Path, tree: dict[str, object]) -> None:
    links = {path: target for path, target in tree.items() if isinstance(target, str)}
    escaping = escaping_links(links, tree.keys() - links.keys())

    async def main(work: Path) -> None:
        source, out = plant_entries(work / "tree", tree), work / "out"
        async with open_registry(settings_in(shared / "store")) as registry:
            if escaping:
                with pytest.raises(EntriesRefused) as refused:
                    await registry.ingest_tree(source)
                assert {link.path for link in refused.value.entries} == set(escaping)
                return
            summary = await registry.ingest_tree(source)
            kinds = [type(entry) for entry in tree.values()]
            counted = (summary.files, summary.links, summary.directories)
            assert counted == (kinds.count(tuple), kinds.count(str), kinds.count(type(None)))
            await registry.export_package(summary.package_id, out)
            assert found_in(out) == found_in(source) == tree
            assert (await registry.ingest_tree(out)).tree_digest == summary.tree_digest

    with tempfile.TemporaryDirectory(dir=shared) as work:
        trio.run(main, Path(work))


@pytest.mark.slow
async def test_every_way_through_a_store_keeps_the_tree(tmp_path: Path, location: DatabaseLocation) -> None:
    """Export and import of the log, backup and restore, replay, verify: on each database."""
    url = location.url.render_as_string(hide_password=False)
    tree, file, backup = plant_entries(tmp_path / "tree", SAMPLE), tmp_path / "log", tmp_path / "backup"
    async with open_registry(settings_in(tmp_path / "first")) as first:
        summary = await first.ingest_tree(tree)
        await first.export_events(file)
        report = await first.backup(backup)
        assert (report.objects, report.flaws.damaged_objects) == (2, 0)
        listed = await first.list_files(summary.package_id)
        digest = (await first.replay(check=True)).projection_digest
    async with open_registry(replace(settings_in(tmp_path / "second"), database_url=url)) as second:
        await second.import_events(file)
        assert (await second.replay(check=True)).projection_digest == digest
        await second.restore(backup)
        assert (await second.replay()).repaired_rows == 0
        assert (await second.replay(check=True)).projection_digest == digest
        assert (await second.verify()).sound
        assert await second.list_files(summary.package_id) == listed
        await second.export_package(summary.package_id, tmp_path / "out")
        assert found_in(tmp_path / "out") == SAMPLE
        assert (await second.ingest_tree(tmp_path / "out", name="again")).tree_digest == summary.tree_digest
        await check_sound(second)


async def test_the_answers_count_every_kind(registry: Registry, tmp_path: Path) -> None:
    tree = plant_entries(tmp_path / "tree", SAMPLE)
    summary = await registry.ingest_tree(tree)
    assert (summary.files, summary.links, summary.directories, summary.bytes) == (2, 5, 1, 7)
    package = await registry.get_package(summary.package_id)
    assert (package.files, package.links, package.directories, package.bytes) == (2, 5, 1, 7)
    again = await registry.finalize_package(summary.package_id)
    assert (again.files, again.links, again.directories, again.bytes) == (2, 5, 1, 7)
    paths = ["a/empty", "a/f", "a/up", "a.b", "gone", "loop", "z", "e\u0301"]  # which is é under NFC
    assert await paths_in(registry, summary.package_id) == paths
    report = await registry.export_package(summary.package_id, tmp_path / "out")
    assert (report.files, report.links, report.directories, report.bytes) == (2, 5, 1, 7)


async def test_an_entry_without_bytes_has_a_record_and_cannot_be_read(registry: Registry, tmp_path: Path) -> None:
    package = (await registry.ingest_tree(plant_entries(tmp_path / "tree", SAMPLE))).package_id
    for path, kind, target in (("gone", "link", SAMPLE["gone"]), ("a/empty", "directory", "")):
        record = await registry.get_file_record(package, path)
        assert (record.kind, record.target, record.size_bytes, record.content_address) == (kind, target, 0, "")
        with pytest.raises(NotAFile) as refused:
            async with registry.get_file(package, path):
                pass
        assert (refused.value.code, refused.value.kind, refused.value.target) == ("not_a_file", kind, target)
    followed = await registry.get_file_record(package, "a.b", follow_links=True)
    assert (followed.path, followed.kind) == ("a/f", "file")
    assert (await registry.get_file_record(package, "a.b")).target == "a/f"
    async with registry.get_file(package, "a.b", offset=1, length=1) as chunks:
        assert [chunk async for chunk in chunks] == [b"o"]


async def test_a_repeated_ingest_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    tree = plant_entries(tmp_path / "tree", SAMPLE)
    first = await registry.ingest_tree(tree, idempotency_key="k")
    assert await registry.ingest_tree(tree, idempotency_key="k") == first
    package = (await registry.create_package("open")).package_id
    added = await registry.ingest_directory(package, tree)
    assert (added.files, added.links, added.directories, added.unchanged_files) == (2, 5, 1, 0)
    before = len(await whole_log(registry))
    added = await registry.ingest_directory(package, tree)
    assert (added.files, added.links, added.directories, added.unchanged_files) == (2, 5, 1, 2)
    assert len(await whole_log(registry)) == before
    assert (await registry.finalize_package(package)).tree_digest == first.tree_digest


async def test_a_link_that_says_something_else_takes_the_place_only_if_asked(
    registry: Registry, tmp_path: Path
) -> None:
    tree = plant_entries(tmp_path / "tree", {"link": "a", "becomes a link": (b"x", False)})
    package = (await registry.create_package("open")).package_id
    await registry.ingest_directory(package, tree)
    shutil.rmtree(tree)
    plant_entries(tree, {"link": "b", "becomes a link": "link"})
    with pytest.raises(PathTaken, match="already; ask for replace"):
        await registry.ingest_directory(package, tree)
    await registry.ingest_directory(package, tree, replace=True)
    assert {file.path: file.target for file in await registry.list_files(package)} == {
        "becomes a link": "link",
        "link": "b",
    }


async def test_an_interrupted_ingest_continues_with_its_links(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the links were committed, and one of them has changed since."""
    monkeypatch.setattr("artifactstore.ingest.steps.ENTRIES_MAX", 2)
    monkeypatch.setattr("artifactstore.ingest.steps.BATCHES_TOGETHER", 1)
    tree = plant_entries(tmp_path / "tree", SAMPLE)

    def stop(counts: IngestProgress) -> None:
        if counts.files:
            raise Boom

    with pytest.raises(Boom):
        await registry.ingest_tree(tree, progress=stop)
    await quiet(registry)
    [package] = [record async for record in registry.list_packages()]
    await registry.ingest_directory(package.package_id, tree)
    (tree / "gone").unlink()
    (tree / "gone").symlink_to("a")
    summary = await registry.ingest_tree(tree)
    assert summary.package_id == package.package_id
    await registry.export_package(summary.package_id, tmp_path / "out")
    assert found_in(tmp_path / "out") == {**SAMPLE, "gone": "a"}


async def test_another_policy_is_another_ingest(registry: Registry, tmp_path: Path) -> None:
    """An interrupted ingest that kept links is not continued by one that leaves them out."""
    tree = plant_entries(tmp_path / "tree", {"a": (b"a", False), "link": "a"})

    def stop(counts: IngestProgress) -> None:
        if counts.files:
            raise Boom

    with pytest.raises(Boom):
        await registry.ingest_tree(tree, progress=stop)
    await quiet(registry)
    summary = await registry.ingest_tree(tree, links=LinkPolicy.SKIP)
    assert await paths_in(registry, summary.package_id) == ["a"]
    assert summary.excluded == ("link",)


async def test_links_and_empty_directories_count_against_the_limit(settings: Settings, tmp_path: Path) -> None:
    tree = plant_entries(tmp_path / "tree", {"a": (b"", False), "b": "a", "c": None})
    async with open_registry(replace(settings, package_files_max=2)) as registry:
        with pytest.raises(TreeTooLarge, match="more than 2 files, links and empty directories"):
            await registry.ingest_tree(tree)
        assert await whole_log(registry) == []
        package = (await registry.create_package("open")).package_id
        for entries in ({"x": "y"}, {"d": None}):
            await registry.ingest_directory(package, plant_entries(tmp_path / f"{len(entries)}{[*entries]}", entries))
        with pytest.raises(TooManyFiles, match="more than 2 files, links and empty directories"):
            await registry.ingest_directory(package, plant_entries(tmp_path / "third", {"z": "y"}))


ROWS = [
    "UPDATE artifact_files SET link_target = 'z' WHERE path_key = 'gone'",
    "UPDATE artifact_files SET kind = 2, link_target = NULL WHERE path_key = 'gone'",
    "UPDATE artifact_files SET kind = 1, link_target = 'f' WHERE path_key = 'a/empty'",
    "DELETE FROM artifact_files WHERE path_key = 'a/empty'",
    "DELETE FROM artifact_files WHERE path_key = 'loop'",
]


@pytest.mark.slow
@pytest.mark.parametrize("statement", ROWS)
async def test_a_changed_row_of_a_link_or_a_directory_is_found(
    registry: Registry, settings: Settings, tmp_path: Path, statement: str
) -> None:
    package = (await registry.ingest_tree(plant_entries(tmp_path / "tree", SAMPLE))).package_id
    assert (await registry.verify(package)).sound
    by_hand(settings, statement)
    assert (await registry.verify(package)).manifest_mismatches == (package,)
    assert not (await registry.replay(check=True)).identical
    await registry.replay()
    assert (await registry.verify(package)).sound


@pytest.mark.parametrize("statement", ROWS[1:])
async def test_a_package_whose_totals_count_other_entries_is_not_finalized(
    registry: Registry, settings: Settings, tmp_path: Path, statement: str
) -> None:
    package = (await registry.create_package("open")).package_id
    await registry.ingest_directory(package, plant_entries(tmp_path / "tree", SAMPLE))
    by_hand(settings, statement)
    with pytest.raises(ProjectionDamaged, match="5 links and 1 empty directories"):
        await registry.finalize_package(package)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE artifact_files SET kind = 3 WHERE kind = 1",
        "UPDATE artifact_files SET link_target = NULL WHERE kind = 1",
    ],
)
async def test_a_row_of_no_kind_is_called_damage(
    registry: Registry, settings: Settings, tmp_path: Path, statement: str
) -> None:
    package = (await registry.ingest_tree(plant_entries(tmp_path / "tree", SAMPLE))).package_id
    by_hand(settings, statement)
    with pytest.raises(DatabaseDamaged, match="has no content, or no kind"):
        await registry.list_files(package)


TOGETHER = {"m": "x/y/d/../etc", "x/y/d": "../.."}
"""Links that leave the tree only together: `x/y/d` is the root of the tree."""

INSIDE = {**TOGETHER, "m": "x/y/d/etc"}


async def test_links_that_leave_a_package_together_cannot_be_finalized_or_exported(
    registry: Registry, tmp_path: Path
) -> None:
    package = (await registry.create_package("open")).package_id
    for number, (path, target) in enumerate(TOGETHER.items()):
        await registry.ingest_directory(package, plant_entries(tmp_path / f"{number}", {path: target}))
    with pytest.raises(ManifestInvalid, match=r"1 links lead out of the tree: 'm' -> 'x/y/d/../etc'"):
        await registry.finalize_package(package)
    with pytest.raises(PathRefused, match=r"path 'm' refused: the link leads to 'x/y/d/../etc', out of the tree"):
        await registry.export_package(package, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert (await registry.verify()).row_flaws == (f"links of package {package} lead out of it: 'm'",)


async def test_a_log_whose_links_leave_the_package_is_not_imported(tmp_path: Path) -> None:
    """Made by hand, with checksums and chain in order: the manifest lists what the event before it has put."""
    async with open_registry(settings_in(tmp_path / "first")) as first:
        package = (await first.ingest_tree(plant_entries(tmp_path / "tree", INSIDE))).package_id
        log = await whole_log(first)
    begun, created, put, finalized = log
    assert put.event.type == FILES_INGESTED.name
    hand_made = [begun, created, _with_target(put), _with_target_in_manifest(finalized)]
    async with open_registry(settings_in(tmp_path / "second")) as second:
        _write(tmp_path / "log", hand_made)
        with pytest.raises(EventRefused, match=r"^event 4 .*1 links lead out of the tree: 'm' -> 'x/y/d/../etc'"):
            await second.import_events(tmp_path / "log")
        assert await whole_log(second) == []
        _write(tmp_path / "inside", log)
        assert (await second.import_events(tmp_path / "inside")).written == 4
        await second.export_package(package, tmp_path / "out")
        assert found_in(tmp_path / "out") == INSIDE


def _write(file: Path, log: Sequence[StoredEvent]) -> None:
    encoder = LogFileEncoder(LogFileHeader(0, len(log)))
    file.write_bytes(b"".join([encoder.begin(), *map(encoder.add, log), encoder.end()]))


def _with_target(stored: StoredEvent) -> StoredEvent:
    payload = cast("FilesIngested", stored.decode())
    entries = tuple(entry._replace(target=TOGETHER[entry.path]) for entry in payload.entries)
    changed = encode_payload(replace(payload, entries=entries))
    return replace(stored, event=replace(stored.event, payload=changed))


def _with_target_in_manifest(stored: StoredEvent) -> StoredEvent:
    manifest = cbor2.loads(stored.event.payload)
    for entry in manifest["entries"]:
        entry[2] = TOGETHER[entry[1]]
    changed = cbor2.dumps(manifest, canonical=True)
    return replace(stored, event=replace(stored.event, payload=changed))
