"""What the library says that a store holds, and when it was last backed up and verified."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from artifactstore import Registry, Settings, blocking
from artifactstore_protocols.store_stats import StoreStats
from artifactstore_protocols.verification import VerificationState
from integration.registry.samples import plant


async def test_a_store_says_what_it_holds(registry: Registry, tree: Path) -> None:
    assert await registry.stats() == StoreStats()
    plant(tree, {"a": b"12345", "b/c": b"12345", "d": b"xyz"})
    (tree / "link").symlink_to("a")
    await registry.ingest_tree(tree, name="one")
    await registry.ingest_tree(tree, name="two")
    await registry.create_package("open")
    stats = await registry.stats()
    assert stats.verification.oldest_at_us is not None
    assert replace(stats, verification=VerificationState()) == StoreStats(
        packages=3, finalized=2, files=6, links=2, bytes=26, objects=2, object_bytes=8
    )
    assert (await registry.replay(check=True)).identical


async def test_what_replaces_a_file_is_counted_in_its_place(registry: Registry, tree: Path) -> None:
    plant(tree, {"a": b"12345"})
    await registry.create_package("open")
    await registry.ingest_file("open", "a", tree / "a")
    plant(tree, {"a": b"1234567"})
    await registry.ingest_file("open", "a", tree / "a", replace=True)
    stats = await registry.stats()
    assert (stats.files, stats.bytes) == (1, 7)
    assert (stats.objects, stats.object_bytes) == (2, 12), "no package needs the first content any more; it is kept"


async def test_a_backup_and_a_verification_are_recorded_once_they_are_complete(
    registry: Registry, tree: Path, tmp_path: Path
) -> None:
    plant(tree, {"a": b"1", "b": b"2"})
    await registry.ingest_tree(tree, name="one")
    report = await registry.backup(tmp_path / "kept")
    await registry.verify("one")
    stats = await registry.stats()
    assert stats.last_backup is not None
    assert (stats.last_backup.sequence, stats.last_backup.objects, stats.last_backup.flaws) == (report.events, 2, 0)
    assert stats.verification.verified_at_us is None, "one package is not the store"
    await registry.verify()
    verified = (await registry.stats()).verification
    assert verified.verified_at_us is not None
    assert verified.verified_at_us >= stats.last_backup.ended_at_us > 0
    assert verified.oldest_at_us == verified.verified_at_us, "every object was read"


async def test_a_backup_that_cannot_be_recorded_succeeds(
    registry: Registry, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tree, {"a": b"1"})
    await registry.ingest_tree(tree, name="one")
    monkeypatch.setattr("artifactstore.database.store.SqlEventStore.note_run", _refuse)
    assert (await registry.backup(tmp_path / "kept")).objects == 1
    assert (await registry.stats()).last_backup is None


async def _refuse(*_arguments: object) -> None:
    from artifactstore.errors import DatabaseBusy  # noqa: PLC0415

    raise DatabaseBusy("log.db", "another process holds its lock")


def test_plain_python_has_them_too(settings: Settings, tree: Path) -> None:
    plant(tree, {"f": b"content"})
    with blocking.open_registry(settings) as registry:
        registry.ingest_tree(tree, name="nightly")
        assert registry.stats().packages == 1
