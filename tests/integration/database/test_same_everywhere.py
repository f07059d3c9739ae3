"""Both databases have the same tables, and sort text bytewise, however a locale would.

That one log gives one projection digest on both is shown in `tests/integration/event_store`.
"""

from sqlalchemy import Table, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateTable

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.schema import METADATA
from artifactstore.database.shadow import DIFFERING, SHADOW
from database_tools import opened

_POSTGRESQL = make_url("postgresql+asyncpg://").get_dialect()()
_SQLITE = make_url("sqlite+aiosqlite://").get_dialect()()


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
