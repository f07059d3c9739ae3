"""One HTTP connection: reads and writes with deadlines, and a close that does not cut off the last answer.

A client may wait for an answer without a limit. But it must send a complete request head in time, and each part of a
body, and it must receive the answer in time.
"""

import math
from contextlib import suppress
from typing import cast

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState

from artifactstore.http.http1 import Http1

__all__ = ["Connection"]

_HEAD_TIMEOUT_S = 10.0
"""The time from the start of the connection, or from the last answer, until the next head must be complete."""

_BODY_TIMEOUT_S = 30.0
_BODY_BYTES_MIN = 256 << 10
"""The bytes of a body that a client must send within `_BODY_TIMEOUT_S`. The time of the application does not count."""

_HANDSHAKE_TIMEOUT_S = 10.0
_WRITE_TIMEOUT_S = 30.0
_WRITTEN_BYTES_MAX = 256 << 10
"""The bytes that a client must receive within `_WRITE_TIMEOUT_S`, so 9 kB a second are fast enough."""

_DRAIN_WRITE_TIMEOUT_S = 2.0
_LINGER_S = 1.0
_LINGER_BYTES_MAX = 1 << 20
_CLOSE_TIMEOUT_S = 1.0
_RECEIVED_BYTES_MAX = 1 << 16


class Connection:
    """One connection of a client.

    Args:
        stream: a TCP socket, a Unix socket, or TLS over TCP.
        app: the application that answers requests.
        config: configuration of Hypercorn.
        context: Hypercorn's context, which all connections of a server share.
    """

    def __init__(self, stream: trio.abc.Stream, app: AppWrapper, config: Config, context: WorkerContext) -> None:
        self._stream = stream
        self._app, self._config, self._context = app, config, context
        self._tasks = TaskGroup()
        self._sending = trio.Lock()
        self._send_scope: trio.CancelScope | None = None
        self._write_timeout_s = _WRITE_TIMEOUT_S
        self._read_scope: trio.CancelScope | None = None
        self._read_until = trio.current_time() + _HEAD_TIMEOUT_S
        self._idle = True
        self._draining = self._hung_up = False
        self._answered = trio.Event()

    async def run(self) -> None:
        """Serve requests until the client or the service ends the connection."""
        try:
            plain = await self._handshake()
            if plain is not None:
                await self._converse(plain)
        finally:
            with trio.move_on_after(_CLOSE_TIMEOUT_S):
                await self._stream.aclose()

    def drain(self) -> None:
        """Finish the current answer, then close. From now on a client must receive each part within 2 s."""
        self._draining = True
        self._write_timeout_s = _DRAIN_WRITE_TIMEOUT_S
        if self._send_scope is not None:
            due = trio.current_time() + _DRAIN_WRITE_TIMEOUT_S
            self._send_scope.deadline = min(self._send_scope.deadline, due)
        if self._idle or self._hung_up:
            self._wait_until(-math.inf)

    async def _handshake(self) -> trio.SocketStream | None:
        """Return the socket stream, after a TLS handshake if there is TLS; None if the handshake failed."""
        if isinstance(self._stream, trio.SocketStream):
            return self._stream
        encrypted = cast("trio.SSLStream[trio.SocketStream]", self._stream)
        with trio.move_on_after(_HANDSHAKE_TIMEOUT_S), suppress(trio.BrokenResourceError):
            await encrypted.do_handshake()
            return encrypted.transport_stream
        return None

    async def _converse(self, plain: trio.SocketStream) -> None:
        try:
            client, server = _address(plain.socket.getpeername()), _address(plain.socket.getsockname())
        except OSError:  # the client has already disconnected
            return
        tls = plain is not self._stream
        async with self._tasks:
            self._protocol = Http1(
                self._app, self._config, self._context, self._tasks, ConnectionState({}), tls, client, server, self._do
            )
            await self._protocol.initiate()
            await self._read()
            await self._protocol.handle(Closed())

    async def _read(self) -> None:
        discarded = 0
        allowance = _Allowance()
        while discarded <= _LINGER_BYTES_MAX:
            await self._protocol.body_asked()
            of_body = self._protocol.awaits_body and not self._hung_up
            asked_at = trio.current_time()
            try:
                received = await self._receive(asked_at + allowance.left_s if of_body else self._read_until)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if of_body:
                allowance.use(trio.current_time() - asked_at, len(received or b""))
            else:
                allowance = _Allowance()
            if received is None and of_body and not self._hung_up:
                self._protocol.cut_body(late=True)
            elif received is None:  # the deadline passed
                if self._draining or self._hung_up or not await self._protocol.refuse_late_head():
                    return
            elif not received:
                await self._answer_before_the_end()
                return
            elif self._hung_up:
                discarded += len(received)
            else:
                await self._protocol.handle(RawData(received))

    async def _receive(self, deadline: float) -> bytes | None:
        """Return what the client sends, and no bytes at its end; None if the deadline passed."""
        with trio.CancelScope(deadline=deadline) as self._read_scope:
            return bytes(await self._stream.receive_some(_RECEIVED_BYTES_MAX))
        return None

    async def _answer_before_the_end(self) -> None:
        """Wait for the last answer after the client has closed its side; do not wait for an endless answer."""
        self._protocol.cut_body()
        if not (self._idle or self._hung_up or self._protocol.refuse_endless_answers()):
            await self._answered.wait()

    def _wait_until(self, deadline: float) -> None:
        """Set the deadline of the current read and of later reads."""
        self._read_until = deadline
        if self._read_scope is not None:
            self._read_scope.deadline = deadline

    async def _do(self, event: Event) -> None:
        """Handle an event from the protocol: data to send, a state change, or the end of the connection."""
        over = isinstance(event, Closed) or (isinstance(event, RawData) and not await self._send(event.data))
        if over:
            with trio.CancelScope(shield=True):  # `Closed` cancels the application, in whose task this may run
                await self._hang_up()
                await self._protocol.handle(Closed())
        elif isinstance(event, Updated):
            self._idle = event.idle
            if event.idle:
                self._answered.set()
            else:
                self._answered = trio.Event()
            waits_s = -math.inf if self._draining else _HEAD_TIMEOUT_S
            self._wait_until(trio.current_time() + waits_s if event.idle else math.inf)

    async def _send(self, data: bytes) -> bool:
        """Send bytes, and return whether the client took them: each part of them in time."""
        left, in_part = memoryview(data), 0
        async with self._sending:
            try:
                with trio.move_on_after(self._write_timeout_s) as self._send_scope:
                    while left:
                        count = await self._send_some(left)
                        left, in_part = left[count:], in_part + count
                        if in_part >= _WRITTEN_BYTES_MAX:
                            in_part = 0
                            self._send_scope.deadline = trio.current_time() + self._write_timeout_s
                if self._send_scope.cancelled_caught:
                    await trio.aclose_forcefully(self._stream)
                    return False
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                return False
            finally:
                self._send_scope = None
        return True

    async def _send_some(self, data: memoryview) -> int:
        """Send the first bytes, and return how many. A socket takes what fits into its buffer, in one call."""
        if isinstance(self._stream, trio.SocketStream):
            return await self._stream.socket.send(data)
        part = data[:_WRITTEN_BYTES_MAX]
        await self._stream.send_all(part)
        return len(part)

    async def _hang_up(self) -> None:
        """Close the sending side, and keep reading for up to 1 s, or not at all while draining.

        A close with unread input would reset the connection, and the client could lose the answer. The reading task
        closes the connection when the client has closed its side, or after that time.
        """
        if self._hung_up:
            return
        self._hung_up = True
        self._answered.set()
        self._wait_until(-math.inf if self._draining else trio.current_time() + _LINGER_S)
        if isinstance(self._stream, trio.SocketStream):
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                async with self._sending:
                    await self._stream.send_eof()


class _Allowance:
    """The time that a client has left to send the next part of a body."""

    def __init__(self) -> None:
        self.left_s = _BODY_TIMEOUT_S
        self._received = 0

    def use(self, seconds: float, received: int) -> None:
        """Count time in which the service waited for the client, and the bytes that came."""
        self.left_s -= seconds
        self._received += received
        if self._received >= _BODY_BYTES_MIN:
            self.left_s, self._received = _BODY_TIMEOUT_S, 0


def _address(name: str | bytes | tuple[str, int] | tuple[str, int, int, int]) -> tuple[str, int] | None:
    """Return host and port of a socket address; None for a Unix socket."""
    return (name[0], name[1]) if isinstance(name, tuple) else None
