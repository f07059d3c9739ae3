"""A short way for the one question that is asked most: `/health`, answered from bytes that are there already.

Monitors ask often and all get the same answer, so it is put into bytes once in a tenth of a second at most, and while
the report behind it is fresh it goes out without passing the framework, which costs more than half of an answer.
Everything else, and whatever is unusual about a request, takes the ordinary way, and is answered the same.
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import trio

from artifactstore.facts import as_json, health_facts
from artifactstore.http.metrics import RequestCounts
from artifactstore.http.readings import Readings
from artifactstore.ids import now_us
from artifactstore_protocols.records import HealthReport

__all__ = ["HEADERS", "Application", "HealthAnswers", "Shortcut"]

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

_RENDERED_FOR_S = 0.1
_PATH = "/health"
_METHODS = frozenset({"GET", "HEAD"})
_BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})

# ASGI's own types, as its specification has them.
type Scope = Mapping[str, Any]
type Receive = Callable[[], Awaitable[Mapping[str, Any]]]
type Send = Callable[[dict[str, Any]], Awaitable[None]]
type Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class HealthAnswers:
    """The report as bytes, with ages that are right to a tenth of a second.

    Args:
        readings: has the report.
    """

    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self._rendered: tuple[HealthReport, float, bytes] | None = None

    async def answer(self) -> tuple[HTTPStatus, bytes]:
        """Status and body; measured first, where that is due.

        Raises:
            Refusal: who measures is down.
        """
        return self._render(await self._readings.report())

    def fresh(self) -> tuple[HTTPStatus, bytes] | None:
        """Status and body, if nothing has to be measured for them."""
        report = self._readings.fresh()
        return None if report is None else self._render(report)

    def _render(self, report: HealthReport) -> tuple[HTTPStatus, bytes]:
        now = trio.current_time()
        kept = self._rendered
        if kept is None or kept[0] is not report or now - kept[1] > _RENDERED_FOR_S:
            kept = self._rendered = report, now, f"{as_json(health_facts(report, now_us()))}\n".encode()
        return HTTPStatus.OK if report.healthy else HTTPStatus.SERVICE_UNAVAILABLE, kept[2]


class Shortcut:
    """An ASGI application in front of another.

    Args:
        application: what answers everything else.
        answers: to `/health`.
        counts: of all requests.
    """

    def __init__(self, application: Application, answers: HealthAnswers, counts: RequestCounts) -> None:
        self._application = application
        self._answers = answers
        self._counts = counts
        fields = {"Content-Type": "application/json", **HEADERS}
        self._headers = [(name.lower().encode(), value.encode()) for name, value in fields.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass it on."""
        found = self._answers.fresh() if _is_plain(scope) else None
        if found is None:
            await self._application(scope, receive, send)
            return
        status, body = found
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
