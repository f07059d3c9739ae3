"""What is served was stored: wrong bytes are named by `verify` and never handed out whole."""

import errno
import os
from pathlib import Path

import pytest

from artifactstore.backends.local import LocalBackend
from artifactstore.backends.registry import BackendRegistry
from artifactstore.dataplane import InProcessDataPlane
from artifactstore.dataplane.ingest import CHUNK_BYTES
from artifactstore_protocols.dataplane import DataPlane, RangeRefused, VerifyResult
from artifactstore_protocols.storage import ObjectDamaged, ObjectMissing, UnknownBackend
from unit.dataplane.samples import LARGE, address_of, digests_of, ingest, objects_in, read

CONTENT = b"0123456789"


def overwrite(root: Path, content: bytes) -> None:
    (stored,) = objects_in(root)
    stored.chmod(0o644)
    stored.write_bytes(content)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    ("offset", "length"), [(0, None), (0, 10), (0, 0), (3, None), (3, 4), (9, 1), (10, None), (10, 0)]
)
async def test_a_range_is_served_exactly(plane: DataPlane, offset: int, length: int | None) -> None:
    await ingest(plane, CONTENT)
    end = len(CONTENT) if length is None else offset + length
    assert await read(plane, address_of(CONTENT), offset, length) == CONTENT[offset:end]


@pytest.mark.parametrize(("offset", "length"), [(-1, None), (11, None), (0, 11), (5, 6), (5, -1), (11, 0)])
async def test_a_range_beyond_the_object_is_refused(plane: DataPlane, offset: int, length: int | None) -> None:
    await ingest(plane, CONTENT)
    with pytest.raises(RangeRefused) as caught:
        await read(plane, address_of(CONTENT), offset, length)
    assert (caught.value.offset, caught.value.length, caught.value.size_bytes) == (offset, length, 10)


async def test_a_large_object_comes_in_large_pieces(plane: DataPlane) -> None:
    await ingest(plane, LARGE)
    async with plane.serve_object(address_of(LARGE)) as pieces:
        sizes = [len(piece) async for piece in pieces]
    assert sizes == [CHUNK_BYTES, len(LARGE) - CHUNK_BYTES]
    assert await read(plane, address_of(LARGE), 5, CHUNK_BYTES) == LARGE[5 : 5 + CHUNK_BYTES]


async def test_nothing_is_held_open_after_a_reader_leaves(plane: DataPlane) -> None:
    await ingest(plane, LARGE)
    before = open_descriptors()
    async with plane.serve_object(address_of(LARGE)) as pieces:
        await anext(pieces)
        assert open_descriptors() == before + 1
    with pytest.raises(RangeRefused):
        await read(plane, address_of(LARGE), -1)
    assert open_descriptors() == before


async def test_an_object_that_is_deleted_meanwhile_is_served_to_its_end(plane: DataPlane) -> None:
    await ingest(plane, CONTENT)
    async with plane.serve_object(address_of(CONTENT)) as pieces:
        assert await plane.delete_object(address_of(CONTENT))
        assert [piece async for piece in pieces] == [CONTENT]


@pytest.mark.parametrize("content", [CONTENT, LARGE], ids=["small", "large"])
async def test_the_last_piece_of_a_damaged_object_is_withheld(plane: DataPlane, root: Path, content: bytes) -> None:
    await ingest(plane, content)
    overwrite(root, b"\xff" + content[1:])
    async with plane.serve_object(address_of(content)) as pieces:
        for _ in range(len(content) // CHUNK_BYTES):
            await anext(pieces)
        with pytest.raises(ObjectDamaged, match="digest"):
            await anext(pieces)
    assert await read(plane, address_of(content), 1) == content[1:]


async def test_an_object_that_became_empty_is_damaged(plane: DataPlane, root: Path) -> None:
    await ingest(plane, CONTENT)
    overwrite(root, b"")
    with pytest.raises(ObjectDamaged):
        await read(plane, address_of(CONTENT))
    assert await plane.verify_object(address_of(CONTENT)) == VerifyResult(
        address_of(CONTENT), "damaged", digests_of(b""), 0
    )


async def test_an_empty_object_is_served_as_nothing(plane: DataPlane) -> None:
    await ingest(plane, b"")
    async with plane.serve_object(address_of(b"")) as pieces:
        assert [piece async for piece in pieces] == []


@pytest.mark.parametrize("content", [b"", CONTENT, LARGE], ids=["empty", "small", "large"])
async def test_verify_measures_what_is_there(plane: DataPlane, root: Path, content: bytes) -> None:
    address = address_of(content)
    assert await plane.verify_object(address) == VerifyResult(address, "missing", None, None)
    await ingest(plane, content)
    assert await plane.verify_object(address) == VerifyResult(address, "ok", digests_of(content), len(content))
    overwrite(root, content + b"!")
    assert await plane.verify_object(address) == VerifyResult(
        address, "damaged", digests_of(content + b"!"), len(content) + 1
    )


async def test_an_object_that_cannot_be_read_is_damaged(plane: DataPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(fd: int, buffers: list[memoryview], offset: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    await ingest(plane, CONTENT)
    monkeypatch.setattr(os, "preadv", failing)
    address = address_of(CONTENT)
    assert await plane.verify_object(address) == VerifyResult(address, "damaged", None, None)
    with pytest.raises(ObjectDamaged, match="EIO"):
        await read(plane, address)


async def test_an_object_is_stated_and_deleted_by_its_address(plane: DataPlane) -> None:
    address = address_of(CONTENT)
    await ingest(plane, CONTENT)
    assert await plane.stat_objects([address]) == [len(CONTENT)]
    assert await plane.delete_object(address)
    assert not await plane.delete_object(address)
    assert await plane.stat_objects([address]) == [None]
    with pytest.raises(ObjectMissing):
        await read(plane, address)


async def test_the_health_of_every_backend_is_measured(tmp_path: Path) -> None:
    backends = BackendRegistry([LocalBackend(tmp_path / name, name) for name in ("b", "a")])
    plane: DataPlane = InProcessDataPlane(backends, "b")
    assert [(health.backend_id, health.writable) for health in await plane.health()] == [("a", True), ("b", True)]
    assert (await ingest(plane, CONTENT)).receipt.backend_id == "b"
    for backend in backends:
        backend.close()


async def test_a_default_backend_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownBackend):
        InProcessDataPlane(BackendRegistry([LocalBackend(tmp_path)]), "s3")
