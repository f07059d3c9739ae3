"""A line to a PostgreSQL server that breaks when and how a test says: at a COMMIT, at once, or without a word.

It reads what clients send as the protocol has it (a startup packet, then messages with a type and a length), so it
knows a COMMIT when it passes; what the server sends it hands on as it is.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from enum import Enum, auto
from pathlib import Path

import trio

__all__ = ["AtCommit", "Proxy", "proxied"]

_STARTUP = 196608
_HEAD = 4
_SOCKET = ".s.PGSQL.5432"
_CHUNK = 64 << 10


class AtCommit(Enum):
    """What happens to the next COMMIT."""

    PASS = auto()
    CUT_BEFORE = auto()
    """The line breaks before it arrives, on both sides."""
    CUT_AFTER = auto()
    """It arrives and is done, and the line breaks before its client hears of it."""
    DELAY = auto()
    """The line to the client breaks; the server gets it when the test says so."""


class Proxy:
    """One line, for any number of connections.

    Attributes:
        port: of 127.0.0.1, where clients connect.
        at_commit: what to do with the next COMMIT; PASS again once it has come.
        delayed: set when a COMMIT is being delayed.
    """

    def __init__(self, upstream: Path) -> None:
        self.port = 0
        self.at_commit = AtCommit.PASS
        self.delayed = trio.Event()
        self._upstream = upstream
        self._land = trio.Event()
        self._silent = False
        self._open = True
        self._lines: set[trio.CancelScope] = set()
        self._fewer = trio.Event()

    def land(self) -> None:
        """Let the COMMIT that was delayed arrive."""
        self._land.set()

    async def break_all(self) -> None:
        """Break every connection that there is; all of them are broken when this returns."""
        lines = set(self._lines)
        for scope in lines:
            scope.cancel()
        while lines & self._lines:
            await self._fewer.wait()

    async def close(self) -> None:
        """Break every connection, and take no others, as a server that is away."""
        self._open = False
        await self.break_all()

    def fall_silent(self) -> None:
        """Hand on nothing any more, and say nothing of it, as a machine that is gone."""
        self._silent = True

    async def recover(self) -> None:
        """Take connections again; those that were silent break."""
        await self.break_all()
        self._open, self._silent = True, False

    async def carry(self, client: trio.SocketStream) -> None:
        """Serve one connection."""
        if not self._open:
            await client.aclose()
            return
        with trio.CancelScope() as scope:
            self._lines.add(scope)
            try:
                server = await trio.open_unix_socket(str(self._upstream))
                async with client, server, trio.open_nursery() as nursery:
                    line = _Line(self, client, server, nursery.cancel_scope)
                    nursery.start_soon(line.to_client)
                    await line.to_server()
                    nursery.cancel_scope.cancel()
            finally:
                self._lines.discard(scope)
                self._fewer.set()
                self._fewer = trio.Event()

    def is_silent(self) -> bool:
        return self._silent

    def take_order(self) -> AtCommit:
        """What to do with the COMMIT that has come."""
        order, self.at_commit = self.at_commit, AtCommit.PASS
        return order

    async def landing(self) -> None:
        self.delayed.set()
        await self._land.wait()


class _Line:
    def __init__(
        self, proxy: Proxy, client: trio.SocketStream, server: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._scope = scope
        self._hears = True

    async def to_client(self) -> None:
        """Hand on what the server sends."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for chunk in self._server:
                await self._unless_silent()
                if not self._hears:
                    break
                await self._client.send_all(chunk)
        self._scope.cancel()

    async def to_server(self) -> None:
        """Hand on what the client sends, message by message."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with aclosing(_messages(self._client)) as messages:
                async for message in messages:
                    await self._unless_silent()
                    order = self._proxy.take_order() if _is_commit(message) else AtCommit.PASS
                    if order is AtCommit.CUT_BEFORE:
                        return
                    if order is AtCommit.DELAY:
                        await self._client.aclose()
                        await self._proxy.landing()
                    self._hears = order is AtCommit.PASS
                    await self._server.send_all(message)
                    if not self._hears:
                        await trio.sleep_forever()  # the answer, which nobody gets, ends the line

    async def _unless_silent(self) -> None:
        if self._proxy.is_silent():
            await trio.sleep_forever()


def _is_commit(message: bytes) -> bool:
    return message.startswith(b"Q") and message[_HEAD + 1 :].startswith(b"COMMIT")


async def _messages(client: trio.SocketStream) -> AsyncGenerator[bytes]:
    """What a client sends, in whole messages."""
    pending = bytearray()
    started = False
    async for chunk in client:
        pending += chunk
        while len(pending) >= _HEAD + started:
            length = started + int.from_bytes(pending[started : started + _HEAD])
            if len(pending) < length:
                break
            message = bytes(pending[:length])
            del pending[:length]
            started = started or int.from_bytes(message[_HEAD : 2 * _HEAD]) == _STARTUP
            yield message


@asynccontextmanager
async def proxied(socket_directory: Path) -> AsyncGenerator[Proxy]:
    """A line to the server whose socket is there, for the block."""
    proxy = Proxy(socket_directory / _SOCKET)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, proxy.carry, listeners)
        yield proxy
        nursery.cancel_scope.cancel()
