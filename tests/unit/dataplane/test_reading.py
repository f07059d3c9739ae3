"""What is served was stored: wrong bytes are named by `verify` and never handed out whole."""

import errno
import os
from pathlib import Path

import pytest

from artifactstore.backends.local import LocalBackend
from artifactstore.backends.registry import BackendRegistry
from artifactstore.backends.small import SmallBackend
from artifactstore.dataplane import InProcessDataPlane
from artifactstore.dataplane.ingest import CHUNK_BYTES
from artifactstore_protocols.dataplane import DataPlane, IngestResult, RangeRefused, VerifyResult
from artifactstore_protocols.storage import ObjectDamaged, ObjectMissing, Place, StorageBackend, UnknownBackend
from unit.dataplane.samples import LARGE, address_of, digests_of, ingest, known, objects_in, read, verified

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
    assert await read(plane, CONTENT, offset, length) == CONTENT[offset:end]


@pytest.mark.parametrize(("offset", "length"), [(-1, None), (11, None), (0, 11), (5, 6), (5, -1), (11, 0)])
async def test_a_range_beyond_the_object_is_refused(plane: DataPlane, offset: int, length: int | None) -> None:
    await ingest(plane, CONTENT)
    with pytest.raises(RangeRefused) as caught:
        await read(plane, CONTENT, offset, length)
    assert (caught.value.offset, caught.value.length, caught.value.size_bytes) == (offset, length, 10)


async def test_a_large_object_comes_in_large_pieces(plane: DataPlane) -> None:
    await ingest(plane, LARGE)
    async with plane.serve_object(known(LARGE)) as pieces:
        sizes = [len(piece) async for piece in pieces]
    assert sizes == [CHUNK_BYTES, len(LARGE) - CHUNK_BYTES]
    assert await read(plane, LARGE, 5, CHUNK_BYTES) == LARGE[5 : 5 + CHUNK_BYTES]


async def test_nothing_is_held_open_after_a_reader_leaves(plane: DataPlane) -> None:
    await ingest(plane, LARGE)
    before = open_descriptors()
    async with plane.serve_object(known(LARGE)) as pieces:
        await anext(pieces)
        assert open_descriptors() == before + 1
    with pytest.raises(RangeRefused):
        await read(plane, LARGE, -1)
    assert open_descriptors() == before


async def test_an_object_that_is_deleted_meanwhile_is_served_to_its_end(plane: DataPlane) -> None:
    await ingest(plane, CONTENT)
    async with plane.serve_object(known(CONTENT)) as pieces:
        assert await plane.delete_objects([known(CONTENT).place]) == [True]
        assert [piece async for piece in pieces] == [CONTENT]


@pytest.mark.parametrize("content", [CONTENT, LARGE], ids=["small", "large"])
async def test_the_last_piece_of_a_damaged_object_is_withheld(plane: DataPlane, root: Path, content: bytes) -> None:
    await ingest(plane, content)
    overwrite(root, b"\xff" + content[1:])
    async with plane.serve_object(known(content)) as pieces:
        for _ in range(len(content) // CHUNK_BYTES):
            await anext(pieces)
        with pytest.raises(ObjectDamaged, match="digest"):
            await anext(pieces)
    assert await read(plane, content, 1) == content[1:]


async def test_an_object_that_became_empty_is_damaged(plane: DataPlane, root: Path) -> None:
    await ingest(plane, CONTENT)
    overwrite(root, b"")
    with pytest.raises(ObjectDamaged):
        await read(plane, CONTENT)
    assert await verified(plane, CONTENT) == VerifyResult(address_of(CONTENT), "damaged", digests_of(b""), 0)


async def test_an_empty_object_is_served_as_nothing(plane: DataPlane) -> None:
    await ingest(plane, b"")
    async with plane.serve_object(known(b"")) as pieces:
        assert [piece async for piece in pieces] == []


@pytest.mark.parametrize("content", [b"", CONTENT, LARGE], ids=["empty", "small", "large"])
async def test_verify_measures_what_is_there(plane: DataPlane, root: Path, content: bytes) -> None:
    address = address_of(content)
    assert await verified(plane, content) == VerifyResult(address, "missing", None, None)
    await ingest(plane, content)
    assert await verified(plane, content) == VerifyResult(address, "ok", digests_of(content), len(content))
    overwrite(root, content + b"!")
    assert await verified(plane, content) == VerifyResult(
        address, "damaged", digests_of(content + b"!"), len(content) + 1
    )


async def test_an_object_that_cannot_be_read_is_damaged(plane: DataPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_fd: int, _wanted: object, _offset: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    await ingest(plane, CONTENT)
    for read_at in ("preadv", "pread"):
        monkeypatch.setattr(os, read_at, failing)
    address = address_of(CONTENT)
    assert await verified(plane, CONTENT) == VerifyResult(address, "damaged", None, None)
    with pytest.raises(ObjectDamaged, match="the device cannot read"):
        await read(plane, CONTENT)


async def test_an_object_is_looked_up_and_deleted(plane: DataPlane) -> None:
    await ingest(plane, CONTENT)
    assert await plane.stat_objects([known(CONTENT)]) == [len(CONTENT)]
    assert await plane.delete_objects([known(CONTENT).place]) == [True]
    assert await plane.delete_objects([known(CONTENT).place]) == [False]
    assert await plane.stat_objects([known(CONTENT)]) == [None]
    with pytest.raises(ObjectMissing):
        await read(plane, CONTENT)


async def test_objects_of_several_backends_are_stored_by_size_and_read_where_they_are(tmp_path: Path) -> None:
    backends: list[StorageBackend] = [LocalBackend(tmp_path), SmallBackend(tmp_path)]
    plane = InProcessDataPlane(BackendRegistry(backends, "local", small_max=10))
    contents = [CONTENT, CONTENT + b"!", b"", LARGE]
    results = await plane.ingest_contents(contents)
    places = [result.receipt.backend_id for result in results if isinstance(result, IngestResult)]
    assert places == ["local-small", "local", "local-small", "local"]
    there = [known(content, backend_id) for content, backend_id in zip(contents, places, strict=True)]
    elsewhere = known(CONTENT, "local")
    assert await plane.stat_objects([*there, elsewhere]) == [10, 11, 0, len(LARGE), None]
    assert await plane.read_objects(there[:3]) == contents[:3]
    assert [each.status for each in await plane.verify_objects([elsewhere, *there])] == ["missing", *["ok"] * 4]
    async with plane.serve_object(there[0], offset=3, length=4) as pieces:
        assert [piece async for piece in pieces] == [CONTENT[3:7]]
    assert [health.backend_id for health in await plane.health()] == ["local", "local-small"]
    assert list(plane.backend_ids()) == ["local", "local-small"]
    listed = [each[:2] for each in await plane.list_objects("local", after="", limit=9)]
    assert listed == sorted((each.place.object_key, each.size_bytes) for each in (there[1], there[3]))
    gone = Place("elsewhere", there[0].place.object_key)
    first, unknown, second = await plane.delete_objects([there[0].place, gone, there[1].place])
    assert (first, second) == (True, True)
    assert isinstance(unknown, UnknownBackend), "a backend that is not there does not keep the others from deleting"
    assert await plane.stat_objects([there[0], there[1], there[2]]) == [None, None, 0]
    assert (await plane.compact("local")).freed_bytes >= 0
    for backend in backends:
        backend.close()


async def test_many_objects_are_read_together_and_the_damaged_one_is_told(plane: DataPlane, root: Path) -> None:
    contents = [b"first", b"second", b"third"]
    await plane.ingest_contents([contents[0], contents[2]])
    stored = root / known(contents[0]).place.object_key
    stored.chmod(0o644)
    stored.write_bytes(b"fIrst")
    damaged, missing, sound = await plane.read_objects([known(content) for content in contents])
    assert isinstance(damaged, ObjectDamaged)
    assert isinstance(missing, ObjectMissing)
    assert sound == b"third"
    results = await plane.verify_objects([known(content) for content in contents])
    assert [result.status for result in results] == ["damaged", "missing", "ok"]


async def test_an_object_of_an_unknown_backend_is_refused(plane: DataPlane) -> None:
    with pytest.raises(UnknownBackend):
        await plane.stat_objects([known(CONTENT, "s3")])


async def test_only_backends_that_are_stored_in_are_measured(tmp_path: Path) -> None:
    backends: list[StorageBackend] = [LocalBackend(tmp_path), SmallBackend(tmp_path)]
    plane = InProcessDataPlane(BackendRegistry(backends, "local"))
    assert [(health.backend_id, health.writable) for health in await plane.health()] == [("local", True)]
    assert not (tmp_path / "small").exists()
