"""Resumable uploads, rule by rule: what a client of tus 1.0 depends on."""

import errno
import hashlib
import os
from base64 import b64encode
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace as msgspec_replace

from artifactstore import Settings
from artifactstore.doctor import examine, inspect_store
from artifactstore.http import app
from artifactstore.http.jobs import service_jobs
from artifactstore.ids import new_id, now_us
from artifactstore.registry import object_root
from artifactstore.upload_files import UploadFiles
from artifactstore_protocols.resumable_uploads import RESUMABLE_LIMITS, Destination, ResumableLimits, Upload
from artifactstore_protocols.storage import StorageError
from integration.http.described import Described, bearer, described
from integration.http.serving import GUARD_S, ask, connect, request, serving
from integration.http.uploading import PART, VERSION, Uploader, encoded

BIG = bytes(range(256)) * 12_000  # some writes of a megabyte, and a part of one


def checksum(data: bytes, algorithm: str = "sha1") -> tuple[str, str]:
    return "Upload-Checksum", f"{algorithm} {b64encode(hashlib.new(algorithm, data).digest()).decode()}"


@pytest.fixture
async def tus(api: Described) -> Uploader:
    """A token `writer` for `a-*`, whose package `a-1` is open, as is `b-1` of somebody else."""
    registry = api.service.registry
    for name in ("a-1", "b-1"):
        await registry.create_package(name)
    api.secrets["writer"] = str(await registry.create_token("writer", scopes=("read", "write"), packages=["a-*"]))
    return Uploader(api, "writer")


async def stored(tus: Uploader, path: str = "big.bin", package: str = "a-1") -> bytes:
    """What a package has at a path."""
    async with tus.api.service.registry.get_file(package, path) as chunks:
        return b"".join([chunk async for chunk in chunks])


@pytest.mark.slow
async def test_a_file_arrives_in_parts_and_is_in_the_package_with_the_last_byte(tus: Uploader) -> None:
    created = await tus.create(length=len(BIG), media_type="text/x-c", executable="true")
    assert (created.status, created.headers["upload-offset"]) == (201, "0")
    assert created.headers["upload-expires"].endswith("GMT")
    target = created.headers["location"]
    for begin, end in ((0, 5), (5, 5), (5, 2_000_000), (2_000_000, len(BIG))):
        answer = await tus.send(target, begin, BIG[begin:end])
        assert (answer.status, answer.headers["upload-offset"]) == (204, str(end)), answer
        assert await tus.offset(target) == end
    file = await tus.api.service.registry.get_file_record("a-1", "big.bin")
    assert (file.executable, file.media_type, file.size_bytes) == (True, "text/x-c", len(BIG))
    assert await stored(tus) == BIG


async def test_an_empty_file_is_complete_at_once(tus: Uploader) -> None:
    created = await tus.create(length=0)
    assert (created.status, created.json["file"]["bytes"]) == (201, 0)
    assert await stored(tus) == b""
    assert await tus.offset(created.headers["location"]) == 0


async def test_first_bytes_may_come_with_the_creation(tus: Uploader) -> None:
    created = await tus.create(length=len(BIG), body=BIG[:9])
    assert (created.status, created.headers["upload-offset"]) == (201, "9")
    whole = await tus.create(path="small", length=3, body=b"abc", headers=[checksum(b"abc", "sha256")])
    assert (whole.status, whole.json["file"]["path"], await stored(tus, "small")) == (201, "small", b"abc")


async def test_a_creation_that_fails_leaves_no_upload(tus: Uploader, settings: Settings) -> None:
    taken = await tus.create(path="x", length=3, body=b"abc")
    assert taken.status == 201
    for answer, code in (
        (await tus.create(path="y", length=3, body=b"abc", headers=[checksum(b"abd")]), "checksum_mismatch"),
        (await tus.create(path="x", length=3, body=b"abd"), "path_taken"),
        (await tus.create(path="y", length=3, body=b"abcd"), "upload_too_long"),
        (await tus.create(path="y", length=1 << 41), "upload_too_long"),
    ):
        assert answer.json["code"] == code
    assert list(settings.storage_local_root.glob("uploads/*/*.part")) == []
    assert (await tus.create(path="x", length=3, body=b"abd", replace="true")).status == 201
    assert await stored(tus, "x") == b"abd"


async def test_the_length_may_come_later(tus: Uploader) -> None:
    created = await tus.create()
    target = created.headers["location"]
    assert (await tus.ask("HEAD", target)).headers["upload-defer-length"] == "1"
    assert (await tus.send(target, 0, b"abc")).status == 204
    assert (await tus.send(target, 3, b"", ("Upload-Length", "2"))).status == 413
    assert (await tus.send(target, 3, b"d", ("Upload-Length", "5"))).status == 204
    head = await tus.ask("HEAD", target)
    assert (head.headers["upload-length"], "upload-defer-length" in head.headers) == ("5", False)
    assert (await tus.send(target, 4, b"e", ("Upload-Length", "6"))).status == 400
    assert (await tus.send(target, 4, b"e", ("Upload-Length", "5"))).status == 204
    assert await stored(tus) == b"abcde"


async def test_head_says_what_the_client_said_and_is_never_cached(tus: Uploader) -> None:
    target = await tus.begin(length=9)
    head = await tus.ask("HEAD", target)
    assert head.headers["cache-control"] == "no-store"
    assert head.headers["upload-length"] == "9"
    assert head.headers["upload-metadata"] == encoded({"package": "a-1", "path": "big.bin"})
    shown = (await tus.ask("GET", target)).json
    assert (shown["path"], shown["length"], shown["offset"], shown["file"]) == ("big.bin", 9, 0, None)


async def test_the_version_is_told_and_asked_for(tus: Uploader) -> None:
    options = await tus.ask("OPTIONS", version=False)
    assert options.status == 204
    assert options.headers["tus-version"] == "1.0.0"
    assert options.headers["tus-checksum-algorithm"] == "sha1,sha256"
    assert options.headers["tus-extension"] == (
        "creation,creation-with-upload,creation-defer-length,checksum,expiration,termination"
    )
    assert int(options.headers["tus-max-size"]) > 1 << 38
    target = await tus.begin(length=9)
    for method, place in (("POST", "/v1/uploads"), ("HEAD", target), ("PATCH", target), ("DELETE", target)):
        for wrong in ((), (("Tus-Resumable", "0.2.2"),)):
            part = (PART, ("Upload-Offset", "0")) if method == "PATCH" else ()
            body = b"abc" if method == "PATCH" else None
            answer = await tus.ask(method, place, (*wrong, *part), body, version=False)
            assert (answer.status, answer.headers["tus-version"]) == (412, "1.0.0"), method
    assert await tus.offset(target) == 0


@pytest.mark.slow
async def test_a_part_must_begin_where_the_upload_ends(tus: Uploader) -> None:
    target = await tus.begin(length=9)
    await tus.send(target, 0, b"abc")
    for offset in (0, 2, 4, 9):
        answer = await tus.send(target, offset, b"x")
        assert (answer.status, answer.headers["upload-offset"]) == (409, "3")
    for headers in ((PART,), (PART, ("Upload-Offset", "-1")), (PART, ("Upload-Offset", "1e1"))):
        assert (await tus.ask("PATCH", target, headers, b"x")).status == 400
    plain = (("Content-Type", "application/octet-stream"), ("Upload-Offset", "3"))
    assert (await tus.ask("PATCH", target, plain, b"x")).status == 415
    assert (await tus.ask("PATCH", target, (("Upload-Offset", "3"),), b"x")).status == 415
    assert (await tus.send(target, 3, b"1234567")).status == 413
    assert await tus.offset(target) == 3


async def test_a_part_that_does_not_fit_its_checksum_is_discarded(tus: Uploader) -> None:
    target = await tus.begin(length=len(BIG) + 3)
    await tus.send(target, 0, b"abc", checksum(b"abc"))
    answer = await tus.send(target, 3, BIG, checksum(BIG[1:], "sha256"))
    assert (answer.status, answer.json["code"]) == (460, "checksum_mismatch")
    assert await tus.offset(target) == 3
    for wrong in ("md5 rL0Y20zC+Fzt72VPzMSk2A==", "sha1", "sha1 !", "sha256 qZk+NkcGgWq6PiVxeFDCbJzQ2J0="):
        assert (await tus.send(target, 3, b"x", ("Upload-Checksum", wrong))).status == 400
    assert (await tus.send(target, 3, BIG, checksum(BIG, "sha256"))).status == 204
    assert await stored(tus) == b"abc" + BIG


async def test_bytes_in_chunks_beyond_the_length_are_discarded(tus: Uploader) -> None:
    target = await tus.begin(length=4)
    part = (VERSION, PART, ("Upload-Offset", "0"), ("Transfer-Encoding", "chunked"))
    headers = (*bearer(tus.api.secrets["writer"]), *part)
    answer = await ask(tus.api.service.url, target, "PATCH", headers=headers, body=b"5\r\nabcde\r\n0\r\n\r\n")
    assert answer.status == 413
    assert await tus.offset(target) == 0
    answer = await ask(tus.api.service.url, target, "PATCH", headers=headers, body=b"4\r\nabcd\r\n0\r\n\r\n")
    assert (answer.status, await stored(tus)) == (204, b"abcd")


@pytest.mark.slow
async def test_what_a_broken_connection_has_sent_is_kept(tus: Uploader) -> None:
    target = await tus.begin(length=len(BIG))
    async with tus.sending(target, 0, len(BIG), BIG[:1_500_000]) as stream:
        await stream.send_eof()  # type: ignore[attr-defined]
        assert (await tus.rest(stream)).status == 400
    assert await tus.offset(target) == 1_500_000
    async with tus.sending(target, 1_500_000, len(BIG), BIG[1_500_000:1_600_000], checksum(b"")) as stream:
        await stream.send_eof()  # type: ignore[attr-defined]
        assert (await tus.rest(stream)).status == 413, "more than the length"
    async with tus.sending(target, 1_500_000, 1_000_000, BIG[1_500_000:2_000_000], checksum(b"")) as stream:
        await stream.send_eof()  # type: ignore[attr-defined]
        assert (await tus.rest(stream)).status == 400
    assert await tus.offset(target) == 1_500_000, "of a part with a checksum, nothing is kept unless all is there"
    assert (await tus.send(target, 1_500_000, BIG[1_500_000:])).status == 204
    assert await stored(tus) == BIG


async def test_the_whole_length_is_not_told_before_the_file_is_in_its_package(tus: Uploader) -> None:
    """Another server has received the last byte, and is storing the file, or has died while it did."""
    target = await tus.begin(length=3)
    root = object_root(tus.api.service.registry)
    assert root is not None
    held = UploadFiles(root).hold("token:writer", target.rpartition("/")[2])
    assert held is not None
    held.write(b"abc", 0)
    held.record(msgspec_replace(held.upload, offset=3))
    assert (await tus.ask("HEAD", target)).status == 423
    held.close()
    assert await tus.offset(target) == 3
    assert await stored(tus) == b"abc"


def test_an_offset_that_goes_back_is_recorded_before_the_bytes_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a crash in between leaves an offset beyond the bytes, and later bytes below it would count."""
    files = UploadFiles(tmp_path)
    upload = Upload(new_id(), "token:a", Destination("p", "f"), "", 9, deferred=False, expires_at_us=1 << 60)
    assert files.begin(upload, RESUMABLE_LIMITS)
    held = files.hold("token:a", upload.upload_id)
    assert held is not None
    held.write(b"abcdef", 0)
    held.record(msgspec_replace(upload, offset=6))

    def die(_fd: int, _length: int) -> None:
        raise OSError(errno.EIO, "it died here")

    monkeypatch.setattr(os, "ftruncate", die)
    with pytest.raises(StorageError):
        held.record(msgspec_replace(upload, offset=2))
    held.close()
    found = files.find("token:a", upload.upload_id)
    assert found is not None
    assert found.offset == 2


async def test_a_new_part_ends_a_stalled_one(tus: Uploader) -> None:
    target = await tus.begin(length=len(BIG))
    async with tus.sending(target, 0, len(BIG), BIG[:1_500_000]) as stalled:
        await arrived(tus, 1 << 20)
        assert (await tus.send(target, 0, BIG)).status == 204, "its bytes do not stand in the way"
        answer = await tus.rest(stalled)
        assert (answer.status, answer.json["code"]) == (409, "upload_continued")
    assert await stored(tus) == BIG


async def test_head_ends_a_stalled_part_and_keeps_its_bytes(tus: Uploader) -> None:
    target = await tus.begin(length=len(BIG))
    async with tus.sending(target, 0, len(BIG), BIG[:1_500_000]) as stalled:
        await arrived(tus, 1 << 20)
        offset = await tus.offset(target)
        assert 1 << 20 <= offset <= 1_500_000
        assert (await tus.rest(stalled)).status == 409
        assert (await tus.send(target, offset, BIG[offset:])).status == 204
    assert await stored(tus) == BIG


async def arrived(tus: Uploader, size_bytes: int) -> None:
    """Wait until an upload has so many bytes on disk."""
    root = object_root(tus.api.service.registry)
    with trio.fail_after(GUARD_S):
        while not any(each.stat().st_size >= size_bytes for each in root.glob("uploads/*/*.part")):
            await trio.lowlevel.checkpoint()


async def test_a_repeated_last_part_gets_the_same_answer(tus: Uploader) -> None:
    target = await tus.begin(length=6)
    await tus.send(target, 0, b"abc")
    first = await tus.send(target, 3, b"def")
    again = await tus.send(target, 3, b"def")
    assert (first.status, again.status) == (204, 204)
    assert [first.headers["upload-offset"], again.headers["upload-offset"], await tus.offset(target)] == ["6", "6", 6]
    assert (await tus.send(target, 0, b"abc")).status == 409
    assert (await tus.send(target, 3, b"def", checksum(b"dex"))).status == 460
    file = (await tus.ask("GET", target)).json["file"]
    assert (file["path"], file["sha256"]) == ("big.bin", f"sha256:{hashlib.sha256(b'abcdef').hexdigest()}")
    assert (await tus.ask("DELETE", target)).status == 204
    assert await stored(tus) == b"abcdef", "an upload that is complete leaves its file"


async def test_a_removed_upload_is_gone(tus: Uploader, settings: Settings) -> None:
    target = await tus.begin(length=len(BIG))
    async with tus.sending(target, 0, len(BIG), BIG[:1_500_000]) as stalled:
        await arrived(tus, 1 << 20)
        assert (await tus.ask("DELETE", target)).status == 204
        assert (await tus.rest(stalled)).status == 409
    for method in ("HEAD", "GET", "DELETE"):
        assert (await tus.ask(method, target)).status == 404
    assert (await tus.send(target, 0, b"abc")).json["code"] == "upload_not_found"
    assert list(settings.storage_local_root.glob("uploads/*/*")) == []


@pytest.mark.slow
async def test_a_method_that_overrides_post_is_authorised_as_itself(tus: Uploader) -> None:
    target = await tus.begin(length=3)
    patch = (("X-HTTP-Method-Override", "PATCH"), PART, ("Upload-Offset", "0"))
    delete = (("X-HTTP-Method-Override", "DELETE"),)
    reader = Uploader(tus.api, "reader")
    tus.api.secrets["reader"] = str(
        await tus.api.service.registry.create_token("reader", scopes=("read",), packages=["a-*"])
    )
    secret = tus.api.secrets
    url = tus.api.service.url
    for who, status in ((reader, 403), (tus, 204)):
        given = (*bearer(secret[who.who]), VERSION, *patch, ("Content-Length", "3"))
        answer = await ask(url, target, "POST", headers=given, body=b"abc")
        assert (answer.status, answer.headers["tus-resumable"]) == (status, "1.0.0")
    assert await stored(tus) == b"abc"
    for who, status in ((reader, 403), (tus, 204), (tus, 404)):
        assert (await ask(url, target, "POST", headers=(*bearer(secret[who.who]), VERSION, *delete))).status == status
    assert (await tus.ask("POST", "/v1/uploads", (("X-HTTP-Method-Override", "HEAD"),))).status == 400
    # A method that is no POST stays what it is.
    target = await tus.begin(path="other", length=3)
    assert (await tus.ask("GET", target, delete)).status == 200


@pytest.mark.slow
async def test_for_others_an_upload_is_not_there(tus: Uploader) -> None:
    target = await tus.begin(length=3)
    await tus.send(target, 0, b"a")
    missing = f"/v1/uploads/{new_id()}"
    for other in ("all", "second"):
        if other not in tus.api.secrets:
            secret = await tus.api.service.registry.create_token(other, scopes=("write",), packages=["a-*"])
            tus.api.secrets[other] = str(secret)
        stranger = Uploader(tus.api, other)
        for method in ("GET", "HEAD", "DELETE", "PATCH"):
            part = (PART, ("Upload-Offset", "1")) if method == "PATCH" else ()
            body = b"b" if method == "PATCH" else None
            hidden, absent = [await stranger.ask(method, each, part, body) for each in (target, missing)]
            assert (hidden.status, hidden.body, hidden.headers.keys()) == (404, absent.body, absent.headers.keys())
    for package in ("b-1", "c-1"):
        assert (await tus.create(package, length=3)).json["code"] == "package_not_found"
    assert await tus.offset(target) == 1


async def test_a_token_is_checked_at_each_part_and_before_the_commit(tus: Uploader) -> None:
    registry = tus.api.service.registry
    target = await tus.begin(length=len(BIG))
    async with tus.sending(target, 0, len(BIG), BIG[:1_500_000]) as stream:
        await arrived(tus, 1 << 20)
        await registry.revoke_token("writer", reason="a test")
        await stream.send_all(BIG[1_500_000:])
        assert (await tus.rest(stream)).status == 401
    assert (await tus.send(target, 0, b"abc")).status == 401
    assert (await registry.get_package("a-1")).files == 0


@pytest.mark.slow
async def test_a_package_that_is_finalized_meanwhile_refuses_the_file(tus: Uploader) -> None:
    registry = tus.api.service.registry
    target = await tus.begin(length=3)
    await tus.create(path="x", length=1, body=b"x")
    await registry.finalize_package("a-1")
    for _ in range(2):
        offset = (await tus.ask("GET", target)).json["offset"]
        answer = await tus.send(target, offset, b"abc"[offset:])
        assert (answer.status, answer.json["code"]) == (409, "package_finalized_already")
    assert (await tus.ask("HEAD", target)).status == 409, "all bytes are there, and the upload is not complete"
    assert (await tus.create(length=3)).json["code"] == "package_finalized_already"
    assert (await tus.ask("DELETE", target)).status == 204


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("Upload-Length", "x"),),
        (("Upload-Length", "3"), ("Upload-Defer-Length", "1")),
        (("Upload-Defer-Length", "2"),),
        (("Upload-Length", "3"), ("Upload-Concat", "partial")),
        (("Upload-Length", "3"), ("Upload-Metadata", "package")),
        (("Upload-Length", "3"), ("Upload-Metadata", encoded({"package": "a-1", "path": "/x"}))),
        (("Upload-Length", "3"), ("Upload-Metadata", encoded({"package": "a-1", "path": "x"}) + ",path eQ==")),
        (("Upload-Length", "3"), ("Upload-Metadata", encoded({"package": "a-1", "path": "x", "executable": "1"}))),
        (("Upload-Length", "3"), ("Upload-Metadata", encoded({"package": "a-1", "path": "x", "media_type": "x"}))),
        (("Upload-Length", "3"), ("Upload-Metadata", "package YS0x,path !")),
    ],
)
async def test_a_creation_that_makes_no_sense_is_refused(tus: Uploader, headers: tuple[tuple[str, str], ...]) -> None:
    answer = await tus.ask("POST", "/v1/uploads", headers)
    assert (answer.status, answer.json["code"]) in {(400, "invalid_value"), (400, "path_refused")}


@pytest.mark.slow
async def test_a_token_has_a_bounded_number_of_uploads_and_of_their_bytes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = ResumableLimits(uploads_max=3, bytes_max=100, upload_bytes_max=50, deferred_bytes_max=40)
    monkeypatch.setattr(app, "RESUMABLE_LIMITS", limits)
    async with serving(settings) as service:
        api = await described(service)
        await service.registry.create_package("a-1")
        await service.registry.create_package("b-1")
        api.secrets["second"] = str(await service.registry.create_token("second", scopes=("write",), packages=["b-*"]))
        tus = Uploader(api, "all")
        assert (await tus.create(length=51)).status == 413
        assert (await tus.create(length=50)).status == 201
        deferred = await tus.create(path="y")
        assert (await tus.send(deferred.headers["location"], 0, b"x" * 41)).status == 413
        full = await tus.create(path="z", length=11)
        assert (full.status, full.json["code"], full.headers["retry-after"]) == (429, "too_many_uploads", "60")
        assert (await Uploader(api, "second").create("b-1", length=50)).status == 201, "others have room of their own"
        assert (await tus.create(path="z", length=10)).status == 201
        assert (await tus.create(path="zz", length=0)).status == 429
        assert (await tus.ask("DELETE", deferred.headers["location"])).status == 204
        assert (await tus.create(path="zz", length=0)).status == 201


async def test_an_upload_expires_unless_it_is_complete_or_in_use(tus: Uploader, settings: Settings) -> None:
    files = UploadFiles(settings.storage_local_root)
    [*_others, sweep] = service_jobs(settings, lambda: None)
    assert sweep.first_s == 0
    assert (await sweep.run()).text == "0 uploads expired"
    idle, done, busy = [await tus.begin(path=path, length=size) for path, size in (("i", 6), ("d", 6), ("b", len(BIG)))]
    assert (await tus.send(done, 0, b"abcdef")).status == 204
    long_after = now_us() + 2 * RESUMABLE_LIMITS.kept_us
    assert files.sweep(now_us()) == 0
    async with tus.sending(busy, 0, len(BIG), BIG[:1_500_000]) as stream:
        await arrived(tus, 1 << 20)
        assert files.sweep(long_after) == 1
        await stream.send_all(BIG[1_500_000:])
        assert (await tus.rest(stream)).status == 204
    assert (await tus.ask("HEAD", idle)).status == 404
    assert (await tus.ask("HEAD", done)).status == 404, "its state is forgotten"
    assert (await stored(tus, "b"), await stored(tus, "d")) == (BIG, b"abcdef")


@pytest.mark.slow
async def test_the_other_server_of_a_store_is_told_to_wait(tus: Uploader, settings: Settings) -> None:
    target = await tus.begin(length=len(BIG) + 3)
    async with serving(settings) as second:
        other = Uploader(Described(second, tus.api.document, tus.api.secrets), "writer")
        async with tus.sending(target, 0, len(BIG), BIG[:1_500_000]) as stream:
            await arrived(tus, 1 << 20)
            for answer in (await other.send(target, 0, b"abc"), await other.ask("DELETE", target)):
                assert (answer.status, answer.headers["retry-after"]) == (423, "5")
            assert await other.offset(target) == 0
            await stream.send_all(BIG[1_500_000:])
            assert (await tus.rest(stream)).status == 204
        assert await other.offset(target) == len(BIG)
        assert (await other.send(target, len(BIG), b"end")).status == 204
        assert (await tus.ask("GET", target)).json["file"]["bytes"] == len(BIG) + 3


async def test_a_full_device_is_told_and_loses_nothing(tus: Uploader, monkeypatch: pytest.MonkeyPatch) -> None:
    target = await tus.begin(length=6)
    await tus.send(target, 0, b"abc")
    pwrite = os.pwrite

    def full(*_args: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", full)
    answer = await tus.send(target, 3, b"def")
    assert answer.status == 507
    monkeypatch.setattr(os, "pwrite", pwrite)
    assert await tus.offset(target) == 3
    assert (await tus.send(target, 3, b"def")).status == 204
    assert await stored(tus) == b"abcdef"


@pytest.mark.slow
async def test_a_server_that_stops_keeps_what_has_arrived(settings: Settings) -> None:
    async with serving(settings) as service:
        api = await described(service)
        await service.registry.create_package("a-1")
        tus = Uploader(api, "all")
        target = await tus.begin(length=len(BIG))
        stalled = await connect_sending(tus, target)
        await arrived(tus, 1 << 20)
    await stalled.aclose()
    async with serving(settings) as service:
        tus = Uploader(Described(service, api.document, api.secrets), "all")
        offset = await tus.offset(target)
        assert offset >= 1 << 20
        assert (await tus.send(target, offset, BIG[offset:])).status == 204
        assert await stored(tus) == BIG


async def connect_sending(tus: Uploader, target: str) -> trio.abc.Stream:
    stream = await connect(tus.api.service.url)
    headers = (
        *bearer(tus.api.secrets[tus.who]),
        VERSION,
        PART,
        ("Upload-Offset", "0"),
        ("Content-Length", str(len(BIG))),
    )
    await stream.send_all(request(target, "PATCH", headers) + BIG[:1_500_000])
    return stream


async def test_collection_backup_and_the_doctor_leave_uploads_alone(
    tus: Uploader, settings: Settings, tmp_path: Path
) -> None:
    registry = tus.api.service.registry
    target = await tus.begin(length=6)
    await tus.send(target, 0, b"abc")
    environment = {
        "ARTIFACTSTORE_DATABASE_URL": settings.database_url,
        "ARTIFACTSTORE_STORAGE_LOCAL_ROOT": str(settings.storage_local_root),
    }
    report = await registry.collect_garbage(grace_s=0, orphan_age_s=0)
    assert (report.failures, report.deleted.objects) == ((), 0)
    before = await trio.to_thread.run_sync(lambda: examine(inspect_store(environment, lock_wait_s=0)))
    await registry.backup(tmp_path / "backup")
    assert list((tmp_path / "backup").rglob("*.part")) == []
    assert (await tus.send(target, 3, b"def")).status == 204
    assert await stored(tus) == b"abcdef"
    assert [each for each in before if "uploads" in str(each)] == []
