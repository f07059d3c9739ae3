"""DatabaseActor: owns the database for as long as it runs; the others only use it.

It comes first in the core: when it fails, everything that uses the database is stopped before it and started after.
"""

from typing import override

from artifactstore.database import events
from artifactstore.database.database import Database
from artifactstore.supervision import Actor, Concurrent, OnCancel, handles
from artifactstore_protocols.messages import DatabaseReading, DatabaseRole, ProbeDatabase

__all__ = ["DatabaseActor"]

_PROBE_TIMEOUT_S = 5.0


class DatabaseActor(Actor[DatabaseRole]):
    """Opens the database when it starts and closes it when it stops.

    Args:
        database: shared with the actors that read and write.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def on_start(self) -> None:
        await self._database.close()  # what a crashed incarnation left open
        await self._database.open()

    @override
    async def on_stop(self) -> None:
        await self._database.close()

    @override
    def state_summary(self) -> dict[str, str | int]:
        return {"database": self._database.location.name}

    @handles(ProbeDatabase, mode=Concurrent(4), on_cancel=OnCancel.CANCEL)
    async def probe(self, message: ProbeDatabase) -> DatabaseReading:  # noqa: ARG002
        """Read the log's head, and see that the file is the one that was opened."""
        self._database.check_file()
        head = await self._database.read(events.head, timeout_s=_PROBE_TIMEOUT_S)
        return DatabaseReading(self._database.location.name, head)
