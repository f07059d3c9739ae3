"""The body of a request on its way from a client to an application: at whose pace it comes, and how it ends."""

import re
import tracemalloc
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from itertools import pairwise
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.http.request_body import BODY_KEY, BodyCut, BodyTooLong, RequestBody
from unit.http.test_connection import REQUEST, Receive, Send, connected, everything

type Take = Callable[[RequestBody], Awaitable[bytes]]

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
LARGE = 8 << 20


def taking(take: Take) -> object:
    """An application that answers with what `take` returns of the body."""

    async def app(scope: dict[str, Any], _receive: Receive, send: Send) -> None:
        answer = await take(scope["state"][BODY_KEY])
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


async def whole(body: RequestBody) -> bytes:
    try:
        return await body.read(LARGE)
    except BodyCut as error:
        return b"late" if error.late else b"cut"
    except BodyTooLong:
        return b"too long"


async def refused(_body: RequestBody) -> bytes:
    return b"no"


def bodies(received: bytes) -> list[bytes]:
    """The bodies of answers, each of which is one piece."""
    return [part.partition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 200 ")[1:]]


async def test_a_body_of_a_known_length_and_one_in_chunks_arrive_whole() -> None:
    async with connected(taking(whole)) as (client, _connection, _over):
        await client.send_all(HEAD + b"Content-Length: 5\r\n\r\nfirst" + HEAD + b"Content-Length: 0\r\n\r\n")
        await client.send_all(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n")
        received = b""
        while b"second" not in received:
            received += await client.receive_some()
        await client.send_all(HEAD + b"Content-Length: 5\r\n\r\nthird")
        await client.send_eof()
        assert bodies(received + await everything(client)) == [b"first", b"", b"second", b"third"]


async def test_what_follows_a_body_in_chunks_before_its_answer_is_not_read() -> None:
    async with connected(taking(whole)) as (client, _connection, _over):
        chunks = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n"
        await client.send_all(chunks + HEAD + b"Content-Length: 6\r\n\r\nsecond")
        assert bodies(await everything(client)) == [b"first"]


async def test_nothing_is_received_that_nobody_asked_for() -> None:
    ask = trio.Event()

    async def later(body: RequestBody) -> bytes:
        await ask.wait()
        return b"%d" % len(await whole(body))

    async with trio.open_nursery() as nursery, connected(taking(later)) as (client, _connection, _over):
        is_sent = trio.Event()

        async def send() -> None:
            await client.send_all(HEAD + b"Content-Length: %d\r\n\r\n" % LARGE + bytes(LARGE))
            is_sent.set()

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert not is_sent.is_set()
        ask.set()
        await is_sent.wait()
        await client.send_eof()
        assert bodies(await everything(client)) == [b"%d" % LARGE]


async def test_a_client_is_invited_only_when_its_body_is_wanted() -> None:
    ask = trio.Event()

    async def later(body: RequestBody) -> bytes:
        await ask.wait()
        return await whole(body)

    announced = HEAD + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    async with connected(taking(later)) as (client, _connection, _over):
        await client.send_all(announced)
        await trio.testing.wait_all_tasks_blocked()
        ask.set()
        assert (await client.receive_some()).startswith(b"HTTP/1.1 100 ")
        await client.send_all(b"whole")
        await client.send_eof()
        assert bodies(await everything(client)) == [b"whole"]
    async with connected(taking(refused)) as (client, _connection, _over):
        await client.send_all(announced)
        received = await everything(client)
        assert b"HTTP/1.1 100 " not in received
        assert bodies(received) == [b"no"]


async def test_a_refused_body_ends_the_connection_after_the_answer() -> None:
    async with connected(taking(refused)) as (client, _connection, over):
        await client.send_all(HEAD + b"Content-Length: 500000\r\n\r\n" + bytes(100_000))
        assert bodies(await everything(client)) == [b"no"]
        await client.aclose()
        await over.wait()


async def test_a_short_body_that_is_discarded_leaves_the_connection_open() -> None:
    async def forgotten(body: RequestBody) -> bytes:
        await body.discard(1000)
        return b"no"

    async with connected(taking(forgotten)) as (client, _connection, _over):
        for _ in range(2):
            await client.send_all(HEAD + b"Content-Length: 1000\r\n\r\n" + bytes(1000))
            received = b""
            while not received.endswith(b"no"):
                received += await client.receive_some()


@pytest.mark.parametrize(
    "words", [b"Content-Length: 6\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"]
)
async def test_a_body_that_a_client_leaves_is_cut(words: bytes) -> None:
    async with connected(taking(whole)) as (client, _connection, _over):
        await client.send_all(HEAD + words)
        await client.send_eof()
        assert bodies(await everything(client)) == [b"cut"]


async def test_a_malformed_chunk_is_refused() -> None:
    async with connected(taking(whole)) as (client, _connection, over):
        await client.send_all(HEAD + b"Transfer-Encoding: chunked\r\n\r\nnothing\r\n")
        assert (await everything(client)).startswith(b"HTTP/1.1 400 ")
        await client.aclose()
        await over.wait()


async def test_an_application_that_ends_with_the_client_ends() -> None:
    """It awaits more of a body when the connection breaks, so it must hear of that."""
    ended = list[bytes]()

    async def noted(body: RequestBody) -> bytes:
        ended.append(await whole(body))
        return b""

    async with connected(taking(noted)) as (client, _connection, over):
        await client.send_all(HEAD + b"Content-Length: 6\r\n\r\nhalf")
        await trio.testing.wait_all_tasks_blocked()
        await client.aclose()
        await over.wait()
    assert ended == [b"cut"]


async def test_a_body_of_more_than_the_limit_is_refused_however_it_is_framed() -> None:
    async def short(body: RequestBody) -> bytes:
        try:
            return await body.read(9)
        except BodyTooLong:
            return b"too long"

    for words in (b"Content-Length: 10\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n"):
        async with connected(taking(short)) as (client, _connection, _over):
            await client.send_all(HEAD + b"Connection: close\r\n" + words)
            assert bodies(await everything(client)) == [b"too long"]


async def test_a_client_has_time_for_each_part_of_a_large_body(autojump_clock: trio.testing.MockClock) -> None:
    """The time in which the application is busy does not count, and a part is 256 KiB."""

    async def slow(body: RequestBody) -> bytes:
        await trio.sleep(100)
        return b"%d" % len(await whole(body))

    async with connected(taking(slow)) as (client, _connection, _over):
        await client.send_all(HEAD + b"Content-Length: %d\r\n\r\n" % (20 << 18))
        for _ in range(20):
            await trio.sleep(20)
            await client.send_all(bytes(1 << 18))
        await client.send_eof()
        assert bodies(await everything(client)) == [b"%d" % (20 << 18)]


async def test_a_body_that_drips_is_late(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery, connected(taking(whole)) as (client, _connection, _over):

        async def drip() -> None:
            await client.send_all(HEAD + b"Content-Length: 1000\r\n\r\n")
            while True:
                await client.send_all(b"x")
                await trio.sleep(1)

        nursery.start_soon(drip)
        received = b""
        while not received.endswith(b"late"):
            received += await client.receive_some()
        nursery.cancel_scope.cancel()
    assert bodies(received) == [b"late"]
    assert trio.current_time() == pytest.approx(30, abs=1)


ENDS: Mapping[str, tuple[bytes, int]] = {
    "a plain end": (b"5\r\nfirst\r\n0\r\n\r\n", 2),
    "a longer zero": (b"5\r\nfirst\r\n000\r\n\r\n", 2),
    "trailers": (b"5\r\nfirst\r\n0\r\nX: y\r\n\r\n", 1),
    "trailers that end with bare line feeds": (b"5\r\nfirst\r\n0\r\nX: y\n\n", 1),
    "an end with a bare line feed": (b"5\r\nfirst\r\n0\r\n\n", 1),
    "an extension of the last chunk": (b"5\r\nfirst\r\n0;x=y\r\n\r\n", 1),
    "a space after a size": (b"5 \r\nfirst\r\n0\r\n\r\n", 2),
    "a bare line feed after a size": (b"5\nfirst\r\n0\r\n\r\n", 1),
    "a bare line feed after a chunk": (b"5\r\nfirst\n0\r\n\r\n", 1),
    "a bare line feed in an extension": (b"5;x\ny\r\nfirst\r\n0\r\n\r\n", 1),
    "a sign": (b"+5\r\nfirst\r\n0\r\n\r\n", 1),
    "a negative size": (b"-5\r\nfirst\r\n0\r\n\r\n", 1),
    "a prefix": (b"0x5\r\nfirst\r\n0\r\n\r\n", 1),
    "a size that wraps in 64 bits": (b"10000000000000005\r\nfirst\r\n0\r\n\r\n", 1),
    "a size of 21 digits": (b"000000000000000000005\r\nfirst\r\n0\r\n\r\n", 1),
    "a chunk that is too short": (b"4\r\nfirst\r\n0\r\n\r\n", 1),
    "an endless size": (b"0" * (64 << 10), 1),
    "an endless extension": (b"5;" + b"x" * (64 << 10), 1),
    "endless trailers": (b"0\r\n" + b"X: y\r\n" * (16 << 10), 1),
}
"""Bodies in chunks, and how many answers a client gets that sends another request after one."""


@pytest.mark.parametrize("case", ENDS)
async def test_a_request_is_read_after_chunks_only_if_every_proxy_sees_their_end_there(case: str) -> None:
    chunks, count = ENDS[case]
    async with connected(taking(whole)) as (client, _connection, over):
        received = b""
        with suppress(trio.BrokenResourceError):
            await client.send_all(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
            await trio.testing.wait_all_tasks_blocked()
            await client.send_all(REQUEST)
            await trio.testing.wait_all_tasks_blocked()
            await client.send_eof()
            received = await everything(client)
        assert received.count(b"HTTP/1.1 ") == count, received
        await client.aclose()
        await over.wait()


async def of_path(scope: dict[str, Any], _receive: Receive, send: Send) -> None:
    """An application that treats the body as the path says, and answers with the path."""
    body: RequestBody = scope["state"][BODY_KEY]
    _, treatment, _ = scope["path"].split("/")
    if treatment == "whole":
        await whole(body)
    elif treatment == "piece":
        async with aclosing(body.pieces()) as pieces:
            await anext(pieces, None)
    elif treatment == "discarded":
        await body.discard(1000)
    path = scope["path"].encode()
    headers = [(b"content-length", b"%d" % len(path))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": path})


def framed(number: int, treatment: str, framing: str, body: bytes) -> tuple[bytes, bytes]:
    """The path of a request, and the request."""
    path = b"/%s/%d" % (treatment.encode(), number)
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\n" % path
    if framing == "none":
        return path, head + b"\r\n"
    if framing == "chunks":
        cut = len(body) // 2
        parts = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:cut], body[cut:]) if part)
        return path, head + b"Transfer-Encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n"
    expect = b"Expect: 100-continue\r\n" if framing == "announced" else b""
    return path, head + expect + b"Content-Length: %d\r\n\r\n" % len(body) + body


SMUGGLED = b"POST /whole/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(["whole", "piece", "discarded", "refused"]),
        st.sampled_from(["none", "length", "chunks", "announced"]),
        st.tuples(st.binary(max_size=9), st.just(SMUGGLED), st.binary(max_size=9)).map(b"".join),
    ),
    min_size=1,
    max_size=5,
)


@given(REQUESTS, st.lists(st.integers(0, 1500), max_size=4))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_no_part_of_a_body_is_a_request_whatever_became_of_the_body(
    requests: list[tuple[str, str, bytes]], cuts: list[int]
) -> None:
    sent = [framed(number, *request) for number, request in enumerate(requests)]
    words = b"".join(request for _path, request in sent)
    ends = [0, *sorted(min(cut, len(words)) for cut in cuts), len(words)]
    received = b""

    async def talk() -> None:
        nonlocal received
        async with connected(of_path) as (client, _connection, _over):
            with suppress(trio.BrokenResourceError):
                for start, end in pairwise(ends):
                    await client.send_all(words[start:end])
                    await trio.testing.wait_all_tasks_blocked()
                await client.send_eof()
            received = await everything(client)

    trio.run(talk, clock=trio.testing.MockClock(autojump_threshold=0))
    answered = re.findall(rb"\r\n\r\n(/\w+/(?:\d|smuggled))", received)
    paths = [path for path, _request in sent]
    assert answered == paths[: len(answered)]
    assert answered  # the connection never ends before the first answer
    if all(treatment == "whole" and framing != "chunks" for treatment, framing, _body in requests):
        assert answered == paths


async def test_a_drain_lets_a_body_arrive_and_closes_after_the_answer() -> None:
    async with connected(taking(whole)) as (client, connection, over):
        await client.send_all(HEAD + b"Content-Length: 9\r\n\r\nfirst")
        await trio.testing.wait_all_tasks_blocked()
        connection.drain()
        await client.send_all(b"last")
        assert bodies(await everything(client)) == [b"firstlast"]
        await client.aclose()
        await over.wait()


@pytest.mark.slow
async def test_two_hundred_bodies_that_nobody_reads_take_little_memory() -> None:
    async def never(_body: RequestBody) -> bytes:
        await trio.sleep_forever()
        return b""

    async def send(task_status: trio.TaskStatus[None]) -> None:
        async with connected(taking(never)) as (client, _connection, _over):
            task_status.started()
            await client.send_all(HEAD + b"Content-Length: %d\r\n\r\n" % LARGE)
            await client.send_all(zeros)

    zeros = bytes(LARGE)
    tracemalloc.start()
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                await nursery.start(send)
            await trio.testing.wait_all_tasks_blocked()
            held, _peak = tracemalloc.get_traced_memory()
            nursery.cancel_scope.cancel()
    finally:
        tracemalloc.stop()
    assert held < LARGE + 200 * (256 << 10)


async def test_a_client_can_go_away_at_every_byte() -> None:
    chunks = HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nsec\r\n0\r\nX: y\r\n\r\n"
    for words in (HEAD + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nfirst", chunks):
        for end in range(len(words) + 1):
            async with connected(taking(whole)) as (client, _connection, over):
                await client.send_all(words[:end])
                if end % 2:
                    await trio.testing.wait_all_tasks_blocked()
                await client.aclose()
                await over.wait()
