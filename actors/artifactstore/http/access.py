"""The access log. Each HTTP request gets a name, which its log messages carry, and a log line when it is answered.

A line has the method, the route, the status and the duration, and for the API the package id and the name of the token.
It has no path, query or header: they contain names of packages and files, and secrets.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast, override

import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope

from artifactstore.supervision.requests import request_named

__all__ = ["RequestFacts", "facts_of", "logged_requests"]

_logger = logging.getLogger("artifactstore.http.access")

_FACTS: Final = "artifactstore.facts"
_NAME_HEADER: Final = b"x-request-id"
_NAME: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class RequestFacts:
    """What the application finds out about a request, for its line in the log.

    Attributes:
        route: the template of its path.
        package_id: the id of the package that it names; None if it names none.
        token: the name of its token; None without a valid one.
    """

    def __init__(self) -> None:
        self.route = "other"
        self.package_id: str | None = None
        self.token: str | None = None

    @override
    def __str__(self) -> str:
        told = [self.route]
        if self.package_id is not None:
            told.append(f"package {self.package_id}")
        if self.token is not None:
            told.append(f"token {self.token}")
        return ", ".join(told)


def facts_of(scope: Mapping[str, Any]) -> RequestFacts:
    """Return the facts of a request, to be filled; those of a request that is not logged are forgotten."""
    found: RequestFacts = scope.get("state", {}).get(_FACTS) or RequestFacts()
    return found


def logged_requests(app: ASGIFramework) -> ASGIFramework:
    """Return `app` with its requests named and logged.

    The name of a request is its `X-Request-Id` if that is a plain word, and a new one otherwise.
    """

    async def serve(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        began = trio.current_time()
        status = 0
        facts = RequestFacts()
        named = cast("Mapping[str, Any]", scope)
        known = {**named, "state": {**named.get("state", {}), _FACTS: facts}}

        async def sending(event: ASGISendEvent) -> None:
            nonlocal status
            if event["type"] == "http.response.start":
                status = event["status"]
            await send(event)

        with request_named(_given_name(scope["headers"])):
            try:
                await app(cast("Scope", known), receive, sending)
            finally:
                took_s = trio.current_time() - began
                outcome = str(status) if status else "unanswered"
                _logger.info("%s %s: %s, %.3f s", scope["method"], facts, outcome, took_s)

    return cast("ASGIFramework", serve)


def _given_name(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    given = [value for name, value in headers if name == _NAME_HEADER]
    return given[0].decode() if len(given) == 1 and _NAME.fullmatch(given[0]) else None
