"""The store as a process of its own: the tree with an HTTP server in it, until a signal says stop.

The first signal cancels a start that is under way, or begins to drain. The second one ends the drain.
"""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import outcome
import trio

from artifactstore import signals
from artifactstore.config import Settings
from artifactstore.http.listening import Listening, check_listening
from artifactstore.http.notify import notify
from artifactstore.http.server import BoundAddresses, Drain, HttpRole, HttpServer
from artifactstore.open import open_store
from artifactstore.registry import Registry
from artifactstore.supervision import ActorRef, ActorSpec, LoopBlocked, Report, StallReport
from artifactstore.tree import Actors
from artifactstore_protocols.messages import GetHealth
from artifactstore_protocols.records import HealthReport
from artifactstore_protocols.supervision import AskError, SupervisorSnapshot

__all__ = ["EXIT_STUCK", "REPORT_AGE_MAX_S", "Service", "http_service", "run_service"]

EXIT_STUCK = 70
"""The exit code of a service that ended itself because something in it neither continued nor stopped."""

_LAST_WORDS_S = 3.0
"""What the log is given to take the report of it. It may be the very thing that blocks, so nothing waits for it."""

REPORT_AGE_MAX_S = 1.0
"""How old a health report may be, in seconds, before it is measured again."""

_ANSWER_TIMEOUT_S = 30.0
_ORDERLY_SIGNALS = 2


def run_service(settings: Settings, listening: Listening, *, drain_s: float, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then drain and return.

    Args:
        settings: of the store; it is created if there is none.
        listening: where and how to listen.
        drain_s: how long requests under way may take after the signal; a second signal ends that.
        announce: told in a line where the service listens, and that it stops.

    Raises:
        RemoteBindRefused: other machines could reach it, and nobody said that they may.
        AddressUnavailable: it cannot listen there, for example because the port is in use.
        CertificateUnusable: there is no TLS with these files.
        StartFailed, and what `open_registry` raises.
    """
    signals.run(Service(settings, listening, drain_s, announce).run, orderly=_ORDERLY_SIGNALS)


def _end_if_stuck(report: Report) -> None:
    """Nothing inside a process can repair a blocked loop or a task that will not stop; a fresh process can."""
    if isinstance(report, LoopBlocked | StallReport):
        end = threading.Timer(_LAST_WORDS_S, os._exit, [EXIT_STUCK])
        end.daemon = True
        end.start()


class Service:
    """A service and the signals that it gets."""

    def __init__(
        self, settings: Settings, listening: Listening, drain_s: float, announce: Callable[[str], None]
    ) -> None:
        self._settings, self._listening = settings, listening
        self._drain_s, self._announce = drain_s, announce
        self._http = ActorRef[HttpRole]("http")
        self._registry: Registry | None = None
        self._opening, self._draining = trio.CancelScope(), trio.CancelScope()
        self._told = trio.Event()

    async def run(self, stops: signals.StopSignals) -> None:
        """Serve until a signal comes, drain until the next, and close the store."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._heed, stops)
            served: outcome.Outcome[None] | None = None
            with self._opening:
                served = await outcome.acapture(self._serve)  # as a value: a nursery would make a group of an error
            nursery.cancel_scope.cancel(reason="the service has stopped")
        if served is not None and not self._opening.cancel_called:
            served.unwrap()

    async def _heed(self, stops: signals.StopSignals) -> None:
        number = await stops.receive()
        notify("STOPPING=1")
        self._announce(f"artifactstore stops: {number.name}")
        self._told.set()
        if self._registry is None:
            self._opening.cancel(reason="stopped while it opened")
        await stops.receive()
        self._draining.cancel(reason="a second signal")

    async def _serve(self) -> None:
        await check_listening(self._listening)  # before a store is made for a service that cannot be
        services = http_service(self._http, self._listening, self._snapshot)
        async with open_store(self._settings, services, on_report=_end_if_stuck) as self._registry:
            for url in await self._http.ask(BoundAddresses()):
                self._announce(f"artifactstore serves {url}{'' if url.startswith('unix:') else '/health'}")
            notify("READY=1")
            await self._told.wait()
            with self._draining, suppress(AskError):
                await self._http.ask(Drain(self._drain_s), timeout=self._drain_s + _ANSWER_TIMEOUT_S)

    def _snapshot(self) -> SupervisorSnapshot | None:
        return None if self._registry is None else self._registry.snapshot()


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
            return await actors.health.ask(GetHealth(REPORT_AGE_MAX_S))

        return (ActorSpec(ref=http, factory=lambda: HttpServer(listening, measure, snapshot, actors.projection)),)

    return services
