"""Handlers that read the log: what is there now as JSON Lines, or what comes too as server-sent events.

A token sees the events of packages that it may read. The other events are about the store as a whole, such as those of
objects, which name contents of all packages. Only a token with the scope `admin` sees them.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import partial
from http import HTTPStatus
from typing import Annotated, Final, NamedTuple, cast

from msgspec import Meta

from artifactstore.environment import in_thread
from artifactstore.http.api.model import EVENT_STREAM, JSON_LINES, Call, FreshQuery, RawReply
from artifactstore.http.api.problems import Problem
from artifactstore.http.api.sending import Places, while_allowed, while_connected
from artifactstore.http.shortcut import HEADERS, Receive, Scope, Send
from artifactstore.json_output import Json, event_to_json, json_text
from artifactstore.registry import event_store
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import EVENT_TYPES, PACKAGE_CREATED, PackageCreated, UnknownEventType
from artifactstore_protocols.events import SEQUENCE_MAX, StoredEvent, parse_sequence
from artifactstore_protocols.ids import is_id
from artifactstore_protocols.packages import PackageNotFound

__all__ = ["LINES_MAX", "EventsQuery", "events_seen", "list_events"]

_PAGE: Final = 500
_NAMES_KEPT: Final = 1000
_LARGE_BYTES: Final = 64 << 10
"""A larger payload, such as a manifest, is put into JSON by a thread. A batch of events ends when it has as much."""

_PART_BYTES: Final = 256 << 10

LINES_MAX: Final = 8
"""The most answers in JSON Lines that are sent at once. Each holds a page of the log and a part of its answer."""

_lines = Places(LINES_MAX)  # of the process, whose memory they bound

_STREAM_HEADERS: Final = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
_LAST_ID: Final = "last-event-id"
_PARENTS: Final = "parents"
_STORED_BYTES: Final = "stored_bytes"


class EventsQuery(FreshQuery, frozen=True, forbid_unknown_fields=True):
    """Which events to list."""

    after: Annotated[
        int, Meta(ge=0, le=SEQUENCE_MAX, description="Events after this sequence. `Last-Event-ID` comes first.")
    ] = 0
    type: Annotated[tuple[str, ...], Meta(description="Events of this type, such as `v1.package.finalized`.")] = ()
    package: Annotated[str | None, Meta(description="Events of this package.")] = None
    limit: Annotated[
        int, Meta(ge=1, le=10_000, description="The most events of an answer in JSON Lines; a stream has no end.")
    ] = 1000


async def list_events(call: Call, query: EventsQuery) -> RawReply:
    """Answer with events of the log."""
    last = call.headers.get(_LAST_ID)
    after = query.after if last is None else parse_sequence(last)
    if after is None:
        raise InvalidValue("Last-Event-ID", (last or "")[:60], f"a whole number from 0 to {SEQUENCE_MAX}")
    if unknown := [each for each in query.type if each not in EVENT_TYPES]:
        raise InvalidValue("event type", unknown[0][:60], "use one that the manual lists, such as v1.package.created")
    package_id = None
    if query.package is not None:
        package_id = (await event_store(call.registry).find_package(query.package, within=call.within)).package_id
    sight = _Sight(call, frozenset(query.type), package_id)
    if call.media_type == JSON_LINES:
        return _once(call, sight, after, query.limit)
    return _stream(call, sight, after)


async def events_seen(call: Call, batch: Sequence[StoredEvent]) -> Sequence[StoredEvent]:
    """Return those of some events that the token of a request may see. Few enough for a page: each is decoded."""
    return await _Sight(call, frozenset(), None).seen(batch)


class _Sight:
    """What one request sees of the log."""

    def __init__(self, call: Call, types: frozenset[str], package_id: str | None) -> None:
        self._store = event_store(call.registry)
        self._grant = call.grant
        self._types, self._package_id = types, package_id
        self._names = OrderedDict[str, str]()

    async def seen(self, batch: Sequence[StoredEvent]) -> Sequence[StoredEvent]:
        """Return events without those that the request does not see or this release does not know."""
        wanted = [each for each in batch if not self._types or each.event.type in self._types]
        sees_all = self._grant.allows("admin")
        known = await _converted(wanted, lambda: [(each, found) for each in wanted if (found := _facts_of(each))])
        return [each for each, facts in known if await self._sees(facts, sees_all=sees_all)]

    async def texts_of(self, batch: Sequence[StoredEvent]) -> Sequence[str]:
        """Return events as JSON, without those that `seen` leaves out."""
        sees_all = self._grant.allows("admin")
        seen = await self.seen(batch)
        shown = await _converted(seen, lambda: [found for each in seen if (found := _shown(each, whole=sees_all))])
        if not sees_all:
            shown = [await self._with_parents_seen(each) for each in shown]
        return await _converted(seen, lambda: [json_text(each) for each in shown])

    async def _with_parents_seen(self, shown: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return an event without the parents that the token may not read, also in the package of a manifest."""
        payload = shown["payload"]
        if not isinstance(payload, Mapping):
            return shown
        kept = dict(payload)
        if isinstance(parents := payload.get(_PARENTS), Mapping):
            kept[_PARENTS] = await self._seen_of(parents)
        package = payload.get("package")
        if isinstance(package, Mapping) and isinstance(parents := package.get(_PARENTS), Mapping):
            kept["package"] = {**package, _PARENTS: await self._seen_of(parents)}
        return {**shown, "payload": kept}

    async def _seen_of(self, parents: Mapping[str, Json]) -> Mapping[str, Json]:
        seen = dict[str, Json]()
        for package_id, digest in parents.items():
            name = await self._name_of(package_id, None)
            if name is not None and self._grant.allows("read", name):
                seen[package_id] = digest
        return seen

    async def _sees(self, facts: "_Facts", *, sees_all: bool) -> bool:
        if self._package_id not in {None, facts.package_id}:
            return False
        if sees_all:
            return True
        name = None if facts.package_id is None else await self._name_of(facts.package_id, facts.created_name)
        return name is not None and self._grant.allows("read", name)

    async def _name_of(self, package_id: str, created_name: str | None) -> str | None:
        """Return the name of a package, which never changes; None if there is no such package."""
        if package_id not in self._names:
            if created_name is not None:
                self._names[package_id] = created_name
            else:
                with suppress(PackageNotFound):  # then it has no name, and no token sees it
                    self._names[package_id] = (await self._store.package(package_id)).name
            if len(self._names) > _NAMES_KEPT:
                self._names.popitem(last=False)
        return self._names.get(package_id)


class _Facts(NamedTuple):
    """Of which package an event is, None for the store as a whole; and its name, if the event creates it."""

    package_id: str | None
    created_name: str | None


async def _converted[T](batch: Sequence[StoredEvent], work: Callable[[], T]) -> T:
    """Run what decodes events: in a thread, unless it is one small event. Others wait for the event loop meanwhile."""
    is_small = len(batch) <= 1 and all(len(each.event.payload) <= _LARGE_BYTES for each in batch)
    return work() if is_small else await in_thread(work)


def _batches(page: Sequence[StoredEvent]) -> Generator[Sequence[StoredEvent]]:
    """Divide a page by the bytes of its payloads, so that no batch needs a thread, or memory, for long."""
    batch: list[StoredEvent] = []
    size = 0
    for each in page:
        batch.append(each)
        size += len(each.event.payload)
        if size >= _LARGE_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _facts_of(stored: StoredEvent) -> _Facts | None:
    """Return what decides who sees an event; None for one of a type that this release does not know."""
    subject = stored.event.subject
    creates = stored.event.type == PACKAGE_CREATED.name
    if is_id(subject) and not creates:
        return _Facts(subject, None)
    try:
        payload = stored.decode()
    except UnknownEventType:
        return None
    package_id = subject if is_id(subject) else getattr(payload, "package_id", None)
    return _Facts(package_id, payload.name if isinstance(payload, PackageCreated) else None)


def _shown(stored: StoredEvent, *, whole: bool) -> Mapping[str, Json] | None:
    try:
        shown = cast("Mapping[str, Json]", event_to_json(stored))
    except UnknownEventType:
        return None
    return shown if whole else _without_deduplication(shown)


def _without_deduplication(shown: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return an event without the bytes that it stored: they tell which contents other packages had before."""
    payload = shown["payload"]
    if not isinstance(payload, Mapping) or not isinstance(totals := payload.get("totals"), Mapping):
        return shown
    kept = {key: value for key, value in totals.items() if key != _STORED_BYTES}
    return {**shown, "payload": {**payload, "totals": kept}}


def _once(call: Call, sight: _Sight, after: int, limit: int) -> RawReply:
    """Return an answer with the events that there are now, one a line. It reads the log page by page."""

    async def lines() -> AsyncGenerator[bytes]:
        left, at = limit, after
        held = bytearray()
        while left and (page := await call.registry.read_events(at, limit=_PAGE)):
            for batch in _batches(page):
                texts = (await sight.texts_of(batch))[:left]
                left -= len(texts)
                for text in texts:
                    held += f"{text}\n".encode()
                    while len(held) >= _PART_BYTES:
                        yield bytes(held[:_PART_BYTES])
                        del held[:_PART_BYTES]
                if not left:
                    break
            at = page[-1].sequence
        yield bytes(held)

    async def work(send: Send) -> None:
        async with _lines.taken(call.principal), aclosing(lines()) as found:
            await _send_all(call, while_allowed(send, call.recheck), JSON_LINES, {}, found)

    return _while_connected(work)


def _stream(call: Call, sight: _Sight, after: int) -> RawReply:
    """Return an answer with all events as they come, until the client leaves or the service stops."""

    async def message(stored: StoredEvent) -> bytes:
        texts = await sight.texts_of([stored])
        return "".join(f"id: {stored.sequence}\ndata: {text}\n\n" for text in texts).encode()

    async def work(send: Send) -> None:
        if not call.streams.take(call.principal):
            detail = "As many streams are open as may be; ask again later."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_streams", detail)
        try:
            async with aclosing(call.streams.follow(after, call.recheck, message)) as parts:
                await _send_all(call, send, EVENT_STREAM, _STREAM_HEADERS, parts)
        finally:
            call.streams.give_back(call.principal)

    return _while_connected(work)


def _while_connected(work: Callable[[Send], Awaitable[None]]) -> RawReply:
    """Return an answer that `work` sends, and that ends when the client goes: its place is then free at once."""

    async def send_all(_scope: Scope, receive: Receive, send: Send) -> None:
        await while_connected(receive, partial(work, send))

    return send_all


async def _send_all(
    call: Call, send: Send, media_type: str, more: Mapping[str, str], parts: AsyncIterator[bytes]
) -> None:
    await _begin(send, media_type, more)
    if not call.is_head:
        async for part in parts:
            if part:
                await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _begin(send: Send, media_type: str, more: Mapping[str, str]) -> None:
    headers = {"Content-Type": media_type, **HEADERS, **more}
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": HTTPStatus.OK.value, "headers": encoded})
