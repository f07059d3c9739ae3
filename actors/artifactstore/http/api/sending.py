"""How the bytes of an answer are sent: at the pace of the client, in bounded memory, and not after it has gone.

Hypercorn returns from `send` when the connection has taken the bytes, so a slow client slows its own answer down and
nothing else. It does not end an answer whose client has gone, and it says so only to those who listen.
"""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

import trio

from artifactstore.http.api.problems import Problem
from artifactstore.http.shortcut import Receive, Send

__all__ = ["PLACE_WAIT_S", "RECHECK_S", "Places", "send_body", "send_head", "while_allowed", "while_connected"]

PLACE_WAIT_S: Final = 10.0
"""How long a request waits for a place, in seconds, before it is refused."""

RECHECK_S: Final = 5.0
"""An answer asks so often at most whether its token is still valid."""

_NO_PLACE: Final = "The service sends as many answers of this kind as it may; ask again later."


class Places:
    """The places for answers or uploads of one kind. Each holds memory while it lasts, so there is a limit.

    No token holds more than half of them, so none keeps all others out.

    Args:
        most: the number of places.
        code: the code of the problem when no place is free.
        detail: its text.
    """

    def __init__(self, most: int, code: str = "too_many_downloads", detail: str = _NO_PLACE) -> None:
        self._code, self._detail = code, detail
        self._free = trio.Semaphore(most, max_value=most)
        self._most_each = max(1, most // 2)
        self._of_holders: dict[str, trio.Semaphore] = {}
        self._asking = Counter[str]()

    @asynccontextmanager
    async def taken(self, holder: str) -> AsyncGenerator[None]:
        """Take a place for a while.

        Args:
            holder: the principal.

        Raises:
            Problem: no place was free in time.
        """
        own = self._of_holders.setdefault(holder, trio.Semaphore(self._most_each))
        self._asking[holder] += 1
        try:
            async with AsyncExitStack() as held:
                with trio.move_on_after(PLACE_WAIT_S) as waiting:
                    await held.enter_async_context(own)
                    await held.enter_async_context(self._free)
                if waiting.cancelled_caught:
                    raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, self._code, self._detail)
                yield
        finally:
            self._asking[holder] -= 1
            if not self._asking[holder]:
                del self._asking[holder], self._of_holders[holder]


def while_allowed(send: Send, recheck: Callable[[], Awaitable[object]]) -> Send:
    """Return `send` with a check, every `RECHECK_S`, of whether the token is still valid.

    Args:
        send: sends a part of an answer.
        recheck: raises an error once the token is not valid any more. The answer then ends before its end.
    """
    checked_at = trio.current_time()

    async def send_part(message: dict[str, Any]) -> None:
        nonlocal checked_at
        if trio.current_time() - checked_at >= RECHECK_S:
            await recheck()
            checked_at = trio.current_time()
        await send(message)

    return send_part


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
