"""`package list` and `find`: what they print, and what they say when there is more."""

import hashlib
import json
import shlex
from pathlib import Path

import pytest

from integration.cli.harness import Cli


@pytest.fixture
def runs(cli: Cli, tmp_path: Path) -> list[str]:
    """The ids of four packages, oldest first; a path is in all of them, another in one."""
    tree = tmp_path / "tree"
    (tree / "docs").mkdir(parents=True)
    (tree / "docs" / "a.md").write_text("the same")
    ids: list[str] = []
    for number in range(4):
        (tree / "log").write_text("x" * (10 - number))
        name = "weekly" if number == 2 else "nightly"
        [stored] = cli.json_lines("ingest", str(tree), "--name", name, "--meta", f"run={number}")
        ids.append(stored["package_id"])
    cli.ok("tag", "set", "release-1", ids[0])
    return ids


def test_a_list_has_a_header_and_the_newest_package_first(cli: Cli, runs: list[str]) -> None:
    header, *lines = [line.split() for line in cli.ok("package", "list").text.splitlines()]
    assert header == ["PACKAGE", "STATE", "AGE", "CONTENT", "SIZE", "BY", "NAME"]
    assert [line[0] for line in lines] == runs[::-1]
    assert lines[0][4:8] == ["2", "files", "15", "B"]
    assert lines[-1][-2:] == ["nightly", "tag:release-1"]


@pytest.mark.slow
def test_the_content_of_a_package_fits_its_column(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    (tree / "empty").mkdir(parents=True)
    for number in range(4):
        (tree / f"{number}").write_text("x")
    (tree / "link").symlink_to("0")
    cli.ok("ingest", "tree", "--name", "nightly")
    for width in (None, 80, 120):
        monkeypatch.setattr("artifactstore.cli.finding.terminal_width", lambda width=width: width)
        header, line = cli.ok("package", "list").text.splitlines()
        end = header.index("CONTENT") + len("CONTENT")
        assert line[:end].endswith("  6 entries"), (width, line)
        assert line.index("nightly") == header.index("NAME")


def test_conditions_select_packages(cli: Cli, runs: list[str]) -> None:
    for options, expected in (
        (("--name", "week*"), [2]),
        (("--name", "nightly", "--reverse"), [0, 1, 3]),
        (("--meta", "run=1"), [1]),
        (("--tag", "release-*"), [0]),
        (("--has", "run", "--name", "week*"), [2]),
        (("--has", "runs"), []),
        (("--state", "open"), []),
        (("--since", "1d", "--sort", "size"), [0, 1, 2, 3]),
        (("--until", "2w"), []),
        (("--since", "9999w"), [3, 2, 1, 0]),
        (("--sort", "name"), [0, 1, 3, 2]),
        (("--by", "nobody"), []),
        (("--retention", "standard", "--limit", "0"), [3, 2, 1, 0]),
    ):
        found = [each["package_id"] for each in cli.json_lines("package", "list", *options)]
        assert found == [runs[number] for number in expected], options


@pytest.mark.usefixtures("runs")
def test_a_terminal_gets_lines_that_fit(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.ok("package", "create", "a name that is longer than a narrow terminal has room for in one line")
    longest = max(map(len, cli.ok("package", "list").text.splitlines()))
    assert longest > 120
    for module in ("finding", "tags"):
        monkeypatch.setattr(f"artifactstore.cli.{module}.terminal_width", lambda: 72)
    for command in (("package", "list"), ("find", "--name", "*"), ("tag", "list")):
        header, *lines = cli.ok(*command).text.splitlines()
        assert header.startswith("PACKAGE")
        assert max(map(len, lines)) <= 72
    [found] = cli.json_lines("package", "list", "--limit", "1", "--sort", "created", "--state", "open")
    assert cli.ok("package", "list").text.splitlines()[1].split()[0] == found["package_id"][-8:]


def test_a_search_from_the_oldest_on_finds_since_when_there_is_something(cli: Cli, runs: list[str]) -> None:
    found = cli.json_lines("find", "--name", "log", "--reverse")
    assert [each["package"]["package_id"] for each in found] == runs
    assert cli.json_lines("find", "--name", "log") == found[::-1]


@pytest.mark.usefixtures("runs")
def test_a_name_without_its_option_gets_a_hint(cli: Cli) -> None:
    for text, told in (
        ("crash.log", "--name crash.log"),
        ("*.log", "--name '*.log'"),
        ("docs/a b", "--path 'docs/a b'"),
    ):
        ran = cli.run("find", text)
        assert ran.code == 2
        assert f"{text!r} needs an option before it: {told}" in " ".join(ran.err.split())


def test_a_limit_says_that_there_is_more_and_how_to_go_on(cli: Cli, runs: list[str]) -> None:
    shown = cli.run("package", "list", "--limit", "2", "--json")
    assert len(shown.text.splitlines()) == 2
    assert shown.err == f"artifactstore: printed the first 2; --limit 0 prints all, --after {runs[2]} the next\n"
    rest = cli.run("package", "list", "--limit", "2", "--after", runs[2], "--json")
    assert [runs[1] in rest.text, runs[0] in rest.text, rest.err] == [True, True, ""]


@pytest.mark.parametrize("order", [(), ("--reverse",)])
def test_a_search_continues_after_what_it_printed(cli: Cli, runs: list[str], order: tuple[str, ...]) -> None:
    every = cli.json_lines("find", "--name", "*", *order)
    assert len(every) > len(runs)
    seen: list[object] = []
    after: tuple[str, ...] = ()
    while True:
        ran = cli.run("find", "--name", "*", "--limit", "2", "--json", *order, *after)
        seen += map(json.loads, ran.text.splitlines())
        if not ran.err:
            break
        advice = ran.err.removeprefix("artifactstore: printed the first 2; --limit 0 prints all, ")
        after = tuple(shlex.split(advice.removesuffix(" the next\n")))
    assert seen == every
    assert cli.run("find", "--name", "*", "--after", "nightly").err == (
        "artifactstore: invalid --after 'nightly': write PACKAGE:PATH, as the search printed them\n"
    )


def test_a_search_names_the_packages_and_the_paths(cli: Cli, runs: list[str]) -> None:
    header, *lines = [line.split() for line in cli.ok("find", "--path", "docs/*").text.splitlines()]
    assert header == ["PACKAGE", "AGE", "SIZE", "DIGEST", "NAME", "PATH"]
    assert [(line[0], line[-1]) for line in lines] == [(package_id, "docs/a.md") for package_id in runs[::-1]]
    digest = hashlib.sha256(b"x" * 9).hexdigest()
    [found] = cli.json_lines("find", "--digest", digest)
    assert (found["package"]["package_id"], found["entry"]["path"]) == (runs[1], "log")
    assert [
        each["package"]["package_id"] for each in cli.json_lines("find", "--name", "*.md", "--package", "week*")
    ] == [runs[2]]


def test_digests_show_since_when_a_path_has_other_bytes(cli: Cli, tree: Path) -> None:
    (tree / "link").symlink_to("README.md")
    for content in ("a", "a", "b"):
        (tree / "README.md").write_text(content)
        cli.ok("ingest", tree)
    digests = [line.split()[-3] for line in cli.ok("find", "--path", "README.md", "--reverse").text.splitlines()[1:]]
    assert [digests[0] == digests[1], digests[1] == digests[2]] == [True, False]
    full = [each["entry"]["content_address"] for each in cli.json_lines("find", "--path", "README.md", "--reverse")]
    assert digests == [each.removeprefix("blake3:")[:12] for each in full]
    assert cli.ok("find", "--path", "link").text.splitlines()[1].split()[-3:] == ["-", "tree", "link"]


@pytest.mark.usefixtures("runs")
def test_a_wrong_search_is_refused(cli: Cli) -> None:
    assert "give --path, --name or --digest" in cli.run("find").err
    assert "write 7d" in cli.refused_without_a_trace("find", "--name", "a", "--since", "yesterday")
    assert "a name has no /" in cli.refused_without_a_trace("find", "--name", "a/b")
    assert "lower-case hex" in cli.refused_without_a_trace("find", "--digest", "abc")
    assert "invalid pattern" in cli.refused_without_a_trace("package", "list", "--name", "")


def test_a_path_that_no_package_can_have_is_refused_with_one_that_it_can(cli: Cli) -> None:
    for path, plain in (("./a", "a"), ("/docs/*", "docs/*"), ("docs/", "docs"), ("a//b/../*", "a/b/*")):
        assert cli.refused("find", "--path", path).endswith(f"; write {plain} or {plain}/**"), path
    assert cli.refused("find", "--path", ".").endswith("; write **")


@pytest.mark.parametrize("command", [("package", "list"), ("find", "--name", "a")], ids=lambda command: command[0])
def test_a_limit_that_is_a_mistake_is_refused(cli: Cli, command: tuple[str, ...]) -> None:
    ran = cli.run(*command, "--limit", "9" * 30)
    assert (ran.code, ran.out) == (2, b"")
    assert "1000000000" in ran.err


@pytest.mark.usefixtures("runs")
def test_a_tag_without_its_prefix_gets_a_hint(cli: Cli) -> None:
    assert "but a tag: write 'tag:release-1'" in cli.refused_without_a_trace("package", "show", "release-1")


def test_a_search_that_finds_nothing_gets_a_hint(cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"GITHUB_ACTIONS": "true", "GITHUB_REF_NAME": "main"}.items():
        monkeypatch.setenv(name, value)
    cli.create()
    assert cli.run("package", "list").err == ""
    cli.ok("ingest", tree, "--ci", "--meta", "tests:=412")
    backwards = "nothing can match: --since is later than --until"
    for command, told in (
        (("package", "list", "--meta", "branch=main"), "--ci writes other keys: --meta ci.branch=main"),
        (("package", "list", "--meta", "branch=next"), "no package matches all conditions"),
        (("package", "list", "--has", "branch", "--has", "tests"), "no package matches all conditions"),
        (("package", "list", "--has", "branch"), "--ci writes other keys: --has ci.branch"),
        (("package", "list", "--by", "nobody"), "no package matches all conditions"),
        (("package", "list", "--since", "2026-12-01", "--until", "2026-11-30"), backwards),
        (("find", "--name", "*", "--since", "2026-12-01", "--until", "2026-11-30"), backwards),
        (("find", "--path", "data"), "data is a directory; write --path 'data/**'"),
        (("find", "--path", "date"), "no entry matches all conditions"),
        (("find", "--path", "data/*", "--package", "weekly"), "no package matches the conditions for packages"),
    ):
        ran = cli.run(*command)
        assert (ran.code, ran.out) == (0, b""), command
        assert ran.err.startswith("artifactstore: "), command
        assert ran.err.endswith(f"{told}\n"), (command, ran.err)
        assert cli.json_lines(*command) == []  # without a word on stderr
