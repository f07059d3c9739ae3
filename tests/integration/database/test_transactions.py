"""Transactions on the log itself, on both databases: what events.write promises, and what a batch that fails leaves.

What every event store promises in terms of its interface is in `tests/integration/event_store`.
"""

from collections.abc import Sequence

import pytest
from sqlalchemy import insert

from artifactstore.database import events
from artifactstore.database.commit import commit_batch, commit_each
from artifactstore.database.database import Database
from artifactstore.database.errors import DatabaseUnavailable, Refused
from artifactstore.database.events import Transaction
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.schema import log_head
from artifactstore.database.store import SqlEventStore
from artifactstore_protocols.event_store import CommandOutcome
from artifactstore_protocols.events import Event, EventConflict
from command_strategies import Ids, created
from database_tools import EPOCH_US, Scribe, event, whole_log


async def head(database: Database) -> int:
    return await database.read(events.head)


async def write(database: Database, *new: Event) -> list[int]:
    async def work(transaction: Transaction) -> list[int]:
        return [await events.write(transaction, entry) for entry in new]

    return await database.write(work)


async def test_an_event_that_is_there_keeps_its_first_sequence(database: Database) -> None:
    ids = Ids()
    first, second = event(ids()), event(ids())
    assert await write(database, first, second) == [1, 2]
    assert await write(database, second, first, event(ids())) == [2, 1, 3]
    assert await head(database) == 3


_KNOWN = Ids()()


@pytest.mark.parametrize(
    "other",
    [
        event(_KNOWN, payload=b"\xa1\x61\x61\x01"),
        event(_KNOWN, event_type="v1.file.ingested"),
        event(_KNOWN, actor="somebody else"),
    ],
)
async def test_an_event_id_with_other_content_is_a_conflict(database: Database, other: Event) -> None:
    await write(database, event(_KNOWN))
    with pytest.raises(EventConflict) as caught:
        await write(database, other)
    assert (caught.value.event_id, caught.value.sequence) == (_KNOWN, 1)
    assert await head(database) == 1


async def test_a_rollback_burns_no_number(database: Database) -> None:
    class Regret(Exception):
        pass

    ids = Ids()

    async def write_and_regret(transaction: Transaction) -> None:
        await events.write(transaction, event(ids()))
        await events.write(transaction, event(ids()))
        raise Regret

    await write(database, event(ids()))
    with pytest.raises(Regret):
        await database.write(write_and_regret)
    assert await write(database, event(ids())) == [2]
    assert [stored.sequence for stored in await whole_log(database)] == [1, 2]


async def test_a_transaction_that_writes_nothing_leaves_the_head(database: Database) -> None:
    async def look(transaction: Transaction) -> int:
        return transaction.sequence

    await write(database, event(Ids()()))
    assert await database.write(look) == 1
    assert await head(database) == 1


async def test_the_database_holds_the_head_to_one_row(database: Database) -> None:
    async def second_head(transaction: Transaction) -> None:
        await transaction.connection.execute(insert(log_head).values(id=2, sequence=0))

    with pytest.raises(Refused):
        await database.write(second_head)


async def test_a_batch_that_fails_as_a_whole_leaves_nothing(database: Database, scribe: Scribe) -> None:
    ids = Ids()
    clash = [scribe.ask(created(1, ids=ids)), scribe.ask(created(2, name="weekly", ids=Ids()))]

    async def batch(transaction: Transaction) -> Sequence[CommandOutcome]:
        return await commit_batch(transaction, clash, now_us=lambda: EPOCH_US, files_per_package_max=1)

    with pytest.raises(Refused, match=r"the database refused a value \(.*\); change that value"):
        await database.write(batch)
    assert await whole_log(database) == ()
    assert await head(database) == 0


async def test_a_fault_is_not_taken_for_a_refusal(
    database: Database, scribe: Scribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one, too, a database that fails fails them all: nobody may be told that the others were written."""
    ids = Ids()
    requests = [scribe.ask(created(i, ids=ids)) for i in (1, 2)]
    write_event = events.write

    async def fail_at_the_second(transaction: Transaction, entry: Event) -> int:
        if transaction.sequence == 1:
            raise OSError(5, "Input/output error")
        return await write_event(transaction, entry)

    async def one_by_one(transaction: Transaction) -> Sequence[CommandOutcome]:
        return await commit_each(transaction, requests, now_us=lambda: EPOCH_US, files_per_package_max=1)

    with monkeypatch.context() as patch:
        patch.setattr(events, "write", fail_at_the_second)
        with pytest.raises(DatabaseUnavailable, match="Input/output error"):
            await database.write(one_by_one)
    assert await head(database) == 0
    assert len(await database.write(one_by_one)) == 2


async def test_room_is_told_where_the_database_is_a_file(store: SqlEventStore, location: DatabaseLocation) -> None:
    found = await store.probe()
    assert (found.free_bytes is None) == (location.path is None)  # a server does not tell
