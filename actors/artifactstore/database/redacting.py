"""The transaction that redacts a text: it replaces payloads, appends events that say so, and projects the log again.

It holds the head of the log, reads the whole log, and then replays it into temporary tables, as `replay` does. So every
later event is judged again with the substitutes, and the tables are what the redacted log implies. If an event would
not be allowed any more, nothing is changed. Other writers wait meanwhile.

An open package is not redacted: an ingest or a finalization may have read it before, and would bring the text back.
"""

from collections.abc import AsyncIterator
from itertools import batched

from msgspec import Struct, field
from sqlalchemy import select, update

from artifactstore.database import events, replay
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.events import Transaction
from artifactstore.database.schema import LIVE
from artifactstore.database.schema import events as table
from artifactstore.database.shadow import SHADOW, TEMPORARY
from artifactstore.database.views import TableViewWriter
from artifactstore_protocols.event_types import (
    ENTRIES_RELEASED,
    FILES_INGESTED,
    EntriesReleased,
    FilesIngested,
    PayloadsRedacted,
    encode_payload,
    type_of,
)
from artifactstore_protocols.event_types.payloads_redacted import REDACTED_MAX
from artifactstore_protocols.events import CommandStamp, Event, EventRefused, StoredEvent, digest_of_payload
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.ids import event_id_of, is_id
from artifactstore_protocols.redaction import (
    OpenPackages,
    RedactionImpossible,
    RedactionReport,
    RedactionRequest,
    RedactionUnconfirmed,
    UnredactedEvent,
    released_as,
    remaining_in,
    substitute_of,
)
from artifactstore_protocols.unfinished_import import admit_command
from artifactstore_protocols.views import PACKAGES

__all__ = ["is_pending", "project_again", "put_substitute", "redact"]

_READ_EVENTS = 500
_READ_BYTES = 2 << 20
_LEFT_NAMED = 100
_OPEN_NAMED = 10
_LOOKED_UP = 500  # packages in one statement


async def redact(
    transaction: Transaction, request: RedactionRequest, *, now_us: int, command_id: str
) -> RedactionReport:
    """Redact a text; see `EventStore.redact`. After an error, the caller must roll back."""
    admit_command(transaction.unfinished, transaction.sequence)
    redaction = _Redaction(transaction, request, max(now_us, transaction.recorded_at_us), command_id)
    await redaction.run()
    if redaction.events:
        if opened := await _opened(transaction.connection, redaction.packages):
            raise OpenPackages(tuple(opened[:_OPEN_NAMED]), len(opened))
        if request.confirm_events != redaction.events:
            raise RedactionUnconfirmed(redaction.events, len(redaction.packages))
        try:
            await project_again(transaction.connection)
        except EventRefused as refused:
            raise RedactionImpossible(refused.sequence, refused.reason) from refused
    return RedactionReport(
        mark=request.replaced.mark,
        events=redaction.events,
        packages=len(redaction.packages),
        sequence=transaction.sequence,
        left=tuple(redaction.left),
        left_events=redaction.left_events,
    )


async def _opened(connection: AsyncConnection, package_ids: set[str]) -> list[str]:
    """Return those of the packages that are open."""
    packages, opened = LIVE[PACKAGES], list[str]()
    for ids in batched(sorted(package_ids), _LOOKED_UP):
        is_open = packages.c.package_id.in_(ids) & (packages.c.status == "open")
        opened += (await connection.execute(select(packages.c.package_id).where(is_open))).scalars()
    return opened


async def put_substitute(connection: AsyncConnection, sequence: int, payload: bytes, redacted_by: int) -> None:
    """Replace the payload of an event."""
    values = {"payload": payload, "redacted_by": redacted_by, "substitute_digest": digest_of_payload(payload)}
    await connection.execute(update(table).where(table.c.sequence == sequence).values(values))


async def is_pending(transaction: Transaction) -> bool:
    """Return whether the log holds a substitute whose redacting event an import has still to bring."""
    pending = select(table.c.sequence).where(table.c.redacted_by > transaction.sequence).limit(1)
    return (await transaction.connection.execute(pending)).first() is not None


async def project_again(connection: AsyncConnection, *, is_whole: bool = True) -> None:
    """Replay the log in a writer's transaction, and repair the live tables.

    Raises:
        EventRefused: an event is not allowed at its place.
    """
    await connection.run_sync(TEMPORARY.create_all, checkfirst=False)
    await events.replay(connection, into=TableViewWriter(connection, SHADOW), is_whole=is_whole)
    await replay.repair(connection)
    await connection.run_sync(TEMPORARY.drop_all, checkfirst=False)


class _Redaction(Struct):
    """One redaction while it runs.

    Attributes:
        events: the number of events that have a substitute.
        packages: the ids of the packages that these events are about.
        left: events that still contain the text, at most 100 of them.
        left_events: the number of all of these.
    """

    transaction: Transaction
    request: RedactionRequest
    at_us: int
    command_id: str
    events: int = 0
    packages: set[str] = field(default_factory=set[str])
    left: list[UnredactedEvent] = field(default_factory=list[UnredactedEvent])
    left_events: int = 0
    _filled: set[str] = field(default_factory=set[str])
    _named: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    _appended: int = 0

    async def run(self) -> None:
        """Put the substitutes, and append the events that name them."""
        replaced, last = self.request.replaced, self.transaction.sequence
        async for stored in self._events(last):
            substitute = substitute_of(stored, replaced)
            if substitute is not None:
                await self._put(stored, substitute)
                if stored.event.type == FILES_INGESTED.name:
                    self._filled.add(stored.event.subject)
            payload: bytes | None = stored.event.payload if substitute is None else substitute
            if stored.event.type == ENTRIES_RELEASED.name:
                payload = None  # it gets its substitute below
            if (left := remaining_in(stored, payload, replaced)) is not None:
                self.left_events += 1
                self.left += [left] if len(self.left) < _LEFT_NAMED else []
        await self._append()
        for package_id in sorted(self._filled):
            await self._redact_releases(package_id, last)
        await self._append()

    async def _redact_releases(self, package_id: str, last: int) -> None:
        """Name the path keys that were released where a range of keys would mean other entries."""
        if not await self._was_released(package_id):
            return
        replaced = self.request.replaced
        held = dict[str, str]()  # by the path key as it was before, the one that it is now
        async for stored in self._events(last, subject=package_id):
            payload = stored.decode()
            if isinstance(payload, FilesIngested):
                for key in payload.removed:
                    held.pop(replaced.original(key), None)
                held.update((replaced.original(key), key) for key in payload.path_keys)
            elif isinstance(payload, EntriesReleased):
                first, end = payload.first, payload.last
                released = [key for key in held if (key in payload.keys if payload.keys else first <= key <= end)]
                in_range = {key for key in held.values() if first <= key <= end}
                same = in_range == {held[key] for key in released} and not payload.keys
                if not same or replaced.is_in(stored.event.payload):
                    await self._put(stored, released_as(payload, released, replaced))
                for key in released:
                    del held[key]

    async def _was_released(self, package_id: str) -> bool:
        of_package = (table.c.subject == package_id) & (table.c.type == ENTRIES_RELEASED.name)
        found = await self.transaction.connection.execute(select(table.c.sequence).where(of_package).limit(1))
        return found.first() is not None

    async def _events(self, last: int, subject: str | None = None) -> AsyncIterator[StoredEvent]:
        after = 0
        while batch := await events.read(
            self.transaction.connection, after=after, limit=_READ_EVENTS, bytes_max=_READ_BYTES, subject=subject
        ):
            for stored in batch:
                after = stored.sequence
                if after > last:
                    return
                yield stored

    async def _put(self, stored: StoredEvent, substitute: bytes) -> None:
        """Put a substitute, to be named by the next redacting event."""
        await put_substitute(self.transaction.connection, stored.sequence, substitute, self.transaction.sequence + 1)
        self._named.append((stored.sequence, ContentAddress.parse(digest_of_payload(substitute)).digest.raw))
        self.events += 1
        if is_id(stored.event.subject):
            self.packages.add(stored.event.subject)
        if len(self._named) == REDACTED_MAX:
            await self._append()

    async def _append(self) -> None:
        """Append the event that names the substitutes since the last one."""
        if not self._named:
            return
        payload = PayloadsRedacted(tuple(sorted(self._named)), self.request.reason)
        event = Event(
            event_id=event_id_of(self.command_id, self._appended),
            type=type_of(payload).name,
            subject=type_of(payload).subject(payload),
            principal=self.request.principal,
            recorded_at_us=self.at_us,
            payload=encode_payload(payload),
            command=CommandStamp(self.command_id),
        )
        await events.write_all(self.transaction, (event,))
        self._named.clear()
        self._appended += 1
