"""The rate of a download: one file from the service, and the same file from a bare Hypercorn.

    python -m bench.http_get DIRECTORY [MIB] [ROUNDS]

The service compares the file with its digest while it sends. The bare server reads pieces of the same length from a
file and sends them. curl receives both in turn, so other work on the machine falls on both.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.measure import OURS

from artifactstore import Settings
from artifactstore.blocking import open_registry
from artifactstore.http.api.file_bytes import CHUNK_BYTES

_MIB: Final = 1024
_ROUNDS: Final = 5
_FILE: Final = "ARTIFACTSTORE_BENCH_FILE"
_PACKAGE: Final = "downloads"


async def bare(
    scope: Mapping[str, Any],
    receive: Callable[[], Awaitable[Mapping[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Send a file: the application of the bare server."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    with Path(os.environ[_FILE]).open("rb", buffering=0) as file:  # noqa: ASYNC230 - the least that a server can do
        length = b"%d" % os.fstat(file.fileno()).st_size
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        while piece := file.read(CHUNK_BYTES):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class Server(NamedTuple):
    """A running server.

    Attributes:
        url: its address.
        process_id: its process.
    """

    url: str
    process_id: int

    def processor_s(self) -> float:
        """Return the processor time that the server has used, in seconds."""
        fields = Path(f"/proc/{self.process_id}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(command: Sequence[str | Path], says: str, environment: Mapping[str, str]) -> Generator[Server]:
    """Run a server whose address follows a text in what it prints."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment}
    ) as server:
        try:
            line = next(line for line in server.stdout or () if says in line)
            yield Server(line.partition(says)[2].split()[0].removesuffix("/health"), server.pid)
        finally:
            server.terminate()
            server.communicate()


def rate_mib(url: str, headers: Sequence[str]) -> float:
    """Receive a file once, and return the rate in MiB a second."""
    written = "%{http_code} %{speed_download}"
    fields = [part for header in headers for part in ("-H", header)]
    found = subprocess.check_output(["curl", "-sS", "-o", os.devnull, "-w", written, *fields, url], text=True)
    status, rate = found.split()
    if status != "200":
        raise RuntimeError(f"{url} answers {status}")
    return float(rate) / (1 << 20)


def main() -> None:
    """Measure, and print a table."""
    directory = Path(sys.argv[1])
    mib, rounds = (int(sys.argv[at]) if len(sys.argv) > at else default for at, default in ((2, _MIB), (3, _ROUNDS)))
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "file"
    with file.open("wb") as written:
        for _ in range(mib):
            written.write(os.urandom(1 << 20))
    store = directory / "store"
    settings = Settings(database_url=f"sqlite:///{store / 'artifactstore.db'}", storage_local_root=store / "objects")
    store.mkdir()
    with open_registry(settings) as registry:
        package = registry.create_package(_PACKAGE).package_id
        registry.ingest_file(package, "file", file)
        secret = registry.create_token("bench", scopes=["read"])
    beside = Path(sys.executable).parent
    ours: list[str | Path] = [beside / OURS, "--store", store, "serve", "--bind", "127.0.0.1:0"]
    theirs: list[str | Path] = [
        beside / "hypercorn",
        "--worker-class",
        "trio",
        "--workers",
        "0",
        "--bind",
        "127.0.0.1:0",
        f"{__spec__.name}:bare",
    ]
    rates: dict[str, list[float]] = {"artifactstore": [], "bare Hypercorn": []}
    busy_s: dict[str, list[float]] = {name: [] for name in rates}
    with serving(ours, "serves ", {}) as service, serving(theirs, "Running on ", {_FILE: str(file)}) as plain:
        target, header = f"{service.url}/v1/packages/{package}/files/file", f"Authorization: Bearer {secret}"
        for _ in range(rounds):
            for name, server, url, headers in (
                ("artifactstore", service, target, [header]),
                ("bare Hypercorn", plain, plain.url, []),
            ):
                began_s = server.processor_s()
                rates[name].append(rate_mib(url, headers))
                busy_s[name].append(server.processor_s() - began_s)
    print(f"| {mib} MiB | MiB/s | processor time of the server, s |\n| --- | --- | --- |")
    for name, found in rates.items():
        print(f"| {name} | {_three(found, 0)} | {_three(busy_s[name], 2)} |")
    ratios = [_three([a / b for a, b in zip(*each.values(), strict=True)], 2) for each in (rates, busy_s)]
    print(f"| ratio | {ratios[0]} | {ratios[1]} |")


def _three(found: Sequence[float], digits: int) -> str:
    """Return the least, the median and the most of some numbers."""
    return " ".join(f"{each:.{digits}f}" for each in (min(found), statistics.median(found), max(found)))


if __name__ == "__main__":
    main()
