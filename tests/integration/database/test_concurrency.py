"""Many writers and readers on one log: in one process through several databases, and in several processes."""

import json
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import chain
from pathlib import Path

import pytest
import trio

from artifactstore.database import events
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.database import Database
from artifactstore.database.events import Transaction
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.store import SqlEventStore
from command_strategies import Ids
from database_tools import Gate, event, opened

_RACERS = Path(__file__).parents[2] / "racing_writers.py"
_PROCESSES = 4
_PACKAGES = 15


async def log_and_head(connection: AsyncConnection) -> tuple[Sequence[int], int]:
    log = await events.read(connection, after=0, limit=10_000, bytes_max=1 << 30)
    return [stored.sequence for stored in log], await events.head(connection)


async def append(database: Database, event_id: str) -> int:
    return await database.write(lambda transaction: events.write(transaction, event(event_id)))


@pytest.mark.slow
async def test_processes_that_race_to_first_use_share_one_gapless_log(location: DatabaseLocation) -> None:
    """Nobody has made the file, its directory or a table before they all start."""
    url = location.url.render_as_string(hide_password=False)
    command = [sys.executable, "-W", "error", str(_RACERS), url, str(_PROCESSES), str(_PACKAGES)]
    ended = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    shares: list[list[int]] = json.loads(ended.stdout)
    assert all(share == sorted(share) and len(share) == _PACKAGES for share in shares)
    assert sorted(chain(*shares)) == list(range(2, _PROCESSES * _PACKAGES + 2))
    async with opened(location) as database:
        sequences, head = await database.read(log_and_head)
        assert sequences == list(range(1, _PROCESSES * _PACKAGES + 2))
        assert head == _PROCESSES * _PACKAGES + 1
        assert (await SqlEventStore(database).replay(rebuild=False)).identical


@pytest.mark.slow
async def test_several_databases_in_one_process_share_one_gapless_log(location: DatabaseLocation) -> None:
    """They race to first use, too; a reader beside them never sees a hole, nor a head that is not the last event."""
    ids = Ids()
    taken: list[int] = []
    seen: list[int] = []
    async with AsyncExitStack() as stack:
        databases: list[Database] = []

        async def join() -> None:
            databases.append(await stack.enter_async_context(opened(location)))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(join)

        async def write(database: Database) -> None:
            taken.extend([await append(database, ids()) for _ in range(20)])

        async def watch(database: Database) -> None:
            while True:
                sequences, head = await database.read(log_and_head)
                assert sequences == list(range(1, head + 1))
                seen.append(head)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, databases[0])
            async with trio.open_nursery() as writers:
                for database in databases:
                    writers.start_soon(write, database)
            nursery.cancel_scope.cancel()
    assert sorted(taken) == list(range(1, 61))
    assert seen == sorted(seen)


async def test_a_second_writer_waits_and_readers_see_nothing_before_the_commit(location: DatabaseLocation) -> None:
    ids = Ids()
    gate = Gate()

    async def slow(transaction: Transaction) -> int:
        sequence = await events.write(transaction, event(ids()))
        await gate.stop_here()
        return sequence

    order: list[int] = []
    async with opened(location) as one, opened(location) as other, trio.open_nursery() as nursery:

        async def first() -> None:
            order.append(await one.write(slow))

        async def second() -> None:
            order.append(await append(other, ids()))

        nursery.start_soon(first)
        await gate.arrival()
        nursery.start_soon(second)
        assert await one.read(log_and_head) == ([], 0)
        assert await other.read(log_and_head) == ([], 0)
        gate.open()
    assert sorted(order) == [1, 2]


async def test_a_reader_keeps_its_snapshot_while_the_log_grows(location: DatabaseLocation) -> None:
    ids = Ids()
    gate = Gate()

    async def look_twice(connection: AsyncConnection) -> tuple[object, object]:
        before = await log_and_head(connection)
        await gate.stop_here()
        return before, await log_and_head(connection)

    async with opened(location) as database, trio.open_nursery() as nursery:
        await append(database, ids())

        async def read() -> None:
            assert await database.read(look_twice) == (([1], 1), ([1], 1))

        nursery.start_soon(read)
        await gate.arrival()
        assert await append(database, ids()) == 2
        gate.open()


async def test_one_database_takes_writers_in_turn_and_readers_concurrently(location: DatabaseLocation) -> None:
    """More tasks than there are connections: the others wait for one."""
    ids = Ids()
    taken: list[int] = []
    async with opened(location) as database:

        async def write() -> None:
            taken.append(await append(database, ids()))
            sequences, head = await database.read(log_and_head)
            assert sequences == list(range(1, head + 1))

        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(write)
    assert sorted(taken) == list(range(1, 13))


@pytest.mark.parametrize("writer_first", [True, False])
async def test_a_cancelled_caller_leaves_a_read_and_waits_for_a_write(
    location: DatabaseLocation, writer_first: bool
) -> None:
    gate = Gate()
    ids = Ids()

    async def slow_write(transaction: Transaction) -> int:
        await gate.stop_here()
        return await events.write(transaction, event(ids()))

    async def slow_read(connection: AsyncConnection) -> int:
        await gate.stop_here()
        return await events.head(connection)

    async with opened(location) as database:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                if writer_first:
                    nursery.start_soon(database.write, slow_write)
                else:
                    nursery.start_soon(database.read, slow_read)
                await gate.arrival()
                scope.cancel()
                if writer_first:
                    gate.open()
        gate.open()
        assert await database.read(events.head) == (1 if writer_first else 0)
