"""The access log: a line for each request, with a name, and nothing that a path, a query or another header said."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import override

import pytest
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from artifactstore import Settings
from artifactstore.http.access import logged_requests
from artifactstore.supervision.requests import current_request
from integration.http.serving import ask, serving
from integration.registry.samples import Boom


class Seen(logging.Handler):
    """What was logged, and as part of which request."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str | None]] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.getMessage(), current_request.get()))


@contextmanager
def access_log() -> Generator[list[tuple[str, str | None]]]:
    logger, seen = logging.getLogger("artifactstore.http.access"), Seen()
    logger.addHandler(seen)
    logger.setLevel(logging.INFO)
    try:
        yield seen.lines
    finally:
        logger.removeHandler(seen)
        logger.setLevel(logging.NOTSET)


async def test_each_request_is_a_line_with_a_name(settings: Settings) -> None:
    with access_log() as lines:
        async with serving(settings) as service:
            await ask(
                service.url, "/livez?token=SECRET", headers=[("User-Agent", "SECRET"), ("Authorization", "SECRET")]
            )
            await ask(service.url, "/SECRET%0AGET", "HEAD", headers=[("X-Request-Id", "ci-4711.a")])
            await ask(service.url, "/health", headers=[("X-Request-Id", "SECRET\tand more")])
            await ask(service.url, "/v1/packages/SECRET")
    shown = [line.rpartition(", ")[0] for line, _name in lines]
    assert shown == ["GET /livez: 200", "HEAD other: 404", "GET /health: 200", "GET other: 401"]
    assert lines[1][1] == "ci-4711.a"
    assert len({name for _line, name in lines} - {None}) == 4
    assert "SECRET" not in str(lines)


async def test_a_request_of_the_api_says_which_package_and_token(settings: Settings) -> None:
    with access_log() as lines:
        async with serving(settings) as service:
            secret = await service.registry.create_token("ci", scopes=["read"], packages=["a-*"])
            package = await service.registry.create_package("a-1")
            await ask(service.url, "/v1/packages/a-1", headers=[("Authorization", f"Bearer {secret}")])
            answer = await ask(service.url, "/metrics")
    shown = [line.rpartition(", ")[0] for line, _name in lines]
    assert f"GET /v1/packages/{{package}}, package {package.package_id}, token ci: 200" in shown
    assert b'artifactstore_http_token_requests_total{token="ci"} 1.0' in answer.body


async def test_a_request_that_gets_no_answer_is_logged_as_well() -> None:
    async def fail(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        raise Boom

    with access_log() as lines, pytest.raises(Boom):
        await logged_requests(fail)({"type": "http", "method": "GET", "headers": []}, None, None)  # type: ignore[arg-type]  # as much of a request as is looked at
    [(line, name)] = lines
    assert line.startswith("GET other: unanswered, ")
    assert name is not None


async def test_what_is_no_request_is_passed_on() -> None:
    passed: list[object] = []

    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        passed.append(scope["type"])

    with access_log() as lines:
        await logged_requests(app)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]  # likewise
    assert (passed, lines) == (["lifespan"], [])
