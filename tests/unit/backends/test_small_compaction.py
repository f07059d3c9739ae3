"""Compaction of the file of small objects: how small it gets, and what others may do meanwhile."""

import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.backends import small_compaction, small_file
from artifactstore.backends.small import SmallBackend
from artifactstore.backends.small_file import file_below
from artifactstore.testing.backend_conformance import key_of, keys_in, put, put_of, read


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SmallBackend]:
    opened = SmallBackend(tmp_path)
    yield opened
    opened.close()


def contents_of(count: int, seed: int = 1) -> list[bytes]:
    chance = random.Random(seed)  # noqa: S311 - test data
    return [chance.randbytes(chance.randint(100, 1100)) for _ in range(count)]


def put_all(backend: SmallBackend, contents: list[bytes]) -> None:
    assert {*backend.put_many(map(put_of, contents))} <= {"stored", "deduplicated"}


def taken(root: Path) -> int:
    """The bytes of the file, its log and its index."""
    return sum(path.stat().st_size for path in file_below(root).parent.iterdir() if path.suffix != ".db-shm")


def test_a_file_falls_to_the_size_that_a_new_file_has(backend: SmallBackend, tmp_path: Path) -> None:
    contents = contents_of(900)
    put_all(backend, contents)
    backend.delete_many(list(map(key_of, contents[::2])))
    before = taken(tmp_path)
    freed = backend.compact(lambda: None).freed_bytes
    (tmp_path / "other").mkdir()
    other = SmallBackend(tmp_path / "other")
    put_all(other, contents[1::2])
    other.close()
    size = file_below(tmp_path).stat().st_size
    assert size < 1.1 * file_below(tmp_path / "other").stat().st_size
    assert before - freed == size, "the log is empty"
    assert [read(backend, key_of(content)) for content in contents[1::2]] == contents[1::2]
    with sqlite3.connect(file_below(tmp_path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert backend.compact(lambda: None).freed_bytes == 0, "a compacted file is not compacted again"


@pytest.mark.parametrize(("size", "cost"), [(100, 300), (2700, 720), (4600, 690), (65_536, 1400)])
def test_objects_of_one_size_cost_at_most_what_the_manual_says(
    backend: SmallBackend, tmp_path: Path, size: int, cost: int
) -> None:
    """These are the worst sizes of their kinds: see ADR 0024."""
    chance = random.Random(size)  # noqa: S311 - test data
    put_all(backend, [chance.randbytes(size) for _ in range(200)])
    backend.compact(lambda: None)
    assert taken(tmp_path) < 200 * (size + cost) + (32 << 10)


def test_deletions_leave_few_free_pages(backend: SmallBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite looks for each page that it cuts off among all free pages: many would take time by their square."""
    monkeypatch.setattr(small_compaction, "_FREE_MAX_PAGES", 50)
    contents = contents_of(600)
    put_all(backend, contents)
    backend.delete_many(list(map(key_of, contents[::2])))
    with sqlite3.connect(file_below(tmp_path)) as connection:
        assert connection.execute("PRAGMA freelist_count").fetchone() == (50,)
    connection.close()
    assert [read(backend, key_of(content)) for content in contents[1::2]] == contents[1::2]


def test_nothing_is_left_of_a_file_whose_objects_are_all_deleted(backend: SmallBackend, tmp_path: Path) -> None:
    contents = contents_of(900)
    put_all(backend, contents)
    backend.delete_many(list(map(key_of, contents)))
    assert backend.compact(lambda: None).freed_bytes > 0
    assert taken(tmp_path) < 100_000


def test_others_put_read_and_delete_between_the_steps(backend: SmallBackend, tmp_path: Path) -> None:
    other = SmallBackend(tmp_path)
    contents, late = contents_of(2000), contents_of(400, seed=2)
    put_all(backend, contents)
    backend.delete_many(list(map(key_of, contents[::2])))
    kept, steps = contents[1::2], 0

    def meddle() -> None:
        nonlocal steps
        if steps < len(late):
            put(other, late[steps])
            other.delete_many([key_of(kept[steps])])
            assert read(other, key_of(kept[-1 - steps])) == kept[-1 - steps]
        steps += 1

    backend.compact(meddle)
    assert steps > 1
    there = {*kept[steps:], *late[:steps]}
    assert sorted(keys_in(backend)) == sorted(map(key_of, there))
    assert all(read(backend, key_of(content)) == content for content in there)
    other.close()


def test_an_abandoned_compaction_leaves_every_object_and_is_continued(backend: SmallBackend, tmp_path: Path) -> None:
    contents = contents_of(2000)
    put_all(backend, contents)
    backend.delete_many(list(map(key_of, contents[::2])))
    steps = 0

    def abandon() -> None:
        nonlocal steps
        steps += 1
        if steps == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        backend.compact(abandon)
    assert [read(backend, key_of(content)) for content in contents[1::2]] == contents[1::2]
    before = taken(tmp_path)
    assert backend.compact(lambda: None).freed_bytes > 0
    assert taken(tmp_path) < before


def test_a_reader_keeps_its_snapshot_and_the_log_until_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(small_file, "_BUSY_TIMEOUT_S", 86_400.0)  # a compaction that waits for the reader hangs
    backend: SmallBackend = request.getfixturevalue("backend")
    contents = contents_of(900)
    put_all(backend, contents)
    with sqlite3.connect(file_below(tmp_path), isolation_level=None) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM objects").fetchone() == (900,)
        backend.delete_many(list(map(key_of, contents[::2])))
        assert not backend.compact(lambda: None).is_whole
        assert reader.execute("SELECT count(*) FROM objects").fetchone() == (900,)
    reader.close()
    freed = backend.compact(lambda: None)
    assert freed.freed_bytes > 0
    assert freed.is_whole
    assert [read(backend, key_of(content)) for content in contents[1::2]] == contents[1::2]


def test_a_root_without_small_objects_has_nothing_to_compact(backend: SmallBackend, tmp_path: Path) -> None:
    assert backend.compact(lambda: None).freed_bytes == 0
    assert list(tmp_path.iterdir()) == []


def test_no_file_has_a_deleted_object_any_more_once_short_readers_have_ended(
    backend: SmallBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = b"password=hunter2 " * 20
    others = [number.to_bytes(len(secret)) for number in range(200)]  # of one size, so that no row is moved
    put_all(backend, [*others[:100], secret, *others[100:]])
    reader = sqlite3.connect(file_below(tmp_path), isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM objects").fetchone() == (201,)
    backend.delete_many([key_of(secret)])
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        reader.close()

    monkeypatch.setattr(time, "sleep", pause)
    backend.compact(lambda: None)
    assert len(pauses) == 1
    assert not [path for path in file_below(tmp_path).parent.iterdir() if secret[:64] in path.read_bytes()]
