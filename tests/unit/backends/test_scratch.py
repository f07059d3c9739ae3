"""Temp files are swept when their owner is gone, and only then."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from artifactstore.backends.local import LocalBackend
from artifactstore.backends.scratch import ScratchSpace
from artifactstore.testing.backend_conformance import key_of, put

DIES_WHILE_IT_WRITES = """
import os, sys
from pathlib import Path
from artifactstore.backends.local import LocalBackend

writer = LocalBackend(Path(sys.argv[1])).open_writer()
writer.write(b"half an object")
os._exit(0)
"""


def suffixes(directory: Path) -> list[str]:
    return sorted((path.suffix == ".lock" and ".lock") or "temp" for path in directory.iterdir())


def test_the_leftovers_of_a_dead_process_are_swept_at_the_next_start(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DIES_WHILE_IT_WRITES, str(tmp_path)], check=True)
    assert suffixes(tmp_path / "tmp") == [".lock", "temp"]
    LocalBackend(tmp_path).close()
    assert suffixes(tmp_path / "tmp") == []


def test_a_write_under_way_survives_the_start_of_another(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path)
    with backend.open_writer() as writer:
        writer.write(b"slow")
        LocalBackend(tmp_path).close()
        assert suffixes(tmp_path / "tmp") == [".lock", "temp"]
        assert writer.commit(key_of(b"slow")) == "stored"
    backend.close()


def test_a_temp_file_without_a_lock_belongs_to_nobody(tmp_path: Path) -> None:
    (tmp_path / f"{'a' * 16}.{'b' * 16}").write_bytes(b"")
    ScratchSpace(str(tmp_path)).sweep()
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_ends_when_the_store_is_not_wanted_any_more(tmp_path: Path) -> None:
    """A signal during start-up must not wait for a million leftovers."""
    (tmp_path / "tmp").mkdir()
    for number in range(5):
        (tmp_path / "tmp" / f"{'a' * 16}.{number:016}").write_bytes(b"")
    asked = 0

    class NotWanted(Exception):
        pass

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise NotWanted

    with pytest.raises(NotWanted):
        LocalBackend(tmp_path, check_cancelled=check)
    assert suffixes(tmp_path / "tmp") == ["temp"] * 3
    LocalBackend(tmp_path).close()
    assert suffixes(tmp_path / "tmp") == []


def test_a_sweep_takes_only_what_is_named_as_a_temp_file(tmp_path: Path) -> None:
    foreign = {"notes.txt", f"{'a' * 16}.txt", f"{'A' * 16}.lock", ".lock"}
    for name in foreign:
        (tmp_path / name).write_bytes(b"")
    ScratchSpace(str(tmp_path)).sweep()
    assert {path.name for path in tmp_path.iterdir()} == foreign


def test_a_sweep_of_nothing_is_nothing(tmp_path: Path) -> None:
    ScratchSpace(str(tmp_path / "absent")).sweep()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_swept_before_it_is_held_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep may come between the making of a lock file and its locking."""
    real_flock = fcntl.flock
    swept: list[Path] = []

    def overtaken(fd: int, operation: int) -> None:
        if not swept:
            swept.extend(tmp_path.iterdir())
            ScratchSpace(str(tmp_path)).sweep()
        real_flock(fd, operation)

    scratch = ScratchSpace(str(tmp_path))
    # The sweep inside takes the lock by the real call: it is in the list before it sweeps.
    monkeypatch.setattr(fcntl, "flock", overtaken)
    fd, path = scratch.create()
    os.close(fd)
    assert len(swept) == 1
    assert not swept[0].exists()
    assert suffixes(tmp_path) == [".lock", "temp"]
    ScratchSpace(str(tmp_path)).sweep()
    assert os.path.lexists(path)
    scratch.close()


def test_a_lock_that_cannot_be_taken_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems without flock are refused, and no descriptor is lost on them."""

    def unsupported(fd: int, operation: int) -> None:
        raise OSError(f"no locks for {fd}")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(OSError, match="no locks for") as caught:
        ScratchSpace(str(tmp_path)).create()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(int(str(caught.value).split()[-1]))


def test_closing_gives_up_the_lock_and_leaves_no_file(tmp_path: Path) -> None:
    scratch = ScratchSpace(str(tmp_path))
    scratch.close()
    fd, path = scratch.create()
    os.close(fd)
    Path(path).unlink()
    scratch.close()
    scratch.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("by_whom", ["its owner", "another process, which has put its own temp files there"])
def test_a_root_that_was_removed_and_made_again_is_written_to_under_a_new_lock(tmp_path: Path, by_whom: str) -> None:
    root = tmp_path / "root"
    backend = LocalBackend(root)
    put(backend, b"before")
    shutil.rmtree(root)
    assert backend.health().failure == "the root cannot be used: no such file or directory; check its path and its disk"
    assert not root.exists(), "it might be the place where a device is to be mounted again"
    root.mkdir()
    if by_whom != "its owner":
        put(LocalBackend(root), b"between")
    assert backend.health().failure is None
    with backend.open_writer() as writer:
        writer.write(b"after")
        LocalBackend(root).close()  # sweeps
        assert writer.commit(key_of(b"after")) == "stored"
    backend.close()
