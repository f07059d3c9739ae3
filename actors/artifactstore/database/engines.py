"""The engines for writers and readers, and the settings of their connections.

A reader's transaction sees one snapshot. On SQLite, a writer's transaction takes the write lock when it begins. Readers
that began with `BEGIN IMMEDIATE` would block each other. A writer that began with a plain `BEGIN` would fail with
SQLITE_BUSY_SNAPSHOT if another process wrote after its snapshot.
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

from artifactstore.database.asyncio_core import (
    AsyncConnection,
    AsyncEngine,
    AsyncTransaction,
    create_async_engine,
    finished,
)
from artifactstore.database.location import DatabaseLocation
from artifactstore.sqlite_access import Access

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
"""How long a writer waits for the head of the log before it raises `DatabaseBusy`."""

_CONNECT_ARGUMENTS: Final[dict[str, Any]] = {
    "timeout": 30.0,
    "server_settings": {"application_name": "artifactstore"},
}
_IDLE_TIMEOUT_S = 30
"""How long PostgreSQL waits for a silent client inside a transaction, which may hold the head of the log."""

STATEMENT_TIMEOUT_S = 300
"""The time limit of a unit of work and, on PostgreSQL, of each statement."""

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
    """Return an engine with one connection for writers. On SQLite, its transactions begin with the write lock.

    Args:
        location: the database.
        access: how to open the SQLite file. By default, a missing file is created.
        lock_timeout_s: how long to wait for a lock, and for a free connection.
    """
    if location.is_sqlite:
        return _sqlite_engine(location, access, begin=_WRITER_BEGIN, connections=1, lock_timeout_s=lock_timeout_s)
    return _postgresql_engine(location, connections=1, isolation=_WRITER_ISOLATION, lock_timeout_s=lock_timeout_s)


def reader_engine(
    location: DatabaseLocation, access: Access | None = None, *, lock_timeout_s: float = LOCK_TIMEOUT_S
) -> AsyncEngine:
    """Return an engine whose transactions each see one snapshot; the arguments are those of `writer_engine`."""
    if location.is_sqlite:
        return _sqlite_engine(
            location, access, begin=_READER_BEGIN, connections=_READERS, lock_timeout_s=lock_timeout_s
        )
    return _postgresql_engine(
        location, connections=_READERS, isolation=_READER_ISOLATION, lock_timeout_s=lock_timeout_s
    )


def nameless_engine() -> AsyncEngine:
    """Return an engine with one connection to an empty temporary SQLite database, deleted when it is closed."""

    async def open_nameless(_file: str, **options: Any) -> "Connection":  # noqa: ANN401 - options of `open_file`
        return await open_file("", **options)

    engine = create_async_engine(
        "sqlite+aiosqlite://",
        hide_parameters=True,
        poolclass=StaticPool,
        connect_args={"isolation_level": None, "async_creator_fn": open_nameless},
    )

    def configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        # A temporary database need not survive a crash.
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
    """Open a connection for the block. Errors while it returns to the pool are ignored, since the pool replaces it."""
    await asyncio.sleep(0)  # lets the event loop notice closed connections
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
    """Open a writer's transaction on a reader's connection, for work that needs the connection's temporary tables."""
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
    """Return whether all transactions of a connection run in one session, which a pooler does not guarantee."""
    if connection.dialect.name == "sqlite":
        return True
    driver = (await connection.get_raw_connection()).driver_connection
    return cast("Session", driver).is_direct


async def open_file(file: str | Path, **options: Any) -> "Connection":  # noqa: ANN401 - sqlite3.connect's
    """Open a SQLite file. If the caller is cancelled meanwhile, wait for the connection and close it.

    aiosqlite would leave that connection open until garbage collection. Opening a file waits for no lock.
    """
    from artifactstore.database.sqlite_driver import Connection  # noqa: PLC0415 - not for PostgreSQL

    connection = Connection(partial(sqlite3.connect, file, **options))
    # SQLAlchemy does the same when it opens the file itself.
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
    async def open_by_uri(file: str, **options: Any) -> "Connection":  # noqa: ANN401 - options of `open_file`
        return await (open_file(file, **options) if access is None else open_file(access.uri, uri=True, **options))

    # SQLite cannot be interrupted while it waits for the write lock. So a writer waits one second at a time, and can be
    # cancelled between two attempts.
    wait_s = min(lock_timeout_s, _WRITER_ASKS_EVERY_S) if begin == _WRITER_BEGIN else lock_timeout_s
    engine = create_async_engine(
        location.url,
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=lock_timeout_s,
        # The driver's own transaction control is off: SQLAlchemy could not control when it sends BEGIN, nor which kind.
        connect_args={"isolation_level": None, "timeout": wait_s, "async_creator_fn": open_by_uri},
    )

    def configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for statement in () if access is None else access.first_statements():
            cursor.execute(statement)
        # WAL mode is a property of the file; `migrate` sets it once, under the set-up lock.
        # The temporary tables of a replay have their own cache, which is tiny unless it is set.
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
        # An exception's traceback keeps an interrupted statement alive. SQLite closes a connection, and releases its
        # locks, only after its last statement is finalized.
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
        # The event loop notices closed connections. A query to the server would cost round trips and find no more.
        session = cast("Session", connection.driver_connection)
        if session.is_closed():
            raise DisconnectionError

    event.listen(engine.sync_engine, "checkout", look)
    return engine


def postgresql_listener(location: DatabaseLocation) -> "Listener":
    """Return a listener for notifications of commits, with a separate connection."""
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
