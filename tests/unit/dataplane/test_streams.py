"""A stream is stored whole, under its own digests, in whatever chunks it comes, or not at all."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.dataplane import open_local_data_plane, stream
from artifactstore.dataplane.ingest import CHUNK_BYTES
from artifactstore_protocols.dataplane import DataPlane, SourceOverrun, SourceTruncated
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.object_keys import next_key
from artifactstore_protocols.storage import Place, StorageFull
from unit.dataplane.samples import (
    LARGE,
    digests_of,
    ingest,
    objects_in,
    read,
    stream_of,
    temp_files_in,
)


async def test_a_stream_is_stored_under_its_digests(plane: DataPlane) -> None:
    result = await plane.ingest_stream(stream_of([b"two ", b"", b"chunks"]), expected_size=10)
    assert result.digests == digests_of(b"two chunks")
    assert (result.size_bytes, result.receipt.size_bytes, result.receipt.outcome) == (10, 10, "stored")
    assert await read(plane, b"two chunks") == b"two chunks"


@settings(max_examples=25, deadline=None)
@given(chunks=st.lists(st.binary(max_size=40), max_size=12), chunk_bytes=st.integers(1, 50))
def test_no_chunking_makes_a_difference(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], chunk_bytes: int
) -> None:
    """With a chunk size of a few bytes, so that short streams take the way of long ones."""
    whole = b"".join(chunks)

    async def main(root: Path) -> None:
        async with open_local_data_plane(root) as plane:
            result = await plane.ingest_stream(stream_of(chunks), expected_size=len(whole))
            assert (result.digests, result.size_bytes) == (digests_of(whole), len(whole))
            assert await read(plane, whole) == whole
            assert temp_files_in(root) == []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "CHUNK_BYTES", chunk_bytes)
        trio.run(main, tmp_path_factory.mktemp("objects"))


@pytest.mark.parametrize("chunks", [[LARGE], [LARGE[:9], LARGE[9:]], [LARGE[:-9], LARGE[-9:]]])
async def test_a_stream_of_more_than_one_chunk_is_stored_as_it_comes(
    plane: DataPlane, root: Path, chunks: list[bytes]
) -> None:
    result = await plane.ingest_stream(stream_of(chunks))
    assert (result.digests, result.receipt.outcome) == (digests_of(LARGE), "stored")
    assert await read(plane, LARGE) == LARGE
    again = await plane.ingest_stream(stream_of(chunks))
    assert again.receipt.outcome == "deduplicated"
    assert temp_files_in(root) == []


async def test_what_fits_into_one_chunk_is_not_written_if_it_is_there(
    plane: DataPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = LARGE[:CHUNK_BYTES]
    await ingest(plane, content)

    def never(fd: int, view: memoryview) -> None:
        raise AssertionError("written again")

    monkeypatch.setattr("artifactstore.backends.local_batch.write_all", never)
    monkeypatch.setattr("artifactstore.backends.local_writer.write_all", never)
    assert (await ingest(plane, content)).receipt.outcome == "deduplicated"


@pytest.mark.parametrize("content", [b"", b"nine byte", LARGE], ids=["empty", "small", "large"])
async def test_a_stream_that_ends_short_is_refused(plane: DataPlane, root: Path, content: bytes) -> None:
    with pytest.raises(SourceTruncated) as caught:
        await plane.ingest_stream(stream_of([content]), expected_size=len(content) + 1)
    assert (caught.value.expected_bytes, caught.value.received_bytes) == (len(content) + 1, len(content))
    assert objects_in(root) == temp_files_in(root) == []


@pytest.mark.parametrize("content", [b"x", LARGE], ids=["small", "large"])
async def test_a_stream_that_continues_is_cut_off(plane: DataPlane, root: Path, content: bytes) -> None:
    async def endless() -> AsyncGenerator[bytes]:
        yield content[:-1]
        while True:
            yield content[-1:]

    async with aclosing(endless()) as chunks:
        with pytest.raises(SourceOverrun) as caught:
            await plane.ingest_stream(chunks, expected_size=len(content))
    assert (caught.value.expected_bytes, caught.value.received_bytes) == (len(content), len(content) + 1)
    assert objects_in(root) == temp_files_in(root) == []


async def test_a_negative_size_is_refused(plane: DataPlane) -> None:
    with pytest.raises(InvalidValue, match="expected size"):
        await plane.ingest_stream(stream_of([]), expected_size=-1)


async def test_a_stream_that_breaks_leaves_nothing(plane: DataPlane, root: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield LARGE
        raise ConnectionResetError("the client is gone")

    with pytest.raises(ConnectionResetError):
        await plane.ingest_stream(broken())
    assert objects_in(root) == temp_files_in(root) == []


async def test_a_cancelled_stream_leaves_nothing(plane: DataPlane, root: Path) -> None:
    with trio.CancelScope() as scope:

        async def cancelled_in_the_middle() -> AsyncGenerator[bytes]:
            yield LARGE
            assert len(temp_files_in(root)) == 1
            scope.cancel()
            yield LARGE

        async with aclosing(cancelled_in_the_middle()) as chunks:
            await plane.ingest_stream(chunks)
    assert scope.cancelled_caught
    assert objects_in(root) == temp_files_in(root) == []


async def test_a_stream_that_there_is_no_room_for_is_refused(
    plane: DataPlane, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, view: memoryview) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("artifactstore.backends.local_batch.write_all", full)
    monkeypatch.setattr("artifactstore.backends.local_writer.write_all", full)
    for content in (b"small", LARGE):
        with pytest.raises(StorageFull, match="no space is left"):
            await ingest(plane, content)
    assert objects_in(root) == temp_files_in(root) == []


@pytest.mark.parametrize("content", [b"small", LARGE], ids=["small", "large"])
async def test_a_content_whose_key_holds_other_bytes_goes_to_its_next_key(
    plane: DataPlane, root: Path, content: bytes
) -> None:
    first = (await ingest(plane, content)).receipt
    (stored,) = objects_in(root)
    stored.chmod(0o644)
    stored.write_bytes(content[::-1])
    second, again = [(await ingest(plane, content)).receipt for _ in range(2)]
    assert second.object_key == again.object_key == next_key(first.object_key)
    assert (second.outcome, again.outcome) == ("stored", "deduplicated")
    assert stored.read_bytes() == content[::-1]
    place = Place(first.backend_id, f"{first.object_key}.g7")
    asked = (await plane.ingest_stream(stream_of([content]), places={first.content_address: place})).receipt
    assert (asked.object_key, asked.outcome) == (place.object_key, "stored")
