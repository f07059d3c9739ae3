"""What commands write: exact bytes, files that are whole or absent, lines that no file name can turn into commands."""

import contextlib
import os
import stat
import struct
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Self

import pytest

from artifactstore.cli.output import progress_bar
from artifactstore_protocols.records import IngestProgress
from integration.cli.harness import Cli, make_tree

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make device files")


@pytest.fixture
def umask() -> Generator[None]:
    """A user whose files are nobody else's business."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_get_writes_the_bytes_and_nothing_else(cli: Cli, tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    make_tree(tmp_path / "binary", {"a": content})
    cli.ok("ingest", "binary")
    assert cli.ok("get", "binary", "a").out == content
    assert cli.ok("get", "binary", "a", "-o", "copy").out == b""
    assert (tmp_path / "copy").read_bytes() == content


def test_output_files_keep_the_executable_bit_and_the_users_umask(cli: Cli, tree: Path, umask: None) -> None:
    cli.ok("ingest", tree)
    cli.ok("get", "tree", "bin/run.sh", "-o", "run")
    cli.ok("get", "tree", "README.md", "-o", "new/read")
    cli.ok("manifest", "tree", "-o", "manifest")
    cli.ok("export", "tree", "out")
    assert (mode(Path("run")), mode(Path("new/read")), mode(Path("manifest"))) == (0o700, 0o600, 0o600)
    assert (mode(Path("out/bin/run.sh")), mode(Path("out/README.md"))) == (0o700, 0o600)


def test_an_output_file_that_is_there_is_replaced_whole(cli: Cli, tree: Path, tmp_path: Path) -> None:
    cli.ok("ingest", tree)
    (tmp_path / "old").write_bytes(b"x" * 1000)
    (tmp_path / "other name").hardlink_to(tmp_path / "old")
    cli.ok("get", "tree", "README.md", "-o", "old")
    assert (tmp_path / "old").read_bytes() == b"# hello\n"
    assert (tmp_path / "other name").read_bytes() == b"x" * 1000


def test_an_output_file_that_is_there_keeps_its_permissions(cli: Cli, tree: Path) -> None:
    cli.ok("ingest", tree)
    for before, path in ((0o600, "README.md"), (0o640, "bin/run.sh"), (0o604, "README.md")):
        Path("private").write_bytes(b"")
        Path("private").chmod(before)
        cli.ok("get", "tree", path, "-o", "private")
        assert mode(Path("private")) == before
    cli.ok("manifest", "tree", "-o", "private")
    cli.ok("events", "--export", "private")
    assert mode(Path("private")) == 0o604


@needs_root
def test_an_output_file_that_is_there_keeps_its_owner_and_its_access_list(cli: Cli, tree: Path) -> None:
    cli.ok("ingest", tree)
    shared = Path("shared")
    shared.write_bytes(b"")
    os.chown(shared, 4711, 4712)
    # user::rw-, user:4713:r--, group::r--, mask::r--, other::---, as the kernel writes it.
    entries = [(1, 6, -1), (2, 4, 4713), (4, 4, -1), (16, 4, -1), (32, 0, -1)]
    access = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(shared, "system.posix_acl_access", access)
    except OSError:
        pytest.skip("this file system has no access control lists")
    cli.ok("get", "tree", "README.md", "-o", shared)
    assert (shared.stat().st_uid, shared.stat().st_gid) == (4711, 4712)
    assert os.getxattr(shared, "system.posix_acl_access") == access


def test_a_link_given_as_output_is_followed_and_stays(cli: Cli, tree: Path, tmp_path: Path) -> None:
    cli.ok("ingest", tree)
    (tmp_path / "link").symlink_to("below/target")
    cli.ok("get", "tree", "README.md", "-o", "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "below" / "target").read_bytes() == b"# hello\n"


@needs_root
@pytest.mark.parametrize("command", [("get", "tree", "README.md"), ("manifest", "tree")], ids=["get", "manifest"])
def test_a_device_given_as_output_is_written_into_and_stays_a_device(
    cli: Cli, tree: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    cli.ok("ingest", tree)
    null = tmp_path / "null"
    os.mknod(null, stat.S_IFCHR | 0o600, Path("/dev/null").stat().st_rdev)
    cli.ok(*command, "-o", null)
    assert null.is_char_device()


def test_a_fifo_given_as_output_is_written_into(cli: Cli, tree: Path, tmp_path: Path) -> None:
    cli.ok("ingest", tree)
    os.mkfifo(tmp_path / "queue")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "queue").read_bytes()))
    reader.start()
    cli.ok("get", "tree", "README.md", "-o", "queue")
    reader.join()
    assert received == [b"# hello\n"]
    assert (tmp_path / "queue").is_fifo()


class Terminal:
    """A terminal that a process can have as its stderr; what it shows is read as it comes, so that nobody waits."""

    def __init__(self) -> None:
        self._controller, self.descriptor = os.openpty()
        self._shown = bytearray()
        self._reader = threading.Thread(target=self._read)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # how Linux says that the last process has let go of a terminal
            while piece := os.read(self._controller, 1 << 16):
                self._shown += piece

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self.descriptor)
        self._reader.join()
        os.close(self._controller)

    @property
    def shown(self) -> str:
        return self._shown.decode()


@pytest.mark.slow
@pytest.mark.parametrize("command", [("ingest", "tree"), ("verify",), ("export", "tree", "out")], ids=lambda c: c[0])
def test_a_progress_bar_is_for_a_terminal_and_leaves_stdout_alone(
    cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    cli.ok("ingest", tree)
    monkeypatch.delenv("ARTIFACTSTORE_PROGRESS")
    monkeypatch.setenv("TERM", "xterm")
    with (
        Terminal() as terminal,
        os.fdopen(terminal.descriptor, "w", closefd=False) as stderr,
        monkeypatch.context() as at,
    ):
        at.setattr(sys, "stderr", stderr)
        ran = cli.run(*command, "--json")
    assert ran.code == 0
    done = ran.json["bytes"]
    assert command[0] in terminal.shown
    assert f"{done} B of {done} B" in terminal.shown


def test_a_progress_bar_counts_what_a_scan_has_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with (
        Terminal() as terminal,
        os.fdopen(terminal.descriptor, "w", closefd=False) as stderr,
        monkeypatch.context() as at,
    ):
        at.setattr(sys, "stderr", stderr)
        with progress_bar("ingest") as progress:
            assert progress is not None
            progress(IngestProgress(0, 3000, 0, 5, scanning=True))  # the last state is drawn in any case
    assert "3000 files found, 5 B" in terminal.shown
    assert " of " not in terminal.shown.rpartition("3000 files")[2]
