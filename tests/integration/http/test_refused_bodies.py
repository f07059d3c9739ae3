"""What happens to a connection after the API has refused a request that has a body."""

from collections.abc import Mapping
from contextlib import suppress

import pytest
import trio

from integration.http.described import Described, bearer
from integration.http.serving import GUARD_S, connect, request

JSON = ("Content-Type", "application/json")
SMUGGLED = request("/livez/smuggled")
LIVE = request("/livez")

REFUSED: Mapping[str, tuple[str, str | None, tuple[tuple[str, str], ...], int]] = {
    "no token": ("/v1/packages", None, (JSON,), 401),
    "a token that is none": ("/v1/packages", "ast_0", (JSON,), 401),
    "no such path": ("/v1/nothing", "all", (JSON,), 404),
    "no such method": ("/v1/stats", "all", (JSON,), 405),
    "no such answer": ("/v1/packages", "all", (JSON, ("Accept", "text/html")), 406),
    "no scope": ("/v1/packages", "reader", (JSON,), 403),
    "no such parameter": ("/v1/packages?x=1", "all", (JSON,), 400),
    "no such package": ("/v1/packages/none/finalize", "all", (JSON,), 404),
    "a body where none is taken": ("/v1/packages/a-1/finalize", "all", (JSON,), 413),
    "another media type": ("/v1/packages", "all", (("Content-Type", "text/plain"),), 415),
    "no JSON": ("/v1/packages", "all", (JSON,), 400),
}


@pytest.fixture
async def filled(api: Described) -> Described:
    registry = api.service.registry
    await registry.create_package("a-1")
    api.secrets["reader"] = str(await registry.create_token("reader", scopes=("read",)))
    return api


def refused(api: Described, case: str, *framing: tuple[str, str]) -> bytes:
    """The head of a request that is refused."""
    target, who, headers, _status = REFUSED[case]
    secret = None if who is None else api.secrets.get(who, who)
    return request(target, "POST", [*bearer(secret), *headers, *framing])


async def said(stream: trio.abc.Stream, *, until: bytes | None = None) -> bytes:
    """What comes back until the service has closed, or has said this."""
    received = b""
    with suppress(trio.BrokenResourceError):
        while (until is None or until not in received) and (part := await stream.receive_some()):
            received += part
    return received


def statuses(received: bytes) -> list[int]:
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


async def test_a_connection_lives_on_after_a_short_body(filled: Described) -> None:
    """The body looks like a request, and is never taken for one."""
    length = ("Content-Length", str(len(SMUGGLED)))
    with trio.fail_after(GUARD_S):
        async with await connect(filled.service.url) as stream:
            for case, (*_request, status) in REFUSED.items():
                await stream.send_all(refused(filled, case, length) + SMUGGLED)
                answer = await said(stream, until=b'"detail"')
                assert statuses(answer) == [status], (case, answer)
                await stream.send_all(LIVE)
                assert statuses(await said(stream, until=b"HTTP/1.1 200")) == [200], case


async def test_a_body_that_cannot_be_skipped_ends_the_connection_after_the_answer(filled: Described) -> None:
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    large = SMUGGLED * 4096
    for case, (*_request, status) in REFUSED.items():
        if case == "no JSON":  # it has been read, so the connection lives on
            continue
        for head, body in (
            (refused(filled, case, ("Transfer-Encoding", "chunked")), chunk),
            (refused(filled, case, ("Content-Length", str(len(large)))), large),
        ):
            with trio.fail_after(GUARD_S):
                async with await connect(filled.service.url) as stream:
                    with suppress(trio.BrokenResourceError):
                        await stream.send_all(head + body)
                        await stream.send_all(LIVE)
                    assert statuses(await said(stream)) == [status], case


async def test_no_client_is_invited_to_send_a_body_that_is_refused(filled: Described) -> None:
    announced = (("Content-Length", "100"), ("Expect", "100-continue"))
    for case, (*_request, status) in REFUSED.items():
        if case == "no JSON":  # nobody knows before it is there
            continue
        with trio.fail_after(GUARD_S):
            async with await connect(filled.service.url) as stream:
                await stream.send_all(refused(filled, case, *announced))
                assert statuses(await said(stream)) == [status], case
