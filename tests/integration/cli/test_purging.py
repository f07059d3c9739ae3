"""`artifactstore purge`: it asks a second time, destroys, and says what it did and what it could not do."""

import sys
from pathlib import Path

import pytest
import typer

from integration.cli.harness import Cli

pytestmark = pytest.mark.slow


def test_a_purge_is_confirmed_by_the_digest_and_reaches_every_named_backup(
    cli: Cli, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "env").write_bytes(b"password=hunter2")
    package = cli.json("ingest", tree)["package_id"]
    cli.ok("hold", "place", package, "--reason", "a case")
    cli.ok("backup", "kept")
    [found] = cli.json_lines("find", "--name", "env", "--json")
    digest = found["entry"]["content_address"]
    asked = ("purge", digest, "--reason", "leaked")
    for confirmed in ((), ("--confirm", f"{digest[:-1]}0" if digest[-1] != "0" else f"{digest[:-1]}1")):
        assert (
            f"1 file for good, also in packages under a hold; if you are sure, repeat it with --confirm {digest}"
            in (cli.refused(*asked, *confirmed))
        )
    assert cli.ok("get", package, "env").text == "password=hunter2"
    assert "env" in cli.refused("purge", "env", "--reason", "leaked", "--confirm", "env")

    # On a terminal, somebody types the digest. A backup that cannot be purged does not keep the others from it.

    def typed(_question: str, *, err: bool) -> str:
        assert err, "stdout is for the result"
        return f" {digest}\n"

    monkeypatch.setattr(typer, "prompt", typed)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_bytes(b"no backup")
    ran = cli.run(*asked, "--backup", tmp_path / "other", "--backup", "kept")
    assert ran.code == 1
    assert "purged 1 content of 1 file; the files stay" in ran.text
    assert "deleted 1 object, 16 B" in ran.text
    assert "backup kept no longer has it" in ran.text
    assert "not done: backup other: " in ran.text
    assert "leaked; it cannot be read any more" in cli.refused("get", package, "env")
    repeated = cli.json(*asked, "--confirm", digest, "--backup", "kept")
    assert (repeated["deleted_objects"], repeated["backups"], repeated["failures"]) == (0, ["kept"], [])
    assert repeated["contents"][0]["reason"] == "leaked"
    history = cli.ok("history").text
    assert "purged 1 content: leaked" in history
    assert not [line for line in history.splitlines() if "purged" in line and digest.partition(":")[2] in line]
    cli.ok("backup", "--check", "kept")
    cli.ok("verify")
