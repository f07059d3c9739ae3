"""Progress of every long command: its option, its variable, and JSON for tools beside the answer."""

import json
import re
from pathlib import Path

import pytest

from artifactstore.cli import app
from integration.cli.harness import Cli, Facts
from integration.cli.test_manners import COMMANDS

ALWAYS = {"command", "phase", "files_done", "files_total", "bytes_done", "bytes_total", "elapsed_s"}
LONG = {
    "ingest": ("ingest", "tree", "--name", "again"),
    "package add": ("package", "add", "open", "tree"),
    "package copy": ("package", "copy", "n", "--to", "other"),
    "export": ("export", "n", "out"),
    "verify": ("verify",),
    "repair": ("repair", "--from", "tree"),
    "gc": ("gc",),
    "replay": ("replay",),
    "events --export": ("events", "--export", "log"),
    "events --import": ("events", "--import", "earlier"),
    "backup": ("backup", "kept"),
    "backup --check": ("backup", "--check", "earlier-backup"),
    "restore": ("restore", "earlier-backup"),
}


def progress_of(err: str) -> list[Facts]:
    return [json.loads(line) for line in err.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("command", LONG)
def test_a_long_command_tells_tools_how_it_begins_and_ends(cli: Cli, tree: Path, command: str) -> None:
    cli.ok("ingest", tree, "--name", "n")
    cli.ok("events", "--export", "earlier")
    cli.ok("backup", "earlier-backup")
    cli.ok("package", "create", "open")
    ran = cli.run(*LONG[command], "--progress", "json", "--json")
    assert ran.code == 0
    assert ran.json, "the answer is on stdout, as without progress"
    lines = progress_of(ran.err)
    assert {line["command"] for line in lines} == {command}
    assert all(set(line) >= ALWAYS for line in lines)
    assert (lines[0]["phase"], lines[-1]["phase"]) == ("start", "done")
    last = lines[-1]
    counted = [name.removesuffix("_done") for name in last if name.endswith("_done") and last[name] is not None]
    assert counted
    for name in counted:
        assert last[f"{name}_done"] > 0
        assert last[f"{name}_total"] in {last[f"{name}_done"], None}


def test_a_refused_command_ends_its_progress_as_failed(cli: Cli, tree: Path) -> None:
    cli.ok("ingest", tree)
    ran = cli.run("export", "tree", tree, "--progress", "json")
    assert ran.code == 1
    *lines, refusal = ran.err.splitlines()
    assert json.loads(lines[-1])["phase"] == "failed"
    assert refusal.startswith("artifactstore: cannot write to")


def test_the_variable_sets_the_option_of_every_command(cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_PROGRESS", "json")
    assert progress_of(cli.run("ingest", tree).err)[-1]["files_done"] == 5
    assert cli.run("ingest", tree, "--progress", "none").err == "", "the option wins"
    assert cli.run("ingest", tree, "--quiet").err == ""
    monkeypatch.setenv("ARTIFACTSTORE_PROGRESS", "loud")
    refused = cli.run("ingest", tree)
    assert (refused.code, refused.out) == (2, b"")
    assert "ARTIFACTSTORE_PROGRESS" in refused.err.splitlines()[-1]
    assert cli.ok("package", "list").text, "a command without progress does not look at it"


def test_every_command_that_shows_progress_has_the_option() -> None:
    """The modules of the commands say which: those that call `progress_bar`."""
    shown: set[str] = set()
    for source in Path(app.__file__).parent.glob("*.py"):
        shown |= {
            label.partition(" --")[0] for label in re.findall(r'with .*progress_bar\("(.*?)"\)', source.read_text())
        }
    assert shown == {name for name, command in COMMANDS.items() if any(p.name == "_progress" for p in command.params)}
    assert shown == {label.partition(" --")[0] for label in LONG}
