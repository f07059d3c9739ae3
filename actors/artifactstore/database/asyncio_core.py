"""SQLAlchemy Core for asyncio, without the ORM: engines, connections and transactions whose calls are awaited.

`sqlalchemy.ext.asyncio` offers the same and loads the whole ORM, which takes a fifth of the time of a short command.
Both do one thing: they run a call of Core in a greenlet, from which the dialects of aiosqlite and asyncpg await their
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
    """Make an engine whose driver is an asyncio driver; options as for `sqlalchemy.create_engine`."""
    return AsyncEngine(create_engine(url, **options))


class AsyncEngine:
    """Hands out connections.

    Attributes:
        sync_engine: that it drives, and whose events can be listened to.
    """

    __slots__ = ("sync_engine",)

    def __init__(self, sync_engine: Engine) -> None:
        self.sync_engine = sync_engine

    async def connect(self) -> "AsyncConnection":
        """Take a connection; the caller closes it."""
        return AsyncConnection(await greenlet_spawn(self.sync_engine.connect))

    @asynccontextmanager
    async def begin(self) -> "AsyncGenerator[AsyncConnection]":
        """A connection for the block, and one transaction that ends with it."""
        connection = await self.connect()
        try:
            async with connection.begin():
                yield connection
        finally:
            await finished(connection.close())

    async def dispose(self) -> None:
        """Close all connections that are not in use."""
        await greenlet_spawn(self.sync_engine.dispose)


class AsyncConnection:
    """One connection, for one task at a time; methods as those of `sqlalchemy.Connection`."""

    __slots__ = ("sync_connection",)

    def __init__(self, sync_connection: Connection) -> None:
        self.sync_connection = sync_connection

    @property
    def dialect(self) -> Dialect:
        """The database's dialect."""
        return self.sync_connection.dialect

    def begin(self) -> "AsyncTransaction":
        """A transaction, to be awaited or entered."""
        return AsyncTransaction(self.sync_connection.begin)

    @overload
    async def execute[*Ts](
        self, statement: TypedReturnsRows[*Ts], parameters: Parameters = None
    ) -> CursorResult[*Ts]: ...
    @overload
    async def execute(self, statement: Executable, parameters: Parameters = None) -> CursorResult[*tuple[Any, ...]]: ...
    async def execute(self, statement: Executable, parameters: Parameters = None) -> CursorResult[*tuple[Any, ...]]:
        """Execute a statement; all its rows are there when it returns."""
        return await greenlet_spawn(self.sync_connection.execute, statement, parameters)

    @overload
    async def scalar[T](self, statement: TypedReturnsRows[T], parameters: Parameters = None) -> T | None: ...
    @overload
    async def scalar(self, statement: Executable, parameters: Parameters = None) -> Any: ...  # noqa: ANN401 - Core's
    async def scalar(self, statement: Executable, parameters: Parameters = None) -> Any:
        """The first cell of the first row; None if there is none."""
        return await greenlet_spawn(self.sync_connection.scalar, statement, parameters)

    async def exec_driver_sql(
        self, statement: str, parameters: tuple[Any, ...] | list[tuple[Any, ...]] | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """Execute a statement as it is written, with parameters as the driver takes them."""
        return await greenlet_spawn(self.sync_connection.exec_driver_sql, statement, parameters)

    @asynccontextmanager
    async def stream[*Ts](
        self, statement: TypedReturnsRows[*Ts], *, rows: int
    ) -> AsyncGenerator[AsyncIterator[Sequence[Row[*Ts]]]]:
        """The rows of a statement, in batches of as many as told; the driver holds one batch at a time."""
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
        """Run a function that uses the connection as one of Core."""
        return await greenlet_spawn(lambda: work(self.sync_connection, *arguments, **named))

    async def execution_options(self, **options: Any) -> None:  # noqa: ANN401 - Core's
        """Set options for what is executed from now on."""
        await greenlet_spawn(self.sync_connection.execution_options, **options)

    async def get_raw_connection(self) -> PoolProxiedConnection:
        """The pool's connection, whose `driver_connection` is the driver's."""
        return await greenlet_spawn(getattr, self.sync_connection, "connection")

    async def commit(self) -> None:
        """Commit the transaction that the first statement began."""
        await greenlet_spawn(self.sync_connection.commit)

    async def rollback(self) -> None:
        """Undo the transaction that the first statement began."""
        await greenlet_spawn(self.sync_connection.rollback)

    async def invalidate(self) -> None:
        """Give the driver's connection up: nobody will use it again."""
        await greenlet_spawn(self.sync_connection.invalidate)

    async def close(self) -> None:
        """Undo what is not committed, and give the connection back."""
        await greenlet_spawn(self.sync_connection.close)


class AsyncTransaction:
    """A transaction or a savepoint: begun when it is awaited or entered, and ended by the caller or with the block."""

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
        """Commit; with a savepoint, release it."""
        await greenlet_spawn(self.sync_transaction.commit)

    async def rollback(self) -> None:
        """Undo everything since it began."""
        await greenlet_spawn(self.sync_transaction.rollback)


async def finished(closing: Awaitable[None]) -> None:
    """Wait until it has come to its end, also when the caller is cancelled meanwhile: that is raised afterwards.

    A connection that is given back after its pool was disposed of would stay open.
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
