"""Purging: leaked contents go at once, everywhere, and nothing that the store does later brings them back."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from artifactstore import Registry, Settings, open_registry
from artifactstore.errors import (
    ContentPurged,
    ExportIncomplete,
    PurgeUnconfirmed,
)
from artifactstore.testing.backend_conformance import address_of, key_of
from integration.registry.samples import content_of, plant, settings_in, whole_log
from stored_objects import objects_in

SECRET, TOKEN, KEPT = b"password=hunter2 " * 20, b"token=" + bytes(range(256)) * 1000, b"harmless"
REASON = "a leaked key, ticket 4711"


def digests(*contents: bytes) -> list[str]:
    return [str(address_of(content)) for content in contents]


def traces(directory: Path) -> list[str]:
    """The files below a directory, also the log files of databases, that hold one of the secrets."""
    return [
        str(file)
        for file in directory.rglob("*")
        if file.is_file() and any(secret[:64] in file.read_bytes() for secret in (SECRET, TOKEN))
    ]


async def purged(registry: Registry, *contents: bytes, backups: tuple[Path, ...] = ()) -> None:
    asked = digests(*contents)
    report = await registry.purge(asked, reason=REASON, confirm=asked, backups=backups, principal="alice")
    assert not report.failures
    assert [each.content_address for each in report.contents] == asked


@pytest.mark.slow
async def test_a_purged_content_is_gone_everywhere_and_never_comes_back(
    registry: Registry, settings: Settings, tree: Path, tmp_path: Path
) -> None:
    root, backup, other = settings.storage_local_root, tmp_path / "kept", tmp_path / "unnamed"
    plant(tree, {"env": SECRET, "deep/token": TOKEN, "kept": KEPT})
    held = await registry.ingest_tree(tree, name="held")
    opened = (await registry.create_package("opened")).package_id
    await registry.ingest_directory(opened, tree)
    await registry.place_hold(held.package_id, reason="a case")
    for directory in (backup, other):
        await registry.backup(directory)
    assert all(traces(each) for each in (root, backup, other))

    # Without the digests a second time, nothing happens.
    for confirm in ([], digests(SECRET)):
        with pytest.raises(PurgeUnconfirmed, match="4 files") as refused:
            await registry.purge(digests(SECRET, TOKEN), reason=REASON, confirm=confirm)
        assert refused.value.contents == tuple(digests(SECRET, TOKEN))
    assert traces(root)

    await purged(registry, SECRET, TOKEN, backups=(backup,))
    assert traces(root) == traces(backup) == []
    assert set(objects_in(root)) == {address_of(KEPT).digest.hex}

    # Readers get one typed error that says when, by whom and why; the rest of the package is there.
    for path in ("env", "deep/token"):
        with pytest.raises(ContentPurged, match=f"by alice: {REASON}"):
            await content_of(registry, held.package_id, path)
    assert await content_of(registry, held.package_id, "kept") == KEPT
    package = await registry.open_package(held.package_id)
    with pytest.raises(ContentPurged):
        await package.path("env").read_bytes()
    with pytest.raises(ContentPurged):
        await registry.export_package(held.package_id, tmp_path / "refused")
    with pytest.raises(ExportIncomplete) as incomplete:
        await registry.export_package(held.package_id, tmp_path / "partial", keep_going=True)
    assert {each.path for each in incomplete.value.report.unreadable} == {"env", "deep/token"}
    assert traces(tmp_path / "partial") == []

    # Nothing takes it again: an ingest, a repair, an object at a new key.
    with pytest.raises(ContentPurged, match=r"of '(env|deep/token)' was purged"):
        await registry.ingest_tree(tree, name="again", files_cache=False)
    with pytest.raises(ContentPurged, match=r"of '(env|deep/token)' was purged"):
        await registry.finalize_package(opened)
    copy = tmp_path / "copy"
    plant(copy, {"env": SECRET})
    assert (await registry.repair(source=copy)).repaired == 0
    plant(root, {f"{key_of(TOKEN)}.g2": TOKEN})
    report = await registry.collect_garbage(grace_s=0, orphan_age_s=0)
    assert (report.failures, report.orphans.objects) == ((), 1)
    assert traces(root) == []
    plant(tree, {"env": b"clean", "deep/token": b"clean"})
    await registry.ingest_directory(opened, tree, replace=True)
    await registry.finalize_package(opened)

    # It is no damage, the tables follow from the log, and a repeated purge changes nothing.
    assert (await registry.verify()).sound
    assert (await registry.replay(check=True)).identical
    before = len(await whole_log(registry))
    await purged(registry, SECRET)
    assert len(await whole_log(registry)) == before

    # Any later backup carries the purge, and a restored store knows of it.
    await registry.backup(other)
    assert traces(other) == []
    async with open_registry(settings_in(tmp_path / "restored")) as restored:
        assert (await restored.restore(other)).flaws.missing_objects == 0
        with pytest.raises(ContentPurged, match=REASON):
            await content_of(restored, held.package_id, "env")
        assert (await restored.verify()).sound
        assert (await restored.replay(check=True)).identical


async def test_a_purge_says_that_a_reader_keeps_the_write_ahead_log(
    registry: Registry, settings: Settings, tree: Path
) -> None:
    plant(tree, {"env": SECRET})
    await registry.ingest_tree(tree, name="x")
    asked = digests(SECRET)
    [file] = settings.storage_local_root.rglob("objects.db")
    with closing(sqlite3.connect(file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM objects").fetchone()
        report = await registry.purge(asked, reason=REASON, confirm=asked)
        assert len(report.failures) == 1
        assert "write-ahead log still has the bytes" in report.failures[0]
    repeated = await registry.purge(asked, reason=REASON, confirm=asked)
    assert repeated.failures == ()
    assert traces(settings.storage_local_root) == []
