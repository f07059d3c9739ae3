"""The API below `/v1`: who may ask what, what it answers, and that its document says so."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import pytest
import trio
from blake3 import blake3
from openapi_spec_validator import validate

from artifactstore import environment
from artifactstore.database.queries import lookup
from artifactstore.http import problems as page_problems
from artifactstore.http import streams
from artifactstore.http.api import events, freshness, sending
from artifactstore.http.api.keeping import DeleteQuery
from artifactstore.http.api.model import JSON, Route
from artifactstore.http.api.routing import openapi_path
from artifactstore.http.api.table import ROUTES
from artifactstore.http.api.tagging import TagTarget
from artifactstore.http.streams import STREAMS_MAX, EventStreams
from artifactstore.ids import new_id
from artifactstore.json_output import to_json
from artifactstore.registry import Registry
from artifactstore_protocols import manifest
from artifactstore_protocols.event_types import UnknownEventType
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.records import PackageRecord
from artifactstore_protocols.tokens import SCOPES
from integration.http.described import Described, bearer, path_of
from integration.http.serving import GUARD_S, Answer, ask, connect, read_events, request
from integration.http.uploading import PART, VERSION, Uploader
from integration.registry.samples import add, whole_log

INSIDE = {"package": "a-1", "tag": "on-a", "path": "x/y.txt"}
OUTSIDE = {"package": "b-1", "tag": "on-b", "path": "x/y.txt"}
NOWHERE = {"package": "c-1", "tag": "on-c", "path": "x/y.txt"}


async def stored(registry: Registry, name: str, tag: str | None = None, *, more: bytes = b"") -> str:
    """A finalized package with two files, one of them with the same content everywhere; its id."""
    package_id = (await registry.create_package(name, metadata={"branch": "main"})).package_id
    await add(registry, package_id, "x/y.txt", b"the same")
    await add(registry, package_id, "z", b"its own: " + more)
    await registry.finalize_package(package_id)
    if tag is not None:
        await registry.set_tag(tag, package_id)
    return package_id


@pytest.fixture
async def filled(api: Described) -> Described:
    """A store with packages `a-1` and `b-1`, a token `reader` for `a-*`, and one for each scope."""
    for name, tag in (("a-1", "on-a"), ("b-1", "on-b")):
        await stored(api.service.registry, name, tag)
    for scope in SCOPES:
        globs = ["*"] if scope == "admin" else ["a-*"]
        api.secrets[scope] = str(await api.service.registry.create_token(scope, scopes=(scope,), packages=globs))
    return api


def in_table(route: Route[Any]) -> str:
    return f"{route.method} {route.template}"


async def test_the_document_is_valid_and_has_every_route(api: Described) -> None:
    validate(api.document)
    described = {
        (method.upper(), path) for path, item in api.document["paths"].items() for method in item if method != "head"
    }
    assert described == {(route.method, openapi_path(route.template)) for route in ROUTES}
    ids = [operation["operationId"] for item in api.document["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids))
    assert "without it" in str(api.document["paths"]["/v1/packages"]["get"]["parameters"])


async def test_every_route_asks_every_token_for_its_scope_and_its_globs(filled: Described) -> None:
    registry = filled.service.registry
    package_id = (await registry.get_package("a-1")).package_id
    hold = {"hold": (await registry.place_hold(package_id, reason="a test")).hold_id}
    uploads: dict[str, str] = {}
    for name, package in (("write", "a-0"), ("all", "b-0")):
        await registry.create_package(package)
        uploads[package] = (await Uploader(filled, name).begin(package)).rpartition("/")[2]
    in_ours, in_theirs = {"upload": uploads["a-0"]}, {"upload": uploads["b-0"]}
    everyone = [None, "ast_0", *SCOPES]
    for route, who in product(ROUTES, everyone):
        case = f"{in_table(route)} with {who}"
        query = "?reason=x" if route.query is DeleteQuery else ""
        exact = {"package": package_id} if route.named == "id" else {}
        inside = path_of(route.template, INSIDE | hold | exact | in_ours)
        outside, nowhere = (
            f"{path_of(route.template, each | hold)}{query}"
            for each in (OUTSIDE | in_theirs, NOWHERE | {"upload": new_id()})
        )
        ask = partial(filled.ask, method=route.method, headers=(VERSION, PART, ("Upload-Offset", "0")))
        answer = await ask(inside, who)
        if who not in SCOPES:
            assert answer.status == 401, case
            assert answer.headers["www-authenticate"].startswith("Bearer"), case
            continue
        if route.scope not in {None, who}:
            assert (answer.status, answer.json["code"]) == (403, "scope_missing"), case
            assert answer.body == (await ask(outside, who)).body, case
            continue
        assert answer.status not in {401, 403, 404}, case
        if "{" in route.template and who != "admin":
            sent = {"package": "a-1"} if route.body == {JSON: TagTarget} else None
            headers = () if sent else (VERSION, PART, ("Upload-Offset", "0"))
            hidden, missing = [
                await filled.ask(each, who, method=route.method, sent=sent, headers=headers)
                for each in (outside, nowhere)
            ]
            refused = 404 if sent is None else 403  # a new tag needs a name that the globs of the token match
            assert (hidden.status, missing.status) == (refused, refused), case
            assert hidden.body == missing.body.replace(b"c-1", b"b-1").replace(b"on-c", b"on-b"), case


async def test_what_the_api_does_not_have_is_told_only_to_a_token(filled: Described) -> None:
    for target, method, status in (
        ("/v1", "GET", 404),
        ("/v1/nothing", "GET", 404),
        ("/v1/packages/", "GET", 404),
        ("/v1/packages/a-1/files/%ff", "GET", 404),
        ("/v1/packages", "PUT", 405),
        ("/openapi.json", "POST", 405),
        ("/v1/stats", "DELETE", 405),
    ):
        assert (await filled.ask(target, None, method=method)).status == 401, target
        answer = await filled.ask(target, method=method)
        assert answer.status == status, target
        assert ("allow" in answer.headers) == (status == 405)


async def test_a_token_works_until_it_is_revoked_and_only_in_its_header(filled: Described) -> None:
    target, secret = "/v1/packages", filled.secrets["read"]
    assert (await filled.ask(target, "read")).status == 200
    for wrong in ("", "Basic x", "Bearer", f"bearer  {secret}0", secret):
        answer = await filled.ask(target, None, headers=[("Authorization", wrong)])
        assert answer.status == 401, wrong
        assert secret.encode() not in answer.body
    assert (await filled.ask(target, None, headers=[("authorization", f"bearer {secret}")])).status == 200
    assert (await filled.ask(f"{target}?access_token={secret}", None)).status == 401
    await filled.service.registry.revoke_token("read", reason="a test")
    revoked = await filled.ask(target, "read")
    assert (revoked.status, revoked.json["code"]) == (401, "token_invalid")
    assert 'error="invalid_token"' in revoked.headers["www-authenticate"]


async def test_a_list_has_the_packages_of_the_token_page_by_page(filled: Described) -> None:
    registry = filled.service.registry
    ids = [await stored(registry, name, more=b"x" * size) for name, size in (("a-2", 9), ("b-2", 8), ("a-3", 7))]
    await registry.delete_package(ids[2], reason="a test", before_expiry=True)
    names = {
        "": ["a-2", "a-1"],
        "?sort=name": ["a-1", "a-2"],
        "?sort=size&reverse=true": ["a-1", "a-2"],
        "?name=b-*": [],
        "?name=*1": ["a-1"],
        "?state=deleted": ["a-3"],
        "?tag=on-*": ["a-1"],
        "?meta=branch%3Dmain&has=branch": ["a-2", "a-1"],
        "?meta=branch%3Ddev": [],
        "?by=nobody": [],
        "?retention=standard&since=2020-01-01&until=2999-12-31": ["a-2", "a-1"],
    }
    for query, expected in names.items():
        answer = await filled.ask(f"/v1/packages{query}", "read")
        assert [each["name"] for each in answer.json["items"]] == expected, query
        assert answer.json["next"] is None
        seen: list[str] = []
        part = f"/v1/packages{query}{'&' if query else '?'}limit=1"
        after = ""
        while True:
            page = (await filled.ask(f"{part}{after}", "read")).json
            seen += [each["name"] for each in page["items"]]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        assert seen == expected, query
    everything = (await filled.ask("/v1/packages?sort=name")).json["items"]
    assert everything == [to_json(each) async for each in registry.list_packages(sort="name")]
    hidden = await filled.ask(f"/v1/packages?after={ids[1]}", "read")
    assert (hidden.status, hidden.json["code"]) == (400, "invalid_value")
    assert (await filled.ask(f"/v1/packages?from={ids[1]}", "read")).status == 404


async def test_a_reference_means_a_package_that_the_token_may_read(filled: Described) -> None:
    first = (await filled.ask("/v1/packages/a-1", "read")).json
    hidden = (await filled.ask("/v1/packages/b-1")).json
    assert hidden["tree_digest"] == first["tree_digest"]  # so the newest with this tree is out of sight
    for text in (
        first["package_id"],
        "a-1",
        "a-1@latest",
        "a-1@%7B0%7D",
        "tag:on-a",
        f"tree:{first['tree_digest']}",
        f"manifest:{first['manifest_digest']}",
        first["package_id"][:12],
        first["package_id"][-12:],
    ):
        answer = await filled.ask(f"/v1/packages/{text}", "read")
        assert answer.json["package_id"] == first["package_id"], text
    for text in (hidden["package_id"], hidden["package_id"][-12:], f"manifest:{hidden['manifest_digest']}", "on-b"):
        answer = await filled.ask(f"/v1/packages/{text}", "read")
        assert (answer.status, answer.json["code"]) == (404, "package_not_found"), text
        assert "tag" not in answer.json["detail"], text
    assert (await filled.ask("/v1/packages/on-a", "read")).json["detail"].endswith("write 'tag:on-a'")


async def test_a_search_reads_no_package_out_of_sight(filled: Described, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = filled.service.registry
    mine, other = [await registry.get_package(name) for name in ("a-1", "b-1")]
    assert mine.tree_digest == other.tree_digest
    package_in = lookup.package_in
    read: list[str] = []

    def counted(row: Any) -> PackageRecord:  # noqa: ANN401 - a row of a query
        found = package_in(row)
        read.append(found.name)
        return found

    monkeypatch.setattr(lookup, "package_in", counted)
    tree, digest, other_id = mine.tree_digest, other.manifest_digest, other.package_id
    assert (await filled.ask(f"/v1/packages/tree:{tree}", "read")).json["name"] == "a-1"
    for text in (f"manifest:{digest}", "tag:on-b", other_id, other_id[-8:], "b-1"):
        assert (await filled.ask(f"/v1/packages/{text}", "read")).status == 404
    assert set(read) == {"a-1"}


async def test_files_come_in_pages_and_the_manifest_in_the_form_that_is_accepted(filled: Described) -> None:
    registry = filled.service.registry
    first = (await filled.ask("/v1/packages/a-1/files?limit=1", "read")).json
    assert [each["path"] for each in first["items"]] == [first["next"]] == ["x/y.txt"]
    second = (await filled.ask("/v1/packages/a-1/files?limit=1&after=x%2Fy.txt", "read")).json
    assert ([each["path"] for each in second["items"]], second["next"]) == (["z"], None)
    assert [*first["items"], *second["items"]] == [to_json(each) for each in await registry.list_files("a-1")]

    answer = await filled.ask("/v1/packages/a-1/manifest", "read", headers=[("Accept", "application/cbor")])
    record = await registry.get_package("a-1")
    assert answer.headers["content-type"] == "application/cbor"
    assert f"blake3:{blake3(answer.body).hexdigest()}" == record.manifest_digest
    assert answer.body == await registry.get_manifest_bytes("a-1")
    assert answer.headers["artifactstore-manifest-digest"] == record.manifest_digest
    text = await filled.ask("/v1/packages/a-1/manifest", "read", headers=[("Accept", "text/html, */*;q=0.1")])
    assert text.body == manifest.jcs(manifest.decode(answer.body))
    assert (await filled.ask("/v1/packages/a-1/manifest", "read", headers=[("Accept", "text/html")])).status == 406


async def test_a_manifest_has_its_digest_also_if_the_package_was_just_finalized(
    filled: Described, monkeypatch: pytest.MonkeyPatch
) -> None:
    package_id = (await filled.service.registry.create_package("a-new")).package_id
    read = Registry.get_manifest_bytes

    async def finalize_and_read(self: Registry, package: str, form: Any = "cbor") -> bytes:  # noqa: ANN401 - a literal
        await self.finalize_package(package)
        return await read(self, package, form)

    monkeypatch.setattr(Registry, "get_manifest_bytes", finalize_and_read)
    answer = await filled.ask(f"/v1/packages/{package_id}/manifest", "read", headers=[("Accept", "application/cbor")])
    assert answer.headers["artifactstore-manifest-digest"] == f"blake3:{blake3(answer.body).hexdigest()}"


async def test_what_keeps_a_package_and_what_became_of_it(filled: Described) -> None:
    registry = filled.service.registry
    record = await registry.get_package("a-1")
    holds = [await registry.place_hold(record.package_id, reason=f"reason {number}") for number in range(2)]
    page = (await filled.ask("/v1/packages/a-1/holds?limit=1", "read")).json
    rest = (await filled.ask(f"/v1/packages/a-1/holds?after={page['next']}", "read")).json
    assert len([*page["items"], *rest["items"]]) == len(holds)
    why = (await filled.ask("/v1/packages/a-1/retention", "read")).json
    assert why == to_json(await registry.explain_retention("a-1"))
    assert why["is_kept"]
    done: list[Any] = []
    after = 0
    while (page := (await filled.ask(f"/v1/packages/a-1/history?limit=2&after={after}", "read")).json)["next"]:
        done += page["items"]
        after = page["next"]
    assert done == [to_json(each) async for each in registry.history("a-1")]
    tags = (await filled.ask("/v1/tags", "read")).json
    assert ([each["tag"] for each in tags["items"]], tags["next"]) == (["on-a"], None)
    assert [each["tag"] for each in (await filled.ask("/v1/tags?limit=1&after=on-a")).json["items"]] == ["on-b"]
    assert (await filled.ask("/v1/stats", "admin")).json == to_json(await registry.stats())


async def test_events_are_those_of_the_packages_of_the_token(filled: Described) -> None:
    registry = filled.service.registry
    mine = (await registry.get_package("a-1")).package_id
    await registry.place_hold(mine, reason="a test")
    log = await whole_log(registry)
    everything = [json.loads(line) for line in (await filled.ask("/v1/events")).body.splitlines()]
    assert [each["sequence"] for each in everything] == [each.sequence for each in log]
    seen = [json.loads(line) for line in (await filled.ask("/v1/events", "read")).body.splitlines()]
    assert {each["type"] for each in seen} == {
        "v1.package.created",
        "v1.files.ingested",
        "v1.package.finalized",
        "v1.tag.set",
        "v1.hold.placed",
    }
    about = {"v1.tag.set": "tag:on-a"}
    assert all(each["subject"] == about.get(each["type"], mine) for each in seen)
    assert b"stored_bytes" in (await filled.ask("/v1/events")).body
    assert b"stored_bytes" not in (await filled.ask("/v1/events", "read")).body
    chosen = (await filled.ask("/v1/events?type=v1.tag.set&type=v1.hold.placed&package=a-1&limit=1")).body
    assert [json.loads(line)["type"] for line in chosen.splitlines()] == ["v1.tag.set"]
    last = seen[-1]["sequence"]
    assert (await filled.ask(f"/v1/events?after={last}", "read")).body == b""
    assert (await filled.ask("/v1/events?package=b-1", "read")).status == 404
    assert (await filled.ask("/v1/events?type=v1.odd")).status == 400
    assert (await filled.ask("/v1/events", headers=[("Last-Event-ID", "x")])).status == 400


async def test_a_stream_of_events_continues_after_the_last_one_and_hides_the_same(filled: Described) -> None:
    accept = ("Accept", "text/event-stream")
    seen = [json.loads(line) for line in (await filled.ask("/v1/events", "read")).body.splitlines()]
    last = ("Last-Event-ID", str(seen[1]["sequence"]))
    stream = await connect(filled.service.url)
    with trio.fail_after(GUARD_S):
        async with stream:
            headers = (*bearer(filled.secrets["read"]), accept, last)
            await stream.send_all(request("/v1/events?after=0", headers=headers))
            old = await read_events(stream, len(seen) - 2)
            await stored(filled.service.registry, "b-3")
            await stored(filled.service.registry, "a-3")
            new, *_ = await read_events(stream, 1)
    assert [{key: value for key, value in each.items() if key != "id"} for each in old] == seen[2:]
    assert (new["payload"]["name"], new["id"]) == ("a-3", new["sequence"])
    head = await filled.ask("/v1/events", "read", method="HEAD", headers=[accept])
    assert (head.status, head.headers["content-type"]) == (200, "text/event-stream")


@pytest.mark.parametrize(("target", "who"), [("/v1/events", "read"), ("/events/stream", "admin")])
async def test_a_stream_ends_before_the_next_event_once_its_token_is_revoked(
    filled: Described, monkeypatch: pytest.MonkeyPatch, target: str, who: str
) -> None:
    monkeypatch.setattr(streams, "RECHECK_S", 0.0)
    registry = filled.service.registry
    stream = await connect(filled.service.url)
    with trio.fail_after(GUARD_S):
        async with stream:
            headers = (*bearer(filled.secrets[who]), ("Accept", "text/event-stream"), ("Connection", "close"))
            await stream.send_all(request(target, headers=headers))
            await read_events(stream, 1)
            await registry.revoke_token(who, reason="a test")
            await registry.create_package("a-secret")
            rest = b"".join([part async for part in stream])
    assert b"a-secret" not in rest
    assert rest.endswith(b"0\r\n\r\n")


async def test_a_stream_gives_its_place_back_when_its_client_goes(
    filled: Described, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back = trio.Event()
    give_back = EventStreams.give_back

    def gives_back(self: EventStreams, holder: str) -> None:
        give_back(self, holder)
        given_back.set()

    monkeypatch.setattr(EventStreams, "give_back", gives_back)
    with trio.fail_after(GUARD_S):
        async with await connect(filled.service.url) as stream:
            headers = (*bearer(filled.secrets["read"]), ("Accept", "text/event-stream"))
            await stream.send_all(request("/v1/events", headers=headers))
            await read_events(stream, 1)
            assert not given_back.is_set()
        await given_back.wait()


async def test_no_events_are_read_for_a_client_that_has_gone(
    filled: Described, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, ended = trio.Event(), trio.Event()

    async def read_for_ever(_registry: Registry, _since: int = 0, *, limit: int) -> Sequence[StoredEvent]:
        assert limit
        reading.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    monkeypatch.setattr(Registry, "read_events", read_for_ever)
    with trio.fail_after(GUARD_S):
        async with await connect(filled.service.url) as stream:
            await stream.send_all(request("/v1/events", headers=bearer(filled.secrets["read"])))
            await reading.wait()
            assert not ended.is_set()
        await ended.wait()


async def test_the_log_is_sent_in_parts_to_a_few_and_not_beyond_the_limit(
    filled: Described, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = (await filled.ask("/v1/events")).body
    lines = everything.splitlines(keepends=True)
    monkeypatch.setattr(events, "_PART_BYTES", 100)
    monkeypatch.setattr(events, "_LARGE_BYTES", 1)  # each event is a batch
    assert (await filled.ask("/v1/events")).body == everything
    converted = list[int]()
    in_thread = environment.in_thread

    async def counted(work: Callable[[], Any]) -> object:
        converted.append(1)
        return await in_thread(work)

    monkeypatch.setattr(events, "in_thread", counted)
    assert (await filled.ask("/v1/events?limit=2")).body == b"".join(lines[:2])
    assert len(converted) == 6, "nothing is put into JSON for an answer that is full"
    answer = await ask(filled.service.url, "/v1/events", headers=bearer(filled.secrets["all"]))
    assert answer.body == everything
    monkeypatch.setattr(sending, "PLACE_WAIT_S", 0.01)
    places = sending.Places(1)
    monkeypatch.setattr(events, "_lines", places)
    async with places.taken("other"):
        refused = await filled.ask("/v1/events")
        assert (refused.status, refused.json["code"]) == (503, "too_many_downloads")
    assert (await filled.ask("/v1/events")).body == everything


async def test_events_and_history_are_converted_beside_the_event_loop(
    filled: Described, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = StoredEvent.decode
    decoding = set[threading.Thread]()

    def decodes(self: StoredEvent) -> object:
        decoding.add(threading.current_thread())
        return decode(self)

    monkeypatch.setattr(StoredEvent, "decode", decodes)
    for target in ("/v1/events", "/v1/packages/a-1/history"):
        decoding.clear()
        assert (await filled.ask(target, "read")).body
        assert decoding
        assert threading.current_thread() not in decoding


async def test_parents_are_those_that_the_token_may_read(filled: Described) -> None:
    registry = filled.service.registry
    mine, other = [await registry.get_package(name) for name in ("a-1", "b-1")]
    child = await registry.create_package("a-child", parents=["a-1", "b-1"])
    await registry.finalize_package(child.package_id)
    head = (await whole_log(registry))[-1].sequence
    for target in (
        "/v1/packages/a-child",
        "/v1/packages?name=a-child",
        "/v1/packages/a-child/retention",
        "/v1/events?package=a-child",
    ):
        every, seen = (await filled.ask(target)).body, (await filled.ask(target, "read")).body
        for body, shows in ((every, True), (seen, False)):
            assert mine.package_id.encode() in body, target
            assert (other.package_id.encode() in body) == shows, target
            assert (str(other.manifest_digest).encode() in body) == shows, target
    assert len((await filled.ask(f"/v1/events?package=a-child&after={head - 2}", "read")).body.splitlines()) == 2
    assert other.package_id.encode() in (await filled.ask("/v1/packages/a-child/manifest", "read")).body


async def test_an_event_of_a_later_release_is_left_out(filled: Described, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = StoredEvent.decode
    later = {"v1.files.ingested", "v1.tag.set"}  # the subject of the one is a package

    def decodes(self: StoredEvent) -> object:
        if self.event.type in later:
            raise UnknownEventType(self.event.type, self.sequence)
        return decode(self)

    before = [json.loads(line) for line in (await filled.ask("/v1/events", "read")).body.splitlines()]
    monkeypatch.setattr(StoredEvent, "decode", decodes)
    for target in ("/v1/events", "/v1/events?package=a-1"):
        seen = [json.loads(line) for line in (await filled.ask(target, "read")).body.splitlines()]
        assert seen == [each for each in before if each["type"] not in later]


async def test_as_many_streams_are_open_as_may_be(filled: Described, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifactstore.http.streams.STREAMS_MAX", 0)
    answer = await filled.ask("/v1/events", headers=[("Accept", "text/event-stream")])
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "too_many_streams", "5")
    assert STREAMS_MAX > 0


async def test_a_read_waits_for_a_sequence(filled: Described, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = filled.service.registry
    head = (await whole_log(registry))[-1].sequence
    found: list[Answer] = []

    async def read() -> None:
        found.append(await filled.ask(f"/v1/packages/a-9?min_sequence={head + 1}", "read"))

    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await registry.create_package("a-9")
    assert [(each.status, each.json.get("name")) for each in found] == [(200, "a-9")]
    monkeypatch.setattr(freshness, "WAIT_MAX_S", 0.0)
    late = await filled.ask(f"/v1/packages?min_sequence={head + 100}", "read")
    assert (late.status, late.json["code"]) == (503, "sequence_not_reached")
    assert late.headers["retry-after"]


WRONG: Mapping[str, tuple[str, tuple[tuple[str, str], ...], int, str]] = {
    "an unknown parameter": ("/v1/packages?x=1", (), 400, "invalid_value"),
    "a repeated parameter": ("/v1/packages?limit=1&limit=1", (), 400, "invalid_value"),
    "no number": ("/v1/packages?limit=x", (), 400, "invalid_value"),
    "too many": ("/v1/packages?limit=1001", (), 400, "invalid_value"),
    "null": ("/v1/packages?state=null", (), 400, "invalid_value"),
    "no pattern": ("/v1/packages?name=%5B", (), 400, "invalid_value"),
    "no UTF-8": ("/v1/packages?name=%ff", (), 400, "invalid_value"),
    "no query": ("/v1/packages?&", (), 400, "invalid_value"),
    "no time": ("/v1/packages?since=yesterday", (), 400, "invalid_value"),
    "no metadata": ("/v1/packages?meta=x", (), 400, "invalid_value"),
    "a NUL in a tag": ("/v1/tags?after=%00", (), 400, "invalid_value"),
    "a NUL in a hold": ("/v1/packages/a-1/holds?after=%00", (), 400, "invalid_value"),
    "no path": ("/v1/packages/a-1/files?after=..", (), 400, "path_refused"),
    "no form of a reference": ("/v1/packages/a-1@soon", (), 400, "invalid_value"),
    "a NUL": ("/v1/packages/%00", (), 404, "package_not_found"),
    "an open package": ("/v1/packages/a-open/manifest", (), 409, "not_finalized"),
    "several packages": ("/v1/packages/a-twice", (), 409, "ambiguous_package"),
    "a gone package": ("/v1/packages/GONE/files", (), 410, "package_gone"),
    "a compressed body": ("/v1/packages", (("Content-Encoding", "gzip"),), 415, ""),
    "a body": ("/v1/packages", (("Content-Length", "5"),), 413, "body_refused"),
    "another site": ("/v1/packages", (("Origin", "http://evil.example"),), 403, ""),
}


async def test_a_wrong_request_is_refused_with_a_stable_code(filled: Described) -> None:
    registry = filled.service.registry
    for name in ("a-open", "a-twice", "a-twice"):
        await registry.create_package(name)
    gone = await stored(registry, "a-gone")
    await registry.delete_package(gone, reason="a test", before_expiry=True)
    for case, (target, headers, status, code) in WRONG.items():
        answer = await filled.ask(target.replace("GONE", gone), "read", headers=headers)
        assert (answer.status, answer.json.get("code", "")) == (status, code), (case, answer.body)
        assert answer.headers["content-type"] == page_problems.PROBLEM_TYPE
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers


async def test_head_is_get_without_a_body(filled: Described) -> None:
    await filled.service.registry.create_package("a-0")
    upload = (await Uploader(filled, "all").begin("a-0")).rpartition("/")[2]
    for route in (each for each in ROUTES if each.method == "GET"):
        path = path_of(route.template, {**INSIDE, "upload": upload})
        got, head = [await filled.ask(path, method=method, headers=(VERSION,)) for method in ("GET", "HEAD")]
        assert (head.status, head.headers["content-type"]) == (got.status, got.headers["content-type"]), path
        assert head.headers.get("content-length") == got.headers.get("content-length"), path
    assert (await filled.ask("/v1/packages/c-1", method="HEAD")).status == 404


async def test_requests_are_counted_by_their_routes(filled: Described) -> None:
    await filled.ask("/v1/packages/a-1")
    await filled.ask("/v1/packages/a-1", None)
    text = (await filled.service.ask("/metrics")).body.decode()
    line = 'artifactstore_http_requests_total{method="GET",path="/v1/packages/{package}",status="200"} 1.0'
    assert line in text
    assert "a-1" not in text.replace('name="a-1"', "")


async def test_a_defect_is_a_500_that_says_nothing_of_what_is_inside(
    filled: Described, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_registry: Registry) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(Registry, "stats", fail)
    answer = await filled.ask("/v1/stats")
    assert (answer.status, answer.json["code"]) == (500, "internal_error")
    assert b"secret" not in answer.body
    assert "GET /v1/stats failed" in caplog.text


async def test_a_search_finds_entries_of_the_packages_of_the_token_page_by_page(filled: Described) -> None:
    digest = f"blake3:{blake3(b'the same').hexdigest()}"
    for query, expected in (
        ("name=y.txt", [("a-1", "x/y.txt")]),
        (f"digest={digest}", [("a-1", "x/y.txt")]),
        ("path=**", [("a-1", "x/y.txt"), ("a-1", "z")]),
        ("path=**&package=b-*", []),
        ("path=**&tag=on-b", []),
        ("path=**&until=2001-01-01", []),
    ):
        found: list[tuple[str, str]] = []
        after = ""
        while True:
            page = (await filled.ask(f"/v1/entries?{query}&limit=1{after}", "read")).json
            found += [(each["package"]["name"], each["entry"]["path"]) for each in page["items"]]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        assert found == expected, query
    everything = (await filled.ask("/v1/entries?path=**", "all")).json
    assert len(everything["items"]) == 4
    for wrong in ("", "?path=**&after=x", "?path=**&after=x/y", "?name=a%2Fb"):
        assert (await filled.ask(f"/v1/entries{wrong}", "read")).status == 400, wrong


async def test_a_client_of_another_version_hears_which_side_is_too_old(filled: Described) -> None:
    for version, old in (("2", "service"), ("0", None), ("x", None), ("1", "")):
        answer = await filled.ask("/v1/packages", headers=[("Artifactstore-Api-Version", version)])
        assert answer.headers["artifactstore-api-version"] == "1"
        assert answer.status == (200 if version == "1" else 400)
        if old:
            assert answer.json["detail"].endswith(f"upgrade the {old}")
