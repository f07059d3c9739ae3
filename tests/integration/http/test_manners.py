"""What every answer keeps to: methods, errors as JSON by RFC 9457, headers, limits; and what each path says."""

from collections.abc import Mapping
from itertools import product

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from artifactstore import Settings
from artifactstore.health import HealthActor
from artifactstore.http import app, connection, server
from artifactstore.http import process as http_service
from artifactstore_protocols.records import HealthReport
from integration.http.serving import GUARD_S, VIEWER, Service, connect, request
from integration.registry.samples import add, object_file
from stored_objects import overwrite

PATHS = ["/", "/page/page.css", "/health", "/livez", "/readyz", "/metrics", "/tree", "/events/stream"]


async def test_head_is_get_without_a_body(service: Service) -> None:
    for path in PATHS:
        head = await service.ask(path, "HEAD")
        assert (head.status, head.body) == (200, b""), path
        if path != "/events/stream":
            assert (await service.ask(path)).headers["content-type"] == head.headers["content-type"]


@pytest.mark.slow
async def test_nothing_can_be_changed(service: Service) -> None:
    for path, method in product(PATHS, ("POST", "PUT", "DELETE", "PATCH", "OPTIONS")):
        answer = await service.ask(path, method)
        assert answer.status == 405, path
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json == {
            "type": "about:blank",
            "title": "Method Not Allowed",
            "status": 405,
            "detail": "This service is read-only: use GET or HEAD.",
        }


REFUSED: Mapping[str, tuple[str, tuple[tuple[str, str], ...], int, str]] = {
    "no such path": ("/nothing", (), 404, "Not Found"),
    "markup in the path": ("/<script>", (), 404, "Not Found"),
    "a body": ("/health", (("Content-Length", "5"),), 413, "Content Too Large"),
    "a body in chunks": ("/health", (("Transfer-Encoding", "chunked"),), 413, "Content Too Large"),
    "no sequence": ("/events/stream?since=last", (), 400, "Bad Request"),
    "no sequence to continue from": ("/events/stream", (("Last-Event-ID", "-1"),), 400, "Bad Request"),
}


async def test_errors_are_problem_details(service: Service) -> None:
    for case, (path, headers, status, title) in REFUSED.items():
        answer = await service.ask(path, headers=headers)
        assert answer.headers["content-type"] == "application/problem+json", case
        assert list(answer.json) == ["type", "title", "status", "detail"]
        assert (answer.status, answer.json["status"], answer.json["title"]) == (status, status, title), case
        assert b"<" not in answer.body


async def test_a_defect_is_a_500_that_says_nothing_of_what_is_inside(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_report: HealthReport) -> object:
        raise RuntimeError("a secret")

    monkeypatch.setattr(app, "_not_ready", fail)
    answer = await service.ask("/readyz")
    assert (answer.status, answer.headers["content-type"]) == (500, "application/problem+json")
    assert b"secret" not in answer.body
    assert "GET /readyz failed" in caplog.text
    assert "a secret" in caplog.text


async def test_answers_are_not_kept_and_locked_down(service: Service) -> None:
    for path in (*PATHS[:-1], "/nothing"):
        _is_locked_down((await service.ask(path)).headers, has_form=path == "/")
    _is_locked_down((await service.ask("/login")).headers, has_form=True)


def _is_locked_down(headers: Mapping[str, str], *, has_form: bool) -> None:
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == ("same-origin" if has_form else "no-referrer")
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["form-action"] == ("'self'" if has_form else "'none'")
    assert {policy["script-src"], policy["style-src"]} == {"'self'"}
    assert "server" not in headers


async def test_a_head_of_a_request_without_end_is_refused(service: Service) -> None:
    stream = await connect(service.url)
    with trio.fail_after(GUARD_S):
        async with stream:
            await stream.send_all(b"GET /" + b"a" * (64 << 10))
            received = b""
            while part := await stream.receive_some():
                received += part
    assert received.startswith(b"HTTP/1.1 4")


async def test_one_connection_takes_many_requests(service: Service) -> None:
    stream = await connect(service.url)
    with trio.fail_after(GUARD_S):
        async with stream:
            received = b""
            for count in range(1, 4):
                await stream.send_all(request("/livez"))
                while received.count(b'"alive"}') < count:
                    received += await stream.receive_some()


async def test_too_many_connections_are_closed_at_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 1)
    first = await connect(service.url)
    with trio.fail_after(GUARD_S):
        async with first:
            await first.send_all(request("/livez"))
            assert b"200" in await first.receive_some()
            async with await connect(service.url) as second:
                assert await second.receive_some() == b""


async def test_a_client_that_takes_no_answers_is_left(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_WRITE_TIMEOUT_S", 0.01)

    async def ask_without_end(stream: trio.abc.Stream) -> None:
        while True:  # answers fill what the kernel holds for the client, then requests what it holds for the server
            await stream.send_all(request("/metrics", headers=[VIEWER]) * 100)

    with trio.fail_after(GUARD_S):
        async with await connect(service.url) as stream:
            with pytest.raises(trio.BrokenResourceError):
                await ask_without_end(stream)


async def test_metrics_count_the_objects_that_verify_found_flawed(service: Service, settings: Settings) -> None:
    package = (await service.registry.create_package("p")).package_id
    for path in ("whole", "damaged", "missing"):
        await add(service.registry, package, path, path.encode())
    damaged, missing = [
        object_file(settings, (await service.registry.get_file_record(package, path)).content_address)
        for path in ("damaged", "missing")
    ]
    overwrite(damaged, b"DAMAGED")
    missing.unlink()
    assert not (await service.registry.verify()).sound

    metrics = (await service.ask("/metrics")).body
    for problem in ("damaged", "missing"):
        assert f'artifactstore_objects_flagged{{problem="{problem}"}} 1.0'.encode() in metrics
    assert (await service.ask("/health")).status == 503
    assert (await service.ask("/readyz")).status == 200, "it still serves what is whole"


async def test_metrics_are_read_by_the_librarys_own_parser(service: Service) -> None:
    package = await service.registry.create_package("p")
    await add(service.registry, package.package_id, "f", b"content")
    await service.ask("/nothing")
    answer = await service.ask("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert values["artifactstore_healthy",] == 1
    assert values["artifactstore_log_head_sequence",] == 4
    assert values["artifactstore_writer_events_total",] == 4, "the beginning of the log is one"
    assert values["artifactstore_writer_transactions_total",] == 2
    assert values["artifactstore_tails_open",] == values["artifactstore_tails_lag_events",] == 0
    assert values["artifactstore_component_up", "database"] == 1
    assert values["artifactstore_storage_free_bytes", "local"] > 0
    assert values["artifactstore_objects_flagged", "damaged"] == values["artifactstore_objects_flagged", "missing"] == 0
    assert values["artifactstore_database_free_bytes",] > 0
    assert values["artifactstore_actor_mailbox_messages", "root/core/ingest"] == 0
    assert values["artifactstore_actor_oldest_waiting_seconds", "root/core/ingest"] == 0
    assert values["artifactstore_actor_starts_total", "root/core/storage"] == 1
    assert values["artifactstore_supervisor_recent_restarts", "root/core"] == 0
    assert values["artifactstore_http_requests_total", "404", "GET", "other"] == 1
    assert values["process_open_fds",] > 0
    ours = [family for name, family in families.items() if name.startswith("artifactstore_")]
    assert all(family.documentation for family in ours)
    for family in ours:
        assert family.type in {"gauge", "counter"}
        for sample in family.samples:
            assert (family.type == "counter") == sample.name.endswith(("_total", "_created")), sample.name
            assert not sample.name.endswith(("_ms", "_s", "_kb")), "base units, in full"


async def test_health_measures_and_says_which_part_is_unwell(
    service: Service, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_service, "REPORT_AGE_MAX_S", 0)  # each request has it measured again
    report = await service.ask("/health")
    assert (report.status, report.json["status"]) == (200, "healthy")
    assert {"healthy", "detail", "details", "latency_s", "measured_at", "age_s"} == set(
        report.json["components"]["actor:http"]
    )
    assert (await service.ask("/readyz")).json == {"status": "ready", "reasons": []}
    settings.storage_local_root.rename(settings.storage_local_root.with_name("aside"))
    report = await service.ask("/health")
    assert report.json["reasons"] == [
        "storage: backend local: the root cannot be used: no such file or directory; check its path and its disk"
    ]
    ready = await service.ask("/readyz")
    assert (ready.status, ready.json) == (503, {"status": "not ready", "reasons": ["storage"]})
    assert (await service.ask("/livez")).status == 200
    settings.storage_local_root.with_name("aside").rename(settings.storage_local_root)
    assert (await service.ask("/health")).status == 200


async def test_health_without_its_actor_is_unavailable(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_arguments: object) -> None:
        raise RuntimeError("as it was told")

    monkeypatch.setattr(HealthActor, "_measure", fail)
    answer = await service.ask("/health")
    assert answer.status == 503
    assert "stopped and did not answer GetHealth" in answer.json["reasons"][0]
    ready = await service.ask("/readyz")
    assert (ready.status, ready.json) == (503, {"status": "not ready", "reasons": ["health"]})
    assert b"artifactstore_healthy 0.0" in (await service.ask("/metrics")).body
