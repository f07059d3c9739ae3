"""The SQLite driver: aiosqlite with one thread hop for each statement instead of three or four.

One hop creates the cursor, executes the statement, fetches up to 256 rows, and closes the cursor if it has no more.
Only a statement with more rows needs further hops. A hop costs more than most statements.
"""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Self, override

import aiosqlite

__all__ = ["Connection"]

_ROWS_AT_ONCE: Final = 256
_CHUNK_ROWS: Final = 64  # aiosqlite wants it for iteration, which SQLAlchemy does not use


class Connection(aiosqlite.Connection):
    """A connection to SQLite. It is closed at first; await it to open it.

    Args:
        connect: opens the `sqlite3` connection; called in the connection's own thread.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connect, _CHUNK_ROWS)

    @override
    def cursor(self) -> "_Cursor":  # type: ignore[override]  # it has the methods that SQLAlchemy uses
        return _Cursor(self)

    @override
    async def rollback(self) -> None:
        """Roll back. Without an open transaction this needs no hop, as when a connection returns to its pool."""
        if self.in_transaction:
            await super().rollback()

    async def run[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Call `work` in the connection's thread."""
        result: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]  # aiosqlite has no annotations
        return result


class _Cursor:
    """The cursor of one statement and its fetched rows."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._open: sqlite3.Cursor | None = None
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Execute a statement, and fetch its first rows."""
        await self._connection.run(partial(self._run, sql, parameters, many=False))

    async def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Execute a statement for each set of parameters."""
        await self._connection.run(partial(self._run, sql, parameters, many=True))

    def _run(self, sql: str, parameters: Sequence[Any], connection: sqlite3.Connection, *, many: bool) -> None:
        cursor = connection.cursor()
        try:
            (cursor.executemany if many else cursor.execute)(sql, parameters)
            self.description, self.rowcount, self.lastrowid = cursor.description, cursor.rowcount, cursor.lastrowid
            self._rows = cursor.fetchmany(_ROWS_AT_ONCE) if cursor.description else []
        except BaseException:
            cursor.close()  # the error's traceback would keep the statement open, and with it SQLite's locks
            raise
        if len(self._rows) < _ROWS_AT_ONCE:
            cursor.close()
        else:
            self._open = cursor

    async def fetchone(self) -> Any:  # noqa: ANN401 - a row has values of any type
        """Return the next row, or None."""
        rows = await self.fetchmany(1)
        return rows[0] if rows else None

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        """Return up to `size` next rows; `arraysize` by default."""
        wanted = self.arraysize if size is None else size
        if len(self._rows) < wanted and self._open is not None:
            self._rows += await self._fetch(partial(self._open.fetchmany, wanted - len(self._rows)))
        rows, self._rows = self._rows[:wanted], self._rows[wanted:]
        return rows

    async def fetchall(self) -> list[Any]:
        """Return the remaining rows."""
        rows, self._rows = self._rows, []
        return rows if self._open is None else rows + await self._fetch(self._open.fetchall)

    async def _fetch(self, fetch: Callable[[], list[Any]]) -> list[Any]:
        return await self._connection.run(lambda _connection: fetch())

    async def close(self) -> None:
        """Close the cursor. Does nothing if it is already closed."""
        cursor, self._open = self._open, None
        if cursor is not None:
            await self._connection.run(lambda _connection: cursor.close())
