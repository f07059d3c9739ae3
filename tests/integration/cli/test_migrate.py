"""`migrate`: up to date, afresh, and never over a log that holds events unless that log is named."""

import shutil
from pathlib import Path

import pytest

from artifactstore.database.schema import SCHEMA_REVISION
from integration.cli.harness import Cli


def test_a_new_database_is_set_up_and_then_up_to_date(cli: Cli) -> None:
    name = str(cli.database)
    assert cli.json("migrate") == {"database": name, "before": None, "after": SCHEMA_REVISION}
    assert cli.json("migrate") == {"database": name, "before": SCHEMA_REVISION, "after": SCHEMA_REVISION}
    assert cli.ok("migrate").text == f"{name}: schema {SCHEMA_REVISION} -> {SCHEMA_REVISION}\n"


def test_a_new_store_is_whole_and_one_that_lost_its_objects_is_not_covered_up(cli: Cli) -> None:
    cli.ok("migrate")
    assert cli.json("health")["status"] == "healthy"
    shutil.rmtree(cli.objects)
    cli.ok("migrate")
    assert not cli.objects.exists()


def test_an_empty_log_may_be_started_afresh(cli: Cli) -> None:
    cli.ok("migrate")
    assert cli.json("migrate", "--fresh")["after"] == SCHEMA_REVISION
    assert cli.json("replay", "--check")["events"] == 0


def test_a_log_that_holds_events_is_not_destroyed_unless_it_is_named(cli: Cli, tree: Path) -> None:
    cli.ok("ingest", tree)
    line = cli.refused_without_a_trace("migrate", "--fresh")
    assert line.endswith(f"if that is what you want, add --destroy-log {cli.database}")
    for wrong in ("log.db", "yes", "", str(cli.database).upper()):
        assert "holds 5 events" in cli.refused_without_a_trace("migrate", "--fresh", "--destroy-log", wrong)
    cli.ok("migrate", "--fresh", "--destroy-log", cli.database)
    assert cli.json_lines("events") == []
    assert cli.json("ingest", tree)["sequence"] == 5


@pytest.mark.parametrize("command", [("package", "list"), ("migrate",), ("migrate", "--fresh"), ("health",)])
def test_a_schema_of_a_later_release_is_refused(cli: Cli, tree: Path, command: tuple[str, ...]) -> None:
    cli.ok("ingest", tree)
    with cli.tables() as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = cli.state()
    line = cli.refused(*command)
    assert line == (
        f"database {cli.database} has schema 9999, which this release (schema {SCHEMA_REVISION}) does not know; "
        "use the artifactstore release that wrote it, or a later one"
    )
    assert cli.state() == before


def test_an_older_schema_is_refused_with_the_command_that_upgrades_it(
    cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.ok("ingest", tree)
    # This release is the first: what is older to it can only be made by telling it that it is a later one.
    monkeypatch.setattr("artifactstore.database.migrate.SCHEMA_REVISION", "0002")
    monkeypatch.setattr("artifactstore.database.migrate.SCHEMA_REVISIONS", (SCHEMA_REVISION, "0002"))
    before = cli.state()
    line = cli.refused("package", "list")
    assert line == (
        f"database {cli.database} has schema {SCHEMA_REVISION} and this release needs 0002; "
        "back it up, then run `artifactstore migrate`"
    )
    assert cli.state() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(cli: Cli) -> None:
    cli.database.parent.mkdir()
    cli.database.write_bytes(b"something of somebody else\n" * 100)
    for command in (("package", "list"), ("migrate",), ("migrate", "--fresh")):
        assert "file is not a database" in cli.refused(*command)
    assert cli.database.read_bytes() == b"something of somebody else\n" * 100


def test_tables_of_somebody_else_are_left_alone(cli: Cli) -> None:
    cli.database.parent.mkdir()
    with cli.tables() as connection:
        connection.execute("CREATE TABLE customers (name)")
        connection.execute("INSERT INTO customers VALUES ('first')")
    cli.ok("migrate", "--fresh")
    assert cli.state().rows["customers"] == [("first",)]
