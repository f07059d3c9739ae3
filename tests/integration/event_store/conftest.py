"""The conformance suite of the event store: whatever takes `stores` runs over the simulated one, SQLite and PostgreSQL.

A test in this directory knows `artifactstore_protocols.event_store` and nothing below it, so that what it shows is a
promise of the interface. What only a database can be asked is in `tests/integration/database`.
"""

from collections.abc import AsyncGenerator
from typing import cast

import pytest
import trio

from artifactstore.database.location import DatabaseLocation
from artifactstore_protocols.event_store import EventStore
from database_tools import Scribe
from event_stores import SimulatedStores, SqlStores, Stores

__all__ = ["scribe", "store", "stores"]


@pytest.fixture(
    params=[
        pytest.param(None, id="simulated"),
        pytest.param("sqlite_location", id="sqlite"),
        pytest.param("postgres_location", id="postgresql", marks=pytest.mark.slow),
    ]
)
async def stores(request: pytest.FixtureRequest, nursery: trio.Nursery) -> Stores:
    """A log that is empty, and the means to connect to it."""
    if request.param is None:
        return SimulatedStores(nursery)
    return SqlStores(cast("DatabaseLocation", request.getfixturevalue(request.param)))


@pytest.fixture
async def store(stores: Stores) -> AsyncGenerator[EventStore]:
    """A connection to it, open."""
    async with stores.opened() as store:
        yield store


@pytest.fixture
def scribe(store: EventStore) -> Scribe:
    """Somebody who sends it commands."""
    return Scribe(store)
