"""A files cache gives back what was put into it, and whatever befalls it, is never an error and never a lie."""

import errno
import fcntl
import os
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.ingest.files_cache import FilesCache, worth_keeping
from artifactstore.ingest.scan import STAMP, scan_directory

NAME = "ab" * 32
KEY = "01890a5d-ac96-774b-bcce-b302099a8057"


def stamp(number: int) -> bytes:
    return STAMP.pack(1, number, 3, 2**63, 5)


STAMPS = [stamp(number) for number in range(4)]
DIGEST = bytes(range(32))


def saved(directory: Path) -> Path:
    """A cache with two files and one unfinished ingest. Returns its file."""
    cache = FilesCache.open(directory, NAME)
    cache.put(STAMPS[0], DIGEST, 3)
    cache.put(STAMPS[1], DIGEST[::-1], 3)
    cache.keys["what"] = KEY
    cache.save()
    cache.close()
    (path,) = directory.iterdir()
    return path


def found_in(cache: FilesCache) -> list[bytes | None]:
    return [cache.get(each) for each in STAMPS]


def test_what_was_kept_is_there_for_the_next_one(tmp_path: Path) -> None:
    path = saved(tmp_path / "new")
    assert path.stat().st_mode & 0o077 == 0
    again = FilesCache.open(tmp_path / "new", NAME, STAMPS)
    assert (again.keys, found_in(again)) == ({"what": KEY}, [DIGEST, DIGEST[::-1], None, None])
    again.close()
    again.close()


def test_files_that_are_gone_are_dropped(tmp_path: Path) -> None:
    path = saved(tmp_path)
    size = path.stat().st_size
    again = FilesCache.open(tmp_path, NAME, STAMPS[1:])
    assert found_in(again) == [None, DIGEST[::-1], None, None]
    again.save()
    again.close()
    assert path.stat().st_size == size - STAMP.size - len(DIGEST)


def test_another_directory_has_another_cache(tmp_path: Path) -> None:
    saved(tmp_path)
    other = FilesCache.open(tmp_path, "cd" * 32, STAMPS)
    assert (other.keys, found_in(other)) == ({}, [None] * 4)
    other.close()


def test_a_cache_that_says_nothing_is_no_file(tmp_path: Path) -> None:
    cache = FilesCache.open(tmp_path, NAME)
    cache.save()
    cache.close()
    assert list(tmp_path.iterdir()) == []
    saved(tmp_path)
    cache = FilesCache.open(tmp_path, NAME)
    cache.keys.clear()
    cache.save()
    cache.close()
    assert list(tmp_path.iterdir()) == []


def test_a_second_ingest_at_the_same_time_goes_without(tmp_path: Path) -> None:
    path = saved(tmp_path)
    first = FilesCache.open(tmp_path, NAME, STAMPS)
    for _save in range(2):
        second = FilesCache.open(tmp_path, NAME, STAMPS)
        assert (first.in_use, second.in_use, second.keys, found_in(second)) == (True, False, {}, [None] * 4)
        second.put(STAMPS[2], DIGEST, 3)
        second.save()
        second.close()
        first.save()  # which puts another file there, and that one is locked, too
    first.close()
    assert list(tmp_path.iterdir()) == [path]
    third = FilesCache.open(tmp_path, NAME, STAMPS)
    assert found_in(third) == [DIGEST, DIGEST[::-1], None, None]
    third.close()


def test_a_cache_that_is_replaced_while_another_waits_to_lock_it_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that opened the old file and gets its lock opens the new one instead."""
    saved(tmp_path)
    first = FilesCache.open(tmp_path, NAME, STAMPS)
    flock, swapped = fcntl.flock, list[int]()

    def swap(descriptor: int, operation: int) -> None:
        if not swapped:
            swapped.append(descriptor)
            monkeypatch.setattr(fcntl, "flock", flock)
            first.put(STAMPS[2], DIGEST, 3)
            first.save()
            first.close()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", swap)
    second = FilesCache.open(tmp_path, NAME, STAMPS)
    assert swapped
    assert found_in(second) == [DIGEST, DIGEST[::-1], DIGEST, None]
    second.close()


def test_without_a_directory_there_is_none(tmp_path: Path) -> None:
    cache = FilesCache.open(None, NAME)
    cache.put(STAMPS[0], DIGEST, 1 << 30)
    cache.save()
    cache.close()
    assert (cache.in_use, cache.due, found_in(cache)) == (False, False, [None] * 4)
    assert list(tmp_path.iterdir()) == []


@given(data=st.data())
def test_a_cache_that_is_not_as_it_was_written_is_begun_anew(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("caches")
    path = saved(directory)
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    spoilt = data.draw(st.sampled_from([whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]]))
    path.write_bytes(spoilt)
    cache = FilesCache.open(directory, NAME, STAMPS)
    assert (cache.in_use, cache.keys, found_in(cache)) == (True, {}, [None] * 4)
    cache.put(STAMPS[3], DIGEST, 3)
    cache.save()
    cache.close()
    again = FilesCache.open(directory, NAME, STAMPS)
    assert found_in(again) == [None, None, None, DIGEST]
    again.close()


def test_one_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path)
    monkeypatch.setattr("artifactstore.ingest.files_cache._BYTES_MAX", path.stat().st_size - 1)
    cache = FilesCache.open(tmp_path, NAME, STAMPS)
    assert found_in(cache) == [None] * 4
    cache.close()


def test_only_the_last_unfinished_ingests_are_remembered(tmp_path: Path) -> None:
    cache = FilesCache.open(tmp_path, NAME)
    for number in range(40):
        cache.keys[str(number)] = KEY
    cache.save()
    cache.close()
    again = FilesCache.open(tmp_path, NAME)
    assert list(again.keys) == [str(number) for number in range(24, 40)]
    again.close()


def test_it_is_saved_when_much_was_read_beside_what_it_takes(tmp_path: Path) -> None:
    cache = FilesCache.open(tmp_path, NAME)
    cache.put(STAMPS[0], DIGEST, 16 * 72)
    assert not cache.due
    cache.put(STAMPS[1], DIGEST, 16 * 72 + 1)
    assert cache.due
    cache.save()
    assert not cache.due
    cache.close()


def test_a_full_disk_leaves_the_cache_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path)
    cache = FilesCache.open(tmp_path, NAME, STAMPS)
    cache.put(STAMPS[2], DIGEST, 1 << 30)

    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", full)
        cache.save()
    assert not cache.due, "it is not tried again with every batch"
    cache.close()
    assert path.exists()
    again = FilesCache.open(tmp_path, NAME, STAMPS)
    assert found_in(again) == [DIGEST, DIGEST[::-1], None, None]
    again.save()
    again.close()
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = FilesCache.open(tmp_path / "file" / "below", NAME)
    assert not cache.in_use


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_what_another_user_says_is_not_believed(tmp_path: Path) -> None:
    os.chown(saved(tmp_path), 65534, -1)
    assert not FilesCache.open(tmp_path, NAME, STAMPS).in_use


def test_a_file_takes_few_bytes_of_memory(tmp_path: Path) -> None:
    """What an ingest holds of each file, beside its path, is bounded: 400 bytes of the scan and 300 of the cache."""
    files = 2000
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(files):
        (tree / f"{number}").touch()
    scan_directory(str(tree), files_max=files)  # what is made once is made
    tracemalloc.start()
    try:
        scan = scan_directory(str(tree), files_max=files)
        after_scan, _peak = tracemalloc.get_traced_memory()
        cache = FilesCache.open(tmp_path / "caches", NAME)
        for file in scan.files:
            cache.put(file.stamp, bytes.fromhex(f"{hash(file.path) & 0xFFFF:064x}"), 0)
        after_all, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    cache.close()
    assert after_scan / files < 400
    assert (after_all - after_scan) / files < 300


def test_caches_that_nobody_uses_are_removed(tmp_path: Path) -> None:
    old = saved(tmp_path)
    leftover = tmp_path / "left.new"
    leftover.touch()
    (tmp_path / "another program's").touch()
    unused_since = time.time() - 31 * 24 * 3600
    for path in tmp_path.iterdir():
        os.utime(path, (unused_since, unused_since))
    in_use = os.open(old, os.O_RDWR)
    fcntl.flock(in_use, fcntl.LOCK_EX)
    FilesCache.open(tmp_path, "cd" * 32).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([old.name, "another program's"])
    os.close(in_use)
    FilesCache.open(tmp_path, "cd" * 32).close()
    assert [path.name for path in tmp_path.iterdir()] == ["another program's"]


@given(mtime_ns=st.integers(0, 2**62), ctime_ns=st.integers(0, 2**62), looked_at_us=st.integers(0, 2**52))
def test_a_file_is_kept_only_if_it_had_been_quiet_for_two_seconds(
    mtime_ns: int, ctime_ns: int, looked_at_us: int
) -> None:
    quiet_ns = looked_at_us * 1000 - max(mtime_ns, ctime_ns)
    assert worth_keeping(STAMP.pack(1, 2, 3, mtime_ns, ctime_ns), looked_at_us) == (quiet_ns > 2_000_000_000)
