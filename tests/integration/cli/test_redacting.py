"""`artifactstore redact`: it reads the text from a file, counts first, and says what still has the text."""

from pathlib import Path

import pytest

from integration.cli.harness import Cli

pytestmark = pytest.mark.slow


def test_a_redaction_is_confirmed_by_its_number_and_names_what_is_left(cli: Cli, tree: Path, tmp_path: Path) -> None:
    package = cli.json("ingest", tree)["package_id"]
    cli.ok("package", "annotate", package, "by=Jane Roe")
    cli.ok("tag", "set", "Jane Roe", package)
    cli.ok("backup", "kept")
    (tmp_path / "text").write_text("Jane Roe\n")
    asked = ("redact", tmp_path / "text", "--reason", "ticket 4711")
    said = "replaces the text in 1 event of 1 package for good; if you are sure, repeat it with --confirm-events 1"
    assert said in cli.refused(*asked)
    assert said in cli.refused(*asked, "--confirm-events", "2")
    assert "by=Jane Roe" in cli.ok("package", "show", package).text

    ran = cli.run(*asked, "--confirm-events", "1", "--backup", "kept", "--backup", tmp_path / "text")
    assert ran.code == 1
    assert "redacted 1 event of 1 package; redacted-" in ran.text
    assert "backup kept is redacted too" in ran.text
    assert "not redacted: event " in ran.text
    assert "(v1.tag.set) has the text in its subject" in ran.text
    assert "not done: backup text: " in ran.text
    shown = cli.ok("package", "show", package).text
    assert "by=redacted-" in shown
    assert "by=Jane Roe" not in shown
    assert "(redacted by event " in cli.ok("history", package).text
    cli.ok("replay", "--check")
    cli.ok("backup", "--check", "kept")
    repeated = cli.run(*asked, "--json")
    assert (repeated.code, '"events": 0' in repeated.text or '"events":0' in repeated.text) == (1, True)
