"""Push by reference through the library: who may refer to what, what is stored, and what a collection leaves."""

from collections.abc import Generator
from typing import cast

import pytest

from artifactstore import Registry, Settings
from artifactstore.environment import Environment, environment
from artifactstore.errors import (
    ContentPurged,
    ContentsMissing,
    InvalidValue,
    PackageFinalizedAlready,
    PackageGone,
    PathTaken,
)
from artifactstore.registry import event_store
from artifactstore.testing.backend_conformance import address_of
from artifactstore_protocols.event_types import ObjectsStored
from artifactstore_protocols.pushing import UPLOADED_BYTES_MAX, AddedEntries, NewEntry, UploadedContent
from command_strategies import digests_of
from integration.registry.samples import add, whole_log
from integration.registry.test_collecting import collect, on_both, settings
from integration.registry.test_expiry import Clock
from stored_objects import objects_in

__all__ = ["settings"]

A, B, C = b"alpha", b"beta" * 40_000, b"gamma"
DAY_US = 86_400_000_000


@pytest.fixture
def clock() -> Generator[Clock]:
    moved = Clock(environment.get())
    token = environment.set(cast("Environment", moved))
    yield moved
    environment.reset(token)


def text(content: bytes) -> str:
    return str(address_of(content))


def sha256_of(content: bytes) -> str:
    return f"sha256:{digests_of(content).sha256.hex}"


def file(path: str, content: bytes, **more: object) -> NewEntry:
    return NewEntry(path, content=text(content), **more)  # type: ignore[arg-type]


async def opened(registry: Registry, name: str = "nightly") -> str:
    return (await registry.create_package(name)).package_id


@on_both
async def test_a_package_is_filled_by_references_and_its_facts_come_from_the_store(registry: Registry) -> None:
    package = await opened(registry)
    assert await registry.missing_objects(package, [text(A), text(B), text(A)]) == (text(A), text(B))
    stored = await registry.store_objects(package, [A, B, A])
    assert stored == tuple(UploadedContent(text(each), sha256_of(each), len(each)) for each in (A, B, A))
    assert await registry.missing_objects(package, [text(A), text(C)]) == (text(C),)
    entries = [
        file("a", A, executable=True),
        file("b.txt", B),
        file("c", A, media_type="text/x-c"),
        NewEntry("link", "link", target="a"),
        NewEntry("empty", "directory"),
    ]
    assert await registry.add_entries(package, entries) == AddedEntries(package, 5)
    assert await registry.add_entries(package, entries) == AddedEntries(package, 0)
    found = await registry.finalize_package(package)
    assert (found.files, found.bytes) == (3, 2 * len(A) + len(B))
    listed = {each.path: each for each in await registry.list_files(package)}
    assert listed["b.txt"].media_type == "text/plain"
    assert listed["c"].media_type == "text/x-c"
    assert (listed["a"].executable, listed["link"].target, listed["empty"].kind) == (True, "a", "directory")
    assert listed["b.txt"].sha256 == sha256_of(B)
    assert (await registry.verify()).sound
    assert (await registry.replay()).identical


@on_both
async def test_only_receipts_and_readable_packages_make_a_content_present(registry: Registry, clock: Clock) -> None:
    others = await opened(registry, "secret")
    await add(registry, others, "a", A)
    package = await opened(registry)
    await registry.store_objects(package, [B], principal="token:ci")

    async def missing(*readable: str, principal: str = "token:ci", into: str = package) -> set[bytes]:
        found = await registry.missing_objects(into, [text(A), text(B)], readable=readable, principal=principal)
        return {each for each in (A, B) if text(each) in found}

    assert await missing() == {A}
    assert await missing("nightly", "SECRET", "s?cre") == {A}
    assert await missing("other", "secre[t]") == set()
    assert await missing("*") == set()
    assert await missing(principal="token:other") == {A, B}
    assert await missing(into=await opened(registry)) == {A, B}
    clock.ahead_us = DAY_US // 2
    assert await missing() == {A}
    clock.ahead_us = 2 * DAY_US
    assert await missing() == {A, B}
    await registry.delete_package(others, reason="no longer needed")
    assert await missing("*") == {A, B}


async def test_all_contents_that_are_missing_are_named_and_nothing_is_added(registry: Registry) -> None:
    package = await opened(registry)
    await registry.store_objects(package, [A])
    before = len(await whole_log(registry))
    with pytest.raises(ContentsMissing) as raised:
        await registry.add_entries(package, [file(f"{n}", A if n < 300 else b"%d" % (n % 7)) for n in range(600)])
    assert raised.value.contents == tuple(text(b"%d" % (n % 7)) for n in range(300, 307))
    assert len(await whole_log(registry)) == before
    assert (await registry.add_entries(package, [file(f"{n}", A) for n in range(600)])).added == 600
    with pytest.raises(PathTaken):
        await registry.add_entries(package, [NewEntry("1", "link", target="2")])


@on_both
async def test_a_collection_keeps_what_has_a_receipt_and_takes_it_afterwards(registry: Registry, clock: Clock) -> None:
    package = await opened(registry)
    await registry.store_objects(package, [A, C])
    assert (await collect(registry)).condemned.objects == 0
    await registry.add_entries(package, [file("c", C)])
    clock.ahead_us = DAY_US + 1_000_000
    assert (await collect(registry)).condemned.objects == 1
    assert await registry.missing_objects(package, [text(A), text(C)]) == (text(A),)
    await registry.store_objects(package, [A])  # under its next key
    await registry.add_entries(package, [file("a", A)])
    assert {each.path for each in await registry.list_files(package)} == {"a", "c"}
    assert (await registry.verify()).sound
    assert (await registry.replay()).identical


async def test_the_log_grows_alike_whether_the_store_has_a_content(registry: Registry) -> None:
    others = await opened(registry, "secret")
    await add(registry, others, "a", A)
    package = await opened(registry)
    grew: list[int] = []
    for content in (A, C):
        before = len(await whole_log(registry))
        await registry.store_objects(package, [content])
        await registry.add_entries(package, [file(content.decode(), content)])
        grew.append(len(await whole_log(registry)) - before)
    assert grew == [3, 3]
    assert await event_store(registry).deduplicated_bytes(package) == len(A) + len(C)


async def test_many_contents_are_stored_in_few_commands(registry: Registry, settings: Settings) -> None:
    package = await opened(registry)
    await registry.store_objects(package, [b"%d" % n for n in range(600)])
    stored = [each.decode() for each in await whole_log(registry)]
    assert [len(each.objects) for each in stored if isinstance(each, ObjectsStored)] == [256, 256, 88]
    assert len(objects_in(settings.storage_local_root)) == 600


async def test_what_cannot_be_pushed_is_refused(registry: Registry) -> None:
    package = await opened(registry)
    with pytest.raises(InvalidValue, match="in one piece"):
        await registry.store_objects(package, [bytes(UPLOADED_BYTES_MAX + 1)])
    await add(registry, package, "leak", b"leak")
    await registry.purge([text(b"leak")], reason="leaked", confirm=[text(b"leak")])
    with pytest.raises(ContentPurged):
        await registry.store_objects(package, [b"leak"])
    with pytest.raises(ContentsMissing):
        await registry.add_entries(package, [file("leak", b"leak")])
    finalized = await opened(registry)
    await registry.finalize_package(finalized)
    gone = await opened(registry)
    await registry.delete_package(gone, reason="no longer needed")
    for other, error in ((finalized, PackageFinalizedAlready), (gone, PackageGone)):
        with pytest.raises(error):
            await registry.missing_objects(other, [])
        with pytest.raises(error):
            await registry.store_objects(other, [A])
        with pytest.raises(error):
            await registry.add_entries(other, [file("a", A)])
        with pytest.raises(error):
            await registry.add_entries(other, [NewEntry("d", "directory")])


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "file"},
        {"content": "blake3:00"},
        {"content": text(A), "target": "b"},
        {"kind": "link"},
        {"kind": "link", "target": "b", "executable": True},
        {"kind": "directory", "content": text(A)},
        {"content": text(A), "media_type": "no type"},
    ],
)
def test_an_entry_has_the_fields_of_its_kind(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidValue):
        NewEntry("a", **wrong)  # type: ignore[arg-type]
