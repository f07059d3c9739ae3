"""HTTP/1.1 on one connection: Hypercorn's protocol, which receives one strictly parsed head at a time.

Hypercorn passes all received bytes to h11, whose size limit applies only to incomplete heads. It also offers upgrades
to HTTP/2 and WebSockets, which this service does not need. So `Upgrade` is ignored, as RFC 9110 allows.
"""

import logging
from http import HTTPStatus
from typing import cast, override

import h11
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Response
from hypercorn.protocol.h11 import H11Protocol

from artifactstore.http.heads import BadHead, HeadBuffer
from artifactstore.http.problems import PROBLEM_TYPE, problem_body
from artifactstore.http.shortcut import HEADERS

__all__ = ["Http1"]

_logger = logging.getLogger("artifactstore.http.access")

_HEAD_LATE = "The request did not arrive in time."


class Http1(H11Protocol):
    """The HTTP/1.1 protocol of one connection."""

    _heads: HeadBuffer
    _over = False
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
        await super().handle(event)
        await self.can_read.set()

    async def refuse_late_head(self) -> bool:
        """Answer 408 and close if a part of a head has arrived. Return whether that was the case."""
        if not self._heads:
            return False
        await self._refuse(HTTPStatus.REQUEST_TIMEOUT, _HEAD_LATE)
        return True

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
            if state is h11.DONE:  # the next request waits for the end of this answer
                await self.can_read.wait()
            elif state is not h11.IDLE:  # a body, which this service does not take, or the end of the connection
                self._heads.clear()
            elif (head := self._heads.cut()) is None:
                return
            else:
                await self.can_read.clear()
                self.connection.receive_data(head)
                await self._handle_events()

    @override
    async def _check_protocol(self, event: h11.Request) -> None:
        """Ignore requests to upgrade the protocol."""

    @override
    async def _create_stream(self, request: h11.Request) -> None:
        self._endless = False
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
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
