"""Many rows into a table, by the fastest way that the store can use; measured in `bench/bulk_insert.py`.

On PostgreSQL a statement is executed once, with an array for each column: about half as much again as one execution a
row. COPY would be faster still for large batches, but a server that waits for the rest of one heeds no timeout, and it
knows no ON CONFLICT. SQLite has no arrays, and executes a prepared statement for each row at the speed of a call.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, LargeBinary, Select, Table, Text, bindparam, cast, func, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.types import TypeEngine

from artifactstore.database.asyncio_core import AsyncConnection

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

__all__ = ["OnConflict", "insert_rows"]

_TYPES: Final[Mapping[type, TypeEngine[Any]]] = {int: BigInteger(), str: Text(), bytes: LargeBinary()}


class OnConflict(Enum):
    """What becomes of a row whose key is taken."""

    FAIL = "fail"
    KEEP = "keep"
    OVERWRITE = "overwrite"


async def insert_rows(
    connection: AsyncConnection,
    table: Table,
    rows: Sequence[tuple[object, ...]],
    on_conflict: OnConflict = OnConflict.FAIL,
) -> None:
    """Insert rows in one statement, which is compiled once in the life of the process.

    Args:
        connection: in whose transaction.
        table: where to.
        rows: each with a cell for every column, in the order of the columns; one row at least.
        on_conflict: what becomes of those whose key is taken.
    """
    name = connection.dialect.name
    sql = _sql(table, on_conflict, name)
    if name == "sqlite":
        await connection.exec_driver_sql(sql, list(rows))
    else:
        await connection.exec_driver_sql(sql, tuple(map(list, zip(*rows, strict=True))))


@cache
def _sql(table: Table, on_conflict: OnConflict, database: str) -> str:
    """The statement, with a place for each column in their order."""
    if database == "sqlite":
        return str(_with_conflict(sqlite.insert(table), table, on_conflict).compile(dialect=sqlite.dialect()))
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - loads every driver's module; not for SQLite

    insert = postgresql.insert(table).from_select(table.columns.keys(), _rows_of_arrays(table))
    dialect = postgresql.asyncpg.dialect()  # type: ignore[no-untyped-call]
    return str(_with_conflict(insert, table, on_conflict).compile(dialect=dialect))


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
        cast(bindparam(column.name), postgresql.ARRAY(_TYPES[column.type.python_type])) for column in table.columns
    )
    rows = func.unnest(*arrays).table_valued(*(column.name for column in table.columns)).render_derived()
    return select(*rows.columns)
