"""HttpServer: Hypercorn as an actor, so that it starts, stops and restarts with the tree.

Hypercorn speaks HTTP on each connection; accepting and ending connections is done here, for Hypercorn shields what it
sends from cancellation, and a client that reads nothing would hold a stopping server open for good. So a stop lets
requests finish for a moment, and then closes every socket that is left.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast, override

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState

from artifactstore.http.access import logged_requests
from artifactstore.http.app import make_app
from artifactstore.http.listening import Listening, open_listeners, unlink_socket, url_of
from artifactstore.http.readings import Readings
from artifactstore.http.streams import EventStreams
from artifactstore.supervision import Actor, ActorRef, handles
from artifactstore_protocols.messages import ProjectionRole
from artifactstore_protocols.supervision import Request, SupervisorSnapshot

__all__ = ["CONNECTIONS_MAX", "GRACE_S", "BoundAddresses", "HttpRole", "HttpServer"]

_logger = logging.getLogger("artifactstore.http")

CONNECTIONS_MAX = 512
"""Connections at a time; further ones are closed at once."""

GRACE_S = 2.0
"""How long requests under way may take when the service stops."""

_KEEP_ALIVE_S = 5.0
_READ_TIMEOUT_S = 30
_WRITE_TIMEOUT_S = 30.0
_HANDSHAKE_TIMEOUT_S = 10.0
_HEAD_BYTES_MAX = 16 << 10


class HttpRole:
    """Serves HTTP."""


@dataclass(frozen=True, slots=True)
class BoundAddresses(Request[tuple[str, ...], HttpRole]):
    """Where the server listens, as URLs or `unix:PATH`; of use when it was asked for port 0."""


class HttpServer(Actor[HttpRole]):
    """Serves the application.

    Args:
        listening: where.
        readings: has the health report.
        snapshot: looks at the supervision tree; None while it is starting.
        projection: opens tails of the log.
    """

    def __init__(
        self,
        listening: Listening,
        readings: Readings,
        snapshot: Callable[[], SupervisorSnapshot | None],
        projection: ActorRef[ProjectionRole],
    ) -> None:
        self._listening = listening
        self._streams = EventStreams(projection)
        self._connections: set[trio.abc.Stream] = set()
        self._context = WorkerContext(None)
        self._config = _config()
        app = make_app(readings, snapshot, self._streams, lambda: len(self._connections))
        # Quart's application is an ASGI one; Hypercorn's own type for that is narrower than the protocol.
        self._app = ASGIWrapper(logged_requests(cast("ASGIFramework", app)))
        self._accepting = trio.CancelScope()
        self._conversing = trio.CancelScope()
        self._stopped = trio.Event()
        self._bound: tuple[str, ...] = ()

    @override
    def state_summary(self) -> dict[str, str | int]:
        return {"connections": len(self._connections), "streams": self._streams.open}

    @override
    async def on_start(self) -> None:
        listeners = await open_listeners(self._listening, self._config)
        self._bound = tuple(url_of(listener) for listener in listeners)
        self.context.start_child("connections", self._serve, listeners)

    async def _serve(self, listeners: Sequence[trio.abc.Listener[trio.abc.Stream]]) -> None:
        try:
            async with trio.open_nursery() as connections:
                self._conversing = connections.cancel_scope
                with self._accepting:
                    await trio.serve_listeners(self._converse, list(listeners), handler_nursery=connections)
        finally:
            self._stopped.set()

    async def _converse(self, stream: trio.abc.Stream) -> None:
        if len(self._connections) >= CONNECTIONS_MAX:
            await trio.aclose_forcefully(stream)
            return
        self._connections.add(stream)
        try:
            impatient = cast("_Stream", _Impatient(stream))
            server = TCPServer(self._app, self._config, self._context, ConnectionState({}), impatient)
            await server.run()
        except Exception:
            _logger.exception("a connection failed")
        finally:
            self._connections.discard(stream)

    @override
    async def on_stop(self) -> None:
        self._accepting.cancel(reason="the service stops")
        for url in self._bound:
            unlink_socket(url)
        self._streams.end()
        await self._context.terminated.set()  # connections that only wait for another request close now
        with trio.move_on_after(GRACE_S):
            await self._stopped.wait()
        for stream in tuple(self._connections):
            await trio.aclose_forcefully(stream)
        self._conversing.cancel(reason="the time of grace is over")
        await self._stopped.wait()

    @handles(BoundAddresses)
    async def bound_addresses(self, message: BoundAddresses) -> tuple[str, ...]:  # noqa: ARG002
        """Where the server listens."""
        return self._bound


type _Stream = trio.SSLStream[trio.SocketStream]


class _Impatient:
    """A connection that is closed once its client has taken nothing for a while: Hypercorn would wait without end."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    async def send_all(self, data: bytes) -> None:
        with trio.move_on_after(_WRITE_TIMEOUT_S):
            await self._stream.send_all(data)
            return
        await trio.aclose_forcefully(self._stream)
        raise trio.BrokenResourceError("the client takes nothing")


def _config() -> Config:
    config = Config()
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = _KEEP_ALIVE_S
    config.read_timeout = _READ_TIMEOUT_S
    config.ssl_handshake_timeout = _HANDSHAKE_TIMEOUT_S
    config.h11_max_incomplete_size = _HEAD_BYTES_MAX
    config.h2_max_header_list_size = _HEAD_BYTES_MAX
    return config
