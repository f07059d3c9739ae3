"""Many rows into tables, by the fastest way that the store can use; measured in `bench/bulk_insert.py`.

A statement is compiled to text once, and takes plain tuples. On SQLite all statements of a step are executed in one hop
to the driver's thread, each with a tuple for every row. On PostgreSQL an insertion is executed once, with an array for
each column: about half as much again as one execution a row. COPY would be faster still for large batches, but a server
that waits for the rest of one heeds no timeout, and it knows no ON CONFLICT.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from sqlalchemy import BigInteger, LargeBinary, Select, Table, Text, bindparam, func, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.types import TypeEngine

from artifactstore.database.asyncio_core import AsyncConnection

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

    from artifactstore.database.sqlite_driver import Connection

__all__ = ["OnConflict", "Statement", "compiled", "execute_all", "insertion"]

_TYPES: Final[Mapping[type, TypeEngine[Any]]] = {int: BigInteger(), str: Text(), bytes: LargeBinary()}


class OnConflict(Enum):
    """What becomes of a row whose key is taken."""

    FAIL = "fail"
    KEEP = "keep"
    OVERWRITE = "overwrite"


class Statement(NamedTuple):
    """SQL that is executed for each tuple of parameters; one at least."""

    sql: str
    parameters: Sequence[tuple[object, ...]]


async def execute_all(connection: AsyncConnection, statements: Sequence[Statement]) -> None:
    """Execute statements one after the other, in the transaction that the connection has begun.

    Raises:
        DBAPIError: the database refused one of them, or failed.
    """
    if connection.dialect.name == "sqlite":
        driver = cast("Connection", (await connection.get_raw_connection()).driver_connection)
        await driver.run(partial(_execute_all, statements))
        return
    for sql, parameters in statements:
        await connection.exec_driver_sql(sql, parameters[0] if len(parameters) == 1 else list(parameters))


def _execute_all(statements: Sequence[Statement], connection: sqlite3.Connection) -> None:
    for sql, parameters in statements:
        cursor = connection.cursor()
        try:
            cursor.executemany(sql, parameters)
        except sqlite3.Error as error:  # as SQLAlchemy would raise it
            raise DBAPIError.instance(sql, None, error, sqlite3.Error, hide_parameters=True) from error
        finally:
            cursor.close()


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
        on_conflict: what becomes of rows whose key is taken.
    """
    sql = _insertion(table, on_conflict, database)
    return Statement(sql, rows if database == "sqlite" else (tuple(map(list, zip(*rows, strict=True))),))


def compiled(statement: UpdateBase, database: str) -> tuple[str, Sequence[str]]:
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


def _rows_of_arrays(table: Table) -> Select[Any]:
    """The rows whose cells come as an array for each column."""
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - as above

    arrays = (
        sql_cast(bindparam(column.name), postgresql.ARRAY(_TYPES[column.type.python_type])) for column in table.columns
    )
    rows = func.unnest(*arrays).table_valued(*(column.name for column in table.columns)).render_derived()
    return select(*rows.columns)
