"""What the backend for small objects makes of its file: made whole, shared, guarded, and read as far as it is sound."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from artifactstore.backends import small_file
from artifactstore.backends.small import OBJECT_BYTES_MAX, SmallBackend
from artifactstore.backends.small_file import SmallFile
from artifactstore.database.file_guard import FileGuard
from artifactstore.sqlite_access import Access
from artifactstore.testing.backend_conformance import delete, key_of, keys_in, put, put_of, read, write
from artifactstore_protocols.storage import (
    KeyTaken,
    ObjectDamaged,
    StorageDenied,
    StorageFailed,
    StorageFull,
)

BATCH = 7
SPILLING = [bytes([number]) * 20_000 for number in range(1, 5)]
"""Objects that take pages of their own in the file."""


def always(answer: str) -> Callable[[object], str]:
    def call(_what: object) -> str:
        return answer

    return call


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "small" / "objects.db"


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SmallBackend]:
    backend = SmallBackend(tmp_path)
    yield backend
    backend.close()


def test_nothing_is_made_before_the_first_put(tmp_path: Path, backend: SmallBackend) -> None:
    assert backend.stat_many(["absent"]) == [None]
    assert keys_in(backend) == []
    assert not delete(backend, "absent")
    assert list(tmp_path.iterdir()) == []


def test_the_file_has_the_mode_that_the_umask_leaves(backend: SmallBackend, file: Path) -> None:
    before = os.umask(0o002)
    try:
        put(backend, b"shared by a group")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in file.parent.iterdir()} == {0o664}


def test_a_closed_store_is_one_file_without_a_log(backend: SmallBackend, file: Path) -> None:
    put(backend, b"object")
    backend.close()
    assert list(file.parent.iterdir()) == [file]
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_what_a_process_left_that_died_while_it_made_the_file_is_no_obstacle(backend: SmallBackend, file: Path) -> None:
    file.parent.mkdir()
    file.with_name("objects.new").write_bytes(b"half a file")
    file.with_name("objects.new-wal").write_bytes(b"half a log")
    put(backend, b"object")
    backend.close()
    assert list(file.parent.iterdir()) == [file]


def test_an_object_that_is_too_large_is_refused_alone(backend: SmallBackend) -> None:
    large = bytes(OBJECT_BYTES_MAX + 1)
    refused, neighbour = backend.put_many([put_of(large), put_of(b"neighbour")])
    assert isinstance(refused, StorageFailed)
    assert neighbour == "stored"
    with pytest.raises(StorageFailed, match="belongs in another backend"):
        write(backend, large)
    assert keys_in(backend) == [key_of(b"neighbour")]


ACKNOWLEDGES = f"""
import sys
from pathlib import Path
from artifactstore.backends.small import SmallBackend
from artifactstore.testing.backend_conformance import put_of

backend = SmallBackend(Path(sys.argv[1]))
number = 0
while True:
    backend.put_many([put_of(b"%d" % (number + each)) for each in range({BATCH})])
    number += {BATCH}
    print(number, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("batches", [1, 5])
def test_what_a_killed_process_acknowledged_is_there_and_no_half_batch(
    tmp_path: Path, backend: SmallBackend, batches: int
) -> None:
    command = [sys.executable, "-c", ACKNOWLEDGES, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(batches)][-1]
        process.send_signal(signal.SIGKILL)
    for number in range(acknowledged):
        assert read(backend, key_of(b"%d" % number)) == b"%d" % number
    assert len(backend.list_keys(limit=10**6)) % BATCH == 0


@pytest.mark.parametrize("name", ["objects.db", "objects.db-wal"])
@pytest.mark.parametrize("act", ["deleted", "replaced"])
def test_a_file_that_is_not_the_one_that_is_open_is_noticed(
    backend: SmallBackend, file: Path, name: str, act: str
) -> None:
    """COMMIT succeeds on a deleted file, and the objects are lost."""
    put(backend, b"before")
    victim = file.with_name(name)
    content = victim.read_bytes()
    victim.unlink()
    if act == "replaced":
        victim.write_bytes(content)
    told = rf"was {act}.*restart every process of the store, then run verify"
    with pytest.raises(StorageFailed, match=told):
        put(backend, b"after")
    with pytest.raises(StorageFailed, match=told):
        read(backend, key_of(b"before"))
    assert not backend.health().writable


def test_a_file_that_is_lost_during_a_batch_is_not_acknowledged(
    backend: SmallBackend, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(backend, b"before")
    check = FileGuard.check
    checks: list[FileGuard] = []

    def lost_before_the_last(guard: FileGuard) -> None:
        checks.append(guard)
        if len(checks) == 3:  # before reading, before writing, after the commit
            file.unlink()
        check(guard)

    monkeypatch.setattr(FileGuard, "check", lost_before_the_last)
    with pytest.raises(StorageFailed, match="was deleted"):
        put(backend, b"after")
    assert len(checks) == 3


def break_pages_of(file: Path, content: bytes) -> None:
    """Break the chain of pages that an object spills over."""
    data = bytearray(file.read_bytes())
    page_bytes = int.from_bytes(data[16:18])
    at = next(
        start
        for start in range(0, len(data), page_bytes)
        if bytes(data[start + 4 : start + 104]) == content[:100] and any(data[start : start + 4])
    )
    data[at : at + 4] = b"\xff" * 4
    file.write_bytes(data)


def test_a_damaged_object_is_told_and_spares_its_neighbours(backend: SmallBackend, file: Path) -> None:
    backend.put_many(map(put_of, SPILLING))
    backend.close()
    break_pages_of(file, SPILLING[1])
    answers = backend.read_many([(key_of(content), len(content)) for content in SPILLING])
    assert isinstance(answers[1], ObjectDamaged)
    assert answers[1].object_key == key_of(SPILLING[1])
    assert [answers[0], *answers[2:]] == [SPILLING[0], *SPILLING[2:]]
    with pytest.raises(ObjectDamaged, match="SQLITE_CORRUPT"):
        backend.open(key_of(SPILLING[1]))
    taken = backend.put_many(map(put_of, SPILLING))
    assert isinstance(taken[1], KeyTaken)
    assert [taken[0], *taken[2:]] == ["deduplicated"] * 3
    assert len(keys_in(backend)) == len(SPILLING)


@pytest.mark.parametrize("content", [b"no database at all, and long enough for SQLite to tell\n" * 100, b"x" * 8192])
def test_a_file_that_is_no_database_is_a_typed_error(backend: SmallBackend, file: Path, content: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    told = f"SQLITE_NOTADB: {file} is damaged"
    with pytest.raises(StorageFailed, match=told):
        put(backend, b"content")
    with pytest.raises(StorageFailed, match=told):
        read(backend, key_of(b"content"))
    assert "SQLITE_NOTADB" in (backend.health().failure or "")
    assert file.read_bytes() == content


def test_a_full_device_is_a_typed_error_and_stores_nothing(
    backend: SmallBackend, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(backend, b"before")
    backend.close()
    connect = Access.connect

    def without_room(access: Access, *, timeout_s: float) -> sqlite3.Connection:
        connection = connect(access, timeout_s=timeout_s)
        connection.execute("PRAGMA max_page_count = 10")
        return connection

    monkeypatch.setattr(Access, "connect", without_room)
    with pytest.raises(StorageFull, match="SQLITE_FULL"):
        backend.put_many(map(put_of, SPILLING))
    monkeypatch.undo()
    assert keys_in(backend) == [key_of(b"before")]


def test_a_file_on_a_network_is_refused_before_it_is_made(
    tmp_path: Path, backend: SmallBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_file, "network_filesystem", always("NFS"))
    with pytest.raises(StorageFailed, match="is on NFS, a network file system; set ARTIFACTSTORE_STORAGE_SMALL_MAX=0"):
        put(backend, b"object")
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_gone_is_a_typed_error(tmp_path: Path) -> None:
    backend = SmallBackend(tmp_path / "absent")
    with pytest.raises(StorageFailed, match="no such file"):
        put(backend, b"nowhere")
    assert backend.health().failure == "the root cannot be used: no such file or directory; check its path and its disk"


def test_objects_on_a_read_only_medium_are_read_and_not_written(
    tmp_path: Path, backend: SmallBackend, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(backend, b"kept")
    backend.close()
    before = sorted(file.parent.iterdir())
    monkeypatch.setattr(small_file, "obstacle_to_writing", always("the file system is mounted read-only"))
    other = SmallBackend(tmp_path)
    assert read(other, key_of(b"kept")) == b"kept"
    with pytest.raises(StorageDenied, match="mounted read-only"):
        put(other, b"new")
    assert not other.health().writable
    other.close()
    assert sorted(file.parent.iterdir()) == before


def test_an_object_that_another_process_puts_meanwhile_is_compared(
    tmp_path: Path, backend: SmallBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(backend, b"there")
    other = SmallBackend(tmp_path)
    writing = SmallFile.writing

    def overtaken(file: SmallFile, operation: str) -> AbstractContextManager[sqlite3.Connection]:
        monkeypatch.undo()
        other.put_many([put_of(b"same"), ("key", b"theirs")])
        return writing(file, operation)

    monkeypatch.setattr(SmallFile, "writing", overtaken)
    same, taken, ours = backend.put_many([put_of(b"same"), ("key", b"ours"), put_of(b"ours")])
    other.close()
    assert (same, ours) == ("deduplicated", "stored")
    assert isinstance(taken, KeyTaken)
    assert read(backend, "key") == b"theirs"


def test_a_batch_of_small_files_writes_each_page_once(backend: SmallBackend, file: Path) -> None:
    put(backend, b"first")
    small = SmallFile("small", str(file.parent.parent))
    log = file.with_name("objects.db-wal")
    try:
        with small.writing("storing objects") as connection:
            before = log.stat().st_size
            rows = ((f"key-{number}", 0, bytes(4096)) for number in range(1024))
            connection.executemany("INSERT INTO objects (key, stored_at, content) VALUES (?, ?, ?)", rows)
            assert log.stat().st_size == before
        assert log.stat().st_size > 1024 * 4096
    finally:
        small.close()
