"""The database of a simulated world: one log that all processes share.

The rules are those of the real stores: a transaction holds the head of the log from before it looks until after it has
committed, what is committed is durable, and a connection that breaks at the wrong moment leaves its caller not knowing.
Decisions and projections are the real pure functions. Nothing here checks that the rules are kept, so that an oracle
can find out.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import trio

from artifactstore.database.errors import DatabaseBusy
from artifactstore_protocols.commands import CommandRequest
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.ids import uuid7
from artifactstore_protocols.store_stats import LastRun, RunKind
from artifactstore_protocols.unfinished_import import UnfinishedImport
from artifactstore_protocols.views import RowOperation
from simulation.tables import Tables
from simulation.world import World

__all__ = ["NAME", "SimulatedLog"]

NAME: Final = "simulated"
"""What stands for the database's name in errors."""

_LOCK_TIMEOUT_S: Final = 30.0


class SimulatedLog:
    """What is durable, and the lock on the head.

    Attributes:
        events: the log.
        tables: the views.
        nursery: for what the database does on its own.
        grown: set, and replaced, by each commit.
        unfinished: the import that the head waits for.
        last_runs: the last backup and the last verification.
        uploads: when each receipt of an upload ends, by principal, package and content.
        store_id: the random id of the database.
        token_store_id: the store id that the digests of its tokens belong to.
        on_commit: called with the events of each commit, once everybody sees them.
    """

    def __init__(self, world: World, nursery: trio.Nursery) -> None:
        self.events: list[StoredEvent] = []
        self.tables = Tables()
        self._world = world
        self.nursery = nursery
        self.grown = trio.Event()
        self.unfinished: UnfinishedImport | None = None
        self.last_runs: dict[RunKind, LastRun] = {}
        self.uploads: dict[tuple[str, str, bytes], int] = {}
        self.store_id = uuid7(world.now_us() // 1000, 0)
        self.token_store_id = self.store_id
        self.on_commit: Callable[[Sequence[StoredEvent]], None] = lambda _: None
        self._head = trio.Semaphore(1)
        self._commands: dict[str, list[StoredEvent]] = {}
        self._keys: dict[str, str] = {}

    def head(self) -> int:
        """The last sequence."""
        return self.events[-1].sequence if self.events else 0

    def head_is_free(self) -> bool:
        """Whether nobody holds the head."""
        return self._head.value == 1

    async def lock_head(self) -> None:
        """Wait for the head, and hold it.

        Raises:
            DatabaseBusy: somebody else holds it for too long.
        """
        with trio.move_on_after(_LOCK_TIMEOUT_S) as waiting:
            await self._head.acquire()
        if waiting.cancelled_caught:
            raise DatabaseBusy(NAME, "the head of the log is locked")

    def release_head(self) -> None:
        """Let others have the head."""
        self._head.release()

    def known(self, requests: Sequence[CommandRequest]) -> list[StoredEvent]:
        """What commands wrote that have the id or the idempotency key of one of these."""
        ids = {request.command_id for request in requests}
        ids |= {self._keys[request.idempotency_key] for request in requests if request.idempotency_key in self._keys}
        return [stored for command_id in ids for stored in self._commands.get(command_id, [])]

    def append(self, events: Sequence[StoredEvent], operations: Iterable[RowOperation]) -> None:
        """Commit: from here on it is durable, and everybody sees it."""
        for stored in events:
            stamp = stored.event.command
            self.events.append(stored)
            self._commands.setdefault(stamp.command_id, []).append(stored)
            if stamp.idempotency_key is not None:
                self._keys[stamp.idempotency_key] = stamp.command_id
            self._world.trace.note("commit", stored.sequence, stored.event.type, stored.event.principal)
        self.tables.apply(operations)
        self.on_commit(events)
        self.grown.set()
        self.grown = trio.Event()

    def append_late(self, seconds: float, events: Sequence[StoredEvent], operations: Sequence[RowOperation]) -> None:
        """Commit a while later, for a connection that is gone, and let the head go then."""

        async def land() -> None:
            await trio.sleep(seconds)
            self.append(events, operations)
            self.release_head()

        self.nursery.start_soon(land)
