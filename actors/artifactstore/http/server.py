"""HttpServer: Hypercorn as an actor, so that it starts, stops and restarts with the tree.

It is stopped by its own trigger, not by cancellation: a stalled client holds a cancelled server open past its grace
time. There is no authentication yet, so it binds to loopback unless told otherwise.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast, override

import trio
from hypercorn.config import Config
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType] - its WSGI half is untyped
from hypercorn.typing import ASGIFramework

from artifactstore.http.app import make_app
from artifactstore.supervision import Actor, handles
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.records import HealthReport
from artifactstore_protocols.supervision import Request, SupervisorSnapshot

__all__ = ["AddressUnavailable", "BoundAddresses", "HttpRole", "HttpServer"]

_READ_TIMEOUT_S = 30
_GRACE_S = 2.0


class HttpRole:
    """Serves HTTP."""


@dataclass(frozen=True, slots=True)
class BoundAddresses(Request[tuple[str, ...], HttpRole]):
    """Where the server listens, as URLs; of use when it was asked for port 0."""


@dataclass(eq=False)
class AddressUnavailable(ArtifactStoreError):
    """The service cannot listen where it was told to."""

    address: str
    reason: str

    @override
    def __str__(self) -> str:
        return f"cannot listen on {self.address}: {self.reason}; stop what uses it, or choose another with --bind"


class HttpServer(Actor[HttpRole]):
    """Serves the application.

    Args:
        bind: `HOST:PORT` to listen on.
        health: asks the HealthActor.
        snapshot: looks at the supervision tree; None while it is starting.
    """

    def __init__(
        self,
        bind: str,
        health: Callable[[], Awaitable[HealthReport]],
        snapshot: Callable[[], SupervisorSnapshot | None],
    ) -> None:
        self._bind = bind
        self._app = make_app(health, snapshot)
        self._stop = trio.Event()
        self._stopped = trio.Event()
        self._bound: tuple[str, ...] = ()

    @override
    async def on_start(self) -> None:
        sockets = await _listen(self._bind)
        send, receive = trio.open_memory_channel[tuple[str, ...]](1)
        self.context.start_child("hypercorn", self._serve, sockets, send)
        self._bound = await receive.receive()

    async def _serve(self, sockets: Sequence[int], report: trio.MemorySendChannel[tuple[str, ...]]) -> None:
        config = Config()
        config.bind = [f"fd://{descriptor}" for descriptor in sockets]
        config.graceful_timeout = _GRACE_S
        config.read_timeout = _READ_TIMEOUT_S
        config.errorlog = None
        try:
            async with trio.open_nursery() as nursery:
                # Quart's application is an ASGI one; Hypercorn's own type for that is narrower than the protocol.
                app = cast("ASGIFramework", self._app)
                run = partial(serve, app, config, shutdown_trigger=self._stop.wait, mode="asgi")
                bound = cast("list[str]", await nursery.start(cast("Callable[..., Awaitable[Any]]", run)))
                report.send_nowait(tuple(bound))
        finally:
            self._stopped.set()

    @override
    async def on_stop(self) -> None:
        self._stop.set()
        await self._stopped.wait()

    @handles(BoundAddresses)
    async def bound_addresses(self, message: BoundAddresses) -> tuple[str, ...]:  # noqa: ARG002
        """Where the server listens."""
        return self._bound


async def _listen(bind: str) -> list[int]:
    """Descriptors that listen. Hypercorn would bind by itself, and leave an open socket behind where it cannot."""
    host, _, port = bind.rpartition(":")
    try:
        listeners = await trio.open_tcp_listeners(int(port), host=host.strip("[]"))
    except OSError as error:
        raise AddressUnavailable(bind, error.strerror or str(error)) from error
    return [listener.socket.detach() for listener in listeners]
