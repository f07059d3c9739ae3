"""Time on a connection, by a clock of the test's own: who may wait, and for how long."""

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, cast

import pytest
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework

from artifactstore.http.app import make_app
from artifactstore.http.connection import Connection
from artifactstore.http.streams import EventStreams
from artifactstore.streams import ChannelStream
from artifactstore.supervision import Actor, ActorRef, ActorSpec, SupervisorSpec, handles, open_tree
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.messages import OpenTail, ProjectionRole, Stream
from artifactstore_protocols.records import HealthReport
from http_viewer import VIEWER_LINE, viewers

type Receive = Callable[[], Awaitable[dict[str, Any]]]
type Send = Callable[[dict[str, Any]], Awaitable[None]]

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HOURS_S = 6 * 3600


@asynccontextmanager
async def connected(app: object) -> AsyncGenerator[tuple[trio.SocketStream, Connection, trio.Event]]:
    """A client, the connection that it talks to, and what is set when that is over."""
    ours, theirs = socket.socketpair()
    over = trio.Event()
    async with trio.open_nursery() as nursery, trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as client:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        wrapped = ASGIWrapper(cast("ASGIFramework", app))
        connection = Connection(stream, wrapped, Config(), WorkerContext(None))

        async def run() -> None:
            await connection.run()
            over.set()

        nursery.start_soon(run)
        yield client, connection, over
        await client.aclose()
        await over.wait()


async def everything(client: trio.SocketStream) -> bytes:
    received = b""
    while part := await client.receive_some():
        received += part
    return received


def answering(write: Callable[[Send], Awaitable[None]]) -> object:
    """An application that begins an answer, and writes it so."""

    async def app(_scope: object, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:

            async def leave_with_the_client() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(leave_with_the_client)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await write(send)
            await send({"type": "http.response.body", "body": b"the end"})
            nursery.cancel_scope.cancel()

    return app


async def hours_later(send: Send) -> None:
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    await trio.sleep(HOURS_S)


async def without_end(send: Send) -> None:
    while True:
        await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})


class Quiet(Actor[ProjectionRole]):
    """A log in which nothing happens."""

    @handles(OpenTail)
    async def open_tail(self, message: OpenTail) -> Stream[StoredEvent]:  # noqa: ARG002
        async def nothing() -> AsyncGenerator[StoredEvent]:
            await trio.sleep_forever()
            yield cast("StoredEvent", None)

        tasks = iter(range(9))
        return ChannelStream(
            "quiet",
            "event",
            source=nothing,
            start=lambda fill: self.context.start_child(f"tail {next(tasks)}", fill),
        )


async def test_a_stream_lasts_as_long_as_its_client_and_the_service(autojump_clock: trio.testing.MockClock) -> None:
    """Hours in which nothing happens: no proxy and no deadline of ours takes the line for dead."""

    async def measure() -> HealthReport:
        raise NotImplementedError

    projection = ActorRef[ProjectionRole]("projection")
    streams = EventStreams(projection)
    app = make_app(measure, lambda: None, streams, viewers())
    spec = SupervisorSpec(name="root", children=(ActorSpec(ref=projection, factory=Quiet),))
    async with open_tree(spec), connected(app) as (client, _connection, _over):
        await client.send_all(b"GET /events/stream HTTP/1.1\r\nHost: localhost\r\n" + VIEWER_LINE + b"\r\n")
        received = b""
        heartbeats = list[float]()
        while trio.current_time() < HOURS_S:
            part = await client.receive_some()
            assert part, "the stream was cut"
            received += part
            heartbeats += [trio.current_time()] * part.count(b": still here\n\n")
        head, _, _body = received.partition(b"\r\n\r\n")
        assert b"\r\ncache-control: no-store, no-transform\r\n" in head
        assert b"\r\nx-accel-buffering: no\r\n" in head
        gaps = [later - earlier for earlier, later in pairwise(heartbeats)]
        assert len(gaps) > 1000
        assert max(gaps) == pytest.approx(15)
        assert streams.open == 1
        streams.end()
        assert (await everything(client)).endswith(b"0\r\n\r\n")
    assert streams.open == 0
    assert trio.current_time() < HOURS_S + 60


async def test_a_client_that_closes_its_side_gets_its_answer(autojump_clock: trio.testing.MockClock) -> None:
    async def measure() -> HealthReport:
        await trio.sleep(HOURS_S)
        return HealthReport("1.0", 0, ())

    app = make_app(measure, lambda: None, EventStreams(ActorRef[ProjectionRole]("projection")), viewers())
    async with connected(app) as (client, _connection, over):
        await client.send_all(
            b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        await client.send_eof()
        answers = await everything(client)
        assert answers.count(b"HTTP/1.1 200 ") == 2
        assert answers.endswith(b"}\n")
        await over.wait()


@pytest.mark.parametrize("begun", [True, False], ids=["begun", "only asked for"])
async def test_a_stream_ends_when_its_client_closes_its_side(
    autojump_clock: trio.testing.MockClock, *, begun: bool
) -> None:
    projection = ActorRef[ProjectionRole]("projection")
    app = make_app(cast("Any", None), lambda: None, EventStreams(projection), viewers())
    spec = SupervisorSpec(name="root", children=(ActorSpec(ref=projection, factory=Quiet),))
    async with open_tree(spec), connected(app) as (client, _connection, over):
        began = trio.current_time()
        await client.send_all(b"GET /events/stream HTTP/1.1\r\nHost: localhost\r\n" + VIEWER_LINE + b"\r\n")
        if begun:
            assert b" 200 " in await client.receive_some()
        await client.send_eof()
        await everything(client)
        await over.wait()
        assert trio.current_time() - began < 15


async def test_an_answer_may_take_its_time(autojump_clock: trio.testing.MockClock) -> None:
    async with connected(answering(hours_later)) as (client, _connection, over):
        await client.send_all(REQUEST)
        received = b""
        while not received.endswith(b"0\r\n\r\n"):
            received += await client.receive_some()
        assert b"begun" in received
        assert b"the end" in received
        assert trio.current_time() == HOURS_S
        assert not over.is_set(), "it may ask again"


async def test_a_client_that_says_nothing_is_left(autojump_clock: trio.testing.MockClock) -> None:
    async with connected(answering(hours_later)) as (client, _connection, _over):
        assert await everything(client) == b""
        assert trio.current_time() == pytest.approx(10)


async def test_a_head_that_arrives_too_slowly_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    """A byte a second would keep a connection busy for hours."""
    async with trio.open_nursery() as nursery, connected(answering(hours_later)) as (client, _connection, _over):

        async def drip() -> None:
            for byte in REQUEST:
                await client.send_all(bytes([byte]))
                await trio.sleep(1)

        nursery.start_soon(drip)
        received = await everything(client)
        nursery.cancel_scope.cancel()
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b'"status": 408' in received
    assert trio.current_time() == pytest.approx(10)


async def test_a_client_that_takes_nothing_is_left(autojump_clock: trio.testing.MockClock) -> None:
    async with connected(answering(without_end)) as (client, _connection, over):
        await client.send_all(REQUEST)
        await over.wait()
        assert trio.current_time() == pytest.approx(30, abs=2)


async def test_draining_answers_what_was_asked_and_then_ends(autojump_clock: trio.testing.MockClock) -> None:
    async with connected(answering(hours_later)) as (client, connection, over):
        await client.send_all(REQUEST)
        await client.receive_some()
        connection.drain()
        await trio.sleep(HOURS_S / 2)
        assert not over.is_set()
        received = await everything(client)
        assert b"the end" in received
        assert trio.current_time() == pytest.approx(HOURS_S)


@pytest.mark.parametrize("words", [b"", b"GET / HT"], ids=["nothing", "half a request"])
async def test_draining_ends_what_only_waits(autojump_clock: trio.testing.MockClock, words: bytes) -> None:
    async with connected(answering(hours_later)) as (client, connection, over):
        await client.send_all(words)
        await trio.testing.wait_all_tasks_blocked()
        connection.drain()
        await over.wait()
        assert trio.current_time() == 0
        assert await everything(client) == b""


async def test_draining_waits_little_for_a_client_that_takes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with connected(answering(without_end)) as (client, connection, over):
        await client.send_all(REQUEST)
        await trio.testing.wait_all_tasks_blocked()
        connection.drain()
        await over.wait()
        assert trio.current_time() == pytest.approx(2)


async def test_a_client_has_time_for_each_part_of_a_large_answer(autojump_clock: trio.testing.MockClock) -> None:
    """An application hands over pieces of many megabytes, which a slow line takes minutes for."""
    size_bytes = 8 << 20

    async def app(_scope: object, _receive: Receive, send: Send) -> None:
        length = [(b"content-length", b"%d" % size_bytes)]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": bytes(size_bytes)})

    async with connected(app) as (client, _connection, _over):
        await client.send_all(REQUEST)
        for _ in range(size_bytes // (256 << 10)):
            await trio.sleep(10)
            left = 256 << 10
            while left:
                part = await client.receive_some(left)
                assert part, "the answer was cut"
                left -= len(part)
        assert trio.current_time() > 4 * 60
