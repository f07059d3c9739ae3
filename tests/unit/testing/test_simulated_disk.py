"""The simulated disk: to the real backend it is a file system, and what is not synced can be lost."""

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from artifactstore.backends import local_files, scratch
from artifactstore.backends.local import LocalBackend
from artifactstore.testing.scheduling import run_seeded
from simulation.disk import Inode, SimulatedDisk
from simulation.posix import OBJECTS, SCRATCH, SimulatedPosix
from simulation.world import Life, World

SEEDS = range(40)


def file_in(disk: SimulatedDisk, name: str) -> Inode:
    inode = disk.root.entries[name] = disk.make(is_directory=False, mode=0o644)
    return inode


def survivors(*, sync_file: bool, sync_directory: bool) -> Iterator[bytes | None]:
    for seed in SEEDS:
        disk = SimulatedDisk()
        file = file_in(disk, "a")
        file.data += b"content"
        if sync_file:
            file.sync()
        if sync_directory:
            disk.root.sync()
        disk.lose_power(random.Random(seed))  # noqa: S311 - simulated chance
        found = disk.find("a")
        yield None if found is None else bytes(found.data)


def test_a_synced_file_with_a_synced_name_survives() -> None:
    assert set(survivors(sync_file=True, sync_directory=True)) == {b"content"}


def test_a_name_that_was_not_synced_survives_or_not() -> None:
    assert set(survivors(sync_file=True, sync_directory=False)) == {None, b"content"}


def test_content_that_was_not_synced_is_whole_torn_or_gone() -> None:
    found = set(survivors(sync_file=False, sync_directory=True))
    assert {b"", b"content", bytes(7)} <= found
    assert found - {b"", b"content", bytes(7)} <= {b"content"[:size] for size in range(8)}


def test_what_is_lost_is_counted_by_what_became_of_it() -> None:
    counted: Counter[str] = Counter()
    for seed in SEEDS:
        disk = SimulatedDisk()
        file_in(disk, "a").sync()
        disk.root.sync()
        file_in(disk, "b")
        disk.root.entries["a"].data += b"content"
        lost = disk.lose_power(random.Random(seed))  # noqa: S311 - simulated chance
        gone, changed = disk.find("b") is None, bytes(disk.root.entries["a"].data) != b"content"
        assert lost["names"] == gone
        assert lost.total() - lost["names"] >= changed
        counted += lost
    assert counted.keys() == {"names", "contents, as before", "contents, in part", "contents, as zeros"}


def test_the_real_backend_works_on_it_and_touches_no_real_file(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(0, ())
        posix = SimulatedPosix(world)
        with posix.installed():
            backend = LocalBackend(posix.admit(Life(0, 1)))
            backend.put_many([("a/key", b"an object")])
            buffer = bytearray(100)
            with backend.open("a/key") as reader:
                assert buffer[: reader.readinto(buffer)] == b"an object"
            assert [each[:2] for each in backend.list_keys(limit=10)] == [("a/key", 9)]
            assert backend.health().writable
            assert backend.delete_many(["a/key"]) == [True]
            assert backend.stat_many(["a/key"]) == [None]
            backend.close()
            real = LocalBackend(tmp_path / "real")
            real.put_many([("a/key", b"an object")])
            assert real.stat_many(["a/key"]) == [9]
            real.close()
        assert posix.open_files() == 0

    run_seeded(0, main)
    assert not Path("/simulated").exists()
    assert vars(local_files)["os"] is vars(scratch)["os"] is os


def test_a_dead_life_changes_nothing_and_its_lock_is_free() -> None:
    async def main() -> None:
        posix = SimulatedPosix(World(0, ()))
        with posix.installed():
            life = Life(0, 1)
            backend = LocalBackend(posix.admit(life))
            writer = backend.open_writer()
            writer.write(b"half an object")
            life.kill()
            posix.bury(life)
            assert [type(answer).__name__ for answer in _attempt(backend)] == ["StorageFailed"]
            successor = LocalBackend(posix.admit(Life(0, 2)))
            assert list(posix.disk.files(f"{OBJECTS}/{SCRATCH}")) == []
            successor.close()

    run_seeded(0, main)


def _attempt(backend: LocalBackend) -> list[object]:
    try:
        return list(backend.put_many([("a/key", b"too late")]))
    except Exception as error:
        return [error]
