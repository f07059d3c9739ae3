"""The route that puts a file into a package: what arrives, what is refused, and that a refusal changes nothing."""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from artifactstore import Settings
from artifactstore.dataplane.ingest import CHUNK_BYTES
from artifactstore.http.api import sending, uploading
from artifactstore.json_output import to_json
from artifactstore.registry import Registry
from integration.http.described import Described, bearer, described
from integration.http.serving import GUARD_S, connect, request, serving
from integration.http.uploading import Uploader
from integration.registry.samples import add, whole_log

CONTENT = b"the content"
DIFFERS = {
    "content_address",
    "created_at",
    "created_sequence",
    "expires_at",
    "finalized_at",
    "finalized_sequence",
    "manifest_digest",
    "package_id",
    "sequence",
    "sha256",
    "tree_digest",
}
"""What differs between two packages with different contents of one length, also if others stored one before."""


def digest_field(content: bytes) -> str:
    return f"sha-256=:{b64encode(hashlib.sha256(content).digest()).decode()}:"


@pytest.fixture
async def opened(api: Described) -> Described:
    """A service with open packages `a-1` and `b-1`, and a token `ci` that may write `a-*`."""
    registry = api.service.registry
    for name in ("a-1", "b-1"):
        await registry.create_package(name)
    api.secrets["ci"] = str(await registry.create_token("ci", scopes=["write"], packages=["a-*"]))
    return api


async def put(api: Described, path: str = "x/y.txt", content: bytes = CONTENT, *headers: tuple[str, str]) -> Any:  # noqa: ANN401 - an answer
    return await api.ask(f"/v1/packages/a-1/files/{path}", "ci", method="PUT", body=content, headers=headers)


async def stored(registry: Registry) -> dict[str, bytes]:
    """What `a-1` holds."""
    found: dict[str, bytes] = {}
    for each in await registry.list_files("a-1"):
        async with registry.get_file("a-1", each.path) as chunks:
            found[each.path] = b"".join([chunk async for chunk in chunks])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("chunked", [False, True])
async def test_the_bytes_arrive_whatever_their_number(opened: Described, *, chunked: bool) -> None:
    registry = opened.service.registry
    for size in (0, 1, 1 << 16, CHUNK_BYTES, 2 * CHUNK_BYTES + 1):
        content = hashlib.shake_128(b"seed").digest(size)
        if chunked:
            pieces = [content[at : at + 700_000] for at in range(0, size, 700_000)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
            headers = (*bearer(opened.secrets["ci"]), ("Transfer-Encoding", "chunked"), ("Connection", "close"))
            answer = await sent(opened, headers, [body])
            assert b" 201 " in answer.partition(b"\r\n")[0] or b" 200 " in answer.partition(b"\r\n")[0]
        else:
            answer = await put(opened, "x/y.txt", content, ("Content-Digest", digest_field(content)))
            assert answer.status in {200, 201}
        assert await stored(registry) == {"x/y.txt": content}


async def sent(api: Described, headers: Sequence[tuple[str, str]], parts: Sequence[bytes]) -> bytes:
    """All that comes back for an upload in parts."""
    with trio.fail_after(GUARD_S):
        async with await connect(api.service.url) as stream, trio.open_nursery() as nursery:

            async def send() -> None:
                await stream.send_all(request("/v1/packages/a-1/files/x/y.txt", "PUT", headers))
                for part in parts:
                    await stream.send_all(part)

            nursery.start_soon(send)
            return b"".join([part async for part in stream])


async def test_a_file_is_recorded_as_its_headers_say_and_a_second_one_replaces_it(opened: Described) -> None:
    registry = opened.service.registry
    first = await put(opened, "run", CONTENT, ("Content-Type", "Text/X-Python; charset=utf-8"))
    assert first.status == 201
    assert first.headers["etag"] == f'"{first.json["content_address"]}"'
    assert first.headers["repr-digest"] == digest_field(CONTENT)
    assert (first.json["media_type"], first.json["executable"]) == ("text/x-python", False)
    second = await put(opened, "run", b"#!", ("Artifactstore-Executable", "?1"))
    assert (second.status, second.json["media_type"]) == (200, "application/octet-stream")
    [record] = await registry.list_files("a-1")
    assert second.json == to_json(record)
    last = (await whole_log(registry))[-1]
    assert (last.event.principal, second.headers["artifactstore-sequence"]) == ("token:ci", str(last.sequence))
    assert record.executable
    again = await put(opened, "run", b"#!", ("Artifactstore-Executable", "?1"))
    assert (again.status, again.body) == (200, second.body)
    assert (await put(opened, "a%2Fb%20c/%C3%A9.svg")).json["path"] == "a/b c/é.svg"


BAD: Sequence[tuple[str, tuple[tuple[str, str], ...], int, str]] = (
    ("x", (("Content-Digest", digest_field(b"other")),), 400, "digest_differs"),
    ("x", (("Repr-Digest", digest_field(b"other")), ("Content-Digest", digest_field(CONTENT))), 400, "digest_differs"),
    ("x", (("Content-Digest", "md5=:AAAA:"),), 400, "invalid_value"),
    ("x", (("Content-Digest", "sha-256=:AAAA:"),), 400, "invalid_value"),
    ("x", (("Content-Digest", "sha-256=AAAA"),), 400, "invalid_value"),
    ("x", (("If-None-Match", '"x"'),), 400, "invalid_value"),
    ("x", (("If-Match", "*"),), 400, "invalid_value"),
    ("x", (("Content-Range", "bytes 0-1/2"),), 400, "invalid_value"),
    ("x", (("Artifactstore-Executable", "yes"),), 400, "invalid_value"),
    ("x", (("Content-Type", "text"),), 400, "invalid_value"),
    ("x", (("Content-Type", "application/x-www-form-urlencoded"),), 415, "media_type_refused"),
    ("x", (("Content-Type", "multipart/form-data; boundary=x"),), 415, "media_type_refused"),
    ("x", (("Content-Encoding", "gzip"),), 415, ""),
    ("..", (), 400, "path_refused"),
    ("there/below", (), 409, "path_conflict"),
    ("there", (("If-None-Match", "*"),), 412, "path_taken"),
)


@pytest.mark.slow
async def test_a_wrong_upload_is_refused_and_leaves_the_package_as_it_was(opened: Described) -> None:
    registry = opened.service.registry
    await add(registry, "a-1", "there", b"old")
    head = len(await whole_log(registry))
    for path, headers, status, code in BAD:
        answer = await put(opened, path, CONTENT, *headers)
        assert (answer.status, answer.json.get("code", "")) == (status, code), (headers, answer.body)
    assert len(await whole_log(registry)) == head
    accepted = ("Content-Digest", f"sha-512=:AAAA:, {digest_field(CONTENT)}")
    assert (await put(opened, "x", CONTENT, accepted, ("If-None-Match", "*"))).status == 201


async def test_a_file_goes_only_into_an_open_package_in_sight(opened: Described) -> None:
    registry = opened.service.registry

    async def refused(package: str) -> Any:  # noqa: ANN401 - an answer
        return await opened.ask(f"/v1/packages/{package}/files/x", "ci", method="PUT", body=CONTENT)

    hidden, missing = await refused("b-1"), await refused("b-2")
    assert (hidden.status, hidden.body) == (404, missing.body.replace(b"b-2", b"b-1"))
    finalized = await registry.finalize_package("a-1")
    assert (await refused("a-1")).json["code"] == "package_finalized_already"
    await registry.delete_package(finalized.package_id, reason="a test", before_expiry=True)
    assert (await refused(finalized.package_id)).json["code"] == "package_gone"


@pytest.mark.parametrize("case", ["revoked", "taken", "cut"])
async def test_what_is_true_at_the_end_of_an_upload_counts(opened: Described, case: str) -> None:
    registry = opened.service.registry
    before = await stored(registry)
    package_id = (await registry.get_package("a-1")).package_id
    more = (("If-None-Match", "*"),) if case == "taken" else ()
    length = ("Content-Length", str(len(CONTENT)))
    headers = (*bearer(opened.secrets["ci"]), length, ("Connection", "close"), ("Expect", "100-continue"), *more)
    said = b""
    with trio.fail_after(GUARD_S):
        async with await connect(opened.service.url) as stream:
            await stream.send_all(request("/v1/packages/a-1/files/x/y.txt", "PUT", headers))
            assert b"100" in await stream.receive_some()
            await stream.send_all(CONTENT[:3])
            if case == "revoked":
                await registry.revoke_token("ci", reason="a test")
            elif case == "taken":
                await add(registry, package_id, "x/y.txt", b"another")
                before = await stored(registry)
            if case == "cut":
                assert isinstance(stream, trio.SocketStream)
                await stream.send_eof()
            else:
                await stream.send_all(CONTENT[3:])
            said = b"".join([part async for part in stream])
    expected = {"revoked": b" 401 ", "taken": b" 412 ", "cut": b" 400 "}
    assert expected[case] in said.partition(b"\r\n")[0]
    assert await stored(registry) == before


async def test_a_body_that_is_refused_is_not_received(opened: Described, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = opened.service.registry
    await add(registry, "a-1", "x/y.txt", b"old")
    common = (*bearer(opened.secrets["ci"]), ("Expect", "100-continue"), ("Connection", "close"))
    taken = (*common, ("Content-Length", "5"), ("If-None-Match", "*"))
    assert (await sent(opened, taken, [])).startswith(b"HTTP/1.1 412 ")
    monkeypatch.setattr(sending, "PLACE_WAIT_S", 0.01)
    places = sending.Places(1, "too_many_uploads", "no")
    monkeypatch.setattr(uploading, "RECEIVING", places)
    async with places.taken("other"):
        full = await sent(opened, (*common, ("Content-Length", "5")), [])
    assert full.startswith(b"HTTP/1.1 503 ")
    assert b"too_many_uploads" in full
    assert (await put(opened)).status == 200


@pytest.mark.slow
async def test_a_service_takes_only_as_much_as_its_settings_say(settings: Settings) -> None:
    async with serving(replace(settings, upload_max_mib=1), limited=True) as service:
        api = await described(service)
        api.secrets["ci"] = api.secrets["all"]
        await service.registry.create_package("a-1")
        common = (*bearer(api.secrets["ci"]), ("Connection", "close"))
        long = (*common, ("Expect", "100-continue"), ("Content-Length", str((1 << 20) + 1)))
        assert (await sent(api, long, [])).startswith(b"HTTP/1.1 413 ")
        chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
        endless = await sent(api, (*common, ("Transfer-Encoding", "chunked")), [chunk] * 17)
        assert endless.startswith(b"HTTP/1.1 413 ")
        assert await stored(service.registry) == {}
        assert (await put(api, content=bytes(1 << 20))).status == 201


async def test_an_upload_leaves_the_reserve_of_free_space(settings: Settings) -> None:
    async with serving(replace(settings, upload_reserve_mib=999_999_999), limited=True) as service:
        api = await described(service)
        api.secrets["ci"] = api.secrets["all"]
        await service.registry.create_package("a-1")
        tus = Uploader(api, "all")
        for full in (
            await put(api),
            await tus.create(length=1),
            await api.ask(
                "/v1/packages/a-1/objects",
                "all",
                method="POST",
                headers=[("Content-Type", "application/cbor-seq")],
                body=b"\x41x",
            ),
        ):
            assert (full.status, full.json["code"]) == (507, "storage_full")


async def test_a_purged_content_is_refused_without_its_history(opened: Described) -> None:
    registry = opened.service.registry
    await add(registry, "b-1", "key", CONTENT)
    [address] = [each.content_address for each in await registry.list_files("b-1")]
    await registry.purge([address], reason="b-1 leaked it", confirm=[address], principal="admin")
    answer = await put(opened)
    assert (answer.status, answer.json["code"]) == (410, "content_purged")
    assert b"leaked" not in answer.body
    assert b"admin" not in answer.body


async def test_an_answer_does_not_tell_whether_somebody_else_stored_the_content(opened: Described) -> None:
    registry = opened.service.registry
    shared, own = b"stored by others", b"stored by nobody"
    await add(registry, "b-1", "x", shared)
    told: list[Any] = []
    for content in (shared, own):
        package = (await opened.ask("/v1/packages", "ci", method="POST", sent={"name": "a-new"})).json["package_id"]
        path = f"/v1/packages/{package}"
        put_it = await opened.ask(f"{path}/files/x", "ci", method="PUT", body=content)
        finalized = await opened.ask(f"{path}/finalize", "ci", method="POST")
        shown = (await opened.ask(path)).json
        told.append([put_it.status, finalized.status])
        for each in (put_it.json, finalized.json, shown):  # sequences count the events of the whole store
            told[-1].append({key: value for key, value in each.items() if key not in DIFFERS})
    assert told[0] == told[1]
