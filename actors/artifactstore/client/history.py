"""Methods of the client that read the log."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

import httpx
import msgspec

from artifactstore.arguments import checked
from artifactstore.client.base import ServiceCalls, package_path
from artifactstore.client.errors import AnswerRefused, NotRemote
from artifactstore.client.service import Attempts, Busy, received
from artifactstore_protocols.records import HistoryEntry, ShownEvent

__all__ = ["HistoryCalls"]

_LINE_BYTES_MAX: Final = 64 << 20
"""The most bytes of an event."""

_EVENTS: Final = "/v1/events"
_DATA: Final = b"data: "


class HistoryCalls(ServiceCalls):
    """The methods that read the log. `Registry` documents what they do and raise."""

    @checked
    @asynccontextmanager
    async def tail_events(self, since: int = 0) -> AsyncGenerator[AsyncIterator[ShownEvent]]:
        """Open a stream of every event after `since` that the token sees, then of new ones until it is closed.

        The stream survives broken connections and a restart of the service, and continues after the last event.
        """
        async with aclosing(self._tail(since)) as tail:
            yield tail

    async def _tail(self, since: int) -> AsyncGenerator[ShownEvent]:
        service, attempts = self._service, Attempts(self._service.url)
        headers = {"Accept": "text/event-stream"}
        while True:
            try:
                opening = service.answer(_EVENTS, (("after", str(since)),), headers)
                async with opening as answer, aclosing(self._lines(answer)) as lines:
                    async for line in lines:
                        if line.startswith(_DATA):
                            shown = self._event(line.removeprefix(_DATA), since)
                            since = shown.sequence
                            yield shown
                        if not line.startswith(b"retry:"):  # every stream begins with that, also a vain one
                            attempts.succeeded()
                raise httpx.RemoteProtocolError("the stream ended")
            except (httpx.TransportError, Busy) as error:
                await attempts.wait(error)

    @checked
    async def read_events(self, since: int = 0, *, limit: int = 500) -> Sequence[ShownEvent]:
        """Return up to `limit` events after `since` that the log has now and the token sees."""

        async def attempt() -> list[ShownEvent]:
            found: list[ShownEvent] = []
            query = ("after", str(since)), ("limit", str(limit))
            opening = self._service.answer(_EVENTS, query, {"Accept": "application/jsonl"})
            async with opening as answer, aclosing(self._lines(answer)) as lines:
                async for line in lines:
                    found.append(self._event(line, found[-1].sequence if found else since))
            return found

        return await self._service.retried(attempt)

    @checked
    async def history(self, package: str | None = None) -> AsyncGenerator[HistoryEntry]:
        """Yield who did what and when with a package, in order.

        Raises:
            NotRemote: no package is named.
        """
        if package is None:
            raise NotRemote("the history of a whole store", "name a package")
        async with aclosing(self._pages(f"{package_path(package)}/history")) as items:
            async for each in items:
                yield self._decoded(HistoryEntry, each)

    def _event(self, text: bytes, before: int) -> ShownEvent:
        try:
            value: object = msgspec.json.decode(text)
        except (ValueError, RecursionError) as error:
            raise AnswerRefused(self._service.url, "an event is not JSON") from error
        shown = self._decoded(ShownEvent, value)
        if shown.sequence <= before:
            raise AnswerRefused(self._service.url, f"event {shown.sequence} came after event {before}")
        return shown

    async def _lines(self, answer: httpx.Response) -> AsyncGenerator[bytes]:
        """Yield the lines of an answer that are not empty.

        Raises:
            AnswerRefused: a line is too long.
        """
        rest = bytearray()
        async with received(answer) as pieces:
            async for piece in pieces:
                rest += piece
                if b"\n" in piece:
                    *lines, last = bytes(rest).split(b"\n")
                    rest = bytearray(last)
                    for line in filter(None, lines):
                        yield line
                if len(rest) > _LINE_BYTES_MAX:
                    raise AnswerRefused(self._service.url, f"an event has more than {_LINE_BYTES_MAX} bytes")
        if rest:
            yield bytes(rest)
