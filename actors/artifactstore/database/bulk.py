"""Statements of a transaction, compiled to text once and executed with few thread hops and round trips.

The work of a transaction is a generator (`Steps`). It yields statements and receives their rows.

On SQLite, the whole generator runs in one hop to the driver's thread. An insertion is executed once for each row. A
query is executed once for all its keys, which are a table in the statement.

On PostgreSQL, each statement is executed once, with an array for each parameter. Insertions are then about 1.5 times as
fast as with one execution a row (`bench/bulk_insert.py`). COPY would be faster for large batches, but it has no ON
CONFLICT, and no timeout ends a server that waits for the rest of a COPY.
"""

import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from enum import Enum
from functools import cache, partial
from itertools import batched, chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    LargeBinary,
    Select,
    Table,
    Text,
    bindparam,
    column,
    func,
    select,
    table,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.types import TypeEngine

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.schema import UNIQUE

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

    from artifactstore.database.sqlite_driver import Connection

__all__ = [
    "Cells",
    "Lookup",
    "OnConflict",
    "Query",
    "Statement",
    "Steps",
    "compiled",
    "execute_all",
    "insertion",
    "lookup",
    "query",
    "run",
    "wanted",
]

_WANTED: Final = "wanted"

_PARAMETERS_MAX: Final = 999
"""The number of parameters in one statement that every SQLite build accepts."""

_TYPES: Final[Mapping[type, TypeEngine[Any]]] = {int: BigInteger(), str: Text(), bytes: LargeBinary()}

type Cells = tuple[Any, ...]
"""One row, as the driver returns it."""


class OnConflict(Enum):
    """The action for a new row whose key exists already."""

    FAIL = "fail"
    KEEP = "keep"
    OVERWRITE = "overwrite"


class Statement(NamedTuple):
    """SQL text that returns no rows, and at least one tuple of parameters to execute it with."""

    sql: str
    parameters: Sequence[tuple[object, ...]]


class Query(NamedTuple):
    """A compiled query for rows by key. The keys are rows of a table `wanted` in the statement.

    Attributes:
        sql: the text of the query.
        names: the names of the wanted values, in the order of a key.
        order: on PostgreSQL, for each parameter of the text, the index of its value in `names`.
        database: the name of the dialect.
        check: raises `DamagedCell` for rows with a cell that artifactstore cannot have written.
    """

    sql: str
    names: tuple[str, ...]
    order: tuple[int, ...]
    database: str
    check: Callable[[Sequence[Cells]], None]


class Lookup(NamedTuple):
    """Executions of one query, each with its text and parameters. Their rows are concatenated."""

    executions: Sequence[tuple[str, tuple[object, ...]]]
    check: Callable[[Sequence[Cells]], None]


type Steps[T] = Generator[Statement | Lookup, list[Cells], T]
"""The work of a transaction: a generator that yields statements, receives the rows of each and returns a result."""


async def run[T](connection: AsyncConnection, steps: Steps[T]) -> T:
    """Run `steps` in the connection's transaction, begin one if none is open, and return the result of the steps.

    An error of the database is raised inside the steps, at the yield of the statement that failed.

    Raises:
        DBAPIError: the database rejected a statement, or failed.
        DamagedCell: a row holds a value that artifactstore cannot have written.
    """
    if not connection.sync_connection.in_transaction():
        await connection.begin()
    if connection.dialect.name == "sqlite":
        driver = cast("Connection", (await connection.get_raw_connection()).driver_connection)
        return await driver.run(partial(_run_steps, steps))
    try:
        statement = next(steps)
        while True:
            try:
                rows = await _execute_on_server(connection, statement)
            except Exception as error:
                statement = steps.throw(error)
            else:
                statement = steps.send(rows)
    except StopIteration as end:
        return cast("T", end.value)


async def execute_all(connection: AsyncConnection, statements: Sequence[Statement]) -> None:
    """Execute a sequence of statements in order; see `run`."""
    await run(connection, _all_of(statements))


def _all_of(statements: Sequence[Statement]) -> Steps[None]:
    for statement in statements:  # noqa: UP028 - `yield from` a list cannot receive rows
        yield statement


async def _execute_on_server(connection: AsyncConnection, statement: Statement | Lookup) -> list[Cells]:
    if isinstance(statement, Statement):
        sql, parameters = statement
        await connection.exec_driver_sql(sql, parameters[0] if len(parameters) == 1 else list(parameters))
        return []
    rows: list[Cells] = []
    for sql, values in statement.executions:
        rows += (await connection.exec_driver_sql(sql, values)).all()
    statement.check(rows)
    return rows


def _run_steps[T](steps: Steps[T], connection: sqlite3.Connection) -> T:
    try:
        statement = next(steps)
        while True:
            try:
                rows = _execute_in_file(connection, statement)
            except Exception as error:
                statement = steps.throw(error)
            else:
                statement = steps.send(rows)
    except StopIteration as end:
        return cast("T", end.value)


def _execute_in_file(connection: sqlite3.Connection, statement: Statement | Lookup) -> list[Cells]:
    rows: list[Cells] = []
    cursor = connection.cursor()
    sql = ""
    try:
        if isinstance(statement, Statement):
            sql, parameters = statement
            if len(parameters) == 1:
                cursor.execute(sql, parameters[0])
            else:
                cursor.executemany(sql, parameters)
            return rows
        for sql, values in statement.executions:
            rows += cursor.execute(sql, values)
    except sqlite3.Error as error:  # wrapped as SQLAlchemy wraps it
        raise DBAPIError.instance(sql, None, error, sqlite3.Error, hide_parameters=True) from error
    finally:
        cursor.close()  # otherwise the error's traceback keeps the statement alive, and with it SQLite's locks
    statement.check(rows)
    return rows


def wanted(database: str, **values: type) -> Mapping[str, ColumnElement[Any]]:
    """Return the columns of the table `wanted` by name, for use in a query. Types are `int`, `str` or `bytes`."""
    if database == "sqlite":
        listed = table(_WANTED, *(column(name, _TYPES[kind]) for name, kind in values.items()))
        return {name: listed.c[name] for name in values}
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - loads every driver's module; not for SQLite

    arrays = (sql_cast(bindparam(name), postgresql.ARRAY(_TYPES[kind])) for name, kind in values.items())
    columns = (column(name, _TYPES[kind]) for name, kind in values.items())
    rows = func.unnest(*arrays).table_valued(*columns, name=_WANTED).render_derived()
    return {name: rows.c[name] for name in values}


def query(selected: Select[*tuple[Any, ...]], values: Mapping[str, ColumnElement[Any]], database: str) -> Query:
    """Compile a query that uses `values`, the columns that `wanted` returned."""
    sql, parameters = compiled(selected, database)
    names = tuple(values)
    check = _checked(selected, sqlite.dialect()) if database == "sqlite" else _unchecked
    return Query(sql, names, tuple(map(names.index, parameters)), database, check)


def lookup(found_by: Query, keys: Sequence[tuple[object, ...]]) -> Lookup:
    """Return a lookup of the rows for `keys`; each key has the wanted values in the order of `Query.names`."""
    sql, names = found_by.sql, found_by.names
    if not names:
        return Lookup([(sql, ())] * len(keys), found_by.check)
    if found_by.database != "sqlite":
        columns = list(zip(*keys, strict=True))
        arrays = tuple(list(columns[index]) for index in found_by.order) if keys else ()
        return Lookup([(sql, arrays)] if keys else [], found_by.check)
    row = f"({', '.join('?' * len(names))})"
    executions = [
        (
            f"WITH {_WANTED} ({', '.join(names)}) AS (VALUES {', '.join([row] * len(some))}) {sql}",
            tuple(chain.from_iterable(some)),
        )
        for some in batched(keys, _PARAMETERS_MAX // len(names))
    ]
    return Lookup(executions, found_by.check)


def _checked(selected: Select[*tuple[Any, ...]], dialect: Dialect) -> Callable[[Sequence[Cells]], None]:
    """Return a check of each cell against its column's type. It skips rows whose cell types have passed before."""
    checks = [each.type.dialect_impl(dialect).result_processor(dialect, None) for each in selected.selected_columns]
    sound = set[tuple[type, ...]]()

    def check(rows: Sequence[Cells]) -> None:
        for row in rows:
            kinds = tuple(map(type, row))
            if kinds not in sound:
                for cell_check, cell in zip(checks, row, strict=True):
                    if cell_check is not None:
                        cell_check(cell)
                sound.add(kinds)

    return check


def _unchecked(_rows: Sequence[Cells]) -> None:
    """Check nothing, since PostgreSQL enforces column types."""


def insertion(
    table: Table,
    rows: Sequence[tuple[object, ...]],
    database: str,
    on_conflict: OnConflict = OnConflict.FAIL,
) -> Statement:
    """Return a statement that inserts rows.

    Args:
        table: the table.
        rows: at least one row; each has a cell for every column, in the order of the columns.
        database: the name of the dialect.
        on_conflict: the action for a row whose key exists already.
    """
    sql = _insertion(table, on_conflict, database)
    return Statement(sql, rows if database == "sqlite" else (tuple(map(list, zip(*rows, strict=True))),))


def compiled(statement: UpdateBase | Select[*tuple[Any, ...]], database: str) -> tuple[str, Sequence[str]]:
    """Return the SQL text of a statement, and the names of its parameters in order."""
    if database == "sqlite":
        text = statement.compile(dialect=sqlite.dialect())
    else:
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - loads every driver's module; not for SQLite

        text = statement.compile(dialect=postgresql.asyncpg.dialect())  # type: ignore[no-untyped-call]
    return str(text), tuple(text.positiontup or ())


@cache
def _insertion(table: Table, on_conflict: OnConflict, database: str) -> str:
    """Return the text of an insertion, with one parameter for each column in order."""
    if database == "sqlite":
        return compiled(_with_conflict(sqlite.insert(table), table, on_conflict), database)[0]
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - as above

    insert = postgresql.insert(table).from_select(table.columns.keys(), _rows_of_arrays(table))
    return compiled(_with_conflict(insert, table, on_conflict), database)[0]


def _with_conflict[I: (sqlite.Insert, "postgresql.Insert")](insert: I, table: Table, on_conflict: OnConflict) -> I:
    key = table.info.get(UNIQUE) or [column.name for column in table.primary_key]
    match on_conflict:
        case OnConflict.FAIL:
            return insert
        case OnConflict.KEEP:
            return insert.on_conflict_do_nothing(index_elements=key)
        case OnConflict.OVERWRITE:
            others = {column.name: insert.excluded[column.name] for column in table.columns if column.name not in key}
            return insert.on_conflict_do_update(index_elements=key, set_=others)


def _rows_of_arrays(table: Table) -> Select[*tuple[Any, ...]]:
    """Return a selection of the rows whose cells are passed as one array for each column."""
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - as above

    arrays = (
        sql_cast(bindparam(column.name), postgresql.ARRAY(_TYPES[column.type.python_type])) for column in table.columns
    )
    rows = func.unnest(*arrays).table_valued(*(column.name for column in table.columns)).render_derived()
    return select(*rows.columns)
