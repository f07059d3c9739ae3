"""HttpServer: HTTP as an actor, so that it starts, stops and restarts with the tree.

Hypercorn's protocol answers on each connection; accepting, timing and ending connections is done here and in
`connection`. A stop lets requests under way finish for a while, and then closes every connection that is left.
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
from artifactstore.http.app import make_app
from artifactstore.http.connection import Connection
from artifactstore.http.listening import Listening, SocketFile, open_listeners, socket_file, unlink_socket, url_of
from artifactstore.http.shortcut import Measure
from artifactstore.http.streams import EventStreams
from artifactstore.supervision import Actor, ActorRef, handles
from artifactstore_protocols.messages import ProjectionRole
from artifactstore_protocols.supervision import Request, SupervisorSnapshot

__all__ = ["CONNECTIONS_MAX", "BoundAddresses", "Drain", "HttpRole", "HttpServer"]

_logger = logging.getLogger("artifactstore.http")

CONNECTIONS_MAX = 512
"""Connections at a time; further ones are closed at once."""

_GRACE_S = 2.0
"""How long requests under way may take when the server stops without having been drained, as for a restart."""


class HttpRole:
    """Serves HTTP."""


class BoundAddresses(Request[tuple[str, ...], HttpRole], Struct, frozen=True):
    """Where the server listens, as URLs or `unix:PATH`; of use when it was asked for port 0."""


class Drain(Request[None, HttpRole], Struct, frozen=True):
    """Accept nothing more, end streams of events, and answer once every request under way has been answered.

    Connections that are left after `seconds`, or when the asker is cancelled, are closed when the actor stops.
    """

    seconds: float


class HttpServer(Actor[HttpRole]):
    """Serves the application.

    Args:
        listening: where.
        measure: answers with the health report.
        snapshot: looks at the supervision tree; None while it is starting.
        projection: opens tails of the log.
    """

    def __init__(
        self,
        listening: Listening,
        measure: Measure,
        snapshot: Callable[[], SupervisorSnapshot | None],
        projection: ActorRef[ProjectionRole],
    ) -> None:
        self._listening = listening
        self._streams = EventStreams(projection)
        self._connections: set[Connection] = set()
        self._context = WorkerContext(None)
        self._config = _config()
        app = make_app(measure, snapshot, self._streams, lambda: len(self._connections), hosts=listening.hosts)
        # Quart's application is an ASGI one; Hypercorn's own type for that is narrower than the protocol.
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
        self._accepting.cancel(reason="the service stops")
        for file in self._files:
            unlink_socket(file)
        self._streams.end()
        await self._context.terminated.set()  # no connection takes another request
        for connection in self._connections:
            connection.drain()

    @handles(BoundAddresses)
    async def bound_addresses(self, message: BoundAddresses) -> tuple[str, ...]:  # noqa: ARG002
        """Where the server listens."""
        return self._bound

    @handles(Drain)
    async def drain(self, message: Drain) -> None:
        """Stop accepting, and wait for the requests under way."""
        self._grace_s = 0.0  # the asker decides how long that takes
        await self._stop_accepting()
        with trio.move_on_after(message.seconds):
            await self._stopped.wait()


def _config() -> Config:
    config = Config()
    config.errorlog = None
    config.include_server_header = False
    return config
