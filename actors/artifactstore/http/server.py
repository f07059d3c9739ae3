"""HttpServer: the actor that serves HTTP, so that the supervision tree starts, stops and restarts the server.

Hypercorn's protocol handles the requests of each connection. This module and `connection` accept, time out and close
the connections. At a stop, running requests get time to finish. Then the server closes all remaining connections.
"""

import logging
from collections.abc import Callable, Sequence
from typing import cast, override

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework
from msgspec import Struct

from artifactstore.http.access import logged_requests
from artifactstore.http.api.model import UploadLimits
from artifactstore.http.app import make_app
from artifactstore.http.authentication import Authenticator
from artifactstore.http.connection import Connection
from artifactstore.http.listening import Listening, SocketFile, open_listeners, socket_file, unlink_socket, url_of
from artifactstore.http.overview import Look
from artifactstore.http.shortcut import Measure
from artifactstore.http.streams import EventStreams
from artifactstore.supervision import Actor, ActorRef, handles
from artifactstore_protocols.messages import ProjectionRole
from artifactstore_protocols.supervision import Request, SupervisorSnapshot

__all__ = ["CONNECTIONS_MAX", "BoundAddresses", "Drain", "HttpRole", "HttpServer"]

_logger = logging.getLogger("artifactstore.http")

CONNECTIONS_MAX = 512
"""Maximum number of open connections. The server closes further connections at once."""

_GRACE_S = 2.0
"""Seconds that running requests get when the server stops without a `Drain`, as for a restart."""


class HttpRole:
    """The role of the actor that serves HTTP."""


class BoundAddresses(Request[tuple[str, ...], HttpRole], Struct, frozen=True):
    """A request for the server's addresses, as URLs or `unix:PATH`. They show the actual port if port 0 was given."""


class Drain(Request[None, HttpRole], Struct, frozen=True):
    """A request to stop accepting, to end event streams, and to reply once all running requests are answered.

    Connections that are still open after `seconds`, or when the caller is cancelled, are closed when the actor stops.
    """

    seconds: float


class HttpServer(Actor[HttpRole]):
    """The actor that serves the application.

    Args:
        listening: addresses and options of the listeners.
        measure: returns the health report.
        snapshot: returns a snapshot of the supervision tree; None while the tree is starting.
        projection: the actor that opens tails of the log.
        look: returns the contents of the store.
        authenticator: tells who sends a request.
        limits: the limits of uploads.
    """

    def __init__(
        self,
        listening: Listening,
        measure: Measure,
        snapshot: Callable[[], SupervisorSnapshot | None],
        projection: ActorRef[ProjectionRole],
        look: Look,
        authenticator: Authenticator,
        limits: UploadLimits,
    ) -> None:
        self._listening = listening
        self._streams = EventStreams(projection)
        self._connections: set[Connection] = set()
        self._context = WorkerContext(None)
        self._config = _config()
        connections = self._connections
        app = make_app(
            measure,
            snapshot,
            self._streams,
            authenticator,
            lambda: len(connections),
            hosts=listening.hosts,
            look=look,
            limits=limits,
        )
        # Quart's application is an ASGI application, but Hypercorn's type for one is narrower than the protocol.
        self._app = ASGIWrapper(logged_requests(cast("ASGIFramework", app)))
        self._accepting = trio.CancelScope()
        self._conversing = trio.CancelScope()
        self._stopped = trio.Event()
        self._grace_s = _GRACE_S
        self._bound: tuple[str, ...] = ()
        self._files: tuple[SocketFile, ...] = ()

    @override
    def state_summary(self) -> dict[str, str | int]:
        return {"connections": len(self._connections), "streams": self._streams.open}

    @override
    async def on_start(self) -> None:
        listeners = await open_listeners(self._listening)
        self._bound = tuple(url_of(listener) for listener in listeners)
        self._files = tuple(file for listener in listeners if (file := socket_file(listener)) is not None)
        self.context.start_child("connections", self._serve, listeners)

    async def _serve(self, listeners: Sequence[trio.abc.Listener[trio.abc.Stream]]) -> None:
        """Accept connections until a stop, then wait for the open ones."""
        try:
            async with trio.open_nursery() as connections:
                self._conversing = connections.cancel_scope
                with self._accepting:
                    await trio.serve_listeners(self._converse, list(listeners), handler_nursery=connections)
        finally:
            self._stopped.set()

    async def _converse(self, stream: trio.abc.Stream) -> None:
        """Serve one connection. Its errors are logged and do not end the server."""
        if len(self._connections) >= CONNECTIONS_MAX:
            await trio.aclose_forcefully(stream)
            return
        connection = Connection(stream, self._app, self._config, self._context)
        self._connections.add(connection)
        try:
            await connection.run()
        except Exception:
            _logger.exception("a connection failed")
        finally:
            self._connections.discard(connection)

    @override
    async def on_stop(self) -> None:
        await self._stop_accepting()
        with trio.move_on_after(self._grace_s):
            await self._stopped.wait()
        self._conversing.cancel(reason="the time to finish is over")
        await self._stopped.wait()

    async def _stop_accepting(self) -> None:
        """Close the listeners, end the streams, and let each connection finish its request."""
        self._accepting.cancel(reason="the service stops")
        for file in self._files:
            unlink_socket(file)
        self._streams.end()
        await self._context.terminated.set()  # no connection accepts another request
        for connection in self._connections:
            connection.drain()

    @handles(BoundAddresses)
    async def bound_addresses(self, message: BoundAddresses) -> tuple[str, ...]:  # noqa: ARG002
        """Return the addresses that the server listens on."""
        return self._bound

    @handles(Drain)
    async def drain(self, message: Drain) -> None:
        """Stop accepting connections, and wait for the running requests."""
        self._grace_s = 0.0  # the wait below is the whole grace period
        await self._stop_accepting()
        with trio.move_on_after(message.seconds):
            await self._stopped.wait()


def _config() -> Config:
    config = Config()
    config.errorlog = None
    config.include_server_header = False
    return config
