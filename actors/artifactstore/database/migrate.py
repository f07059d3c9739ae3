"""First use and upgrades: Alembic under a lock that holds between threads and between processes.

A database is set up by whoever comes first, while the others wait: without the lock, processes that race to create
the same SQLite file fail in WAL set-up and in the migration itself. Alembic is imported only here, and only when there
is something to migrate; its context is global to the process, so two stores in one process take turns.
"""

import asyncio
import fcntl
import importlib.resources
import os
import sqlite3
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from artifactstore.database.engines import LOCK_TIMEOUT_S
from artifactstore.database.errors import DatabaseBusy, LogNotEmpty, SchemaTooNew, SchemaTooOld
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.schema import SCHEMA_REVISION, SCHEMA_REVISIONS

__all__ = ["ensure_schema", "migrations_directory", "start_afresh", "upgrade"]

_ALEMBIC_LOCK = threading.Lock()
_ADVISORY_LOCK = 0x6172_7466  # "artf": any number, as long as every release takes the same one
_LOCK_POLL_S = 0.02


def migrations_directory() -> Path:
    """Where the Alembic environment is: inside an installed wheel, or at the top of a checkout."""
    installed = Path(str(importlib.resources.files("artifactstore"))) / "migrations"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "migrations"


async def ensure_schema(engine: AsyncEngine, location: DatabaseLocation) -> None:
    """Set up a database that has no tables yet; refuse one whose schema is not this release's.

    Args:
        engine: a writer's engine, here and below.
        location: of the database.

    Raises:
        SchemaTooOld, SchemaTooNew: with the command that helps.
        DatabaseBusy: another process is setting it up and does not finish.
    """
    async with _alone(engine, location) as connection:
        found = await connection.run_sync(_revision)
        if found is None:
            await connection.run_sync(_run_alembic, "head")
        elif found in SCHEMA_REVISIONS[:-1]:
            raise SchemaTooOld(location.name, found, SCHEMA_REVISION)
        elif found != SCHEMA_REVISION:
            raise SchemaTooNew(location.name, found, SCHEMA_REVISION)


async def upgrade(engine: AsyncEngine, location: DatabaseLocation) -> tuple[str | None, str]:
    """Bring the schema up to this release's. Returns the revision before and after.

    Raises:
        SchemaTooNew: the database is ahead of this release.
    """
    async with _alone(engine, location) as connection:
        found = await connection.run_sync(_revision)
        if found is not None and found not in SCHEMA_REVISIONS:
            raise SchemaTooNew(location.name, found, SCHEMA_REVISION)
        await connection.run_sync(_run_alembic, "head")
        return found, SCHEMA_REVISION


async def start_afresh(engine: AsyncEngine, location: DatabaseLocation, *, destroy_log: str | None) -> None:
    """Drop every table and set the schema up again, in one transaction.

    Args:
        engine: a writer's engine.
        location: of the database.
        destroy_log: the database's name, given by somebody who means to destroy the events in it.

    Raises:
        LogNotEmpty: the log holds events and was not named.
        SchemaTooNew: the database is ahead of this release.
    """
    async with _alone(engine, location) as connection:
        found = await connection.run_sync(_revision)
        if found is not None:
            if found not in SCHEMA_REVISIONS:
                raise SchemaTooNew(location.name, found, SCHEMA_REVISION)
            events = await connection.scalar(text("SELECT count(*) FROM events")) or 0
            if events and destroy_log != location.name:
                raise LogNotEmpty(location.name, events)
            await connection.run_sync(_run_alembic, "base")
        await connection.run_sync(_run_alembic, "head")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)


def _run_alembic(connection: Connection, target: str) -> None:
    # Loading Alembic takes as long as the rest of a start: only a migration pays for it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(migrations_directory()).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _ALEMBIC_LOCK:
        (command.downgrade if target == "base" else command.upgrade)(config, target)


@asynccontextmanager
async def _alone(engine: AsyncEngine, location: DatabaseLocation) -> AsyncGenerator[AsyncConnection]:
    """A writing transaction that no other set-up, in any process, runs beside."""
    if location.path is None:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            yield connection
        return
    location.path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(f"{location.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        await _flock(lock, location)
        await asyncio.to_thread(_enable_wal, location.path)
        async with engine.begin() as connection:
            yield connection
    finally:
        os.close(lock)


def _enable_wal(path: Path) -> None:
    """Write-ahead logging is a property of the file, and can only be set while nobody else has it open."""
    with closing(sqlite3.connect(path, timeout=LOCK_TIMEOUT_S)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


async def _flock(lock: int, location: DatabaseLocation) -> None:
    """Take the lock without blocking the loop: closing one database must not wait for another."""
    try:
        async with asyncio.timeout(LOCK_TIMEOUT_S):
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    await asyncio.sleep(_LOCK_POLL_S)
                else:
                    return
    except TimeoutError:
        raise DatabaseBusy(location.name, f"it was being set up for {LOCK_TIMEOUT_S} s") from None
