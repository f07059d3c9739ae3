"""A database of either kind, open, with a store over it and somebody who writes."""

from collections.abc import AsyncGenerator

import pytest

from artifactstore.database.database import Database
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.store import SqlEventStore
from database_tools import Scribe, opened
from leaks import leaks_are_named

__all__ = ["database", "leaks_are_named", "scribe", "store"]


@pytest.fixture
async def database(location: DatabaseLocation) -> AsyncGenerator[Database]:
    """A new database, open."""
    async with opened(location) as database:
        yield database


@pytest.fixture
def store(database: Database) -> SqlEventStore:
    """The event store over it."""
    return SqlEventStore(database)


@pytest.fixture
def scribe(store: SqlEventStore) -> Scribe:
    """Somebody who sends it commands."""
    return Scribe(store)
