"""A local backend whose disk is full, read-only or broken: a clear error, nothing half done; reads continue."""

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artifactstore.backends import durability
from artifactstore.backends.durability import FSYNCS_MAX
from artifactstore.backends.local import LocalBackend
from artifactstore.testing.backend_conformance import delete, key_of, keys_in, put, put_of, read, write
from artifactstore_protocols.storage import (
    PutOutcome,
    StorageDenied,
    StorageFailed,
    StorageFault,
    StorageFull,
)
from artifactstore_protocols.system_errors import in_words

LIMIT_BYTES = 100_000
TOO_LARGE = b"L" * (2 * LIMIT_BYTES)
ERRORS = [
    (errno.ENOSPC, StorageFull),
    (errno.EDQUOT, StorageFull),
    (errno.EROFS, StorageDenied),
    (errno.EACCES, StorageDenied),
    (errno.EIO, StorageFailed),
]


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    backend = LocalBackend(tmp_path)
    put(backend, b"there before")
    yield backend
    backend.close()


@pytest.fixture
def nothing_left(tmp_path: Path, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Afterwards the store has what it had, no temp file, and works again."""
    yield
    monkeypatch.undo()
    assert [path.suffix for path in (tmp_path / "tmp").iterdir()] == [".lock"]
    assert keys_in(backend) == [key_of(b"there before")]
    assert put(backend, b"afterwards") == "stored"


def failing(number: int) -> Callable[..., int]:
    def call(*args: object, **kwargs: object) -> int:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(("number", "error"), ERRORS, ids=lambda value: getattr(value, "__name__", None))
@pytest.mark.parametrize("call", ["write", "fchmod", "fsync", "replace", "makedirs"])
@pytest.mark.parametrize("any_put", [put, write])
def test_a_failing_call_is_a_typed_error(
    backend: LocalBackend,
    monkeypatch: pytest.MonkeyPatch,
    any_put: Callable[[LocalBackend, bytes], PutOutcome],
    call: str,
    number: int,
    error: type[StorageFault],
) -> None:
    monkeypatch.setattr(os, call, failing(number))
    with pytest.raises(error) as caught:
        any_put(backend, b"does not get there")
    assert caught.value.backend_id == "local"
    assert caught.value.cause == errno.errorcode[number]
    assert read(backend, key_of(b"there before")) == b"there before"
    if call in {"write", "fsync"}:
        health = backend.health()
        assert health.failure_code == errno.errorcode[number]
        assert in_words(errno.errorcode[number]) in (health.failure or "")


@pytest.mark.usefixtures("nothing_left")
def test_a_temp_file_that_cannot_be_made_is_a_typed_error(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = os.open

    def read_only(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real_open(path, flags, mode)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(StorageDenied, match="the file system is read-only"):
        put(backend, b"new")
    with pytest.raises(StorageDenied, match="the file system is read-only"):
        backend.open_writer()
    assert read(backend, key_of(b"there before")) == b"there before"
    assert put(backend, b"there before") == "deduplicated"
    assert not backend.health().writable


def test_a_read_only_root_opens_and_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LocalBackend(tmp_path).put_many([put_of(b"kept")])
    monkeypatch.setattr(os, "unlink", failing(errno.EROFS))
    monkeypatch.setattr(os, "mkdir", failing(errno.EROFS))
    backend = LocalBackend(tmp_path)
    assert read(backend, key_of(b"kept")) == b"kept"
    with pytest.raises(StorageDenied, match="deleting an object"):
        delete(backend, key_of(b"kept"))
    with pytest.raises(StorageDenied, match="the file system is read-only"):
        put(backend, b"new")


def test_a_root_that_cannot_be_swept_still_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LocalBackend(tmp_path).put_many([put_of(b"kept")])
    monkeypatch.setattr(os, "listdir", failing(errno.EACCES))
    assert read(LocalBackend(tmp_path), key_of(b"kept")) == b"kept"


@pytest.fixture
def file_size_limit() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("file_size_limit")
def test_a_device_that_fills_up_in_the_middle_of_an_object_refuses_that_object_alone(
    tmp_path: Path, backend: LocalBackend
) -> None:
    small, large, last = backend.put_many([put_of(b"small"), put_of(TOO_LARGE), put_of(b"last")])
    assert isinstance(large, StorageFull)
    assert large.__traceback__ is None
    assert [small, last] == ["stored", "stored"]
    with pytest.raises(StorageFull, match="larger than a limit"):
        write(backend, TOO_LARGE)
    assert keys_in(backend) == sorted(map(key_of, (b"there before", b"small", b"last")))
    assert len(list((tmp_path / "tmp").iterdir())) == 1


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("count", [1, FSYNCS_MAX + 1], ids=["few", "many"])
def test_a_content_that_cannot_be_synced_is_not_acknowledged(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    broken = failing(errno.EIO)
    monkeypatch.setattr(os, "fsync", broken)

    def find(_fd: int) -> object:
        return broken

    monkeypatch.setattr(durability.BatchSync.__init__, "__defaults__", (None, find))
    answers = backend.put_many([put_of(b"%d" % number) for number in range(count)])
    assert [(type(answer), getattr(answer, "operation", "")) for answer in answers] == [
        (StorageFailed, "syncing objects")
    ] * count


def test_an_object_whose_name_cannot_be_synced_is_not_acknowledged(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be there afterwards: refused means that nobody was told that it is stored."""
    monkeypatch.setattr("artifactstore.backends.durability.fsync_directory", failing(errno.EIO))
    answers = backend.put_many([put_of(b"new"), put_of(b"there before"), ("..", b"no key")])
    assert [getattr(answer, "operation", "") for answer in answers] == [*["syncing directories"] * 2, ""]
    monkeypatch.undo()
    assert put(backend, b"new") == "deduplicated"


@pytest.mark.usefixtures("nothing_left")
def test_a_batch_that_is_interrupted_between_its_objects_leaves_nothing(backend: LocalBackend) -> None:
    def interrupted() -> Iterator[tuple[str, bytes]]:
        for number in range(2 * FSYNCS_MAX):
            yield put_of(b"%d" % number)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backend.put_many(interrupted())
