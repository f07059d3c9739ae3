"""The file that says which store may collect in a root: whole, durable, claimed once, and no object."""

import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from artifactstore.backends.local import LocalBackend
from artifactstore.backends.local_inspection import inspect_local_root
from artifactstore.backends.root_marker import MARKER, read_marker, update_marker
from artifactstore.testing.backend_conformance import key_of, put
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.object_keys import check_object_key
from artifactstore_protocols.root_markers import RootMarker, claimed
from artifactstore_protocols.storage import KeyRefused

ONE = RootMarker("0198f3a0-7c00-4000-8000-000000000001")
TWO = RootMarker("0198f3a0-7c00-4000-8000-000000000002")
LEFT = f".{MARKER}.new"


def becomes(marker: RootMarker) -> Callable[[RootMarker | None], RootMarker]:
    return lambda _found: marker


def test_a_root_that_nobody_claimed_has_none(tmp_path: Path) -> None:
    assert read_marker(tmp_path) is None
    assert read_marker(tmp_path / "nowhere") is None


def test_what_is_written_is_read_back_and_replaced(tmp_path: Path) -> None:
    assert update_marker(tmp_path, becomes(ONE)) == ONE
    assert read_marker(tmp_path) == ONE
    later = RootMarker(ONE.store_id, 7, ONE.store_id)
    seen: list[RootMarker | None] = []

    def decide(found: RootMarker | None) -> RootMarker:
        seen.append(found)
        return later

    update_marker(tmp_path, decide)
    assert (seen, read_marker(tmp_path)) == ([ONE], later)
    assert [path.name for path in tmp_path.iterdir()] == [MARKER]


def test_it_is_synced_then_named_then_its_directory_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def noted_fsync(fd: int) -> None:
        steps.append(f"fsync {Path(f'/proc/self/fd/{fd}').readlink().name}")
        fsync(fd)

    def noted_rename(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        steps.append(f"rename {target}")

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    update_marker(tmp_path, becomes(ONE))
    assert steps == [f"fsync {LEFT}", f"rename {MARKER}", f"fsync {tmp_path.name}"]
    steps.clear()
    update_marker(tmp_path, becomes(ONE))
    assert steps == []  # it says so already


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_crash_on_the_way_leaves_the_old_one_and_the_next_update_goes_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    update_marker(tmp_path, becomes(ONE))

    def fails(*_arguments: object, **_named: object) -> None:
        raise OSError(5, "the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fails)
        with pytest.raises(OSError, match="the disk is gone"):
            update_marker(tmp_path, becomes(TWO))
    assert read_marker(tmp_path) == ONE
    assert (tmp_path / LEFT).exists()
    update_marker(tmp_path, becomes(TWO))
    assert read_marker(tmp_path) == TWO
    assert not (tmp_path / LEFT).exists()


def test_of_many_who_claim_at_once_one_wins_and_all_see_it(tmp_path: Path) -> None:
    ids = [f"0198f3a0-7c00-4000-8000-{number:012}" for number in range(8)]
    barrier = threading.Barrier(len(ids))
    found: list[RootMarker] = []

    def claim(store_id: str) -> None:
        barrier.wait()
        found.append(update_marker(tmp_path, partial(claimed, store_id, writes=False)))

    threads = [threading.Thread(target=claim, args=(store_id,)) for store_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(ids)
    assert set(found) == {read_marker(tmp_path)}


def a_directory(path: Path) -> None:
    path.mkdir()


def another_file(path: Path) -> None:
    path.write_text("{}")


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [a_directory, another_file, a_pipe])
def test_what_is_no_marker_is_refused_and_left(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / MARKER)
    with pytest.raises(InvalidValue):
        read_marker(tmp_path)
    with pytest.raises(InvalidValue):
        update_marker(tmp_path, becomes(ONE))
    found = inspect_local_root(tmp_path, {}, {})
    assert found.marker is None
    assert found.marker_failure is not None
    assert [path.name for path in tmp_path.iterdir()] == [MARKER]


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (root := tmp_path / "root").mkdir()
    elsewhere.write_text("{}")
    (root / MARKER).symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic link"):
        read_marker(root)
    assert inspect_local_root(root, {}, {}).marker_failure == "ELOOP"


def test_it_is_no_object(tmp_path: Path) -> None:
    for name in (MARKER, LEFT):
        with pytest.raises(KeyRefused):
            check_object_key(name)
    update_marker(tmp_path, becomes(ONE))
    backend = LocalBackend(tmp_path)
    assert list(backend.list_keys(limit=10)) == []
    found = inspect_local_root(tmp_path, {}, {})
    assert (found.holds_objects, found.leftovers, found.marker) == (False, (), ONE)
    put(backend, b"x")
    assert [key for key, _size, _age in backend.list_keys(limit=10)] == [key_of(b"x")]
    backend.close()
    assert read_marker(tmp_path) == ONE
