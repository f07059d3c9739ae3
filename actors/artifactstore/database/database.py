"""The database as the actors see it: open, read, write, close; each a unit of work that crosses once, whole.

A write holds the head of the log from its first statement to its commit. What the driver raises is translated here,
so that callers meet only typed errors that say whether anything may have been written.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from pathlib import Path

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from artifactstore.database import events, migrate
from artifactstore.database.asyncio_thread import AsyncioThread, DatabaseClosed
from artifactstore.database.engines import LOCK_TIMEOUT_S, STATEMENT_TIMEOUT_S, reader_engine, writer_engine
from artifactstore.database.errors import DatabaseBusy, DatabaseReplaced, DatabaseUnavailable, OutcomeUnknown
from artifactstore.database.location import DatabaseLocation

__all__ = ["Database", "Refused"]

_BUSY_SIGNS = ("database is locked", "database table is locked", "LockNotAvailable", "lock timeout")


class Refused(Exception):
    """The database refused a statement for its content (a constraint, a value); the transaction was rolled back."""


class Database:
    """One database, opened and closed by its actor, used by the others.

    Args:
        location: which one.
    """

    def __init__(self, location: DatabaseLocation) -> None:
        self.location = location
        self._thread = AsyncioThread(f"artifactstore-db-{location.name}")
        self._engines: tuple[AsyncEngine, AsyncEngine] | None = None
        self._inode: tuple[int, int] | None = None

    async def open(self) -> None:
        """Start the thread, set the schema up if there is none, and make the engines.

        Raises:
            SchemaTooOld, SchemaTooNew, DatabaseBusy, DatabaseUnavailable: and the thread is stopped again.
        """
        self._thread.start()
        try:
            await self._thread.run(self._open, leave_on_cancel=False)
        except BaseException:
            await self._thread.stop()
            raise

    async def _open(self) -> None:
        writer, reader = writer_engine(self.location), reader_engine(self.location)
        try:
            with self._translated():
                await migrate.ensure_schema(writer, self.location)
        except BaseException:
            await writer.dispose()
            await reader.dispose()
            raise
        self._inode = _inode(self.location.path)
        self._engines = (writer, reader)

    async def migrate(self) -> tuple[str | None, str]:
        """Upgrade the schema of a database that is not open. Returns the revision before and after."""
        return await self._alone(lambda engine: migrate.upgrade(engine, self.location))

    async def start_afresh(self, *, destroy_log: str | None) -> None:
        """Drop and set up a database that is not open; see `migrate.start_afresh`."""
        await self._alone(lambda engine: migrate.start_afresh(engine, self.location, destroy_log=destroy_log))

    async def _alone[T](self, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
        async def run() -> T:
            engine = writer_engine(self.location)
            try:
                with self._translated():
                    return await work(engine)
            finally:
                await engine.dispose()

        self._thread.start()
        try:
            return await self._thread.run(run, leave_on_cancel=False)
        finally:
            await self._thread.stop()

    async def close(self) -> None:
        """Finish what is under way, close every connection and end the thread. Harmless when closed."""
        engines, self._engines = self._engines, None

        async def dispose() -> None:
            for engine in engines or ():
                await engine.dispose()

        if engines is not None:
            await self._thread.run(dispose, leave_on_cancel=False)
        await self._thread.stop()

    async def read[T](
        self, work: Callable[[AsyncConnection], Awaitable[T]], *, timeout_s: float = STATEMENT_TIMEOUT_S
    ) -> T:
        """Run `work` in a transaction that sees one snapshot. A cancelled caller leaves at once.

        Raises:
            DatabaseClosed, DatabaseUnavailable: and typed errors of `work` itself.
        """
        _writer, reader = self._open_engines()

        async def unit() -> T:
            with self._translated():
                async with asyncio.timeout(timeout_s), reader.connect() as connection:
                    return await work(connection)

        return await self._thread.run(unit, leave_on_cancel=True)

    async def write[T](
        self, work: Callable[[events.Transaction], Awaitable[T]], *, timeout_s: float = STATEMENT_TIMEOUT_S
    ) -> T:
        """Run `work` in a transaction that holds the head of the log, and commit. Cancellation waits for the end.

        Raises:
            DatabaseBusy: the head could not be locked in time; nothing was written.
            DatabaseUnavailable, DatabaseReplaced, DatabaseClosed: nothing was written.
            Refused: the database refused what `work` wrote; nothing was written.
            OutcomeUnknown: the commit itself failed, so it may or may not have happened.
        """
        writer, _reader = self._open_engines()

        async def unit() -> T:
            async with asyncio.timeout(timeout_s), self._head_held(writer) as transaction:
                return await work(transaction)

        with self._translated():
            return await self._thread.run(unit, leave_on_cancel=False)

    @contextlib.asynccontextmanager
    async def _head_held(self, writer: AsyncEngine) -> AsyncGenerator[events.Transaction]:
        async with writer.connect() as connection:
            handle = await connection.begin()
            transaction = events.Transaction(connection, await events.lock_head(connection))
            before = transaction.sequence
            yield transaction
            if transaction.sequence != before:
                await events.move_head(transaction)
            self.check_file()
            try:
                await handle.commit()
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                raise OutcomeUnknown(self.location.name, _reason(error)) from error

    def _open_engines(self) -> tuple[AsyncEngine, AsyncEngine]:
        if self._engines is None:
            raise DatabaseClosed
        return self._engines

    def check_file(self) -> None:
        """Make sure that the file at the path is still the one that is open.

        SQLite commits into a deleted file without a word; such a commit would be an acknowledgement of nothing.

        Raises:
            DatabaseReplaced: it is deleted, or another file.
        """
        found = _inode(self.location.path)
        if found != self._inode:
            raise DatabaseReplaced(self.location.name, "deleted" if found is None else "replaced by another file")

    @contextlib.contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except (IntegrityError, DataError) as error:
            raise Refused(_reason(error)) from error
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            reason = _reason(error)
            if any(sign in reason for sign in _BUSY_SIGNS):
                raise DatabaseBusy(self.location.name, f"waited {LOCK_TIMEOUT_S} s") from error
            raise DatabaseUnavailable(self.location.name, reason) from error


def _inode(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _reason(error: BaseException) -> str:
    """The driver's own words, in one line and without SQLAlchemy's statement and parameters."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = " ".join(str(cause).split())
    return text.removeprefix("<class 'asyncpg.exceptions.").replace("'>:", ":") or type(cause).__name__
