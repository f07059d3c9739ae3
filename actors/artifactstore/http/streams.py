"""Streams of the log as server-sent events: from any sequence on, in order and each event once, then live.

The id of each event is its sequence, so a browser that reconnects continues after its last event (`Last-Event-ID`).
Each stream reads the log at the pace of its client. The number of streams is limited, and all end when the service
stops.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import cast

import trio

from artifactstore.history import history_entry
from artifactstore.http.api.sending import RECHECK_S
from artifactstore.http.package_facts import package_facts
from artifactstore.json_output import Json, json_text, to_json
from artifactstore.supervision import ActorRef
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_types import UnknownEventType
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.messages import OpenTail, ProjectionRole, Stream
from artifactstore_protocols.records import HistoryEntry
from artifactstore_protocols.supervision import ActorStopped, AskError

__all__ = ["STREAMS_MAX", "EventStreams", "Message", "page_message"]

STREAMS_MAX = 32
"""Maximum number of open streams. One holder has half of them at most, so nobody keeps all others out."""

_HEARTBEAT_S = 15.0
_AGAIN_AFTER_MS = 2000
_STILL_HERE = b": still here\n\n"


type Message = Callable[[StoredEvent], Awaitable[bytes]]
"""Returns what a stream sends for an event; nothing for an event that its client may not see."""


async def page_message(stored: StoredEvent) -> bytes:
    """Return an event as the page shows it."""
    return _message(stored)


class EventStreams:
    """All streams of one server.

    Args:
        projection: the actor that opens tails of the log.
    """

    def __init__(self, projection: ActorRef[ProjectionRole]) -> None:
        self._projection = projection
        self._tails: set[Stream[StoredEvent]] = set()
        self._taken = Counter[str]()
        self._ended = False

    @property
    def open(self) -> int:
        """Return the number of open streams."""
        return self._taken.total()

    def take(self, holder: str) -> bool:
        """Reserve a place for a stream; return False if there is none. The caller must call `give_back` at the end.

        Args:
            holder: the principal for whom the stream is.
        """
        if self._ended or self.open >= STREAMS_MAX or self._taken[holder] >= STREAMS_MAX // 2:
            return False
        self._taken[holder] += 1
        return True

    def give_back(self, holder: str) -> None:
        """Release a place that `take` reserved."""
        self._taken[holder] -= 1
        if not self._taken[holder]:
            del self._taken[holder]

    def end(self) -> None:
        """End every stream, and reject new ones."""
        self._ended = True
        for tail in tuple(self._tails):
            tail.close()

    async def follow(
        self, since: int, recheck: Callable[[], Awaitable[object]], message: Message = page_message
    ) -> AsyncGenerator[bytes]:
        """Yield the events after `since` as server-sent events, until the client leaves or the service stops.

        Args:
            since: a sequence.
            recheck: raises an error once the client may see no more, which ends the stream before its next event.
            message: returns what an event is for the client.
        """
        yield f"retry: {_AGAIN_AFTER_MS}\n\n".encode()
        sent_at = checked_at = trio.current_time()
        while not self._ended:
            tail = await self._open(since)
            if tail is None:
                return  # the client reconnects, and continues after its last event
            try:
                while True:
                    stored = await _next(tail, sent_at + _HEARTBEAT_S)
                    if trio.current_time() - checked_at >= RECHECK_S:
                        await recheck()
                        checked_at = trio.current_time()
                    part = b"" if stored is None else await message(stored)
                    # Events that the client does not see keep no connection alive.
                    if part or trio.current_time() >= sent_at + _HEARTBEAT_S:
                        yield part or _STILL_HERE
                        sent_at = trio.current_time()
                    since = since if stored is None else stored.sequence
            except ActorStopped:
                continue  # the projection actor restarted; the next tail continues after `since`
            except (trio.ClosedResourceError, ArtifactStoreError):
                return
            finally:
                self._tails.discard(tail)
                tail.close()

    async def _open(self, since: int) -> Stream[StoredEvent] | None:
        try:
            tail = await self._projection.ask(OpenTail(since))
        except AskError:
            return None
        self._tails.add(tail)
        return tail


async def _next(tail: Stream[StoredEvent], until: float) -> StoredEvent | None:
    """Return the next event; None if there is none until then, since a proxy may close an idle connection."""
    with trio.move_on_at(until):
        return await anext(tail)
    return None


def _message(stored: StoredEvent) -> bytes:
    event, facts = stored.event, None
    try:
        entry, facts = history_entry(stored), package_facts(stored)
    except UnknownEventType as unknown:  # events of unknown types are sent too
        entry = HistoryEntry(
            stored.sequence, event.recorded_at_us, event.principal, event.type, event.subject, detail=str(unknown)
        )
    shown = cast("Mapping[str, Json]", to_json(entry))
    message = {**shown, "command_id": event.command.command_id, "package": facts}
    return f"id: {stored.sequence}\ndata: {json_text(message)}\n\n".encode()
