"""Worker threads that the system does not give are refused as what they are; what the work raises is its own."""

import threading
from pathlib import Path

import pytest

from artifactstore import Settings, open_registry
from artifactstore.environment import in_thread
from artifactstore.errors import NoThreadLeft
from artifactstore_protocols.records import PackageRecord
from integration.registry.samples import add, plant


def exhausted(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio._core._thread_cache.THREAD_CACHE._idle_workers", {})
    monkeypatch.setattr(threading.Thread, "start", exhausted)


async def test_a_thread_that_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        no_more_threads(patched)
        with pytest.raises(NoThreadLeft, match="raise its limit"):
            await in_thread(list)
    assert await in_thread(list) == []


async def test_what_the_work_raises_is_raised_as_it_is() -> None:
    def fail() -> None:
        raise RuntimeError("the work's own")

    with pytest.raises(RuntimeError, match="the work's own"):
        await in_thread(fail)


async def test_no_actor_crashes_for_want_of_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/log.db", storage_local_root=tmp_path / "objects")
    tree = plant(tmp_path / "tree", {"f": b"content"})
    async with open_registry(settings) as registry:
        package: PackageRecord = await registry.create_package("p")
        with monkeypatch.context() as patched:
            no_more_threads(patched)
            with pytest.raises(NoThreadLeft):
                await registry.ingest_directory(package.package_id, tree)
        await add(registry, package.package_id, "f", b"content")
        assert all(actor.starts == 1 for actor in registry.snapshot().walk())
