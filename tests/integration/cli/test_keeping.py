"""The commands that keep packages and let them go, as somebody types them."""

from pathlib import Path

import pytest

from integration.cli.harness import Cli

pytestmark = pytest.mark.slow


def test_a_package_is_held_retained_and_deleted(cli: Cli, tree: Path) -> None:
    package = cli.json("ingest", tree, "--name", "nightly")["package_id"]
    manifest = cli.ok("manifest", package).text
    assert "name the package by its id" in cli.refused_without_a_trace("hold", "place", "nightly", "--reason", "case")
    hold = cli.json("hold", "place", package, "--reason", "case 4711")["hold_id"]
    assert cli.ok("hold", "list", "nightly").text.split()[0] == hold
    refused = cli.refused_without_a_trace("package", "delete", package, "--reason", "no need", "--before-expiry")
    assert f"`artifactstore hold release {hold}`" in refused
    explained = cli.ok("retention", "explain", "nightly").text
    assert "is kept" in explained
    assert f"hold {hold}" in explained
    assert "retention standard until" in explained
    assert cli.ok("hold", "release", hold).text == f"released {hold}\n"
    assert "no hold" in cli.refused_without_a_trace("hold", "release", hold)
    assert "long, kept until" in cli.ok("retention", "set", package, "long").text
    assert "custom, kept until" in cli.ok("retention", "extend", package, "30d").text
    assert "ephemeral" in cli.refused_without_a_trace("retention", "set", package, "forever")
    assert "--before-expiry" in cli.refused_without_a_trace("package", "delete", package, "--reason", "no need")
    said = cli.ok("package", "delete", package, "--reason", "no need", "--before-expiry").text
    assert said == f"{package}  nightly  deleted\n"
    assert cli.json("package", "delete", package, "--reason", "again")["gone_reason"] == "no need"
    gone = cli.refused_without_a_trace("get", package, "README.md")
    assert f"package {package} was deleted on " in gone
    assert "no need" in gone
    assert cli.ok("manifest", package).text == manifest
    assert "there is no package 'nightly'" in cli.refused_without_a_trace("package", "show", "nightly")
    assert cli.json_lines("package", "list") == []
    assert [each["package_id"] for each in cli.json_lines("package", "list", "--state", "deleted")] == [package]
    shown = cli.json("package", "show", package)
    assert (shown["status"], shown["file_list"]) == ("deleted", [])
    assert cli.json("retention", "explain", package)["is_kept"] is False
    details = [entry["detail"] for entry in cli.json_lines("history", package)]
    assert details[-5:-3] == [f"placed hold {hold}: case 4711", f"released hold {hold}"]
    assert details[-1] == "deleted: no need"


def test_what_is_over_goes_and_the_clock_is_confirmed(cli: Cli, tree: Path) -> None:
    package = cli.json("ingest", tree, "--name", "nightly")["package_id"]
    draft = cli.json("package", "create", "draft")["package_id"]
    with cli.tables() as tables:  # as if its time was over
        tables.execute("UPDATE retention_state SET expires_at = 1 WHERE package_id = ?", (package,))
        tables.commit()
    assert cli.ok("retention", "list").text.split()[0] == package
    assert [each["package_id"] for each in cli.json_lines("retention", "list", "--expiring-within", "7d")] == [package]
    assert "goes with the next run" in cli.ok("retention", "explain", package).text
    planned = cli.json_lines("expire", "--dry-run", "--abandoned-after", "0d")
    assert [(each["package_id"], each["rule"]) for each in planned] == [(package, "retention"), (draft, "abandoned")]
    assert "1 of 2 packages would expire" in cli.refused("expire", "--yes-expire", "2")
    said = cli.ok("expire", "--abandoned-after", "0d").text.splitlines()
    assert [line.split()[:2] for line in said] == [[package, "retention"], [draft, "abandoned"]]
    assert cli.ok("expire").text == ""
    assert "expired by rule: retention" in cli.ok("retention", "explain", package).text
    assert cli.ok("clock", "confirm").text.startswith("confirmed 20")
    assert "confirmed_at" in cli.json("clock", "confirm")
