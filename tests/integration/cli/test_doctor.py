"""`doctor` on real stores: it finds what was done to them, names who holds what, and leaves everything as it was."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from artifactstore.config import ENVIRONMENT
from artifactstore.database.engines import connected, writer_engine
from artifactstore.database.location import DatabaseLocation
from artifactstore.doctor import examine, inspect_store
from artifactstore.doctor.holders import LOCKS
from integration.cli.harness import Cli

HOLDS = """
import fcntl, os, sqlite3, sys
database = sys.argv[1]
lock = os.open(database + ".lock", os.O_RDWR)
fcntl.flock(lock, fcntl.LOCK_EX)
connection = sqlite3.connect(database, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(database: Path) -> Generator[int]:
    """A process that holds the set-up lock and the head of the log, by its id."""
    command = [sys.executable, "-c", HOLDS, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process.pid
        process.communicate()


def tree_of(directory: Path) -> dict[str, tuple[int, int]]:
    """Every file below a directory, with its size and modification time."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


@pytest.mark.slow
def test_a_store_that_is_well_and_one_that_is_not_there(cli: Cli, tree: Path, tmp_path: Path) -> None:
    assert f"store: there is no store at {cli.database}\n" in cli.run("doctor").text
    assert cli.run("doctor").code == 1
    assert not cli.database.parent.exists()
    cli.ok("ingest", tree)
    before, state = tree_of(cli.database.parent), cli.state()
    assert cli.ok("doctor").text.endswith(f"\nnothing wrong with {cli.database} and {cli.objects}\n")
    assert cli.json("doctor")["findings"] == []
    assert tree_of(cli.database.parent) == before, "looking changes nothing"
    assert cli.state() == state


def test_everything_that_is_wrong_is_told_at_once(
    cli: Cli, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = cli.json("package", "create", "left")["package_id"]
    cli.ok("ingest", tree)
    shown = cli.json("package", "show", "tree")
    for file in shown["file_list"][:2]:
        cli.object_of(file["content_address"]).unlink()
    with cli.tables() as tables:
        tables.execute("UPDATE artifact_packages SET created_at = 0 WHERE package_id = ?", [package])
    (cli.objects / "tmp").mkdir(exist_ok=True)
    (cli.objects / "tmp" / f"{'0' * 16}.{'1' * 16}").write_bytes(b"left by a process that is gone")
    monkeypatch.setenv("ARTIFACTSTORE_COLOUR", "7")
    ran = cli.run("doctor", "--json")
    assert (ran.code, ran.err) == (1, "")
    found = {finding["check"]: finding["problem"] for finding in ran.json["findings"]}
    assert found == {
        "unknown settings": "ARTIFACTSTORE_COLOUR is set, and there is no such setting",
        "leftovers": f"1 temp files or locks below {cli.objects} are of processes that are gone",
        "missing_objects": f"of 4 objects that the log names, 2 are not below {cli.objects}",
        "left packages": f"1 packages are open and have not grown for a day: {package}",
    }
    assert len(cli.run("doctor").text.splitlines()) == len(ENVIRONMENT) + 8
    assert cli.run("health").code == 0  # as it was told, that sweeps
    assert "leftovers" not in {finding["check"] for finding in cli.run("doctor", "--json").json["findings"]}


def test_other_schemas_lost_logs_and_files_that_are_no_database(
    cli: Cli, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def problems() -> list[str]:
        return [finding["problem"] for finding in cli.run("doctor", "--json").json["findings"]]

    cli.ok("ingest", tree)
    with cli.tables() as tables:
        tables.execute("UPDATE alembic_version SET version_num = '9999'")
    assert [problem.split(",")[0] for problem in problems()] == [f"database {cli.database} has schema 9999"]
    cli.database.rename(tmp_path / "moved")
    assert problems() == [f"there are objects below {cli.objects}, and no log in {cli.database}"]
    cli.database.write_bytes(b"this is no database" * 1000)
    assert problems() == [f"database {cli.database} cannot be read: file is not a database"]
    monkeypatch.setenv("ARTIFACTSTORE_LOG_LEVEL", "LOUD")
    assert problems() == ["invalid ARTIFACTSTORE_LOG_LEVEL 'LOUD': use DEBUG, INFO, WARNING or ERROR"]


def test_a_relative_setting_in_another_directory(cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", "sqlite:///var/log.db")
    monkeypatch.setenv("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", "var/objects")
    cli.ok("ingest", tree)
    monkeypatch.chdir(tree / "bin")
    (line, _remedy) = cli.run("doctor").text.splitlines()[len(ENVIRONMENT) :]
    assert line.endswith(f"there is no database {tree}/bin/var/log.db, but there is {cli.directory}/var/log.db")


def test_a_database_that_does_not_answer(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(*_arguments: object, **_options: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("artifactstore.doctor.inspecting.inspect_database", silent)
    monkeypatch.setattr("artifactstore.doctor.inspecting._CONNECT_S", 0)
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", "postgresql://somewhere/store")
    (found,) = examine(inspect_store(lock_wait_s=0))
    assert found.problem == "database somewhere/store cannot be read: it does not answer"


def test_locks_that_nobody_gives_up(cli: Cli, tree: Path) -> None:
    cli.ok("ingest", tree)
    with holding(cli.database) as process:
        setup, head = examine(inspect_store(lock_wait_s=0))
    assert (setup.check, head.check) == ("locks", "locks")
    assert setup.problem.startswith(f"the set-up lock {cli.database}.lock is held by ")
    assert head.problem.startswith("the head of the log is held by ")
    if LOCKS.exists():
        assert all(f"process {process} ({sys.executable}" in found.problem for found in (setup, head))
    assert examine(inspect_store(lock_wait_s=0)) == ()


def test_a_root_that_this_user_cannot_write(cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system says; root itself may write anywhere."""

    def may(path: str, mode: int, *, effective_ids: bool) -> bool:
        return path != str(cli.objects) or not mode & os.W_OK

    cli.ok("ingest", tree)
    monkeypatch.setattr(os, "access", may)
    (found,) = examine(inspect_store(lock_wait_s=0))
    assert found.check == "storage"


def test_a_root_that_is_a_file_or_below_one(cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.create()
    monkeypatch.setenv("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", str(tree / "README.md" / "objects"))
    (found,) = examine(inspect_store(lock_wait_s=0))
    assert found.problem == f"the storage root {tree}/README.md/objects cannot be made"
    monkeypatch.setenv("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", str(tree / "README.md"))
    (found,) = examine(inspect_store(lock_wait_s=0))
    assert found.check == "storage"


@pytest.mark.slow
def test_postgresql_tells_who_holds_the_head(
    cli: Cli, postgres_location: DatabaseLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_location.url.render_as_string(hide_password=False).replace("+asyncpg", "")
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", url)
    (found,) = examine(inspect_store(lock_wait_s=0.1))
    assert found.check == "store", "an empty database is a store that is not there yet"
    cli.ok("package", "create", "p")
    assert examine(inspect_store(lock_wait_s=0.1)) == ()

    async def while_held() -> tuple[str, ...]:
        engine = writer_engine(postgres_location)
        async with connected(engine) as connection:
            await connection.execute(text("SELECT sequence FROM log_head FOR UPDATE"))
            found = await asyncio.to_thread(lambda: examine(inspect_store(lock_wait_s=0.1)))
        await engine.dispose()
        return tuple(diagnosis.problem for diagnosis in found)

    (problem,) = asyncio.run(while_held())
    assert problem.startswith("the head of the log is held by session ")
    assert "(artifactstore) from this host, since 20" in problem


def test_nobody_waits_for_a_pipe(cli: Cli, tree: Path) -> None:
    cli.ok("ingest", tree)
    lock = Path(f"{cli.database}.lock")
    lock.unlink()
    os.mkfifo(lock)
    assert cli.json("doctor")["findings"] == []
    cli.database.rename(cli.database.with_name("kept"))
    os.mkfifo(cli.database)
    answer = cli.run("doctor")
    assert (answer.code, answer.err) == (1, "")
    assert "it is no regular file" in answer.text


def damage(file: Path) -> None:
    file.write_bytes(b"this is no database" * 1000)


def replace_by_another(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as another:
        another.execute("CREATE TABLE somebody_elses (x)")


def replace_by_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def leave_only_its_log(file: Path) -> None:
    file.unlink()
    file.with_name("objects.db-wal").write_bytes(b"log")


SMALL_OBJECTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "damaged": (damage, "the file of small objects {} cannot be read: file is not a database"),
    "another": (replace_by_another, "the file of small objects {} cannot be read: no such table: objects"),
    "a directory": (
        replace_by_directory,
        "the file of small objects {} cannot be read: it is no regular file",
    ),
    "a log": (
        leave_only_its_log,
        "the file of small objects {0} cannot be read: it is gone, and its write-ahead log {0}-wal is there",
    ),
    "lost": (Path.unlink, "the file of small objects {} is not there, and the log names objects in it"),
}


@pytest.mark.parametrize(("harm", "problem"), SMALL_OBJECTS.values(), ids=SMALL_OBJECTS)
def test_harm_to_the_file_of_small_objects_is_told_and_nothing_is_changed(
    cli: Cli, tree: Path, harm: Callable[[Path], object], problem: str
) -> None:
    (tree / "large").write_bytes(bytes(100_000))
    cli.ok("ingest", tree)
    file = cli.objects / "small" / "objects.db"
    harm(file)
    before = tree_of(cli.objects)
    found = {finding["check"]: finding["problem"] for finding in cli.run("doctor", "--json").json["findings"]}
    assert found.pop("small objects") == problem.format(file)
    assert set(found) <= {"missing_objects"}
    assert tree_of(cli.objects) == before


def test_rows_that_are_missing_and_a_log_that_a_killed_process_left(cli: Cli, tree: Path, tmp_path: Path) -> None:
    cli.ok("ingest", tree)
    file = cli.objects / "small" / "objects.db"
    with closing(sqlite3.connect(file)) as rows:
        rows.execute("DELETE FROM objects WHERE length(content) = 8")
        rows.commit()
        left = {path: path.read_bytes() for path in file.parent.iterdir()}
    for path, content in left.items():
        path.write_bytes(content)  # as a process leaves them that is killed
    before = tree_of(cli.objects)
    (found,) = cli.run("doctor", "--json").json["findings"]
    assert (found["check"], found["problem"]) == (
        "missing_objects",
        f"of 4 objects that the log names, 1 are not below {cli.objects}",
    )
    assert tree_of(cli.objects) == before
    assert cli.run("verify").code == 3
    file.with_name("objects.new").touch()
    assert "1 temp files or locks below" in cli.run("doctor").text
