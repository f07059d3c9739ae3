"""A large ingest that a signal ends: what it had done is kept and accounted for, and the same command does the rest.

The process sends the signal to itself at a known step, so that nothing here depends on how fast it is.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifactstore.ingest import IngestActor
from artifactstore_protocols.storage import StorageFull
from integration.cli.harness import Cli, Ran

pytestmark = pytest.mark.slow

STRIKES_ITSELF = """
import os, sys
from artifactstore.ingest import files_cache, steps
from artifactstore.ingest.steps import Steps
from artifactstore.cli import main

steps.ENTRIES_MAX = 1
steps.BATCHES_TOGETHER = 1
files_cache._RACY_NS = 0
commit, committed = Steps.commit, []
number, commits = int(sys.argv[1]), int(sys.argv[2])

async def commit_and_strike(*arguments):
    answer = await commit(*arguments)
    committed.append(arguments[1])
    if len(committed) == commits:
        os.kill(os.getpid(), number)
    return answer

Steps.commit = commit_and_strike
sys.argv[1:] = sys.argv[3:]
main()
"""
GRACE_S = 60
"""Only a guard: the store itself is to close within its shutdown times, which are shorter."""


def sparse_tree(root: Path, *, files: int, size_bytes: int) -> Path:
    """Files of nothing but holes."""
    root.mkdir()
    for number in range(files):
        path = root / f"part-{number:02}"
        path.touch()
        os.truncate(path, size_bytes - number)
    return root


def struck(number: signal.Signals, commits: int, *arguments: str) -> Ran:
    """Run a command that is struck by a signal once it has committed so many times."""
    command = [sys.executable, "-W", "error", "-c", STRIKES_ITSELF, str(int(number)), str(commits), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            out, err = process.communicate(timeout=GRACE_S)
        finally:
            process.kill()
    return Ran(process.returncode, out, err.decode())


SAID = "artifactstore: interrupted; what was stored is kept; run the same command again to continue\n"


@pytest.mark.parametrize(
    ("number", "files", "size_bytes", "code", "said"),
    [
        (signal.SIGTERM, 16, 64 << 20, 143, SAID),
        (signal.SIGINT, 8, 9 << 20, 130, SAID),
        (signal.SIGKILL, 8, 9 << 20, -9, ""),
    ],
    ids=["SIGTERM, 1 GiB", "SIGINT", "SIGKILL"],
)
def test_an_ingest_that_a_signal_ends_is_finished_by_the_same_command(
    cli: Cli, tmp_path: Path, number: signal.Signals, files: int, size_bytes: int, code: int, said: str
) -> None:
    sparse_tree(tmp_path / "large", files=files, size_bytes=size_bytes)
    ran = struck(number, 4, "ingest", "large", "--json")
    assert (ran.code, ran.out, ran.err) == (code, b"", said)

    (left,) = cli.json_lines("package", "list")  # opening the store sweeps what a killed process left behind
    assert (left["status"], left["name"]) == ("open", "large")
    assert 3 <= left["files"] < files
    assert all(path.startswith("blake3/") for path in cli.stored_files()), "a temp file or a lock is left"

    answer = cli.json("ingest", "large")
    assert (answer["package_id"], answer["files"], answer["reused_files"], answer["continued_files"]) == (
        left["package_id"],
        files,
        left["files"],
        left["files"],
    )
    assert answer["bytes"] == sum(size_bytes - number for number in range(files))
    assert [package["status"] for package in cli.json_lines("package", "list")] == ["finalized"]
    assert cli.json("verify")["missing"] == []
    assert cli.json("replay", "--check")["identical"]


@pytest.fixture
def unfinalizable(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """As long as this is not undone, ingests store everything and then cannot finalize it."""

    async def full(self: IngestActor, package_id: str, actor: str) -> None:
        raise StorageFull("local", "finalizing", "ENOSPC")

    with monkeypatch.context() as patch:
        patch.setattr(IngestActor, "_finalize", full)
        yield patch


def test_an_ingest_that_failed_is_continued_as_well(
    cli: Cli, tree: Path, unfinalizable: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artifactstore.ingest.files_cache._RACY_NS", 0)
    assert "is full" in cli.refused("ingest", tree)
    unfinalizable.undo()
    shown = cli.ok("ingest", tree).text.splitlines()
    assert "reused           5 files, unchanged and not read again" in shown
    (package,) = cli.json_lines("package", "list")
    assert package["status"] == "finalized"
    assert "reused" not in cli.ok("ingest", tree, "--no-files-cache").text
    cli.ok("package", "create", "p")
    assert ", 5 not read again" in cli.ok("package", "add", "p", tree).text
    cli.ok("package", "create", "q")
    assert "not read again" not in cli.ok("package", "add", "q", tree, "--no-files-cache").text
