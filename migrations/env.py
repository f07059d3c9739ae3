"""The environment of Alembic. It uses the connection that the store passes, or from a shell the configured database."""

import asyncio

from alembic import context
from sqlalchemy import Connection

from artifactstore.config import Settings
from artifactstore.database.engines import writer_engine
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.migrate import exclusive
from artifactstore.database.schema import METADATA


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


async def run_from_shell() -> None:
    location = DatabaseLocation.parse(Settings.load().database_url)
    engine = writer_engine(location)
    try:
        async with exclusive(engine, location) as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


given: Connection | None = context.config.attributes.get("connection")
if given is None:
    asyncio.run(run_from_shell())
else:
    run(given)
