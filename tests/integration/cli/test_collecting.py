"""`artifactstore gc`: what it prints, and how it refuses."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from integration.cli.harness import Cli

pytestmark = pytest.mark.slow


def test_disk_space_comes_back_after_a_deletion(cli: Cli, tree: Path) -> None:
    package = cli.json("ingest", tree)["package_id"]
    cli.ok("package", "delete", package, "--before-expiry", "--reason", "a test")
    assert "entries of gone packages to release" in cli.ok("gc", "--dry-run").text
    first = cli.json("gc")
    assert (first["dry_run"], first["deleted"]["objects"], first["waiting"]["objects"] > 0) == (False, 0, True)
    said = cli.ok("gc", "--grace", "7d").text
    assert "kept for the grace" in said
    until = cli.json("gc", "--grace", "7d")["waiting_until_at"]
    assert f"the grace of the last of them ends at {until[:19]}Z; the next gc after that deletes them" in said
    assert datetime.fromisoformat(until) - datetime.fromisoformat(first["waiting_until_at"]) == timedelta(days=6)
    assert cli.json("gc", "--grace", "0")["deleted"] == first["waiting"]
    assert cli.ok("gc", "--grace", "0", "--orphan-age", "0").text == "deleted 0 objects, 0 B\n"
    assert cli.json("gc")["waiting_until_at"] is None
    assert cli.json("verify")["objects"] == 0
    assert cli.ok("manifest", package).text


@pytest.mark.parametrize("duration", ["", "5", "h", "-1h", "1.5d", "1y"])
def test_what_is_no_duration_is_a_wrong_usage(cli: Cli, tree: Path, duration: str) -> None:
    cli.ok("ingest", tree)
    ran = cli.run("gc", "--grace", duration)
    assert ran.code == 2
    assert "no duration" in ran.err
