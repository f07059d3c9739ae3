"""The commands of tags, as somebody types them."""

from pathlib import Path

import pytest

from integration.cli.harness import Cli


@pytest.mark.slow
def test_a_release_is_tagged_found_and_protected(cli: Cli, tree: Path) -> None:
    first = cli.json("ingest", tree, "--name", "nightly")["package_id"]
    second = cli.json("ingest", tree, "--name", "nightly")["package_id"]
    assert cli.ok("tag", "set", "release-4", "nightly@{1}", "--protect").text.split()[0] == first
    assert cli.json("package", "show", "tag:release-4")["package_id"] == first
    line = cli.refused_without_a_trace("tag", "set", "release-4", "nightly")
    assert line == (
        f"tag 'release-4' is protected and names package {first}; "
        f"unprotect it first: `artifactstore tag set release-4 {first} --unprotect`"
    )
    cli.ok("tag", "set", "release-4", first, "--unprotect")
    moved = cli.json("tag", "set", "release-4", "nightly")
    assert (moved["package_id"], moved["protected"]) == (second, False)
    header, listed = (each.split() for each in cli.ok("tag", "list").text.splitlines())
    assert header == ["PACKAGE", "SET", "TAG"]
    assert (listed[0], listed[-1]) == (second, "release-4")
    assert cli.json("package", "show", f"{second}~")["package_id"] == first
    cli.ok("tag", "delete", "release-4")
    assert cli.ok("tag", "list").text == ""
    told = cli.ok("tag", "log", "release-4").text.splitlines()
    entries = cli.json_lines("tag", "log", "release-4")
    assert [entry["package_id"] for entry in entries] == [first, first, second, None]
    assert [line.split("  ")[2] for line in told] == [
        f"set tag 'release-4' to {first}, protected",
        f"set tag 'release-4' to {first}",
        f"set tag 'release-4' to {second}",
        "deleted tag 'release-4'",
    ]
    assert "there is no tag 'release-5'" in cli.refused_without_a_trace("tag", "log", "release-5")
    assert "there is no tag 'release-5'" in cli.refused_without_a_trace("tag", "delete", "release-5")
    assert "there is no tag 'release-5'" in cli.refused_without_a_trace("tag", "show", "release-5")


def test_a_tag_may_have_spaces_and_shows_what_it_names(cli: Cli, tree: Path) -> None:
    package = cli.json("ingest", tree, "--name", "nightly")["package_id"]
    cli.ok("tag", "set", "release 4", package, "--protect")
    shown = dict(line.split(maxsplit=1) for line in cli.ok("tag", "show", "release 4").text.splitlines())
    assert shown["tag"] == "release 4"
    assert shown["package"] == f"{package}  nightly"
    assert shown["protected"] == "yes"
    assert cli.json_lines("tag", "list") == [cli.json("tag", "show", "release 4")]
    assert cli.json("package", "show", "tag:release 4")["package_id"] == package
