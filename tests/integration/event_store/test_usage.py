"""What packages take, whatever store counts it: by name, and alone."""

from artifactstore_protocols.commands import OnExisting
from artifactstore_protocols.disk_usage import NameUsage, UniqueUsage
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.life_cycle import DeletePackage
from command_strategies import (
    Create,
    FileStep,
    Ingest,
    Step,
    created,
    ingest,
    ingested,
    package_id_of,
)
from database_tools import Scribe
from memory_log import MemoryLog


def filled(package: int, **files: bytes) -> Step:
    return Ingest(package, tuple(FileStep(path, content, False) for path, content in files.items()), OnExisting.REPLACE)


PACKAGES = [Create(number, "short", {}) for number in (1, 2, 3)]


async def tell(scribe: Scribe, *steps: Step) -> MemoryLog:
    memory = MemoryLog()
    for step in steps:
        command = memory.command(step)
        assert memory.commit(command) is None
        await scribe.tell(command)
    return memory


async def unique(store: EventStore, *packages: int) -> tuple[int, int]:
    found = await store.unique_usage([package_id_of(number) for number in packages])
    assert found.packages == len(packages)
    return found.unique_objects, found.unique_bytes


async def test_an_empty_store_takes_nothing(store: EventStore) -> None:
    assert await store.name_usage(name=None, after="", limit=9) == []
    assert await store.unique_usage([package_id_of(1)]) == UniqueUsage(0, 0, 0, 0, 0)


async def test_names_are_counted_in_pages_in_their_order(store: EventStore, scribe: Scribe) -> None:
    for number, name in enumerate(["b", "a", "b", "é"], 1):
        await scribe.tell(created(number, name=name), ingest(ingested("f", b"x" * number), package=number))
    a, b, e = NameUsage("a", 1, 1, 2, 2), NameUsage("b", 2, 2, 4, 4), NameUsage("é", 1, 1, 4, 4)
    assert await store.name_usage(name=None, after="", limit=9) == [a, b, e]
    assert await store.name_usage(name=None, after="", limit=1) == [a]
    assert await store.name_usage(name=None, after="a", limit=1) == [b]
    assert await store.name_usage(name=None, after="é", limit=1) == []
    assert await store.name_usage(name="b*", after="", limit=9) == [b]


async def test_a_content_is_brought_by_the_ingest_that_stored_it(store: EventStore, scribe: Scribe) -> None:
    await tell(
        scribe,
        *PACKAGES[:2],
        filled(1, a=b"12345", b=b"12345", c=b"123"),
        filled(2, a=b"12345", d=b"1"),
        filled(2, a=b"1234567"),
    )
    [usage] = await store.name_usage(name=None, after="", limit=9)
    assert usage == NameUsage("nightly", 2, 5, 5 + 5 + 3 + 7 + 1, (5 + 3) + (1 + 7))


async def test_unique_bytes_are_those_that_no_other_package_needs(store: EventStore, scribe: Scribe) -> None:
    await tell(
        scribe,
        *PACKAGES,
        filled(1, a=b"12345", b=b"12345", mine=b"1"),
        filled(2, a=b"12345", ours=b"22"),
        filled(3, ours=b"22", mine=b"333"),
    )
    assert await unique(store, 1) == (1, 1)
    assert await unique(store, 2) == (0, 0)
    assert await unique(store, 3) == (1, 3)
    assert await unique(store, 1, 2) == (2, 1 + 5)
    assert await unique(store, 2, 3) == (2, 2 + 3)
    assert await unique(store, 1, 2, 3) == (4, 1 + 5 + 2 + 3)
    assert await store.unique_usage([package_id_of(1)]) == UniqueUsage(1, 3, 11, 1, 1)


async def test_what_is_gone_takes_nothing_and_shares_nothing(store: EventStore, scribe: Scribe) -> None:
    await tell(scribe, *PACKAGES[:2], filled(1, a=b"12345"), filled(2, a=b"12345", b=b"1"))
    assert await unique(store, 2) == (1, 1)
    await scribe.tell(DeletePackage(package_id_of(1), "no need"))
    assert await unique(store, 2) == (2, 6), "only a gone package needs the rest"
    assert await store.name_usage(name=None, after="", limit=9) == [NameUsage("nightly", 1, 2, 6, 1)]
