"""An import or a restore that broke off: seen by health and doctor, refused to all others, finished by itself."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from artifactstore import Registry, Settings, open_registry
from artifactstore.database.location import DatabaseLocation
from artifactstore.doctor import examine, inspect_store
from artifactstore.environment import in_thread
from artifactstore.errors import ImportUnfinished
from artifactstore.transfer import backup, log_files
from artifactstore_protocols.event_types import PACKAGE_CREATED, PACKAGE_FINALIZED
from artifactstore_protocols.records import TransferProgress
from integration.registry.samples import add, check_sound, settings_in, stream_of, whole_log
from stored_objects import object_in, objects_in, overwrite


class BrokenOff(Exception):
    """A kill, as the importer's task meets it; what it has committed stays."""


def breaks_off_after(events: int) -> Callable[[TransferProgress], None]:
    def told(progress: TransferProgress) -> None:
        if progress.events >= events:
            raise BrokenOff

    return told


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs are read a few events at a time, so that a short one takes many transactions."""
    monkeypatch.setattr(log_files, "_PIECE_BYTES", 1500)
    monkeypatch.setattr(log_files, "_EVENTS", 2)
    monkeypatch.setattr(backup, "_FILE_EVENTS_MAX", 3)


@pytest.fixture
def into(tmp_path: Path, location: DatabaseLocation) -> Settings:
    """Where a log is taken over to, on either database."""
    return replace(settings_in(tmp_path / "second"), database_url=location.url.render_as_string(hide_password=False))


async def fill(registry: Registry) -> str:
    package = (await registry.create_package("p", idempotency_key="once")).package_id
    for path in ("a", "b", "c"):
        await add(registry, package, path, path.encode())
    await registry.finalize_package(package)
    await registry.create_package("q")
    return package


async def findings_of(settings: Settings) -> list[tuple[str, str]]:
    environment = {
        "ARTIFACTSTORE_DATABASE_URL": settings.database_url,
        "ARTIFACTSTORE_STORAGE_LOCAL_ROOT": str(settings.storage_local_root),
    }
    found = await in_thread(lambda: examine(inspect_store(environment)))
    return [(each.problem, each.remedy) for each in found if each.check == "unfinished import"]


async def refuses_all_others(registry: Registry, settings: Settings, there: int, end: int, command: str) -> None:
    """Nobody else writes, the log can be read, and health and doctor say what is to be done."""
    log = await whole_log(registry)
    assert len(log) == there
    opened = {stored.event.subject for stored in log if stored.event.type == PACKAGE_CREATED.name}
    opened -= {stored.event.subject for stored in log if stored.event.type == PACKAGE_FINALIZED.name}
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: registry.create_package("mine"),
        lambda: registry.register_metadata_schema("s", {"type": "object"}),
    ]
    writes += [partial(registry.ingest_file, package, "mine", stream_of(b"mine")) for package in opened]
    for write in writes:
        with pytest.raises(ImportUnfinished) as refused:
            await write()
        assert (refused.value.head, refused.value.end, refused.value.command) == (there, end, command)
    assert await whole_log(registry) == log
    health = await registry.health(max_age_s=0)
    assert health.reasons == (f"database: {ImportUnfinished(there, end, command)}",)
    ((problem, remedy),) = await findings_of(settings)
    assert f"{there} of {end} events are here" in problem
    assert f"`{command}`" in remedy


@pytest.mark.slow
async def test_an_import_that_broke_off_is_seen_and_keeps_others_out_until_it_is_finished(
    registry: Registry, tmp_path: Path, into: Settings
) -> None:
    await fill(registry)
    log, file = await whole_log(registry), tmp_path / "the log"
    await registry.export_events(file)
    command = f"artifactstore events --import '{file}'"
    there = 0
    while there < len(log) - 1:
        async with open_registry(into) as second:
            with pytest.raises(BrokenOff):
                await second.import_events(file, progress=breaks_off_after(there + 1))
            there = len(await whole_log(second))
            if there == len(log):
                break
            await refuses_all_others(second, into, there, len(log), command)
    async with open_registry(into) as second:
        await second.import_events(file)
        assert await check_sound(second) == log
        assert (await second.health(max_age_s=0)).healthy
        assert await findings_of(into) == []
        await second.create_package("mine")


@pytest.mark.slow
async def test_an_import_that_has_only_begun_keeps_others_out(
    registry: Registry, tmp_path: Path, into: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(registry)
    log, target = await whole_log(registry), tmp_path / "backup"
    await registry.backup(target)
    async with open_registry(into) as second:
        with monkeypatch.context() as patch:
            patch.setattr("artifactstore.transfer.restore._Restore._restore_objects", _fails)
            with pytest.raises(BrokenOff):
                await second.restore(target)
        await refuses_all_others(second, into, 0, len(log), f"artifactstore restore {target}")
        await second.restore(target)
        assert await check_sound(second) == log


async def _fails(_self: object, _named: object) -> None:
    raise BrokenOff


@pytest.mark.slow
async def test_a_restore_that_broke_off_is_finished_from_a_backup_that_has_grown(
    registry: Registry, tmp_path: Path, into: Settings
) -> None:
    package = await fill(registry)
    log, target, file = await whole_log(registry), tmp_path / "backup", tmp_path / "log"
    await registry.backup(target)
    await registry.export_events(file)
    async with open_registry(into) as second:
        with pytest.raises(BrokenOff):
            await second.restore(target, progress=breaks_off_after(3))
        there = len(await whole_log(second))
        await refuses_all_others(second, into, there, len(log), f"artifactstore restore {target}")
        await registry.create_package("later")
        await registry.backup(target)
        with pytest.raises(BrokenOff):
            await second.restore(target, progress=breaks_off_after(there + 1))
        with pytest.raises(ImportUnfinished):  # it holds less than is to be restored now
            await second.import_events(file)
        await second.restore(target)
        assert await check_sound(second) == await whole_log(registry)
        assert (await second.verify(package)).mismatches == ()
        await second.create_package("mine")


@pytest.mark.slow
async def test_another_log_is_refused_while_an_import_is_unfinished(
    registry: Registry, tmp_path: Path, into: Settings
) -> None:
    await fill(registry)
    file, other_file = tmp_path / "log", tmp_path / "other"
    await registry.export_events(file)
    async with open_registry(settings_in(tmp_path / "third")) as third:
        await third.create_package("of its own")
        await third.export_events(other_file)
        await third.backup(tmp_path / "backup")
    async with open_registry(into) as second:
        with pytest.raises(BrokenOff):
            await second.import_events(file, progress=breaks_off_after(1))
        for work in (
            lambda: second.import_events(other_file),
            lambda: second.restore(tmp_path / "backup"),
        ):
            with pytest.raises(ImportUnfinished):
                await work()
        await second.import_events(file)
        assert await check_sound(second) == await whole_log(registry)


@pytest.mark.slow
async def test_what_verify_finds_is_not_recorded_into_a_log_that_is_not_whole(
    registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    await fill(registry)
    log, target = await whole_log(registry), tmp_path / "backup"
    await registry.backup(target)
    into = settings_in(tmp_path / "second")
    async with open_registry(into) as second:
        with pytest.raises(BrokenOff):
            await second.restore(target, progress=breaks_off_after(3))
        there = await whole_log(second)
        for digest in objects_in(into.storage_local_root):
            overwrite(object_in(into.storage_local_root, f"blake3:{digest}"), b"?")
        with pytest.raises(ImportUnfinished):
            await second.verify()
        assert await whole_log(second) == there
        await second.restore(target)
        restored = await check_sound(second)
        assert restored[: len(log)] == log
        # What it found damaged is at a key of its own now.
        assert {stored.event.type for stored in restored[len(log) :]} == {"v1.objects.stored", "v1.objects.retired"}
        assert (await second.verify()).sound
    assert settings.storage_local_root != into.storage_local_root


async def test_a_restore_that_only_puts_objects_back_keeps_nobody_out(registry: Registry, tmp_path: Path) -> None:
    """The store has continued from its backup: no event is missing, so none is waited for."""
    await fill(registry)
    target = tmp_path / "backup"
    await registry.backup(target)
    await registry.create_package("later")
    told: list[TransferProgress] = []
    await registry.restore(target, progress=told.append)
    assert told
    assert (await registry.health(max_age_s=0)).healthy
    await registry.create_package("meanwhile")


@pytest.mark.slow
async def test_an_interrupted_import_can_be_carried_to_a_new_database(
    registry: Registry, tmp_path: Path, into: Settings
) -> None:
    """Its file is lost: what is there is a log that is whole up to its head, and can be exported."""
    await fill(registry)
    file, part = tmp_path / "log", tmp_path / "part"
    await registry.export_events(file)
    async with open_registry(into) as second:
        with pytest.raises(BrokenOff):
            await second.import_events(file, progress=breaks_off_after(1))
        there = await whole_log(second)
        await second.export_events(part)
    async with open_registry(settings_in(tmp_path / "third")) as third:
        await third.import_events(part)
        await third.create_package("mine")
        assert (await whole_log(third))[:-1] == there
