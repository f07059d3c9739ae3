"""Projected rows in tables: live ones, or temporary twins that a replay fills.

`TableViewWriter` is the `LogTables` of databases. `projection_digest` reads a set of view tables back and says in
one digest what they hold; it is the same on SQLite and PostgreSQL, since both order text bytewise.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import cache
from itertools import groupby

from sqlalchemy import Table, bindparam, select, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import NULLTYPE

from artifactstore.database.bulk import Insert, insert_rows
from artifactstore.database.facts import load_history
from artifactstore.database.schema import ViewTables
from artifactstore_protocols.admission import History, HistoryNeeds
from artifactstore_protocols.canonical import NotEncodable
from artifactstore_protocols.identity import Digest
from artifactstore_protocols.views import (
    Cell,
    Put,
    PutIfAbsent,
    Row,
    RowOperation,
    Update,
    ViewDigest,
    ViewTable,
    coalesce,
)

__all__ = ["TableViewWriter", "projection_digest"]

_FETCH_ROWS = 1000


class TableViewWriter:
    """Writes row operations into a set of tables, in as few statements as their kinds allow."""

    def __init__(self, connection: AsyncConnection, tables: ViewTables) -> None:
        self._connection = connection
        self._tables = tables

    async def apply(self, operations: Sequence[RowOperation]) -> None:
        """Write the operations; the transaction they are written in is the caller's."""
        for operations_of_round in coalesce(operations):
            ordered = sorted(operations_of_round, key=_statement_of)
            for _statement, group in groupby(ordered, key=_statement_of):
                await self._execute(tuple(group))

    async def history(self, needed: HistoryNeeds) -> History:
        """What is needed of the history, as the caller's transaction sees it."""
        return await load_history(self._connection, needed, self._tables)

    async def _execute(self, group: tuple[RowOperation, ...]) -> None:
        match group[0]:
            case Update() as first:
                await self._update(first, [entry for entry in group if isinstance(entry, Update)])
            case Put() | PutIfAbsent() as first:
                rows = [entry.row for entry in group if not isinstance(entry, Update)]
                await self._put(first.table, rows, overwrite=isinstance(first, Put))

    async def _put(self, view: ViewTable, rows: Sequence[Row], *, overwrite: bool) -> None:
        await insert_rows(
            self._connection, self._tables[view], rows, _overwriting(view) if overwrite else _keeping(view)
        )

    async def _update(self, first: Update, group: Iterable[Update]) -> None:
        table = self._tables[first.table]
        statement = update(table).values({name: bindparam(f"new_{name}") for name in first.values})
        for name in first.table.key:
            statement = statement.where(table.c[name] == bindparam(f"key_{name}"))
        parameters: list[dict[str, Cell]] = [
            {f"new_{name}": cell for name, cell in entry.values.items()}
            | {f"key_{name}": cell for name, cell in zip(entry.table.key, entry.key, strict=True)}
            for entry in group
        ]
        await self._connection.execute(statement, parameters)


@cache
def _overwriting(view: ViewTable) -> Callable[[Insert], Insert]:
    def on_conflict(insert: Insert) -> Insert:
        others = {name: insert.excluded[name] for name in view.columns if name not in view.key}
        return insert.on_conflict_do_update(index_elements=view.key, set_=others)

    return on_conflict


@cache
def _keeping(view: ViewTable) -> Callable[[Insert], Insert]:
    return lambda insert: insert.on_conflict_do_nothing(index_elements=view.key)


def _statement_of(operation: RowOperation) -> tuple[str, str, tuple[str, ...]]:
    """What a run of operations must share to be one statement, executed for many rows."""
    columns = tuple(operation.values) if isinstance(operation, Update) else ()
    return type(operation).__name__, operation.table.name, columns


async def projection_digest(connection: AsyncConnection, tables: ViewTables) -> Digest:
    """The digest of all rows of all view tables, within the connection's transaction; memory is one batch of rows."""
    digest = ViewDigest()
    for view, table in tables.items():
        async for cells in _rows(connection, view, table):
            try:
                digest.add(view, cells)
            except NotEncodable:  # somebody put in by hand what no event could; nothing projected reads like this
                digest.add(view, [repr(cell) for cell in cells])
    return digest.result()


async def _rows(connection: AsyncConnection, view: ViewTable, table: Table) -> AsyncIterator[tuple[Cell, ...]]:
    # As they are: a cell that is damaged makes another digest, and no error.
    cells = (type_coerce(table.c[name], NULLTYPE).label(name) for name in view.columns)
    query = select(*cells).order_by(*(table.c[name] for name in view.key))
    async with connection.stream(query, execution_options={"yield_per": _FETCH_ROWS}) as result:
        async for row in result:
            yield tuple(row)
