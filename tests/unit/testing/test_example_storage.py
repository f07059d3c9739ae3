"""How to test the StorageActor alone: the real data plane and local backend, on a simulated disk that can fail."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
import trio

from artifactstore.storage import StorageActor
from artifactstore.supervision import ActorCrashed, ActorRef
from artifactstore.testing import open_actor
from artifactstore_protocols.dataplane import IngestResult
from artifactstore_protocols.messages import ServeObject, StorageRole, StoreStream, VerifyObjects
from artifactstore_protocols.storage import KnownObject, Place, StorageFull
from simulation.faults import ChangeFailure, ChangeFault
from simulation.parts import simulated_parts
from simulation.world import SimulatedBug

CONTENT = b"a report\n" * 500


async def stream() -> AsyncGenerator[bytes]:
    for start in range(0, len(CONTENT), 1000):
        yield CONTENT[start : start + 1000]


async def stored(ref: ActorRef[StorageRole]) -> IngestResult:
    async with aclosing(stream()) as chunks:
        return await ref.ask(StoreStream(chunks, len(CONTENT), {}))


def known(result: IngestResult) -> KnownObject:
    receipt = result.receipt
    return KnownObject(receipt.content_address, receipt.size_bytes, Place(receipt.backend_id, receipt.object_key))


async def test_what_is_stored_is_served(autojump_clock: trio.testing.MockClock) -> None:
    async with simulated_parts() as parts, open_actor("storage", lambda: StorageActor(parts.plane)) as harness:
        result = await stored(harness.ref)
        served = await harness.ref.ask(ServeObject(known(result)))
        assert b"".join([chunk async for chunk in served]) == CONTENT
        served.close()
        assert (await harness.ref.ping()).summary == {"objects stored since start": 1}


async def test_a_full_disk_is_a_refusal_and_not_a_crash(autojump_clock: trio.testing.MockClock) -> None:
    full = ChangeFault(ChangeFailure.DISK_FULL, 3, 9)
    async with simulated_parts(full) as parts, open_actor("storage", lambda: StorageActor(parts.plane)) as harness:
        with pytest.raises(StorageFull):
            await stored(harness.ref)
        assert harness.crashes == []
        assert harness.snapshot.starts == 1


async def test_a_crash_costs_its_own_message_alone(autojump_clock: trio.testing.MockClock) -> None:
    async with simulated_parts() as parts, open_actor("storage", lambda: StorageActor(parts.plane)) as harness:
        first = await stored(harness.ref)
        harness.crash_at("before VerifyObjects")
        with pytest.raises(ActorCrashed):
            await harness.ref.ask(VerifyObjects((known(first),)))
        (verified,) = await harness.ref.ask(VerifyObjects((known(first),)))
        assert verified.status == "ok"
        assert not isinstance(harness.crashes[0].cause, SimulatedBug)
