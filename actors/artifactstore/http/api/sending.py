"""How the bytes of an answer are sent: at the pace of the client, in bounded memory, and not after it has gone.

Hypercorn returns from `send` when the connection has taken the bytes, so a slow client slows its own answer down and
nothing else. It does not end an answer whose client has gone, and it says so only to those who listen.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import trio

from artifactstore.http.api.problems import Problem
from artifactstore.http.shortcut import Receive, Send

__all__ = ["PLACE_WAIT_S", "Places", "send_body", "send_head", "while_connected"]

PLACE_WAIT_S: Final = 10.0
"""How long a request waits for a place, in seconds, before it is refused."""


class Places:
    """The places for answers of one kind. Each holds memory while it is sent, so there is a limit.

    Args:
        most: the number of places.
    """

    def __init__(self, most: int) -> None:
        self._free = trio.Semaphore(most, max_value=most)

    @asynccontextmanager
    async def taken(self) -> AsyncGenerator[None]:
        """Take a place for a while.

        Raises:
            Problem: no place was free in time.
        """
        with trio.move_on_after(PLACE_WAIT_S) as waiting:
            await self._free.acquire()
        if waiting.cancelled_caught:
            detail = "The service sends as many answers of this kind as it may; ask again later."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_downloads", detail)
        try:
            yield
        finally:
            self._free.release()


async def while_connected(receive: Receive, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work`, and cancel it when the client has gone. The request must have no body, or have been read."""
    failure: Exception | None = None

    async def end_when_gone(scope: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel(reason="the client has gone")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_when_gone, nursery.cancel_scope)
        try:
            await work()
        except Exception as error:  # outside of the nursery, which would wrap it in a group
            failure = error
        nursery.cancel_scope.cancel(reason="the answer is sent")
    if failure is not None:
        raise failure


async def send_head(send: Send, status: HTTPStatus, headers: Mapping[str, str]) -> None:
    """Send an answer without a body."""
    await _begin(send, status, headers)
    await send({"type": "http.response.body", "body": b""})


async def send_body(send: Send, status: HTTPStatus, headers: Mapping[str, str], pieces: AsyncIterator[bytes]) -> None:
    """Send an answer. It begins once the first piece is there, so an error before that can be answered as such."""
    piece = await anext(pieces, None)
    await _begin(send, status, headers)
    while piece is not None:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        piece = await anext(pieces, None)
    await send({"type": "http.response.body", "body": b""})


async def _begin(send: Send, status: HTTPStatus, headers: Mapping[str, str]) -> None:
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status.value, "headers": encoded})
