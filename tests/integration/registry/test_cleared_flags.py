"""What verification records about objects that change: flags of sound ones are cleared, and repaired ones are not."""

from pathlib import Path

import pytest
import trio

from artifactstore import Registry, Settings, open_registry
from artifactstore.storage import StorageActor
from artifactstore_protocols.dataplane import VerifyResult
from artifactstore_protocols.messages import VerifyObjects
from integration.registry.samples import add, check_sound, object_file, whole_log
from stored_objects import overwrite


async def _package(registry: Registry) -> tuple[str, str]:
    package = (await registry.create_package("p")).package_id
    await add(registry, package, "a", b"content of a")
    return package, (await registry.get_file_record(package, "a")).content_address


async def _findings(registry: Registry) -> list[str]:
    return [
        stored.event.type
        for stored in await whole_log(registry)
        if stored.event.type in {"v1.objects.flagged", "v1.objects.restored"}
    ]


async def test_a_flagged_object_that_is_found_sound_is_cleared_by_an_event(
    registry: Registry, settings: Settings
) -> None:
    _package_id, address = await _package(registry)
    stored = object_file(settings, address)
    stored.unlink()
    await add(registry, _package_id, "b", b"content of b")  # or nearly all would be missing
    assert len((await registry.verify()).missing) == 1
    stored.write_bytes(b"content of a")
    for _ in range(2):
        assert (await registry.verify()).sound
        assert await _findings(registry) == ["v1.objects.flagged", "v1.objects.restored"]
    assert (await registry.health(max_age_s=0)).healthy
    await check_sound(registry)


@pytest.mark.slow
async def test_a_flag_that_a_backup_carries_is_cleared_where_the_object_is_sound(
    registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    _package_id, address = await _package(registry)
    await registry.backup(tmp_path / "kept")
    overwrite(object_file(settings, address), b"content of ?")
    assert len((await registry.verify()).mismatches) == 1
    await registry.backup(tmp_path / "kept")  # which has the object from before, and now the flag
    elsewhere = Settings(database_url=f"sqlite:///{tmp_path}/new.db", storage_local_root=tmp_path / "new")
    async with open_registry(elsewhere) as restored:
        await restored.restore(tmp_path / "kept")
        assert not (await restored.health(max_age_s=0)).healthy
        assert (await restored.verify()).sound
        assert await _findings(restored) == ["v1.objects.flagged", "v1.objects.restored"]
        assert (await restored.health(max_age_s=0)).healthy


async def test_what_is_repaired_while_a_verification_runs_is_not_flagged(
    registry: Registry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, address = await _package(registry)
    overwrite(object_file(settings, address), b"content of ?")
    verify_objects = StorageActor.verify_objects
    read, repaired = trio.Event(), trio.Event()

    async def late(actor: StorageActor, message: VerifyObjects) -> tuple[VerifyResult, ...]:
        result = await verify_objects(actor, message)
        if not read.is_set():
            read.set()
            await repaired.wait()
        return result

    async def first() -> None:
        assert len((await registry.verify()).mismatches) == 1, "as it was read"

    monkeypatch.setattr(StorageActor, "verify_objects", late)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await read.wait()
        assert len((await registry.verify()).mismatches) == 1  # another one flags it
        await add(registry, package, "again", b"content of a")
        repaired.set()
    assert await _findings(registry) == ["v1.objects.flagged"]
    assert (await registry.verify()).sound
    assert [part.healthy for part in (await registry.health()).components if part.name == "objects"] == [True]
