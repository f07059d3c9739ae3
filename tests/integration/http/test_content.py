"""Files and archives over HTTP: the right bytes, or an answer that nobody takes for them; clients that stall or go."""

import io
import tarfile
import zipfile
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from artifactstore import Settings
from artifactstore.dataplane.reading import ObjectPieces
from artifactstore.http import connection
from artifactstore.http.api import content, sending
from artifactstore.http.api.model import NO_HEADERS
from artifactstore_protocols.http_content import repr_digest
from artifactstore_protocols.links import LinkPolicy
from integration.http.serving import GUARD_S, Answer, Service, ask, connect, request, talk
from integration.registry.samples import object_file, plant
from stored_objects import overwrite

pytestmark = pytest.mark.slow

LARGE = bytes(range(256)) * (3 << 12) + b"end"
FILES = {
    "a.txt": b"0123456789",
    "empty": b"",
    "img/dot.svg": b"<svg/>",
    "img/Ünter 100%.png": b"png",
    "index.html": b"<script>fetch('/')</script>",
    "large.bin": LARGE,
}


@dataclass(frozen=True, slots=True)
class Stored:
    """A service with a package, and a token that may read it."""

    service: Service
    package_id: str
    secret: str

    async def get(self, target: str, method: str = "GET", **headers: str) -> Answer:
        """Ask for something below the package. Headers have underscores for hyphens."""
        return await ask(
            self.service.url, f"/v1/packages/{self.package_id}/{target}", method, headers=self.fields(headers)
        )

    def fields(self, headers: Mapping[str, str] = NO_HEADERS) -> list[tuple[str, str]]:
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return [("Authorization", f"Bearer {self.secret}"), *named]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = plant(tmp_path / "tree", FILES)
    (tree / "latest").symlink_to("a.txt")
    (tree / "pictures").symlink_to("img")
    (tree / "dead").symlink_to("nothing")
    (tree / "hollow").mkdir()
    return tree


@pytest.fixture
async def stored(service: Service, tree: Path) -> Stored:
    package = await service.registry.ingest_tree(tree, name="nightly", links=LinkPolicy.KEEP)
    secret = await service.registry.create_token("reader", scopes=["read"], packages=["night*"])
    return Stored(service, package.package_id, secret)


async def test_a_file_is_sent_with_what_a_client_needs_to_check_it(stored: Stored) -> None:
    for path, expected in FILES.items():
        target = "files/" + path.replace("Ü", "%C3%9C").replace(" ", "%20").replace("100%", "100%25")
        record = await stored.service.registry.get_file_record(stored.package_id, path)
        answer = await stored.get(target)
        assert (answer.status, answer.body) == (200, expected), path
        assert answer.headers["content-length"] == str(len(expected))
        assert answer.headers["etag"] == f'"{record.content_address}"'
        assert answer.headers["repr-digest"] == repr_digest(sha256(expected).hexdigest())
        assert (answer.headers["accept-ranges"], answer.headers["content-type"]) == ("bytes", record.media_type)
        head = await stored.get(target, "HEAD", Range="bytes=1-2")
        assert (head.status, head.body) == (200, b"")
        assert {**head.headers, "date": ""} == {**answer.headers, "date": ""}


async def test_a_stored_page_cannot_act_for_its_viewer(stored: Stored) -> None:
    kinds = {"index.html": "attachment", "img/dot.svg": "attachment", "a.txt": "inline", "large.bin": "attachment"}
    for path, kind in kinds.items():
        headers = (await stored.get(f"files/{path}")).headers
        assert headers["content-disposition"] == f'{kind}; filename="{path.rpartition("/")[2]}"'
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"].split("; ")
        assert {"sandbox", "default-src 'none'", "form-action 'none'"} <= set(policy)
        assert headers["cache-control"] == "private, no-cache"
        assert headers["cross-origin-resource-policy"] == "same-origin"


async def test_ranges_and_conditions(stored: Stored) -> None:
    etag = (await stored.get("files/large.bin", "HEAD")).headers["etag"]
    size = len(LARGE)
    for header, offset, last in (
        ("bytes=0-0", 0, 0),
        ("bytes=-5", size - 5, size - 1),
        (f"bytes={size - 2}-", size - 2, size - 1),
        ("bytes=1048570-2097160", 1048570, 2097160),
        (f"bytes=0-{size}", 0, size - 1),
    ):
        part = await stored.get("files/large.bin", Range=header, If_Range=etag)
        assert (part.status, part.body) == (206, LARGE[offset : last + 1]), header
        assert part.headers["content-range"] == f"bytes {offset}-{last}/{size}"
        assert part.headers["etag"] == etag
    parts = await stored.get("files/large.bin", Range="bytes=-3, 0-1, 1-2,9000000-")
    assert parts.status == 206
    head = f"Content-Type: {parts.headers['content-type']}\r\n\r\n".encode()
    found = cast("list[Any]", message_from_bytes(head + parts.body).get_payload())
    assert [part["Content-Range"] for part in found] == [f"bytes 0-2/{size}", f"bytes {size - 3}-{size - 1}/{size}"]
    assert [part.get_payload(decode=True) for part in found] == [LARGE[:3], b"end"]

    beyond = await stored.get("files/large.bin", Range=f"bytes={size}-")
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    assert beyond.json["code"] == "range_refused"
    assert (await stored.get("files/large.bin", Range="bytes=0-1", If_Range='"other"')).body == LARGE
    unchanged = await stored.get("files/large.bin", If_None_Match=f'"other", W/{etag}')
    assert (unchanged.status, unchanged.body, unchanged.headers["etag"]) == (304, b"", etag)
    differs = await stored.get("files/large.bin", If_Match='"other"')
    assert (differs.status, differs.json["code"]) == (412, "content_differs")


async def test_paths_lead_where_they_do_in_an_export(stored: Stored) -> None:
    assert (await stored.get("files/latest")).body == FILES["a.txt"]
    assert (await stored.get("files/pictures/dot.svg")).body == FILES["img/dot.svg"]
    refused = {
        "files/nothing": (404, "file_not_in_package"),
        "files/a.txt/below": (404, "file_not_in_package"),
        "files/dead": (404, "link_leads_nowhere"),
        "files/img": (409, "not_a_file"),
        "files/pictures": (409, "not_a_file"),
        "files/hollow": (409, "not_a_file"),
        "files/img/../a.txt": (400, "path_refused"),
        "files/%FF": (404, "not_found"),
        "archive.tar?subtree=nothing": (404, "paths_not_in_package"),
    }
    for target, (status, code) in refused.items():
        answer = await stored.get(target)
        assert (answer.status, answer.json["code"]) == (status, code), target
    assert "archive.tar?subtree=img" in (await stored.get("files/pictures")).json["detail"]


async def test_a_package_is_read_only_to_follow_a_link(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PLACE_WAIT_S", 0.01)
    places = sending.Places(1)
    monkeypatch.setattr(content, "_lookups", places)
    expected = {"nothing": 404, "a.txt/below": 404, "img/no": 404, "im": 404, "img": 409, "hollow": 409, "a.txt": 200}
    async with places.taken("other"):
        for path, status in expected.items():
            assert (await stored.get(f"files/{path}")).status == status, path
        for path in ("latest", "pictures/dot.svg", "pictures/no", "dead"):
            answer = await stored.get(f"files/{path}")
            assert (answer.status, answer.json["code"]) == (503, "too_many_downloads"), path
    assert (await stored.get("files/latest")).status == 200


async def test_a_token_for_other_packages_sees_nothing(stored: Stored) -> None:
    other = await stored.service.registry.create_token("other", scopes=["read"], packages=["weekly"])
    for target in ("files/a.txt", "files/nothing", "archive.tar", "archive.zip"):
        answer = await Stored(stored.service, stored.package_id, other).get(target)
        assert (answer.status, answer.json["code"]) == (404, "package_not_found"), target
        assert (await Stored(stored.service, stored.package_id, "").get(target)).status == 401


async def test_a_package_that_is_gone_has_no_bytes(stored: Stored) -> None:
    await stored.service.registry.delete_package(stored.package_id, reason="a test", before_expiry=True)
    for target in ("files/a.txt", "files/latest", "archive.tar", "archive.zip"):
        answer = await stored.get(target)
        assert (answer.status, answer.json["code"]) == (410, "package_gone"), target


async def test_a_purged_content_is_gone_for_every_request(stored: Stored) -> None:
    registry = stored.service.registry
    targets = ("files/a.txt", "files/large.bin", "archive.tar", "archive.zip")
    tags = [(await stored.get(target, "HEAD")).headers["etag"] for target in targets]
    purged = [
        (await registry.get_file_record(stored.package_id, path)).content_address for path in ("a.txt", "large.bin")
    ]
    await registry.purge(purged, reason="a test", confirm=purged)
    for target, etag in zip(targets, tags, strict=True):
        for answer in (await stored.get(target), await stored.get(target, If_None_Match=etag)):
            assert (answer.status, answer.json["code"]) == (410, "content_purged"), target
        assert (await stored.get(target, "HEAD")).status == 410, target
    assert (await stored.get("archive.tar?subtree=img", "HEAD")).status == 200


@pytest.mark.parametrize("form", ["tar", "zip"])
async def test_an_archive_has_the_bytes_of_an_export(stored: Stored, form: Any) -> None:  # noqa: ANN401 - a literal
    for subtree in ("", "img", "a.txt"):
        target = f"archive.{form}" + (f"?subtree={subtree}" if subtree else "")
        answer = await stored.get(target)
        async with stored.service.registry.export_archive(stored.package_id, form, subtree=subtree) as chunks:
            assert answer.body == b"".join([chunk async for chunk in chunks])
        assert answer.headers["content-length"] == str(len(answer.body))
        name = f"{subtree or 'nightly'}.{form}"
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        head = await stored.get(target, "HEAD")
        assert {**head.headers, "date": ""} == {**answer.headers, "date": ""}
        assert (await stored.get(target, If_None_Match=answer.headers["etag"])).status == 304
    tags = {(await stored.get(f"archive.{each}", "HEAD")).headers["etag"] for each in ("tar", "zip", "tar?subtree=img")}
    assert len(tags) == 3
    whole = (await stored.get(f"archive.{form}")).body
    if form == "tar":
        with tarfile.open(fileobj=io.BytesIO(whole)) as opened:
            assert {"hollow", "latest", "index.html"} <= set(opened.getnames())
    else:
        with zipfile.ZipFile(io.BytesIO(whole)) as zipped:
            assert zipped.testzip() is None


async def test_a_damaged_object_never_looks_whole(stored: Stored, settings: Settings) -> None:
    await damage(stored, settings, "large.bin")
    for target in ("files/large.bin", "archive.tar", "archive.zip"):
        path = f"/v1/packages/{stored.package_id}/{target}"
        received = await talk(stored.service.url, request(path, headers=stored.fields()))
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), target
        (length,) = [int(line.split()[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
        assert 0 < len(body) < length
    await damage(stored, settings, "a.txt")
    for target in ("files/a.txt", "archive.tar"):
        answer = await stored.get(target)
        assert (answer.status, answer.json["code"]) == (500, "object_damaged"), target


async def damage(stored: Stored, settings: Settings, path: str) -> None:
    record = await stored.service.registry.get_file_record(stored.package_id, path)
    overwrite(object_file(settings, record.content_address), b"?" * record.size_bytes)


@pytest.fixture
def closing(monkeypatch: pytest.MonkeyPatch) -> trio.Event:
    """An event that is set when an object is closed."""
    closed = trio.Event()
    close: Callable[[ObjectPieces], None] = ObjectPieces.close

    def closes(self: ObjectPieces) -> None:
        close(self)
        trio.from_thread.run_sync(closed.set)

    monkeypatch.setattr(ObjectPieces, "close", closes)
    return closed


@pytest.fixture
async def huge(stored: Stored) -> Stored:
    """A package with a file that no buffer of a connection holds."""
    registry = stored.service.registry
    package = await registry.create_package("nightly")

    async def zeros() -> AsyncGenerator[bytes]:
        for _ in range(48):
            yield bytes(1 << 20)

    await registry.ingest_file(package.package_id, "zeros", zeros())
    return Stored(stored.service, package.package_id, stored.secret)


async def test_nothing_is_read_for_a_client_that_has_gone(huge: Stored, closing: trio.Event) -> None:
    with trio.fail_after(GUARD_S):
        async with await connect(huge.service.url) as stream:
            await stream.send_all(request(f"/v1/packages/{huge.package_id}/files/zeros", headers=huge.fields()))
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
            assert not closing.is_set()
        await closing.wait()


async def test_a_download_ends_when_its_token_is_revoked(
    huge: Stored, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "artifactstore.http")
    monkeypatch.setattr(sending, "RECHECK_S", 0.0)
    path = f"/v1/packages/{huge.package_id}/files/zeros"
    with trio.fail_after(GUARD_S):
        async with await connect(huge.service.url) as stream:
            await stream.send_all(request(path, headers=huge.fields()))
            received = len(await stream.receive_some())
            await huge.service.registry.revoke_token("reader", reason="a test")
            try:
                while part := await stream.receive_some():
                    received += len(part)
            except trio.BrokenResourceError:
                pass
            assert received < 48 << 20
    assert "ended: its token is not valid any more" in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_client_that_takes_nothing_is_left(
    huge: Stored, closing: trio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_WRITE_TIMEOUT_S", 0.01)
    with trio.fail_after(GUARD_S):
        async with await connect(huge.service.url) as stream:
            await stream.send_all(request(f"/v1/packages/{huge.package_id}/files/zeros", headers=huge.fields()))
            await closing.wait()
            received = 0
            try:
                while part := await stream.receive_some():
                    received += len(part)
            except trio.BrokenResourceError:
                pass
            assert received < 48 << 20


async def test_a_request_waits_for_a_place_and_is_refused_in_the_end(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "PLACE_WAIT_S", 0.01)
    for name, target in (("_files", "files/a.txt"), ("_archives", "archive.tar")):
        places = sending.Places(1)
        monkeypatch.setattr(content, name, places)
        async with places.taken("other"):
            answer = await stored.get(target)
            assert (answer.status, answer.json["code"]) == (503, "too_many_downloads")
            assert answer.headers["retry-after"]
            assert (await stored.get("files/a.txt", "HEAD")).status == 200
        assert (await stored.get(target)).status == 200
