"""The database that actors open, read, write and close. Each operation is one unit of work on the database thread.

A write holds the lock on the head of the log from its first statement to its commit. This module translates the errors
of drivers. Callers get only typed errors, which say whether anything may have been written.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from artifactstore.database import events, migrate
from artifactstore.database.access import obstacle_to_writing, with_access
from artifactstore.database.asyncio_core import AsyncConnection, AsyncEngine, AsyncTransaction
from artifactstore.database.asyncio_thread import AsyncioThread, DatabaseClosed
from artifactstore.database.engines import (
    LOCK_TIMEOUT_S,
    STATEMENT_TIMEOUT_S,
    begin_before_lock,
    connected,
    postgresql_listener,
    reader_engine,
    writer_engine,
)
from artifactstore.database.errors import DatabaseBusy, DatabaseUnavailable, OutcomeUnknown, Refused, StoreReadOnly
from artifactstore.database.file_guard import FileGuard, SnapshotGuard
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.stuck import end_stuck_writers, lift_time_limit
from artifactstore.database.translation import DRIVER_ERRORS, reason_of, translated, was_undone
from artifactstore.sqlite_access import Access

if TYPE_CHECKING:
    from artifactstore.database.listener import Listener
    from artifactstore.database.sqlite_driver import Connection

__all__ = ["Database", "Refused"]

_SQLITE_LOOKS_EVERY_S: Final = 0.25
_PRIMARY_CODE: Final = 0xFF
_LOOK_TIMEOUT_S: Final = 5.0
_HURRIED_PATIENCE_S: Final = 2.0


class Database:
    """One database, which its actor opens and closes and other actors use.

    Args:
        location: the parsed URL of the database.
        create: whether `open` sets up a database that has no tables.
        lock_timeout_s: how long to wait for the head of the log, for the set-up lock and for a free connection.
    """

    def __init__(
        self, location: DatabaseLocation, *, create: bool = True, lock_timeout_s: float = LOCK_TIMEOUT_S
    ) -> None:
        self.location = location
        self._create = create
        self._lock_timeout_s = lock_timeout_s
        self._thread = AsyncioThread(f"artifactstore-db-{location.name}")
        self._engines: tuple[AsyncEngine, AsyncEngine] | None = None
        self._listener: Listener | None = None
        self._guard: FileGuard | SnapshotGuard | None = None
        self._read_only: str | None = None
        self._lock_patience_s: float | None = None
        self._waiting = set[asyncio.Timeout]()

    async def open(self) -> None:
        """Start the thread, set up a missing schema if `create` allows it, and create the engines.

        Raises:
            StoreNotFound, SchemaTooOld, SchemaTooNew, DatabaseBusy, DatabaseUnavailable: the thread is stopped again.
        """
        self._thread.start()
        try:
            await self._thread.run(self._open, abandon_on_cancel=True)  # safe: set-up is one transaction
        except BaseException:
            await self._thread.stop()
            raise

    async def _open(self) -> None:
        with translated(self.location.name):
            await with_access(self.location.path, self._open_with)

    async def _open_with(self, access: Access | None) -> None:
        location, timeout_s = self.location, self._lock_timeout_s
        writer = writer_engine(location, access, lock_timeout_s=timeout_s)
        reader = reader_engine(location, access, lock_timeout_s=timeout_s)
        try:
            if access is not None and access.read_only is not None:
                await migrate.require_schema(reader, location)
            else:
                await migrate.ensure_schema(writer, reader, location, create=self._create, lock_timeout_s=timeout_s)
            if location.path is not None and access is not None:
                self._guard = await asyncio.to_thread(_guard_of, location.path, access, timeout_s)
        except BaseException:
            await writer.dispose()
            await reader.dispose()
            raise
        self._read_only = None if access is None else access.read_only
        self._listener = None if location.is_sqlite else postgresql_listener(location)
        self._engines = (writer, reader)

    @property
    def read_only(self) -> str | None:
        """The reason, found by `open`, why the database cannot be written; None if it can."""
        return self._read_only

    def must_be_writable(self) -> None:
        """Raise an error if the database cannot be written.

        Raises:
            StoreReadOnly: the database is open read-only.
        """
        if self._read_only is not None:
            raise StoreReadOnly(self.location.name, self._read_only)

    async def migrate(self) -> tuple[str | None, str]:
        """Upgrade the schema of a database that is not open, and return the revisions before and after."""
        return await self._alone(
            lambda engine: migrate.upgrade(engine, self.location, lock_timeout_s=self._lock_timeout_s)
        )

    async def start_afresh(self, *, destroy_log: str | None) -> None:
        """Drop all tables of a database that is not open, and set it up again; see `migrate.start_afresh`."""
        await self._alone(
            lambda engine: migrate.start_afresh(
                engine, self.location, destroy_log=destroy_log, lock_timeout_s=self._lock_timeout_s
            )
        )

    async def _alone[T](self, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
        async def run() -> T:
            path = self.location.path
            obstacle = None if path is None else await asyncio.to_thread(obstacle_to_writing, path)
            if obstacle is not None:
                raise StoreReadOnly(self.location.name, obstacle)
            engine = writer_engine(self.location, lock_timeout_s=self._lock_timeout_s)
            try:
                with translated(self.location.name):
                    return await work(engine)
            finally:
                await engine.dispose()

        self._thread.start()
        try:
            return await self._thread.run(run, abandon_on_cancel=True)  # `stop` then cancels it and rolls back
        finally:
            await self._thread.stop()

    def hurry(self) -> None:
        """Limit every wait for the write lock to two seconds from now on, since the program is about to end.

        Another process may hold the lock. A commit that has begun is not interrupted.
        """
        self._thread.call_soon(self._shorten_waits)

    def _shorten_waits(self) -> None:
        self._lock_patience_s = _HURRIED_PATIENCE_S
        for waiting in self._waiting:
            waiting.reschedule(asyncio.get_running_loop().time() + _HURRIED_PATIENCE_S)

    @asynccontextmanager
    async def _patient(self) -> AsyncGenerator[None]:
        """Limit the block to two seconds once `hurry` was called; otherwise the database's own timeouts apply."""
        patience = asyncio.timeout(self._lock_patience_s)
        try:
            async with patience:
                self._waiting.add(patience)
                try:
                    yield
                finally:
                    self._waiting.discard(patience)
        except TimeoutError as error:
            if not patience.expired():
                raise
            reason = "another process holds its lock, and this one is to end"
            raise DatabaseBusy(self.location.name, reason) from error

    async def close(self) -> None:
        """Wait for running writes, close every connection and end the thread. Do nothing if already closed.

        Running reads are cancelled, and their callers get `DatabaseClosed`.
        """
        engines, self._engines = self._engines, None
        listener, self._listener = self._listener, None
        guard, self._guard = self._guard, None

        async def dispose() -> None:
            if listener is not None:
                await listener.close()
            for engine in engines or ():
                await engine.dispose()
            if guard is not None:
                guard.close()

        await self._thread.stop(dispose)

    async def read[T](
        self, work: Callable[[AsyncConnection], Awaitable[T]], *, timeout_s: float | None = STATEMENT_TIMEOUT_S
    ) -> T:
        """Call `work` with a reader's connection, and return its result. A cancelled caller returns at once.

        Each transaction of the connection sees one snapshot.

        Args:
            work: reads through the connection.
            timeout_s: the time limit of all the work. Use None for work that grows with the log; then only each
                statement has a limit.

        Raises:
            DatabaseClosed, DatabaseReplaced, DatabaseBusy, DatabaseUnavailable, Refused: the read failed.
            ArtifactStoreError: any typed error of `work`.
        """
        self._open_engines()
        return await self._thread.run(lambda: self._read(work, timeout_s), abandon_on_cancel=True)

    async def wait_for_growth(self, after: int) -> int:
        """Wait until the head of the log is past `after`, some seconds at most, and return the head.

        PostgreSQL notifies the store of the commits of all processes. A SQLite file is read again after 0.25 seconds.

        Raises:
            DatabaseClosed, DatabaseReplaced, DatabaseBusy, DatabaseUnavailable: see `read`.
        """
        self._open_engines()
        listener = self._listener

        async def unit() -> int:
            news = asyncio.Event() if listener is None else listener.news()
            head = await self._read(events.head, STATEMENT_TIMEOUT_S)
            if head > after:
                return head
            with suppress(TimeoutError):
                patience_s = _SQLITE_LOOKS_EVERY_S if listener is None else listener.patience_s
                await asyncio.wait_for(news.wait(), patience_s)
            return await self._read(events.head, STATEMENT_TIMEOUT_S)

        return await self._thread.run(unit, abandon_on_cancel=True)

    async def _read[T](self, work: Callable[[AsyncConnection], Awaitable[T]], timeout_s: float | None) -> T:
        _writer, reader = self._open_engines()
        with translated(self.location.name):
            self.check_file()
            async with asyncio.timeout(timeout_s), connected(reader) as connection:
                return await work(connection)

    async def write[T](
        self, work: Callable[[events.Transaction], Awaitable[T]], *, timeout_s: float | None = STATEMENT_TIMEOUT_S
    ) -> T:
        """Run `work` in a transaction that holds the head of the log, commit, and return the result.

        A cancelled caller waits for the end of the commit. Except for `OutcomeUnknown`, an error means that nothing was
        written.

        Args:
            work: writes through the transaction.
            timeout_s: the time limit of the work. The commit that follows has the same limit again. None for work that
                grows with the log.

        Raises:
            DatabaseBusy: the head could not be locked in time.
            DatabaseUnavailable, DatabaseReplaced, DatabaseClosed: the database could not be used.
            Refused: the database rejected a value that `work` wrote.
            LogDamaged: the head of the log is not its last event.
            StoreReadOnly: the database is open read-only.
            OutcomeUnknown: the commit failed, and the database may or may not have committed.
        """
        self.must_be_writable()
        writer, _reader = self._open_engines()

        async def unit() -> T:
            async with AsyncExitStack() as stack:
                with translated(self.location.name):
                    self.check_file()  # a new connection would open whatever file is at the path now
                    async with asyncio.timeout(timeout_s):
                        async with self._patient():
                            connection = await stack.enter_async_context(connected(writer))
                            handle = await begin_before_lock(connection)
                            before = await events.lock_head(connection, wait_s=self._lock_timeout_s)
                        if timeout_s is None:
                            await lift_time_limit(connection)
                        result = await work(events.Transaction(connection, *before))
                        self.check_file()
                # The commit has its own deadline: a timeout that cuts a commit off leaves its outcome unknown.
                await self._commit(connection, handle, timeout_s)
                return result

        try:
            return await self._thread.run(unit, abandon_on_cancel=False)
        except DatabaseBusy:
            if not self.location.is_sqlite:
                with suppress(DatabaseUnavailable, DatabaseClosed):
                    await self.read(end_stuck_writers, timeout_s=_LOOK_TIMEOUT_S)
            raise

    async def _commit(self, connection: AsyncConnection, handle: AsyncTransaction, timeout_s: float | None) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await handle.commit()
            self.check_file()
        except (*DRIVER_ERRORS, DatabaseUnavailable) as error:
            await connection.invalidate()  # it may still be in the transaction and hold the head
            if was_undone(error):
                with translated(self.location.name):
                    raise
            raise OutcomeUnknown(self.location.name, reason_of(error)) from error

    async def overwrite_leftovers(self) -> bool:
        """Write a SQLite file anew, without what deleted rows left in its pages, and cut its write-ahead log.

        Return whether that succeeded. It does not while another connection uses the file. PostgreSQL leaves that to the
        owner of the tables.
        """
        if not self.location.is_sqlite:
            return True
        writer, _reader = self._open_engines()

        async def unit() -> bool:
            with translated(self.location.name):
                self.check_file()
                async with connected(writer) as connection:
                    driver = cast("Connection", (await connection.get_raw_connection()).driver_connection)
                    return await driver.run(_overwrite_leftovers)

        return await self._thread.run(unit, abandon_on_cancel=False)

    def _open_engines(self) -> tuple[AsyncEngine, AsyncEngine]:
        if self._engines is None:
            raise DatabaseClosed
        return self._engines

    def check_file(self) -> None:
        """Check that the open files are the files at the database's path; see `FileGuard.check`.

        Raises:
            DatabaseReplaced: a file was deleted, replaced, truncated or changed by another process.
            DatabaseUnavailable: a file cannot be inspected.
        """
        if self._guard is not None:
            self._guard.check()

    def free_bytes(self) -> int | None:
        """Return the free bytes on the device of a SQLite file; None for PostgreSQL, which does not report it."""
        path = self.location.path
        if path is None:
            return None
        device = os.statvfs(path.parent)
        return device.f_bavail * device.f_frsize


def _guard_of(path: Path, access: Access, lock_timeout_s: float) -> FileGuard | SnapshotGuard:
    if access.read_only is None:
        return FileGuard(path, access, lock_timeout_s=lock_timeout_s)
    return SnapshotGuard(path, access)


def _overwrite_leftovers(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("VACUUM")
        ((is_busy, *_frames),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & _PRIMARY_CODE == sqlite3.SQLITE_BUSY:
            return False
        raise
    return not is_busy
