"""A short way for the one question that is asked most: `/health`.

Monitors ask it often, so the answer goes out without passing the framework, which costs more than half of an answer.
Everything else, and whatever is unusual about a request, takes the ordinary way, and is answered the same.
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

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
"""What every answer of the service says."""

_PATH = "/health"
_METHODS = frozenset({"GET", "HEAD"})
_BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})

# ASGI's own types, as its specification has them.
type Scope = Mapping[str, Any]
type Receive = Callable[[], Awaitable[Mapping[str, Any]]]
type Send = Callable[[dict[str, Any]], Awaitable[None]]
type Application = Callable[[Scope, Receive, Send], Awaitable[None]]


type Measure = Callable[[], Awaitable[HealthReport]]
"""Answers with a report that is fresh enough, or raises a `Refusal` where who measures is down."""


def render(report: HealthReport) -> tuple[HTTPStatus, bytes]:
    """Status and body of the answer to `/health`."""
    body = f"{json_text(health_to_json(report, now_us()))}\n".encode()
    return HTTPStatus.OK if report.healthy else HTTPStatus.SERVICE_UNAVAILABLE, body


class Shortcut:
    """An ASGI application in front of another.

    Args:
        application: what answers everything else.
        measure: answers with the health report.
        counts: of all requests.
    """

    def __init__(self, application: Application, measure: Measure, counts: RequestCounts) -> None:
        self._application = application
        self._measure = measure
        self._counts = counts
        fields = {"Content-Type": "application/json", **HEADERS}
        self._headers = [(name.lower().encode(), value.encode()) for name, value in fields.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass it on."""
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
        self._counts.count(_PATH, scope["method"], status)


def _is_plain(scope: Scope) -> bool:
    """Whether it is a request for health without anything about it that would have to be refused."""
    return (
        scope["type"] == "http"
        and scope["path"] == _PATH
        and scope["method"] in _METHODS
        and not any(name.lower() in _BODY_HEADERS for name, _value in scope["headers"])
    )
