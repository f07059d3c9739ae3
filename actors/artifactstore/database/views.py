"""Reading and writing of projected rows, in the live view tables or in the temporary tables of a replay.

`TableViewWriter` implements `LogTables` on a database. `projection_digest` reads all rows of a set of view tables into
one digest. SQLite and PostgreSQL give equal digests for equal rows, since both order text bytewise.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby

from sqlalchemy import (
    LargeBinary,
    Table,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.types import NULLTYPE

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import OnConflict, Statement, compiled, execute_all, insertion, run
from artifactstore.database.schema import ViewTables
from artifactstore.database.state import load_state
from artifactstore_protocols.identity import Digest
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import (
    LOCATIONS,
    Delete,
    DeleteRange,
    MarkVerified,
    Put,
    Row,
    RowOperation,
    Update,
    ViewDigest,
    ViewTable,
    coalesce,
)

__all__ = ["TableViewWriter", "projection_digest", "row_statements"]

_FETCH_ROWS = 1000


class TableViewWriter:
    """A writer of row operations into a set of tables. It merges operations into as few statements as possible."""

    def __init__(self, connection: AsyncConnection, tables: ViewTables) -> None:
        self._connection = connection
        self._tables = tables

    async def apply(self, operations: Sequence[RowOperation]) -> None:
        """Write the operations in the caller's transaction."""
        database = self._connection.dialect.name
        await execute_all(self._connection, row_statements(operations, self._tables, database))

    async def state(self, needed: Needs) -> LogState:
        """Return the needed state, read in the caller's transaction."""
        return await run(self._connection, load_state(needed, self._connection.dialect.name, self._tables))


def row_statements(operations: Iterable[RowOperation], tables: ViewTables, database: str) -> list[Statement]:
    """Return the statements that write row operations into `tables`; `database` is the name of the SQL dialect."""
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
            elif isinstance(operation, MarkVerified):
                statements.append(_marking(table, operation, database))
            elif isinstance(operation, DeleteRange):
                statements.append(_range_deletion(table, view, operation, database))
            elif not isinstance(operation, Update):
                conflict = OnConflict.OVERWRITE if isinstance(operation, Put) else OnConflict.KEEP
                statements.append(insertion(table, operation.rows, database, conflict))
    return statements


def _columns_changed(operation: RowOperation) -> tuple[ViewTable, tuple[str, ...]]:
    """Return the table and the updated columns, which updates in one statement share; no columns for whole rows."""
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


def _marking(table: Table, operation: MarkVerified, database: str) -> Statement:
    sql, order = _mark(table, len(operation.arcs), database)
    ends = (end for arc in operation.arcs for end in arc)
    values = (operation.sequence, *operation.first, *operation.last, *ends)
    return Statement(sql, [tuple(map(values.__getitem__, order))])


@cache
def _mark(table: Table, arcs: int, database: str) -> tuple[str, tuple[int, ...]]:
    """Return the SQL, and for each of its parameters the index into the sequence, both keys and the arcs."""
    columns = [table.c[name] for name in ("verified_sequence", *LOCATIONS.key)]
    first, last = (
        tuple_(*(bindparam(f"{which}_{each.name}", type_=each.type) for each in columns)) for which in ("first", "last")
    )
    end = func.substr(table.c.digest_primary, literal_column("29"), literal_column("4"))
    ends = [
        [bindparam(f"{which}_end_{arc}", type_=LargeBinary()) for which in ("first", "last")] for arc in range(arcs)
    ]
    is_current = (table.c.state != literal_column("'retired'")) & (table.c.state != literal_column("'removed'"))
    statement = (
        update(table)
        .values(verified_sequence=bindparam("new"))
        .where(tuple_(*columns) >= first, tuple_(*columns) <= last, is_current)
    )
    if ends:
        statement = statement.where(or_(*(end.between(low, high) for low, high in ends)))
    parameters = (
        "new",
        *(f"{which}_{each.name}" for which in ("first", "last") for each in columns),
        *(each.key for arc in ends for each in arc),
    )
    sql, order = compiled(statement, database)
    return sql, tuple(map(parameters.index, order))


def _range_deletion(table: Table, view: ViewTable, removed: DeleteRange, database: str) -> Statement:
    sql, order = _deletion_in_range(table, view, database)
    return Statement(sql, [tuple(map((*removed.key, removed.first, removed.last).__getitem__, order))])


@cache
def _deletion_in_range(table: Table, view: ViewTable, database: str) -> tuple[str, tuple[int, ...]]:
    *names, ranged = view.key
    statement = delete(table).where(table.c[ranged] >= bindparam("first"), table.c[ranged] <= bindparam("last"))
    for name in names:
        statement = statement.where(table.c[name] == bindparam(name))
    sql, order = compiled(statement, database)
    return sql, tuple(map([*names, "first", "last"].index, order))


@cache
def _update(table: Table, view: ViewTable, changed: tuple[str, ...], database: str) -> tuple[str, tuple[int, ...]]:
    """Return the SQL, and for each of its parameters the index into the changed columns followed by the key columns."""
    parameters = (*(f"new_{name}" for name in changed), *(f"key_{name}" for name in view.key))
    statement = update(table).values({name: bindparam(f"new_{name}") for name in changed})
    for name in view.key:
        statement = statement.where(table.c[name] == bindparam(f"key_{name}"))
    sql, order = compiled(statement, database)
    return sql, tuple(map(parameters.index, order))


async def projection_digest(connection: AsyncConnection, tables: ViewTables) -> Digest:
    """Return the digest of all rows of all view tables. Reads in the current transaction, 1,000 rows at a time."""
    digest = ViewDigest()
    for view, table in tables.items():
        # No type checks: a damaged cell must change the digest, not raise an error.
        cells = (type_coerce(table.c[name], NULLTYPE).label(name) for name in view.columns)
        query = select(*cells).order_by(*(table.c[name] for name in view.key))
        count = 0
        async with connection.stream(query, rows=_FETCH_ROWS) as batches:
            async for rows in batches:
                digest.add(rows)
                count += len(rows)
        digest.end(view, count)
    return digest.result()
