"""A directory in, a finalized package out: what `ingest` takes, what it answers, and what comes back."""

import os
import stat
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from integration.cli.harness import Cli, make_tree, sequences

INGEST_KEYS = [
    "package_id",
    "name",
    "manifest_digest",
    "tree_digest",
    "files",
    "links",
    "directories",
    "bytes",
    "deduplicated_bytes",
    "reused_files",
    "continued_files",
    "excluded",
    "unreadable",
    "sequence",
]
SMALL_FILES = 10_000
SHA256_OF_A_GIBIBYTE_OF_ZEROS = "49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14"

# Runs commands that are given as one text, and says what the process's memory came to, in KiB, on Linux and macOS.
MEASURED = """
import resource, sys
from artifactstore.cli.app import run
for command in sys.argv[1:]:
    assert run(command.split("|")) == 0
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak // 1024 if sys.platform == "darwin" else peak)
"""


def test_ingest_prints_the_facts_that_scripts_rely_on(cli: Cli, tree: Path) -> None:
    answer = cli.json("ingest", tree)
    assert list(answer) == INGEST_KEYS
    assert answer["name"] == "tree"
    assert (answer["files"], answer["bytes"], answer["deduplicated_bytes"]) == (5, 51, 13)
    assert answer["excluded"] == answer["unreadable"] == []
    assert answer["sequence"] == 5  # log created, package created, objects stored, files ingested, finalized
    assert len(answer["manifest_digest"]) == len(answer["tree_digest"]) == len("blake3:") + 64


def test_the_recorded_metadata_is_printed(cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"GITHUB_ACTIONS": "true", "GITHUB_SHA": "4f1c", "GITHUB_REF_NAME": "main"}.items():
        monkeypatch.setenv(name, value)
    said = cli.ok("ingest", tree, "--ci", "--meta", "tests:=412").text
    assert "metadata         ci.provider=github, ci.commit=4f1c, ci.branch=main, tests:=412\n" in said


def test_ingest_tells_a_person_the_same(cli: Cli, tree: Path) -> None:
    shown = cli.ok("ingest", tree, "--name", "told").text
    (package,) = cli.json_lines("package", "list")
    assert shown.splitlines() == [
        f"package          {package['package_id']}  told",
        f"manifest digest  {package['manifest_digest']}",
        f"tree digest      {package['tree_digest']}",
        "files            5, 51 B",
        "deduplicated     13 B",
        "sequence         5",
    ]


def test_an_empty_directory_is_a_package_without_files(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    ingested = cli.run("ingest", "nothing", "--json")
    assert (ingested.code, ingested.err) == (0, "artifactstore: warning: the sources have no file\n")
    answer = ingested.json
    assert (answer["files"], answer["bytes"], answer["sequence"]) == (0, 0, 3)
    cli.ok("export", "nothing", "out")
    assert list((tmp_path / "out").iterdir()) == []
    assert cli.json("verify")["objects"] == 0


def test_the_package_is_named_after_the_directory_wherever_it_is_called_from(
    cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree / "data")
    assert [cli.json("ingest", path)["name"] for path in (".", "..", "../bin/", tree)] == [
        "data",
        "tree",
        "bin",
        "tree",
    ]


def test_name_retention_and_metadata_are_recorded(cli: Cli, tree: Path) -> None:
    cli.ok("ingest", tree, "--name", "nightly", "--retention", "long", "--meta", "commit=abc=1", "--meta", "empty=")
    package = cli.json("package", "show", "nightly")
    assert (package["retention_class"], package["metadata"]) == ("long", {"commit": "abc=1", "empty": ""})
    assert package["created_by"] == "tester"


def test_equal_content_is_stored_once(cli: Cli, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "twins", {"one": b"same", "two": b"same", "deep/three": b"same", "other": b"else"})
    first = cli.json("ingest", tree)
    assert (first["bytes"], first["deduplicated_bytes"]) == (16, 8)
    assert len(cli.stored_files()) == 2
    second = cli.json("ingest", tree)
    assert second["deduplicated_bytes"] == 16
    assert len(cli.stored_files()) == 2
    assert second["tree_digest"] == first["tree_digest"]
    assert second["manifest_digest"] != first["manifest_digest"]  # a manifest names its package


def test_equal_trees_have_equal_tree_digests_whatever_they_are_called(cli: Cli, tmp_path: Path) -> None:
    content = {"a": b"1", "b/c": b"2"}
    trees = [make_tree(tmp_path / "first", content), make_tree(tmp_path / "second", dict(reversed(content.items())))]
    digests = {cli.json("ingest", tree)["tree_digest"] for tree in trees}
    assert len(digests) == 1
    (trees[1] / "a").chmod(0o755)
    assert cli.json("ingest", trees[1])["tree_digest"] not in digests


NAMES = {
    "spaces": " two  words ",
    "emoji": "🎉 party 👩‍👩‍👧.txt",
    "combining": "Cafe\u0301.txt",
    "right to left": "שלום.txt",
    "255 bytes": "x" * 255,
    "255 bytes of three each": "語" * 85,
    "shell": "$(rm -rf ~); 'quote\" *?",
    "dash": "--json",
    "dots": "...",
    "newer than most fonts": "\U0001fae8",
}


def test_names_are_kept_to_the_byte(cli: Cli, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "names", {f"{name}/{name}": name.encode() for name in NAMES.values()})
    cli.ok("ingest", tree)
    shown = cli.json("package", "show", "names")["file_list"]
    wanted = sorted((f"{name}/{name}" for name in NAMES.values()), key=str.encode)
    assert [file["path"] for file in shown] == wanted
    cli.ok("export", "names", "out")
    for name in NAMES.values():
        assert (tmp_path / "out" / name / name).read_bytes() == name.encode()
    combining = NAMES["combining"]
    assert os.fsencode(combining) in {os.fsencode(path.name) for path in (tmp_path / "out").iterdir()}
    assert combining != unicodedata.normalize("NFC", combining)
    assert cli.ok("get", "names", f"{combining}/{combining}").text == combining


def test_executable_bit_and_media_type_are_kept_and_shown(cli: Cli, tree: Path, tmp_path: Path) -> None:
    (tree / "group.sh").write_bytes(b"only the group may\n")
    (tree / "group.sh").chmod(0o674)
    cli.ok("ingest", tree)
    files = {file["path"]: file for file in cli.json("package", "show", "tree")["file_list"]}
    assert {path for path, file in files.items() if file["executable"]} == {"bin/run.sh"}
    assert files["bin/run.sh"]["media_type"] == "application/x-sh"
    assert files["data/report.json"]["media_type"] == "application/json"
    assert files["data/empty"]["media_type"] == "application/octet-stream"
    lines = cli.ok("package", "show", "tree").text.splitlines()
    assert [line for line in lines if line.startswith("x ")] == [
        f"x           17  application/x-sh                  {files['bin/run.sh']['content_address']}  bin/run.sh"
    ]
    cli.ok("export", "tree", "out")
    modes = {path: stat.S_IMODE((tmp_path / "out" / path).stat().st_mode) for path in files}
    assert modes.pop("bin/run.sh") == 0o755
    assert set(modes.values()) == {0o644}


def test_empty_directories_are_kept(cli: Cli, tree: Path, tmp_path: Path) -> None:
    plain = cli.json("ingest", tree)
    (tree / "empty" / "below").mkdir(parents=True)
    again = cli.json("ingest", tree, "--name", "again")
    assert (again["files"], again["directories"]) == (5, 1)
    assert again["tree_digest"] != plain["tree_digest"]
    assert cli.ok("export", "again", "out").text == "wrote 5 files, 1 empty directory, 51 B, to out\n"
    assert list((tmp_path / "out" / "empty" / "below").iterdir()) == []


@pytest.mark.slow
def test_the_store_is_left_out_of_what_it_lies_in_and_that_is_said(cli: Cli, tree: Path) -> None:
    beside = [f"store/log.db{suffix}" for suffix in ("", "-shm", "-wal", ".lock")]
    for number in range(2):
        answer = cli.json("ingest", ".", "--name", f"json {number}")
        assert set(answer["excluded"]) == {*beside, "store/objects"}
        assert answer["files"] == 5, "the tree, and nothing that an ingest before has left"
    lines = cli.ok("ingest", ".", "--name", "people").text.splitlines()
    assert "left out         5 paths" in lines
    assert "  store/objects" in lines
    cli.ok("package", "create", "p")
    assert "store/log.db" in cli.ok("package", "add", "p", ".").text
    assert "belongs to this store itself" in cli.refused_without_a_trace("ingest", "store/objects", "--name", "x")
    assert "belongs to this store itself" in cli.refused_without_a_trace("package", "add", "p", "store/log.db")


@pytest.mark.slow
def test_ten_thousand_small_files(cli: Cli, tmp_path: Path) -> None:
    tree = tmp_path / "many"
    for directory in range(100):
        (tree / f"{directory:02}").mkdir(parents=True)
        for number in range(SMALL_FILES // 100):
            (tree / f"{directory:02}" / f"{number:02}").write_bytes(b"%d" % (directory * 1000 + number))
    answer = cli.json("ingest", tree)
    assert (answer["files"], answer["sequence"]) == (SMALL_FILES, 2 * -(-SMALL_FILES // 256) + 3)
    assert len(cli.stored_files()) == SMALL_FILES
    assert sequences(cli.json_lines("events")) == list(range(1, answer["sequence"] + 1))
    assert cli.json("replay", "--check")["identical"] is True
    assert len(cli.json("package", "show", "many")["file_list"]) == SMALL_FILES


@pytest.mark.slow
def test_a_file_of_one_gibibyte_takes_less_than_200_mebibytes_of_memory(cli: Cli, tmp_path: Path) -> None:
    tree = tmp_path / "large"
    tree.mkdir()
    with (tree / "zeros").open("wb") as file:
        file.truncate(1 << 30)
    commands = (f"ingest|{tree}|--json", "verify|--json")
    # A process counts the memory of the one that it was forked from: the shell between keeps pytest's out of it.
    measured = subprocess.run(
        ["sh", "-c", '"$0" "$@"; exit', sys.executable, "-c", MEASURED, *commands],
        capture_output=True,
        check=True,
        text=True,
    )
    ingested, verified, peak_kib = measured.stdout.splitlines()
    assert '"bytes": 1073741824' in ingested
    assert '"mismatches": []' in verified
    assert int(peak_kib) < 200 * 1024
    (file,) = cli.json("package", "show", "large")["file_list"]
    assert file["sha256"] == f"sha256:{SHA256_OF_A_GIBIBYTE_OF_ZEROS}"
