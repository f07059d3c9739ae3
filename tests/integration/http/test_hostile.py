"""Whatever comes over a connection gets an orderly answer: no crash, no traceback, and nobody else notices."""

import json
import logging
import re
from collections.abc import Mapping, Sequence

import pytest
import trio

from artifactstore.http.heads import HEAD_BYTES_MAX
from integration.http.serving import GUARD_S, VIEWER, Service, connect, talk

END = "Connection: close\r\n\r\n"


def get(target: str = "/livez", *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request that asks for the connection to be closed, so that its answer has an end."""
    first = (f"{method} {target} HTTP/{version}", "Host: localhost", ": ".join(VIEWER))
    head = "".join(f"{line}\r\n" for line in (*first, *lines))
    return f"{head}{END}".encode("latin-1")


def padded(length: int) -> bytes:
    """A request whose head has exactly this many bytes."""
    empty = len(get("/livez", "X: "))
    return get("/livez", f"X: {'x' * (length - empty)}")


WORDS: Mapping[str, tuple[bytes, Sequence[int]]] = {
    # What decides where a request ends
    "two framings": (get("/livez", "Content-Length: 6", "Transfer-Encoding: chunked") + b"0\r\n\r\nX", [400]),
    "two framings, the other way": (get("/livez", "Transfer-Encoding: chunked", "Content-Length: 0"), [400]),
    "two lengths": (get("/livez", "Content-Length: 5", "Content-Length: 6"), [400]),
    "one length twice": (get("/livez", "Content-Length: 0", "Content-Length: 0"), [400]),
    "a list of lengths": (get("/livez", "Content-Length: 5, 6"), [400]),
    "a negative length": (get("/livez", "Content-Length: -1"), [400]),
    "a length with a sign": (get("/livez", "Content-Length: +1"), [400]),
    "a length in hex": (get("/livez", "Content-Length: 0x5"), [400]),
    "5,000 digits of length": (get("/livez", f"Content-Length: {'9' * 5000}"), [400]),
    "an unknown coding": (get("/livez", "Transfer-Encoding: gzip, chunked"), [501]),
    "two codings": (get("/livez", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), [501]),
    "a hidden coding": (get("/livez", "Transfer-Encoding : chunked"), [400]),
    "a coding with a control character": (get("/livez", "Transfer-Encoding: \x0bchunked"), [400]),
    "a folded line": (get("/livez", "X: a", " b"), [400]),
    "a folded first line": (get("/livez", " X: a"), [400]),
    "bare line feeds": (b"GET /livez HTTP/1.1\nHost: localhost\n\n", [400]),
    "one bare line feed": (get("/livez", "X: a\nY: b"), [400]),
    "a bare carriage return": (get("/livez", "X: a\rY: b"), [400]),
    "a NUL": (get("/livez", "X: a\0b"), [400]),
    "a header without a name": (get("/livez", ": x"), [400]),
    "a header without a colon": (get("/livez", "nothing"), [400]),
    "a body": (get("/livez", "Content-Length: 5", method="POST") + b"12345", [413]),
    "a body and a request in it": (get("/livez", "Content-Length: 61") + get("/tree"), [413]),
    "chunks": (get("/livez", "Transfer-Encoding: chunked") + b"5\r\n12345\r\n0\r\n\r\n", [413]),
    "a chunk of a bad size": (get("/livez", "Transfer-Encoding: chunked") + b"xyz\r\n", [413]),
    "a chunk without end": (get("/livez", "Transfer-Encoding: chunked") + b"f" * 4096, [413]),
    "a large body": (get("/livez", "Content-Length: 900000") + b"x" * 900_000, [413]),
    "a body that was announced": (get("/livez", "Content-Length: 5", "Expect: 100-continue"), [413]),
    "an expectation without a body": (get("/livez", "Expect: 100-continue"), [200]),
    "an unknown expectation": (get("/livez", "Expect: miracles"), [200]),
    # How large a head may be
    "the largest head": (padded(HEAD_BYTES_MAX), [200]),
    "a head one byte larger": (padded(HEAD_BYTES_MAX + 1), [431]),
    "a head much larger": (padded(60_000), [431]),
    "a head of many packets": (padded(500_000), [431]),
    "many headers": (get("/livez", *("a:" for _ in range(3_000))), [200]),
    "a flood of headers": (get("/livez", *("a: b" for _ in range(50_000))), [431]),
    "a request line without end": (b"GET /" + b"a" * 200_000, [414]),
    "a large path": (get(f"/{'a' * 16_000}"), [404]),
    # Targets
    "a path that is no UTF-8": (get("/%ff%fe"), [404]),
    "a path with half an escape": (get("/%"), [404]),
    "a path with a NUL": (get("/%00"), [404]),
    "a path with line ends": (get("/%0d%0aX:%20y"), [404]),
    "a path with raw bytes": (get("/\xff"), [400]),
    "a path that goes up": (get("/page/../../../etc/passwd"), [404]),
    "a path that goes up, escaped": (get("/page/%2e%2e%2f%2e%2e%2fetc%2fpasswd"), [404]),
    "two slashes": (get("//evil.example/livez"), [404]),
    "no path": (get("livez"), [400]),
    "only a query": (get("?since=1"), [400]),
    "a space in the target": (get("/li vez"), [400]),
    "the whole server": (get("*", method="OPTIONS"), [405]),
    "a tunnel": (get("localhost:1", method="CONNECT"), [400]),
    "a URL": (get("http://localhost/livez"), [200]),
    "a URL without a path": (get("http://localhost"), [200]),
    "a URL elsewhere": (get("http://evil.example/livez"), [421]),
    "a URL of another scheme": (get("ftp://localhost/livez"), [400]),
    "a URL with a user": (get("http://evil.example@localhost/livez"), [400]),
    "5,000 digits of a sequence": (get(f"/events/stream?since={'9' * 5000}"), [400]),
    "a sequence that no log has": (get(f"/events/stream?since={2**63}"), [400]),
    "5,000 digits of a last event": (get("/events/stream", f"Last-Event-ID: {'9' * 5000}"), [400]),
    "a last event that no log has": (get("/events/stream", f"Last-Event-ID: {2**63}"), [400]),
    "a negative sequence": (get("/events/stream?since=-1"), [400]),
    "an empty sequence": (get("/events/stream?since="), [400]),
    "digits of another script": (get("/events/stream?since=%D9%A1"), [400]),
    "a query that is no UTF-8": (get("/livez?%ff=%fe"), [200]),
    # Methods and versions
    "tracing": (get(method="TRACE"), [405]),
    "an unknown method": (get(method="BREW"), [405]),
    "a long method": (get(method="A" * 5000), [405]),
    "no method": (b" /livez HTTP/1.1\r\n\r\n", [400]),
    "no version": (b"GET /livez\r\n\r\n", [400]),
    "HTTP/0.9": (get(version="0.9"), [505]),
    "HTTP/1.0": (get(version="1.0"), [200]),
    "HTTP/1.0 without Host": (b"GET /livez HTTP/1.0\r\n\r\n", [400]),
    "HTTP/2": (get(version="2.0"), [505]),
    "HTTP/9.9": (get(version="9.9"), [505]),
    "prior knowledge of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [405, 505]),
    "an upgrade to HTTP/2": (get("/livez", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), [200]),
    "an upgrade to WebSocket": (
        f"GET /livez HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n"
        f"Sec-WebSocket-Key: {'x' * 24}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode(),
        [200],
    ),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), [400]),
    "noise": (bytes(range(256)) * 300, [400]),
    "empty lines first": (b"\r\n\r\n" + get(), [200]),
    "line feeds without end": (b"\n" * 100_000, [400]),
    # What is ignored
    "a large range": (get("/metrics", f"Range: bytes={','.join('0-1' for _ in range(3000))}"), [200]),
    "a condition": (get("/livez", "If-None-Match: *", "If-Modified-Since: never"), [200]),
    "a cookie": (get("/livez", f"Cookie: {'a=b; ' * 3000}"), [200]),
}


async def test_every_request_gets_an_orderly_answer(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    wrong = {
        what: received
        for what, (words, statuses) in WORDS.items()
        if not is_orderly(received := await talk(service.url, words), statuses)
    }
    assert wrong == {}
    await is_unharmed(service, caplog)


def is_orderly(received: bytes, statuses: Sequence[int]) -> bool:
    """Whether it is one whole answer, with one of these statuses and what every answer of the service says."""
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if not (
        first.startswith("HTTP/1.1 ")
        and int(first.split(" ")[1]) in statuses
        and fields.get("cache-control", "").startswith("no-store")
        and fields.get("x-content-type-options") == "nosniff"
        and not re.search(rb"HTTP/1.1 \d", body)
    ):
        return False
    if first.startswith("HTTP/1.1 2"):
        return True
    problem = json.loads(body)
    return (
        fields["content-type"] == "application/problem+json"
        and list(problem) == ["type", "title", "status", "detail"]
        and problem["status"] == int(first.split(" ")[1])
    )


async def is_unharmed(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert (await service.ask("/livez")).status == 200
    [http] = [child for child in service.registry.snapshot().children if child.name == "http"]
    assert (http.starts, http.last_failure) == (1, None)


@pytest.mark.slow
async def test_a_flood_of_requests_at_once_is_answered_in_order(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    ask_for = b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n"
    received = await talk(service.url, b"".join(ask_for % number for number in range(500)) + get())
    assert received.count(b"HTTP/1.1 401") == 500
    assert received.count(b"HTTP/1.1 200") == 1
    await is_unharmed(service, caplog)


@pytest.mark.slow
async def test_clients_that_leave_in_the_middle_leave_nothing_behind(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Among them those that have asked for more than was answered."""
    with trio.fail_after(GUARD_S):
        for words in (b"", b"GET", get() * 100, get("/events/stream") + get("/events/stream"), get("/metrics") * 50):
            for _ in range(10):
                stream = await connect(service.url)
                await stream.send_all(words)
                await trio.aclose_forcefully(stream)
        while b"artifactstore_http_connections 1.0" not in (await service.ask("/metrics")).body:
            pass  # until the service has heard of all of them
    await is_unharmed(service, caplog)
