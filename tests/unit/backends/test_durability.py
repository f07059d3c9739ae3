"""What is acknowledged was synced: the content before its name appears, then all directories that lead to it."""

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artifactstore.backends import durability, local_files
from artifactstore.backends.durability import DIRECTORY_FSYNCS_MAX, FSYNCS_MAX, load_syncfs, syncfs_for
from artifactstore.backends.filesystem_type import filesystem_type
from artifactstore.backends.local import LocalBackend
from artifactstore.durable import start_writeback
from artifactstore.testing.backend_conformance import key_of, put, put_of, read, stored, write

LATE = 2 * FSYNCS_MAX
ANY_FD = 12345
PROC_MAGIC = 0x9FA0


def path_of(fd: int) -> str:
    return str(Path(f"/proc/self/fd/{fd}").readlink())


class Journal:
    """What was synced and renamed, in order, with names below the root; contents are `temp`."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[tuple[str, str]] = []
        self._root = root
        real_fsync, real_replace = os.fsync, os.replace

        def fsync(fd: int) -> None:
            self.steps.append(("fsync", self._name(path_of(fd))))
            real_fsync(fd)

        def replace(source: str, target: str) -> None:
            real_replace(source, target)
            self.steps.append(("rename", self._name(target)))

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "replace", replace)

    def _name(self, path: str) -> str:
        name = str(Path(path).relative_to(self._root))
        return "temp" if name.startswith("tmp/") else name

    def syncfs(self, fd: int) -> None:
        assert path_of(fd) == str(self._root)
        self.steps.append(("syncfs", "."))


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    backend = LocalBackend(tmp_path)
    yield backend
    backend.close()


@pytest.fixture
def journal(backend: LocalBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    journal = Journal(tmp_path, monkeypatch)
    use_syncfs(monkeypatch, journal.syncfs)
    return journal


def use_syncfs(monkeypatch: pytest.MonkeyPatch, syncfs: Callable[[int], None] | None) -> None:
    def find(_fd: int) -> Callable[[int], None] | None:
        return syncfs

    monkeypatch.setattr(durability.BatchSync.__init__, "__defaults__", (None, find))


def chain(content: bytes) -> list[tuple[str, str]]:
    key = Path(key_of(content))
    return [("fsync", str(parent)) for parent in key.parents]


@pytest.mark.parametrize("any_put", [put, write])
def test_one_object_is_synced_then_named_then_its_directories_are_synced(
    backend: LocalBackend, journal: Journal, any_put: Callable[[LocalBackend, bytes], object]
) -> None:
    any_put(backend, b"one")
    assert journal.steps == [("fsync", "temp"), ("rename", key_of(b"one")), *chain(b"one")]


@pytest.mark.parametrize("any_put", [put, write])
def test_an_object_that_is_there_has_its_directories_synced_before_it_is_acknowledged(
    backend: LocalBackend, journal: Journal, any_put: Callable[[LocalBackend, bytes], object]
) -> None:
    put(backend, b"there")
    journal.steps.clear()
    any_put(backend, b"there")
    assert journal.steps == chain(b"there")


@pytest.mark.parametrize("any_put", [put, write])
def test_the_disk_begins_with_a_large_object_before_it_is_synced(
    backend: LocalBackend,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    any_put: Callable[[LocalBackend, bytes], object],
) -> None:
    def begin(fd: int) -> None:
        begun_bytes.append(os.fstat(fd).st_size)
        journal.steps.append(("begin", "temp"))

    large, begun_bytes = bytes(2 * local_files.BEGUN_BYTES), list[int]()
    monkeypatch.setattr(local_files, "start_writeback", begin)
    any_put(backend, large)
    assert begun_bytes[-1] == len(large)
    steps = journal.steps[len(begun_bytes) - 1 :]  # a writer begins with each of its pieces
    assert steps == [("begin", "temp"), ("fsync", "temp"), ("rename", key_of(large)), *chain(large)]


def test_writing_to_the_disk_can_begin_anywhere_and_is_only_a_hint(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb", buffering=0) as file:
        file.write(b"content")
        start_writeback(file.fileno())
    start_writeback(-1)
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_large_object_is_written_in_pieces_that_the_system_may_cut(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write, asked = os.write, list[int]()

    def cut(fd: int, piece: memoryview) -> int:
        asked.append(len(piece))
        return real_write(fd, piece[: len(piece) - 1] if len(piece) > 1 else piece)

    large = bytes(range(256)) * (3 * local_files.WRITTEN_BYTES // 256)
    monkeypatch.setattr(os, "write", cut)
    put(backend, large)
    assert max(asked) == local_files.WRITTEN_BYTES
    assert read(backend, key_of(large)) == large


def contents(count: int) -> list[bytes]:
    return [b"content %d" % number for number in range(count)]


def test_many_objects_share_one_sync_before_their_names_and_one_after(backend: LocalBackend, journal: Journal) -> None:
    for answer in backend.put_many(map(put_of, contents(LATE))):
        stored(answer)
    renames = [("rename", key_of(content)) for content in contents(LATE)]
    assert journal.steps == [("syncfs", "."), *renames, ("syncfs", ".")]


def test_many_objects_that_are_there_share_one_sync(backend: LocalBackend, journal: Journal) -> None:
    put(backend, b"new")
    backend.put_many(map(put_of, contents(DIRECTORY_FSYNCS_MAX)))
    journal.steps.clear()
    backend.put_many(map(put_of, contents(DIRECTORY_FSYNCS_MAX)))
    assert journal.steps == [("syncfs", ".")]


def test_without_a_shared_sync_every_object_is_synced_before_its_name(
    backend: LocalBackend, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_syncfs(monkeypatch, None)
    for answer in backend.put_many(map(put_of, contents(LATE))):
        stored(answer)
    renames = [("rename", key_of(content)) for content in contents(LATE)]
    assert journal.steps[: 2 * LATE] == [("fsync", "temp")] * LATE + renames
    after = journal.steps[2 * LATE :]
    assert len(after) == len(set(after))
    assert set(after) == {step for content in contents(LATE) for step in chain(content)}
    depths = [name.count("/") + (name != ".") for _, name in after]
    assert depths == sorted(depths, reverse=True)


def test_without_a_shared_sync_the_object_that_cannot_be_synced_is_refused_alone(
    backend: LocalBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_syncfs(monkeypatch, None)
    real_fsync = os.fsync
    synced: list[int] = []

    def breaking(fd: int) -> None:
        synced.append(fd)
        if len(synced) == LATE - 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real_fsync(fd)

    monkeypatch.setattr(os, "fsync", breaking)
    answers = backend.put_many(map(put_of, contents(LATE)))
    assert [getattr(answer, "cause", "stored") for answer in answers] == [
        "EIO" if number == LATE - 2 else "stored" for number in range(LATE)
    ]
    assert len(list((tmp_path / "tmp").iterdir())) == 1


@pytest.mark.parametrize(
    ("platform", "release"),
    [("darwin", "24.1.0"), ("linux", "5.16.20"), ("linux", "4.19.0-27-amd64"), ("linux", "odd")],
)
def test_a_syncfs_that_hides_errors_is_not_used(platform: str, release: str) -> None:
    assert load_syncfs(platform, release) is None


class KernelThatSays:
    """The C library of a system where every file is on one kind of file system."""

    def __init__(self, magic: int | None) -> None:
        self._magic = magic

    def fstatfs(self, fd: int, answer: ctypes.Array[ctypes.c_char]) -> int:
        assert fd == ANY_FD
        if self._magic is None:
            return -1
        ctypes.c_ulong.from_buffer(answer).value = self._magic
        return 0


@pytest.mark.parametrize(
    ("filesystem", "magic", "used"),
    [
        ("ext4", 0xEF53, True),
        ("XFS", 0x58465342, True),
        ("Btrfs", 0x9123683E, True),
        ("F2FS", 0xF2F52010, True),
        ("Btrfs, sign-extended", 0x9123683E - (1 << 32), True),
        ("FUSE", 0x65735546, False),
        ("overlayfs", 0x794C7630, False),
        ("NFS", 0x6969, False),
        ("ZFS", 0x2FC12FC1, False),
        ("tmpfs", 0x01021994, False),
        ("not said", None, False),
    ],
)
def test_syncfs_is_used_only_where_it_is_known_to_report_errors(
    monkeypatch: pytest.MonkeyPatch, filesystem: str, magic: int | None, used: bool
) -> None:
    monkeypatch.setattr(durability, "_SYNCFS", os.fsync)
    kernel = KernelThatSays(magic)

    def library(_name: None) -> KernelThatSays:
        return kernel

    monkeypatch.setattr("ctypes.CDLL", library)
    assert (syncfs_for(ANY_FD) is not None) == used, filesystem


def test_the_type_of_a_real_file_system_is_read_as_the_kernel_says_it() -> None:
    """`/proc` has the same magic number on every Linux."""
    fd = os.open("/proc", os.O_RDONLY)
    try:
        assert filesystem_type(fd) == PROC_MAGIC
    finally:
        os.close(fd)


def test_a_c_library_without_syncfs_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_syncfs(name: None, *, use_errno: bool) -> object:
        return object()

    monkeypatch.setattr("ctypes.CDLL", without_syncfs)
    assert load_syncfs("linux", "6.1.0") is None


@pytest.mark.skipif(load_syncfs("linux", "6.1.0") is None, reason="this C library has no syncfs")
def test_syncfs_syncs_or_raises_what_the_kernel_said(tmp_path: Path) -> None:
    syncfs = load_syncfs("linux", "6.1-custom")
    assert syncfs is not None
    fd = os.open(tmp_path, os.O_RDONLY)
    syncfs(fd)
    os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        syncfs(fd)
    assert caught.value.errno == errno.EBADF
