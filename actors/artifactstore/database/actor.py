"""DatabaseActor: owns the database for as long as it runs; the others only use it.

It comes first in the core: when it fails, everything that uses the database is stopped before it and started after.
"""

from typing import override

from artifactstore.supervision import Actor, Concurrent, OnCancel, handles
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.messages import DatabaseReading, DatabaseRole, ProbeDatabase

__all__ = ["DatabaseActor"]


class DatabaseActor(Actor[DatabaseRole]):
    """Opens the database when it starts and closes it when it stops.

    Args:
        store: shared with the actors that read and write.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store

    @override
    async def on_start(self) -> None:
        await self._store.close()  # what a crashed incarnation left open
        await self._store.open()

    @override
    async def on_stop(self) -> None:
        await self._store.close()

    @override
    def state_summary(self) -> dict[str, str | int]:
        return {"database": self._store.name}

    @handles(ProbeDatabase, mode=Concurrent(4), on_cancel=OnCancel.CANCEL)
    async def probe(self, message: ProbeDatabase) -> DatabaseReading:  # noqa: ARG002
        """Read the log's head, and see that the file is the one that was opened."""
        found = await self._store.probe()
        return DatabaseReading(
            self._store.name, found.head, found.free_bytes, found.read_only, found.unfinished, found.store_id
        )
