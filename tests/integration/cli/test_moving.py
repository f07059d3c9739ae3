"""`events --export` and `--import` as a user has them: files and streams, words and JSON, and refusals."""

import io
import json
import sys
from pathlib import Path

import pytest

from integration.cli.harness import Cli


@pytest.fixture
def elsewhere(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The same command line, from now on, on another store that does not exist yet; `cli` was filled before."""
    other = Cli(cli.directory, cli._capture)
    other.database, other.objects = cli.directory / "other" / "log.db", cli.directory / "other" / "objects"
    return other


def go_to(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", f"sqlite:///{cli.database}")
    monkeypatch.setenv("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", str(cli.objects))
    return cli


def test_a_log_is_carried_to_another_store(
    cli: Cli, elsewhere: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.ok("ingest", tree, "--name", "moved")
    log, digest = cli.json_lines("events"), cli.json("replay", "--check")["projection_digest"]
    exported = cli.json("events", "--export", "log.cborseq")
    assert list(exported) == ["file", "events", "bytes", "digest"]
    assert (exported["file"], exported["events"]) == ("log.cborseq", len(log))
    assert exported["bytes"] == Path("log.cborseq").stat().st_size
    assert cli.ok("events", "--export", "-").out == Path("log.cborseq").read_bytes()
    assert cli.ok("events", "--export", "again").text.splitlines()[1] == f"digest  {exported['digest']}"

    go_to(elsewhere, monkeypatch)
    imported = elsewhere.json("events", "--import", "log.cborseq")
    assert list(imported) == ["file", "events", "written", "sequence", "digest", "flaws"]
    assert (imported["events"], imported["written"], imported["sequence"]) == (len(log),) * 3
    assert imported["digest"] == exported["digest"]
    assert imported["flaws"]["missing_objects"] == len(imported["flaws"]["missing"]) == 4
    assert elsewhere.json_lines("events") == log
    assert elsewhere.json("replay", "--check")["projection_digest"] == digest


def test_an_import_tells_a_person_what_is_not_there(
    cli: Cli, elsewhere: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        (tree / str(number)).write_bytes(b"%d" % number)
    cli.ok("ingest", tree)
    cli.ok("events", "--export", "log")
    go_to(elsewhere, monkeypatch)
    lines = elsewhere.ok("events", "--import", "log").text.splitlines()
    assert lines[0] == "16 events; 16 of them are new here"
    assert len([line for line in lines if line.startswith("missing blake3:")]) == 10
    assert "missing: 13 objects in all" in lines
    assert "artifactstore restore" in lines[-1]
    elsewhere.ok("package", "create", "further")
    assert elsewhere.ok("events", "--import", "log").text.splitlines()[0] == (
        "nothing to do: this log begins with those 16 events and goes on to 17"
    )


def test_a_log_comes_in_on_stdin(cli: Cli, elsewhere: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.ok("package", "create", "p")
    payload = cli.ok("events", "--export", "-").out
    go_to(elsewhere, monkeypatch)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(payload)))
    assert elsewhere.json("events", "--import", "-")["written"] == 1
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(payload[:-1])))
    assert "standard-input is not intact at byte" in elsewhere.refused("events", "--import", "-")


def test_what_cannot_be_taken_over_is_refused_in_one_line(
    cli: Cli, elsewhere: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.ok("package", "create", "p")
    cli.ok("events", "--export", "log")
    go_to(elsewhere, monkeypatch)
    elsewhere.ok("package", "create", "of its own")
    assert "differ from sequence 1 on" in elsewhere.refused_without_a_trace("events", "--import", "log")
    payload = Path("log").read_bytes()
    Path("log").write_bytes(payload[:60] + b"?" + payload[61:])
    assert "log file log is not intact at byte" in elsewhere.refused_without_a_trace("events", "--import", "log")
    assert "No such file" in elsewhere.refused_without_a_trace("events", "--import", "nowhere")
    assert "cannot write to" in elsewhere.refused("events", "--export", ".")


@pytest.mark.parametrize(
    "options",
    [
        ["--export", "a", "--import", "b"],
        ["--export", "a", "--follow"],
        ["--import", "a", "--since", "3"],
        ["--export", "-", "--json"],
    ],
)
def test_only_one_thing_is_done_with_the_log(cli: Cli, options: list[str]) -> None:
    ran = cli.run("events", *options)
    assert ran.code == 2
    assert not cli.database.exists()


def test_json_is_one_line_that_says_where_objects_are_missing(
    cli: Cli, elsewhere: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = cli.json("ingest", tree)["package_id"]
    cli.ok("events", "--export", "log")
    go_to(elsewhere, monkeypatch)
    (line,) = elsewhere.ok("events", "--import", "log", "--json").text.splitlines()
    files = [name for flaw in json.loads(line)["flaws"]["missing"] for name in flaw["files"]]
    assert sorted(files) == sorted(f"{package}/{path.relative_to(tree)}" for path in tree.rglob("*") if path.is_file())
