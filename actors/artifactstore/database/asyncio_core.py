"""SQLAlchemy Core for asyncio, without the ORM: engines, connections and transactions with awaitable methods.

`sqlalchemy.ext.asyncio` offers the same, but it loads the whole ORM, which takes a fifth of the time of a short
command. Both run each call of Core in a greenlet, from which the dialects for aiosqlite and asyncpg await their
drivers. See docs/adr/0022-start-up.md.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Concatenate, Self, overload

from sqlalchemy import Connection, CursorResult, Dialect, Engine, Executable, Row, Transaction, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.selectable import TypedReturnsRows
from sqlalchemy.util import greenlet_spawn

__all__ = ["AsyncConnection", "AsyncEngine", "AsyncTransaction", "create_async_engine", "finished"]

type Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


def create_async_engine(url: URL | str, **options: Any) -> "AsyncEngine":  # noqa: ANN401 - create_engine's
    """Return an engine for an asyncio driver; the options are those of `sqlalchemy.create_engine`."""
    return AsyncEngine(create_engine(url, **options))


class AsyncEngine:
    """An engine that opens connections and pools them.

    Attributes:
        sync_engine: the underlying SQLAlchemy engine, for event listeners.
    """

    __slots__ = ("sync_engine",)

    def __init__(self, sync_engine: Engine) -> None:
        self.sync_engine = sync_engine

    async def connect(self) -> "AsyncConnection":
        """Return a connection from the pool; the caller must close it."""
        return AsyncConnection(await greenlet_spawn(self.sync_engine.connect))

    @asynccontextmanager
    async def begin(self) -> "AsyncGenerator[AsyncConnection]":
        """Open a connection with one transaction, which ends with the block."""
        connection = await self.connect()
        try:
            async with connection.begin():
                yield connection
        finally:
            await finished(connection.close())

    async def dispose(self) -> None:
        """Close all pooled connections that are not in use."""
        await greenlet_spawn(self.sync_engine.dispose)


class AsyncConnection:
    """A connection for one task at a time, with the methods of `sqlalchemy.Connection`."""

    __slots__ = ("sync_connection",)

    def __init__(self, sync_connection: Connection) -> None:
        self.sync_connection = sync_connection

    @property
    def dialect(self) -> Dialect:
        """The database's dialect."""
        return self.sync_connection.dialect

    def begin(self) -> "AsyncTransaction":
        """Return a transaction that begins when it is awaited or entered."""
        return AsyncTransaction(self.sync_connection.begin)

    @overload
    async def execute[*Ts](
        self, statement: TypedReturnsRows[*Ts], parameters: Parameters = None
    ) -> CursorResult[*Ts]: ...
    @overload
    async def execute(self, statement: Executable, parameters: Parameters = None) -> CursorResult[*tuple[Any, ...]]: ...
    async def execute(self, statement: Executable, parameters: Parameters = None) -> CursorResult[*tuple[Any, ...]]:
        """Execute a statement and fetch all its rows."""
        return await greenlet_spawn(self.sync_connection.execute, statement, parameters)

    @overload
    async def scalar[T](self, statement: TypedReturnsRows[T], parameters: Parameters = None) -> T | None: ...
    @overload
    async def scalar(self, statement: Executable, parameters: Parameters = None) -> Any: ...  # noqa: ANN401 - Core's
    async def scalar(self, statement: Executable, parameters: Parameters = None) -> Any:
        """Return the first cell of the first row; None if there is no row."""
        return await greenlet_spawn(self.sync_connection.scalar, statement, parameters)

    async def exec_driver_sql(
        self, statement: str, parameters: tuple[Any, ...] | list[tuple[Any, ...]] | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """Execute SQL text as it is, with parameters in the driver's format."""
        return await greenlet_spawn(self.sync_connection.exec_driver_sql, statement, parameters)

    @asynccontextmanager
    async def stream[*Ts](
        self, statement: TypedReturnsRows[*Ts], *, rows: int
    ) -> AsyncGenerator[AsyncIterator[Sequence[Row[*Ts]]]]:
        """Open an iterator over the rows in batches of `rows`; the driver holds one batch at a time."""
        options = {"stream_results": True, "yield_per": rows}
        result = await greenlet_spawn(self.sync_connection.execute, statement, execution_options=options)

        async def batches() -> AsyncIterator[Sequence[Row[*Ts]]]:
            while found := await greenlet_spawn(result.fetchmany, rows):
                yield found

        try:
            yield batches()
        finally:
            await finished(greenlet_spawn(result.close))

    async def run_sync[**P, T](
        self, work: Callable[Concatenate[Connection, P], T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """Call `work` with the underlying SQLAlchemy connection."""
        return await greenlet_spawn(lambda: work(self.sync_connection, *arguments, **named))

    async def execution_options(self, **options: Any) -> None:  # noqa: ANN401 - Core's
        """Set options for later statements and transactions."""
        await greenlet_spawn(self.sync_connection.execution_options, **options)

    async def get_raw_connection(self) -> PoolProxiedConnection:
        """Return the pooled connection; its `driver_connection` is the connection of the driver."""
        return await greenlet_spawn(getattr, self.sync_connection, "connection")

    async def commit(self) -> None:
        """Commit the transaction that the first statement began."""
        await greenlet_spawn(self.sync_connection.commit)

    async def rollback(self) -> None:
        """Roll back the transaction that the first statement began."""
        await greenlet_spawn(self.sync_connection.rollback)

    async def invalidate(self) -> None:
        """Discard the driver's connection, so that the pool does not use it again."""
        await greenlet_spawn(self.sync_connection.invalidate)

    async def close(self) -> None:
        """Roll back an open transaction, and return the connection to the pool."""
        await greenlet_spawn(self.sync_connection.close)


class AsyncTransaction:
    """A transaction that begins when it is awaited or entered, and ends by a call or with the block."""

    __slots__ = ("_begin", "sync_transaction")

    def __init__(self, begin: Callable[[], Transaction]) -> None:
        self._begin = begin
        self.sync_transaction: Transaction

    async def _begun(self) -> "AsyncTransaction":
        self.sync_transaction = await greenlet_spawn(self._begin)
        return self

    def __await__(self) -> Generator[Any, None, "AsyncTransaction"]:
        return self._begun().__await__()

    async def __aenter__(self) -> Self:
        await self._begun()
        self.sync_transaction.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await greenlet_spawn(self.sync_transaction.__exit__, kind, error, trace)

    async def commit(self) -> None:
        """Commit the transaction."""
        await greenlet_spawn(self.sync_transaction.commit)

    async def rollback(self) -> None:
        """Roll back the transaction."""
        await greenlet_spawn(self.sync_transaction.rollback)


async def finished(closing: Awaitable[None]) -> None:
    """Wait until `closing` has finished, even if the caller is cancelled; raise the cancellation afterwards.

    Otherwise a cancelled caller could dispose of the pool first, and a connection that returns to it later stays open.
    """
    task = asyncio.ensure_future(closing)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()
