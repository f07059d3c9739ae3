"""One file into a package: from a path or from a stream, whole or not at all, and read again in any piece."""

import os
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from artifactstore import Registry, Settings
from artifactstore.errors import FileNotInPackage
from artifactstore.storage import StorageActor
from artifactstore_protocols.dataplane import (
    RangeRefused,
    SourceChanged,
    SourceError,
    SourceOverrun,
    SourceRefused,
    SourceTruncated,
    SourceUnreadable,
)
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.packages import PackageNotFound, PathConflict, PathTaken
from artifactstore_protocols.paths import PathRefused
from integration.registry.samples import (
    CHUNK,
    actors,
    add,
    check_sound,
    content_of,
    object_file,
    objects,
    paths_in,
    quiet,
    stream_of,
    temp_files,
    unfinished,
    whole_log,
)
from stored_objects import overwrite

LARGE = bytes(range(256)) * (CHUNK // 256) * 2 + b"and the rest"


@pytest.fixture
async def package(registry: Registry) -> str:
    return (await registry.create_package("p")).package_id


async def _nothing_happened(registry: Registry, settings: Settings, package: str) -> None:
    await quiet(registry)
    assert await paths_in(registry, package) == []
    assert len(await whole_log(registry)) == 2, "only the beginning of the log and the package itself"
    assert temp_files(settings) == []
    assert all(actor.starts == 1 for actor in actors(registry)), "an actor crashed"


@pytest.mark.parametrize("content", [b"", b"a line\n", LARGE], ids=["empty", "small", "large"])
async def test_a_stream_is_stored_and_served_as_it_came(registry: Registry, package: str, content: bytes) -> None:
    half = len(content) // 2
    record = await registry.ingest_file(
        package, "dir/data.txt", stream_of(content[:half], b"", content[half:]), expected_size=len(content)
    )
    assert (record.path, record.size_bytes, record.executable) == ("dir/data.txt", len(content), False)
    assert record.media_type == "text/plain"
    assert await registry.get_file_record(package, "dir/data.txt") == record
    assert await content_of(registry, package, "dir/data.txt") == content


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", LARGE], ids=["empty", "small", "large"])
async def test_a_path_is_stored_with_its_executable_bit(
    registry: Registry, package: str, tmp_path: Path, content: bytes
) -> None:
    source = tmp_path / "run"
    source.write_bytes(content)
    source.chmod(0o755)
    record = await registry.ingest_file(package, "run.sh", source, expected_size=len(content))
    assert (record.executable, record.size_bytes) == (True, len(content))
    plain = await registry.ingest_file(package, "as-data", source, executable=False, media_type="text/x-thing")
    assert (plain.executable, plain.media_type) == (False, "text/x-thing")
    assert plain.content_address == record.content_address
    assert await content_of(registry, package, "run.sh") == content


async def test_a_reused_buffer_is_stored_as_it_was_when_it_was_given(registry: Registry, package: str) -> None:
    async def refilled() -> AsyncGenerator[bytes]:
        buffer = bytearray(4)
        for letter in b"abc":
            buffer[:] = bytes([letter]) * 4
            yield buffer  # type: ignore[misc]  # pyright: ignore[reportReturnType] - what a careless caller does
        buffer[:] = b"zzzz"

    await registry.ingest_file(package, "f", refilled())
    assert await content_of(registry, package, "f") == b"aaaabbbbcccc"


@pytest.mark.parametrize("from_path", [True, False], ids=["path", "stream"])
@pytest.mark.parametrize(("expected", "refusal"), [(8, SourceTruncated), (6, SourceOverrun), (0, SourceOverrun)])
async def test_a_source_of_another_size_than_declared_is_refused(
    registry: Registry,
    settings: Settings,
    package: str,
    tmp_path: Path,
    expected: int,
    refusal: type[SourceError],
    from_path: bool,
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"7 bytes")
    with pytest.raises(refusal):
        await registry.ingest_file(package, "f", source if from_path else stream_of(b"7 bytes"), expected_size=expected)
    await _nothing_happened(registry, settings, package)


@pytest.mark.parametrize("before", [b"", b"some bytes", LARGE], ids=["at once", "early", "late"])
async def test_what_a_stream_raises_is_raised_unchanged_and_crashes_nothing(
    registry: Registry, settings: Settings, package: str, before: bytes
) -> None:
    failure = ConnectionResetError("the peer went away")

    async def broken() -> AsyncGenerator[bytes]:
        yield before
        raise failure

    with pytest.raises(ConnectionResetError) as caught:
        await registry.ingest_file(package, "f", broken())
    assert caught.value is failure
    assert objects(settings) == {}
    await _nothing_happened(registry, settings, package)


async def test_a_stream_of_something_else_than_bytes_is_the_callers_error(
    registry: Registry, settings: Settings, package: str
) -> None:
    async def text() -> AsyncGenerator[bytes]:
        yield "text"  # type: ignore[misc]  # pyright: ignore[reportReturnType] - the error of a caller

    with pytest.raises(InvalidValue, match="chunk of the stream 'str': give bytes"):
        await registry.ingest_file(package, "f", text())
    await _nothing_happened(registry, settings, package)


class _Stuck:
    """A stream that is asked for a chunk and never gives one; as an iterator it is still the caller's to close."""

    def __init__(self) -> None:
        self.asked = trio.Event()
        self.in_use = False

    def __aiter__(self) -> "_Stuck":
        return self

    async def __anext__(self) -> bytes:
        self.in_use = True
        self.asked.set()
        try:
            await trio.sleep_forever()
        finally:
            self.in_use = False
        raise AssertionError("woken")


async def test_a_stream_is_not_in_use_any_more_when_its_ingest_is_over(
    registry: Registry, settings: Settings, package: str
) -> None:
    refused = _Stuck()
    with pytest.raises(PackageNotFound):
        await registry.ingest_file("no such package", "f", refused)
    assert not refused.in_use
    cancelled = _Stuck()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(registry.ingest_file, package, "f", cancelled)
        await cancelled.asked.wait()
        nursery.cancel_scope.cancel()
    assert not cancelled.in_use
    await _nothing_happened(registry, settings, package)


@pytest.mark.parametrize("path", ["f", "../f"], ids=["stored", "refused"])
async def test_a_generator_is_closed_by_the_end_of_its_ingest(registry: Registry, package: str, path: str) -> None:
    source = stream_of(b"content")
    with suppress(PathRefused):
        await registry.ingest_file(package, path, source)
    with pytest.raises(StopAsyncIteration):
        await anext(source)


async def test_a_stream_may_ask_the_same_store(registry: Registry, package: str) -> None:
    """Copying a file between packages: the source asks actors that wait for the source."""
    await add(registry, package, "original", LARGE)
    copy = (await registry.create_package("copy")).package_id

    async def from_the_other() -> AsyncGenerator[bytes]:
        async with registry.get_file(package, "original") as chunks:
            async for chunk in chunks:
                yield chunk

    await registry.ingest_file(copy, "copied", from_the_other())
    assert await content_of(registry, copy, "copied") == LARGE
    await quiet(registry)


async def test_a_file_that_changes_while_it_is_read_is_refused(
    registry: Registry, settings: Settings, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "growing"
    source.write_bytes(LARGE)
    readv = os.readv

    def read_and_grow(fd: int, buffers: list[memoryview]) -> int:
        with source.open("ab") as file:
            file.write(b"more")
        return readv(fd, buffers)

    monkeypatch.setattr("artifactstore.dataplane.source.os.readv", read_and_grow)
    with pytest.raises(SourceChanged):
        await registry.ingest_file(package, "f", source)
    await _nothing_happened(registry, settings, package)


async def test_a_path_that_is_no_ordinary_file_is_refused(
    registry: Registry, settings: Settings, package: str, tmp_path: Path
) -> None:
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo)
    link.symlink_to(tmp_path / "nowhere")
    for path in (tmp_path, fifo, link):
        with pytest.raises(SourceRefused):
            await registry.ingest_file(package, "f", path)
    with pytest.raises(SourceUnreadable):
        await registry.ingest_file(package, "f", tmp_path / "absent")
    await _nothing_happened(registry, settings, package)


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../up", "a/../b", "a//b", "./a", "a\\b", "a\0b", "a\n", "x" * 256]
)
async def test_a_path_that_no_package_takes_is_refused_before_the_stream_is_read(
    registry: Registry, settings: Settings, package: str, path: str
) -> None:
    with pytest.raises(PathRefused):
        await registry.ingest_file(package, path, stream_of(b"x"))
    assert objects(settings) == {}
    await _nothing_happened(registry, settings, package)


async def test_values_that_cannot_be_are_refused(registry: Registry, settings: Settings, package: str) -> None:
    with pytest.raises(InvalidValue, match="media type"):
        await registry.ingest_file(package, "f", stream_of(b""), media_type="no type")
    with pytest.raises(InvalidValue, match="size"):
        await registry.ingest_file(package, "f", stream_of(b""), expected_size=-1)
    with pytest.raises(InvalidValue, match="principal"):
        await registry.ingest_file(package, "f", stream_of(b""), principal="")
    with pytest.raises(InvalidValue, match="key"):
        await registry.ingest_file(package, "f", stream_of(b""), idempotency_key=" ")
    await _nothing_happened(registry, settings, package)


async def test_a_taken_path_is_refused_unless_it_is_to_be_replaced(registry: Registry, package: str) -> None:
    await add(registry, package, "a", b"first")
    with pytest.raises(PathTaken):
        await add(registry, package, "a", b"second")
    with pytest.raises(PathTaken):
        await add(registry, package, "a", b"first")
    with pytest.raises(PathConflict):
        await add(registry, package, "a/b", b"below a file")
    assert await content_of(registry, package, "a") == b"first"
    replaced = await registry.ingest_file(package, "a", stream_of(b"second"), replace=True)
    assert await content_of(registry, package, "a") == b"second"
    same = await registry.ingest_file(package, "a", stream_of(b"second"), replace=True)
    assert same == replaced, "what is there already is left as it is"
    record = await registry.get_package(package)
    assert (record.files, record.bytes, record.version) == (1, 6, 3)
    await check_sound(registry)


async def test_paths_that_are_equal_under_nfc_are_one_path(registry: Registry, package: str) -> None:
    await add(registry, package, "caf\u00e9", b"composed")
    with pytest.raises(PathTaken, match="NFC"):
        await add(registry, package, "cafe\u0301", b"decomposed")
    assert (await registry.get_file_record(package, "cafe\u0301")).path == "caf\u00e9"


RANGES = [(0, None), (0, 0), (0, 5), (3, 4), (10, None), (10, 0), (7, 3), (9, 1)]


@pytest.mark.slow
@pytest.mark.parametrize(("offset", "length"), RANGES)
async def test_any_range_of_a_file_can_be_read(
    registry: Registry, package: str, offset: int, length: int | None
) -> None:
    await add(registry, package, "f", b"0123456789")
    async with registry.get_file(package, "f", offset=offset, length=length) as chunks:
        found = b"".join([chunk async for chunk in chunks])
    assert found == b"0123456789"[offset : None if length is None else offset + length]


@pytest.mark.parametrize("offset", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1])
async def test_a_range_may_cross_the_chunks(registry: Registry, package: str, offset: int) -> None:
    await add(registry, package, "f", LARGE)
    async with registry.get_file(package, "f", offset=offset, length=CHUNK + 2) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == LARGE[offset : offset + CHUNK + 2]


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (11, None), (5, 6), (2**63 - 1, 2**63 - 1)])
async def test_a_range_that_is_not_in_the_file_is_refused_on_entry(
    registry: Registry, package: str, offset: int, length: int | None
) -> None:
    await add(registry, package, "f", b"0123456789")
    with pytest.raises(RangeRefused):
        async with registry.get_file(package, "f", offset=offset, length=length):
            raise AssertionError("entered")
    assert unfinished(registry) == {}


async def test_a_file_that_is_not_there_is_refused_on_entry(
    registry: Registry, settings: Settings, package: str
) -> None:
    await add(registry, package, "f", b"content")
    refusals: list[tuple[str, str, type[ArtifactStoreError]]] = [
        (package, "g", FileNotInPackage),
        (package, "../f", PathRefused),
        ("no such package", "f", PackageNotFound),
    ]
    for package_id, path, refusal in refusals:
        with pytest.raises(refusal):
            async with registry.get_file(package_id, path):
                raise AssertionError("entered")
    object_file(settings, (await registry.get_file_record(package, "f")).content_address).unlink()
    with pytest.raises(ArtifactStoreError, match="has no object"):
        async with registry.get_file(package, "f"):
            raise AssertionError("entered")
    assert unfinished(registry) == {}


@pytest.mark.parametrize("content", [b"content", LARGE], ids=["small", "large"])
async def test_a_damaged_file_never_arrives_whole(
    registry: Registry, settings: Settings, package: str, content: bytes
) -> None:
    await add(registry, package, "f", content)
    stored = object_file(settings, (await registry.get_file_record(package, "f")).content_address)
    overwrite(stored, content[:-1] + b"?")
    received: list[bytes] = []

    async def read() -> None:
        async with registry.get_file(package, "f") as chunks:
            async for chunk in chunks:
                received.append(chunk)  # noqa: PERF401 - what came before the failure counts

    with pytest.raises(ArtifactStoreError, match="damaged"):
        await read()
    assert len(b"".join(received)) < len(content)
    await quiet(registry)


@pytest.mark.parametrize("chunks_read", [0, 1])
async def test_a_reader_that_leaves_early_leaves_no_task_behind(
    registry: Registry, package: str, chunks_read: int
) -> None:
    await add(registry, package, "f", LARGE)
    async with registry.get_file(package, "f") as chunks:
        for _ in range(chunks_read):
            await anext(chunks)
        storage = next(actor for actor in actors(registry) if actor.name == "storage")
        assert len(storage.tasks) == chunks_read
    await quiet(registry)


async def test_a_reader_that_is_cancelled_while_it_opens_leaves_no_task_behind(
    registry: Registry, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even in the moment in which the actor answers: then the answer reaches nobody who could close it."""
    await add(registry, package, "f", LARGE)
    scope = trio.CancelScope()
    serve = StorageActor.serve_object

    async def serve_and_lose_the_asker(*arguments: object) -> object:
        stream = await serve(*arguments)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        scope.cancel()
        return stream

    monkeypatch.setattr(StorageActor, "serve_object", serve_and_lose_the_asker)
    with scope:
        async with registry.get_file(package, "f"):
            raise AssertionError("entered")
    assert scope.cancelled_caught
    await quiet(registry)
