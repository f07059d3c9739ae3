"""A service in this process, and a small client that says exactly what a test wants to say, on a socket of its own."""

import json
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import h11
import trio

from artifactstore import Registry, Settings
from artifactstore.http.listening import Listening
from artifactstore.http.process import http_service
from artifactstore.http.server import BoundAddresses, HttpRole
from artifactstore.http.sessions import Sessions
from artifactstore.open import open_store
from artifactstore.supervision import ActorRef
from http_viewer import VIEWER, identify

__all__ = [
    "GUARD_S",
    "LOOPBACK",
    "VIEWER",
    "Answer",
    "Service",
    "answer_to",
    "ask",
    "connect",
    "read_events",
    "serving",
    "talk",
]

GUARD_S = 60
"""Ends a test that waits for what will not come."""

LOOPBACK = Listening("127.0.0.1:0")


@dataclass(frozen=True, slots=True)
class Service:
    """A running one.

    Attributes:
        registry: its store.
        url: where it serves.
        sessions: the sessions of browsers.
    """

    registry: Registry
    url: str
    sessions: Sessions

    async def ask(
        self,
        target: str,
        method: str = "GET",
        *,
        headers: Sequence[tuple[str, str]] = (),
        context: ssl.SSLContext | None = None,
    ) -> "Answer":
        """One request of somebody who may see the pages, and its answer."""
        return await ask(self.url, target, method, headers=(VIEWER, *headers), context=context)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever it is
        return json.loads(self.body)


@asynccontextmanager
async def serving(
    settings: Settings, listening: Listening = LOOPBACK, *, limited: bool = False
) -> AsyncGenerator[Service]:
    """Open a store that serves HTTP; within the limits of the settings, and with their jobs, if it is `limited`."""
    http = ActorRef[HttpRole]("http")
    running: list[Registry] = []
    store = settings if limited else None
    sessions = Sessions()
    services = http_service(
        http, listening, lambda: running[0] if running else None, store, identify=identify, sessions=sessions
    )
    async with open_store(settings, services) as registry:
        running.append(registry)
        [url] = await http.ask(BoundAddresses())
        yield Service(registry, url, sessions)


async def connect(url: str, context: ssl.SSLContext | None = None) -> trio.abc.Stream:
    """A connection to a service."""
    if url.startswith("unix:"):
        return await trio.open_unix_socket(url.removeprefix("unix:"))
    host, _, port = url.partition("://")[2].rpartition(":")
    stream = await trio.open_tcp_stream(host.strip("[]"), int(port))
    if context is None:
        return stream
    return trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True)


def request(target: str, method: str = "GET", headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """The head of a request, as it goes over the wire."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers)]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


async def ask(
    url: str,
    target: str,
    method: str = "GET",
    *,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    context: ssl.SSLContext | None = None,
) -> Answer:
    """One request on a connection of its own, and its answer."""
    with trio.fail_after(GUARD_S):
        stream = await connect(url, context)
        async with stream:
            await stream.send_all(request(target, method, headers) + body)
            return await answer_to(stream, method)


async def answer_to(stream: trio.abc.Stream, method: str) -> Answer:
    """The answer to a request with this method that was sent."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "store")]))
    client.send(h11.EndOfMessage())
    head: h11.Response | None = None
    parts: list[bytes] = []
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA:
            client.receive_data(bytes(await stream.receive_some()))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            parts.append(bytes(event.data))
        else:
            assert isinstance(event, h11.EndOfMessage)
            assert head is not None
            fields = {name.decode(): value.decode() for name, value in head.headers}
            return Answer(head.status_code, fields, b"".join(parts))


async def talk(url: str, words: bytes) -> bytes:
    """Say exactly this on a connection of its own; everything that comes back until the service closes it."""
    received = b""
    with trio.fail_after(GUARD_S):
        async with await connect(url) as stream:
            with suppress(trio.BrokenResourceError):  # it may hang up before it was told everything
                await stream.send_all(words)
            while part := await stream.receive_some():
                received += part
    return received


async def read_events(stream: trio.abc.Stream, count: int) -> list[dict[str, Any]]:
    """The next events of an open stream of server-sent events, each with its `id`."""
    found: list[dict[str, Any]] = []
    text = b""
    with trio.fail_after(GUARD_S):
        while len(found) < count:
            chunk = await stream.receive_some()
            assert chunk, "the stream ended"
            text += chunk
            *lines, text = text.split(b"\n")
            for line in lines:
                name, _, value = line.decode().strip().partition(": ")
                if name == "id":
                    found.append({"id": int(value)})
                elif name == "data":
                    found[-1] |= json.loads(value)
        while b"\n\n" not in text and not text.endswith(b"\r\n") and text:
            text += await stream.receive_some()
    return found
