"""Metadata, annotations, schemas and lineage, as somebody types them."""

import json
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from artifactstore_protocols.ci import CI_SYSTEMS
from integration.cli.harness import Cli

pytestmark = pytest.mark.slow

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


SCHEMA = {
    "type": "object",
    "required": ["branch"],
    "properties": {"branch": {"type": "string"}, "score": {"type": "integer", "minimum": 1}},
    "additionalProperties": False,
}


def test_a_schema_comes_from_a_pipe(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(json.dumps(SCHEMA).encode())))
    assert cli.ok("schema", "add", "build", "-").text == "build@1\n"
    assert json.loads(cli.ok("schema", "show", "build").out) == SCHEMA


def test_a_schema_is_registered_shown_and_kept(cli: Cli, tree: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "schema.json", SCHEMA)
    assert cli.ok("schema", "add", "build", file).text == "build@1\n"
    assert cli.json("schema", "add", "build", written(file, {"type": "object"}))["version"] == 2
    assert cli.ok("schema", "list").text == "build@1\nbuild@2\n"
    assert [each["version"] for each in cli.json_lines("schema", "list")] == [1, 2]
    assert json.loads(cli.ok("schema", "show", "build@1").out) == SCHEMA
    assert json.loads(cli.json("schema", "show", "build")["schema"]) == {"type": "object"}
    assert "the latest version is 2" in cli.refused_without_a_trace("schema", "show", "build@3")
    assert "there is no metadata schema 'x'" in cli.refused_without_a_trace("schema", "show", "x")
    package = cli.json("ingest", tree, "--schema", "build@1", "--meta", "branch=main")["package_id"]
    assert cli.json("package", "show", package)["schema"] == "build@1"
    assert json.loads(cli.ok("manifest", package).out)["package"]["schema"] == "build@1"
    assert cli.json("ingest", tree, "--schema", "build", "--meta", "x=y")["package_id"]
    refused = cli.refused_without_a_trace("ingest", tree, "--schema", "build@1", "--meta", "branch:=1", "--meta", "x=y")
    assert refused == (
        "the metadata does not fit schema build@1: /branch: expected string, found 1; "
        "/x: this key is not allowed; allowed are branch, score"
    )
    assert cli.json("replay", "--check")["identical"] is True
    assert cli.json("verify")["manifest_mismatches"] == []


def test_a_schema_is_required_for_packages_of_a_name(cli: Cli, tree: Path, tmp_path: Path) -> None:
    assert "there is no store" in cli.refused("schema", "require", "*", "build")
    cli.ok("schema", "add", "build", written(tmp_path / "schema.json", SCHEMA))
    assert cli.ok("schema", "require", "night*", "build").text == "build@1  required for night*\n"
    assert cli.json("schema", "require", "n*", "build@1")["required_for"] == ["n*", "night*"]
    assert cli.ok("schema", "list").text == "build@1  required for n*, night*\n"
    for dry in ((), ("--dry-run",)):
        refused = cli.refused_without_a_trace("ingest", tree, "--name", "nightly", *dry)
        assert refused.startswith("the metadata does not fit schema build@1: ")
        assert "there is no metadata schema 'x'" in cli.refused_without_a_trace(
            "ingest", tree, "--name", "weekly", "--schema", "x", *dry
        )
    cli.ok("ingest", tree, "--name", "nightly", "--meta", "branch=main", "--dry-run")
    package = cli.json("ingest", tree, "--name", "nightly", "--meta", "branch=main")["package_id"]
    assert cli.json("package", "show", package)["schema"] == "build@1"
    assert cli.ok("schema", "unrequire", "night*").text == "no longer required for night*\n"
    assert cli.json("schema", "unrequire", "n*") == {"glob": "n*"}
    assert "no schema is required for 'n*'" in cli.refused_without_a_trace("schema", "unrequire", "n*")
    cli.ok("ingest", tree, "--name", "nightly")
    assert cli.json("replay", "--check")["identical"] is True


def test_annotations_must_fit_when_the_package_is_finalized(cli: Cli, tmp_path: Path) -> None:
    cli.ok("schema", "add", "build", written(tmp_path / "schema.json", SCHEMA))
    cli.ok("package", "create", "p", "--schema", "build", "--meta", "branch=main")
    cli.ok("package", "annotate", "p", "score:=0")
    refused = cli.refused_without_a_trace("package", "finalize", "p")
    assert refused == "the metadata does not fit schema build@1: /score: expected at least 1, found 0"
    cli.ok("package", "annotate", "p", "score:=1")
    cli.ok("package", "finalize", "p")
    cli.ok("package", "annotate", "p", "score:=0")
    cli.ok("events", "--export", tmp_path / "log.cborseq")
    there = ("--store", tmp_path / "there")
    cli.ok(*there, "events", "--import", tmp_path / "log.cborseq")
    assert cli.json(*there, "package", "show", "p")["annotations"] == {"score": 0}


def test_a_schema_that_is_not_supported_is_refused(cli: Cli, tmp_path: Path) -> None:
    file = written(tmp_path / "schema.json", {"properties": {"branch": {"pattern": "^(a+)+$"}}})
    refused = cli.refused_without_a_trace("schema", "add", "build", file)
    assert refused == (
        "invalid metadata schema 'at /properties/branch/pattern': 'pattern' is refused: "
        "an expression can take a very long time; use enum, minLength or maxLength"
    )
    assert "invalid metadata schema name 'a@1'" in cli.refused_without_a_trace(
        "schema", "add", "a@1", written(file, {})
    )


def test_neither_a_schema_nor_a_parent_makes_a_store(cli: Cli, tree: Path) -> None:
    for options in (("--schema", "build"), ("--from", "nightly")):
        assert "there is no store" in cli.refused("ingest", tree, *options)
        assert "there is no store" in cli.refused("package", "create", "p", *options)
    assert not cli.database.exists()


def test_lineage_is_recorded_shown_and_followed(cli: Cli, tree: Path) -> None:
    sources = [cli.json("ingest", tree, "--name", name) for name in ("source", "model")]
    child = cli.json("ingest", tree, "--name", "result", "--from", "source", "--from", sources[1]["package_id"])
    parents = {each["package_id"]: each["manifest_digest"] for each in sources}
    assert cli.json("package", "show", "result")["parents"] == parents
    assert json.loads(cli.ok("manifest", "result").out)["package"]["parents"] == parents
    shown = cli.ok("package", "show", "result").text
    for parent, digest in parents.items():
        assert f"{parent}={digest}" in shown
    found = [each["package_id"] for each in cli.json_lines("package", "list", "--from", "source")]
    assert found == [child["package_id"]]
    assert cli.json_lines("package", "list", "--from", "result") == []
    cli.ok("package", "create", "open")
    refused = cli.refused_without_a_trace("package", "create", "p", "--from", "open")
    assert "is still open and has no manifest" in refused
    assert "there is no package 'x'" in cli.refused_without_a_trace("package", "create", "p", "--from", "x")
    assert cli.json("replay")["repaired_rows"] == 0


def test_ci_metadata_is_read_from_the_environment(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for system in CI_SYSTEMS:
        monkeypatch.delenv(system.marker, raising=False)
    assert "no CI system was found" in cli.refused("package", "create", "p", "--ci")
    assert not cli.database.exists()
    for name, value in {"BUILDKITE": "true", "BUILDKITE_COMMIT": "4f2a", "BUILDKITE_BRANCH": "main"}.items():
        monkeypatch.setenv(name, value)
    created = cli.json("package", "create", "p", "--ci", "--meta", "ci.branch=dev")
    assert created["metadata"] == {"ci.provider": "buildkite", "ci.commit": "4f2a", "ci.branch": "dev"}
    assert len(cli.json_lines("package", "list", "--meta", "ci.commit=4f2a")) == 1
