"""Migrations: from a shell and by the store, up and down, and in agreement with the models."""

import os
import re
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, inspect, select, text, update

from artifactstore.database import events, migrate
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.asyncio_thread import AsyncioThread
from artifactstore.database.database import Database
from artifactstore.database.engines import writer_engine
from artifactstore.database.errors import DatabaseBusy, DatabaseUnavailable, LogNotEmpty, SchemaTooNew, SchemaTooOld
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.schema import LIVE, METADATA, SCHEMA_REVISION, SCHEMA_REVISIONS, retention_classes
from artifactstore.database.store import SqlEventStore
from artifactstore_protocols.retention import RETENTION_CLASSES
from artifactstore_protocols.views import SCHEMAS
from command_strategies import Ids
from database_tools import Gate, by_hand, event, opened

pytestmark = pytest.mark.slow

_CHECKOUT = Path(__file__).parents[3]


async def alembic(location: DatabaseLocation, *arguments: str) -> None:
    """Run the bare command in the checkout."""
    environment = {**os.environ, "ARTIFACTSTORE_DATABASE_URL": location.url.render_as_string(hide_password=False)}
    command_line = [sys.executable, "-W", "error", "-m", "alembic", *arguments]
    ended = await trio.run_process(
        command_line, cwd=_CHECKOUT, env=environment, capture_stdout=True, capture_stderr=True, check=False
    )
    assert ended.returncode == 0, ended.stderr.decode()


async def tables(location: DatabaseLocation) -> set[str]:
    return await by_hand(location, lambda connection: connection.run_sync(_table_names))


def _table_names(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


async def test_a_bare_alembic_sets_up_what_the_store_opens(location: DatabaseLocation) -> None:
    await alembic(location, "upgrade", "head")
    assert await tables(location) == {*METADATA.tables, "alembic_version"}
    async with opened(location) as database:
        assert (await SqlEventStore(database).replay(rebuild=False)).identical


def _alembic(connection: Connection, run: Callable[[Config], None]) -> None:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(migrate.migrations_directory()))
    run(config)


async def test_a_downgrade_takes_everything_down_and_an_upgrade_sets_it_up_again(location: DatabaseLocation) -> None:
    await Database(location).migrate()
    await by_hand(
        location, lambda connection: connection.run_sync(_alembic, lambda config: command.downgrade(config, "base"))
    )
    assert await tables(location) == {"alembic_version"}
    async with opened(location) as database:
        assert await database.read(events.head) == 0


UNREFLECTED = pytest.mark.filterwarnings(
    "ignore:Skipped unsupported reflection of expression-based index",
    "ignore:autogenerate skipping metadata-specified expression-based index",
)
"""SQLAlchemy reflects no indexes on expressions on SQLite. The second test looks for them in the catalogue."""


@UNREFLECTED
async def test_models_and_migrations_agree(location: DatabaseLocation) -> None:
    """Alembic's own check, with the environment that the migrations run in."""
    async with opened(location) as database:
        await database.read(lambda connection: connection.run_sync(_alembic, command.check))


@UNREFLECTED
async def test_names_of_constraints_and_indexes_agree(location: DatabaseLocation) -> None:
    """Alembic compares no check constraints and no names of primary keys."""

    def names(connection: Connection) -> dict[str, set[str | None]]:
        look = inspect(connection)
        catalogue = "sqlite_master WHERE type = 'index'" if connection.dialect.name == "sqlite" else "pg_indexes"
        column = "tbl_name, name" if connection.dialect.name == "sqlite" else "tablename, indexname"
        indexes = connection.execute(text(f"SELECT {column} FROM {catalogue}")).all()  # noqa: S608 - from above
        return {
            table: {
                look.get_pk_constraint(table)["name"],
                *(name for of, name in indexes if of == table and not name.startswith("sqlite_autoindex")),
                *(check["name"] for check in look.get_check_constraints(table)),
            }
            for table in METADATA.tables
        }

    async with opened(location) as database:
        found = await database.read(lambda connection: connection.run_sync(names))
    declared = {
        table.name: {
            *(each.name if table.primary_key or each is not table.primary_key else None for each in table.constraints),
            *(index.name for index in table.indexes),
        }
        for table in METADATA.tables.values()
    }
    assert found == declared


def test_the_revisions_that_the_schema_names_are_those_of_the_migrations() -> None:
    directory = ScriptDirectory(str(migrate.migrations_directory()))
    scripts = [script.revision for script in directory.walk_revisions()]
    assert tuple(reversed(scripts)) == SCHEMA_REVISIONS
    assert directory.get_current_head() == SCHEMA_REVISION


async def test_the_five_retention_classes_are_there(location: DatabaseLocation) -> None:
    async def classes(connection: AsyncConnection) -> dict[str, tuple[int | None, str]]:
        rows = await connection.execute(select(retention_classes))
        return {row.name: (row.duration_us, row.description) for row in rows}

    async with opened(location) as database:
        found = await database.read(classes)
    assert len(found) == 5
    assert found == {kept.name: (kept.duration_us, kept.description) for kept in RETENTION_CLASSES.values()}


async def test_migrating_says_what_it_found_and_made(location: DatabaseLocation) -> None:
    database = Database(location)
    assert await database.migrate() == (None, SCHEMA_REVISION)
    assert await database.migrate() == (SCHEMA_REVISION, SCHEMA_REVISION)


async def _claim(location: DatabaseLocation, revision: str) -> None:
    async def write(connection: AsyncConnection) -> None:
        version = MetaData()
        await connection.run_sync(version.reflect, only=["alembic_version"])
        await connection.execute(update(version.tables["alembic_version"]).values(version_num=revision))

    await by_hand(location, write)


async def test_a_newer_schema_is_refused_and_left_alone(location: DatabaseLocation) -> None:
    database = Database(location)
    await database.migrate()
    await _claim(location, "9999")
    for attempt in (database.open, database.migrate):
        with pytest.raises(SchemaTooNew, match="9999") as caught:
            await attempt()
        assert (caught.value.found, caught.value.needed) == ("9999", SCHEMA_REVISION)
    with pytest.raises(SchemaTooNew):
        await database.start_afresh(destroy_log=location.name)
    assert await tables(location) == {*METADATA.tables, "alembic_version"}


async def test_an_older_schema_is_refused_with_the_command_that_helps(
    location: DatabaseLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(location)
    await database.migrate()
    await _claim(location, "0000")
    monkeypatch.setattr(migrate, "SCHEMA_REVISIONS", ("0000", *SCHEMA_REVISIONS))
    with pytest.raises(SchemaTooOld, match="`artifactstore migrate`") as caught:
        await database.open()
    assert (caught.value.found, caught.value.needed) == ("0000", SCHEMA_REVISION)


async def test_starting_afresh_spares_a_log_that_holds_events_unless_it_is_named(location: DatabaseLocation) -> None:
    database = Database(location)
    await database.start_afresh(destroy_log=None)  # there is nothing yet
    await database.start_afresh(destroy_log=None)  # there is no event yet
    async with opened(location) as log:
        await log.write(lambda transaction: events.write(transaction, event(Ids()())))
    for name in (None, "another", ""):
        with pytest.raises(LogNotEmpty, match=re.escape(f"--destroy-log {location.name}")) as caught:
            await database.start_afresh(destroy_log=name)
        assert caught.value.events == 1
    async with opened(location) as log:
        assert await log.read(events.head) == 1
    await database.start_afresh(destroy_log=location.name)
    async with opened(location) as log:
        assert await log.read(events.head) == 0


async def test_two_databases_migrate_at_once(
    sqlite_location: DatabaseLocation, postgres_location: DatabaseLocation, tmp_path: Path
) -> None:
    """Alembic's context is global to the process: each has a thread of its own, and they take turns."""
    second_file = DatabaseLocation.parse(f"sqlite:///{tmp_path}/second.db")
    async with trio.open_nursery() as nursery:
        for location in (sqlite_location, postgres_location, second_file, sqlite_location, postgres_location):
            nursery.start_soon(Database(location).migrate)
    for location in (sqlite_location, postgres_location, second_file):
        assert await tables(location) == {*METADATA.tables, "alembic_version"}


async def test_a_set_up_that_fails_leaves_nothing_behind(location: DatabaseLocation) -> None:
    """A table of somebody else's is in the way of the last one that is made."""

    def obstruct(connection: Connection) -> None:
        LIVE[SCHEMAS].create(connection)

    await by_hand(location, lambda connection: connection.run_sync(obstruct))
    with pytest.raises(DatabaseUnavailable, match="metadata_schemas"):
        await Database(location).open()
    assert await tables(location) == {"metadata_schemas"}


async def test_migrations_that_cannot_be_read_are_named(
    location: DatabaseLocation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alembic takes a directory that it cannot read for one without migrations, and would set nothing up."""
    copy = tmp_path / "migrations"
    shutil.copytree(migrate.migrations_directory(), copy, ignore=shutil.ignore_patterns("[0-9]*.py"))
    monkeypatch.setattr(migrate, "migrations_directory", lambda: copy)
    with pytest.raises(DatabaseUnavailable, match=f"this user cannot read the migrations in {copy}"):
        await Database(location).open()
    monkeypatch.undo()
    async with opened(location):
        pass


async def test_opening_waits_for_no_writer(location: DatabaseLocation) -> None:
    """A reader must get in while another process holds the head of the log."""
    gate = Gate()

    async def hold(_transaction: events.Transaction) -> None:
        await gate.stop_here()

    async with opened(location) as writer, trio.open_nursery() as nursery:
        nursery.start_soon(writer.write, hold)
        await gate.arrival()
        async with opened(location, lock_timeout_s=0.1) as reader:
            assert await reader.read(events.head) == 0
        gate.open()


async def test_a_set_up_that_does_not_end_makes_others_give_up(location: DatabaseLocation) -> None:
    gate = Gate()

    async def dawdle() -> None:
        engine = writer_engine(location)
        try:
            async with migrate.exclusive(engine, location):
                await gate.stop_here()
        finally:
            await engine.dispose()

    thread = AsyncioThread("dawdler")
    thread.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(thread.run, dawdle, abandon_on_cancel=False))
        await gate.arrival()
        for attempt in (Database.open, Database.migrate):
            with pytest.raises(DatabaseBusy):
                await attempt(Database(location, lock_timeout_s=0.05))
        gate.open()
    await thread.stop()
    async with opened(location) as database:
        assert await database.read(events.head) == 0


async def test_a_file_that_is_no_database_is_not_available(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, today I was mistaken for a database.\n" * 40)
    with pytest.raises(DatabaseUnavailable, match="not a database"):
        await Database(DatabaseLocation.parse(f"sqlite:///{path}")).open()
    assert path.read_text().startswith("Dear diary")


async def test_a_directory_that_cannot_be_made_is_not_available(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnavailable):
        await Database(DatabaseLocation.parse(f"sqlite:///{tmp_path}/file/store.db")).open()


def test_migrations_are_found_in_a_checkout_and_in_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert migrate.migrations_directory() == _CHECKOUT / "migrations"
    (tmp_path / "migrations").mkdir()

    def files(_package: str) -> Path:
        return tmp_path

    monkeypatch.setattr("importlib.resources.files", files)
    assert migrate.migrations_directory() == tmp_path / "migrations"
