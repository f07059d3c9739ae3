"""Export, import, backup and restore by commands: text, JSON and refusals, for files and streams."""

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from integration.cli.harness import Cli


@pytest.fixture
def elsewhere(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> Cli:
    """The command line for another store that does not exist yet; `go_to` points the environment there."""
    other = Cli(tmp_path, capsysbinary)
    other.database, other.objects = tmp_path / "other" / "log.db", tmp_path / "other" / "objects"
    return other


def go_to(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", f"sqlite:///{cli.database}")
    monkeypatch.setenv("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", str(cli.objects))
    return cli


@pytest.mark.slow
def test_a_log_is_carried_to_another_store(
    cli: Cli, elsewhere: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.ok("ingest", tree, "--name", "moved")
    log, digest = cli.json_lines("events"), cli.json("replay", "--check")["projection_digest"]
    exported = cli.json("events", "--export", "log.cborseq")
    assert list(exported) == ["file", "events", "bytes", "digest", "limits"]
    assert (exported["file"], exported["events"]) == ("log.cborseq", len(log))
    assert exported["bytes"] == Path("log.cborseq").stat().st_size
    assert cli.ok("events", "--export", "-").out == Path("log.cborseq").read_bytes()
    assert cli.ok("events", "--export", "again").text.splitlines()[1] == f"digest  {exported['digest']}"

    go_to(elsewhere, monkeypatch)
    imported = elsewhere.json("events", "--import", "log.cborseq")
    assert list(imported) == ["file", "events", "written", "sequence", "digest", "flaws", "failures"]
    assert (imported["events"], imported["written"], imported["sequence"]) == (len(log),) * 3
    assert imported["digest"] == exported["digest"]
    assert imported["flaws"]["missing_objects"] == len(imported["flaws"]["missing"]) == 4
    assert elsewhere.json_lines("events") == log
    assert elsewhere.json("replay", "--check")["projection_digest"] == digest


@pytest.mark.slow
def test_an_import_tells_a_person_what_is_not_there(
    cli: Cli, elsewhere: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        (tree / str(number)).write_bytes(b"%d" % number)
    cli.ok("ingest", tree)
    cli.ok("events", "--export", "log")
    go_to(elsewhere, monkeypatch)
    lines = elsewhere.ok("events", "--import", "log").text.splitlines()
    assert lines[0] == "5 events; 5 new here"
    assert len([line for line in lines if line.startswith("missing blake3:")]) == 10
    assert "missing: 13 objects in all" in lines
    assert "artifactstore restore" in lines[-1]
    elsewhere.ok("package", "create", "further")
    assert elsewhere.ok("events", "--import", "log").text.splitlines()[0] == (
        "nothing to add: this log begins with those 5 events and continues to 6"
    )


def test_a_log_comes_in_on_stdin(cli: Cli, elsewhere: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.ok("package", "create", "p")
    payload = cli.ok("events", "--export", "-").out
    go_to(elsewhere, monkeypatch)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(payload)))
    assert elsewhere.json("events", "--import", "-")["written"] == 2
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(payload[:-1])))
    assert "standard-input is not intact at byte" in elsewhere.refused("events", "--import", "-")


@pytest.mark.slow
def test_what_cannot_be_taken_over_is_refused_in_one_line(
    cli: Cli, elsewhere: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.ok("package", "create", "p")
    cli.ok("events", "--export", "log")
    go_to(elsewhere, monkeypatch)
    elsewhere.ok("package", "create", "of its own")
    assert "differ from sequence 1 on" in elsewhere.refused_without_a_trace("events", "--import", "log")
    payload = Path("log").read_bytes()
    middle = len(payload) // 2
    Path("log").write_bytes(payload[:middle] + bytes([payload[middle] ^ 1]) + payload[middle + 1 :])
    assert "log file log is not intact at byte" in elsewhere.refused_without_a_trace("events", "--import", "log")
    assert "'nowhere' cannot be read: no such file or directory" in elsewhere.refused_without_a_trace(
        "events", "--import", "nowhere"
    )
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


def test_a_backup_loses_what_the_store_deleted_only_on_request(cli: Cli, tree: Path) -> None:
    package = cli.json("ingest", tree)["package_id"]
    cli.ok("backup", "kept")
    cli.ok("package", "delete", package, "--reason", "a test", "--before-expiry")
    cli.ok("gc", "--grace", "0s", "--orphan-age", "0s")
    assert cli.json("backup", "kept")["pruned_objects"] == 0
    preview = cli.json("backup", "kept", "--prune", "--dry-run")
    assert preview["pruned_objects"] == 4
    assert "4 objects, " in cli.ok("backup", "kept", "--prune", "--dry-run").text
    pruned = cli.json("backup", "kept", "--prune")
    assert {name: pruned[name] for name in preview} == preview
    assert cli.ok("backup", "kept", "--prune").text.splitlines()[2] == "removed 0 objects, 0 B"
    for options in (["--dry-run"], ["--check", "--prune"]):
        refused = cli.run("backup", "kept", *options)
        assert (refused.code, "--dry-run with --prune" in refused.err) == (2, True)


@pytest.mark.slow
def test_a_backup_is_made_checked_brought_up_to_date_and_restored(
    cli: Cli, elsewhere: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.ok("ingest", tree)
    made = cli.json("backup", "kept")
    keys = ["directory", "events", "new_events", "objects", "new_objects", "new_bytes", "digest", "flaws"]
    assert list(made) == [*keys, "pruned_objects", "pruned_bytes", "limits"]
    assert [made[key] for key in keys[:5]] == ["kept", 5, 5, 4, 4]
    assert made["flaws"] == {"damaged_objects": 0, "missing_objects": 0, "damaged": [], "missing": []}
    (tree / "new").write_bytes(b"new")
    cli.ok("ingest", tree, "--name", "second")
    assert cli.ok("backup", "kept").text.splitlines()[:2] == [
        "9 events, 4 new; 5 objects",
        "copied  1 object, 3 B",
    ]
    checked = cli.json("backup", "--check", "kept")
    assert list(checked) == ["directory", "events", "objects", "bytes", "digest", "flaws"]
    assert (checked["events"], checked["objects"]) == (9, 5)
    assert cli.ok("backup", "kept", "--check").text.splitlines()[-1] == "all sound"

    log, digest = cli.json_lines("events"), cli.json("replay", "--check")["projection_digest"]
    stored = cli.stored_files()
    go_to(elsewhere, monkeypatch)
    restored = elsewhere.json("restore", "kept")
    assert list(restored) == [
        "directory",
        "events",
        "written",
        "sequence",
        "new_objects",
        "new_bytes",
        "digest",
        "flaws",
        "failures",
    ]
    assert [restored[key] for key in ("events", "written", "sequence", "new_objects")] == [9, 9, 9, 5]
    assert restored["digest"] == checked["digest"]
    assert elsewhere.json_lines("events") == log
    assert elsewhere.json("replay", "--check")["projection_digest"] == digest
    assert elsewhere.stored_files() == stored
    assert elsewhere.ok("restore", "kept").text.splitlines()[:2] == [
        "9 events; 0 new here",
        "restored  0 objects, 0 B",
    ]
    assert elsewhere.ok("verify").text.endswith("all sound\n")


@pytest.mark.slow
def test_what_is_not_whole_is_told_with_exit_3_and_the_rest_is_done(
    cli: Cli, elsewhere: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = cli.json("ingest", tree)["package_id"]
    files = {file["path"]: file["content_address"] for file in cli.json("package", "show", package)["file_list"]}
    cli.object_of(files["README.md"]).unlink()
    ran = cli.run("backup", "kept")
    assert (ran.code, ran.err) == (3, "")
    assert f"missing {files['README.md']}, 8 bytes, in {package}/README.md" in ran.text.splitlines()
    ran = cli.run("backup", "kept", "--json")
    assert (ran.code, ran.json["flaws"]["missing_objects"], ran.json["new_objects"]) == (3, 1, 0)
    ran = cli.run("backup", "--check", "kept")
    assert (ran.code, ran.text.splitlines()[-1].partition(",")[0]) == (3, "delete damaged files below its objects")
    go_to(elsewhere, monkeypatch)
    ran = elsewhere.run("restore", "kept")
    assert ran.code == 3
    assert f"missing {files['README.md']}, 8 bytes, in {package}/README.md" in ran.text.splitlines()
    assert ran.text.splitlines()[:2] == ["5 events; 5 new here", "restored  3 objects, 30 B"]
    assert elsewhere.run("restore", "kept", "--json").code == 3


@pytest.mark.slow
def test_what_cannot_be_backed_up_or_restored_is_refused_in_one_line(
    cli: Cli, elsewhere: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.ok("ingest", tree)
    assert "cannot use 'tree' as a backup: it holds something else" in cli.refused("backup", "tree")
    assert "there is no artifactstore-backup in it" in cli.refused_without_a_trace("restore", "tree")
    assert "there is no artifactstore-backup in it" in cli.refused("backup", "--check", "nowhere")
    cli.ok("backup", "kept")
    go_to(elsewhere, monkeypatch)
    assert "it holds 5 events, and this log ends at 0" in elsewhere.refused_without_a_trace("backup", "kept")
    elsewhere.ok("package", "create", "of its own")
    assert "differ from sequence 1 on" in elsewhere.refused_without_a_trace("restore", "kept")


def test_a_check_opens_no_store(cli: Cli, elsewhere: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.ok("ingest", tree)
    cli.ok("backup", "kept")
    go_to(elsewhere, monkeypatch)
    elsewhere.ok("backup", "--check", "kept")
    assert not elsewhere.database.parent.exists()


@pytest.mark.slow
def test_a_backup_and_a_restore_that_are_killed_go_on(
    cli: Cli, elsewhere: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(60):
        (many / str(number)).write_bytes((b"%d" % number).ljust(70_000))  # too large to be rows, which come at once
    cli.ok("ingest", many)
    log, stored = cli.json_lines("events"), [path for path in cli.stored_files() if path.startswith("blake3/")]
    _killed(tmp_path / "kept" / "objects", "backup", "kept")
    assert list((tmp_path / "kept" / "log").glob("*.cborseq")) == [], "its only log file comes last"
    made = cli.json("backup", "kept")
    assert (made["events"], made["objects"]) == (5, 60)
    assert cli.json("backup", "--check", "kept")["objects"] == 60
    go_to(elsewhere, monkeypatch)
    _killed(elsewhere.objects, "restore", "kept")
    assert elsewhere.json("restore", "kept")["sequence"] == 5
    assert elsewhere.json_lines("events") == log
    assert [path for path in elsewhere.stored_files() if path.startswith("blake3/")] == stored
    assert elsewhere.ok("verify").text.endswith("all sound\n")


# The command line in a process that kills itself when it has put its thirtieth object in place.
_DYING = """
import itertools, os, signal, sys
from artifactstore.cli.app import run

replace, placed = os.replace, itertools.count(1)

def deadly(source, target):
    replace(source, target)
    if "/blake3/" in str(target) and next(placed) == 30:
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = deadly
sys.exit(run(sys.argv[1:]))
"""


def _killed(objects: Path, *command: str) -> None:
    """Run a command that is killed when a part of the objects is below a root."""
    ran = subprocess.run([sys.executable, "-c", _DYING, *command], check=False, capture_output=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGKILL, b"", b"")
    assert 30 <= len(list(objects.glob("blake3/*/*/*"))) < 60
