"""The body of a request, which the application pulls from the connection piece by piece.

Hypercorn would put the pieces into a queue, which a request that is refused leaves full. Here nothing is read from the
connection until the application asks for the next piece, so a slow application slows its client down and holds nothing.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Final

import trio

__all__ = ["BODY_KEY", "BodyCut", "BodyTooLong", "RequestBody"]

BODY_KEY: Final = "artifactstore.body"
"""The key of the body in the `state` of an ASGI scope."""


class BodyCut(Exception):
    """The client went away, or was too slow, before its body was complete.

    Attributes:
        late: whether it was too slow.
    """

    def __init__(self, *, late: bool) -> None:
        super().__init__("The body did not arrive in time." if late else "The connection ended before the body did.")
        self.late = late


class BodyTooLong(Exception):
    """The body is longer than it may be."""


class RequestBody:
    """The body of one request.

    Args:
        length: its length in bytes, as the client announced it; None if it comes in chunks of an unknown number.
        is_waiting: whether the client waits to be told to send (`Expect: 100-continue`).
        invite: tells the client to send, if it waits for that.
    """

    def __init__(
        self, length: int | None, is_waiting: Callable[[], bool], invite: Callable[[], Awaitable[None]]
    ) -> None:
        self.length = length
        self.is_waiting = is_waiting
        self._invite = invite
        self._give, self._take = trio.open_memory_channel[bytes](0)
        self._asked = trio.Event()
        self._whole = length == 0
        self._late = False
        if self._whole:
            self._give.close()

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Return the pieces, of any size, in their order. The body can be read once.

        Raises:
            BodyCut: the body ended too early.
        """
        if self._whole:
            return
        await self._invite()
        while True:
            self._asked.set()
            try:
                piece = await self._take.receive()
            except trio.EndOfChannel:
                break
            yield piece
        if not self._whole:
            raise BodyCut(late=self._late)

    async def read(self, most: int) -> bytes:
        """Return the whole body.

        Raises:
            BodyTooLong: it has more than `most` bytes.
            BodyCut: the body ended too early.
        """
        if self.length is not None and self.length > most:
            raise BodyTooLong
        read = bytearray()
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                read += piece
                if len(read) > most:
                    raise BodyTooLong
        return bytes(read)

    async def discard(self, most: int) -> None:
        """Read and forget the rest if it is short and on its way. The connection can then serve the next request."""
        if self.length is not None and self.length <= most and not self.is_waiting():
            with suppress(BodyCut, trio.ClosedResourceError):
                async for _piece in self.pieces():
                    pass

    async def asked(self) -> None:
        """Wait until the application asks for a piece, or wants no more."""
        await self._asked.wait()

    async def give(self, piece: bytes) -> bool:
        """Hand over a piece once the application asks for it. Return False if it will not ask any more."""
        self._asked = trio.Event()
        try:
            await self._give.send(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    def end(self) -> None:
        """Say that the last piece was given."""
        self._whole = True
        self._give.close()

    def cut(self, *, late: bool = False) -> None:
        """Say that no further piece comes, although the body is not complete."""
        self._late = late
        self._give.close()
        self._asked.set()

    def refuse(self) -> None:
        """Say that the application asks for no further piece."""
        self._take.close()
        self._asked.set()
