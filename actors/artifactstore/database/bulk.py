"""Statements of a transaction, compiled to text once, executed in as few hops to the driver as it allows.

The work of a transaction is a generator (`Steps`): it yields statements and is sent their rows. On SQLite the whole
generator runs in one hop to the driver's thread; an insertion is executed for each row, and a query once for all of its
keys, which come as a table. On PostgreSQL each statement is executed once, with an array for each parameter: for
insertions about half as much again as one execution a row, as `bench/bulk_insert.py` measures. COPY would be faster
still for large batches, but a server that waits for the rest of one heeds no timeout, and it knows no ON CONFLICT.
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
"""Of one statement: every SQLite takes as many."""

_TYPES: Final[Mapping[type, TypeEngine[Any]]] = {int: BigInteger(), str: Text(), bytes: LargeBinary()}

type Cells = tuple[Any, ...]
"""One row, as the driver gives it."""


class OnConflict(Enum):
    """What to do with a row whose key is taken."""

    FAIL = "fail"
    KEEP = "keep"
    OVERWRITE = "overwrite"


class Statement(NamedTuple):
    """SQL that is executed for each tuple of parameters; one at least. It has no rows."""

    sql: str
    parameters: Sequence[tuple[object, ...]]


class Query(NamedTuple):
    """A query for rows by values that they have, which it finds in a table `wanted`.

    Attributes:
        sql: its text.
        names: of the wanted values, in the order of a key.
        order: on PostgreSQL, for each parameter of the text, which of the wanted values it is.
        database: name of the dialect that it is written for.
        check: refuses rows with a cell that nothing of ours has written.
    """

    sql: str
    names: tuple[str, ...]
    order: tuple[int, ...]
    database: str
    check: Callable[[Sequence[Cells]], None]


class Lookup(NamedTuple):
    """Executions of a query, each with its text and parameters; their rows come one after the other."""

    executions: Sequence[tuple[str, tuple[object, ...]]]
    check: Callable[[Sequence[Cells]], None]


type Steps[T] = Generator[Statement | Lookup, list[Cells], T]
"""Work of a transaction: it yields statements, is sent the rows of each, and returns what it found or wrote."""


async def run[T](connection: AsyncConnection, steps: Steps[T]) -> T:
    """Run steps in the connection's transaction, and begin one where there is none.

    What the database raises is raised in the steps, where the statement was yielded.

    Raises:
        DBAPIError: the database refused a statement, or failed.
        DamagedCell: a row that was read holds what nothing of ours has written.
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
    """Execute statements one after the other; as `run`, for statements that are all there."""
    await run(connection, _all_of(statements))


def _all_of(statements: Sequence[Statement]) -> Steps[None]:
    for statement in statements:  # noqa: UP028 - a list cannot be sent rows
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
    except sqlite3.Error as error:  # as SQLAlchemy would raise it
        raise DBAPIError.instance(sql, None, error, sqlite3.Error, hide_parameters=True) from error
    finally:
        cursor.close()  # whoever keeps the error would keep the statement, and with it SQLite's locks
    statement.check(rows)
    return rows


def wanted(database: str, **values: type) -> Mapping[str, ColumnElement[Any]]:
    """The values that a query looks for, by name, each of `int`, `str` or `bytes`."""
    if database == "sqlite":
        listed = table(_WANTED, *(column(name, _TYPES[kind]) for name, kind in values.items()))
        return {name: listed.c[name] for name in values}
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - loads every driver's module; not for SQLite

    arrays = (sql_cast(bindparam(name), postgresql.ARRAY(_TYPES[kind])) for name, kind in values.items())
    columns = (column(name, _TYPES[kind]) for name, kind in values.items())
    rows = func.unnest(*arrays).table_valued(*columns, name=_WANTED).render_derived()
    return {name: rows.c[name] for name in values}


def query(selected: Select[*tuple[Any, ...]], values: Mapping[str, ColumnElement[Any]], database: str) -> Query:
    """Compile a query that names `values`, which are of `wanted`."""
    sql, parameters = compiled(selected, database)
    names = tuple(values)
    check = _checked(selected, sqlite.dialect()) if database == "sqlite" else _unchecked
    return Query(sql, names, tuple(map(names.index, parameters)), database, check)


def lookup(found_by: Query, keys: Sequence[tuple[object, ...]]) -> Lookup:
    """Look for the rows of some keys, each with the wanted values in their order."""
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
    """A check of each cell by its column's type, which a row passes unseen if one with the same types has passed."""
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
    """PostgreSQL holds a column to its type."""


def insertion(
    table: Table,
    rows: Sequence[tuple[object, ...]],
    database: str,
    on_conflict: OnConflict = OnConflict.FAIL,
) -> Statement:
    """The statement that inserts rows.

    Args:
        table: where to.
        rows: each with a cell for every column, in the order of the columns; one row at least.
        database: name of its dialect.
        on_conflict: what to do with rows whose key is taken.
    """
    sql = _insertion(table, on_conflict, database)
    return Statement(sql, rows if database == "sqlite" else (tuple(map(list, zip(*rows, strict=True))),))


def compiled(statement: UpdateBase | Select[*tuple[Any, ...]], database: str) -> tuple[str, Sequence[str]]:
    """The text of a statement, and the names of its parameters in their order."""
    if database == "sqlite":
        text = statement.compile(dialect=sqlite.dialect())
    else:
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - loads every driver's module; not for SQLite

        text = statement.compile(dialect=postgresql.asyncpg.dialect())  # type: ignore[no-untyped-call]
    return str(text), tuple(text.positiontup or ())


@cache
def _insertion(table: Table, on_conflict: OnConflict, database: str) -> str:
    """The text, with a place for each column in their order."""
    if database == "sqlite":
        return compiled(_with_conflict(sqlite.insert(table), table, on_conflict), database)[0]
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - as above

    insert = postgresql.insert(table).from_select(table.columns.keys(), _rows_of_arrays(table))
    return compiled(_with_conflict(insert, table, on_conflict), database)[0]


def _with_conflict[I: (sqlite.Insert, "postgresql.Insert")](insert: I, table: Table, on_conflict: OnConflict) -> I:
    key = list(table.primary_key.columns)
    match on_conflict:
        case OnConflict.FAIL:
            return insert
        case OnConflict.KEEP:
            return insert.on_conflict_do_nothing(index_elements=key)
        case OnConflict.OVERWRITE:
            others = {column.name: insert.excluded[column.name] for column in table.columns if not column.primary_key}
            return insert.on_conflict_do_update(index_elements=key, set_=others)


def _rows_of_arrays(table: Table) -> Select[*tuple[Any, ...]]:
    """The rows whose cells come as an array for each column."""
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - as above

    arrays = (
        sql_cast(bindparam(column.name), postgresql.ARRAY(_TYPES[column.type.python_type])) for column in table.columns
    )
    rows = func.unnest(*arrays).table_valued(*(column.name for column in table.columns)).render_derived()
    return select(*rows.columns)
