"""HTTP/1.1 on one connection: Hypercorn's protocol, which receives one strictly parsed head at a time, and its body.

Hypercorn passes all received bytes to h11, whose size limit applies only to incomplete heads. It also offers upgrades
to HTTP/2 and WebSockets, which this service does not need. So `Upgrade` is ignored, as RFC 9110 allows. And it invites
a client to send a body before the application has seen the request. Here the application does, when it wants the body.
"""

import logging
from http import HTTPStatus
from typing import Final, cast, override

import h11
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import EndBody, Response
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol

from artifactstore.http.heads import BadHead, HeadBuffer
from artifactstore.http.problems import PROBLEM_TYPE, problem_body
from artifactstore.http.request_body import BODY_KEY, RequestBody
from artifactstore.http.shortcut import HEADERS

__all__ = ["Http1"]

_logger = logging.getLogger("artifactstore.http.access")

_HEAD_LATE: Final = "The request did not arrive in time."

_LAST_CHUNK: Final = b"0\r\n\r\n"
"""The one end of a body in chunks after which another request is read.

h11 also takes trailers and bare line feeds, which a proxy may read differently.
"""


class Http1(H11Protocol):
    """The HTTP/1.1 protocol of one connection."""

    _heads: HeadBuffer
    _body: RequestBody | None = None
    _over = False
    _left: int | None = 0
    _tail = b""
    _endless = False
    _refuses_endless = False

    @override
    async def initiate(self) -> None:
        self._heads = HeadBuffer()

    @override
    async def handle(self, event: Event) -> None:
        """Handle received bytes, or the end of the connection."""
        if isinstance(event, RawData):
            try:
                await self._take(event.data)
            except BadHead as bad:
                await self._refuse(bad.status, bad.detail)
            return
        self._over = self._over or isinstance(event, Closed)
        self.cut_body()
        await super().handle(event)
        await self.can_read.set()

    async def refuse_late_head(self) -> bool:
        """Answer 408 and close if a part of a head has arrived. Return whether that was the case."""
        if not self._heads:
            return False
        await self._refuse(HTTPStatus.REQUEST_TIMEOUT, _HEAD_LATE)
        return True

    @property
    def awaits_body(self) -> bool:
        """Whether the body of the current request is still to come."""
        return self._body is not None

    async def body_asked(self) -> None:
        """Wait until the application asks for more of the body of the current request, or wants no more."""
        if self._body is not None:
            await self._body.asked()

    def cut_body(self, *, late: bool = False) -> None:
        """Tell the application that the rest of the body of the current request does not come."""
        if self._body is not None:
            self._body.cut(late=late)
            self._body = None
            self._heads.clear()

    def refuse_endless_answers(self) -> bool:
        """Refuse further answers without a `Content-Length`. Return whether the current answer is one."""
        self._refuses_endless = True
        return self._endless

    @override
    async def stream_send(self, event: StreamEvent) -> None:
        """Send a part of an answer, or close the connection instead of beginning a refused endless answer."""
        if isinstance(event, Response):
            self._endless = not any(name.lower() == b"content-length" for name, _value in event.headers)
            if self._endless and self._refuses_endless:
                await self.send(Closed())
                return
        await super().stream_send(event)

    async def _take(self, received: bytes) -> None:
        self._heads.add(received)
        while self._heads and not self._over:
            state = self.connection.their_state
            if state is h11.SEND_BODY:
                await self._take_body()
            elif state is h11.DONE:  # the next request waits for the end of this answer
                await self.can_read.wait()
            elif state is not h11.IDLE:  # the end of the connection
                self._heads.clear()
            elif (head := self._heads.cut()) is None:
                return
            else:
                await self.can_read.clear()
                self.connection.receive_data(head)
                await self._handle_events()

    async def _take_body(self) -> None:
        """Pass what was received to the body. What follows a body of a known length is the next request."""
        await self.body_asked()
        if self._body is None:  # the application wants no more of it, so the connection ends after the answer
            self._heads.clear()
            return
        taken = self._heads.take(self._left)
        self._tail = (self._tail + taken[-len(_LAST_CHUNK) :])[-len(_LAST_CHUNK) :]
        self.connection.receive_data(taken)
        await self._handle_events()

    @override
    async def _handle_events(self) -> None:
        while True:
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                self.cut_body()
                if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                    await self._send_error_response(error.error_status_hint)
                await self.send(Closed())
                return
            if isinstance(event, h11.Request):
                await self.send(Updated(idle=False))
                await self._create_stream(event)
            elif isinstance(event, h11.Data):
                await self._give(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                await self._end_body()
                return
            else:
                return

    async def _give(self, piece: bytes) -> None:
        if self._left is not None:
            self._left -= len(piece)
        if self._body is not None and not await self._body.give(piece):
            self._body = None

    async def _end_body(self) -> None:
        if self._body is not None:
            self._body.end()
            self._body = None
        if self.stream is not None:
            await self.stream.handle(EndBody(stream_id=STREAM_ID))

    def _is_waiting(self) -> bool:
        return bool(self.connection.they_are_waiting_for_100_continue)

    async def _invite(self) -> None:
        if self._is_waiting():
            headers = self.config.response_headers("h11")
            await self._send_h11_event(h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=headers))

    @override
    async def _maybe_recycle(self) -> None:
        if self._body is not None:
            self._body.refuse()
            self._body = None
        # What follows a body in chunks was not read strictly.
        if self.connection.trailing_data[0] or (self._left is None and self._tail != _LAST_CHUNK):
            await self._close_stream()
            await self.can_read.set()
            await self.send(Closed())
        else:
            await super()._maybe_recycle()

    @override
    async def _create_stream(self, request: h11.Request) -> None:
        self._endless = False
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
        self._left = _length_of_body(headers)
        self._tail = b""
        body = RequestBody(self._left, self._is_waiting, self._invite)
        self._body = None if self._left == 0 else body
        self.connection_state[BODY_KEY] = body
        await super()._create_stream(
            h11.Request(
                method=request.method, target=request.target, headers=headers, http_version=request.http_version
            )
        )

    @override
    async def _send_error_response(self, status_code: int) -> None:
        detail = "" if status_code == HTTPStatus.INTERNAL_SERVER_ERROR else "The head of the request is malformed."
        await self._answer(HTTPStatus(status_code), detail)

    async def _refuse(self, status: HTTPStatus, detail: str) -> None:
        if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self._answer(status, detail)
        await self.send(Closed())

    async def _answer(self, status: HTTPStatus, detail: str) -> None:
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            _logger.error("a request failed: %d", status)
        else:
            _logger.info("a request was refused: %d, %s", status, detail)
        body = problem_body(status, detail)
        fields = {"Content-Type": PROBLEM_TYPE, "Content-Length": str(len(body)), "Connection": "close", **HEADERS}
        headers = [*fields.items(), *self.config.response_headers("h11")]
        # h11 accepts text and bytes, but its types do not allow a list of both.
        response = h11.Response(status_code=status.value, headers=cast("list[tuple[bytes, bytes]]", headers))
        await self._send_h11_event(response)
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


def _length_of_body(headers: list[tuple[bytes, bytes]]) -> int | None:
    """Return the length of a body, by the head that announces it; None if it comes in chunks."""
    fields = dict(headers)
    return None if b"transfer-encoding" in fields else int(fields.get(b"content-length", b"0"))
