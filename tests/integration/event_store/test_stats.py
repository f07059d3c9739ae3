"""The totals are those of the rows, whatever store counts them, and the last runs are kept beside the log."""

import trio

from artifactstore_protocols.collection import ObjectTotals
from artifactstore_protocols.commands import OnExisting
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.store_stats import LastRun, StoreStats
from command_strategies import Create, FileStep, Ingest, Step
from database_tools import Scribe
from event_stores import Stores
from memory_log import MemoryLog
from story import assert_identical, tell_story


async def test_an_empty_log_has_nothing_and_nobody_has_looked_at_it(store: EventStore) -> None:
    assert await store.stats() == StoreStats()


async def test_the_totals_are_what_counting_every_row_gives(store: EventStore, scribe: Scribe) -> None:
    memory = await tell_story(scribe)
    replaced = [Ingest(50, (FileStep("a", content, False),), OnExisting.REPLACE) for content in (b"first", b"2", b"3")]
    steps: list[Step] = [Create(50, "short", {}), *replaced]
    for step in steps:
        command = memory.command(step)
        assert memory.commit(command) is None
        await scribe.tell(command)
    counted = memory.views.totals()
    stats = await store.stats()
    assert (stats.packages, stats.finalized) == (counted.packages, counted.finalized)
    assert (stats.files, stats.links, stats.directories) == (counted.files, counted.links, counted.directories)
    assert (stats.bytes, stats.objects, stats.object_bytes) == (
        counted.total_bytes,
        counted.objects,
        counted.object_bytes,
    )
    assert (stats.unreleased, stats.deleted, stats.expired) == (counted.unreleased, counted.deleted, counted.expired)
    condemned = await store.collectable_objects("condemned", after=None, limit=1000)
    retired = await store.collectable_objects("retired", after=None, limit=1000)
    assert await store.retired_totals() == ObjectTotals(len(retired), sum(each.size_bytes for each in retired))
    for after_us in {0, 1 << 60, *(each.changed_at_us - late for each in condemned for late in (0, 1))}:
        sizes = [each.size_bytes for each in condemned if each.changed_at_us > after_us]
        assert await store.waiting_totals(after_us=after_us) == ObjectTotals(len(sizes), sum(sizes))
    assert len({each.changed_at_us for each in condemned}) > 1
    assert min(stats.packages, stats.finalized, stats.files, stats.objects, stats.object_bytes) > 0
    assert_identical(await store.replay(rebuild=False), memory)


async def test_a_content_that_two_packages_share_is_stored_once(store: EventStore, scribe: Scribe) -> None:
    memory = MemoryLog()
    files = (FileStep("a", b"12345", False), FileStep("b", b"12345", False))
    for step in (
        Create(1, "short", {}),
        Create(2, "short", {}),
        Ingest(1, files, OnExisting.REFUSE),
        Ingest(2, files[:1], OnExisting.REFUSE),
    ):
        command = memory.command(step)
        assert memory.commit(command) is None
        await scribe.tell(command)
    stats = await store.stats()
    assert (stats.packages, stats.files, stats.bytes) == (2, 3, 15)
    assert (stats.objects, stats.object_bytes) == (1, 5)


async def test_only_the_last_backup_is_kept_and_the_log_knows_none(stores: Stores, store: EventStore) -> None:
    first, second = LastRun(1, 2, 3, 0), LastRun(4, 5, 6, 7)
    head = (await store.probe()).head
    await store.note_run("backup", first)
    await store.note_run("backup", second)
    assert await store.stats() == StoreStats(last_backup=second)
    assert (await store.probe()).head == head
    async with stores.opened() as another:
        assert (await another.stats()).last_backup == second


async def test_commands_that_run_concurrently_count_each_thing_once(
    stores: Stores, store: EventStore, scribe: Scribe
) -> None:
    memory = MemoryLog()
    requests = [scribe.ask(memory.command(Create(number, "short", {}))) for number in range(1, 9)]
    async with stores.opened() as other, trio.open_nursery() as nursery:
        for number, request in enumerate(requests):
            nursery.start_soon(Scribe(other if number % 2 else store).send, request)
    assert (await store.stats()).packages == len(requests)
    assert (await store.replay(rebuild=False)).identical
