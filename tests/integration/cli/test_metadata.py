"""Metadata, annotations, schemas and lineage, as somebody types them."""

import json
from pathlib import Path

from integration.cli.harness import Cli

VALUES = {"branch": "main", "tests": 412, "passed": True, "hosts": ["a", {"b": 1}], "build": {"os": {"name": "linux"}}}


def test_values_of_every_type_are_kept_everywhere(cli: Cli, tree: Path) -> None:
    typed = [f"--meta={key}:={json.dumps(value)}" for key, value in VALUES.items()]
    ingested = cli.json("ingest", tree, *typed)
    package = ingested["package_id"]
    assert cli.json("package", "show", package)["metadata"] == VALUES
    [listed] = cli.json_lines("package", "list")
    assert listed["metadata"] == VALUES
    assert json.loads(cli.ok("manifest", package).out)["package"]["metadata"] == VALUES
    creation = cli.json_lines("events")[1]
    assert creation["payload"]["metadata"] == VALUES
    shown = cli.ok("package", "show", package).text
    [line] = [line for line in shown.splitlines() if line.startswith("metadata ")]
    assert set(line.split(maxsplit=1)[1].split(", ")) >= {"branch=main", "tests:=412", "passed:=true"}
    assert 'build:={"os": {"name": "linux"}}' in line
    assert cli.json("replay", "--check")["identical"] is True
    assert cli.json("verify")["manifest_mismatches"] == []


def test_a_log_carries_them_to_another_store(cli: Cli, tree: Path, tmp_path: Path) -> None:
    package = cli.json("ingest", tree, "--meta-file", written(tmp_path / "m.json", VALUES))["package_id"]
    cli.ok("events", "--export", tmp_path / "log.cborseq")
    there = ("--store", tmp_path / "there")
    cli.ok(*there, "events", "--import", tmp_path / "log.cborseq")
    assert cli.json(*there, "package", "show", package)["metadata"] == VALUES
    assert cli.ok(*there, "manifest", package, "--format", "json").out == cli.ok("manifest", package).out


def written(file: Path, value: object) -> Path:
    file.write_text(json.dumps(value))
    return file


def test_a_file_gives_metadata_and_the_option_wins(cli: Cli, tmp_path: Path) -> None:
    file = written(tmp_path / "m.json", VALUES)
    created = cli.json("package", "create", "p", "--meta-file", file, "--meta", "branch=dev", "--meta", "more:=[]")
    assert created["metadata"] == {**VALUES, "branch": "dev", "more": []}
    refused = cli.refused_without_a_trace("package", "create", "p", "--meta-file", written(file, {"a": {"b": None}}))
    assert refused == "invalid metadata['a']['b'] 'None': give text, an integer, True, False, a list or a mapping"


def test_a_file_that_is_too_large_or_no_text_is_refused(cli: Cli, tmp_path: Path) -> None:
    for content, reason in ((b" " * (1 << 21), "has more than"), (b"\xff", "is not UTF-8")):
        (tmp_path / "m.json").write_bytes(content)
        ran = cli.run("package", "create", "p", "--meta-file", tmp_path / "m.json")
        assert (ran.code, ran.out) == (2, b"")
        assert reason in ran.err


def test_packages_are_found_by_text_and_by_type(cli: Cli) -> None:
    cli.ok("package", "create", "number", "--meta", "n:=412")
    cli.ok("package", "create", "text", "--meta", "n=412")
    cli.ok("package", "create", "list", "--meta", "n:=[412]")

    def found(*conditions: str) -> list[str]:
        return [each["name"] for each in cli.json_lines("package", "list", *conditions)]

    assert found("--meta", "n=412") == ["text", "number"]
    assert found("--meta", "n:=412") == ["number"]
    assert found("--meta", 'n:="412"') == ["text", "number"]
    assert found("--meta", "n=[412]") == []
    assert "search for text" in cli.refused_without_a_trace("package", "list", "--meta", "n:=[412]")


def test_annotations_stand_beside_the_manifest(cli: Cli, tree: Path) -> None:
    package = cli.json("ingest", tree, "--meta", "branch=main")["package_id"]
    manifest = cli.ok("manifest", package).out
    assert cli.json("package", "annotate", package, "reviewed=alice", "score:=4")["annotations"] == {
        "reviewed": "alice",
        "score": 4,
    }
    said = cli.ok("package", "annotate", package, "score:=5", "hosts:=[1]", "--remove", "reviewed").text
    assert said == f"{package}  tree  hosts:=[1], score:=5\n"
    shown = cli.ok("package", "show", package).text
    assert "annotations        hosts:=[1], score:=5\n" in shown
    assert cli.json("package", "show", package)["metadata"] == {"branch": "main"}
    assert cli.ok("manifest", package).out == manifest
    details = [line["detail"] for line in cli.json_lines("history", package)]
    assert details[-2:] == [
        "annotated score:=4, reviewed=alice",
        "annotated hosts:=[1], score:=5; removed annotation 'reviewed'",
    ]
    for condition, found in (("score=5", 1), ("score:=5", 1), ("score=4", 0), ("reviewed=alice", 0)):
        assert len(cli.json_lines("package", "list", "--meta", condition, "--meta", "branch=main")) == found
    assert cli.json("replay")["repaired_rows"] == 0


def test_an_annotation_that_cannot_be_is_refused(cli: Cli, tree: Path) -> None:
    package = cli.json("ingest", tree, "--meta", "branch=main")["package_id"]
    refused = cli.refused_without_a_trace("package", "annotate", "tree", "branch=dev")
    assert refused == f"the metadata of package {package} has 'branch' and cannot change; annotate with another key"
    assert "has no annotation 'x'" in cli.refused_without_a_trace("package", "annotate", "tree", "--remove", "x")
    for arguments, reason in (((), "give K=V or --remove K"), (("x",), "write KEY=TEXT, or KEY:=JSON")):
        ran = cli.run("package", "annotate", "tree", *arguments)
        assert (ran.code, ran.out) == (2, b"")
        assert reason in ran.err
