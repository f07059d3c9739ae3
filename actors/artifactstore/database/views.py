"""Projected rows in tables: live ones, or temporary twins that a replay fills.

`TableViewWriter` is the `LogTables` of databases. `projection_digest` reads a set of view tables back and says in
one digest what they hold; it is the same on SQLite and PostgreSQL, since both order text bytewise.
"""

from collections.abc import Sequence
from functools import cache
from itertools import groupby

from sqlalchemy import Table, bindparam, select, type_coerce, update
from sqlalchemy.sql.dml import Update as UpdateStatement
from sqlalchemy.types import NULLTYPE

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import OnConflict, insert_rows
from artifactstore.database.facts import load_history
from artifactstore.database.schema import ViewTables
from artifactstore_protocols.admission import History, HistoryNeeds
from artifactstore_protocols.identity import Digest
from artifactstore_protocols.views import Put, RowOperation, Update, ViewDigest, ViewTable, coalesce

__all__ = ["TableViewWriter", "projection_digest"]

_FETCH_ROWS = 1000


class TableViewWriter:
    """Writes row operations into a set of tables, in as few statements as their kinds allow."""

    def __init__(self, connection: AsyncConnection, tables: ViewTables) -> None:
        self._connection = connection
        self._tables = tables

    async def apply(self, operations: Sequence[RowOperation]) -> None:
        """Write the operations; the transaction they are written in is the caller's."""
        for (view, changed), group in groupby(coalesce(operations), key=_columns_changed):
            if changed:
                await self._update(view, changed, [entry for entry in group if isinstance(entry, Update)])
                continue
            for operation in group:
                if not isinstance(operation, Update):
                    conflict = OnConflict.OVERWRITE if isinstance(operation, Put) else OnConflict.KEEP
                    await insert_rows(self._connection, self._tables[view], operation.rows, conflict)

    async def _update(self, view: ViewTable, changed: tuple[str, ...], updates: Sequence[Update]) -> None:
        rows = [
            dict(zip(_parameters(view, changed), (*update.values.values(), *update.key), strict=True))
            for update in updates
        ]
        await self._connection.execute(_update_statement(self._tables[view], view, changed), rows)

    async def history(self, needed: HistoryNeeds) -> History:
        """What is needed of the history, as the caller's transaction sees it."""
        return await load_history(self._connection, needed, self._tables)


def _columns_changed(operation: RowOperation) -> tuple[ViewTable, tuple[str, ...]]:
    """What a run of updates must share to be one statement; no columns for rows that are written whole."""
    return operation.table, tuple(operation.values) if isinstance(operation, Update) else ()


def _parameters(view: ViewTable, changed: tuple[str, ...]) -> tuple[str, ...]:
    return (*(f"new_{name}" for name in changed), *(f"key_{name}" for name in view.key))


@cache
def _update_statement(table: Table, view: ViewTable, changed: tuple[str, ...]) -> UpdateStatement:
    statement = update(table).values({name: bindparam(f"new_{name}") for name in changed})
    for name in view.key:
        statement = statement.where(table.c[name] == bindparam(f"key_{name}"))
    return statement


async def projection_digest(connection: AsyncConnection, tables: ViewTables) -> Digest:
    """The digest of all rows of all view tables, within the connection's transaction; memory is one batch of rows."""
    digest = ViewDigest()
    for view, table in tables.items():
        # Cells as they are: one that is damaged makes another digest, and no error.
        cells = (type_coerce(table.c[name], NULLTYPE).label(name) for name in view.columns)
        query = select(*cells).order_by(*(table.c[name] for name in view.key))
        async with connection.stream(query, rows=_FETCH_ROWS) as batches:
            async for rows in batches:
                digest.add([[view.name, *row] for row in rows])
    return digest.result()
