"""Backup directories into which somebody has put what no backup makes: links, pipes and files without end."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from artifactstore import Registry, open_registry
from artifactstore.errors import BackupRefused
from artifactstore.transfer.check import check_backup
from artifactstore_protocols.log_file import LogFileInvalid
from artifactstore_protocols.storage import StorageFailed
from integration.registry.samples import add, object_file, objects, settings_in, whole_log
from stored_objects import Row

pytestmark = pytest.mark.slow

_MARK = "artifactstore-backup"
_ENDLESS = 1 << 40


@pytest.fixture
async def backup(registry: Registry, tmp_path: Path) -> Path:
    """The backup of a store with one file."""
    package = (await registry.create_package("p")).package_id
    await add(registry, package, "a", b"a")
    await registry.backup(tmp_path / "backup")
    return tmp_path / "backup"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory of somebody else, with a file that looks like a leftover."""
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    (directory / ".x.partial").write_text("precious")
    return directory


def content(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


def instead(path: Path, make: Callable[[Path], object]) -> None:
    """Put something else in the place of a file or directory, which is kept under another name."""
    if path.exists():
        path.rename(path.with_name(f".was-{path.name}"))
    make(path)


def endless(path: Path) -> None:
    """A link to what can be read for ever."""
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("name", [".lock", "log", "objects", "objects/blake3", "objects/small"])
async def test_a_backup_writes_through_no_link(registry: Registry, backup: Path, elsewhere: Path, name: str) -> None:
    target = elsewhere / "made" if name == ".lock" else elsewhere
    instead(backup / name, lambda path: path.symlink_to(target))
    with pytest.raises(BackupRefused, match=rf"{name} in it is "):
        await registry.backup(backup)
    assert content(elsewhere) == {".x.partial": "precious"}


async def test_a_new_backup_overwrites_nothing_that_a_planted_link_leads_to(
    registry: Registry, elsewhere: Path, tmp_path: Path
) -> None:
    target = tmp_path / "backup"
    target.mkdir()
    (target / f".{_MARK}.partial").symlink_to(elsewhere / ".x.partial")
    await registry.backup(target)
    assert content(elsewhere) == {".x.partial": "precious"}
    assert not (target / _MARK).is_symlink()


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, endless])
async def test_nobody_waits_for_or_reads_a_mark_or_lock_that_is_no_file(
    registry: Registry, backup: Path, make: Callable[[Path], object]
) -> None:
    instead(backup / ".lock", make)
    with pytest.raises(BackupRefused, match="in it is no regular file"):
        await registry.backup(backup)
    instead(backup / _MARK, make)
    for work in (registry.restore, check_backup):
        with pytest.raises(BackupRefused, match=f"{_MARK} in it is no regular file"):
            await work(backup)


@pytest.mark.parametrize("make", [os.mkfifo, Path.touch])
async def test_what_is_in_the_way_of_a_directory_is_named(
    registry: Registry, tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "backup")
    with pytest.raises(BackupRefused, match=f"{tmp_path / 'backup'} is no directory"):
        await registry.backup(tmp_path / "backup")


async def test_a_mark_without_end_is_not_read(registry: Registry, backup: Path) -> None:
    os.truncate(backup / _MARK, _ENDLESS)
    for work in (registry.restore, registry.backup, check_backup):
        with pytest.raises(BackupRefused, match="another format"):
            await work(backup)


@pytest.mark.parametrize("make", [os.mkfifo, endless])
async def test_nobody_waits_for_a_log_that_is_no_file(
    registry: Registry, backup: Path, make: Callable[[Path], object]
) -> None:
    [file] = (backup / "log").iterdir()
    instead(file, make)
    for work in (registry.restore, registry.backup, check_backup):
        with pytest.raises(LogFileInvalid, match="it is no regular file"):
            await work(backup)
    with pytest.raises(LogFileInvalid, match="it is no regular file"):
        await registry.import_events(file)


@pytest.mark.parametrize("name", ["objects.db", "objects.db-wal", "objects.db-shm"])
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, endless])
async def test_nobody_waits_for_or_follows_what_is_in_the_place_of_small_objects(
    registry: Registry, backup: Path, name: str, make: Callable[[Path], object]
) -> None:
    instead(backup / "objects" / "small" / name, make)
    for work in (registry.restore, registry.backup, check_backup):
        with pytest.raises(BackupRefused, match=f"objects/small/{name} in it is no regular file"):
            await work(backup)


async def test_a_view_that_answers_as_the_table_of_objects_does_is_refused(registry: Registry, backup: Path) -> None:
    """Its rows may have no end."""
    with closing(sqlite3.connect(backup / "objects" / "small" / "objects.db")) as file:
        file.execute("ALTER TABLE objects RENAME TO real")
        file.execute("CREATE VIEW objects AS SELECT * FROM real")
    for work in (registry.backup, check_backup):
        with pytest.raises(StorageFailed, match="has another table of objects than artifactstore makes"):
            await work(backup)


@pytest.mark.parametrize("form", ["row", "file"])
async def test_an_object_that_is_too_long_is_damaged_and_not_read(
    registry: Registry, backup: Path, tmp_path: Path, form: str
) -> None:
    [package] = [record async for record in registry.list_packages()]
    [record] = await registry.list_files(package.package_id)
    copy = object_file(settings_in(backup), record.content_address)
    assert isinstance(copy, Row)
    if form == "row":
        copy.write_bytes(bytes(1 << 24))
    else:
        copy.unlink()
        file = object_file(settings_in(backup), record.content_address)
        assert isinstance(file, Path)
        file.parent.mkdir(parents=True)
        file.touch()
        os.truncate(file, _ENDLESS)
    found = await check_backup(backup)
    assert [flaw.content_address for flaw in found.flaws.damaged] == [record.content_address]
    second = settings_in(tmp_path / "second")
    async with open_registry(second) as other:
        report = await other.restore(backup)
        assert (report.flaws.damaged_objects, report.new_objects) == (1, 0)
        assert await whole_log(other) == await whole_log(registry)
    assert objects(second) == {}
