"""The commands of keep policies and of space, as somebody types them."""

from pathlib import Path

import pytest

from integration.cli.harness import Cli

pytestmark = pytest.mark.slow


def test_old_nightlies_go_and_everything_else_says_why_it_stays(cli: Cli, tree: Path) -> None:
    ids = [cli.json("ingest", tree, "--name", "nightly")["package_id"] for _ in range(3)]
    cli.ok("tag", "set", "release-1", ids[0])
    cli.ok("retention", "set", ids[0], "permanent")
    rules = ("--keep-last", "1", "--keep-within", "7d", "--keep-tagged", "release-*")
    assert cli.ok("retention", "policy", "set", "night*", *rules).text == (
        "night*  keeps last 1, within 7d, tagged release-*\n"
    )
    shown = cli.json("retention", "policy", "show", "night*")
    assert shown["rules"] == {"last": 1, "within_us": 7 * 86_400_000_000, "tagged": ["release-*"]}
    assert cli.json_lines("retention", "policy", "list") == [shown]
    assert cli.ok("retention", "policy", "show", "night*").text.splitlines()[:2] == ["group  night*", "keeps  last 1"]
    cli.ok("retention", "policy", "set", "night*", "--keep-last", "1", "--keep-tagged", "release-*")
    for package, line in (
        (ids[2], "is kept\n  retention standard until "),
        (ids[1], "goes with the next run of `retention policy apply`\n  retention standard until "),
    ):
        assert f"{package}  nightly  {line}" in cli.ok("retention", "explain", package).text
    assert "keep policy night* keeps it: tagged release-* (event " in cli.ok("retention", "explain", ids[0]).text
    assert cli.json("retention", "explain", ids[1])["goes_by"] == ["policy:night*"]
    planned = cli.ok("retention", "policy", "apply", "--dry-run").text.splitlines()
    assert [line.split("  ", 3)[3] for line in planned[:-1]] == [
        "kept  night*: last 1  (standard, 364 d left)",
        "goes  policy:night*  (standard, 364 d left)",
        "kept  night*: tagged release-*  (permanent)",
    ]
    assert planned[-1].startswith("1 package would go, with files of ")
    applied = cli.json_lines("retention", "policy", "apply", "night*")
    assert [(each["rule"], each["is_kept"]) for each in applied] == [("", True), ("policy:night*", False), ("", True)]
    assert cli.ok("retention", "policy", "apply").text.splitlines()[-1] == "0 packages went, with files of 0 B; 2 kept"
    assert cli.json("package", "show", ids[1])["gone_reason"] == "policy:night*"
    assert cli.ok("retention", "policy", "delete", "night*").text == "deleted the keep policy of night*\n"
    assert cli.ok("retention", "policy", "list").text == ""


def test_rules_that_would_let_everything_go_are_refused(cli: Cli, tree: Path) -> None:
    cli.ok("ingest", tree, "--name", "nightly", "--quiet")
    for arguments, reason in (
        ((), "give at least one rule, such as --keep-last 10"),
        (("--keep-last", "0"), "give a number from 1"),
        (("--keep-within", "soon"), "write 7d"),
    ):
        assert reason in cli.refused_without_a_trace("retention", "policy", "set", "nightly", *arguments)
    line = cli.refused_without_a_trace("retention", "policy", "apply", "nightly")
    assert line.startswith("there is no keep policy for 'nightly'")


def test_space_is_told_by_name_and_alone(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 3000)
    for name in ("small", "large"):
        cli.ok("ingest", tmp_path / "a", "--name", name, "--quiet")
    cli.ok("ingest", tmp_path / "a", "--name", "large", "--quiet")
    large, small = cli.json_lines("du")
    assert large == {
        "name": "large",
        "packages": 2,
        "files": 2,
        "bytes": 6000,
        "stored_bytes": 0,
        "deduplication": None,
    }
    assert (small["stored_bytes"], small["deduplication"]) == (3000, 1.0)
    table = cli.ok("du", "sm*").text.splitlines()
    assert [line.split() for line in table] == [
        ["size", "stored", "ratio", "packages", "files", "name"],
        ["2.9", "KiB", "2.9", "KiB", "1.00", "1", "1", "small"],
    ]
    assert cli.json("du", "--unique", "small")["unique_bytes"] == 0
    assert cli.ok("du", "--unique", "small", "large", "large@{1}").text == (
        "3 packages, 3 files, 8.8 KiB\nunique: 2.9 KiB in 1 object\n"
    )
    for name in ("nothing", "large~1"):
        ran = cli.run("du", name)
        assert (ran.code, ran.text) == (2, "")
        assert f"no package has the name '{name}'; for one package, add --unique" in " ".join(ran.err.split())
    none = cli.run("du", "x*", "--json")
    assert (none.code, none.text, none.err) == (0, "", "artifactstore: no name of a package matches 'x*'\n")
    assert cli.run("du", "--unique").code == 2
    assert cli.run("du", "a", "b").code == 2
    stats = dict(line.split(maxsplit=1) for line in cli.ok("stats").text.splitlines() if " " in line)
    assert stats["deduplication"] == "3.00 times"
