"""Through a pooler that may give each transaction another session: what works and what does not.

That is transaction mode. In session mode it does not, and the store cannot know: what it does without runs in both.
"""

from collections.abc import Generator
from typing import cast

import pytest
import trio
from sqlalchemy import text

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.errors import DirectConnectionNeeded
from artifactstore.database.events import Transaction
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.store import SqlEventStore
from command_strategies import Ids, created
from database_tools import Scribe, by_hand, opened, whole_log
from pooler import PGBOUNCER, PoolMode, pooled
from postgres_server import PostgresServer

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed; its Debian package is pgbouncer")

EACH = 30
_SESSIONS = text("SELECT pg_backend_pid(), count(*) FROM pg_prepared_statements")


@pytest.fixture
def pooled_location(
    postgres_server: PostgresServer, postgres_location: DatabaseLocation
) -> Generator[DatabaseLocation]:
    """A database, empty, reached through a pooler."""
    assert postgres_location.url.database is not None
    with pooled(postgres_server, postgres_location.url.database) as url:
        yield DatabaseLocation.parse(url)


@pytest.fixture(params=["transaction", "session"])
def any_pooled_location(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, postgres_location: DatabaseLocation
) -> Generator[DatabaseLocation]:
    """The same, in each mode."""
    assert postgres_location.url.database is not None
    with pooled(postgres_server, postgres_location.url.database, cast("PoolMode", request.param)) as url:
        yield DatabaseLocation.parse(url)


@pytest.mark.slow
async def test_writers_and_readers_share_sessions_without_noticing(pooled_location: DatabaseLocation) -> None:
    """Two stores have more connections than there are sessions, so each finds what the other one left in them."""
    ids = Ids()
    async with opened(pooled_location) as database, opened(pooled_location) as other:

        async def write(store: SqlEventStore) -> None:
            scribe = Scribe(store)
            for _ in range(EACH):
                request = scribe.ask(created(next(numbers)), command_id=ids())
                await scribe.send(request)
                await store.package(request.command.package_id)  # type: ignore[union-attr]

        numbers = iter(range(1, 1000))
        async with trio.open_nursery() as nursery:
            for one in (database, other):
                for _ in range(2):
                    nursery.start_soon(write, SqlEventStore(one))
        assert [stored.sequence for stored in await whole_log(database)] == list(range(1, 4 * EACH + 2))
        assert (await SqlEventStore(database).replay(rebuild=False)).identical


@pytest.mark.slow
async def test_every_transaction_has_its_settings_and_leaves_nothing_behind(pooled_location: DatabaseLocation) -> None:
    async def look(connection: AsyncConnection) -> list[object]:
        return [
            await connection.scalar(text(f"SHOW {name}")) for name in ("lock_timeout", "transaction_timeout")
        ] + list((await connection.execute(_SESSIONS)).one())[1:]

    async def look_as_writer(transaction: Transaction) -> list[object]:
        return await look(transaction.connection)

    async with opened(pooled_location, lock_timeout_s=7) as database, opened(pooled_location) as other:
        for _ in range(5):
            assert await database.read(look) == ["7s", "0", 0]
            assert await database.write(look_as_writer) == ["7s", "5min", 0]
            assert await other.read(look) == ["30s", "0", 0]


@pytest.mark.slow
async def test_growth_is_found_without_a_listener(any_pooled_location: DatabaseLocation) -> None:
    """A session that listens would be lent to somebody else."""
    count = text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()")
    async with opened(any_pooled_location) as database, opened(any_pooled_location) as other:
        assert await database.wait_for_growth(0) == 0
        await Scribe(SqlEventStore(other)).tell(created())
        while await database.wait_for_growth(0) < 1:
            pass
        assert await other.read(lambda connection: connection.scalar(count)) == 0


@pytest.mark.slow
async def test_repairing_is_refused_and_comparing_is_not(any_pooled_location: DatabaseLocation) -> None:
    """A rebuild keeps temporary tables from one transaction to the next."""
    async with opened(any_pooled_location) as database:
        store = SqlEventStore(database)
        await Scribe(store).tell(created())
        with pytest.raises(DirectConnectionNeeded, match="leads to the server itself"):
            await store.replay(rebuild=True)
        assert (await store.replay(rebuild=False)).identical


async def test_statements_are_prepared_once_where_the_session_stays(postgres_location: DatabaseLocation) -> None:
    """The other way, for comparison."""

    async def look(connection: AsyncConnection) -> tuple[int, int]:
        pid, prepared = (await connection.execute(_SESSIONS)).one()
        return pid, prepared

    async with opened(postgres_location) as database:
        (first, before), (second, after) = await database.read(look), await database.read(look)
        assert first == second
        assert 0 < before == after
    assert await by_hand(postgres_location, lambda connection: connection.scalar(text("SELECT 1"))) == 1
