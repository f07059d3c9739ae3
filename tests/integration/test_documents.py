"""The documents' code, run as it stands there, each block in a process and a directory of its own.

The examples find a directory `reports`, as the README says, and a store that nobody has used; warnings are errors.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from artifactstore.blocking import open_registry
from artifactstore.config import Settings
from documents import DOCUMENTS, ROOT, Block, blocks

README = ROOT / "README.md"
OPERATOR = ROOT / "docs" / "OPERATOR.md"
PLAIN = [
    pytest.param(block, id=f"{document.stem}-{index}")
    for document in DOCUMENTS
    for index, block in enumerate(block for block in blocks(document) if block.run and block.name is None)
]


def run(directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """What came of a program."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ARTIFACTSTORE_")}
    # The Python of this run, and the `artifactstore` that is installed beside it.
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONWARNINGS": "error"}
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def printed_by(directory: Path, *command: str) -> str:
    """What a program prints that ends well and says nothing on stderr."""
    completed = run(directory, *command)
    assert (completed.returncode, completed.stderr) == (0, ""), completed
    return completed.stdout


def make_reports(directory: Path) -> Path:
    reports = directory / "reports"
    (reports / "img").mkdir(parents=True)
    (reports / "index.html").write_text("<h1>all well</h1>\n")
    (reports / "img" / "dot.svg").write_text("<svg/>\n")
    (reports / "run.sh").write_text("#!/bin/sh\n")
    (reports / "run.sh").chmod(0o755)
    return reports


def named(document: Path, name: str, directory: Path) -> Path:
    (code,) = [block.code for block in blocks(document) if block.name == name]
    script = directory / name
    script.write_text(code)
    return script


@pytest.mark.parametrize("block", PLAIN)
def test_every_example_runs_as_it_stands(block: Block, tmp_path: Path) -> None:
    make_reports(tmp_path)
    command = {"python": [sys.executable, "-c"], "sh": ["sh", "-c"]}[block.language]
    assert printed_by(tmp_path, *command, block.code).strip()


def test_the_readme_shows_all_three_ways_to_embed_a_store() -> None:
    code = "".join(block.code for block in blocks(README) if block.run)
    for way in ("from artifactstore import", "from artifactstore.aio import", "from artifactstore.blocking import"):
        assert way in code


def test_a_kept_manifest_checks_an_export_and_brings_files_back_without_a_log(tmp_path: Path) -> None:
    reports = make_reports(tmp_path)
    settings = Settings(f"sqlite:///{tmp_path}/store/log.db", tmp_path / "store" / "objects")
    with open_registry(settings) as registry:
        sealed = registry.ingest_tree(reports)
        registry.export_package(sealed.package_id, tmp_path / "exported")
        kept = tmp_path / "kept.cbor"
        kept.write_bytes(registry.get_manifest_bytes(sealed.package_id))
    (tmp_path / "store" / "log.db").unlink()

    check = str(named(ROOT / "protocols" / "README.md", "check.py", tmp_path))
    printed = printed_by(tmp_path, sys.executable, check, str(kept), "exported")
    assert sealed.manifest_digest.removeprefix("blake3:") in printed
    assert "3 files as sealed" in printed

    rescue = str(named(OPERATOR, "rescue.py", tmp_path))
    printed_by(tmp_path, sys.executable, rescue, str(kept), "store/objects", "rescued")
    with open_registry(settings) as registry:
        assert registry.ingest_tree(tmp_path / "rescued").tree_digest == sealed.tree_digest

    (tmp_path / "exported" / "index.html").write_text("<h1>all is well</h1>\n")
    assert run(tmp_path, sys.executable, check, str(kept), "exported").stderr == (
        "index.html is not what the manifest says\n"
    )
