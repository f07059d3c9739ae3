"""Set-up and upgrades of the schema by Alembic, under a lock between threads and processes.

The first process sets up a database while the others wait. Without the lock, processes that create the same SQLite file
concurrently fail in WAL set-up and in the migration. This module imports Alembic only to migrate, since the import is
slow. Alembic's context is global to the process, so stores in one process migrate one at a time.
"""

import asyncio
import fcntl
import importlib.resources
import logging
import os
import stat
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from artifactstore.database.access import to_write
from artifactstore.database.asyncio_core import AsyncConnection, AsyncEngine
from artifactstore.database.engines import LOCK_TIMEOUT_S, connected
from artifactstore.database.errors import (
    DatabaseBusy,
    DatabaseUnavailable,
    LogNotEmpty,
    SchemaTooNew,
    SchemaTooOld,
    StoreNotFound,
)
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.schema import SCHEMA_REVISION, SCHEMA_REVISIONS

__all__ = [
    "ensure_schema",
    "exclusive",
    "migrations_directory",
    "require_schema",
    "schema_revision",
    "start_afresh",
    "upgrade",
]

_logger = logging.getLogger("artifactstore.database")

_ALEMBIC_LOCK = threading.Lock()
_ADVISORY_LOCK = 0x6172_7466  # "artf": an arbitrary number, which must be the same in every release
_LOCK_POLL_S = 0.02
_SHARED_MODE = 0o666
"""The mode of the database and its lock file, before the umask. With umask 002, a group can share a store."""


def migrations_directory() -> Path:
    """Return the directory of the Alembic environment, in an installed wheel or at the top of a checkout."""
    installed = Path(str(importlib.resources.files("artifactstore"))) / "migrations"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "migrations"


async def ensure_schema(
    writer: AsyncEngine,
    reader: AsyncEngine,
    location: DatabaseLocation,
    *,
    create: bool = True,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
) -> None:
    """Set up a database that has no tables if `create` allows it, and reject a schema of another release.

    Only a set-up takes the write lock, and so waits for writers. The check of the schema does not.

    Args:
        writer: a writer's engine.
        reader: a reader's engine.
        location: the database.
        create: whether to set up a database without tables. If False, nothing is written where there is no store.
        lock_timeout_s: how long to wait for another process that sets up or upgrades the database.

    Raises:
        StoreNotFound: the database does not exist or has no tables, and `create` is False.
        SchemaTooOld, SchemaTooNew: the schema is that of another release. The message names the remedy.
        DatabaseBusy: another process held the set-up lock for too long.
    """
    if not create:
        await _must_be_store(reader, location)
    async with _turn(location, lock_timeout_s):
        async with connected(reader) as connection:
            found = await connection.run_sync(schema_revision)
        if found is None:
            async with _transaction(writer, location) as connection:
                found = await connection.run_sync(schema_revision)  # again, under the write lock
                if found is None:
                    await connection.run_sync(_run_alembic, "head", location.name)
                    _logger.info("schema %s is set up in %s", SCHEMA_REVISION, location.name)
                    return
    _must_be_current(location, found)


async def require_schema(reader: AsyncEngine, location: DatabaseLocation) -> None:
    """Reject a database without this release's schema. Nothing is written.

    Raises:
        StoreNotFound, SchemaTooOld, SchemaTooNew: see `ensure_schema`.
    """
    await _must_be_store(reader, location)
    async with connected(reader) as connection:
        found = await connection.run_sync(schema_revision)
    _must_be_current(location, found)


def _must_be_current(location: DatabaseLocation, found: str | None) -> None:
    if found in SCHEMA_REVISIONS[:-1]:
        raise SchemaTooOld(location.name, found, SCHEMA_REVISION)
    if found != SCHEMA_REVISION:
        raise SchemaTooNew(location.name, str(found), SCHEMA_REVISION)


async def upgrade(
    engine: AsyncEngine, location: DatabaseLocation, *, lock_timeout_s: float = LOCK_TIMEOUT_S
) -> tuple[str | None, str]:
    """Upgrade the schema to this release's, and return the revisions before and after.

    Args:
        engine: a writer's engine.
        location: the database.
        lock_timeout_s: how long to wait for another process that sets up or upgrades the database.

    Raises:
        SchemaTooNew: this release does not know the schema.
        DatabaseBusy: another process held the set-up lock for too long.
    """
    async with exclusive(engine, location, lock_timeout_s=lock_timeout_s) as connection:
        found = await connection.run_sync(schema_revision)
        if found is not None and found not in SCHEMA_REVISIONS:
            raise SchemaTooNew(location.name, found, SCHEMA_REVISION)
        await connection.run_sync(_run_alembic, "head", location.name)
        _logger.info("schema of %s brought from %s to %s", location.name, found or "none", SCHEMA_REVISION)
        return found, SCHEMA_REVISION


async def start_afresh(
    engine: AsyncEngine,
    location: DatabaseLocation,
    *,
    destroy_log: str | None,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
) -> None:
    """Drop every table and set the schema up again, in one transaction.

    Args:
        engine: a writer's engine.
        location: the database.
        destroy_log: the name of the database, which confirms that its events are to be destroyed.
        lock_timeout_s: see `upgrade`.

    Raises:
        LogNotEmpty: the log holds events, and `destroy_log` is not the name of the database.
        SchemaTooNew: this release does not know the schema.
        DatabaseBusy: another process held the set-up lock for too long.
    """
    async with exclusive(engine, location, lock_timeout_s=lock_timeout_s) as connection:
        found = await connection.run_sync(schema_revision)
        if found is not None:
            if found not in SCHEMA_REVISIONS:
                raise SchemaTooNew(location.name, found, SCHEMA_REVISION)
            events = await connection.scalar(text("SELECT count(*) FROM events")) or 0
            if events and destroy_log != location.name:
                raise LogNotEmpty(location.name, events)
            await connection.run_sync(_run_alembic, "base", location.name)
        await connection.run_sync(_run_alembic, "head", location.name)
        _logger.info("schema %s is set up afresh in %s", SCHEMA_REVISION, location.name)


def schema_revision(connection: Connection) -> str | None:
    """Return the schema revision of a database; None if it has no tables."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)


async def _must_be_store(reader: AsyncEngine, location: DatabaseLocation) -> None:
    """Raise `StoreNotFound` if there is no store. Nothing is created, not even the lock file of a set-up."""
    if not _is_there(location):
        raise StoreNotFound(location.name, "there is no such file, or it is empty")
    async with connected(reader) as connection:
        if await connection.run_sync(schema_revision) is None:
            raise StoreNotFound(location.name, "that database has no artifactstore tables")


def _is_there(location: DatabaseLocation) -> bool:
    """Return whether a SQLite file exists and is not empty; always True for PostgreSQL, which reports it itself.

    Raises:
        DatabaseUnavailable: the path is no regular file. Opening some kinds of file would block.
    """
    if location.path is None:
        return True
    try:
        found = location.path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(found.st_mode):
        kind = "a directory; name a file in it" if stat.S_ISDIR(found.st_mode) else "no regular file"
        raise DatabaseUnavailable(location.name, f"it is {kind}")
    return found.st_size > 0


def _run_alembic(connection: Connection, target: str, name: str) -> None:
    # Loading Alembic takes as long as the rest of a start, so only a migration loads it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(migrations_directory()).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _ALEMBIC_LOCK:
        (command.downgrade if target == "base" else command.upgrade)(config, target)
    # Alembic treats a directory that it cannot read as a directory without migrations.
    if target == "head" and schema_revision(connection) != SCHEMA_REVISION:
        raise DatabaseUnavailable(name, f"this user cannot read the migrations in {migrations_directory()}")


@asynccontextmanager
async def exclusive(
    engine: AsyncEngine, location: DatabaseLocation, *, lock_timeout_s: float = LOCK_TIMEOUT_S
) -> AsyncGenerator[AsyncConnection]:
    """Open a write transaction under the set-up lock of all processes. A missing SQLite file is created.

    Raises:
        DatabaseBusy: another process held the lock for too long.
    """
    async with _turn(location, lock_timeout_s), _transaction(engine, location) as connection:
        yield connection


@asynccontextmanager
async def _turn(location: DatabaseLocation, lock_timeout_s: float) -> AsyncGenerator[None]:
    """Hold the set-up lock of a SQLite file, and create the file in WAL mode; do nothing for PostgreSQL."""
    if location.path is None:
        yield
        return
    _is_there(location)  # raises an error if the path is no regular file
    try:
        location.path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise DatabaseUnavailable(location.name, f"{location.path.parent} cannot be a directory") from None
    lock = _open_lock(f"{location.path}.lock")
    try:
        await _flock(lock, location, lock_timeout_s)
        await asyncio.to_thread(_enable_wal, location.path, lock_timeout_s)
        yield
    finally:
        os.close(lock)


@asynccontextmanager
async def _transaction(engine: AsyncEngine, location: DatabaseLocation) -> AsyncGenerator[AsyncConnection]:
    """Open a write transaction; on PostgreSQL, it also takes the set-up lock, which is an advisory lock."""
    async with engine.begin() as connection:
        if location.path is None:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        yield connection


def _enable_wal(path: Path, lock_timeout_s: float) -> None:
    """Create a missing file, and turn on WAL mode.

    WAL mode is a property of the file. It can be turned on only while no other connection is open. The mode of a new
    file follows the umask, and SQLite creates the `-wal` and the `-shm` with the same mode.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _SHARED_MODE))
    with closing(to_write(path, make=not path.exists()).connect(timeout_s=lock_timeout_s)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _open_lock(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _SHARED_MODE)
    except PermissionError:  # created by another user; reading is enough for a lock
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


async def _flock(lock: int, location: DatabaseLocation, timeout_s: float) -> None:
    """Take the lock without blocking the event loop, since closing one database must not wait for another."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    await asyncio.sleep(_LOCK_POLL_S)
                else:
                    return
    except TimeoutError:
        raise DatabaseBusy(location.name, f"another process is setting it up and holds {location.path}.lock") from None
