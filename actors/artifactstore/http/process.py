"""The store as a service: a process that runs the supervision tree with an HTTP server until a signal arrives.

The first signal cancels a start that is still running, or begins to drain the server. The second signal ends the drain.
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
from artifactstore.http.api.identity import identify_token
from artifactstore.http.api.model import UploadLimits
from artifactstore.http.authentication import Authenticator, Identify
from artifactstore.http.jobs import service_jobs
from artifactstore.http.listening import Listening, check_listening
from artifactstore.http.maintenance import Maintenance, MaintenanceRole
from artifactstore.http.notify import notify
from artifactstore.http.overview import overview_of
from artifactstore.http.server import BoundAddresses, Drain, HttpRole, HttpServer
from artifactstore.http.sessions import CODE_S, Sessions, login_grant
from artifactstore.open import open_store
from artifactstore.registry import Registry
from artifactstore.supervision import ActorRef, ActorSpec, LoopBlocked, Report, StallReport
from artifactstore.tree import Actors
from artifactstore_protocols.messages import GetHealth
from artifactstore_protocols.records import HealthReport
from artifactstore_protocols.supervision import AskError, SupervisorSnapshot

__all__ = ["EXIT_STUCK", "REPORT_AGE_MAX_S", "Service", "http_service", "run_service"]

EXIT_STUCK = 70
"""The exit code of a service that ended itself because its event loop was blocked or an actor did not stop."""

_LAST_WORDS_S = 3.0
"""Seconds for the log to write the report before the exit. Nothing waits for the log, since it may be what blocks."""

REPORT_AGE_MAX_S = 1.0
"""Maximum age of a health report, in seconds, before the service measures again."""

_ANSWER_TIMEOUT_S = 30.0
_ORDERLY_SIGNALS = 2


def run_service(
    settings: Settings,
    listening: Listening,
    *,
    drain_s: float,
    announce: Callable[[str], None],
    login_as: str | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then drain and return.

    Args:
        settings: settings of the store. A missing store is created.
        listening: addresses and options of the listeners.
        drain_s: seconds that running requests get after the signal. A second signal ends the wait.
        announce: called with one line of text for each address that the service listens on, and when it stops.
        login_as: the user for whom a link with a one-time code is announced; None for no link.

    Raises:
        RemoteBindRefused: other machines could reach the address, and the options do not allow that.
        AddressUnavailable: the service cannot listen on an address, for example because the port is in use.
        CertificateUnusable: the given files cannot be used for TLS.
        StartFailed: an actor could not start. All other errors of `open_registry` can occur too.
    """
    signals.run(Service(settings, listening, drain_s, announce, login_as).run, orderly=_ORDERLY_SIGNALS)


def _end_if_stuck(report: Report) -> None:
    """End the process after a report of a blocked event loop or an actor that will not stop: only a restart helps."""
    if isinstance(report, LoopBlocked | StallReport):
        end = threading.Timer(_LAST_WORDS_S, os._exit, [EXIT_STUCK])
        end.daemon = True
        end.start()


class Service:
    """A running service, with the signals that stop it."""

    def __init__(
        self,
        settings: Settings,
        listening: Listening,
        drain_s: float,
        announce: Callable[[str], None],
        login_as: str | None = None,
    ) -> None:
        self._login_as = login_as
        self._settings, self._listening = settings, listening
        self._drain_s, self._announce = drain_s, announce
        self._http = ActorRef[HttpRole]("http")
        self._registry: Registry | None = None
        self._opening, self._draining = trio.CancelScope(), trio.CancelScope()
        self._told = trio.Event()

    async def run(self, stops: signals.StopSignals) -> None:
        """Serve until a signal arrives, drain until all requests are done or the next signal, and close the store."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._heed, stops)
            served: outcome.Outcome[None] | None = None
            with self._opening:
                served = await outcome.acapture(self._serve)  # as a value, since a nursery wraps an error in a group
            nursery.cancel_scope.cancel(reason="the service has stopped")
        if served is not None and not self._opening.cancel_called:
            served.unwrap()

    async def _heed(self, stops: signals.StopSignals) -> None:
        """Announce the first signal and stop a running start; end the drain at the second signal."""
        number = await stops.receive()
        notify("STOPPING=1")
        self._announce(f"artifactstore stops: {number.name}")
        self._told.set()
        if self._registry is None:
            self._opening.cancel(reason="stopped while it opened")
        await stops.receive()
        self._draining.cancel(reason="a second signal")

    async def _serve(self) -> None:
        """Open the store, announce its addresses, wait for the first signal, and drain the server."""
        await check_listening(self._listening)  # before a store is created for a service that cannot listen
        sessions = Sessions()
        services = http_service(self._http, self._listening, lambda: self._registry, self._settings, sessions=sessions)
        async with open_store(self._settings, services, on_report=_end_if_stuck) as self._registry:
            bound = await self._http.ask(BoundAddresses())
            for url in bound:
                self._announce(f"artifactstore serves {url}{'' if url.startswith('unix:') else '/health'}")
            self._announce_login(bound, sessions)
            notify("READY=1")
            await self._told.wait()
            with self._draining, suppress(AskError):
                await self._http.ask(Drain(self._drain_s), timeout=self._drain_s + _ANSWER_TIMEOUT_S)

    def _announce_login(self, bound: Sequence[str], sessions: Sessions) -> None:
        """Announce a link that lets the user in. The code is in the part that browsers do not send."""
        public = self._listening.peers.public_url
        url = next((each for each in bound if not each.startswith("unix:")), None) if public is None else public.text
        if self._login_as is not None and url is not None:
            code = sessions.issue_code(login_grant(self._login_as))
            self._announce(f"artifactstore opens {url}/login#{code} once, within {CODE_S:.0f} s")


def http_service(
    http: ActorRef[HttpRole],
    listening: Listening,
    registry: Callable[[], Registry | None],
    settings: Settings | None = None,
    *,
    identify: Identify = identify_token,
    sessions: Sessions | None = None,
) -> Callable[[Actors], Sequence[ActorSpec[Any]]]:
    """Return the argument `services` of `open_store` for a store that serves HTTP.

    Args:
        http: reference of the server's actor.
        listening: addresses and options of the listeners.
        registry: returns the open store; None while it is starting.
        settings: say which jobs the service repeats, and what it takes; None for no jobs and the defaults.
        identify: returns what a token allows.
        sessions: the sessions of browsers, which outlive a restart of the server's actor.
    """
    kept = Sessions() if sessions is None else sessions
    authenticator = Authenticator(registry, identify, listening.peers, kept, anonymous_read=listening.anonymous_read)

    def snapshot() -> SupervisorSnapshot | None:
        store = registry()
        return None if store is None else store.snapshot()

    limits = UploadLimits()
    if settings is not None:
        limits = UploadLimits(settings.upload_max_mib << 20, settings.upload_reserve_mib << 20)

    def services(actors: Actors) -> Sequence[ActorSpec[Any]]:
        async def measure() -> HealthReport:
            return await actors.health.ask(GetHealth(REPORT_AGE_MAX_S))

        def server() -> HttpServer:
            look = overview_of(registry)
            return HttpServer(listening, measure, snapshot, actors.projection, look, authenticator, limits)

        spec = ActorSpec(ref=http, factory=server)
        if settings is None:
            return (spec,)
        jobs = service_jobs(settings, registry)
        return (spec, ActorSpec(ref=ActorRef[MaintenanceRole]("maintenance"), factory=lambda: Maintenance(jobs)))

    return services
