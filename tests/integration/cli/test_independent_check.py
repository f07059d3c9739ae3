"""What the store says of a package, held against a script that shares no code with it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from integration.cli.harness import Cli

SCRIPT = Path(__file__).with_name("independent_check.py")


@pytest.fixture
def evidence(cli: Cli, tree: Path, tmp_path: Path) -> list[Path]:
    """Everything that the store says of one package, and everything that it holds."""
    (tree / "Ünïcødé 🎉").mkdir()
    (tree / "Ünïcødé 🎉" / "e\u0301.bin").write_bytes(bytes(range(256)) * 100)
    (tree / "link").symlink_to("data")
    (tree / "nothing here").mkdir()
    (tmp_path / "ingest.json").write_bytes(cli.ok("ingest", tree, "--meta", "kind=Größe", "--json").out)
    (tmp_path / "manifest.cbor").write_bytes(cli.ok("manifest", "tree", "--format", "cbor").out)
    (tmp_path / "manifest.json").write_bytes(cli.ok("manifest", "tree", "--format", "json").out)
    cli.ok("export", "tree", "exported")
    names = ("manifest.cbor", "manifest.json", "ingest.json", "exported")
    return [*(tmp_path / name for name in names), cli.objects]


def check(evidence: list[Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *evidence], capture_output=True, text=True, check=False)


def test_an_independent_script_finds_what_the_store_says(evidence: list[Path]) -> None:
    checked = check(evidence)
    assert (checked.stdout, checked.stderr) == (
        "6 files, 1 links, 1 empty directories and 5 objects are what the store says\n",
        "",
    )


def test_the_script_would_find_a_lie(evidence: list[Path]) -> None:
    ingest = json.loads(evidence[2].read_bytes())
    evidence[2].write_text(json.dumps({**ingest, "tree_digest": ingest["manifest_digest"]}))
    assert check(evidence).stderr.startswith("tree digest: the store says ")


def test_a_manifest_written_to_a_file_has_the_same_bytes(cli: Cli, evidence: list[Path], tmp_path: Path) -> None:
    for number, form in enumerate(("cbor", "json")):
        cli.ok("manifest", "tree", "--format", form, "-o", "written")
        assert (tmp_path / "written").read_bytes() == evidence[number].read_bytes()


def test_json_is_the_form_that_is_printed_by_default(cli: Cli, evidence: list[Path]) -> None:
    assert cli.ok("manifest", "tree").out == evidence[1].read_bytes()
