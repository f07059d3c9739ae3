"""How to test the IngestActor alone: probes where storage and writer would be, which answer as the test says."""

from collections.abc import AsyncGenerator

import pytest
import trio

from artifactstore.event_writer import EventWriter
from artifactstore.ids import new_id, now_us
from artifactstore.ingest import IngestActor
from artifactstore.storage import StorageActor
from artifactstore.supervision import ActorCrashed
from artifactstore.testing import Probe, open_actor
from artifactstore_protocols.commands import CommandRequest, CreatePackage, IngestFiles, OnExisting
from artifactstore_protocols.messages import AddFile, Commit, StorageRole, StoreStream, WriterRole
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.retention import DEFAULT_RETENTION
from artifactstore_protocols.storage import StorageFull
from simulation.parts import Parts, simulated_parts

FILES_MAX = 10


async def content() -> AsyncGenerator[bytes]:
    yield b"x"


async def package_in(parts: Parts) -> str:
    package_id = new_id()
    command = CreatePackage(package_id, "nightly", DEFAULT_RETENTION, {})
    request = CommandRequest(new_id(), command, "ci", None)
    await parts.store.commit([request], now_us=now_us, new_id=new_id, files_per_package_max=FILES_MAX)
    return package_id


def add(package_id: str) -> AddFile:
    return AddFile(package_id, "a.txt", content(), None, None, None, OnExisting.REFUSE, "ci", None)


def ingest(parts: Parts, storage: Probe[StorageRole], writer: Probe[WriterRole]) -> IngestActor:
    return IngestActor(parts.store, storage.ref, writer.ref, files_per_package_max=FILES_MAX)


async def test_bytes_are_stored_before_they_are_recorded(autojump_clock: trio.testing.MockClock) -> None:
    storage, writer = Probe(StorageActor, "storage"), Probe(EventWriter, "event-writer")
    async with (
        simulated_parts() as parts,
        open_actor("ingest", lambda: ingest(parts, storage, writer), storage, writer) as harness,
        trio.open_nursery() as nursery,
    ):
        message = add(await package_in(parts))
        nursery.start_soon(harness.ref.ask, message)
        to_store = await storage.expect(StoreStream)
        writer.expect_nothing()
        result = await parts.plane.ingest_stream(to_store.message.reader)
        to_store.reply(result)
        to_record = await writer.expect(Commit)
        command = to_record.message.request.command
        assert isinstance(command, IngestFiles)
        assert [entry.digest.hex() for entry in command.entries] == [result.digests.primary.hex]
        (committed,) = await parts.store.commit(
            [to_record.message.request], now_us=now_us, new_id=new_id, files_per_package_max=FILES_MAX
        )
        to_record.reply(committed)


async def test_what_cannot_be_stored_is_not_recorded(autojump_clock: trio.testing.MockClock) -> None:
    storage, writer = Probe(StorageActor, "storage"), Probe(EventWriter, "event-writer")

    def is_full(_: StoreStream) -> object:
        raise StorageFull("local", "writing an object", "ENOSPC")

    storage.answer(StoreStream, is_full)
    async with (
        simulated_parts() as parts,
        open_actor("ingest", lambda: ingest(parts, storage, writer), storage, writer) as harness,
    ):
        with pytest.raises(StorageFull):
            await harness.ref.ask(add(await package_in(parts)))
        assert writer.received == []
        assert harness.crashes == []


async def test_a_crash_of_the_storage_reaches_the_asker_and_leaves_the_ingest_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    storage, writer = Probe(StorageActor, "storage"), Probe(EventWriter, "event-writer")
    failures: list[ActorCrashed] = []
    async with (
        simulated_parts() as parts,
        open_actor("ingest", lambda: ingest(parts, storage, writer), storage, writer) as harness,
    ):
        message = add(await package_in(parts))

        async def ask() -> None:
            with pytest.raises(ActorCrashed) as crashed:
                await harness.ref.ask(message)
            failures.append(crashed.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            (await storage.expect(StoreStream)).crash()
        assert [failure.actor for failure in failures] == ["test/storage"]
        assert harness.snapshot.starts == 1
        assert harness.snapshot.work == ()


async def test_a_package_that_is_not_there_costs_nobody_anything(autojump_clock: trio.testing.MockClock) -> None:
    storage, writer = Probe(StorageActor, "storage"), Probe(EventWriter, "event-writer")
    async with (
        simulated_parts() as parts,
        open_actor("ingest", lambda: ingest(parts, storage, writer), storage, writer) as harness,
    ):
        with pytest.raises(PackageNotFound):
            await harness.ref.ask(add(new_id()))
        assert (storage.received, writer.received) == ([], [])
