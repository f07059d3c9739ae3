"""A backup beside a collector is whole, and `prune` removes from it what its store has collected, and nothing else."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from artifactstore import Registry, Settings, open_registry
from artifactstore.transfer.backup import _Backup  # pyright: ignore[reportPrivateUsage]
from artifactstore.transfer.check import check_backup
from integration.registry.samples import add, by_hand, content_of, objects, settings_in
from stored_objects import objects_in

pytestmark = pytest.mark.slow

_LARGE = b"large " * 20_000


async def _package(registry: Registry, name: str, **contents: bytes) -> str:
    package = (await registry.create_package(name)).package_id
    for path, content in contents.items():
        await add(registry, package, path, content)
    await registry.finalize_package(package)
    return package


async def _delete(registry: Registry, package: str) -> None:
    await registry.delete_package(package, reason="a test", before_expiry=True)
    await registry.collect_garbage(grace_s=0, orphan_age_s=0)


async def _check_restored(target: Path, directory: Path, package: str, **contents: bytes) -> None:
    assert not (await check_backup(target)).flaws.any
    async with open_registry(settings_in(directory)) as second:
        assert not (await second.restore(target)).flaws.any
        assert {path: await content_of(second, package, path) for path in contents} == contents
        assert (await second.replay(check=True)).identical
        assert (await second.verify()).sound


@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.parametrize("moment", ["before the objects", "between objects and log", "before the log"])
async def test_a_backup_during_a_collection_is_whole(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, prune: bool
) -> None:
    """The collector deletes objects that the backup was about to copy, and one of them is stored again."""
    kept = await _package(registry, "kept", a=b"a", b=b"b")
    gone = await _package(registry, "gone", c=b"c", large=_LARGE, again=b"again")
    if prune:  # the log of the backup names the objects already, and not yet that they are retired
        await registry.backup(tmp_path / "backup")
    method = {"before the objects": "_copy", "between objects and log": "_write_log", "before the log": "_copy_for"}[
        moment
    ]
    original: Callable[..., Awaitable[object]] = getattr(_Backup, method)
    again = list[str]()

    async def late(self: _Backup, *args: object, **options: object) -> object:
        if not again:
            again.append("deleted")
            await _delete(registry, gone)
            again.append(await _package(registry, "again", again=b"again"))
        return await original(self, *args, **options)

    monkeypatch.setattr(_Backup, method, late)
    report = await registry.backup(tmp_path / "backup", prune=prune)
    assert not report.flaws.any
    await _check_restored(tmp_path / "backup", tmp_path / "second", kept, a=b"a", b=b"b")


async def test_pruning_removes_what_was_collected_and_nothing_else(
    registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    target = tmp_path / "backup"
    kept = await _package(registry, "kept", a=b"a", both=b"both", large=_LARGE)
    gone = await _package(registry, "gone", c=b"c", both=b"both", large=_LARGE + b"!")
    await registry.backup(target)
    whole = objects_in(target / "objects")
    assert (await registry.preview_pruning(target)).objects == 0
    await _delete(registry, gone)
    totals = await registry.preview_pruning(target)
    assert (totals.objects, totals.bytes) == (2, 1 + len(_LARGE) + 1)
    assert objects_in(target / "objects") == whole, "a preview changes nothing"
    assert (await registry.backup(target)).pruned_objects == 0
    assert objects_in(target / "objects") == whole, "nobody asked for pruning"
    report = await registry.backup(target, prune=True)
    assert (report.pruned_objects, report.pruned_bytes) == (totals.objects, totals.bytes)
    assert objects_in(target / "objects") == objects(settings)
    await _check_restored(target, tmp_path / "second", kept, a=b"a", both=b"both", large=_LARGE)
    assert (await registry.backup(target, prune=True)).pruned_objects == 0


async def test_a_content_that_came_back_is_not_pruned(registry: Registry, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    gone = await _package(registry, "gone", c=b"c")
    await registry.backup(target)
    await _delete(registry, gone)
    again = await _package(registry, "again", c=b"c")
    assert (await registry.backup(target, prune=True)).pruned_objects == 0
    await _check_restored(target, tmp_path / "second", again, c=b"c")


@pytest.mark.parametrize("lost", ["DELETE FROM storage_locations WHERE state = 'live'", "DELETE FROM artifact_files"])
async def test_a_store_with_damaged_tables_prunes_nothing_that_its_log_keeps(
    registry: Registry, settings: Settings, tmp_path: Path, lost: str
) -> None:
    target = tmp_path / "backup"
    gone = await _package(registry, "gone", c=b"c", d=b"d")
    await _delete(registry, gone)
    await _package(registry, "kept", c=b"c", e=b"e")
    await registry.backup(target)
    whole = objects_in(target / "objects")
    by_hand(settings, lost)
    assert (await registry.preview_pruning(target)).objects == 0
    await registry.backup(target, prune=True)
    assert objects_in(target / "objects") == whole
