"""Retention classes that a store adds: they are used as the five of every store are, and never change."""

from pathlib import Path

import pytest

from artifactstore import Registry, open_registry
from artifactstore.errors import InvalidValue, RetentionClassTaken, UnknownRetentionClass
from artifactstore_protocols.retention import RETENTION_CLASSES
from integration.registry.samples import add, plant, settings_in

DAY_US = 86_400_000_000


async def test_an_added_class_is_used_like_every_other_and_never_changes(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(UnknownRetentionClass, match="unknown retention class 'quarter'; use ephemeral"):
        await registry.create_package("nightly", retention="quarter")
    added = await registry.add_retention_class("quarter", "90d")
    head = len(await registry.read_events())
    assert await registry.add_retention_class("quarter", "90d") == added
    assert len(await registry.read_events()) == head
    with pytest.raises(RetentionClassTaken, match="'quarter' keeps packages for 2160 hours and never changes"):
        await registry.add_retention_class("quarter", "91d")
    assert [each async for each in registry.list_retention_classes()] == [*RETENTION_CLASSES.values(), added]

    package = await registry.create_package("nightly", retention="quarter")
    await add(registry, package.package_id, "a", b"a")
    await registry.finalize_package(package.package_id)
    record = await registry.get_package(package.package_id)
    assert (record.expires_at_us or 0) - (record.finalized_at_us or 0) == 90 * DAY_US
    plant(tmp_path / "tree", {"b": b"b"})
    other = (await registry.ingest_tree(tmp_path / "tree", name="other", retention="short")).package_id
    assert (await registry.set_retention(other, "quarter")).retention_class == "quarter"
    assert (await registry.replay(check=True)).identical

    await registry.export_events(tmp_path / "log")
    async with open_registry(settings_in(tmp_path / "copy")) as copy:
        await copy.import_events(tmp_path / "log")
        assert [each.name async for each in copy.list_retention_classes()][-1] == "quarter"


@pytest.mark.parametrize("name", ["short", "custom", "30d", "", "Quarter", "a b", "x" * 41])
async def test_a_class_has_a_name_of_its_own(registry: Registry, name: str) -> None:
    with pytest.raises(InvalidValue, match="retention class"):
        await registry.add_retention_class(name, "90d")


async def test_a_class_has_a_duration(registry: Registry) -> None:
    for duration in ("90", "0d", "36501d"):
        with pytest.raises(InvalidValue, match="duration"):
            await registry.add_retention_class("quarter", duration)
