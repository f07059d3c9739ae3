"""The store as a process of its own: the tree with an HTTP server in it, until a signal says stop."""

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import outcome
import trio

from artifactstore import signals
from artifactstore.config import Settings
from artifactstore.http.listening import Listening
from artifactstore.http.notify import notify
from artifactstore.http.readings import Readings
from artifactstore.http.server import BoundAddresses, HttpRole, HttpServer
from artifactstore.open import open_store
from artifactstore.registry import Registry
from artifactstore.supervision import ActorRef, ActorSpec, LoopBlocked, Report, StallReport
from artifactstore.tree import Actors
from artifactstore_protocols.messages import GetHealth
from artifactstore_protocols.records import HealthReport
from artifactstore_protocols.supervision import SupervisorSnapshot

__all__ = ["EXIT_STUCK", "http_service", "run_service"]

EXIT_STUCK = 70
"""The exit code of a service that ended itself because something in it neither went on nor stopped."""

_LAST_WORDS_S = 3.0
"""What the log is given to take the report of it. It may be the very thing that blocks, so nothing waits for it."""


def run_service(settings: Settings, listening: Listening, *, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then drain and return.

    Args:
        settings: of the store; it is created if there is none.
        listening: where and how to listen.
        announce: told in a line where the service listens, and that it stops.

    Raises:
        RemoteBindRefused: other machines could reach it, and nobody said that they may.
        AddressUnavailable: it cannot listen there, for example because the port is in use.
        CertificateUnusable: there is no TLS with these files.
        StartFailed, and what `open_registry` raises.
    """
    signals.run(lambda stops: _serve(settings, listening, announce, stops))


def _end_if_stuck(report: Report) -> None:
    """Nothing inside a process can mend a blocked loop or a task that will not stop; a fresh process can."""
    if isinstance(report, LoopBlocked | StallReport):
        end = threading.Timer(_LAST_WORDS_S, os._exit, [EXIT_STUCK])
        end.daemon = True
        end.start()


async def _serve(
    settings: Settings, listening: Listening, announce: Callable[[str], None], stops: signals.StopSignals
) -> None:
    http = ActorRef[HttpRole]("http")
    registry: Registry | None = None
    services = http_service(http, listening, lambda: None if registry is None else registry.snapshot())
    stop, opening = trio.Event(), trio.CancelScope()

    async def heed() -> None:
        number = await stops.receive()
        notify("STOPPING=1")
        announce(f"artifactstore stops: {number.name}")
        stop.set()
        if registry is None:
            opening.cancel(reason="stopped while it opened")

    async def serve() -> None:
        nonlocal registry
        async with open_store(settings, services, on_report=_end_if_stuck) as registry:
            for url in await http.ask(BoundAddresses()):
                announce(f"artifactstore serves {url}{'' if url.startswith('unix:') else '/health'}")
            notify("READY=1")
            await stop.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(heed)
        served: outcome.Outcome[None] | None = None
        with opening:
            served = await outcome.acapture(serve)  # as a value: a nursery would make a group of an error
        nursery.cancel_scope.cancel()
    if served is not None and not opening.cancel_called:
        served.unwrap()


def http_service(
    http: ActorRef[HttpRole], listening: Listening, snapshot: Callable[[], SupervisorSnapshot | None]
) -> Callable[[Actors], Sequence[ActorSpec[Any]]]:
    """What `open_store` needs to have a store serve HTTP.

    Args:
        http: the server's address.
        listening: where and how to listen.
        snapshot: looks at the supervision tree; None while it is starting.
    """

    def services(actors: Actors) -> Sequence[ActorSpec[Any]]:
        async def measure() -> HealthReport:
            return await actors.health.ask(GetHealth(max_age_s=0))

        readings = Readings(measure)  # outlives a restart of the server
        return (ActorSpec(ref=http, factory=lambda: HttpServer(listening, readings, snapshot, actors.projection)),)

    return services
