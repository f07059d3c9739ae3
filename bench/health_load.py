"""What asking for health costs an ingest: 10,000 requests at concurrency 64 while one runs, and a steady 50 a second.

The store, its HTTP server and the ingest run in this process, since that is the worst case: all share one event loop.
The clients are another process. Ingests with and without requests take turns, and each one with them is compared with
those right before and after it, so that both meet the same machine; each stores contents that nobody stored before.
Least, median and most are printed, of time and of this process' processor time, which other work on the machine
disturbs less: 1.00 means that the requests cost nothing.

    python bench/health_load.py [ROUNDS [REQUESTS]]
"""

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple, cast

import trio

from artifactstore import Registry, Settings
from artifactstore.http.listening import Listening
from artifactstore.http.process import http_service
from artifactstore.http.server import BoundAddresses, HttpRole
from artifactstore.open import open_store
from artifactstore.supervision import ActorRef

CONCURRENCY = 64
ASKED: dict[str, tuple[int, float | None]] = {
    "50 requests a second": (4, 50.0),
    "64 clients that ask without a pause": (CONCURRENCY, None),
}
FILES = 3000
FILE_BYTES = 64 << 10

type Outcome = dict[str, float | str]


class Cost(NamedTuple):
    """Seconds by the clock, and of processor time that this process used."""

    wall_s: float
    cpu_s: float


type Client = tuple[trio.Process, trio.abc.ReceiveStream]


class Asking:
    """Clients that ask for health, each on a connection that it keeps.

    Args:
        url: of the service.
        requests: how many at most; None until they are stopped.
        per_s: at what pace, all together; None as fast as answers come.
    """

    def __init__(self, url: str, requests: int | None, per_s: float | None) -> None:
        self._url = url
        self._numbers = itertools.count() if requests is None else iter(range(requests))
        self._per_s = per_s
        self._latencies_s: list[float] = []
        self._errors: list[str] = []

    async def run(self, concurrency: int) -> None:
        """Ask on so many connections."""
        self._began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(concurrency):
                nursery.start_soon(self._ask_on_one_connection)

    async def _ask_on_one_connection(self) -> None:
        stream: trio.SocketStream | None = None
        for number in self._numbers:
            if self._per_s is not None:
                await trio.sleep_until(self._began + number / self._per_s)
            sent = perf_counter()
            try:
                stream = stream or await connect(self._url)
                await stream.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                head = await read_answer(stream)
            except (OSError, trio.BrokenResourceError) as error:
                self._errors.append(repr(error))
                stream = None
                continue
            self._latencies_s.append(perf_counter() - sent)
            if not head.startswith(b"HTTP/1.1 200"):
                self._errors.append(head.decode(errors="replace").splitlines()[0])
            if b"connection: close" in head.lower():  # the server ends a connection after a thousand requests
                await stream.aclose()
                stream = None
        if stream is not None:
            await stream.aclose()

    def outcome(self) -> Outcome:
        """Return the outcome of all requests."""
        times_ms = sorted(1000 * latency for latency in self._latencies_s)
        return {
            "requests": len(times_ms),
            "errors": len(self._errors),
            "first error": self._errors[0] if self._errors else "none",
            "median ms": round(statistics.median(times_ms), 1),
            "p99 ms": round(times_ms[int(len(times_ms) * 0.99)], 1),
            "max ms": round(times_ms[-1], 1),
        }


async def ask(url: str, requests: int | None, concurrency: int, per_s: float | None) -> None:
    """Send all requests, until the input ends, and print the outcome. It runs in another process."""
    asking = Asking(url, requests, per_s)
    async with trio.open_nursery() as nursery:

        async def stop_when_told() -> None:
            await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
            nursery.cancel_scope.cancel()

        nursery.start_soon(stop_when_told)
        print(flush=True)  # the other side waits for it
        await asking.run(concurrency)
        nursery.cancel_scope.cancel()
    print(json.dumps(asking.outcome()))


async def connect(url: str) -> trio.SocketStream:
    """Open a connection to the service."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    return await trio.open_tcp_stream(host, int(port))


async def read_answer(stream: trio.SocketStream) -> bytes:
    """Read one answer whole; its head."""
    received = bytearray()
    while b"\r\n\r\n" not in received:
        received += await some_of(stream)
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    [length] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(length.partition(b":")[2]) - len(body)
    while missing > 0:
        missing -= len(await some_of(stream))
    return head


async def some_of(stream: trio.SocketStream) -> bytes:
    """Return the next bytes of the service."""
    part = await stream.receive_some()
    if not part:
        raise ConnectionError("the service hung up in the middle of an answer")
    return bytes(part)


class Bench:
    """A store that serves, and ingests of contents that are new each time."""

    def __init__(self, registry: Registry, url: str, directory: Path) -> None:
        self._registry = registry
        self._url = url
        self._directory = directory
        self._numbers = itertools.count()

    async def ingest(self) -> Cost:
        """Return the time of one ingest."""
        number = next(self._numbers)
        tree = self._directory / f"tree-{number}"
        await trio.to_thread.run_sync(plant, tree, number)
        began, used = perf_counter(), process_time()
        await self._registry.ingest_tree(tree)
        return Cost(perf_counter() - began, process_time() - used)

    async def ingest_while_asked(self, concurrency: int, per_s: float | None) -> Cost:
        """Return the time of an ingest under constant requests."""
        async with self._asked(None, concurrency, per_s) as (process, answers):
            cost = await self.ingest()
            await cast("trio.abc.SendStream", process.stdin).aclose()
            outcome: Outcome = json.loads(b"".join([part async for part in answers]))
        if outcome["errors"]:
            sys.exit(f"{outcome['errors']} requests failed, the first with {outcome['first error']}")
        return cost

    async def ask_while_ingesting(self, requests: int, concurrency: int) -> tuple[int, Outcome]:
        """How many ingests were made while so many requests were, and what came of those."""
        ingests = 0
        async with self._asked(requests, concurrency, None) as (process, answers):
            while process.poll() is None:
                await self.ingest()
                ingests += 1
            outcome: Outcome = json.loads(b"".join([part async for part in answers]))
        return ingests, outcome

    @asynccontextmanager
    async def _asked(self, requests: int | None, concurrency: int, per_s: float | None) -> AsyncGenerator[Client]:
        arguments = json.dumps([self._url, requests, concurrency, per_s])
        process = await trio.lowlevel.open_process(
            [sys.executable, __file__, "--ask", arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        answers = cast("trio.abc.ReceiveStream", process.stdout)
        try:
            await answers.receive_some(1)  # it is about to ask
            yield process, answers
        finally:
            process.kill()
            await process.wait()


def plant(tree: Path, number: int) -> None:
    """Write a tree that no other number gives."""
    tree.mkdir()
    for index in range(FILES):
        (tree / f"{index}.bin").write_bytes(f"{number}/{index} ".encode() * (FILE_BYTES // len(f"{number}/{index} ")))


def spread(costs: Sequence[Cost], unit: str = "") -> str:
    """Least, median and most of both."""
    parts: list[str] = []
    for name, values in zip(("time", "processor time"), zip(*costs, strict=True), strict=True):
        least, median, most = min(values), statistics.median(values), max(values)
        parts.append(f"{name} {least:.2f} {median:.2f} {most:.2f}{unit}")
    return ", ".join(parts)


async def main(rounds: int = 5, requests: int = 10_000) -> None:
    """Measure, and print what was found."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        settings = Settings(f"sqlite:///{directory}/log.db", directory / "objects")
        http = ActorRef[HttpRole]("http")
        async with open_store(settings, http_service(http, Listening("127.0.0.1:0"), lambda: None)) as registry:
            [url] = await http.ask(BoundAddresses())
            bench = Bench(registry, url, directory)
            await bench.ingest()  # to warm up
            ingests, outcome = await bench.ask_while_ingesting(requests, CONCURRENCY)
            print(f"{requests} requests at concurrency {CONCURRENCY} during {ingests} ingests: {json.dumps(outcome)}")
            alone = [await bench.ingest()]
            ratios: dict[str, list[Cost]] = {what: [] for what in ASKED}
            for _ in range(rounds):
                for what, (concurrency, per_s) in ASKED.items():
                    asked = await bench.ingest_while_asked(concurrency, per_s)
                    alone.append(await bench.ingest())
                    base = [statistics.mean(pair) for pair in zip(*alone[-2:], strict=True)]
                    ratios[what].append(Cost(asked.wall_s / base[0], asked.cpu_s / base[1]))
    print(f"an ingest of {FILES} files, {FILES * FILE_BYTES >> 20} MiB, alone: {spread(alone, ' s')}")
    for what, found in ratios.items():
        print(f"with {what}, as a ratio: {spread(found)}")
    if outcome["errors"]:
        sys.exit(f"{outcome['errors']} requests failed")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        trio.run(ask, *json.loads(sys.argv[2]))
    else:
        given = dict(zip(("rounds", "requests"), map(int, sys.argv[1:]), strict=False))
        trio.run(partial(main, **given))
