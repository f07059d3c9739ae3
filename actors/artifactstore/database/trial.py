"""A log on trial: held to the rules of a log, event by event, before any of it is written to a store.

What the events add up to is kept in a database without a name, which is gone when the trial is over. SQLite holds some
megabytes of it in memory and the rest in the temporary directory, so a log may be as long as it likes. Payloads are not
kept.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Self

from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from artifactstore.database import events
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.asyncio_thread import AsyncioThread
from artifactstore.database.engines import nameless_engine
from artifactstore.database.schema import LIVE, METADATA
from artifactstore.database.schema import events as table
from artifactstore.database.translation import translated
from artifactstore.database.views import TableViewWriter
from artifactstore_protocols.events import EventRefused, StoredEvent

__all__ = ["LogTrial"]

_NAME = "of temporary files"


class LogTrial:
    """One log on trial; `opened` makes one.

    Attributes:
        sequence: the last event that was found to keep the rules.
    """

    def __init__(self, thread: AsyncioThread, connection: AsyncConnection) -> None:
        self._thread = thread
        self._connection = connection
        self.sequence = 0

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncGenerator[Self]:
        """A trial for the block.

        Raises:
            DatabaseUnavailable: there is no room for it.
        """
        engine = nameless_engine()
        thread = AsyncioThread("artifactstore-trial")

        async def begin() -> AsyncConnection:
            with translated(_NAME):
                connection = await engine.connect()
                await connection.run_sync(METADATA.create_all)
                await connection.commit()
                return connection

        thread.start()
        try:
            yield cls(thread, await thread.run(begin, leave_on_cancel=False))
        finally:
            await thread.stop(engine.dispose)

    async def take(self, batch: Sequence[StoredEvent]) -> None:
        """Hold the next events of the log to the rules.

        Raises:
            UnknownEventType: a newer release wrote one of them.
            EventRefused: one of them breaks a rule. The trial is of no more use then.
            DatabaseUnavailable: there is no room for what they add up to.
        """
        if batch:
            await self._thread.run(lambda: self._take(batch), leave_on_cancel=True)

    async def _take(self, batch: Sequence[StoredEvent]) -> None:
        connection = self._connection
        views = TableViewWriter(connection, LIVE)
        with translated(_NAME):
            operations = await events.admitted(connection, batch, views)
            transaction = events.Transaction(connection, self.sequence)
            try:
                await events.write_all(
                    transaction, [replace(stored.event, payload=b"") for stored in batch], operations
                )
            except IntegrityError:
                raise await self._taken(batch) from None
            await connection.commit()
        self.sequence = transaction.sequence

    async def _taken(self, batch: Sequence[StoredEvent]) -> EventRefused:
        """Which event has the id or the idempotency key of another one."""
        ids, keys = set[str](), set[str]()
        refused = batch[-1]
        for stored in batch:
            event_id, key = stored.event.event_id, stored.event.command.idempotency_key
            taken = table.c.event_id == event_id
            if key is not None:
                taken |= table.c.idempotency_key == key
            before = select(table.c.sequence).where(table.c.sequence <= self.sequence, taken)
            there = (await self._connection.execute(before)).first()
            if there is not None or event_id in ids or key in keys:
                refused = stored
                break
            ids.add(event_id)
            keys |= set() if key is None else {key}
        reason = "an event before has the same event id or idempotency key"
        return EventRefused(refused.sequence, refused.event.type, reason)
