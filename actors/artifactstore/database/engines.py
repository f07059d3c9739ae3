"""Engines: one for the writer, one for readers, and what each connection is told before its first transaction.

The writer's engine takes the write lock as its transaction begins; a reader's takes a snapshot. They are never mixed:
if every transaction began with `BEGIN IMMEDIATE`, readers would block readers, and if the writer's began with a plain
`BEGIN`, it would fail at once with SQLITE_BUSY_SNAPSHOT as soon as another process had written in between.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import Connection as SqlConnection
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, StaticPool

from artifactstore.database.access import Access
from artifactstore.database.asyncio_core import (
    AsyncConnection,
    AsyncEngine,
    AsyncTransaction,
    create_async_engine,
    finished,
)
from artifactstore.database.location import DatabaseLocation

if TYPE_CHECKING:
    from artifactstore.database.listener import Listener
    from artifactstore.database.sessions import Session, Sessions
    from artifactstore.database.sqlite_driver import Connection

__all__ = [
    "LOCK_TIMEOUT_S",
    "STATEMENT_TIMEOUT_S",
    "begin_before_lock",
    "connected",
    "is_busy",
    "is_direct",
    "nameless_engine",
    "open_file",
    "postgresql_listener",
    "reader_engine",
    "writer_engine",
    "writing",
]

LOCK_TIMEOUT_S = 30.0
"""How long a writer waits for the head of the log, before it says that the database is busy."""

_CONNECT_ARGUMENTS: Final[dict[str, Any]] = {
    "timeout": 30.0,
    "server_settings": {"application_name": "artifactstore"},
}
_IDLE_TIMEOUT_S = 30
"""How long PostgreSQL lets a transaction, and with it the head of the log, wait for a client that says nothing."""

STATEMENT_TIMEOUT_S = 300
"""How long a unit of work may take, and one statement of it on PostgreSQL."""

_WRITER_ASKS_EVERY_S = 1.0
_PRIMARY_CODE = 0xFF
_READERS = 4
_BEGIN_OPTION = "artifactstore_begin"
_WRITER_BEGIN = "BEGIN IMMEDIATE"
_LATER = ""
_WRITER_ISOLATION = "READ COMMITTED"
_READER_BEGIN = "BEGIN"
_READER_ISOLATION = "REPEATABLE READ"


def writer_engine(
    location: DatabaseLocation, access: Access | None = None, *, lock_timeout_s: float = LOCK_TIMEOUT_S
) -> AsyncEngine:
    """An engine of one connection whose transactions begin with the right to write.

    Args:
        location: which database.
        access: how to open its file; by default, a SQLite file is made if there is none.
        lock_timeout_s: how long to wait for a lock, and for a free connection.
    """
    if location.is_sqlite:
        return _sqlite_engine(location, access, begin=_WRITER_BEGIN, connections=1, lock_timeout_s=lock_timeout_s)
    return _postgresql_engine(location, connections=1, isolation=_WRITER_ISOLATION, lock_timeout_s=lock_timeout_s)


def reader_engine(
    location: DatabaseLocation, access: Access | None = None, *, lock_timeout_s: float = LOCK_TIMEOUT_S
) -> AsyncEngine:
    """An engine whose transactions each see one snapshot of the whole database; its arguments as above."""
    if location.is_sqlite:
        return _sqlite_engine(
            location, access, begin=_READER_BEGIN, connections=_READERS, lock_timeout_s=lock_timeout_s
        )
    return _postgresql_engine(
        location, connections=_READERS, isolation=_READER_ISOLATION, lock_timeout_s=lock_timeout_s
    )


def nameless_engine() -> AsyncEngine:
    """An engine of one connection to an empty SQLite database of its own, which is gone when the engine is."""

    async def open_nameless(_file: str, **options: Any) -> "Connection":  # noqa: ANN401 - as `open_file`
        return await open_file("", **options)

    engine = create_async_engine(
        "sqlite+aiosqlite://",
        hide_parameters=True,
        poolclass=StaticPool,
        connect_args={"isolation_level": None, "async_creator_fn": open_nameless},
    )

    def configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        # Nothing of it outlives a crash, so nothing has to survive one.
        for pragma in ("synchronous = OFF", "journal_mode = MEMORY", "temp_store = FILE", "cache_size = -16000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begin_transaction(connection: SqlConnection) -> None:
        connection.exec_driver_sql("BEGIN")

    event.listen(engine.sync_engine, "connect", configure)
    event.listen(engine.sync_engine, "begin", begin_transaction)
    return engine


@asynccontextmanager
async def connected(engine: AsyncEngine) -> AsyncGenerator[AsyncConnection]:
    """A connection for the block. What goes wrong as it is given back is nobody's error: the pool makes another one."""
    await asyncio.sleep(0)  # the loop notices which connections have ended meanwhile
    connection = await engine.connect()
    try:
        yield connection
    finally:
        await finished(_give_back(connection))


async def _give_back(connection: AsyncConnection) -> None:
    with suppress(SQLAlchemyError, OSError):
        await connection.close()


@asynccontextmanager
async def writing(connection: AsyncConnection) -> AsyncGenerator[None]:
    """One writer's transaction on a reader's connection: for work that needs the temporary tables it made there."""
    sqlite = connection.dialect.name == "sqlite"
    option = _BEGIN_OPTION if sqlite else "isolation_level"
    await connection.execution_options(**{option: _WRITER_BEGIN if sqlite else _WRITER_ISOLATION})
    try:
        async with connection.begin():
            yield
    finally:
        await connection.execution_options(**{option: _READER_BEGIN if sqlite else _READER_ISOLATION})


async def begin_before_lock(connection: AsyncConnection) -> AsyncTransaction:
    """Begin a writer's transaction that takes its lock with its first work, which is `events.lock_head`.

    On SQLite nothing is sent yet: BEGIN IMMEDIATE and the head of the log then take one hop to the driver.
    """
    if connection.dialect.name == "sqlite":
        await connection.execution_options(**{_BEGIN_OPTION: _LATER})
    return await connection.begin()


def is_busy(error: OperationalError) -> bool:
    """Return whether SQLite could not lock its file in time."""
    return getattr(error.orig, "sqlite_errorcode", 0) & _PRIMARY_CODE == sqlite3.SQLITE_BUSY


async def is_direct(connection: AsyncConnection) -> bool:
    """Whether all transactions of a connection run in one session, as they do unless a pooler stands in between."""
    if connection.dialect.name == "sqlite":
        return True
    driver = (await connection.get_raw_connection()).driver_connection
    return cast("Session", driver).is_direct


async def open_file(file: str | Path, **options: Any) -> "Connection":  # noqa: ANN401 - sqlite3.connect's
    """Open a SQLite file; for whoever is cancelled meanwhile, close again what its thread has opened.

    aiosqlite would drop that connection open, for the collector to find. Opening a file waits for no lock.
    """
    from artifactstore.database.sqlite_driver import Connection  # noqa: PLC0415 - not for PostgreSQL

    connection = Connection(partial(sqlite3.connect, file, **options))
    # As SQLAlchemy does, where it opens the file itself.
    connection._thread.daemon = True  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    async def opened() -> Connection:
        await connection
        return connection

    opening = asyncio.get_running_loop().create_task(opened())
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await finished(_close_opened(opening))
        raise


async def _close_opened(opening: asyncio.Task["Connection"]) -> None:
    with suppress(sqlite3.Error):
        await (await opening).close()


def _sqlite_engine(
    location: DatabaseLocation, access: Access | None, *, begin: str, connections: int, lock_timeout_s: float
) -> AsyncEngine:
    async def open_by_uri(file: str, **options: Any) -> "Connection":  # noqa: ANN401 - as `open_file`
        return await (open_file(file, **options) if access is None else open_file(access.uri, uri=True, **options))

    # SQLite cannot be interrupted while it waits for the right to write. So a writer asks for it again and again, and
    # can be cancelled in between.
    wait_s = min(lock_timeout_s, _WRITER_ASKS_EVERY_S) if begin == _WRITER_BEGIN else lock_timeout_s
    engine = create_async_engine(
        location.url,
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=lock_timeout_s,
        # The driver's own transaction control is off: SQLAlchemy would not know when its BEGIN comes, nor which.
        connect_args={"isolation_level": None, "timeout": wait_s, "async_creator_fn": open_by_uri},
    )

    def configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for statement in () if access is None else access.first_statements():
            cursor.execute(statement)
        # WAL itself is set once, under the lock that guards first use; it is a property of the file.
        # A replay's tables are temporary, and have a cache of their own, which is nothing unless it is set.
        for pragma in (
            "synchronous = FULL",
            "foreign_keys = ON",
            "temp_store = FILE",
            "cache_size = -16000",
            "temp.cache_size = -16000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begin_transaction(connection: SqlConnection) -> None:
        statement = connection.get_execution_options().get(_BEGIN_OPTION, begin)
        deadline_s = monotonic() + lock_timeout_s
        while statement != _LATER:
            try:
                connection.exec_driver_sql(statement)
            except OperationalError as error:
                if not is_busy(error) or monotonic() >= deadline_s:
                    raise
            else:
                return

    def let_go(connection: DBAPIConnection, _entry: ConnectionPoolEntry, _reason: BaseException | None) -> None:
        # A statement that was cut short lives on in whoever keeps the exception, and SQLite closes a connection, and
        # gives up its locks, only when its last statement is gone.
        with suppress(sqlite3.Error):
            connection.rollback()

    event.listen(engine.sync_engine, "connect", configure)
    event.listen(engine.sync_engine, "invalidate", let_go)
    event.listen(engine.sync_engine, "begin", begin_transaction)
    return engine


def _postgresql_engine(
    location: DatabaseLocation, *, connections: int, isolation: str, lock_timeout_s: float
) -> AsyncEngine:
    engine = create_async_engine(
        location.url,
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=lock_timeout_s,
        isolation_level=isolation,
        connect_args={"async_creator_fn": _sessions(lock_timeout_s).connect, **_CONNECT_ARGUMENTS},
    )

    def look(connection: DBAPIConnection, _entry: ConnectionPoolEntry, _fairy: PoolProxiedConnection) -> None:
        # The loop notices the end of a connection as it comes; to ask the server costs round trips and finds no more.
        session = cast("Session", connection.driver_connection)
        if session.is_closed():
            raise DisconnectionError

    event.listen(engine.sync_engine, "checkout", look)
    return engine


def postgresql_listener(location: DatabaseLocation) -> "Listener":
    """What hears of commits, from a connection of its own."""
    from artifactstore.database.listener import Listener  # noqa: PLC0415 - loads asyncpg

    sessions = _sessions(LOCK_TIMEOUT_S)
    _positional, arguments = location.url.get_dialect()().create_connect_args(location.url)
    return Listener(lambda: sessions.connect(**arguments, **_CONNECT_ARGUMENTS))


def _sessions(lock_timeout_s: float) -> "Sessions":
    from artifactstore.database.sessions import Sessions  # noqa: PLC0415 - loads asyncpg

    return Sessions(
        {
            "synchronous_commit": "on",
            "lock_timeout": f"{lock_timeout_s * 1000:.0f}ms",
            "statement_timeout": f"{STATEMENT_TIMEOUT_S}s",
            "idle_in_transaction_session_timeout": f"{_IDLE_TIMEOUT_S}s",
            "tcp_user_timeout": f"{_IDLE_TIMEOUT_S}s",
        },
        transaction_timeout_s=STATEMENT_TIMEOUT_S,
    )
