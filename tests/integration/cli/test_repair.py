"""The command repair, and the options of verify that read a part of a store."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from documents import ROOT, named
from integration.cli.harness import Cli, make_tree
from stored_objects import overwrite

pytestmark = pytest.mark.slow


@pytest.fixture
def addresses(cli: Cli, tree: Path) -> dict[str, str]:
    """The contents of an ingested package, by path."""
    cli.ok("ingest", tree)
    return {file["path"]: file["content_address"] for file in cli.json("package", "show", "tree")["file_list"]}


def test_a_lost_object_is_needed_and_then_repaired_from_a_directory(
    cli: Cli, tmp_path: Path, addresses: dict[str, str]
) -> None:
    lost = addresses["data/report.json"]
    cli.object_of(lost).unlink()
    needed = cli.run("repair")
    assert needed.code == 3
    assert needed.text.splitlines()[0] == "1 object damaged, missing or flagged"
    assert needed.text.splitlines()[1].startswith(f"needed  {lost}, 13 bytes, in ")
    source = make_tree(tmp_path / "elsewhere", {"other name": b'{"ok": true}\n'})
    assert cli.run("repair", "--from", source, "--dry-run").text.splitlines()[1] == (
        f"would repair  1 object, 13 B, from {source}"
    )
    assert cli.run("repair").code == 3, "a dry run repairs nothing"
    report = cli.json("repair", "--from", source)
    assert (report["repaired"], report["remaining"], report["needed"]) == (1, 0, [])
    assert cli.ok("repair").text.startswith("nothing to repair")
    assert cli.ok("verify").text.endswith("all sound\n")
    assert cli.run("repair", "--from", tmp_path / "nowhere").code == 1


def test_options_of_verify_that_read_a_part(cli: Cli, addresses: dict[str, str]) -> None:
    assert cli.ok("verify", "--max-age", "30d").text == "read 0 objects, 0 B\nall sound\n"
    assert cli.ok("verify", "--max-age", "0m").text == "read 4 objects, 38 B\nall sound\n"
    assert cli.json("verify", "--sample", "100%")["objects"] == 4
    sampled = cli.ok("verify", "--sample", "0.5%", "--seed", "9").text.splitlines()
    assert sampled[1] == "seed 9"
    assert cli.json("verify", "--limit-rate", "1G")["objects"] == 4
    for arguments in (
        ("tree", "--max-age", "1d"),
        ("tree", "--sample", "5%"),
        ("--max-age", "soon"),
        ("--seed", "3"),
        ("--sample", "5"),
        ("--sample", "0%"),
        ("--sample", "101%"),
        ("--limit-rate", "fast"),
        ("--limit-rate", "0"),
    ):
        assert cli.run("verify", *arguments).code == 2, arguments
    assert cli.run("repair", "--from", "postgresql://db.example.net/store").code == 2
    assert cli.run("repair", "--from-objects", "objects").code == 2


def test_the_example_of_the_manual_repairs_a_store(
    cli: Cli, tmp_path: Path, addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.ok("backup", "kept")
    overwrite(cli.object_of(addresses["README.md"]), b"# hellO\n")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    code = named(ROOT / "docs" / "how-to" / "verifying.md", "repair.sh").code
    ran = subprocess.run(["sh", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert re.findall("^(damaged|needed|would repair|repaired|all sound)", ran.stdout, re.MULTILINE) == [
        "damaged",
        "needed",
        "would repair",
        "repaired",
        "all sound",
    ]
    assert ran.returncode == 0, ran.stderr
