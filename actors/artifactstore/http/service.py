"""The store as a process of its own: the tree with an HTTP server in it, until a signal says stop."""

import logging
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

import trio

from artifactstore.config import Settings
from artifactstore.http.server import BoundAddresses, HttpRole, HttpServer
from artifactstore.open import open_store
from artifactstore.registry import Registry
from artifactstore.supervision import ActorRef, ActorSpec, LoopBlocked, Report, StallReport
from artifactstore.tree import Actors
from artifactstore_protocols.messages import GetHealth
from artifactstore_protocols.records import HealthReport
from artifactstore_protocols.supervision import SupervisorSnapshot

__all__ = ["EXIT_STUCK", "run_service"]

EXIT_STUCK = 70
"""The exit code of a service that ended itself because something in it neither went on nor stopped."""

_HEALTH_AGE_MAX_S = 1.0


def run_service(bind: str, *, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return.

    Args:
        bind: `HOST:PORT`.
        announce: told in a line where the service listens, and that it stops.

    Raises:
        AddressUnavailable: it cannot listen there, for example because the port is in use.
        StartFailed, and what `open_registry` raises.
    """
    trio.run(_serve, bind, announce)


def _end_if_stuck(report: Report) -> None:
    """Nothing inside a process can mend a blocked loop or a task that will not stop; a fresh process can."""
    if isinstance(report, LoopBlocked | StallReport):
        logging.shutdown()
        os._exit(EXIT_STUCK)


async def _serve(bind: str, announce: Callable[[str], None]) -> None:
    http = ActorRef[HttpRole]("http")
    registry: Registry | None = None

    def services(actors: Actors) -> Sequence[ActorSpec[Any]]:
        async def health() -> HealthReport:
            return await actors.health.ask(GetHealth(_HEALTH_AGE_MAX_S))

        def snapshot() -> SupervisorSnapshot | None:
            return None if registry is None else registry.snapshot()

        return (ActorSpec(ref=http, factory=lambda: HttpServer(bind, health, snapshot)),)

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_store(Settings.from_environment(), services, on_report=_end_if_stuck) as registry:
            for url in await http.ask(BoundAddresses()):
                announce(f"artifactstore serves {url}/health")
            async for number in signals:
                announce(f"artifactstore stops: {signal.Signals(number).name}")
                break
