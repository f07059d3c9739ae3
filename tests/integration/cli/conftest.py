"""One store a test, named by the environment as a user would name it, and the command line on it."""

import signal
from pathlib import Path

import pytest

from artifactstore.config import ENVIRONMENT
from integration.cli.harness import Cli, make_tree


@pytest.fixture(autouse=True, scope="session")
def interrupts_are_heard() -> None:
    """A shell starts its background jobs deaf to SIGINT, and so would be every process that these tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Cli:
    """The command line on a store that does not exist yet."""
    cli = Cli(tmp_path, capsysbinary)
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", f"sqlite:///{cli.database}")
    monkeypatch.setenv("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", str(cli.objects))
    monkeypatch.setenv("LOGNAME", "tester")
    monkeypatch.chdir(tmp_path)
    return cli


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small directory: text, a script, an empty file, and the same content twice."""
    root = make_tree(
        tmp_path / "tree",
        {
            "README.md": b"# hello\n",
            "bin/run.sh": b"#!/bin/sh\nexit 0\n",
            "data/empty": b"",
            "data/report.json": b'{"ok": true}\n',
            "data/copy of report.json": b'{"ok": true}\n',
        },
    )
    (root / "bin/run.sh").chmod(0o755)
    return root
