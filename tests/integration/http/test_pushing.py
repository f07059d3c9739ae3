"""Push by reference over HTTP: what a token may refer to, how contents are sent, and that nothing tells of others."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from artifactstore.http.api.pushing import CBOR_SEQUENCE, ENTRIES_AT_ONCE, OBJECTS_AT_ONCE
from artifactstore.registry import Registry
from artifactstore.testing.backend_conformance import address_of
from artifactstore_protocols.commands import OBJECTS_MAX
from artifactstore_protocols.pushing import UPLOADED_BYTES_MAX
from integration.http.described import Described, bearer, described
from integration.http.serving import GUARD_S, Answer, connect, request, serving
from integration.registry.samples import add, settings_in, whole_log

CBOR = (("Content-Type", CBOR_SEQUENCE),)
CONTENTS = (b"", b"alpha", b"beta", b"gamma", b"delta" * 20_000)


def text(content: bytes) -> str:
    return str(address_of(content))


def byte_string(content: bytes, size_of_length: int = 4) -> bytes:
    """A CBOR byte string whose length takes so many bytes."""
    head = 0x40 | {0: len(content), 1: 24, 2: 25, 4: 26, 8: 27}[size_of_length]
    return bytes([head]) + (len(content).to_bytes(size_of_length) if size_of_length else b"") + content


def file(path: str, content: bytes) -> Mapping[str, object]:
    return {"path": path, "content": text(content)}


@dataclass(frozen=True, slots=True)
class Pushing:
    """A token that pushes into one package."""

    api: Described
    package: str
    who: str

    async def missing(self, *contents: bytes) -> Answer:
        sent = {"contents": [text(each) for each in contents]}
        return await self.api.ask(f"{self.package}/objects/missing", self.who, method="POST", sent=sent)

    async def store(self, body: bytes, headers: Sequence[tuple[str, str]] = CBOR) -> Answer:
        return await self.api.ask(f"{self.package}/objects", self.who, method="POST", headers=headers, body=body)

    async def add(self, *entries: Mapping[str, object]) -> Answer:
        sent = {"entries": entries}
        return await self.api.ask(f"{self.package}/entries", self.who, method="POST", sent=sent)


async def pushing(api: Described, name: str, *scopes: str, globs: Sequence[str] = ("a-*",)) -> Pushing:
    """An open package of a name, and a new token for it."""
    who = f"t{len(api.secrets)}"
    registry = api.service.registry
    api.secrets[who] = str(await registry.create_token(who, scopes=scopes, packages=globs))  # type: ignore[arg-type]
    package = await registry.create_package(name)
    return Pushing(api, f"/v1/packages/{package.package_id}", who)


async def test_a_package_is_pushed_by_reference(api: Described) -> None:
    push = await pushing(api, "a-1", "write", "read")
    assert (await push.missing(b"alpha", b"", b"alpha")).json == {"missing": [text(b"alpha"), text(b"")]}
    answer = await push.store(byte_string(b"alpha") + byte_string(b"", 0) + byte_string(b"alpha", 8))
    assert [(each["content_address"], each["bytes"]) for each in answer.json["items"]] == [
        (text(b"alpha"), 5),
        (text(b""), 0),
        (text(b"alpha"), 5),
    ]
    entries = [
        {**file("bin/run", b"alpha"), "executable": True, "media_type": "text/x-sh"},
        file("empty.txt", b""),
        {"path": "link", "kind": "link", "target": "bin/run"},
        {"path": "nothing", "kind": "directory"},
    ]
    assert (await push.add(*entries)).json["added"] == 4
    assert (await push.add(*entries)).json["added"] == 0
    listed = (await api.ask(f"{push.package}/files", push.who)).json["items"]
    assert [(each["path"], each["bytes"], each["executable"], each["media_type"]) for each in listed[:2]] == [
        ("bin/run", 5, True, "text/x-sh"),
        ("empty.txt", 0, False, "text/plain"),
    ]
    assert (await api.ask(f"{push.package}/files/link", push.who)).body == b"alpha"


async def test_what_is_missing_is_a_conflict_that_names_it(api: Described) -> None:
    push = await pushing(api, "a-1", "write")
    await push.store(byte_string(b"alpha"))
    answer = await push.add(file("a", b"alpha"), file("b", b"beta"), file("c", b"gamma"), file("d", b"beta"))
    assert (answer.status, answer.json["code"]) == (409, "contents_missing")
    assert answer.json["details"] == {"contents": [text(b"beta"), text(b"gamma")]}
    assert (await push.missing(b"alpha", b"beta")).json == {"missing": [text(b"beta")]}


async def test_a_token_refers_to_what_it_may_read_and_to_nothing_else(api: Described) -> None:
    registry = api.service.registry
    for name, content in (("a-0", b"alpha"), ("b-0", b"beta")):
        await add(registry, (await registry.create_package(name)).package_id, "x", content)
    reads = await pushing(api, "a-1", "write", "read")
    assert (await reads.missing(b"alpha", b"beta")).json == {"missing": [text(b"beta")]}
    assert (await reads.add(file("x", b"alpha"))).status == 200
    writes = await pushing(api, "a-1", "write")
    assert (await writes.missing(b"alpha", b"beta")).json == {"missing": [text(b"alpha"), text(b"beta")]}
    assert (await writes.add(file("x", b"alpha"))).status == 409
    await reads.store(byte_string(b"beta"))
    assert (await writes.missing(b"beta")).json == {"missing": [text(b"beta")]}


BODIES: dict[str, tuple[bytes, tuple[tuple[str, str], ...], int, str]] = {
    "a text": (b"\x61a", CBOR, 400, "invalid_value"),
    "an array of byte strings": (b"\x81\x41a", CBOR, 400, "invalid_value"),
    "an indefinite length": (b"\x5f\x41a\xff", CBOR, 400, "invalid_value"),
    "a tag": (b"\xc1\x41a", CBOR, 400, "invalid_value"),
    "a cut byte string": (b"\x41a\x42b", CBOR, 400, "invalid_value"),
    "a cut head": (b"\x59\x01", CBOR, 400, "invalid_value"),
    "a content that is too large": (b"\x5a" + (UPLOADED_BYTES_MAX + 9).to_bytes(4), CBOR, 400, "invalid_value"),
    "too many contents": (b"\x40" * (OBJECTS_AT_ONCE + 1), CBOR, 413, "body_too_long"),
    "JSON": (b"[]", (("Content-Type", "application/json"),), 415, "media_type_refused"),
}


@pytest.mark.parametrize("case", BODIES)
async def test_a_body_that_is_no_sequence_of_contents_is_refused(api: Described, case: str) -> None:
    body, headers, status, code = BODIES[case]
    push = await pushing(api, "a-1", "write")
    answer = await push.store(body, headers)
    assert (answer.status, answer.json["code"]) == (status, code)


async def test_more_than_a_request_may_have_and_wrong_entries_are_refused(api: Described) -> None:
    push = await pushing(api, "a-1", "write")
    for entries in (
        [{"path": f"{number}", "kind": "directory"} for number in range(ENTRIES_AT_ONCE + 1)],
        [{"path": "a"}],
        [{"path": "a", "content": "blake3:0"}],
        [{"path": "../a", "kind": "directory"}],
        [{**file("a", b""), "bytes": 1}],
    ):
        answer = await push.add(*entries)
        assert answer.status == 400, entries[0]
    sent = {"contents": [text(b"")] * (OBJECTS_AT_ONCE + 1)}
    assert (await api.ask(f"{push.package}/objects/missing", push.who, method="POST", sent=sent)).status == 400
    assert (await push.add()).json["added"] == 0
    assert (await push.missing()).json == {"missing": []}
    assert (await push.store(b"")).json == {"items": []}


async def test_a_large_body_is_stored_in_batches_wherever_it_is_cut(api: Described) -> None:
    push = await pushing(api, "a-1", "write")
    before = len(await whole_log(api.service.registry))
    small = [b"%d" % number for number in range(OBJECTS_MAX + 1)]
    answer = await push.store(b"".join(map(byte_string, [*small, *[bytes(UPLOADED_BYTES_MAX)] * 2, b"last"])))
    assert [each["content_address"] for each in answer.json["items"]] == [
        text(each) for each in [*small, *[bytes(UPLOADED_BYTES_MAX)] * 2, b"last"]
    ]
    assert len(await whole_log(api.service.registry)) - before == 4


async def test_a_token_that_is_revoked_while_it_sends_stores_nothing_more(api: Described) -> None:
    push = await pushing(api, "a-1", "write")
    body = byte_string(b"alpha")
    headers = (
        *bearer(api.secrets[push.who]),
        *CBOR,
        ("Content-Length", str(len(body))),
        ("Expect", "100-continue"),
    )
    before = len(await whole_log(api.service.registry))
    with trio.fail_after(GUARD_S):
        async with await connect(api.service.url) as stream:
            await stream.send_all(request(f"{push.package}/objects", "POST", headers))
            assert b"HTTP/1.1 100 " in await stream.receive_some()  # the request is admitted, and its body is wanted
            await api.service.registry.revoke_token(push.who, reason="a test")
            await stream.send_all(body)
            assert b" 401 " in await stream.receive_some()
    stored = [each.event.type for each in (await whole_log(api.service.registry))[before:]]
    assert stored == ["v1.token.revoked"]


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("missing"), st.lists(st.sampled_from(CONTENTS), max_size=4)),
        st.tuples(st.just("store"), st.lists(st.sampled_from(CONTENTS), max_size=4)),
        st.tuples(st.just("add"), st.lists(st.sampled_from(CONTENTS), max_size=4)),
        st.tuples(st.just("look"), st.just(list[bytes]())),
    ),
    min_size=1,
    max_size=6,
)


async def store_of_others(registry: Registry, inside: Sequence[bytes], outside: Sequence[bytes]) -> None:
    """Packages that the token may read, and as many files in packages that it may not read."""
    for name, contents in (("a-0", inside), ("b-0", outside)):
        package = await registry.create_package(name)
        for number, content in enumerate(contents):
            await add(registry, package.package_id, f"{number}", content)


async def answers(root: Path, others: Sequence[bytes], steps: Sequence[tuple[str, Sequence[bytes]]]) -> list[object]:
    """All that a token hears in a store where others have these contents; ids and times are left out."""
    heard: list[object] = []
    async with serving(settings_in(root)) as service:
        api = await described(service)
        await store_of_others(service.registry, CONTENTS[1:2], others)
        push = await pushing(api, "a-1", "write", "read")
        package_id = push.package.rpartition("/")[2]
        for number, (step, contents) in enumerate(steps):
            match step:
                case "missing":
                    answer = await push.missing(*contents)
                case "store":
                    answer = await push.store(b"".join(map(byte_string, contents)))
                case "add":
                    answer = await push.add(*(file(f"{number}/{at}", each) for at, each in enumerate(contents)))
                case _:
                    answer = await api.ask(f"{push.package}/files", push.who)
            headers = {name: value for name, value in answer.headers.items() if name not in {"date", "x-request-id"}}
            heard.append((step, answer.status, headers, answer.body.replace(package_id.encode(), b"ID")))
        told = (await api.ask("/v1/events", push.who)).body.splitlines()
        heard.append([(each["sequence"], each["type"]) for each in map(json.loads, told)])
    return heard


@pytest.mark.slow
@hypothesis_settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(ACTIONS)
@example([(step, [CONTENTS[2]]) for step in ("store", "add", "look")])
@example([(step, list(CONTENTS)) for step in ("missing", "add", "store", "missing", "add", "look")])
def test_no_answer_tells_what_others_have_stored(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, list[bytes]]]
) -> None:
    """The others have stored as many files in both stores, once the same contents, and once contents of their own."""
    same = CONTENTS[2:]
    own = [bytes(reversed(each)) + b"!" for each in same]

    async def both() -> None:
        heard = [await answers(tmp_path_factory.mktemp("store") / "s", others, steps) for others in (same, own)]
        assert heard[0] == heard[1]

    trio.run(both)
