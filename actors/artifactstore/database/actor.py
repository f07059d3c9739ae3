"""The actor that opens and closes the database; other actors share the open database.

It is the first child of the core supervisor. When it fails, the supervisor stops all actors that use the database,
restarts this one, and then starts the others again.
"""

from typing import override

from artifactstore.supervision import Actor, Concurrent, OnCancel, handles
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.messages import DatabaseReading, DatabaseRole, ProbeDatabase

__all__ = ["DatabaseActor"]


class DatabaseActor(Actor[DatabaseRole]):
    """An actor that opens the database when it starts and closes it when it stops.

    Args:
        store: the store, which the actors that read and write share.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store

    @override
    async def on_start(self) -> None:
        await self._store.close()  # a crashed incarnation may have left it open
        await self._store.open()

    @override
    async def on_stop(self) -> None:
        await self._store.close()

    @override
    def state_summary(self) -> dict[str, str | int]:
        return {"database": self._store.name}

    @handles(ProbeDatabase, mode=Concurrent(4), on_cancel=OnCancel.CANCEL)
    async def probe(self, message: ProbeDatabase) -> DatabaseReading:  # noqa: ARG002
        """Read the head of the log, and check that the database file was not replaced."""
        found = await self._store.probe()
        return DatabaseReading(
            self._store.name, found.head, found.free_bytes, found.read_only, found.unfinished, found.store_id
        )
