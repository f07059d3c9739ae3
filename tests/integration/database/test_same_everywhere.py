"""One log gives one projection digest, on SQLite and on PostgreSQL, however a locale would sort its text."""

from sqlalchemy import Table, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateTable

from artifactstore.database.location import DatabaseLocation
from artifactstore.database.schema import DIFFERING, METADATA, SHADOW
from artifactstore.database.store import SqlEventStore
from artifactstore_protocols.commands import Command, RegisterMetadataSchema
from artifactstore_protocols.records import ReplayReport
from command_strategies import Ids, created, ingest, ingested
from database_tools import Scribe, opened, whole_log

# Bytewise: "B" < "Z" < "_" < "a" < "b" < "z" < "ä" < "😀"; no natural language sorts them so.
_NAMES = ["a", "B", "b", "ä", "Z", "z", "_", "a b", "a-b", "ab", "😀", "\uffee", "ß", "ss", "İ", "i"]

_POSTGRESQL = make_url("postgresql+asyncpg://").get_dialect()()
_SQLITE = make_url("sqlite+aiosqlite://").get_dialect()()


def _commands() -> list[Command]:
    ids = Ids()
    files = [ingested(name, name.encode(), ids=ids) for name in _NAMES]
    return [
        created(1, metadata={name: name for name in _NAMES}, ids=ids),
        created(2, name="ÄÖ 😀", retention_class="permanent", ids=ids),
        ingest(*files),
        *(RegisterMetadataSchema(ids(), name, "{}") for name in _NAMES),
    ]


async def _digest(location: DatabaseLocation) -> tuple[ReplayReport, list[str], list[bytes]]:
    async with opened(location) as database:
        store = SqlEventStore(database)
        scribe = Scribe(store)
        await scribe.send(*(scribe.ask(command) for command in _commands()), files_per_package_max=100)
        files = await store.files(created(1).package_id)
        payloads = [stored.event.payload for stored in await whole_log(database)]
        return await store.replay(rebuild=False), [file.path for file in files], payloads


async def test_both_databases_give_one_digest(
    sqlite_location: DatabaseLocation, postgres_location: DatabaseLocation
) -> None:
    on_sqlite = await _digest(sqlite_location)
    on_postgresql = await _digest(postgres_location)
    assert on_sqlite == on_postgresql
    report, paths, _payloads = on_sqlite
    assert report.identical
    assert paths == sorted(_NAMES, key=str.encode)


def _text_columns(table: Table) -> list[str]:
    rendered = str(CreateTable(table).compile(dialect=_POSTGRESQL))
    return [line.strip().rstrip(",") for line in rendered.splitlines() if " TEXT" in line]


def test_every_text_column_is_declared_to_sort_bytewise() -> None:
    tables = [*METADATA.tables.values(), *SHADOW.values(), *DIFFERING.values()]
    columns = [column for table in tables for column in _text_columns(table)]
    assert len(columns) > 40
    assert [column for column in columns if 'COLLATE "C"' not in column] == []
    for table in tables:
        assert "COLLATE" not in str(CreateTable(table).compile(dialect=_SQLITE))


async def test_every_text_column_of_a_migrated_database_sorts_bytewise(postgres_location: DatabaseLocation) -> None:
    """What the migrations made, as the server's catalogue has it."""

    async def collations(connection: AsyncConnection) -> dict[str, str | None]:
        rows = await connection.execute(
            text(
                "SELECT table_name || '.' || column_name, collation_name FROM information_schema.columns "
                "WHERE table_schema = 'public' AND data_type = 'text'"
            )
        )
        return {row[0]: row[1] for row in rows}

    async with opened(postgres_location) as database:
        found = await database.read(collations)
    ours = {f"{table.name}.{column.name}" for table in METADATA.tables.values() for column in table.columns}
    assert found.keys() <= ours
    assert len(found) > 30
    assert set(found.values()) == {"C"}


async def test_both_databases_have_the_same_columns(location: DatabaseLocation) -> None:
    async with opened(location) as database:
        names = await database.read(_column_names)
    assert names == {
        table.name: {column.name: column.nullable for column in table.columns} for table in METADATA.tables.values()
    }


async def _column_names(connection: AsyncConnection) -> dict[str, dict[str, bool]]:
    return await connection.run_sync(
        lambda sync: {
            table: {column["name"]: column["nullable"] for column in inspect(sync).get_columns(table)}
            for table in METADATA.tables
        }
    )
