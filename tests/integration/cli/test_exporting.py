"""Export as a user has it: killed at any step and continued by the same command, and what could not be kept is said."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from integration.cli.harness import Cli
from odd_mount import OddMount

FILES = {f"dir {number % 3}/file {number}": b"content %d" % number for number in range(9)}


@pytest.fixture
def files(cli: Cli, tmp_path: Path) -> dict[str, bytes]:
    """A package named `p`."""
    for path, content in FILES.items():
        (tmp_path / "files" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / path).write_bytes(content)
    cli.ok("ingest", tmp_path / "files", "--name", "p")
    return FILES


def _found(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


# The command line in a process that kills itself at its n-th call of a function that names a directory by fd. Where it
# is to die at a hard link or after one, the C library has no renames that replace nothing.
_DYING = """
import itertools, os, signal, sys
from artifactstore.cli.app import run
from artifactstore.package_export import renaming

call, number, before = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "before"
if call in {"link", "unlink"}:
    renaming._renameat2 = lambda: None
owner = renaming if call == "rename_new" else os
real, calls = getattr(owner, call), itertools.count(1)

def deadly(*arguments, **options):
    ours = {"dir_fd", "dst_dir_fd"} & options.keys() and next(calls) == number
    if ours and before:
        os.kill(os.getpid(), signal.SIGKILL)
    done = real(*arguments, **options)
    if ours and not before:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

setattr(owner, call, deadly)
sys.exit(run(sys.argv[4:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("call", "number"),
    [
        ("mkdir", 1),
        ("mkdir", 3),
        ("open", 2),
        ("rename_new", 1),
        ("rename_new", 5),
        ("link", 1),
        ("link", 5),
        ("unlink", 4),
        ("rmdir", 1),
    ],
)
def test_an_export_that_is_killed_is_continued_by_the_same_command(
    cli: Cli, files: dict[str, bytes], tmp_path: Path, call: str, number: int, when: str
) -> None:
    out = tmp_path / "out"
    ran = subprocess.run(
        [sys.executable, "-c", _DYING, call, str(number), when, "export", "p", str(out)],
        check=False,
        capture_output=True,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGKILL, b"", b"")
    complete = {path: content for path, content in _found(out).items() if not path.startswith(".")}
    assert complete.items() <= files.items(), "a real name has all of its bytes"
    if (call, when) == ("rmdir", "after"):
        assert complete == files
        return
    report = cli.json("export", "p", out)
    assert (report["files"], report["unchanged"]) == (len(files), len(complete))
    assert _found(out) == files


def test_what_a_target_cannot_keep_is_said(
    cli: Cli, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files" / "run").write_bytes(b"#!")
    (tmp_path / "files" / "run").chmod(0o755)
    cli.ok("ingest", tmp_path / "files", "--name", "q")
    mount = OddMount(tmp_path / "out", monkeypatch)
    mount.modes = False
    mount.failing["fchmod"] = errno.EPERM
    mount.refusal = lambda name: errno.EINVAL if name == b"file 4" else None
    ran = cli.run("export", "q", "out")
    assert (ran.code, ran.err) == (3, "")
    assert ran.text.splitlines() == [
        f"wrote {len(files)} files, {sum(map(len, files.values())) - len(b'content 4') + len(b'#!')} B, to out",
        "the target's file system has limits: permissions are not kept",
        "not kept: the executable bit of 1 file",
        "not written: 1 path",
        "  dir 1/file 4: the target does not take the name: Invalid argument",
    ]
    ran = cli.run("export", "q", "out", "--json")
    assert (ran.code, ran.err) == (3, "")
    assert ran.json["refused"] == [
        {"path": "dir 1/file 4", "reason": "the target does not take the name: Invalid argument"}
    ]
    assert (ran.json["unchanged"], ran.json["limits"], ran.json["wrong_executable_bits"]) == (9, ["modes"], 1)


@pytest.mark.slow
def test_an_interrupted_export_says_what_is_true(cli: Cli, files: dict[str, bytes], tmp_path: Path) -> None:
    """Its message promises that the same command continues, and it does."""
    interrupting = _DYING.replace("SIGKILL", "SIGINT")
    ran = subprocess.run(
        [sys.executable, "-c", interrupting, "rename_new", "3", "before", "export", "p", str(tmp_path / "out")],
        check=False,
        capture_output=True,
    )
    assert (ran.returncode, ran.stdout) == (130, b"")
    assert b"run the same command again to continue" in ran.stderr
    assert cli.json("export", "p", "out")["files"] == len(files)
    assert _found(tmp_path / "out") == files
