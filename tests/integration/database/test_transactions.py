"""Transactions on the log itself, on both databases: what events.write promises, and what a batch that fails leaves.

What every event store promises in terms of its interface is in `tests/integration/event_store`.
"""

from collections.abc import Iterable, Sequence

import pytest
from sqlalchemy import insert

from artifactstore.database import events
from artifactstore.database.bulk import Steps, run
from artifactstore.database.commit import commit_batch, commit_each
from artifactstore.database.database import Database
from artifactstore.database.errors import DatabaseUnavailable, Refused
from artifactstore.database.events import Transaction
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.schema import log_head
from artifactstore.database.store import SqlEventStore
from artifactstore_protocols.commands import CommandRequest
from artifactstore_protocols.event_store import CommandOutcome
from artifactstore_protocols.events import Committed, Event, EventConflict, StoredEvent
from artifactstore_protocols.ids import event_id_of
from artifactstore_protocols.package_listing import PackageListing
from artifactstore_protocols.views import RowOperation
from command_strategies import Ids, created, package_id_of
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
        event(_KNOWN, event_type="v1.files.ingested"),
        event(_KNOWN, principal="somebody else"),
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


async def take_event_id(database: Database, request: CommandRequest) -> None:
    """Write an event that nobody's command made, with the id of the first event of a command."""
    assert await write(database, event(event_id_of(request.command_id, 0))) == [1]


@pytest.mark.slow
async def test_a_batch_that_fails_as_a_whole_leaves_nothing(database: Database, scribe: Scribe) -> None:
    requests = [scribe.ask(created(i)) for i in (1, 2)]
    await take_event_id(database, requests[1])

    async def batch(transaction: Transaction) -> Sequence[CommandOutcome]:
        steps = commit_batch(transaction, requests, now_us=lambda: EPOCH_US, new_id=Ids(), files_per_package_max=1)
        return await run(transaction.connection, steps)

    with pytest.raises(Refused, match=r"the database refused a value \(.*\); change that value"):
        await database.write(batch)
    assert [stored.sequence for stored in await whole_log(database)] == [1]
    assert await head(database) == 1


@pytest.mark.slow
async def test_a_command_that_the_database_refuses_fails_alone(
    database: Database, store: SqlEventStore, scribe: Scribe
) -> None:
    """The others of its batch are committed one by one, and a repeat among them is still found."""
    first, clash, last = (scribe.ask(created(i), key=f"key {i}") for i in (1, 2, 3))
    await take_event_id(database, clash)
    outcomes = await scribe.send(first, clash, last, first)
    assert isinstance(outcomes[1], Refused)
    committed = [outcome for outcome in outcomes if isinstance(outcome, Committed)]
    assert [(outcome.sequence, outcome.repeated) for outcome in committed] == [(2, False), (3, False), (2, True)]
    assert committed[2].events == committed[0].events
    assert [stored.sequence for stored in await whole_log(database)] == [1, 2, 3]
    assert [package.package_id for package in await store.packages(PackageListing(ascending=True))] == [
        package_id_of(1),
        package_id_of(3),
    ]


async def test_a_fault_is_not_taken_for_a_refusal(
    database: Database, scribe: Scribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one, too, a database that fails fails them all: nobody may be told that the others were written."""
    requests = [scribe.ask(created(i)) for i in (1, 2)]
    append = events.append

    def fail_at_the_second(
        transaction: Transaction, new: Iterable[Event], operations: Iterable[RowOperation] = ()
    ) -> Steps[tuple[StoredEvent, ...]]:
        if transaction.sequence == 2:
            raise OSError(5, "Input/output error")
        return (yield from append(transaction, new, operations))

    async def one_by_one(transaction: Transaction) -> Sequence[CommandOutcome]:
        each = commit_each(transaction, requests, now_us=lambda: EPOCH_US, new_id=Ids(), files_per_package_max=1)
        return await run(transaction.connection, each)

    with monkeypatch.context() as patch:
        patch.setattr(events, "append", fail_at_the_second)
        with pytest.raises(DatabaseUnavailable, match="Input/output error"):
            await database.write(one_by_one)
    assert await head(database) == 0
    assert len(await database.write(one_by_one)) == 2


async def test_room_is_told_where_the_database_is_a_file(store: SqlEventStore, location: DatabaseLocation) -> None:
    found = await store.probe()
    assert (found.free_bytes is None) == (location.path is None)  # a server does not tell
