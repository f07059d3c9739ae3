"""Rollbacks burn no number, and no reader sees n+1 before n: not even while a commit hangs, or is refused."""

import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Self

import pytest
import trio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from artifactstore.database import events
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.asyncio_thread import AsyncioThread
from artifactstore.database.database import Database
from artifactstore.database.errors import Refused
from artifactstore.database.events import Transaction
from artifactstore.database.location import DatabaseLocation
from command_strategies import Ids
from database_tools import event, opened, surgery

WRITERS = 6
GUARD_S = 120
DOOMED = "doomed"
"""The actor whose events the database refuses as they are committed, after every statement went well."""

DOOM = {
    "sqlite": """
        CREATE TABLE fate (event_id TEXT REFERENCES log_head (id) DEFERRABLE INITIALLY DEFERRED);;
        CREATE TRIGGER doom AFTER INSERT ON events WHEN NEW.principal = 'doomed'
        BEGIN INSERT INTO fate VALUES (NEW.event_id); END
    """,
    "postgresql": """
        CREATE FUNCTION doom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.principal = 'doomed' THEN RAISE EXCEPTION 'doomed' USING ERRCODE = 'check_violation'; END IF;
            RETURN NULL;
        END $$;;
        CREATE CONSTRAINT TRIGGER doom AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION doom()
    """,
}

TURNSTILE = 7
"""The advisory lock that every commit passes, one after the other, once the test lets it."""

HANG = f"""
    CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_advisory_xact_lock({TURNSTILE});
        RETURN NULL;
    END $$;;
    CREATE CONSTRAINT TRIGGER before_doom AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION hang()
"""
"""Triggers of one table fire in the order of their names."""

COMMITS_THAT_HANG = (
    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COMMIT%' AND wait_event = 'advisory' AND state = 'active'"
)


class GivenUp(Exception):
    pass


async def look(connection: AsyncConnection) -> tuple[list[int], int]:
    log = await events.read(connection, after=0, limit=10_000, bytes_max=1 << 30)
    return [stored.sequence for stored in log], await events.head(connection)


async def write(database: Database, *event_ids: str, principal: str = "ci") -> list[int]:
    """Append events in one transaction."""

    async def work(transaction: Transaction) -> list[int]:
        written = await events.write_all(transaction, [event(event_id, principal=principal) for event_id in event_ids])
        return [stored.sequence for stored in written]

    return await database.write(work)


async def prepare(location: DatabaseLocation, *scripts: str) -> None:
    """Set the schema up, and what the test adds to it."""
    async with opened(location):
        pass
    await surgery(location, *(text(statement) for script in scripts for statement in script.split(";;")))


@pytest.mark.parametrize("seed", [1, 2])
async def test_rollbacks_burn_no_number(location: DatabaseLocation, seed: int) -> None:
    """Several writers, most of whose transactions fail, each in another way; readers look all the time."""
    draws = random.Random(seed)  # noqa: S311
    ids = Ids()
    taken: list[int] = []
    await prepare(location, DOOM[location.url.get_backend_name()])

    async def raise_in_it(database: Database) -> None:
        async def work(transaction: Transaction) -> None:
            await events.write(transaction, event(ids()))
            raise GivenUp

        with pytest.raises(GivenUp):
            await database.write(work)

    async def break_a_rule(database: Database) -> None:
        async def work(transaction: Transaction) -> None:
            await events.write_all(transaction, [event(ids())] * 2)

        with pytest.raises(Refused):
            await database.write(work)

    async def fail_at_commit(database: Database) -> None:
        with pytest.raises(Refused):
            await write(database, ids(), principal=DOOMED)

    async def succeed(database: Database) -> None:
        taken.extend(await write(database, ids()))

    async def go_on(database: Database, tries: Sequence[int]) -> None:
        for choice in tries:
            await (raise_in_it, break_a_rule, fail_at_commit, succeed)[choice](database)

    async def watch(database: Database) -> None:
        heads: list[int] = []
        while True:
            sequences, head = await database.read(look)
            assert sequences == list(range(1, head + 1))
            heads.append(head)
            assert heads == sorted(heads)

    async with AsyncExitStack() as stack, trio.open_nursery() as watchers:
        databases = [await stack.enter_async_context(opened(location)) for _ in range(3)]
        watchers.start_soon(watch, databases[0])
        async with trio.open_nursery() as nursery:
            for database in databases:
                nursery.start_soon(go_on, database, draws.choices(range(4), k=12))
        watchers.cancel_scope.cancel()
        assert sorted(taken) == list(range(1, len(taken) + 1))
        assert await databases[0].read(look) == (sorted(taken), len(taken))


class Turnstile:
    """Holds the lock that commits hang on, and lets them through one by one."""

    def __init__(self, location: DatabaseLocation) -> None:
        self._engine = create_async_engine(location.url, isolation_level="AUTOCOMMIT", pool_size=1)
        self._thread = AsyncioThread("turnstile")

    async def _ask(self, query: str) -> object:
        async def ask() -> object:
            async with self._engine.connect() as connection:  # always the same one, which holds the lock
                return await connection.scalar(text(query))

        return await self._thread.run(ask, abandon_on_cancel=False)

    async def close(self) -> None:
        await self._ask(f"SELECT pg_advisory_lock({TURNSTILE})")

    async def hanging(self) -> None:
        """Wait until a commit hangs."""
        with trio.fail_after(GUARD_S):
            while not await self._ask(COMMITS_THAT_HANG):
                await trio.lowlevel.checkpoint()

    async def let_one_through(self) -> None:
        """The server gives the lock in the order of asking: this comes back after that commit, and before the next."""
        await self._ask(f"SELECT pg_advisory_unlock({TURNSTILE})")
        await self.close()

    async def __aenter__(self) -> Self:
        self._thread.start()
        await self.close()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._thread.stop(self._engine.dispose)


async def test_no_reader_sees_a_number_before_those_below_it(postgres_location: DatabaseLocation) -> None:
    """Every commit hangs in the server until the test lets it continue; every third of them is then refused there."""
    ids = Ids()
    await prepare(postgres_location, DOOM["postgresql"], HANG)
    taken: list[int] = []
    refused: list[int] = []

    async def one(database: Database, number: int) -> None:
        doomed = number % 3 == 0
        try:
            sequences = await write(database, *(ids() for _ in range(number)), principal=DOOMED if doomed else "ci")
        except Refused:
            assert doomed
            refused.append(number)
        else:
            assert sequences == list(range(sequences[0], sequences[0] + number))
            taken.extend(sequences)

    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(opened(postgres_location)) for _ in range(2)]
        writers = [await stack.enter_async_context(opened(postgres_location)) for _ in range(WRITERS)]
        turnstile = await stack.enter_async_context(Turnstile(postgres_location))
        nursery = await stack.enter_async_context(trio.open_nursery())
        for number, database in enumerate(writers, 1):
            nursery.start_soon(one, database, number)
        seen = [0]
        for _ in writers:
            await turnstile.hanging()
            for reader in (*readers, *writers):
                sequences, head = await reader.read(look)
                assert sequences == list(range(1, head + 1))
                assert head == seen[-1], "what hangs is not to be seen, nor anything after it"
            await turnstile.let_one_through()
            seen.append((await readers[0].read(look))[1])
    assert sorted(taken) == list(range(1, len(taken) + 1))
    assert len(refused) == WRITERS // 3
    assert len(seen) == len(set(seen)) + len(refused), (
        "each commit is seen at once, whole, and a refusal changes nothing"
    )
