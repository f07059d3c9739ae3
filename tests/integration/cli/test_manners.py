"""Manners: help with examples that work, completion, quiet, progress, colours that can be refused, exit codes."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup

from artifactstore.cli.app import command_line
from artifactstore.cli.examples import EXAMPLES
from artifactstore.cli.output import quiet_restored
from artifactstore.signals import Interrupted
from documents import ROOT, rows
from integration.cli.harness import Cli


def commands(group: TyperGroup, prefix: str = "") -> Iterator[tuple[str, TyperCommand]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{prefix}{name} ")
        elif isinstance(command, TyperCommand):
            yield f"{prefix}{name}", command


COMMANDS = dict(commands(typer.main.get_group(command_line())))


def test_every_command_has_examples() -> None:
    assert set(EXAMPLES) == set(COMMANDS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_help_of_a_command_shows_examples_that_can_be_typed(cli: Cli, name: str) -> None:
    shown = cli.ok(*name.split(), "--help").text
    for example in EXAMPLES[name]:
        assert f"  {example}\n" in shown, "it was wrapped or left out"
        piped = [shlex.split(part, comments=True) for part in example.split(" | ")]
        own = ["artifactstore", *name.split()]
        (words,) = [words for words in piped if words[0] == "artifactstore"]
        assert words[: len(own)] == own
        with quiet_restored():
            assert COMMANDS[name].make_context(name, words[len(own) :]).params is not None


HELPS = """
import sys
from artifactstore.cli.app import run
for name in sys.argv[1:]:
    run([*name.split(), "--help"])
"""


@pytest.mark.slow
def test_help_does_not_depend_on_docstrings() -> None:
    """Which `PYTHONOPTIMIZE=2` drops."""
    plain, stripped = (
        subprocess.run(
            [sys.executable, *options, "-c", HELPS, *COMMANDS, "package", ""], capture_output=True, check=True
        )
        for options in ((), ("-OO",))
    )
    assert plain.stdout.count(b"Usage: ") == len(COMMANDS) + 2
    assert stripped.stdout == plain.stdout


SHELLS = {"bash": "complete -o default -F", "zsh": "#compdef artifactstore", "fish": "complete --command artifactstore"}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_gets_its_completion(cli: Cli, shell: str) -> None:
    assert SHELLS[shell] in cli.ok("--show-completion", shell).text


def test_a_shell_that_does_not_exist_has_no_completion(cli: Cli) -> None:
    ran = cli.run("--show-completion", "tcsh")
    assert (ran.code, ran.out) == (2, b"")


def test_completion_is_installed_for_the_user_who_asks(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    assert "completion installed" in cli.ok("--install-completion", "bash").text
    assert "artifactstore" in (tmp_path / "home" / ".bashrc").read_text()


def test_every_command_that_changes_something_can_be_quiet_and_all_but_streams_have_json() -> None:
    def without(option: str) -> set[str]:
        return {name for name, command in COMMANDS.items() if option not in str([p.opts for p in command.params])}

    assert without("--json") == {"get", "manifest", "dev", "serve"}
    reading = {"ls", "tree", "diff", "find", "stats", "du", "events", "history", "version", "actors"}
    listing = {f"{group} {verb}" for group in ("package", "schema") for verb in ("list", "show")}
    listing |= {
        "tag list",
        "tag show",
        "tag log",
        "hold list",
        "retention list",
        "retention explain",
        "retention class list",
        "token list",
    }
    listing |= {"retention policy show", "retention policy list"}
    secret = {"token create"}
    assert without("--quiet") == {"get", "manifest", "dev", "serve"} | reading | listing | secret


@pytest.mark.slow
def test_quiet_says_nothing_to_people_and_everything_to_scripts(cli: Cli, tree: Path) -> None:
    silent = [
        ("ingest", tree, "--name", "n"),
        ("package", "create", "p"),
        ("package", "add", "p", tree),
        ("package", "finalize", "p"),
        ("tag", "set", "t", "p"),
        ("tag", "delete", "t"),
        ("retention", "policy", "set", "p", "--keep-last", "9"),
        ("retention", "policy", "delete", "p"),
        ("export", "n", "out"),
        ("verify",),
        ("replay",),
        ("migrate",),
        ("health",),
        ("doctor",),
    ]
    for command in silent:
        assert cli.ok(*command, "--quiet").out == b"", command
    assert cli.json("ingest", tree, "-q")["files"] == 5
    assert cli.refused("export", "n", "out", "-q").startswith("cannot write to")
    assert cli.ok("verify").out != b"", "one that was quiet does not silence the next"


@pytest.mark.parametrize(
    "command",
    [("ingest", "tree", "--name", "again"), ("verify",), ("replay", "--check"), ("export", "n", "out")],
    ids=lambda c: c[0],
)
def test_progress_is_shown_on_a_terminal_with_rate_and_remaining_time(
    cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    cli.ok("ingest", tree, "--name", "n")
    monkeypatch.delenv("ARTIFACTSTORE_PROGRESS")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "100")
    watched = cli.run(*command)
    assert watched.code == 0
    shown = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", watched.err).replace("\r", "\n").splitlines()
    ends = [line for line in shown if re.search(r"(?P<all>\S+ \S+) of (?P=all) +\S+ \S+/s 0:00:00$", line)]
    assert ends, shown
    assert ends[-1].startswith(f"{command[0]} ")
    assert cli.run(*command[:2], "--help").err == ""


def test_colours_can_be_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    cli.create()
    coloured = re.compile(r"\x1b\[[\d;]*3\d[\d;]*m")
    assert coloured.search(cli.ok("actors").text)
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured.search(cli.ok("actors").text) is None


def test_exit_codes_are_those_of_the_documents(cli: Cli, tree: Path) -> None:
    cli.ok("ingest", tree)
    assert cli.run("manifest", "nobody").code == 1
    assert cli.run("ingest", "--no-such-option").code == 2
    assert cli.run("nothing").code == 2
    cli.object_of(cli.json("package", "show", "tree")["file_list"][0]["content_address"]).unlink()
    assert cli.run("verify").code == 3
    assert [Interrupted(number).exit_code for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == [
        130,
        143,
        129,
    ]
    documented = [code for code, _meaning in rows(ROOT / "docs" / "OPERATOR.md", "Exit codes")]
    assert ", ".join(documented) == "0, 1, 2, 3, 70, 129, 130, 143"


def test_wrong_usage_is_told_in_short(cli: Cli) -> None:
    ran = cli.run("ingest", "a", "b")
    assert (ran.code, ran.out) == (2, b"")
    assert os.linesep.join(ran.err.splitlines()[-1:]).startswith("Error: ")
