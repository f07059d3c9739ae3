"""A fast path for `/health`, the most frequent request.

Monitors send this request often, so its response bypasses the framework, which takes more than half of the time of a
response. All other requests, and unusual requests for `/health`, go through the framework. The responses of both paths
are the same.
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from artifactstore.http.access import facts_of
from artifactstore.http.metrics import RequestCounts
from artifactstore.ids import now_us
from artifactstore.json_output import health_to_json, json_text
from artifactstore_protocols.records import HealthReport
from artifactstore_protocols.supervision import Refusal

__all__ = ["HEADERS", "Application", "Measure", "Receive", "Scope", "Send", "Shortcut", "render"]

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every response of the service."""

_PATH = "/health"
_METHODS = frozenset({"GET", "HEAD"})
_BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})

# The types of the ASGI specification.
type Scope = Mapping[str, Any]
type Receive = Callable[[], Awaitable[Mapping[str, Any]]]
type Send = Callable[[dict[str, Any]], Awaitable[None]]
type Application = Callable[[Scope, Receive, Send], Awaitable[None]]


type Measure = Callable[[], Awaitable[HealthReport]]
"""A function that returns a health report of limited age, or raises a `Refusal` if the health actor is down."""


def render(report: HealthReport) -> tuple[HTTPStatus, bytes]:
    """Return the status and the body of the response to `/health`."""
    body = f"{json_text(health_to_json(report, now_us()))}\n".encode()
    return HTTPStatus.OK if report.healthy else HTTPStatus.SERVICE_UNAVAILABLE, body


class Shortcut:
    """An ASGI application that answers plain requests for `/health`, and passes all others to another application.

    Args:
        application: the application that handles all other requests.
        measure: returns the health report.
        counts: counters of all requests.
    """

    def __init__(self, application: Application, measure: Measure, counts: RequestCounts) -> None:
        self._application = application
        self._measure = measure
        self._counts = counts
        fields = {"Content-Type": "application/json", **HEADERS}
        self._headers = [(name.lower().encode(), value.encode()) for name, value in fields.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a plain request for `/health`; pass any other request to the application."""
        if not _is_plain(scope):
            await self._application(scope, receive, send)
            return
        try:
            status, body = render(await self._measure())
        except Refusal:
            await self._application(scope, receive, send)
            return
        headers = [*self._headers, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status.value, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        facts_of(scope).route = _PATH
        self._counts.count(_PATH, scope["method"], status)


def _is_plain(scope: Scope) -> bool:
    """Return whether this is a GET or HEAD request for `/health` without a body."""
    return (
        scope["type"] == "http"
        and scope["path"] == _PATH
        and scope["method"] in _METHODS
        and not any(name.lower() in _BODY_HEADERS for name, _value in scope["headers"])
    )
