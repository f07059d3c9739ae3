"""What the local backend makes of its directory: names, modes, other people's files, and objects that go bad."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.backends.local import LocalBackend
from artifactstore.testing.backend_conformance import address_of, delete, key_of, keys_in, put, put_of, read, write
from artifactstore_protocols.storage import ObjectDamaged, ObjectMissing, StorageFailed
from artifactstore_protocols.system_errors import in_words


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "a" / "deep" / "root"


@pytest.fixture
def backend(root: Path) -> Iterator[LocalBackend]:
    backend = LocalBackend(root)
    yield backend
    backend.close()


def test_an_object_is_a_read_only_file_named_by_its_digest(root: Path, backend: LocalBackend) -> None:
    put(backend, b"small")
    write(backend, b"in pieces")
    for content in (b"small", b"in pieces"):
        digest = address_of(content).digest.hex
        path = root / "blake3" / digest[:2] / digest[2:4] / digest
        assert path.read_bytes() == content
        assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_the_root_holds_objects_and_one_lock_while_open_and_objects_alone_after(
    root: Path, backend: LocalBackend
) -> None:
    assert list(root.iterdir()) == []
    put(backend, b"object")
    assert [path.suffix for path in (root / "tmp").iterdir()] == [".lock"]
    backend.close()
    assert list((root / "tmp").iterdir()) == []
    assert keys_in(backend) == [key_of(b"object")]


def test_content_that_is_there_is_not_written_again(root: Path, backend: LocalBackend) -> None:
    put(backend, b"same")
    path = root / key_of(b"same")
    before = path.stat()
    put(backend, b"same")
    write(backend, b"same")
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_an_object_that_another_puts_meanwhile_is_there_once(root: Path, backend: LocalBackend) -> None:
    other = LocalBackend(root)

    def overtaken() -> Iterator[tuple[str, bytes]]:
        yield put_of(b"contended")
        put(other, b"contended")

    assert backend.put_many(overtaken()) == ["stored"]
    other.close()
    assert read(backend, key_of(b"contended")) == b"contended"
    assert keys_in(backend) == [key_of(b"contended")]
    assert len(list((root / "tmp").iterdir())) == 1


def test_what_others_keep_in_the_root_is_neither_listed_nor_read(root: Path, backend: LocalBackend) -> None:
    put(backend, b"ours")
    key = key_of(b"ours")
    (root / "lost+found").mkdir()
    (root / "lost+found" / "0").write_bytes(b"")
    (root / "README").write_bytes(b"")
    (root / "blake3" / ".hidden").write_bytes(b"")
    (root / "link").symlink_to(root / key)
    os.mkfifo(root / "pipe")
    assert keys_in(backend) == [key]
    for name in ("link", "pipe", "blake3"):
        with pytest.raises(ObjectMissing):
            backend.open(name)
        assert backend.stat_many([name]) == [None]
        assert delete(backend, name) is False


def test_a_link_in_an_objects_place_is_replaced_by_the_object(
    root: Path, backend: LocalBackend, tmp_path: Path
) -> None:
    key = key_of(b"linked")
    victim = tmp_path / "victim"
    victim.write_bytes(b"linked")
    (root / key).parent.mkdir(parents=True)
    (root / key).symlink_to(victim)
    assert put(backend, b"linked") == "stored"
    assert not (root / key).is_symlink()
    assert victim.read_bytes() == b"linked"


def test_an_object_that_two_delete_at_once_is_deleted_once(
    root: Path, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(backend, b"contended")
    unlink = os.unlink

    def overtaken(path: str) -> None:
        unlink(path)
        unlink(path)

    monkeypatch.setattr(os, "unlink", overtaken)
    assert delete(backend, key_of(b"contended")) is False


def test_a_truncated_object_is_damaged_where_it_ends(root: Path, backend: LocalBackend) -> None:
    put(backend, b"0123456789")
    key = key_of(b"0123456789")
    buffer = bytearray(4)
    with backend.open(key) as reader:
        os.truncate(root / key, 4)
        assert (reader.readinto(buffer), bytes(buffer)) == (4, b"0123")
        with pytest.raises(ObjectDamaged, match="ends at 4 of 10"):
            reader.readinto(buffer)
        with pytest.raises(ObjectDamaged, match="ends at 4 of 10"):
            reader.read(4)


def test_a_read_that_returns_too_little_continues(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    preadv, pread = os.preadv, os.pread
    put(backend, b"0123456789")

    def hesitant(fd: int, buffers: list[memoryview], offset: int) -> int:
        return preadv(fd, [buffer[:3] for buffer in buffers], offset)

    def hesitant_bytes(fd: int, wanted: int, offset: int) -> bytes:
        return pread(fd, min(wanted, 3), offset)

    monkeypatch.setattr(os, "preadv", hesitant)
    monkeypatch.setattr(os, "pread", hesitant_bytes)
    assert read(backend, key_of(b"0123456789")) == b"0123456789"
    with backend.open(key_of(b"0123456789")) as reader:
        assert reader.read(9) == b"012345678"


@pytest.mark.parametrize(
    ("number", "error"), [(errno.EIO, ObjectDamaged), (errno.ESTALE, StorageFailed)], ids=["EIO", "ESTALE"]
)
def test_bytes_that_the_medium_does_not_give_back_are_damage(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    def failing(fd: int, buffers: list[memoryview], offset: int) -> int:
        raise OSError(number, os.strerror(number))

    put(backend, b"unreadable")
    monkeypatch.setattr(os, "preadv", failing)
    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(error, match=in_words(errno.errorcode[number])):
        read(backend, key_of(b"unreadable"))
    with (
        backend.open(key_of(b"unreadable")) as reader,
        pytest.raises(error, match=in_words(errno.errorcode[number])),
    ):
        reader.read(1)


def test_an_object_that_cannot_be_opened_is_not_missing(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(path: str, flags: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    put(backend, b"there")
    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(StorageFailed, match=r": this process may not open more files.*put that right"):
        backend.open(key_of(b"there"))


def test_a_root_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageFailed, match=rf"making the root: .* in the place of {tmp_path}/file;"):
        LocalBackend(tmp_path / "file")
    with pytest.raises(StorageFailed, match=rf"making the root: .* {tmp_path}/file"):
        LocalBackend(tmp_path / "file" / "below")


@pytest.mark.parametrize("place", ["object", "directory", "temp files"])
def test_what_is_in_the_way_of_an_object_is_named(root: Path, backend: LocalBackend, place: str) -> None:
    put(backend, b"content")
    key = key_of(b"content")
    at = {"object": root / key, "directory": (root / key).parent, "temp files": root / "tmp"}[place]
    backend.close()
    shutil.rmtree(root)
    root.mkdir()
    if place == "object":
        at.mkdir(parents=True)
    else:
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(b"")
    with pytest.raises(StorageFailed, match=str(at)):
        put(backend, b"content")


def test_a_root_that_is_gone_fails_a_batch_and_is_told_by_health(root: Path, backend: LocalBackend) -> None:
    root.rmdir()
    with pytest.raises(StorageFailed, match="opening the root"):
        put(backend, b"nowhere")
    health = backend.health()
    assert (health.total_bytes, health.failure) == (
        None,
        "the root cannot be used: no such file or directory; check its path and its disk",
    )


def test_a_canary_that_comes_back_changed_is_a_failure(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    def zeros(fd: int, length: int, offset: int) -> bytes:
        return bytes(length)

    monkeypatch.setattr(os, "pread", zeros)
    health = backend.health()
    assert not health.writable
    assert "other bytes" in (health.failure or "")
    assert health.free_bytes is not None


def test_inodes_that_a_file_system_does_not_count_are_unknown(
    root: Path, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(root)
    assert backend.health().free_inodes is not None

    def uncounted(path: str) -> os.statvfs_result:
        return os.statvfs_result([*real[:5], 0, 0, 0, *real[8:10]])

    monkeypatch.setattr(os, "statvfs", uncounted)
    assert backend.health().free_inodes is None


def test_a_relative_root_stays_where_it_was_when_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    backend = LocalBackend(Path("objects"), "named")
    monkeypatch.chdir("/")
    put(backend, b"here")
    assert (tmp_path / "objects" / key_of(b"here")).is_file()
    assert put(backend, b"here") == "deduplicated"
    assert backend.health().backend_id == "named"
    backend.close()
