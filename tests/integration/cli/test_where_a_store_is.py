"""Where a store is: what names it, which of two names wins, and that reading creates nothing where there is none."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from artifactstore.database.location import DatabaseLocation
from integration.cli.harness import Cli

READING = {
    "get": ("get", "p", "README.md"),
    "manifest": ("manifest", "p"),
    "export": ("export", "p", "out"),
    "add": ("package", "add", "p", "tree"),
    "finalize": ("package", "finalize", "p"),
    "list": ("package", "list"),
    "show": ("package", "show", "p"),
    "verify": ("verify",),
    "replay": ("replay",),
    "replay --check": ("replay", "--check"),
    "events": ("events",),
    "events --follow": ("events", "--follow"),
    "events --export": ("events", "--export", "log.cborseq"),
    "audit": ("audit",),
    "backup": ("backup", "kept"),
    "health": ("health",),
    "tree": ("tree",),
}
CREATING = {
    "ingest": ("ingest", "tree"),
    "package create": ("package", "create", "p"),
    "migrate": ("migrate",),
    "restore": ("restore", "kept"),
    "events --import": ("events", "--import", "log.cborseq"),
}


@pytest.fixture
def unnamed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A command line whose environment names no store."""
    monkeypatch.delenv("ARTIFACTSTORE_DATABASE_URL")
    monkeypatch.delenv("ARTIFACTSTORE_STORAGE_LOCAL_ROOT")
    return cli


def everything_below(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


@pytest.mark.parametrize("command", READING.values(), ids=READING.keys())
def test_a_command_that_reads_says_that_there_is_no_store_and_creates_nothing(
    unnamed: Cli, tree: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    before = everything_below(tmp_path)
    assert unnamed.refused(*command) == (
        f"there is no store at {tmp_path}/var/artifactstore.db: there is no such file, or it is empty. Name a store "
        "with --store DIR, ARTIFACTSTORE_DATABASE_URL or artifactstore.toml, or create one with "
        "`artifactstore ingest` or `artifactstore migrate`"
    )
    assert everything_below(tmp_path) == before


def test_the_doctor_says_that_there_is_no_store_and_creates_nothing(unnamed: Cli, tmp_path: Path) -> None:
    ran = unnamed.run("doctor")
    assert f"store: there is no store at {tmp_path}/var/artifactstore.db\n" in ran.text
    assert ran.code == 1
    assert everything_below(tmp_path) == []


@pytest.mark.parametrize("command", CREATING.values(), ids=CREATING.keys())
def test_the_other_commands_create_the_store(unnamed: Cli, tree: Path, command: tuple[str, ...]) -> None:
    unnamed.ok("--store", "source", "ingest", "tree")
    unnamed.ok("--store", "source", "backup", "kept")
    unnamed.ok("--store", "source", "events", "--export", "log.cborseq")
    unnamed.ok(*command, "--store", "new")
    assert Path("new/artifactstore.db").is_file()
    assert unnamed.run("package", "list", "--store", "new").code == 0


def test_a_database_that_is_no_store_is_left_as_it_is(unnamed: Cli, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    database = tmp_path / "other" / "artifactstore.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE somebody_elses (x)")
    content, before = database.read_bytes(), everything_below(tmp_path)
    assert "that database has no artifactstore tables" in unnamed.refused("verify", "--store", "other")
    assert (database.read_bytes(), everything_below(tmp_path)) == (content, before)
    database.write_bytes(b"")
    assert "there is no such file, or it is empty" in unnamed.refused("verify", "--store", "other")
    assert (database.read_bytes(), everything_below(tmp_path)) == (b"", before)


def test_reading_makes_no_object_root_either(unnamed: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unnamed.ok("migrate", "--store", "new")
    before = everything_below(tmp_path)
    unnamed.ok("verify", "--store", "new")
    assert not Path("new/objects").exists()
    assert {path for path in everything_below(tmp_path) if path.suffix not in {".db-wal", ".db-shm"}} == set(before)


def test_reading_creates_no_schema_on_a_server(
    unnamed: Cli, postgres_location: DatabaseLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_location.url.render_as_string(hide_password=False).replace("+asyncpg", "")
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", url)
    for _ in range(2):
        line = unnamed.refused("verify")
        assert line.startswith(f"there is no store at {postgres_location.name}: that database has no artifactstore ta")
    unnamed.ok("package", "create", "p")
    unnamed.ok("package", "list")
