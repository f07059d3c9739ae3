"""How far the tails are behind, and what a log that cannot be read does to them."""

import logging
from collections.abc import Mapping, Sequence

import pytest
import trio
import trio.testing

from artifactstore.database.errors import DatabaseReplaced, DatabaseUnavailable
from artifactstore.ids import new_id, now_us
from artifactstore.projection import ProjectionActor
from artifactstore.testing import open_actor
from artifactstore_protocols.commands import CommandRequest, CreatePackage
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.messages import OpenTail, ProbeTails, Stream, TailsReading
from artifactstore_protocols.retention import DEFAULT_RETENTION
from simulation.faults import ReadFailure, ReadFault
from simulation.parts import Parts, simulated_parts
from simulation.store import SimulatedEventStore

MANY = 1000


async def write(parts: Parts, count: int, metadata: Mapping[str, str] | None = None) -> None:
    requests = [
        CommandRequest(new_id(), CreatePackage(new_id(), "nightly", DEFAULT_RETENTION, metadata or {}), "ci", None)
        for _ in range(count)
    ]
    await parts.store.commit(requests, now_us=now_us, new_id=new_id, files_per_package_max=9)


async def take(tail: Stream[StoredEvent], count: int) -> list[int]:
    return [(await anext(tail)).sequence for _ in range(count)]


async def test_no_tail_is_behind(autojump_clock: trio.testing.MockClock) -> None:
    async with simulated_parts() as parts, open_actor("projection", lambda: ProjectionActor(parts.store)) as harness:
        await write(parts, 2)
        reading = await harness.ref.ask(ProbeTails())
        assert reading == TailsReading(0, 0, None), "nobody follows, so nobody looks"
        assert reading.lag_events == 0


async def test_the_slowest_tail_says_how_far_behind_they_are(autojump_clock: trio.testing.MockClock) -> None:
    """What its reader has taken counts, not what lies ready for it."""
    async with simulated_parts() as parts, open_actor("projection", lambda: ProjectionActor(parts.store)) as harness:
        await write(parts, MANY)
        head = parts.log.head()
        quick, slow, ahead = [await harness.ref.ask(OpenTail(since)) for since in (0, 10, head + 5)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, ahead, 1)
            assert await take(quick, head) == list(range(1, head + 1))
            assert await take(slow, 3) == [11, 12, 13]
            await trio.sleep(1)
            reading = await harness.ref.ask(ProbeTails())
            assert reading == TailsReading(3, head, 13)
            assert reading.lag_events == head - 13
            slow.close()
            await trio.sleep(1)
            assert await harness.ref.ask(ProbeTails()) == TailsReading(2, head, head)
            quick.close()
            await trio.sleep(1)
            reading = await harness.ref.ask(ProbeTails())
            assert reading == TailsReading(1, head, head + 5)
            assert reading.lag_events == 0
            await write(parts, 6)
        ahead.close()
        await trio.sleep(1)
        assert harness.snapshot.tasks == ()


async def test_a_tail_holds_few_bytes_for_a_reader_that_does_not_read_on(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many events that is: it held 512 of them, and one event may be a manifest of 256 MiB."""
    read_events = SimulatedEventStore.read_events
    held = list[int]()

    async def noted(
        store: SimulatedEventStore, *, after: int, limit: int, subject: str | None = None, bytes_max: int
    ) -> Sequence[StoredEvent]:
        found = await read_events(store, after=after, limit=limit, subject=subject, bytes_max=bytes_max)
        held.append(sum(len(stored.event.payload) for stored in found))
        return found

    monkeypatch.setattr(SimulatedEventStore, "read_events", noted)
    async with simulated_parts() as parts, open_actor("projection", lambda: ProjectionActor(parts.store)) as harness:
        await write(parts, 80, {f"{number}": "x" * 4000 for number in range(16)})
        tail = await harness.ref.ask(OpenTail(0))
        assert await take(tail, 1) == [1]
        await trio.sleep(1)
        assert len(held) == 1
        assert await take(tail, 79) == list(range(2, 81))
        assert len(held) > 1
        assert max(held) <= 1 << 20
        tail.close()


@pytest.mark.parametrize("read", range(1, 8))
async def test_reads_that_fail_delay_a_tail_and_do_not_end_it(
    autojump_clock: trio.testing.MockClock, read: int
) -> None:
    """Wherever they strike: in the tail's own reads, or in those of the watch that wakes it."""
    faults = [ReadFault(ReadFailure.READ_FAILED, read + later, 0) for later in range(4)]
    async with (
        simulated_parts(*faults) as parts,
        open_actor("projection", lambda: ProjectionActor(parts.store)) as harness,
        trio.open_nursery() as nursery,
    ):

        async def keep_writing() -> None:
            for _ in range(5):
                await trio.sleep(7)
                await write(parts, 1)

        nursery.start_soon(keep_writing)
        with trio.fail_after(120):
            tail = await harness.ref.ask(OpenTail(0))
            assert await take(tail, 5) == [1, 2, 3, 4, 5]
            tail.close()
        assert not harness.crashes


async def test_an_outage_is_logged_once(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with simulated_parts() as parts, open_actor("projection", lambda: ProjectionActor(parts.store)) as harness:
        tail = await harness.ref.ask(OpenTail(0))
        await write(parts, 1)
        assert await take(tail, 1) == [1]

        async def gone(*_arguments: object, **_named: object) -> int:
            await trio.lowlevel.checkpoint()
            raise DatabaseUnavailable("db", "no connection")

        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
            patch.setattr(SimulatedEventStore, "wait_for_growth", gone)
            patch.setattr(SimulatedEventStore, "read_events", gone)
            await trio.sleep(60)
        await write(parts, 1)
        assert await take(tail, 1) == [2]
        tail.close()
    assert [record.getMessage() for record in caplog.records] == [
        "events cannot be followed for now: database db is not available: no connection"
    ]


async def test_a_file_that_was_replaced_ends_a_tail(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that comes could be its continuation."""
    async with simulated_parts() as parts, open_actor("projection", lambda: ProjectionActor(parts.store)) as harness:
        tail = await harness.ref.ask(OpenTail(0))
        await write(parts, 1)
        assert await take(tail, 2) == [1, 2]

        async def replaced(*_arguments: object, **_named: object) -> int:
            await trio.lowlevel.checkpoint()
            raise DatabaseReplaced("db", "deleted")

        monkeypatch.setattr(SimulatedEventStore, "wait_for_growth", replaced)
        monkeypatch.setattr(SimulatedEventStore, "read_events", replaced)
        with pytest.raises(DatabaseReplaced):
            await take(tail, 1)
        await trio.sleep(1)
        assert harness.snapshot.tasks == ()
