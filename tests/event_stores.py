"""The event stores that there are, each as a log that any number of connections share."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, override

import trio
from sqlalchemy import delete, update

from artifactstore.database.database import Database
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.schema import LIVE, events, log_head
from artifactstore.database.store import SqlEventStore
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.unfinished_import import ImportRun, LogEnd, UnfinishedImport
from artifactstore_protocols.views import PACKAGES, Update
from database_tools import surgery
from simulation.log import SimulatedLog
from simulation.store import SimulatedEventStore
from simulation.world import Life, World

__all__ = ["SimulatedStores", "SqlStores", "Stores", "end_of", "head_of", "log_of", "run_of"]


class Stores(Protocol):
    """One log, of one kind."""

    def connect(self) -> EventStore:
        """A connection, not open yet."""
        ...

    async def empty(self) -> None:
        """Throw the log and its views away. Only while nobody uses them."""
        ...

    async def falsify(self, package_id: str) -> None:
        """Change a row of the view of packages behind everybody's back."""
        ...

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[EventStore]:
        """A connection for a block."""
        store = self.connect()
        await store.open()
        try:
            yield store
        finally:
            await store.close()


EMPTY_HEAD = {"sequence": 0, "import_end": None, "import_event_id": None, "import_command": None}
"""The head of a log without events."""


def run_of(
    log: Sequence[StoredEvent], *, head: int = 0, continues: LogEnd | None = None, source: str = "elsewhere"
) -> ImportRun:
    """The import of a whole log into a store that holds the first `head` events of it."""
    return ImportRun(source, head, UnfinishedImport(end_of(log), f"take over {source}"), continues)


def end_of(log: Sequence[StoredEvent]) -> LogEnd:
    """The last event of a log."""
    return LogEnd(log[-1].sequence, log[-1].event.event_id)


async def head_of(store: EventStore) -> int:
    """The last sequence."""
    return (await store.probe()).head


async def log_of(store: EventStore) -> tuple[StoredEvent, ...]:
    """Every event, in order."""
    return tuple(await store.read_events(after=0, limit=1_000_000))


class SqlStores(Stores):
    """A log in a database."""

    def __init__(self, location: DatabaseLocation) -> None:
        self._location = location

    @override
    def connect(self) -> EventStore:
        return SqlEventStore(Database(self._location))

    @override
    async def empty(self) -> None:
        deletions = [delete(table) for table in (events, *LIVE.values())]
        await surgery(self._location, *deletions, update(log_head).values(EMPTY_HEAD))

    @override
    async def falsify(self, package_id: str) -> None:
        table = LIVE[PACKAGES]
        await surgery(self._location, update(table).where(table.c.package_id == package_id).values(version=99))


class _Hurried(World):
    """A world in which nothing goes wrong and nothing takes long, so that it needs no virtual clock."""

    @override
    async def pause(self) -> None:
        await trio.lowlevel.checkpoint()


class SimulatedStores(Stores):
    """A log in memory.

    Args:
        nursery: for what the log does on its own.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._world = _Hurried(0, ())
        self._log = SimulatedLog(self._world, nursery)

    @override
    def connect(self) -> EventStore:
        return SimulatedEventStore(self._world, self._log, Life(0, 1))

    @override
    async def empty(self) -> None:
        self._log = SimulatedLog(self._world, self._nursery)

    @override
    async def falsify(self, package_id: str) -> None:
        self._log.tables.apply([Update(PACKAGES, (package_id,), {"version": 99})])
