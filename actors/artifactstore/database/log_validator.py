"""The admission check of a whole log, event by event, before any event is written to a store.

The check builds the projections in an unnamed SQLite database that is deleted afterwards. SQLite keeps up to 16 MB of
it in memory and the rest in the temporary directory, so the length of the log is not limited by memory. Payloads are
not kept.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Self

from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from artifactstore.database import events
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.asyncio_thread import AsyncioThread
from artifactstore.database.collectable import object_states
from artifactstore.database.engines import nameless_engine
from artifactstore.database.schema import LIVE, METADATA
from artifactstore.database.schema import events as table
from artifactstore.database.translation import translated
from artifactstore.database.views import TableViewWriter
from artifactstore_protocols.events import Event, EventRefused, StoredEvent
from artifactstore_protocols.state import ObjectState
from artifactstore_protocols.storage import Place

__all__ = ["LogValidator"]

_NAME = "of temporary files"


class LogValidator:
    """The check of one log. Create it with `opened`.

    Attributes:
        sequence: the last event that passed the check; 0 before the first.
    """

    def __init__(self, thread: AsyncioThread, connection: AsyncConnection) -> None:
        self._thread = thread
        self._connection = connection
        self.sequence = 0

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncGenerator[Self]:
        """Open a validator for the block.

        Raises:
            DatabaseUnavailable: there is no room for its database.
        """
        engine = nameless_engine()
        thread = AsyncioThread("artifactstore-validator")

        async def begin() -> AsyncConnection:
            with translated(_NAME):
                connection = await engine.connect()
                await connection.run_sync(METADATA.create_all)
                await connection.commit()
                return connection

        thread.start()
        try:
            yield cls(thread, await thread.run(begin, abandon_on_cancel=False))
        finally:
            await thread.stop(engine.dispose)

    async def validate(self, batch: Sequence[StoredEvent]) -> None:
        """Check the next events of the log.

        Raises:
            UnknownEventType: a newer release wrote one of the events.
            EventRefused: an event breaks a rule. The validator cannot be used afterwards.
            DatabaseUnavailable: there is no room for the projections.
        """
        if batch:
            await self._thread.run(lambda: self._validate(batch), abandon_on_cancel=True)

    async def finish(self) -> None:
        """Check that the log, which has passed to its end, holds the event that redacts each redacted one.

        Raises:
            EventRefused: a redacting event is missing.
        """

        async def look() -> None:
            with translated(_NAME):
                await events.check_redactions(self._connection)

        await self._thread.run(look, abandon_on_cancel=True)

    async def object_states(self, places: Sequence[Place]) -> Mapping[Place, ObjectState]:
        """Return the states of those of the places that the log names, after the events that passed the check."""

        async def look() -> Mapping[Place, ObjectState]:
            with translated(_NAME):
                return await object_states(self._connection, places)

        return await self._thread.run(look, abandon_on_cancel=True)

    async def _validate(self, batch: Sequence[StoredEvent]) -> None:
        connection = self._connection
        views = TableViewWriter(connection, LIVE)
        with translated(_NAME):
            operations = await events.admitted(connection, batch, views)
            transaction = events.Transaction(connection, self.sequence)
            try:
                await events.write_all(transaction, [_without_payload(stored.event) for stored in batch], operations)
            except IntegrityError:
                if (refused := await self._duplicate(batch)) is None:
                    raise
                raise refused from None
            await connection.commit()
        self.sequence = transaction.sequence

    async def _duplicate(self, batch: Sequence[StoredEvent]) -> EventRefused | None:
        """Return the refusal of the first event in `batch` whose event id or idempotency key is already used."""
        ids, keys = set[str](), set[str]()
        for stored in batch:
            event_id, key = stored.event.event_id, stored.event.command.idempotency_key
            taken = table.c.event_id == event_id
            if key is not None:
                taken |= table.c.idempotency_key == key
            before = select(table.c.sequence).where(table.c.sequence <= self.sequence, taken)
            there = (await self._connection.execute(before)).first()
            if there is not None or event_id in ids or key in keys:
                reason = "an earlier event has the same event id or idempotency key"
                return EventRefused(stored.sequence, stored.event.type, reason)
            ids.add(event_id)
            keys |= set() if key is None else {key}
        return None


def _without_payload(event: Event) -> Event:
    """Return an event without its payload. A redacted one keeps its substitute, whose digest is compared later."""
    return event if event.redacted_by is not None else replace(event, payload=b"")
