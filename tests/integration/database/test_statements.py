"""What a transaction on SQLite costs, as counts: hops to the driver's thread, and statements; none reads a whole table.

A hop costs more than most statements do, so both are held to a number here; `docs/PERFORMANCE.md` explains them.
"""

import sqlite3
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any, override

import aiosqlite
import pytest

from artifactstore.database.location import DatabaseLocation
from artifactstore.database.store import SqlEventStore
from artifactstore_protocols.commands import ENTRIES_MAX, OnExisting, RegisterMetadataSchema
from artifactstore_protocols.events import Committed
from command_strategies import created, finalize, found, ingest, ingested, package_id_of
from database_tools import Scribe, opened

_LOCK_WORK_COMMIT = 3
_BEGIN_PACKAGE_CONTENTS_ROLLBACK = 4
_STATEMENTS_MAX = 17


class Counts:
    """What has been executed.

    Attributes:
        hops: how often the driver's thread was asked for something.
        statements: texts and parameters, one for each call of the driver.
    """

    def __init__(self) -> None:
        self.hops = 0
        self.statements: list[tuple[str, Sequence[Any]]] = []

    def forget(self) -> None:
        """Start again."""
        self.hops = 0
        self.statements.clear()

    def note(self, sql: str, parameters: Sequence[Any]) -> None:
        """Take in one call."""
        self.statements.append((sql, parameters))

    def verbs(self) -> list[str]:
        """What the statements do; a query names the keys that it looks for in front."""
        return ["SELECT" if sql.startswith("WITH wanted") else sql.split(maxsplit=1)[0] for sql, _ in self.statements]


@pytest.fixture
async def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """Counts of all connections that are opened from here on."""
    counted = Counts()

    class Cursor(sqlite3.Cursor):
        @override
        def execute(self, sql: str, parameters: Any = (), /) -> "Cursor":
            counted.note(sql, parameters)
            super().execute(sql, parameters)
            return self

        @override
        def executemany(self, sql: str, parameters: Any, /) -> "Cursor":
            counted.note(sql, next(iter(parameters)))
            super().executemany(sql, parameters)
            return self

    class Connection(sqlite3.Connection):
        @override
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

        @override
        def commit(self) -> None:
            counted.note("COMMIT", ())
            super().commit()

    driver: Any = aiosqlite.Connection
    execute = driver._execute

    async def hop(connection: aiosqlite.Connection, *work: Any, **named: Any) -> Any:  # noqa: ANN401 - the driver's
        counted.hops += 1
        return await execute(connection, *work, **named)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Connection))
    monkeypatch.setattr(aiosqlite.Connection, "_execute", hop)
    return counted


@pytest.fixture
async def store(sqlite_location: DatabaseLocation, counts: Counts) -> AsyncGenerator[SqlEventStore]:
    """A store whose connections are counted."""
    async with opened(sqlite_location) as database:
        yield SqlEventStore(database)


@pytest.fixture
async def scribe(store: SqlEventStore, counts: Counts) -> Scribe:
    """Writes to a store whose statements are compiled, with one package and an idle head."""
    scribe = Scribe(store)
    await scribe.tell(created(1))
    counts.forget()
    return scribe


async def test_a_lone_small_command_takes_three_hops(scribe: Scribe, counts: Counts) -> None:
    await scribe.tell(created(2))
    assert counts.hops == _LOCK_WORK_COMMIT
    assert counts.verbs() == [
        "BEGIN",
        "SELECT",  # the head, and the last event
        "SELECT",  # events of this command
        "SELECT",  # the totals of the store
        "SELECT",  # the package
        "SELECT",  # the required schemas
        "INSERT",  # the event
        "INSERT",  # the package
        "INSERT",  # its retention
        "INSERT",  # the totals
        "UPDATE",  # the head
        "COMMIT",
    ]


async def test_a_batch_of_64_takes_no_more_than_a_lone_command(scribe: Scribe, counts: Counts) -> None:
    await scribe.tell(created(2))
    alone = counts.verbs()
    counts.forget()
    outcomes = await scribe.send(*(scribe.ask(created(number)) for number in range(3, 67)))
    assert all(isinstance(outcome, Committed) for outcome in outcomes)
    assert counts.hops == _LOCK_WORK_COMMIT
    assert counts.verbs() == alone


@pytest.mark.parametrize("first", [True, False])
async def test_a_command_with_256_entries_takes_as_many_hops(scribe: Scribe, counts: Counts, first: bool) -> None:
    """A package that holds something is searched for the entries, and for directories in their place."""
    if not first:
        await scribe.tell(ingest(ingested("a/b", b"content")))
        counts.forget()
    files = (ingested(f"d/{i}", f"content {i}".encode()) for i in range(ENTRIES_MAX))
    [outcome] = await scribe.send(scribe.ask(ingest(*files)), files_per_package_max=1000)
    assert isinstance(outcome, Committed)
    assert counts.hops == _LOCK_WORK_COMMIT
    assert len(counts.statements) <= _STATEMENTS_MAX


async def test_the_contents_of_a_package_come_in_one_hop(store: SqlEventStore, scribe: Scribe, counts: Counts) -> None:
    """However many pages there are."""
    hops = set[int]()
    for batch in range(4):
        files = (ingested(f"d/{batch}/{i}", f"content {i} of {batch}".encode()) for i in range(ENTRIES_MAX))
        await scribe.send(scribe.ask(ingest(*files)), files_per_package_max=2000)
        counts.forget()
        contents = await store.contents(package_id_of(1))
        assert len(contents.entries) == len(contents.receipts) == (batch + 1) * ENTRIES_MAX
        hops.add(counts.hops)
    assert hops == {_BEGIN_PACKAGE_CONTENTS_ROLLBACK}


async def test_what_was_just_encoded_is_not_decoded(scribe: Scribe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to a command has the values that its events were made from, and they are what the log will say."""
    outcomes = [
        *await scribe.tell(created(2, metadata={"a": "b"})),
        *await scribe.tell(ingest(ingested("d/e", b"content"), ingested("f", b""))),
        *await scribe.tell(found((b"content", "damaged"))),
        *await scribe.tell(RegisterMetadataSchema("schema", "{}")),
    ]
    read = [[stored.decode() for stored in outcome.events] for outcome in outcomes]
    assert all(read)
    monkeypatch.setattr("artifactstore_protocols.events.decode_payload", None)
    assert [list(outcome.payloads()) for outcome in outcomes] == read


async def test_no_statement_reads_a_whole_table(
    sqlite_location: DatabaseLocation, scribe: Scribe, counts: Counts
) -> None:
    """Of the log's head, there is one row; `wanted` has the keys that a query looks for."""
    files = [ingested(f"d/{i}", f"content {i}".encode()) for i in range(2)]
    await scribe.send(scribe.ask(created(2), key="a key"))
    await scribe.send(scribe.ask(created(2), key="a key"))
    await scribe.tell(ingest(*files))
    await scribe.tell(ingest(ingested("d/1", b"another"), on_existing=OnExisting.REPLACE))
    await scribe.tell(found((b"content 0", "damaged"), (b"content 1", "intact")))
    await scribe.tell(ingest(ingested("f", b"content 0", generation=2)))
    await scribe.tell(RegisterMetadataSchema("schema", "{}"))
    await scribe.send(scribe.ask(finalize(9)))
    executed = dict(counts.statements)
    assert len(executed) > 15
    plans: dict[str, list[str]] = {}
    with sqlite3.connect(sqlite_location.path or "") as connection:
        for sql, parameters in executed.items():
            if sql not in {"BEGIN IMMEDIATE", "COMMIT"}:
                plans[sql] = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    connection.close()
    scans = {step for steps in plans.values() for step in steps if step.startswith("SCAN")}
    assert scans <= {
        "SCAN log_head",
        "SCAN schema_requirements",  # of at most 100 rows
        "SCAN wanted",
        "SCAN CONSTANT ROW",
        "SCAN 2 CONSTANT ROWS",
        "SCAN 4 CONSTANT ROWS",
    }
    assert "SCAN wanted" in scans
