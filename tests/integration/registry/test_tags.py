"""Tags through the library: what they name, who set them, and what survives."""

from pathlib import Path

import pytest

from artifactstore import Registry, Settings, blocking, open_registry
from artifactstore.errors import InvalidValue, NotFinalized, PackageNotFound, TagNotFound, TagProtected
from integration.registry.samples import plant, settings_in


async def test_a_tag_names_a_package_until_it_is_moved_or_deleted(registry: Registry, tree: Path) -> None:
    plant(tree, {"f": b"content"})
    first = await registry.ingest_tree(tree, name="nightly")
    second = await registry.ingest_tree(tree, name="nightly")
    tag = await registry.set_tag("release", "nightly@{1}", principal="ann")
    assert (tag.package_id, tag.protected, tag.set_by) == (first.package_id, False, "ann")
    assert (await registry.get_package("tag:release")).package_id == first.package_id
    assert [each async for each in registry.list_tags()] == [tag]
    assert await registry.set_tag("release", "nightly@{1}", principal="ben") == tag
    moved = await registry.set_tag("release", "nightly", protect=True, principal="ben")
    assert (await registry.get_package("tag:release")).package_id == second.package_id
    with pytest.raises(TagProtected):
        await registry.set_tag("release", first.package_id)
    with pytest.raises(TagProtected):
        await registry.delete_tag("release")
    assert [each async for each in registry.list_tags()] == [moved]
    await registry.set_tag("release", "tag:release", protect=False)
    await registry.delete_tag("release", principal="cleo")
    with pytest.raises(PackageNotFound):
        await registry.get_package("tag:release")
    history = [(entry.principal, entry.type, entry.detail) async for entry in registry.tag_history("release")]
    assert history == [
        ("ann", "v1.tag.set", f"set tag 'release' to {first.package_id}"),
        ("ben", "v1.tag.set", f"set tag 'release' to {second.package_id}, protected"),
        ("anonymous", "v1.tag.set", f"set tag 'release' to {second.package_id}"),
        ("cleo", "v1.tag.deleted", "deleted tag 'release'"),
    ]
    assert (await registry.replay(check=True)).identical


async def test_what_no_tag_can_name(registry: Registry) -> None:
    opened = await registry.create_package("draft")
    with pytest.raises(NotFinalized):
        await registry.set_tag("release", opened.package_id)
    with pytest.raises(TagNotFound):
        await registry.delete_tag("release")
    with pytest.raises(TagNotFound):
        assert [entry async for entry in registry.tag_history("release")] == []
    for odd in ("", "\0", "\ud800", "a@b"):
        with pytest.raises(InvalidValue, match="invalid tag"):
            assert [entry async for entry in registry.tag_history(odd)] == []


async def test_tags_are_in_a_backup(registry: Registry, tree: Path, tmp_path: Path) -> None:
    plant(tree, {"f": b"content"})
    await registry.ingest_tree(tree, name="nightly")
    await registry.set_tag("release", "nightly", protect=True)
    await registry.backup(tmp_path / "backup")
    async with open_registry(settings_in(tmp_path / "second")) as second:
        await second.restore(tmp_path / "backup")
        restored = [each async for each in second.list_tags()]
        assert restored == [each async for each in registry.list_tags()]
        assert (await second.get_package("tag:release")).name == "nightly"


def test_plain_python_has_them_too(settings: Settings, tree: Path) -> None:
    plant(tree, {"f": b"content"})
    with blocking.open_registry(settings) as registry:
        registry.ingest_tree(tree, name="nightly")
        tag = registry.set_tag("release", "nightly")
        assert list(registry.list_tags()) == [tag]
        assert len(list(registry.tag_history("release"))) == 1
        registry.delete_tag("release")
        assert list(registry.list_tags()) == []
