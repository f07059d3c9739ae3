"""Holds and retention through the library: what keeps a package, who said so, and what survives a backup and a copy."""

from pathlib import Path

import pytest

from artifactstore import Registry, Settings, blocking, open_registry
from artifactstore.errors import HoldNotFound, InvalidValue, PackageIdNeeded, PackageKept, UnknownRetentionClass
from artifactstore_protocols.retention import RETENTION_CLASSES
from integration.registry.samples import plant, settings_in

DAY_US = 86_400_000_000


async def test_holds_keep_a_package_until_they_are_released(registry: Registry, tree: Path) -> None:
    plant(tree, {"f": b"content"})
    package = (await registry.ingest_tree(tree, name="nightly")).package_id
    first = await registry.place_hold(package, reason="case 1", principal="ann", idempotency_key="k")
    assert await registry.place_hold(package, reason="case 1", principal="ann", idempotency_key="k") == first
    second = await registry.place_hold(package, reason="case 2", principal="ben")
    other = await registry.place_hold((await registry.create_package("draft")).package_id, reason="case 3")
    assert (first.placed_by, first.reason, second.placed_by) == ("ann", "case 1", "ben")
    assert {each.hold_id for each in (first, second)} == {each.hold_id async for each in registry.list_holds("nightly")}
    assert len([each async for each in registry.list_holds()]) == len({first, second, other})
    for hold in (first, second):
        with pytest.raises(PackageKept, match="hold release"):
            await registry.delete_package(package, reason="no need", before_expiry=True)
        await registry.release_hold(hold.hold_id)
        with pytest.raises(HoldNotFound):
            await registry.release_hold(hold.hold_id)
    await registry.delete_package(package, reason="no need", before_expiry=True)
    with pytest.raises(PackageIdNeeded):
        await registry.place_hold("draft", reason="case 4")
    assert (await registry.replay(check=True)).identical


async def test_retention_is_set_and_extended(registry: Registry, tree: Path) -> None:
    plant(tree, {"f": b"content"})
    package = (await registry.ingest_tree(tree, name="nightly", retention="short")).package_id
    manifest = await registry.get_manifest_bytes(package)
    began_us = (await registry.get_package(package)).finalized_at_us or 0

    async def left_days() -> int | None:
        record = await registry.get_package(package)
        return None if record.expires_at_us is None else (record.expires_at_us - began_us) // DAY_US

    assert await left_days() == 30
    assert (await registry.set_retention(package, "long")).retention_class == "long"
    assert await left_days() == (RETENTION_CLASSES["long"].duration_us or 0) // DAY_US
    assert (await registry.set_retention(package, "2w")).retention_class == "custom"
    assert await left_days() == 14
    await registry.extend_retention(package, "10d", idempotency_key="k")
    await registry.extend_retention(package, "10d", idempotency_key="k")
    assert await left_days() == 24
    hold = await registry.place_hold(package, reason="case")
    with pytest.raises(PackageKept, match="no shorter"):
        await registry.set_retention(package, "ephemeral")
    await registry.release_hold(hold.hold_id)
    await registry.set_retention(package, "permanent")
    assert await left_days() is None
    with pytest.raises(PackageKept, match="permanent"):
        await registry.extend_retention(package, "10d")
    with pytest.raises(InvalidValue, match="duration"):
        await registry.extend_retention(package, "ten days")
    with pytest.raises(UnknownRetentionClass):
        await registry.set_retention(package, "ten days")
    assert await registry.get_manifest_bytes(package) == manifest
    assert (await registry.verify()).sound
    assert (await registry.replay(check=True)).identical


async def test_holds_and_retention_survive_export_and_restore(registry: Registry, tree: Path, tmp_path: Path) -> None:
    plant(tree, {"f": b"content"})
    package = (await registry.ingest_tree(tree, name="nightly")).package_id
    hold = await registry.place_hold(package, reason="case")
    await registry.release_hold((await registry.place_hold(package, reason="another")).hold_id)
    record = await registry.set_retention(package, "long")
    await registry.backup(tmp_path / "backup")
    await registry.export_events(tmp_path / "log")
    async with open_registry(settings_in(tmp_path / "restored")) as restored:
        await restored.restore(tmp_path / "backup")
        assert [each async for each in restored.list_holds()] == [hold]
        assert await restored.get_package(package) == record
        with pytest.raises(PackageKept):
            await restored.delete_package(package, reason="no need", before_expiry=True)
    async with open_registry(settings_in(tmp_path / "imported")) as imported:
        await imported.import_events(tmp_path / "log")
        assert [each async for each in imported.list_holds(package)] == [hold]


def test_plain_python_has_them_too(settings: Settings, tree: Path) -> None:
    plant(tree, {"f": b"content"})
    with blocking.open_registry(settings) as registry:
        package = registry.ingest_tree(tree, name="nightly").package_id
        hold = registry.place_hold(package, reason="case")
        assert list(registry.list_holds()) == [hold]
        registry.release_hold(hold.hold_id)
        assert list(registry.list_holds(package)) == []
