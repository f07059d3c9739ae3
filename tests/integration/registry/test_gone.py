"""Deletion through the library: what goes, what stays as a record, and what survives a backup."""

from pathlib import Path

import pytest

from artifactstore import PackageFilter, Registry, open_registry
from artifactstore.errors import PackageGone, PackageIdNeeded, PackageKept, PackageNotFound
from integration.registry.samples import plant, settings_in


async def test_a_deleted_package_keeps_its_record_and_loses_its_files(registry: Registry, tree: Path) -> None:
    plant(tree, {"f": b"content"})
    older = await registry.ingest_tree(tree, name="nightly", metadata={"branch": "main"})
    newer = await registry.ingest_tree(tree, name="nightly")
    await registry.set_tag("last", newer.package_id)
    manifest = await registry.get_manifest_bytes(newer.package_id)
    with pytest.raises(PackageKept, match="before-expiry"):
        await registry.delete_package(newer.package_id, reason="broken")
    gone = await registry.delete_package(newer.package_id, reason="broken", before_expiry=True, principal="ann")
    assert (gone.status, gone.gone_by, gone.gone_reason, gone.files) == ("deleted", "ann", "broken", 1)
    assert await registry.delete_package(newer.package_id, reason="again", principal="ben") == gone
    # Names find the one that is left; other texts find the record.
    for text in ("nightly", "nightly@latest", f"tree:{newer.tree_digest}"):
        assert (await registry.get_package(text)).package_id == older.package_id
    with pytest.raises(PackageNotFound):
        await registry.get_package("nightly@{1}")
    for text in (newer.package_id, "tag:last", f"manifest:{newer.manifest_digest}", newer.package_id[-8:]):
        assert await registry.get_package(text) == gone
    assert [each.package_id async for each in registry.list_packages()] == [older.package_id]
    assert [each async for each in registry.list_packages(PackageFilter(status="deleted"))] == [gone]
    stats = await registry.stats()
    assert (stats.packages, stats.finalized, stats.files, stats.bytes, stats.objects) == (1, 1, 1, 7, 1)
    assert await registry.get_manifest_bytes(newer.package_id) == manifest
    assert (await registry.replay(check=True)).identical


async def test_nothing_reads_or_changes_a_package_that_is_gone(registry: Registry, tree: Path, tmp_path: Path) -> None:
    plant(tree, {"f": b"content"})
    package = (await registry.ingest_tree(tree, name="nightly")).package_id
    await registry.delete_package(package, reason="broken", before_expiry=True, principal="ann")

    async def get() -> None:
        async with registry.get_file(package, "f"):
            pass

    async def archive() -> None:
        async with registry.export_archive(package, "tar"):
            pass

    for attempt in (
        get,
        archive,
        lambda: registry.list_files(package),
        lambda: registry.list_directory(package),
        lambda: registry.get_file_record(package, "f"),
        lambda: registry.open_package(package),
        lambda: registry.diff_packages(package, package),
        lambda: registry.export_package(package, tmp_path / "out"),
        lambda: registry.copy_package(package, settings_in(tmp_path / "second")),
        lambda: registry.verify(package),
        lambda: registry.set_tag("t", package),
        lambda: registry.finalize_package(package),
        lambda: registry.ingest_file(package, "g", tree / "f"),
        lambda: registry.ingest_directory(package, tree),
    ):
        with pytest.raises(PackageGone, match=r"was deleted on .* by ann: broken"):
            await attempt()
    assert (await registry.verify()).sound


async def test_an_open_package_is_deleted_and_its_ingest_begins_anew(registry: Registry, tree: Path) -> None:
    opened = await registry.create_package("draft")
    await registry.delete_package(opened.package_id, reason="a typo")
    with pytest.raises(PackageNotFound):
        await registry.get_package("draft")
    with pytest.raises(PackageGone):
        await registry.get_manifest_bytes(opened.package_id)
    plant(tree, {"f": b"content"})
    with pytest.raises(PackageGone):
        await registry.ingest_file(opened.package_id, "f", tree / "f")


async def test_only_an_id_names_a_package_to_delete(registry: Registry) -> None:
    opened = await registry.create_package("draft")
    for text in ("draft", opened.package_id[-8:]):
        with pytest.raises(PackageIdNeeded, match=opened.package_id):
            await registry.delete_package(text, reason="a typo")
    assert (await registry.get_package(opened.package_id)).status == "open"


async def test_gone_packages_are_gone_after_a_restore(registry: Registry, tree: Path, tmp_path: Path) -> None:
    plant(tree, {"f": b"content"})
    package = (await registry.ingest_tree(tree, name="nightly")).package_id
    gone = await registry.delete_package(package, reason="broken", before_expiry=True)
    await registry.backup(tmp_path / "backup")
    async with open_registry(settings_in(tmp_path / "second")) as second:
        await second.restore(tmp_path / "backup")
        assert await second.get_package(package) == gone
        with pytest.raises(PackageNotFound):
            await second.get_package("nightly")
        assert (await second.stats()).packages == 0
