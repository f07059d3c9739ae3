"""An answer goes at the pace of its client, ends with it, and holds little; a file never looks whole if it is not."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from email import message_from_bytes
from http import HTTPStatus
from typing import Any, cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from artifactstore.http.api import file_bytes
from artifactstore.http.api.file_bytes import bytes_of_ranges, parts_boundary, parts_bytes
from artifactstore.http.api.problems import Problem
from artifactstore.http.api.sending import PLACE_WAIT_S, RECHECK_S, Places, send_body, while_allowed, while_connected
from artifactstore.http.streams import EventStreams
from artifactstore.registry import PackageReads
from artifactstore_protocols.http_ranges import ByteRange, requested_ranges
from artifactstore_protocols.identity import digests_of
from artifactstore_protocols.packages import ProjectionDamaged
from artifactstore_protocols.records import FileRecord
from artifactstore_protocols.storage import ObjectDamaged, StorageError
from artifactstore_protocols.tokens import TokenInvalid

CHUNK = 16


async def never() -> Mapping[str, Any]:
    await trio.sleep_forever()
    raise AssertionError


async def pieces_of(*pieces: bytes) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece


async def test_the_work_ends_when_the_client_goes() -> None:
    gone, ended = trio.Event(), trio.Event()
    messages = iter(({"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}))

    async def receive() -> Mapping[str, Any]:
        message = next(messages)
        if message["type"] == "http.disconnect":
            await gone.wait()
        return message

    async def work() -> None:
        try:
            gone.set()
            await trio.sleep_forever()
        finally:
            ended.set()

    with trio.fail_after(60):
        await while_connected(receive, work)
    assert ended.is_set()


async def test_an_error_of_the_work_arrives_as_it_is() -> None:
    async def work() -> None:
        raise LookupError("of the work")

    with pytest.raises(LookupError, match="of the work"):
        await while_connected(never, work)


async def test_a_body_is_read_no_faster_than_it_is_taken() -> None:
    taken = trio.Semaphore(0)
    read: list[int] = []
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        await taken.acquire()
        sent.append(message)

    async def pieces() -> AsyncGenerator[bytes]:
        for number in range(4):
            read.append(number)
            yield bytes([number])

    with trio.fail_after(60):
        async with aclosing(pieces()) as given, trio.open_nursery() as nursery:
            nursery.start_soon(send_body, send, HTTPStatus.OK, {"ETag": '"a"'}, given)
            await wait_all_tasks_blocked()
            assert (read, sent) == ([0], []), "nothing is read for a client that takes nothing"
            taken.release()
            await wait_all_tasks_blocked()
            assert read == [0]
            for _ in range(5):  # the pieces, and the end
                taken.release()
    assert sent[0] == {"type": "http.response.start", "status": 200, "headers": [(b"etag", b'"a"')]}
    assert [message["body"] for message in sent[1:]] == [b"\0", b"\1", b"\2", b"\3", b""]
    assert [message.get("more_body", False) for message in sent[1:]] == [True] * 4 + [False]


async def test_an_answer_does_not_begin_before_its_first_piece_is_there() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def fail() -> AsyncGenerator[bytes]:
        raise LookupError("damaged")
        yield b""

    with pytest.raises(LookupError):
        await send_body(send, HTTPStatus.OK, {}, fail())
    assert not sent
    await send_body(send, HTTPStatus.OK, {}, pieces_of())
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


async def test_a_place_is_waited_for_and_not_for_ever(autojump_clock: MockClock) -> None:
    places = Places(1)
    async with places.taken("other"):
        began = trio.current_time()
        with pytest.raises(Problem) as refused:
            async with places.taken("other"):
                raise AssertionError
        assert trio.current_time() - began == PLACE_WAIT_S
    assert refused.value.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert "Retry-After" in refused.value.headers
    async with places.taken("other"):
        pass


async def test_events_that_a_client_does_not_see_do_not_silence_its_stream(autojump_clock: MockClock) -> None:
    class Tail:
        sequence = 0

        async def __anext__(self) -> "Tail":
            await trio.sleep(10)
            self.sequence += 1
            return self

        def close(self) -> None:
            pass

    class Projection:
        async def ask(self, _message: object) -> Tail:
            return Tail()

    async def hidden(_stored: object) -> bytes:
        return b""

    async def may_see() -> None:
        if trio.current_time() > 50:
            raise TokenInvalid

    async with aclosing(EventStreams(cast("Any", Projection())).follow(0, may_see, hidden)) as parts:
        assert (await anext(parts)).startswith(b"retry: ")
        with trio.fail_after(100):
            assert [part async for part in parts] == [b": still here\n\n"] * 3, "and it ends with the token"


async def test_no_token_holds_more_than_half_of_the_places(autojump_clock: MockClock) -> None:
    places = Places(4)
    async with places.taken("one"), places.taken("one"):
        for _ in range(2):
            with pytest.raises(Problem):
                async with places.taken("one"):
                    raise AssertionError
            async with places.taken("two"), places.taken("two"):
                with pytest.raises(Problem):
                    async with places.taken("three"):
                        raise AssertionError
    async with places.taken("one"), places.taken("one"):
        pass


async def test_an_answer_ends_when_its_token_does(autojump_clock: MockClock) -> None:
    sent: list[dict[str, Any]] = []
    checked: list[float] = []

    async def send(message: dict[str, Any]) -> None:
        await trio.sleep(RECHECK_S / 2)
        sent.append(message)

    async def recheck() -> None:
        checked.append(trio.current_time())
        if len(checked) == 2:
            raise TokenInvalid

    began = trio.current_time()
    allowed = while_allowed(send, recheck)
    async with aclosing(pieces_of(*[b"piece"] * 20)) as pieces:
        with pytest.raises(TokenInvalid):
            await send_body(allowed, HTTPStatus.OK, {}, pieces)
    assert [at - began for at in checked] == [RECHECK_S, 2 * RECHECK_S]
    assert len(sent) == 4, "each message takes half of that time"


def record_of(content: bytes) -> FileRecord:
    digests = digests_of(content)
    return FileRecord(
        "package",
        "a.bin",
        "file",
        len(content),
        False,
        "text/x-c",
        str(digests.content_address),
        str(digests.sha256),
        "",
        1,
    )


def reads_of(content: bytes, *, opened: list[bool] | None = None) -> PackageReads:
    """A store with one object, which has these bytes whatever its address says. It checks nothing."""

    class Pieces:
        def __init__(self, wanted: bytes, chunk_bytes: int) -> None:
            self._pieces = iter([wanted[at : at + chunk_bytes] for at in range(0, len(wanted), chunk_bytes)])

        def __aiter__(self) -> "Pieces":
            return self

        async def __anext__(self) -> bytes:
            for piece in self._pieces:
                return piece
            raise StopAsyncIteration

        def close(self) -> None:
            if opened is not None:
                opened.append(False)

    async def open_object(_address: str, offset: int, length: int | None, chunk_bytes: int) -> Pieces:
        if opened is not None:
            opened.append(True)
        end = len(content) if length is None else offset + length
        return Pieces(content[offset:end], chunk_bytes)

    async def read_objects(_addresses: Sequence[str]) -> Sequence[bytes | StorageError]:
        return [content]

    return PackageReads(*cast("Any", (None, open_object, read_objects, None, None, None)))


async def read(file: FileRecord, ranges: Sequence[ByteRange], reads: PackageReads) -> bytes:
    found = b""
    async with aclosing(bytes_of_ranges(file, ranges, reads)) as pieces:
        async for piece in pieces:
            found += piece
    return found


@given(st.binary(max_size=5 * CHUNK), st.lists(st.tuples(st.integers(0, 90), st.integers(0, 40)), max_size=4))
def test_ranges_are_those_bytes(content: bytes, wanted: list[tuple[int, int]]) -> None:
    file = record_of(content)
    header = "bytes=" + ",".join(f"{first}-{first + more}" for first, more in wanted)
    ranges = requested_ranges(header, len(content)) or (ByteRange(0, len(content)),)
    opened: list[bool] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_bytes, "CHUNK_BYTES", CHUNK)
        found = trio.run(read, file, ranges, reads_of(content, opened=opened))
    assert opened.count(True) == opened.count(False), "every stream is closed"
    slices = [content[each.offset : each.last + 1] for each in ranges]
    if len(ranges) < 2:
        assert [found] == slices
        return
    assert len(found) == parts_bytes(file, ranges)
    head = f"Content-Type: multipart/byteranges; boundary={parts_boundary(file)}\r\n\r\n".encode()
    parts = cast("list[Any]", message_from_bytes(head + found).get_payload())
    assert [part.get_content_type() for part in parts] == ["text/x-c"] * len(ranges)
    assert [part["Content-Range"] for part in parts] == [
        f"bytes {each.offset}-{each.last}/{len(content)}" for each in ranges
    ]
    heads = [f"bytes {each.offset}-{each.last}/{len(content)}\r\n\r\n".encode() for each in ranges]
    for each, expected in zip(heads, slices, strict=True):
        assert found.split(each)[1].startswith(expected + f"\r\n--{parts_boundary(file)}".encode())


@given(st.binary(max_size=5 * CHUNK), st.binary(min_size=1, max_size=3 * CHUNK), st.booleans())
def test_an_object_of_another_length_never_gives_all_bytes(content: bytes, more: bytes, longer: bool) -> None:
    short, long = content, content + more
    file, stored = (record_of(short), long) if longer else (record_of(long), short)
    received = b""

    async def take() -> None:
        nonlocal received
        async with aclosing(bytes_of_ranges(file, [ByteRange(0, file.size_bytes)], reads_of(stored))) as pieces:
            async for piece in pieces:
                received += piece

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_bytes, "CHUNK_BYTES", CHUNK)
        with pytest.raises(ProjectionDamaged):
            trio.run(take)
    assert len(received) < file.size_bytes or not file.size_bytes


async def test_a_damaged_small_file_gives_nothing() -> None:
    async def read_objects(_addresses: Sequence[str]) -> Sequence[bytes | StorageError]:
        return [ObjectDamaged("local", "key", "its bytes have another digest")]

    reads = reads_of(b"abc")._replace(read_objects=read_objects)
    with pytest.raises(ObjectDamaged):
        await read(record_of(b"abc"), [ByteRange(0, 1)], reads)
