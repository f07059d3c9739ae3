"""Many ask for health while the store works: nobody is turned away, and the short way answers as the ordinary one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from artifactstore.http import process as http_service
from artifactstore.http import shortcut
from integration.http.serving import GUARD_S, Service
from integration.registry.samples import plant

CLIENTS = Path(__file__).parents[3] / "bench" / "health_load.py"
CONCURRENCY = 64
REQUESTS = [500, pytest.param(10_000, marks=pytest.mark.soak)]


@pytest.mark.slow
@pytest.mark.parametrize("requests", REQUESTS)
async def test_every_request_at_concurrency_64_is_answered_during_an_ingest(
    service: Service, tmp_path: Path, requests: int
) -> None:
    """The clients are the benchmark's. Ingests run until the clients are done, however long a busy machine takes."""
    arguments = json.dumps([service.url, requests, CONCURRENCY, None])
    ingests = 0
    process = await trio.lowlevel.open_process(
        [sys.executable, str(CLIENTS), "--ask", arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    async with process.stdin, process.stdout:
        while process.poll() is None:
            files = {f"{index}.bin": f"{ingests} {index} ".encode() * 2000 for index in range(40)}
            await service.registry.ingest_tree(plant(tmp_path / f"tree {ingests}", files))
            ingests += 1
        outcome = json.loads(b"".join([part async for part in process.stdout]))
    assert (outcome["requests"], outcome["errors"]) == (requests, 0), outcome
    assert ingests > 0
    counted = (await service.ask("/metrics")).body.decode()
    assert f'artifactstore_http_requests_total{{method="GET",path="/health",status="200"}} {requests}.0' in counted


async def test_the_short_way_answers_as_the_ordinary_one(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for method in ("GET", "HEAD"):
        with monkeypatch.context() as patched:
            patched.setattr(shortcut, "_METHODS", frozenset[str]())  # nothing takes the short way
            ordinary = await service.ask("/health", method)
        short = await service.ask("/health", method)
        assert short.status == ordinary.status == 200
        assert short.headers.keys() == ordinary.headers.keys()
        for name in short.headers.keys() - {"date", "content-length"}:
            assert short.headers[name] == ordinary.headers[name]
        assert bool(short.body) == bool(ordinary.body) == (method == "GET")
        if method == "GET":
            assert list(short.json["components"]) == list(ordinary.json["components"])


async def test_ages_grow_while_a_report_is_kept(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_service, "REPORT_AGE_MAX_S", 3600.0)
    first = (await service.ask("/health")).json["components"]["database"]
    with trio.fail_after(GUARD_S):
        while (later := (await service.ask("/health")).json["components"]["database"])["age_s"] <= first["age_s"]:
            pass
    assert later["measured_at"] == first["measured_at"]
