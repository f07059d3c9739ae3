"""Many rows into a table, by the fastest way that the store can use; measured in `bench/bulk_insert.py`.

On PostgreSQL a statement is executed once, with an array for each column: about half as much again as one execution a
row. COPY would be faster still for large batches, but a server that waits for the rest of one heeds no timeout, and it
knows no ON CONFLICT. SQLite has no arrays, and executes a prepared statement for each row at the speed of a call.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, LargeBinary, Select, Table, Text, bindparam, cast, func, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

__all__ = ["Insert", "insert_rows"]

type Insert = "postgresql.Insert | sqlite.Insert"

_TYPES: Final[Mapping[type, TypeEngine[Any]]] = {int: BigInteger(), str: Text(), bytes: LargeBinary()}


def _as_it_is(insert: Insert) -> Insert:
    return insert


async def insert_rows(
    connection: AsyncConnection,
    table: Table,
    rows: Sequence[Mapping[str, object]],
    on_conflict: Callable[[Insert], Insert] = _as_it_is,
) -> None:
    """Insert rows, in one statement.

    Args:
        connection: in whose transaction.
        table: where to.
        rows: with a value for every column.
        on_conflict: adds to the statement what becomes of rows that are there.
    """
    statement = _statement(table, on_conflict, connection.dialect.name)
    if connection.dialect.name == "sqlite":
        await connection.execute(statement, rows)
    else:
        await connection.execute(statement, {name: [row[name] for row in rows] for name in table.columns.keys()})  # noqa: SIM118


@cache
def _statement(table: Table, on_conflict: Callable[[Insert], Insert], dialect: str) -> Insert:
    if dialect == "sqlite":
        return on_conflict(sqlite.insert(table))
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - loads every driver's module; not for SQLite

    return on_conflict(postgresql.insert(table).from_select(table.columns.keys(), _rows_of_arrays(table)))


def _rows_of_arrays(table: Table) -> Select[Any]:
    """The rows whose cells come as an array for each column, named like it."""
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - as above

    arrays = (
        cast(bindparam(column.name), postgresql.ARRAY(_TYPES[column.type.python_type])) for column in table.columns
    )
    rows = func.unnest(*arrays).table_valued(*(column.name for column in table.columns)).render_derived()
    return select(*rows.columns)
