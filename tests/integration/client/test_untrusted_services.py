"""What a client does with broken connections and with services that send what no service should. Time is virtual."""

import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import override

import httpx
import pytest
import trio
from blake3 import blake3
from trio.testing import MockClock

from artifactstore.client import AnswerRefused, ApiVersionRefused, RemoteRegistry, ServiceNotReached, ServiceRefused
from artifactstore.client.service import Service, http_client
from artifactstore.client.service_url import check_token, service_url
from artifactstore.json_output import to_json
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.paths import PathRefused
from artifactstore_protocols.records import FileRecord, PackageRecord
from artifactstore_protocols.retrying import ATTEMPTS_MAX
from artifactstore_protocols.storage import ObjectDamaged
from artifactstore_protocols.tokens import Secret

type Handler = Callable[[httpx.Request], httpx.Response]

URL = "https://store.test"
CONTENT = b"0123456789" * 100_000
ID = "01a2317c-4755-7faa-b8c4-285eb6f1c77d"
VERSION = {"Artifactstore-Api-Version": "1"}


def file(path: str = "big", content: bytes = CONTENT, target: str = "") -> FileRecord:
    address = f"blake3:{blake3(content).hexdigest()}"
    return FileRecord(
        ID,
        path,
        "link" if target else "file",
        len(content),
        False,
        "text/plain",
        address,
        f"sha256:{'0' * 64}",
        target,
        3,
    )


PACKAGE = PackageRecord(
    ID, "nightly", "open", 1, 1, 0, 0, 1, "standard", None, None, {}, "ci", 1, None, None, None, 1, None
)


class Broken(httpx.AsyncByteStream):
    """A body that ends with a broken connection, or with its end."""

    def __init__(self, content: bytes, *, breaks: bool = True) -> None:
        self._content, self._breaks = content, breaks

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content
        if self._breaks:
            raise httpx.ReadError("reset by peer")


def raw(status: int, body: bytes, headers: Mapping[str, str] = VERSION) -> httpx.Response:
    return httpx.Response(status, headers=headers, stream=Broken(body, breaks=False))


def answer(status: int = 200, value: object = None, **more: str) -> httpx.Response:
    headers = {"artifactstore-api-version": "1", **{name.replace("_", "-"): text for name, text in more.items()}}
    return raw(status, json.dumps(value).encode(), headers)


class Scripted:
    """A service that answers by a function, and the requests that it got, with their times."""

    def __init__(self) -> None:
        self.handler: Handler = lambda _request: answer()
        self.requests: list[httpx.Request] = []
        self.times: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.times.append(trio.current_time())
        return self.handler(request)

    @property
    def pauses(self) -> list[float]:
        return [round(after - before, 3) for before, after in zip(self.times, self.times[1:], strict=False)]


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
async def remote(scripted: Scripted) -> AsyncGenerator[RemoteRegistry]:
    async with http_client(httpx.MockTransport(scripted), on_this_machine=True) as client:
        yield RemoteRegistry(Service(URL, Secret("ast_secret"), client), trio.Event())


async def test_a_read_is_sent_again_with_growing_pauses_and_not_for_ever(
    remote: RemoteRegistry, scripted: Scripted, autojump_clock: MockClock
) -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    scripted.handler = refuse
    with pytest.raises(ServiceNotReached, match="refused"):
        await remote.get_package("nightly")
    assert (len(scripted.requests), scripted.pauses) == (ATTEMPTS_MAX, [0.1, 0.3, 0.9, 2.7])


async def test_a_certificate_that_is_refused_is_not_tried_again(
    remote: RemoteRegistry, scripted: Scripted, autojump_clock: MockClock
) -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("certificate verify failed") from ssl.SSLCertVerificationError(1, "self-signed")

    scripted.handler = refuse
    with pytest.raises(ServiceNotReached, match="certificate verify failed"):
        await remote.get_package("nightly")
    assert len(scripted.requests) == 1


async def test_a_busy_service_is_asked_again_when_it_says(
    remote: RemoteRegistry, scripted: Scripted, autojump_clock: MockClock
) -> None:
    problem = {"code": "starting", "detail": "The store is starting; ask again."}
    scripted.handler = lambda _request: (
        answer(503, problem, retry_after="5") if len(scripted.requests) < 3 else answer(200, to_json(PACKAGE))
    )
    assert await remote.get_package("nightly") == PACKAGE
    assert scripted.pauses == [5, 5]
    scripted.handler = lambda _request: answer(503, problem, retry_after="86400")
    with pytest.raises(ServiceRefused, match="starting"):
        await remote.get_package("nightly")
    assert scripted.pauses[3:] == [10] * (ATTEMPTS_MAX - 1)


def ranges_of(content: bytes, cut: int, tag: str | None = None) -> Handler:
    """A service whose connections break after some bytes of a file."""

    def handler(request: httpx.Request) -> httpx.Response:
        if "/entries/" in request.url.path:
            return answer(200, to_json(file()))
        if "/files/" not in request.url.path:
            return answer(200, to_json(PACKAGE))
        headers = {**VERSION, "ETag": tag or f'"{file().content_address}"'}
        given = request.headers.get("range")
        if given is None:
            return httpx.Response(200, headers=headers, stream=Broken(content[:cut], breaks=cut < len(content)))
        assert request.headers["if-range"] == f'"{file().content_address}"'
        start, end = map(int, given.removeprefix("bytes=").split("-"))
        headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        part = content[start : end + 1]
        return httpx.Response(206, headers=headers, stream=Broken(part[:cut], breaks=cut < len(part)))

    return handler


async def read(remote: RemoteRegistry, *, offset: int = 0, length: int | None = None) -> bytes:
    async with remote.get_file("nightly", "big", offset=offset, length=length) as pieces:
        return b"".join([piece async for piece in pieces])


async def gather(pieces: AsyncIterator[bytes], into: bytearray) -> None:
    async for piece in pieces:
        into += piece


async def test_a_broken_download_continues_where_it_was(
    remote: RemoteRegistry, scripted: Scripted, autojump_clock: MockClock
) -> None:
    scripted.handler = ranges_of(CONTENT, 70_000)
    assert await read(remote) == CONTENT
    asked = [request.headers.get("range") for request in scripted.requests if "/files/" in request.url.path]
    assert asked[:3] == [None, "bytes=70000-999999", "bytes=140000-999999"]
    assert len(asked) == 15  # more than the attempts for one answer: each of them brought something
    assert await read(remote, offset=10, length=200_000) == CONTENT[10:200_010]
    scripted.handler = ranges_of(CONTENT, 0)
    with pytest.raises(ServiceNotReached, match="broke off"):
        await read(remote)


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (ranges_of(CONTENT[:-1] + b"!", 70_000), ObjectDamaged),
        (ranges_of(CONTENT + b"!", len(CONTENT) + 1), AnswerRefused),
        (ranges_of(CONTENT, 70_000, '"another"'), AnswerRefused),
    ],
)
async def test_no_last_bytes_of_a_file_come_if_one_byte_is_wrong(
    remote: RemoteRegistry, scripted: Scripted, autojump_clock: MockClock, handler: Handler, error: type[Exception]
) -> None:
    scripted.handler = handler
    received = bytearray()
    async with remote.get_file("nightly", "big") as pieces:
        with pytest.raises(error):
            await gather(pieces, received)
    assert len(received) < len(CONTENT)


@pytest.mark.parametrize(
    ("entries", "error"),
    [
        ([file("../x")], PathRefused),
        ([file("/etc/passwd")], PathRefused),
        ([file("a\\b")], PathRefused),
        ([file("link", b"", "../../etc")], PathRefused),
        (["no entry"], AnswerRefused),
        ([{"path": "a"}], AnswerRefused),
    ],
)
async def test_paths_that_the_service_names_are_checked(
    remote: RemoteRegistry, scripted: Scripted, autojump_clock: MockClock, entries: list[object], error: type[Exception]
) -> None:
    scripted.handler = lambda request: answer(
        200,
        {"items": to_json(entries), "next": None} if request.url.path.endswith("/files") else to_json(PACKAGE),
    )
    with pytest.raises(error):
        await remote.list_files("nightly")
    assert not any("/files/" in request.url.path for request in scripted.requests)


ANSWERS: Mapping[str, tuple[httpx.Response, type[Exception], str]] = {
    "a redirect": (answer(307, None, location="https://elsewhere.test/"), AnswerRefused, "redirect"),
    "no version": (raw(200, json.dumps(to_json(PACKAGE)).encode(), {}), AnswerRefused, "no artifactstore service"),
    "a newer service": (
        answer(200, to_json(PACKAGE), artifactstore_api_version="2"),
        ApiVersionRefused,
        "upgrade the client",
    ),
    "a version that is none": (answer(200, {}, artifactstore_api_version="x"), ApiVersionRefused, "no number"),
    "compressed": (answer(200, to_json(PACKAGE), content_encoding="gzip"), AnswerRefused, "compressed"),
    "no JSON": (raw(200, b"<html>"), AnswerRefused, "not JSON"),
    "another record": (answer(200, {"tag": "x"}), AnswerRefused, "PackageRecord"),
    "an error of another program": (raw(502, b"bad gateway", {}), ServiceRefused, "502"),
    "an unknown code": (answer(409, {"code": "new_error", "detail": "do that"}), ServiceRefused, "new_error: do that"),
    "a class that is none of ours": (answer(400, {"code": "base_exception", "detail": "x"}), ServiceRefused, "x"),
    "details that do not fit": (
        answer(404, {"code": "package_not_found", "detail": "x", "details": {"package": [1]}}),
        ServiceRefused,
        "package_not_found: x",
    ),
    "a message that is not ours": (
        answer(404, {"code": "package_not_found", "detail": "\x1b[2J", "details": {"package": "nightly"}}),
        ServiceRefused,
        "404",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_that_no_service_sends_is_one_clear_error(
    remote: RemoteRegistry, scripted: Scripted, autojump_clock: MockClock, name: str
) -> None:
    given, error, words = ANSWERS[name]
    scripted.handler = lambda _request: given
    with pytest.raises(error, match=words) as raised:
        await remote.get_package("nightly")
    assert len(scripted.requests) == 1
    assert str(raised.value).isprintable()
    assert "ast_secret" not in repr(raised.value)


async def test_errors_of_the_library_come_back_as_they_are(
    remote: RemoteRegistry, scripted: Scripted, autojump_clock: MockClock
) -> None:
    error = PackageNotFound("nightly", choices=2, among="of this name")
    problem = {"code": "package_not_found", "detail": str(error), "details": error.fields()}
    scripted.handler = lambda _request: answer(404, problem)
    with pytest.raises(PackageNotFound) as raised:
        await remote.get_package("nightly")
    assert raised.value.fields() == error.fields()


async def test_a_stream_of_events_continues_after_the_last_event(
    remote: RemoteRegistry, scripted: Scripted, autojump_clock: MockClock
) -> None:
    def event(sequence: int) -> bytes:
        value = dict.fromkeys(("event_id", "type", "subject", "principal"), "x")
        shown: dict[str, object] = {
            "sequence": sequence,
            **value,
            "recorded_at": "2026-11-28T14:30:00.000001Z",
            "payload": {},
        }
        return f"id: {sequence}\ndata: {json.dumps(shown)}\n\n".encode()

    def handler(request: httpx.Request) -> httpx.Response:
        after = int(request.url.params["after"])
        return httpx.Response(
            200, headers=VERSION, stream=Broken(b"retry: 2000\n\n" + event(after + 1) + event(after + 2))
        )

    scripted.handler = handler
    async with remote.tail_events(4) as tail:
        assert [(await anext(tail)).sequence for _ in range(20)] == list(range(5, 25))
    scripted.handler = lambda _request: httpx.Response(200, headers=VERSION, stream=Broken(event(3)))
    with pytest.raises(AnswerRefused, match="event 3 came after event 7"):
        async with remote.tail_events(7) as tail:
            await anext(tail)
    scripted.handler = lambda _request: httpx.Response(200, headers=VERSION, stream=Broken(b"retry: 2000\n\n"))
    with pytest.raises(ServiceNotReached):
        async with remote.tail_events() as tail:
            await anext(tail)


@pytest.mark.parametrize(
    "url",
    [
        "http://store.test",
        "http://127.0.0.1.store.test",
        "http://localhost.store.test:8000",
        "http://10.0.0.1",
        "http://2130706433",
        "https://user:word@store.test",
        "https://store.test/v1",
        "https://store.test:0",
        "https://store.test:x",
        "https://[::1",
        "ftp://store.test",
        "store.test",
        "https://",
        "",
    ],
)
def test_a_url_that_would_lose_the_token_is_refused(url: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        service_url(url)
    assert "word" not in str(raised.value).replace("password", "")


def test_urls_and_tokens_have_a_plain_form() -> None:
    assert service_url("https://Store.Test:8443/") == "https://store.test:8443"
    for here in ("http://localhost", "http://127.0.0.1:8000", "http://[::1]:8000"):
        assert service_url(here) == here
    assert check_token(" ast_x\n") == "ast_x"
    for wrong in ("", "a b", "a\nb", "é"):
        with pytest.raises(InvalidValue):
            check_token(wrong)
