"""Backups: log and objects together, only what is new, every byte checked; restored, resumed, repaired, or refused."""

import errno
import os
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
import trio
from msgspec.structs import replace

from artifactstore import Registry, Settings, open_registry, saving
from artifactstore.backends import small_file
from artifactstore.database.location import DatabaseLocation
from artifactstore.errors import BackupRefused, TargetRefused
from artifactstore.event_writer import EventWriter
from artifactstore.storage import StorageActor
from artifactstore.supervision import ActorCrashed
from artifactstore.target_limits import TargetLimits
from artifactstore.transfer import backup, log_files, restore
from artifactstore.transfer.check import check_backup
from artifactstore.transfer.directory import BackupDirectory
from artifactstore.transfer.restore import flaw_of
from artifactstore_protocols.dataplane import SourceUnreadable
from artifactstore_protocols.event_types import ObjectsStored
from artifactstore_protocols.events import PayloadDiffers, StoredEvent
from artifactstore_protocols.log_file import LogDiffers, LogFileInvalid, LogFileReader
from artifactstore_protocols.messages import ImportEvents
from artifactstore_protocols.records import TransferProgress
from artifactstore_protocols.storage import StorageError, StorageFailed, StorageFull
from integration.registry.samples import (
    CHUNK,
    add,
    by_hand,
    check_sound,
    content_of,
    crash,
    object_file,
    objects,
    settings_in,
    whole_log,
)
from odd_mount import OddMount
from postgres_server import PostgresServer
from stored_objects import Row, object_in, objects_in, overwrite

LARGE = b"long " * (CHUNK // 5 + 1)


async def fill(registry: Registry, *, name: str = "p") -> str:
    """A finalized package of five files and four contents, one of them too large to be held at once."""
    package = (await registry.create_package(name, idempotency_key=f"create {name}")).package_id
    for path, content in {"a": b"a", "b": b"bb", "empty": b"", "also a": b"a", "large": LARGE}.items():
        await add(registry, package, path, content + (name.encode() if path == "b" else b""))
    await registry.finalize_package(package)
    return package


@asynccontextmanager
async def another(directory: Path) -> AsyncGenerator[Registry]:
    async with open_registry(settings_in(directory)) as registry:
        yield registry


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Settings]:
    """The store that is backed up: on SQLite, with small objects as rows, unless a test asks for all of `STORES`."""
    on_sqlite = settings_in(tmp_path / "store")
    store = getattr(request, "param", "from sqlite")
    if store == "from files":
        yield replace(on_sqlite, storage_small_max=0)
        return
    if store == "from sqlite":
        yield on_sqlite
        return
    server = cast("PostgresServer", request.getfixturevalue("postgres_server"))
    with server.fresh_database() as url:
        yield replace(on_sqlite, database_url=url)


STORES = ["from sqlite", "from postgresql", "from files"]
on_every_store = pytest.mark.parametrize("settings", STORES, indirect=True)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where the backup goes."""
    return tmp_path / "below" / "backup"


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log file for every three events, read a piece at a time, so that little takes many steps."""
    monkeypatch.setattr(log_files, "_PIECE_BYTES", 1500)
    monkeypatch.setattr(log_files, "_EVENTS", 2)
    monkeypatch.setattr(backup, "_FILE_EVENTS_MAX", 3)
    monkeypatch.setattr(restore, "_BATCH_FILES", 1)


def log_names(target: Path) -> list[str]:
    return sorted(path.name for path in (target / "log").iterdir())


def copied(target: Path) -> dict[str, bytes]:
    """The objects of a backup, by the hex of their digests."""
    return objects_in(target / "objects")


def current(objects: dict[str, bytes]) -> dict[str, bytes]:
    """Objects by the hex of their digests, each of its latest generation."""
    return {name.partition(".g")[0]: objects[name] for name in sorted(objects)}


def copy_of(target: Path, content_address: str) -> Path | Row:
    return object_in(target / "objects", content_address)


def inodes(target: Path) -> dict[str, int]:
    """The files of a backup as they are; none is written into, so one that was written anew is another one."""
    found = {str(path.relative_to(target)): path.stat().st_ino for path in target.rglob("*") if path.is_file()}
    return {name: inode for name, inode in found.items() if not name.startswith("objects/tmp/")}


def log_in(target: Path) -> list[StoredEvent]:
    """What the files of a backup say, read one after the other."""
    log: list[StoredEvent] = []
    for name in log_names(target):
        reader = LogFileReader(name)
        log += reader.feed((target / "log" / name).read_bytes())
        reader.finish()
    return log


def named_in(log: Sequence[StoredEvent]) -> set[str]:
    payloads = [stored.decode() for stored in log]
    return {
        f"{payload.digest_algorithm}:{stored.digest.hex()}"
        for payload in payloads
        if isinstance(payload, ObjectsStored)
        for stored in payload.objects
    }


@pytest.mark.slow
@on_every_store
async def test_a_backup_brings_back_log_and_objects_on_either_database(
    registry: Registry, settings: Settings, target: Path, tmp_path: Path, location: DatabaseLocation
) -> None:
    package = await fill(registry)
    progress: list[TransferProgress] = []
    report = await registry.backup(target, progress=progress.append)
    log, stored = await whole_log(registry), objects(settings)
    assert (report.events, report.new_events, report.objects, report.new_objects) == (12, 12, 4, 4)
    assert report.new_bytes == sum(map(len, stored.values()))
    assert not report.flaws.any
    assert progress[-1] == TransferProgress(12, 12, report.new_bytes, report.new_bytes)
    assert log_names(target) == ["000000000001-000000000012.cborseq"]
    assert log_in(target) == log
    assert copied(target) == stored

    url = location.url.render_as_string(hide_password=False)
    restored = Settings(url, tmp_path / "restored" / "objects")
    async with open_registry(restored) as second:
        progress.clear()
        back = await second.restore(target, progress=progress.append)
        assert (back.events, back.written, back.sequence, back.new_objects) == (12, 12, 12, 4)
        assert (back.new_bytes, back.digest) == (report.new_bytes, report.digest)
        assert not back.flaws.any
        assert (progress[-1].events, progress[-1].bytes) == (progress[-1].events_total, progress[-1].bytes_total)
        assert await check_sound(second) == log
        assert objects(restored) == stored
        assert await content_of(second, package, "large") == LARGE
        digest = (await registry.replay(check=True)).projection_digest
        assert (await second.replay(check=True)).projection_digest == digest
        assert (await second.create_package("p", idempotency_key="create p")).package_id == package
        again = await second.restore(target)
        assert (again.written, again.new_objects, again.sequence) == (0, 0, 12)
        assert (await second.verify()).sound


@pytest.mark.slow
async def test_a_second_backup_copies_only_what_is_new(registry: Registry, target: Path) -> None:
    await fill(registry)
    first = await registry.backup(target)
    before = inodes(target)
    idle = await registry.backup(target)
    assert (idle.events, idle.new_events, idle.new_objects, idle.digest) == (12, 0, 0, first.digest)
    assert inodes(target) == before
    await fill(registry, name="q")
    second = await registry.backup(target)
    assert (second.events, second.new_events, second.objects, second.new_objects) == (20, 8, 5, 1)
    assert second.new_bytes == len(b"bbq")
    assert second.digest != first.digest
    after = inodes(target)
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1, "a log file, and a row more"
    assert log_names(target) == ["000000000001-000000000012.cborseq", "000000000013-000000000020.cborseq"]
    assert log_in(target) == await whole_log(registry)


@pytest.mark.slow
async def test_an_empty_store_can_be_backed_up_and_restored(registry: Registry, target: Path, tmp_path: Path) -> None:
    report = await registry.backup(target)
    assert (report.events, report.objects) == (0, 0)
    async with another(tmp_path / "second") as second:
        assert (await second.restore(target)).events == 0
    check = await check_backup(target)
    assert (check.events, check.objects, check.digest, check.flaws.any) == (0, 0, report.digest, False)
    again = await registry.backup(target)
    assert (again.events, again.digest) == (0, report.digest)
    await fill(registry)
    assert (await registry.backup(target)).new_events == 12
    assert (await check_backup(target)).events == 12
    assert log_names(target) == ["000000000001-000000000000.cborseq", "000000000001-000000000012.cborseq"]
    async with another(tmp_path / "third") as third:
        assert (await third.restore(target)).written == 12


@pytest.mark.slow
async def test_a_backup_that_broke_off_at_once_is_no_backup(registry: Registry, target: Path, tmp_path: Path) -> None:
    await fill(registry)
    with pytest.raises(Enough):
        await registry.backup(target, progress=stop_after(1))
    assert copied(target), "it has begun"
    assert log_names(target) == []
    async with another(tmp_path / "second") as second:
        for work in (check_backup, second.restore):
            with pytest.raises(BackupRefused, match="it has no log: the first backup into it broke off"):
                await work(target)
        assert await whole_log(second) == []
    assert (await registry.backup(target)).events == 12
    assert (await check_backup(target)).events == 12


@pytest.mark.slow
@on_every_store
@pytest.mark.usefixtures("small_steps")
async def test_a_backup_of_a_store_in_use_is_of_one_moment(registry: Registry, target: Path, tmp_path: Path) -> None:
    await fill(registry)
    async with trio.open_nursery() as nursery:

        async def write() -> None:
            for number in range(10_000):
                await fill(registry, name=str(number))

        nursery.start_soon(write)
        first = await registry.backup(target)
        second = await registry.backup(target)
        nursery.cancel_scope.cancel()
    assert second.events > first.events >= 7
    log = (await whole_log(registry))[: second.events]
    assert log_in(target) == log
    assert {address.removeprefix("blake3:") for address in named_in(log)} <= set(copied(target))
    async with another(tmp_path / "second") as restored:
        assert not (await restored.restore(target)).flaws.any
        assert await check_sound(restored) == log


@pytest.mark.slow
@on_every_store
async def test_objects_that_are_not_whole_are_named_and_the_rest_is_kept(
    registry: Registry, settings: Settings, target: Path, tmp_path: Path
) -> None:
    package = await fill(registry)
    await add(registry, (await registry.create_package("q")).package_id, "whole", b"sound")
    records = {file.path: file for file in await registry.list_files(package)}
    overwrite(object_file(settings, records["b"].content_address), b"xxp")
    overwrite(object_file(settings, records["large"].content_address), LARGE[:-1])
    overwrite(object_file(settings, records["empty"].content_address), LARGE)  # far more than it should be
    object_file(settings, records["a"].content_address).unlink()
    report = await registry.backup(target)
    flaws = report.flaws
    assert (flaws.damaged_objects, flaws.missing_objects, report.events, report.new_objects) == (3, 1, 15, 1)
    assert {flaw.content_address for flaw in flaws.damaged} == {
        records[path].content_address for path in ("b", "large", "empty")
    }
    assert [flaw.files for flaw in flaws.missing] == [(f"{package}/a", f"{package}/also a")]
    assert list(copied(target).values()) == [b"sound"]

    async with another(tmp_path / "second") as second:
        back = await second.restore(target)
        assert (back.written, back.new_objects, back.flaws.missing_objects) == (15, 1, 4)
        assert len(await check_sound(second)) == 15
        # Repaired here, and then in the backup, and there.
        for path, content in {"a": b"a", "b": b"bbp", "large": LARGE, "empty": b""}.items():
            object_file(settings, records[path].content_address).unlink(missing_ok=True)
            await add(registry, (await registry.create_package(path)).package_id, path, content)
        report = await registry.backup(target)
        assert (report.flaws.any, report.new_objects) == (False, 4)
        back = await second.restore(target)
        assert (back.flaws.any, back.new_objects) == (False, 4)
        assert (await second.verify()).sound


@pytest.mark.slow
async def test_the_backup_of_another_store_is_left_alone(registry: Registry, target: Path, tmp_path: Path) -> None:
    await fill(registry)
    await registry.backup(target)
    before = inodes(target)
    async with another(tmp_path / "second") as second:
        with pytest.raises(BackupRefused, match="it holds 12 events, and this log ends at 0"):
            await second.backup(target)
        await second.restore(target)
        await registry.create_package("here")
        await registry.backup(target)
        await second.create_package("there")
        before = inodes(target)
        with pytest.raises(LogDiffers) as differs:
            await second.backup(target)
        assert (differs.value.source, differs.value.sequence) == (str(target), 13)
        mine = await whole_log(second)
        with pytest.raises(LogDiffers) as differs:
            await second.restore(target)
        assert differs.value.sequence == 13
        assert await whole_log(second) == mine
        for number in range(8):
            await second.create_package(str(number))
        with pytest.raises(LogDiffers) as differs:
            await second.backup(target)
        assert differs.value.sequence == 13
    assert inodes(target) == before


async def test_what_is_no_backup_is_refused(registry: Registry, tmp_path: Path) -> None:
    await fill(registry)
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    with pytest.raises(BackupRefused, match="it holds something else"):
        await registry.backup(full)
    assert [path.name for path in full.iterdir()] == ["file"]
    for work in (registry.backup, registry.restore, check_backup):
        with pytest.raises(BackupRefused, match=r"Not a directory|is no directory"):
            await work(full / "file")
    for work in (registry.restore, check_backup):
        with pytest.raises(BackupRefused, match="there is no artifactstore-backup in it"):
            await work(full)
        with pytest.raises(BackupRefused, match="there is no artifactstore-backup in it"):
            await work(tmp_path / "nowhere")
    later = tmp_path / "later"
    await registry.backup(later)
    (later / "artifactstore-backup").write_bytes(b"artifactstore backup, format 2\n")
    for work in (registry.backup, registry.restore, check_backup):
        with pytest.raises(BackupRefused, match="it is of another format"):
            await work(later)


async def test_every_new_directory_of_a_backup_is_made_durable_and_no_other_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    sync = os.fsync

    def noted(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)
        sync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    target = tmp_path / "a" / "b" / "backup"
    async with BackupDirectory.to_write(target):
        above = [target, *target.parents[:3]]
        assert above[-1] == tmp_path
        assert {path.stat().st_ino for path in above} <= set(synced)
    synced.clear()
    async with BackupDirectory.to_write(target):
        assert set(synced) == {target.stat().st_ino}, "a user who may not read the parents can still write to it"


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
async def test_a_file_system_without_modes_locks_and_directory_syncs_takes_backups_and_logs(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As vfat, CIFS, Lustre and FUSE, which answer differently; the report says what they could not do."""
    limits = ("directory_sync", "locks", "modes")
    await fill(registry)
    mount = OddMount(tmp_path / "mount", monkeypatch)
    mount.failing = {"fchmod": errno.EPERM, "fsync": number, "flock": errno.ENOLCK}
    target = tmp_path / "mount" / "backup"
    report = await registry.backup(target)
    assert (report.new_objects, report.limits) == (4, limits)
    await add(registry, (await registry.create_package("q")).package_id, "more", b"more")
    report = await registry.backup(target)
    assert (report.new_objects, report.limits) == (1, limits)
    assert not (await check_backup(target)).flaws.any
    assert (await registry.export_events(tmp_path / "mount" / "log")).limits == ("directory_sync",)
    async with another(tmp_path / "back") as back:
        assert (await back.restore(target)).new_objects == 5
        assert await check_sound(back) == await whole_log(registry)


async def test_a_store_is_not_put_where_nothing_can_be_made_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with another(tmp_path / "store") as store:
        OddMount(tmp_path / "store", monkeypatch).failing["fsync"] = errno.EINVAL
        with pytest.raises(StorageFailed, match="the system does not accept the request") as failed:
            await fill(store)
        assert (failed.value.cause, failed.value.operation) == ("EINVAL", "storing objects")


async def test_the_root_of_an_empty_disk_is_an_empty_directory(registry: Registry, target: Path) -> None:
    (target / "lost+found").mkdir(parents=True)
    await fill(registry)
    assert (await registry.backup(target)).events == 12
    assert not (await check_backup(target)).flaws.any


async def test_one_backup_at_a_time_goes_into_a_directory(registry: Registry, target: Path) -> None:
    async with BackupDirectory.to_write(target):
        with pytest.raises(BackupRefused, match="another backup into it is under way"):
            await registry.backup(target)
    assert (await registry.backup(target)).events == 0


@pytest.mark.slow
@pytest.mark.usefixtures("small_steps")
async def test_two_restores_at_once_write_each_event_once(registry: Registry, target: Path, tmp_path: Path) -> None:
    await fill(registry)
    await registry.backup(target)
    written: list[int] = []
    async with another(tmp_path / "second") as one, another(tmp_path / "second") as two:

        async def take(into: Registry) -> None:
            written.append((await into.restore(target)).written)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, one)
            nursery.start_soon(take, two)
        assert sum(written) == 12
        assert await check_sound(two) == await whole_log(registry)
        assert (await one.verify()).sound


@pytest.mark.slow
@pytest.mark.parametrize("where", ["backed up", "read"])
async def test_objects_are_files_where_no_rows_can_be_and_both_are_read(
    registry: Registry, settings: Settings, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A network file system takes no file of rows; a copy of one is read there."""

    def on_nfs(directory: str) -> str | None:
        return "NFS" if Path(directory).is_relative_to(target) else None

    await fill(registry)
    with monkeypatch.context() as patch:
        if where == "backed up":
            patch.setattr(small_file, "network_filesystem", on_nfs)
        assert (await registry.backup(target)).new_objects == 4
    assert (target / "objects" / "small" / "objects.db").exists() == (where == "read")
    assert len(list((target / "objects").glob("blake3/??/??/*"))) == (1 if where == "read" else 4)
    if where == "read":
        monkeypatch.setattr(small_file, "network_filesystem", on_nfs)
    before = everything_in(target)
    check = await check_backup(target)
    assert (check.objects, check.flaws.any) == (4, False)
    async with another(tmp_path / "second") as second:
        assert (await second.restore(target)).new_objects == 4
        assert (await second.verify()).sound
    assert everything_in(target) == before
    monkeypatch.undo()
    assert (await registry.backup(target)).new_objects == 0
    assert copied(target) == objects(settings)


async def test_a_check_changes_nothing(registry: Registry, target: Path) -> None:
    await fill(registry)
    await registry.backup(target)
    (target / "objects" / "tmp" / f"{'0' * 16}.{'1' * 16}").write_bytes(b"of a backup that was killed")
    before = everything_in(target)
    assert not (await check_backup(target)).flaws.any
    assert everything_in(target) == before
    (target / "objects").rename(target.parent / "elsewhere")
    before = everything_in(target)
    assert (await check_backup(target)).flaws.missing_objects == 4
    assert everything_in(target) == before


def everything_in(target: Path) -> dict[str, tuple[int, int, int]]:
    """Every name, with what tells a file that was written anew and a directory in which a name was made or removed."""
    found = {str(path): path.stat() for path in (target, *target.rglob("*"))}
    return {name: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in found.items()}


class Enough(Exception):
    """What interrupts."""


def stop_after(steps: int) -> Callable[[TransferProgress], None]:
    left = [steps]

    def tell(_told: TransferProgress) -> None:
        left[0] -= 1
        if not left[0]:
            raise Enough

    return tell


@on_every_store
@pytest.mark.slow
@pytest.mark.usefixtures("small_steps")
async def test_wherever_it_is_interrupted_both_ways_go_on(
    registry: Registry, settings: Settings, target: Path, tmp_path: Path
) -> None:
    await fill(registry)
    await fill(registry, name="q")
    log, stored = await whole_log(registry), objects(settings)
    step = 0
    for step in range(1, 100):
        try:
            await registry.backup(target, progress=stop_after(step))
            break
        except Enough:
            # What is there of the log is whole, and so is what it names.
            part = log_in(target)
            assert part == log[: len(part)]
            assert {address.removeprefix("blake3:") for address in named_in(part)} <= set(copied(target))
            assert copied(target).items() <= stored.items()
    assert step > 3
    assert (log_in(target), copied(target)) == (log, stored)
    assert len(log_names(target)) == 7

    back = settings_in(tmp_path / "second")
    async with open_registry(back) as second:
        step = 0
        for step in range(1, 100):
            try:
                await second.restore(target, progress=stop_after(step))
                break
            except Enough:
                part = await check_sound(second)
                assert part == log[: len(part)]
                assert {address.removeprefix("blake3:") for address in named_in(part)} <= set(objects(back))
        assert step > 3
        assert await check_sound(second) == log
        assert objects(back) == stored


@pytest.mark.slow
@pytest.mark.usefixtures("small_steps")
async def test_a_crash_of_an_actor_ends_the_call_and_the_next_one_continues(
    registry: Registry, settings: Settings, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(registry)
    crash(monkeypatch, StorageActor, "serve_object")
    with pytest.raises(ActorCrashed):
        await registry.backup(target)
    assert log_names(target) == []
    (target / "log" / ".left-over.partial").write_bytes(b"of somebody who was killed")
    await registry.backup(target)
    log = await whole_log(registry)
    assert log_in(target) == log
    back = settings_in(tmp_path / "second")
    async with open_registry(back) as second:

        async def holds_no_event_whose_objects_are_not_there() -> None:
            part = await check_sound(second)
            assert part == log[: len(part)]
            assert not named_in(part)

        for actor, handler in ((EventWriter, "import_events"), (StorageActor, "store_files")):
            crash(monkeypatch, actor, handler)  # as it begins, and as it brings the first objects
            with pytest.raises(ActorCrashed):
                await second.restore(target)
            await holds_no_event_whose_objects_are_not_there()
        import_events = EventWriter.import_events

        async def crash_at_events(writer: EventWriter, message: ImportEvents) -> int:
            if not message.events:
                return await import_events(writer, message)
            monkeypatch.setattr(EventWriter, "import_events", import_events)
            raise RuntimeError("as it brings the first events")

        monkeypatch.setattr(EventWriter, "import_events", crash_at_events)
        with pytest.raises(ActorCrashed):
            await second.restore(target)
        assert objects(back) != {}
        await holds_no_event_whose_objects_are_not_there()
        await second.restore(target)
        assert await check_sound(second) == log
        assert objects(back) == objects(settings)


@pytest.mark.slow
@pytest.mark.usefixtures("small_steps")
async def test_a_damaged_log_of_a_backup_is_refused_with_nothing_written(
    registry: Registry, settings: Settings, target: Path, tmp_path: Path
) -> None:
    await fill(registry)
    await registry.backup(target)
    files = [target / "log" / name for name in log_names(target)]
    assert len(files) == 4
    back = settings_in(tmp_path / "second")
    async with open_registry(back) as second:
        for file in files:
            whole = whole_file(file)
            for at in (3, len(whole) // 2, len(whole) - 3):
                put(file, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
                await refused(second, target, file)
            put(file, whole[:-1])
            await refused(second, target, file)
            put(file, whole)
        first, second_file = whole_file(files[0]), whole_file(files[1])
        put(files[1], first)
        with pytest.raises(LogFileInvalid, match="it holds the events after 0 up to 3"):
            await second.restore(target)
        put(files[1], second_file)
        hidden = files[1].rename(target / "hidden")
        with pytest.raises(LogFileInvalid, match="the files before it end at 3"):
            await second.restore(target)
        hidden.rename(files[1])
        assert await whole_log(second) == []
        assert objects(back) == {}
        put(files[3], whole_file(files[3])[:-1])
        with pytest.raises(LogFileInvalid):
            await registry.backup(target)
        files[3].unlink()
        assert (await registry.backup(target)).new_events == 3
        assert (await second.restore(target)).written == 12


@pytest.mark.slow
@pytest.mark.usefixtures("small_steps")
async def test_a_payload_that_its_record_does_not_name_is_refused_by_restore_and_check(
    registry: Registry, target: Path, tmp_path: Path
) -> None:
    await fill(registry)
    await registry.backup(target)
    last = target / "log" / log_names(target)[-1]
    whole = whole_file(last)
    at = whole.rindex(b"artifactstore")  # in the manifest of the package that was finalized
    put(last, whole[:at] + b"A" + whole[at + 1 :])
    async with another(tmp_path / "second") as second:
        for work in (second.restore, check_backup, registry.backup):
            with pytest.raises(PayloadDiffers) as error:
                await work(target)
            assert (error.value.code, error.value.source) == ("payload-differs", f"log file {last}")
        assert await whole_log(second) == []


def whole_file(file: Path) -> bytes:
    return file.read_bytes()


def put(file: Path, payload: bytes) -> None:
    file.write_bytes(payload)


async def refused(registry: Registry, target: Path, file: Path) -> None:
    for work in (registry.restore, check_backup):
        with pytest.raises((LogFileInvalid, PayloadDiffers), match=file.name):
            await work(target)


@pytest.mark.slow
@pytest.mark.usefixtures("small_steps")
async def test_a_log_that_changes_after_it_was_found_whole_is_refused(
    registry: Registry, target: Path, tmp_path: Path
) -> None:
    await fill(registry)
    await registry.backup(target)
    last = target / "log" / log_names(target)[-1]

    def change(_told: TransferProgress) -> None:
        put(last, whole_file(last))
        os.utime(last, ns=(1, 1))

    async with another(tmp_path / "second") as second:
        with pytest.raises(LogFileInvalid, match="it changed while it was read"):
            await second.restore(target, progress=change)
        assert len(await check_sound(second)) == 9


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, len(LARGE) // 2, len(LARGE) - 1])
async def test_a_backup_repairs_what_is_damaged_in_it_at_equal_length(
    registry: Registry, settings: Settings, target: Path, at: int
) -> None:
    package = await fill(registry)
    await registry.backup(target)
    files = {file.path: file.content_address for file in await registry.list_files(package)}
    overwrite(copy_of(target, files["large"]), LARGE[:at] + b"?" + LARGE[at + 1 :])
    overwrite(copy_of(target, files["a"]), b"?")
    report = await registry.backup(target)
    assert (report.new_objects, report.flaws.any) == (2, False)
    assert copied(target) == objects(settings)
    assert (await registry.backup(target)).new_objects == 0


@pytest.mark.slow
@on_every_store
async def test_a_restore_repairs_what_is_damaged_in_the_store_at_equal_length(
    registry: Registry, settings: Settings, target: Path
) -> None:
    package = await fill(registry)
    await registry.backup(target)
    files = {file.path: file.content_address for file in await registry.list_files(package)}
    overwrite(object_file(settings, files["large"]), LARGE[:100] + b"?" + LARGE[101:])
    overwrite(object_file(settings, files["a"]), b"?")
    report = await registry.restore(target)
    assert (report.new_objects, report.flaws.any) == (2, False)
    assert current(objects(settings)) == copied(target)
    assert [stored.event.type for stored in await whole_log(registry)][-2:] == [
        "v1.objects.stored",
        "v1.objects.retired",
    ]
    assert (await registry.verify()).sound
    assert not (await check_backup(target)).flaws.any
    assert (await registry.restore(target)).new_objects == 0


@pytest.mark.slow
@on_every_store
async def test_damaged_and_missing_objects_of_a_backup_are_named_and_never_stored(
    registry: Registry, settings: Settings, target: Path, tmp_path: Path
) -> None:
    package = await fill(registry)
    await registry.backup(target)
    files = {file.path: file.content_address for file in await registry.list_files(package)}
    sound = await check_backup(target)
    assert (sound.events, sound.objects, sound.flaws.any) == (12, 4, False)
    assert sound.bytes == sum(map(len, objects(settings).values()))
    overwrite(copy_of(target, files["large"]), LARGE[:-1] + b"?")
    overwrite(copy_of(target, files["b"]), b"bb?")
    copy_of(target, files["a"]).unlink()
    told: list[TransferProgress] = []
    check = await check_backup(target, told.append)
    assert {flaw.content_address for flaw in check.flaws.damaged} == {files["large"], files["b"]}
    assert [(flaw.content_address, flaw.files) for flaw in check.flaws.missing] == [(files["a"], (f"{package}/a",))]
    assert (told[-1].events, told[-1].bytes) == (told[-1].events_total, told[-1].bytes_total)
    back = settings_in(tmp_path / "second")
    async with open_registry(back) as second:
        report = await second.restore(target)
        assert (report.written, report.new_objects) == (12, 1)
        assert report.flaws == check.flaws
        assert list(objects(back).values()) == [b""]
        assert len(await check_sound(second)) == 12
        copy_of(target, files["large"]).unlink()
        copy_of(target, files["b"]).unlink()
        assert (await registry.backup(target)).new_objects == 3
        assert (await second.restore(target)).new_objects == 3
        assert objects(back) == objects(settings)


@pytest.mark.slow
@on_every_store
async def test_a_store_that_has_gone_on_gets_back_the_objects_that_it_lost(
    registry: Registry, settings: Settings, target: Path
) -> None:
    package = await fill(registry)
    await registry.backup(target)
    stored = objects(settings)
    files = {file.path: object_file(settings, file.content_address) for file in await registry.list_files(package)}
    await registry.create_package("later")
    files["a"].unlink()
    overwrite(files["large"], LARGE[:-1])
    overwrite(files["b"], b"xxp")  # of the right size: only a verification finds it
    assert not (await registry.verify()).sound
    report = await registry.restore(target)
    assert (report.written, report.new_objects, report.flaws.any) == (0, 3, False)
    assert report.sequence > report.events == 12
    assert current(objects(settings)) == stored
    assert (await registry.verify()).sound


@pytest.mark.slow
async def test_a_store_that_cannot_take_the_objects_keeps_its_log_as_it_was(
    registry: Registry, target: Path, tmp_path: Path
) -> None:
    await fill(registry)
    await registry.backup(target)
    back = settings_in(tmp_path / "second")
    async with open_registry(back) as second:
        (back.storage_local_root / "blake3").write_bytes(b"in the way")
        with pytest.raises(StorageError):
            await second.restore(target)
        assert await whole_log(second) == []
        (back.storage_local_root / "blake3").unlink()
        assert (await second.restore(target)).sequence == 12


@pytest.mark.slow
async def test_a_directory_that_takes_no_more_says_so_and_is_gone_on_with_later(
    registry: Registry, settings: Settings, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(registry)
    await registry.backup(target / "first")  # which makes that directory
    (target / "first" / "objects" / "blake3").rename(target / "aside")
    in_the_way = target / "first" / "objects" / "blake3"
    in_the_way.write_bytes(b"in the way")
    with pytest.raises(StorageError, match="backend 'backup' failed"):
        await registry.backup(target / "first")
    in_the_way.unlink()
    assert (await registry.backup(target / "first")).new_objects == 1

    def full(_fd: int, _limits: TargetLimits) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(saving, "sync_file", full)
        with pytest.raises(TargetRefused, match="No space left on device"):
            await registry.backup(target / "second")
    assert log_names(target / "second") == []
    assert copied(target / "second") == objects(settings)
    report = await registry.backup(target / "second")
    assert (report.new_events, report.new_objects) == (12, 0)


async def test_a_backup_notices_what_only_the_log_knows(registry: Registry, settings: Settings, target: Path) -> None:
    """Tables that were damaged by hand lose nothing of a backup: the events name the objects."""
    await fill(registry)
    by_hand(settings, "DELETE FROM storage_locations")
    report = await registry.backup(target)
    assert (report.objects, report.new_objects) == (0, 4)
    assert copied(target) == objects(settings)


def test_only_what_is_wrong_with_an_object_counts_against_it() -> None:
    assert flaw_of(SourceUnreadable("x", "ENOENT")) == "missing"
    assert flaw_of(SourceUnreadable("x", "EIO")) == "damaged"
    assert flaw_of(SourceUnreadable("x", "EACCES")) is None
    assert flaw_of(StorageFull("local", "writing", "ENOSPC")) is None
