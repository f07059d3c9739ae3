"""For tests of the log on real databases: a writer whose ids and clock are the same in every run, and sharp tools."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count

import trio
from sqlalchemy import Executable

from artifactstore.database import events
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.asyncio_thread import AsyncioThread
from artifactstore.database.database import Database
from artifactstore.database.engines import writer_engine
from artifactstore.database.location import DatabaseLocation
from artifactstore_protocols.commands import Command, CommandRequest
from artifactstore_protocols.event_store import CommandOutcome, EventStore
from artifactstore_protocols.events import CommandStamp, Committed, Event, StoredEvent
from command_strategies import Ids
from memory_log import FILES_PER_PACKAGE_MAX

__all__ = ["ACTOR", "EPOCH_US", "Gate", "Scribe", "by_hand", "event", "opened", "surgery", "whole_log"]

ACTOR = "ci"
EPOCH_US = 1_000_000


class Scribe:
    """Sends commands to a store, with ids and a clock that a second run repeats.

    The clock reads `EPOCH_US` + 1 for the first command that writes events, + 2 for the next: as `MemoryLog` has it.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._ids = Ids()
        self._log_ids = Ids(1 << 40)
        self._clock = count(EPOCH_US + 1)

    def ask(self, command: Command, *, key: str | None = None, command_id: str | None = None) -> CommandRequest:
        """A request that may be sent more than once."""
        return CommandRequest(command_id or f"f{self._ids()[1:]}", command, ACTOR, key)

    async def send(
        self, *requests: CommandRequest, files_per_package_max: int = FILES_PER_PACKAGE_MAX
    ) -> Sequence[CommandOutcome]:
        """Commit requests as one batch."""
        return await self._store.commit(
            requests,
            now_us=lambda: next(self._clock),
            new_id=self._log_ids,
            files_per_package_max=files_per_package_max,
        )

    async def tell(self, *commands: Command) -> list[Committed]:
        """Commit commands as one batch, in which none is refused."""
        outcomes = await self.send(*(self.ask(command) for command in commands))
        committed = [outcome for outcome in outcomes if isinstance(outcome, Committed)]
        assert len(committed) == len(commands), outcomes
        return committed


class Gate:
    """A place on a database's thread where work stops until the test opens it."""

    def __init__(self) -> None:
        self._arrived = threading.Event()
        self._open = threading.Event()

    async def stop_here(self) -> None:
        """Called by the work."""
        self._arrived.set()
        await asyncio.to_thread(self._open.wait)

    async def arrival(self) -> None:
        """Wait, in trio, until somebody has stopped here."""
        await trio.to_thread.run_sync(self._arrived.wait)

    def open(self) -> None:
        """Let everybody through, now and later."""
        self._open.set()


@asynccontextmanager
async def opened(location: DatabaseLocation, *, lock_timeout_s: float = 30.0) -> AsyncGenerator[Database]:
    """A database, open."""
    database = Database(location, lock_timeout_s=lock_timeout_s)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


class Hand:
    """Somebody who works on a database, unknown to the processes that have it open."""

    def __init__(self, location: DatabaseLocation, thread: AsyncioThread) -> None:
        self._thread = thread
        self._engine = writer_engine(location)

    async def work[T](self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do something in one transaction."""

        async def operate() -> T:
            async with self._engine.begin() as connection:
                return await work(connection)

        return await self._thread.run(operate, abandon_on_cancel=False)

    async def execute(self, *statements: Executable) -> None:
        """Run statements in one transaction."""

        async def run(connection: AsyncConnection) -> None:
            for statement in statements:
                await connection.execute(statement)

        await self.work(run)

    async def leave(self) -> None:
        """Close the connections."""
        await self._thread.run(self._engine.dispose, abandon_on_cancel=False)


@asynccontextmanager
async def hand(location: DatabaseLocation) -> AsyncGenerator[Hand]:
    """One hand for many transactions, which need not connect again."""
    if location.path is not None:
        location.path.parent.mkdir(parents=True, exist_ok=True)
    thread = AsyncioThread("by-hand")
    thread.start()
    try:
        found = Hand(location, thread)
        try:
            yield found
        finally:
            await found.leave()
    finally:
        await thread.stop()


async def by_hand[T](location: DatabaseLocation, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Do something in one transaction, unknown to the processes that have the database open."""
    async with hand(location) as found:
        return await found.work(work)


async def surgery(location: DatabaseLocation, *statements: Executable) -> None:
    """Run statements by hand, in one transaction."""
    async with hand(location) as found:
        await found.execute(*statements)


async def whole_log(database: Database) -> Sequence[StoredEvent]:
    """Every event, in order."""
    return await database.read(lambda connection: events.read(connection, after=0, limit=1_000_000, bytes_max=1 << 30))


def event(
    event_id: str, *, payload: bytes = b"\xa0", event_type: str = "v1.package.created", principal: str = ACTOR
) -> Event:
    """An event that only the log looks at."""
    return Event(event_id, event_type, "subject", principal, EPOCH_US, payload, CommandStamp(event_id))
