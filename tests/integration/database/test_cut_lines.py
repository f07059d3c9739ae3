"""Lines that break exactly at a COMMIT, or without a word: the writer finds out what happened, or says it cannot."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from sqlalchemy import text

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.database import Database
from artifactstore.database.errors import DatabaseUnavailable, OutcomeUnknown
from artifactstore.database.events import Transaction
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.store import SqlEventStore
from artifactstore.event_writer import EventWriter
from artifactstore.projection import ProjectionActor
from artifactstore.supervision import ActorRef
from artifactstore.testing import Probe, open_actor
from artifactstore_protocols.commands import CommandRequest
from artifactstore_protocols.messages import Commit, HeadMoved, WriterRole
from command_strategies import Ids, created
from database_tools import by_hand, opened
from postgres_proxy import AtCommit, Proxy, proxied
from postgres_server import PostgresServer


@pytest.fixture
async def proxy(postgres_server: PostgresServer) -> AsyncGenerator[Proxy]:
    """A line to the server."""
    async with proxied(postgres_server.socket_directory) as line:
        yield line


@pytest.fixture
def far_location(proxy: Proxy, postgres_location: DatabaseLocation) -> DatabaseLocation:
    """The database at the end of the line."""
    return DatabaseLocation.parse(f"postgresql://postgres@127.0.0.1:{proxy.port}/{postgres_location.url.database}")


@asynccontextmanager
async def writer_on(database: Database) -> AsyncGenerator[ActorRef[WriterRole]]:
    """The real writer."""
    projection = Probe(ProjectionActor, "projection")
    projection.ignore(HeadMoved)
    store = SqlEventStore(database)
    factory = lambda: EventWriter(store, projection.ref, files_per_package_max=9)  # noqa: E731
    async with open_actor("event-writer", factory, projection) as harness:
        yield harness.ref
        assert not harness.crashes


def create(ids: Ids, package: int = 1) -> Commit:
    return Commit(CommandRequest(ids(), created(package), "ci", None))


async def log_of(location: DatabaseLocation) -> list[tuple[int, str]]:
    """What is in the log, read by a line that does not break."""
    async with opened(location) as database:
        return [
            (each.sequence, each.event.event_id)
            for each in await SqlEventStore(database).read_events(after=0, limit=99)
        ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "repeated"), [(AtCommit.CUT_BEFORE, False), (AtCommit.CUT_AFTER, True)], ids=["before", "after"]
)
async def test_a_line_that_breaks_at_the_commit(
    proxy: Proxy, far_location: DatabaseLocation, postgres_location: DatabaseLocation, order: AtCommit, repeated: bool
) -> None:
    """What was not committed is done again, what was is found; both are answered as done, and are there once."""
    ids = Ids()
    async with opened(far_location) as database, writer_on(database) as writer:
        for package in range(1, 4):
            proxy.at_commit = order
            committed = await writer.ask(create(ids, package))
            assert (committed.sequence, committed.repeated) == (package + 1, repeated)
            assert proxy.at_commit is AtCommit.PASS, "it came by"
    assert [sequence for sequence, _ in await log_of(postgres_location)] == [1, 2, 3, 4]


async def test_a_commit_that_lands_late_is_waited_for(
    proxy: Proxy, far_location: DatabaseLocation, postgres_location: DatabaseLocation
) -> None:
    """A caller that looked the command up before it has the head would find nothing, and write it twice."""
    ids = Ids()
    async with opened(far_location) as database, writer_on(database) as writer:
        proxy.at_commit = AtCommit.DELAY
        async with trio.open_nursery() as nursery:

            async def land_it() -> None:
                await proxy.delayed.wait()
                while not await by_hand(postgres_location, lambda connection: connection.scalar(_WAITING)):
                    pass
                proxy.land()

            nursery.start_soon(land_it)
            committed = await writer.ask(create(ids))
        assert (committed.sequence, committed.repeated) == (2, True)
    assert len(await log_of(postgres_location)) == 2


_WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


@pytest.mark.slow
async def test_an_outcome_that_nobody_can_find_out_yet_is_said_to_be_unknown(
    proxy: Proxy, far_location: DatabaseLocation, postgres_location: DatabaseLocation
) -> None:
    """The head cannot be had, since the commit is still on its way. Asked again later, it is found."""
    ids = Ids()
    async with opened(far_location, lock_timeout_s=0.1) as database, writer_on(database) as writer:
        proxy.at_commit = AtCommit.DELAY
        command = create(ids)
        with pytest.raises(OutcomeUnknown, match="another process held its lock"):
            await writer.ask(command)
        proxy.land()
        while not await log_of(postgres_location):
            pass
        committed = await writer.ask(command)
        assert (committed.sequence, committed.repeated) == (2, True)
    assert len(await log_of(postgres_location)) == 2


async def test_a_session_that_is_terminated_while_it_commits(
    postgres_server: PostgresServer, postgres_location: DatabaseLocation
) -> None:
    """It waits for a standby that is not there: the commit is on disk, and its client is cut off before it knows."""
    ids = Ids()
    async with (
        opened(postgres_location) as database,
        opened(postgres_location) as other,
        writer_on(database) as writer,
        trio.open_nursery() as nursery,
    ):

        async def terminate() -> None:
            while not await other.read(lambda connection: connection.scalar(_END_COMMITS)):
                pass
            # Locking the head is a change, too, so the search for the commit also waits for the standby.
            await trio.to_thread.run_sync(_wait_for_none, postgres_server)

        await writer.ask(create(ids, 1))
        await trio.to_thread.run_sync(_wait_for_a_standby, postgres_server)
        nursery.start_soon(terminate)
        committed = await writer.ask(create(ids, 2))
        assert (committed.sequence, committed.repeated) == (3, True)
    assert [sequence for sequence, _ in await log_of(postgres_location)] == [1, 2, 3]


_END_COMMITS = text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE wait_event = 'SyncRep' AND datname = current_database()"
)


def _wait_for_a_standby(server: PostgresServer) -> None:
    server.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")


def _wait_for_none(server: PostgresServer) -> None:
    server.execute("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")


@pytest.mark.slow
async def test_a_server_that_says_nothing_any_more_is_given_up(proxy: Proxy, far_location: DatabaseLocation) -> None:
    """No connection breaks, no answer comes. What waits is bounded by the store itself, and so is closing."""

    async def read(connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT 1"))
        proxy.fall_silent()
        await connection.execute(text("SELECT 2"))

    async def last_statement(_transaction: Transaction) -> None:
        proxy.fall_silent()

    async with opened(far_location) as database:
        with pytest.raises(DatabaseUnavailable, match="did not answer in time"):
            await database.read(read, timeout_s=0.2)
        await proxy.recover()
        assert (await SqlEventStore(database).probe()).head == 0
        with pytest.raises(OutcomeUnknown, match="did not answer in time"):
            await database.write(last_statement, timeout_s=0.2)
        await proxy.recover()
        assert await database.write(lambda transaction: transaction.connection.scalar(text("SELECT 3"))) == 3
        proxy.fall_silent()


@pytest.mark.slow
async def test_a_server_that_comes_and_goes_leaves_no_connection_behind(
    proxy: Proxy, far_location: DatabaseLocation, postgres_location: DatabaseLocation
) -> None:
    """More often than there are connections. While it is away, each call is told so at once."""
    ids = Ids()
    store_sessions = text("SELECT count(*) FROM pg_stat_activity WHERE client_addr IS NULL AND datname = :database")
    async with opened(far_location) as database, writer_on(database) as writer:
        store = SqlEventStore(database)
        for package in range(1, 7):
            await proxy.close()
            for _ in range(2):
                with pytest.raises(DatabaseUnavailable):
                    await writer.ask(create(Ids(), 99))
                with pytest.raises(DatabaseUnavailable):
                    await store.probe()
            await proxy.recover()
            assert (await writer.ask(create(ids, package))).sequence == package + 1
            assert (await store.probe()).head == package + 1

        async def sessions(connection: AsyncConnection) -> int:
            return (await connection.scalar(store_sessions, {"database": far_location.url.database})) or 0

        assert await by_hand(postgres_location, sessions) == 3, "one that writes, one that reads, and this one"
