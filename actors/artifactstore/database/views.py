"""Projected rows in tables: live ones, or temporary twins that a replay fills.

`TableViewWriter` is the `LogTables` of databases. `projection_digest` reads a set of view tables back and says in
one digest what they hold; it is the same on SQLite and PostgreSQL, since both order text bytewise.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby

from sqlalchemy import Table, bindparam, delete, select, type_coerce, update
from sqlalchemy.types import NULLTYPE

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import OnConflict, Statement, compiled, execute_all, insertion, run
from artifactstore.database.schema import ViewTables
from artifactstore.database.state import load_state
from artifactstore_protocols.identity import Digest
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import Delete, Put, Row, RowOperation, Update, ViewDigest, ViewTable, coalesce

__all__ = ["TableViewWriter", "projection_digest", "row_statements"]

_FETCH_ROWS = 1000


class TableViewWriter:
    """Writes row operations into a set of tables, in as few statements as their kinds allow."""

    def __init__(self, connection: AsyncConnection, tables: ViewTables) -> None:
        self._connection = connection
        self._tables = tables

    async def apply(self, operations: Sequence[RowOperation]) -> None:
        """Write the operations; the transaction they are written in is the caller's."""
        database = self._connection.dialect.name
        await execute_all(self._connection, row_statements(operations, self._tables, database))

    async def state(self, needed: Needs) -> LogState:
        """Return the state that is needed, as the caller's transaction sees it."""
        return await run(self._connection, load_state(needed, self._connection.dialect.name, self._tables))


def row_statements(operations: Iterable[RowOperation], tables: ViewTables, database: str) -> list[Statement]:
    """The statements that write row operations into a set of tables of a database, by the name of its dialect."""
    statements: list[Statement] = []
    for (view, changed), group in groupby(coalesce(operations), key=_columns_changed):
        table = tables[view]
        if changed:
            updates = [entry for entry in group if isinstance(entry, Update)]
            statements.append(_updates(table, view, changed, updates, database))
            continue
        for operation in group:
            if isinstance(operation, Delete):
                statements.append(_deletions(table, view, operation.keys, database))
            elif not isinstance(operation, Update):
                conflict = OnConflict.OVERWRITE if isinstance(operation, Put) else OnConflict.KEEP
                statements.append(insertion(table, operation.rows, database, conflict))
    return statements


def _columns_changed(operation: RowOperation) -> tuple[ViewTable, tuple[str, ...]]:
    """What a run of updates must share to be one statement; no columns for rows that are written whole."""
    return operation.table, tuple(operation.values) if isinstance(operation, Update) else ()


def _updates(
    table: Table, view: ViewTable, changed: tuple[str, ...], updates: Sequence[Update], database: str
) -> Statement:
    sql, order = _update(table, view, changed, database)
    return Statement(sql, [tuple(map((*each.values.values(), *each.key).__getitem__, order)) for each in updates])


@cache
def _deletion(table: Table, view: ViewTable, database: str) -> tuple[str, tuple[int, ...]]:
    statement = delete(table)
    for name in view.key:
        statement = statement.where(table.c[name] == bindparam(name))
    sql, order = compiled(statement, database)
    return sql, tuple(map(view.key.index, order))


def _deletions(table: Table, view: ViewTable, keys: Sequence[Row], database: str) -> Statement:
    sql, order = _deletion(table, view, database)
    return Statement(sql, [tuple(map(key.__getitem__, order)) for key in keys])


@cache
def _update(table: Table, view: ViewTable, changed: tuple[str, ...], database: str) -> tuple[str, tuple[int, ...]]:
    """The text, and for each of its parameters the place among the changed columns and those of the key."""
    parameters = (*(f"new_{name}" for name in changed), *(f"key_{name}" for name in view.key))
    statement = update(table).values({name: bindparam(f"new_{name}") for name in changed})
    for name in view.key:
        statement = statement.where(table.c[name] == bindparam(f"key_{name}"))
    sql, order = compiled(statement, database)
    return sql, tuple(map(parameters.index, order))


async def projection_digest(connection: AsyncConnection, tables: ViewTables) -> Digest:
    """The digest of all rows of all view tables, within the connection's transaction; memory is one batch of rows."""
    digest = ViewDigest()
    for view, table in tables.items():
        # Cells as they are: one that is damaged makes another digest, and no error.
        cells = (type_coerce(table.c[name], NULLTYPE).label(name) for name in view.columns)
        query = select(*cells).order_by(*(table.c[name] for name in view.key))
        count = 0
        async with connection.stream(query, rows=_FETCH_ROWS) as batches:
            async for rows in batches:
                digest.add(rows)
                count += len(rows)
        digest.end(view, count)
    return digest.result()
