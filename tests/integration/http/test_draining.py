"""Signals to a service: the first drains, the second ends the drain, and none is needed where nothing is under way."""

import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio

from artifactstore import Settings
from artifactstore.health import HealthActor
from artifactstore.http.listening import Listening
from artifactstore.http.process import Service
from artifactstore.signals import StopSignals
from artifactstore_protocols.messages import GetHealth
from artifactstore_protocols.records import HealthReport
from integration.http.serving import GUARD_S, connect, request


@dataclass
class Running:
    """A service that takes signals.

    Attributes:
        url: where it serves.
        stop: sends it a signal.
        over: set when it has stopped.
        said: what it announced after that it serves.
    """

    url: str
    stop: Callable[[int], None]
    over: trio.Event
    said: list[str] = field(default_factory=list[str])


@asynccontextmanager
async def running(settings: Settings, *, drain_s: float = 3600) -> AsyncGenerator[Running]:
    stops = StopSignals(orderly=2)
    stops.listen(trio.lowlevel.current_trio_token())
    said, serves, over = list[str](), trio.Event(), trio.Event()

    def announce(line: str) -> None:
        said.append(line)
        serves.set()

    async def run() -> None:
        await Service(settings, Listening("127.0.0.1:0", anonymous_read=True), drain_s, announce).run(stops)
        over.set()

    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await serves.wait()
            url = said.pop().removeprefix("artifactstore serves ").removesuffix("/health")
            yield Running(url, lambda number: stops.put(number, None), over, said)
            await over.wait()


@dataclass(frozen=True, slots=True)
class Slow:
    """A health report that takes as long as the test likes."""

    begun: trio.Event
    go_on: trio.Event


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    found = Slow(trio.Event(), trio.Event())
    report = HealthActor.get_health

    async def slowly(self: HealthActor, message: GetHealth) -> HealthReport:
        found.begun.set()
        await found.go_on.wait()
        return await report(self, message)

    monkeypatch.setattr(HealthActor, "get_health", slowly)
    return found


async def until_closed(stream: trio.abc.Stream) -> bytes:
    received = b""
    try:
        while part := await stream.receive_some():
            received += part
    except trio.BrokenResourceError:
        pass
    return received


async def test_the_first_signal_lets_requests_under_way_finish(settings: Settings, slow: Slow) -> None:
    async with running(settings) as service, await connect(service.url) as stream, await connect(service.url) as idle:
        await stream.send_all(request("/readyz"))
        await slow.begun.wait()
        service.stop(signal.SIGTERM)
        assert await until_closed(idle) == b"", "what only waits is closed at once"
        with pytest.raises(OSError, match="all attempts to connect"):
            await connect(service.url)
        assert not service.over.is_set()
        slow.go_on.set()
        assert (await until_closed(stream)).startswith(b"HTTP/1.1 200 ")
        await service.over.wait()
        assert service.said == ["artifactstore stops: SIGTERM"]


async def test_the_second_signal_ends_that(settings: Settings, slow: Slow) -> None:
    async with running(settings) as service, await connect(service.url) as stream:
        await stream.send_all(request("/readyz"))
        await slow.begun.wait()
        service.stop(signal.SIGHUP)
        service.stop(signal.SIGINT)
        assert await until_closed(stream) == b""
        await service.over.wait()
        assert service.said == ["artifactstore stops: SIGHUP"]


async def test_a_drain_ends_by_itself(settings: Settings, slow: Slow) -> None:
    async with running(settings, drain_s=0) as service, await connect(service.url) as stream:
        await stream.send_all(request("/readyz"))
        await slow.begun.wait()
        service.stop(signal.SIGTERM)
        assert await until_closed(stream) == b""


async def test_streams_of_events_do_not_hold_up_a_drain(settings: Settings) -> None:
    async with running(settings) as service, await connect(service.url) as stream:
        await stream.send_all(request("/v1/events", headers=[("Accept", "text/event-stream")]))
        received = b""
        while b"retry:" not in received:
            received += await stream.receive_some()
        service.stop(signal.SIGTERM)
        assert (await until_closed(stream)).endswith(b"0\r\n\r\n"), "whole, by its own framing"
