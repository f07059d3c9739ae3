"""The log as server-sent events: in order and each once, from where the client was, for as many as there may be."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from artifactstore import Settings
from artifactstore.http import streams
from artifactstore.projection import ProjectionActor
from artifactstore_protocols.event_types import UnknownEventType
from integration.http.serving import GUARD_S, VIEWER, Service, connect, read_events, request, serving
from integration.registry.samples import add, crash


async def test_events_come_from_the_first_on_and_then_live(service: Service) -> None:
    package = await service.registry.create_package("first")
    async with await connect(service.url) as stream:
        await stream.send_all(request("/events/stream", headers=[VIEWER]))
        [begun, event] = await read_events(stream, 2)
        assert (begun["id"], begun["type"]) == (1, "v1.log.created")
        assert event["id"] == event["sequence"] == 2
        assert (event["type"], event["subject"]) == ("v1.package.created", package.package_id)
        assert event["detail"] == "created 'first', retention standard"
        await add(service.registry, package.package_id, "<b>f</b>", b"content")
        [stored, event] = await read_events(stream, 2)
        assert (stored["id"], stored["type"]) == (3, "v1.objects.stored")
        assert (event["id"], event["type"]) == (4, "v1.files.ingested")
        assert event["detail"].startswith("added '<b>f</b>', 7 bytes")


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/events/stream?since=2", ()),
        ("/events/stream", (("Last-Event-ID", "2"),)),
        ("/events/stream?since=0", (("Last-Event-ID", "2"),)),
    ],
    ids=["by the query", "as a browser does", "a browser that was cut off"],
)
async def test_a_stream_continues_where_the_client_was(
    service: Service, target: str, headers: tuple[tuple[str, str], ...]
) -> None:
    for number in range(4):
        await service.registry.create_package(f"p{number}")
    async with await connect(service.url) as stream:
        await stream.send_all(request(target, headers=[VIEWER, *headers]))
        assert [event["id"] for event in await read_events(stream, 2)] == [3, 4]


async def test_a_stream_outlives_a_crash_of_the_actor_that_feeds_it(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with await connect(service.url) as stream:
        await stream.send_all(request("/events/stream", headers=[VIEWER]))
        await service.registry.create_package("before")
        seen = await read_events(stream, 2)
        crash(monkeypatch, ProjectionActor, "head_moved")
        await service.registry.create_package("during")
        seen += await read_events(stream, 1)
        await service.registry.create_package("after")
        seen += await read_events(stream, 1)
    assert [event["id"] for event in seen] == [1, 2, 3, 4]


async def test_a_line_on_which_nothing_happens_is_kept_alive(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_HEARTBEAT_S", 0.01)
    async with await connect(service.url) as stream:
        await stream.send_all(request("/events/stream", headers=[VIEWER]))
        received = b""
        with trio.fail_after(GUARD_S):
            while received.count(b": still here\n\n") < 2:
                received += await stream.receive_some()
        await service.registry.create_package("still followed")
        assert [event["id"] for event in await read_events(stream, 1)] == [1]


async def test_there_are_only_so_many_streams_and_a_place_is_free_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STREAMS_MAX", 2)  # one holder has half of them
    async with await connect(service.url) as stream:
        await stream.send_all(request("/events/stream", headers=[VIEWER]))
        await service.registry.create_package("p")
        await read_events(stream, 1)
        answer = await service.ask("/events/stream")
        assert (answer.status, answer.json["title"]) == (503, "Service Unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert b"artifactstore_http_event_streams 1.0" in (await service.ask("/metrics")).body
    with trio.fail_after(GUARD_S):
        while b"artifactstore_http_event_streams 0.0" not in (await service.ask("/metrics")).body:
            pass  # the service hears of a client that has left when its connection does


async def test_there_are_not_more_streams_when_all_ask_at_once(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STREAMS_MAX", 4)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await connect(service.url)) for _ in range(20)]
        for client in clients:
            await client.send_all(request("/events/stream", headers=[VIEWER]))
        with trio.fail_after(GUARD_S):
            statuses = [bytes(await client.receive_some(1 << 12)).split()[1] for client in clients]
    assert sorted(statuses) == [b"200"] * 2 + [b"503"] * 18


async def test_an_event_of_a_later_release_is_shown_as_such(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_stored: object) -> None:
        raise UnknownEventType("v9.new", 1)

    monkeypatch.setattr(streams, "history_entry", unknown)
    await service.registry.create_package("p")
    async with await connect(service.url) as stream:
        await stream.send_all(request("/events/stream", headers=[VIEWER]))
        [event] = await read_events(stream, 1)
    assert event["detail"].startswith("unknown event type 'v9.new' at sequence 1")


async def test_events_say_of_which_command_and_package_they_are(service: Service, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_bytes(b"12345")
    (tmp_path / "tree" / "b").symlink_to("a")
    summary = await service.registry.ingest_tree(tmp_path / "tree", name="nightly")
    await service.registry.set_tag("release", "nightly")
    await service.registry.delete_package(summary.package_id, reason="leaked", before_expiry=True)
    async with await connect(service.url) as stream:
        await stream.send_all(request("/events/stream", headers=[VIEWER]))
        events = await read_events(stream, 8)
    by_type = [(event["type"], event["package"]) for event in events]
    assert by_type == [
        ("v1.log.created", None),
        ("v1.package.created", {"name": "nightly"}),
        ("v1.objects.stored", None),
        ("v1.files.ingested", {"content": "1 file, 5 B"}),
        ("v1.files.ingested", {"content": "1 file, 1 link, 5 B"}),
        ("v1.package.finalized", {"manifest_digest": summary.manifest_digest}),
        ("v1.tag.set", None),
        ("v1.package.deleted", {"state": "deleted"}),
    ]
    assert events[2]["command_id"] == events[3]["command_id"] != events[4]["command_id"]


async def test_a_stream_ends_when_the_log_cannot_be_read_and_the_client_may_come_again(
    service: Service, settings: Settings
) -> None:
    database = settings.database_url.removeprefix("sqlite:///")
    async with await connect(service.url) as stream:
        await stream.send_all(request("/events/stream", headers=[VIEWER]))
        await service.registry.create_package("p")
        await read_events(stream, 1)
        await trio.Path(database).rename(f"{database}.aside")
        with trio.fail_after(GUARD_S):
            while not (await stream.receive_some()).endswith(b"0\r\n\r\n"):
                pass
    await trio.Path(f"{database}.aside").rename(database)
    async with await connect(service.url) as stream:
        await stream.send_all(request("/events/stream", headers=[VIEWER]))
        assert [event["id"] for event in await read_events(stream, 1)] == [1]


async def test_streams_end_in_order_when_the_service_stops(settings: Settings) -> None:
    async with serving(settings) as service:
        await service.registry.create_package("p")
        stream = await connect(service.url)
        await stream.send_all(request("/events/stream", headers=[VIEWER]))
        await read_events(stream, 1)
    with trio.fail_after(GUARD_S):
        assert (await stream.receive_some()).endswith(b"0\r\n\r\n"), "whole, by its own framing"
        assert await stream.receive_some() == b""
    await stream.aclose()
