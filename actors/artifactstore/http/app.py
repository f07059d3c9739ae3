"""The routes of the service, and the properties of every answer.

The routes of this module only read; the API has others. Answers are never cached, have strict security headers, and
report errors as RFC 9457 JSON. `/livez` reports that the process answers, and `/readyz` whether the store can work.
`/health` is the health report, and `/metrics` the same for Prometheus. `/tree` is the supervision tree, and
`/events/stream` is the live log. `/` is a page for people.
"""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from http import HTTPStatus
from typing import Any, cast

from quart import Response, render_template, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, NotFound

from artifactstore.http.access import facts_of
from artifactstore.http.api.application import Api
from artifactstore.http.api.model import UploadLimits
from artifactstore.http.api.table import ROUTES
from artifactstore.http.api.upload_turns import Uploads
from artifactstore.http.authentication import Authenticator, Identity
from artifactstore.http.gate import Gate
from artifactstore.http.guard import IDENTITY, Guard
from artifactstore.http.hosts import Hosts
from artifactstore.http.metrics import METRICS_CONTENT_TYPE, RequestCounts, Sources, exposition
from artifactstore.http.overview import Look, Overview, nothing_yet
from artifactstore.http.page import ASSETS, PAGE, TEMPLATES, view_of
from artifactstore.http.problems import problem, problem_of
from artifactstore.http.shortcut import (
    DETAILED,
    HEADERS,
    HTML_HEADERS,
    Application,
    Measure,
    Receive,
    Scope,
    Send,
    Shortcut,
    render,
)
from artifactstore.http.streams import EventStreams
from artifactstore.http.tus import Tus
from artifactstore.ids import now_us
from artifactstore.json_output import Json, json_text, to_json
from artifactstore_protocols.events import SEQUENCE_MAX, parse_sequence
from artifactstore_protocols.records import HealthReport
from artifactstore_protocols.resumable_uploads import RESUMABLE_LIMITS
from artifactstore_protocols.supervision import Refusal, SupervisorSnapshot

__all__ = ["make_app"]

_logger = logging.getLogger("artifactstore.http")

_METHODS = {"GET", "HEAD"}
_LIMITS = UploadLimits()
_STREAM_AGAIN_AFTER_S = "5"
# These headers stop proxies from delaying events by buffering or compressing them; nginx obeys the second one.
_STREAM_HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
_AT_ITS_END = "artifactstore.at_its_end"
_NEEDED_TO_BE_READY = {"registry", "database", "storage"}
_NEEDED_ACTORS = {f"actor:{name}" for name in ("database", "storage", "event-writer", "projection", "ingest")}


def make_app(
    measure: Measure,
    snapshot: Callable[[], SupervisorSnapshot | None],
    streams: EventStreams,
    authenticator: Authenticator,
    connections: Callable[[], int] = lambda: 0,
    *,
    hosts: Hosts | None = None,
    look: Look = nothing_yet,
    limits: UploadLimits = _LIMITS,
) -> QuartTrio:
    """Return the application.

    Args:
        measure: returns the health report.
        snapshot: returns the supervision tree; None while the tree is starting.
        streams: the event streams of this server.
        authenticator: tells who sends a request.
        connections: returns the number of open connections.
        hosts: names that clients may use for the service, besides loopback names.
        look: returns the contents of the store.
        limits: the limits of uploads.
    """
    app = QuartTrio("artifactstore", static_folder=None, template_folder=str(TEMPLATES))
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    counts = RequestCounts()
    _add_hooks(app, counts)
    _add_health_routes(app, measure)
    _add_stream_route(app, streams)
    _serve_assets(app)

    @app.get("/")
    async def get_page() -> Response:
        report: HealthReport | str
        try:
            report = await measure()
        except Refusal as error:
            report = str(error)
        view = view_of(report, snapshot(), await look(), now_us())
        session = _identity().session
        html = await render_template(PAGE, view=view, csrf=None if session is None else session.csrf)
        return Response(html, headers=HTML_HEADERS, content_type="text/html; charset=utf-8")

    @app.get("/metrics")
    async def get_metrics() -> Response:
        try:
            report = await measure()
        except Refusal:  # the metric artifactstore_healthy reports it
            report = None
        found = await look()
        contents = found if isinstance(found, Overview) else None
        sources = Sources(report, snapshot(), connections(), streams.open, contents)
        return Response(exposition(sources, counts), content_type=METRICS_CONTENT_TYPE)

    @app.get("/tree")
    async def get_tree() -> Response:
        found = snapshot()
        if found is None:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "The store is starting.")
        return _answer(to_json(found))

    # Quart documents this assignment for middleware; a type checker rejects an assignment to a method.
    ordinary = cast("Application", app.asgi_app)
    shortcut = Shortcut(_ended(ordinary), measure, counts)
    api = Api(shortcut, ROUTES, authenticator, streams, Uploads(RESUMABLE_LIMITS), counts, limits)
    guard = Guard(api, authenticator, counts)
    app.asgi_app = cast("Any", Tus(Gate(guard, hosts or Hosts(), counts)))  # type: ignore[method-assign]
    return app


def _ended(application: Application) -> Application:
    """Return `application` with an `ExitStack` in each scope, which closes when the request ends, also by an error."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        with ExitStack() as at_its_end:
            await application({**scope, _AT_ITS_END: at_its_end}, receive, send)

    return serve


def _add_health_routes(app: QuartTrio, measure: Measure) -> None:
    @app.get("/livez")
    async def get_livez() -> Response:
        return _answer({"status": "alive"})

    @app.get("/readyz")
    async def get_readyz() -> Response:
        try:
            reasons = _not_ready(await measure())
        except Refusal as error:
            reasons = ["health"]
            _logger.warning("the health cannot be told: %s", error)
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        return _answer({"status": "not ready" if reasons else "ready", "reasons": reasons}, status)

    @app.get("/health")
    async def get_health() -> Response:
        detailed: bool = cast("Scope", request.scope)[DETAILED]
        try:
            status, body = render(await measure(), detailed=detailed)
        except Refusal as error:  # the health actor itself is down
            reasons: dict[str, Json] = {"reasons": [str(error)]} if detailed else {}
            return _answer({"status": "unavailable", **reasons}, HTTPStatus.SERVICE_UNAVAILABLE)
        return Response(body, status=status, content_type="application/json")


def _add_stream_route(app: QuartTrio, streams: EventStreams) -> None:
    @app.get("/events/stream")
    async def get_events() -> Response:
        since = parse_sequence(request.headers.get("Last-Event-ID") or request.args.get("since", "0"))
        if since is None:
            detail = f"`since` and Last-Event-ID are sequences: whole numbers from 0 to {SEQUENCE_MAX}."
            return problem(HTTPStatus.BAD_REQUEST, detail)
        holder = _identity().grant.principal
        if not streams.take(holder):
            full = problem(HTTPStatus.SERVICE_UNAVAILABLE, "As many streams are open as may be; try again later.")
            full.headers["Retry-After"] = _STREAM_AGAIN_AFTER_S
            return full
        # Take the place here, not when the body begins: many requests can pass the check before the first body begins.
        at_its_end: ExitStack = cast("Scope", request.scope)[_AT_ITS_END]
        at_its_end.callback(streams.give_back, holder)
        body = b"" if request.method == "HEAD" else streams.follow(since, _identity().recheck)
        answer = Response(body, headers=_STREAM_HEADERS, content_type="text/event-stream")
        answer.timeout = None  # a stream ends with its client or with the service, not by a timeout
        return answer


def _identity() -> Identity:
    """Return who sends the current request, as the guard found."""
    found: Identity = cast("Scope", request.scope)[IDENTITY]
    return found


def _serve_assets(app: QuartTrio) -> None:
    files = {name: (TEMPLATES / name).read_bytes() for name in ASSETS}

    @app.get("/page/<name>")
    async def get_asset(name: str) -> Response:
        if name not in files:
            raise NotFound
        return Response(files[name], content_type=f"{ASSETS[name]}; charset=utf-8")


def _answer(value: Json, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(json_text(value) + "\n", status=status, content_type="application/json")


def _not_ready(report: HealthReport) -> list[str]:
    needed = _NEEDED_TO_BE_READY | _NEEDED_ACTORS
    return [part.name for part in report.components if part.name in needed and not part.healthy]


def _add_hooks(app: QuartTrio, counts: RequestCounts) -> None:
    """Register the error handlers, and the headers and counters of every answer."""

    @app.errorhandler(HTTPException)
    async def refuse(error: HTTPException) -> Response:
        return problem_of(error)

    @app.errorhandler(Exception)
    async def fail(error: Exception) -> Response:
        _logger.error("%s %s failed", request.method, request.path, exc_info=error)
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR)

    @app.after_request
    async def finish(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        path = "other" if request.url_rule is None else request.url_rule.rule
        facts_of(cast("Scope", request.scope)).route = path
        counts.count(path, request.method if request.method in _METHODS else "other", response.status_code)
        return response
