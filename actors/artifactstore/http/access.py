"""The access log. Each HTTP request gets a name, which its log messages carry, and a log line when it is answered."""

import logging
from typing import cast

import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope

from artifactstore.supervision.requests import request_named

__all__ = ["logged_requests"]

_logger = logging.getLogger("artifactstore.http.access")


def logged_requests(app: ASGIFramework) -> ASGIFramework:
    """Return `app` with its requests named and logged.

    A log line has method, path, status and duration. The path keeps its percent-encoding, so that it cannot contain a
    line break. The line has no query and no client headers, since they may contain private data.
    """

    async def serve(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        began = trio.current_time()
        status = 0

        async def sending(event: ASGISendEvent) -> None:
            nonlocal status
            if event["type"] == "http.response.start":
                status = event["status"]
            await send(event)

        with request_named():
            try:
                await app(scope, receive, sending)
            finally:
                took_s = trio.current_time() - began
                outcome = str(status) if status else "unanswered"
                path = scope["raw_path"].decode("latin-1")
                _logger.info("%s %s %s, %.3f s", scope["method"], path, outcome, took_s)

    return cast("ASGIFramework", serve)
