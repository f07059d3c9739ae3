"""A store that keeps small objects in one SQLite file does with them all that it does with files."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from artifactstore import Settings, open_registry
from integration.registry.samples import content_of, plant, settings_in

SMALL_MAX = 1000
FILES = {"empty": b"", "small": b"s" * SMALL_MAX, "large": b"l" * (SMALL_MAX + 1), "sub/again": b"s" * SMALL_MAX}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(settings_in(tmp_path / "store"), storage_small_max=SMALL_MAX)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return plant(tmp_path / "tree", FILES)


def rows(settings: Settings) -> list[int]:
    """The sizes of the objects that are rows."""
    with closing(sqlite3.connect(settings.storage_local_root / "small" / "objects.db")) as file:
        return sorted(size for (size,) in file.execute("SELECT length(content) FROM objects"))


async def test_small_objects_are_rows_and_are_read_verified_and_exported(
    settings: Settings, tree: Path, tmp_path: Path
) -> None:
    async with open_registry(settings) as registry:
        package = (await registry.ingest_tree(tree)).package_id
        assert rows(settings) == [0, SMALL_MAX]
        assert len(list(settings.storage_local_root.glob("blake3/??/??/*"))) == 1
        assert {path: await content_of(registry, package, path) for path in FILES} == FILES
        report = await registry.verify()
        assert (report.objects, report.sound) == (3, True)
        await registry.export_package(package, tmp_path / "out")
        assert {path: (tmp_path / "out" / path).read_bytes() for path in FILES} == FILES
        assert (await registry.health(max_age_s=0)).healthy


async def test_a_damaged_row_is_found_and_repaired_by_the_same_content(settings: Settings, tree: Path) -> None:
    async with open_registry(settings) as registry:
        await registry.ingest_tree(tree)
        with closing(sqlite3.connect(settings.storage_local_root / "small" / "objects.db")) as file, file:
            file.execute("UPDATE objects SET content = zeroblob(length(content)) WHERE length(content) > 0")
        assert [flaw.size_bytes for flaw in (await registry.verify()).mismatches] == [SMALL_MAX]
        await registry.ingest_tree(tree)
        assert (await registry.verify()).sound


async def test_objects_are_read_where_they_are_when_the_setting_changes(settings: Settings, tree: Path) -> None:
    async with open_registry(settings) as registry:
        package = (await registry.ingest_tree(tree)).package_id
    async with open_registry(replace(settings, storage_small_max=0)) as registry:
        assert {path: await content_of(registry, package, path) for path in FILES} == FILES
        assert (await registry.verify()).sound


@pytest.mark.slow
@pytest.mark.parametrize("small_max", [0, SMALL_MAX])
async def test_a_backup_is_restored_to_the_places_that_its_log_names(
    settings: Settings, tree: Path, tmp_path: Path, small_max: int
) -> None:
    async with open_registry(settings) as registry:
        package = (await registry.ingest_tree(tree)).package_id
        assert (await registry.backup(tmp_path / "backup")).flaws.damaged_objects == 0
    there = replace(settings_in(tmp_path / "there"), storage_small_max=small_max)
    async with open_registry(there) as registry:
        await registry.restore(tmp_path / "backup")
        assert rows(there) == [0, SMALL_MAX]
        assert {path: await content_of(registry, package, path) for path in FILES} == FILES
        assert (await registry.verify()).sound
