"""What a database does to a writer: gone, replaced, locked, slow, cut off; and what the writer may then say."""

import asyncio
import sqlite3
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from hashlib import shake_256
from pathlib import Path

import pytest
import trio
import trio.testing
from msgspec.structs import force_setattr
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection
from sqlalchemy.exc import DBAPIError

from artifactstore.database import events
from artifactstore.database.asyncio_core import AsyncConnection, AsyncTransaction
from artifactstore.database.asyncio_thread import DatabaseClosed
from artifactstore.database.database import Database
from artifactstore.database.errors import (
    DatabaseBusy,
    DatabaseReplaced,
    DatabaseUnavailable,
    OutcomeUnknown,
    Refused,
)
from artifactstore.database.events import Transaction
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.store import SqlEventStore
from artifactstore_protocols.events import Committed
from command_strategies import Ids, created, ingest, ingested
from database_tools import Gate, Scribe, by_hand, event, opened

pytestmark = pytest.mark.slow

_WORD = "geheim"


async def append(database: Database, ids: Ids) -> int:
    return await database.write(lambda transaction: events.write(transaction, event(ids())))


def disturb(path: Path, how: str) -> None:
    match how:
        case "deleted":
            path.unlink()
        case "replaced":
            other = path.with_name("other.db")
            sqlite3.connect(other).close()
            other.touch()
            other.replace(path)
        case _:
            path.parent.rename(path.parent.with_name("elsewhere"))
            path.parent.touch()


class TestTheFile:
    """Only SQLite has one that can be taken away."""

    @pytest.mark.parametrize("how", ["deleted", "replaced", "moved with its directory"])
    async def test_nothing_is_acknowledged_that_goes_into_a_file_that_is_gone(
        self, sqlite_location: DatabaseLocation, how: str
    ) -> None:
        path = sqlite_location.path
        assert path is not None
        ids = Ids()
        async with opened(sqlite_location) as database:
            await append(database, ids)

            async def disturbed(transaction: Transaction) -> None:
                await events.write(transaction, event(ids()))
                disturb(path, how)

            with pytest.raises(DatabaseReplaced, match=r"nothing more is written"):
                await database.write(disturbed)
            after = path.stat().st_size if path.is_file() else None
            for attempt in (append(database, ids), database.read(events.head), SqlEventStore(database).probe()):
                with pytest.raises(DatabaseReplaced):
                    await attempt
            assert (path.stat().st_size if path.is_file() else None) == after, "it was written to"

    async def test_a_file_that_goes_while_the_commit_runs_leaves_the_outcome_unknown(
        self, sqlite_location: DatabaseLocation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = sqlite_location.path
        assert path is not None
        commit = AsyncTransaction.commit

        async def commit_and_lose(self: AsyncTransaction) -> None:
            await commit(self)
            path.unlink()

        async with opened(sqlite_location) as database:
            monkeypatch.setattr(AsyncTransaction, "commit", commit_and_lose)
            with pytest.raises(OutcomeUnknown, match="deleted"):
                await append(database, Ids())

    async def test_a_place_that_cannot_be_looked_at_is_not_available(self, sqlite_location: DatabaseLocation) -> None:
        path = sqlite_location.path
        assert path is not None
        async with opened(sqlite_location) as database:
            path.unlink()
            path.symlink_to(path)
            with pytest.raises(DatabaseUnavailable, match="Too many levels"):
                database.check_file()


class TestLocks:
    async def test_a_held_head_makes_a_writer_give_up_and_go_on_later(self, location: DatabaseLocation) -> None:
        ids = Ids()
        gate = Gate()

        async def hold(_transaction: Transaction) -> None:
            await gate.stop_here()

        async with opened(location) as holder, opened(location, lock_timeout_s=0.05) as database:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(holder.write, hold)
                await gate.arrival()
                for _ in range(2):
                    with pytest.raises(DatabaseBusy, match="another process held its lock"):
                        await append(database, ids)
                assert await database.read(events.head) == 0
                gate.open()
            assert await append(database, ids) == 1

    async def test_a_writer_in_a_hurry_does_not_wait_for_the_head(self, location: DatabaseLocation) -> None:
        """A program that is to end; the one that waits already, and the next."""
        gate = Gate()

        async def hold(_transaction: Transaction) -> None:
            await gate.stop_here()

        async with opened(location) as holder, opened(location, lock_timeout_s=3600) as database:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(holder.write, hold)
                await gate.arrival()

                async def refused() -> None:
                    with pytest.raises(DatabaseBusy, match="another process holds its lock, and this one is to end"):
                        await append(database, Ids())

                async with trio.open_nursery() as waiting:
                    waiting.start_soon(refused)
                    await trio.testing.wait_all_tasks_blocked()
                    database.hurry()
                await refused()
                gate.open()
            assert await append(database, Ids()) == 1

    async def test_an_opening_that_waits_for_the_lock_can_be_cancelled(self, tmp_path: Path) -> None:
        path = tmp_path / "new.db"
        with sqlite3.connect(path, isolation_level=None) as held:
            held.execute("PRAGMA journal_mode = WAL")
            held.execute("BEGIN IMMEDIATE")
            database = Database(DatabaseLocation.parse(f"sqlite:///{path}"), lock_timeout_s=3600)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(database.open)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel(reason="a signal")
        held.close()

    async def test_a_process_that_dies_with_the_head_gives_it_back(self, location: DatabaseLocation) -> None:
        """Its transaction is undone, and the next writer takes the number that it had taken."""
        ids = Ids()

        class Crash(BaseException):
            pass

        async def crash(transaction: Transaction) -> None:
            await events.write(transaction, event(ids()))
            raise Crash

        async with opened(location) as database:
            with pytest.raises(Crash):
                await database.write(crash)
            assert await append(database, ids) == 1

    async def test_connections_that_are_all_in_use_are_waited_for_only_so_long(
        self, location: DatabaseLocation
    ) -> None:
        gate = Gate()

        async def hold(_transaction: Transaction) -> None:
            await gate.stop_here()

        async with opened(location, lock_timeout_s=0.05) as database, trio.open_nursery() as nursery:
            nursery.start_soon(database.write, hold)
            await gate.arrival()
            with pytest.raises(DatabaseBusy, match="connections were in use"):
                await append(database, Ids())
            gate.open()


_DRIVERS = (AsyncAdapt_aiosqlite_connection, AsyncAdapt_asyncpg_connection)


class TestCommit:
    """The one statement after which nobody may say that nothing was written."""

    @pytest.mark.parametrize("landed", [True, False])
    async def test_a_commit_that_fails_leaves_the_outcome_unknown_and_a_repeat_finds_out(
        self, store: SqlEventStore, scribe: Scribe, monkeypatch: pytest.MonkeyPatch, landed: bool
    ) -> None:
        request = scribe.ask(created(), key="nightly")
        with monkeypatch.context() as patch:
            for driver in _DRIVERS:
                patch.setattr(driver, "commit", _broken_commit(driver, landed=landed))
            with pytest.raises(OutcomeUnknown, match=r"the line went dead.*same idempotency key"):
                await scribe.send(request)
        [outcome] = await scribe.send(request)
        assert isinstance(outcome, Committed)
        assert outcome.sequence == 2
        assert outcome.repeated is landed
        assert [stored.sequence for stored in await store.read_events(after=0, limit=9)] == [1, 2]

    async def test_a_deadline_that_passes_at_the_commit_leaves_the_outcome_unknown(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit = AsyncTransaction.commit

        async def commit_and_hang(self: AsyncTransaction) -> None:
            await commit(self)
            await asyncio.Event().wait()

        ids = Ids()
        with monkeypatch.context() as patch:
            patch.setattr(AsyncTransaction, "commit", commit_and_hang)
            with pytest.raises(OutcomeUnknown, match="did not answer in time"):
                await database.write(lambda transaction: events.write(transaction, event(ids())), timeout_s=0.2)
        assert await append(database, ids) == 2

    @pytest.mark.parametrize(
        ("code", "known"),
        [
            (sqlite3.SQLITE_FULL, True),
            (sqlite3.SQLITE_IOERR_WRITE, True),
            (sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, True),
            (sqlite3.SQLITE_IOERR_FSYNC, False),
            (sqlite3.SQLITE_IOERR, False),
        ],
    )
    async def test_sqlite_tells_a_commit_that_was_not_written_from_one_that_was_not_synced(
        self, sqlite_location: DatabaseLocation, monkeypatch: pytest.MonkeyPatch, code: int, known: bool
    ) -> None:
        """What could not be written is no commit; what could not be synced may turn up again after a crash."""

        def fail(_self: AsyncAdapt_aiosqlite_connection) -> None:
            error = (sqlite3.IntegrityError if code & 0xFF == sqlite3.SQLITE_CONSTRAINT else sqlite3.OperationalError)(
                ""
            )
            error.sqlite_errorcode = code
            raise error

        ids = Ids()
        async with opened(sqlite_location) as database:
            with monkeypatch.context() as patch:
                patch.setattr(AsyncAdapt_aiosqlite_connection, "commit", fail)
                with pytest.raises((DatabaseUnavailable, Refused) if known else OutcomeUnknown):
                    await append(database, ids)
            assert await append(database, ids) == 1


def _broken_commit(
    driver: type[AsyncAdapt_aiosqlite_connection] | type[AsyncAdapt_asyncpg_connection], *, landed: bool
) -> Callable[[AsyncAdapt_aiosqlite_connection | AsyncAdapt_asyncpg_connection], None]:
    commit = driver.commit

    def broken(self: AsyncAdapt_aiosqlite_connection | AsyncAdapt_asyncpg_connection) -> None:
        if landed:
            commit(self)  # type: ignore[arg-type]
        raise ConnectionResetError("the line went dead")

    return broken


class TestDeadlines:
    async def test_work_that_takes_too_long_is_undone(self, database: Database) -> None:
        ids = Ids()

        async def endless(transaction: Transaction) -> None:
            await events.write(transaction, event(ids()))
            await asyncio.Event().wait()

        with pytest.raises(DatabaseUnavailable, match="did not answer in time"):
            await database.write(endless, timeout_s=0.05)
        assert await append(database, ids) == 1

    async def test_a_read_that_takes_too_long_gives_its_connection_back(self, database: Database) -> None:
        async def endless(connection: AsyncConnection) -> None:
            await events.head(connection)
            await asyncio.Event().wait()

        for _ in range(6):  # more often than there are connections
            with pytest.raises(DatabaseUnavailable, match="did not answer in time"):
                await database.read(endless, timeout_s=0.05)
        assert await database.read(events.head) == 0

    async def test_a_statement_is_cut_short_in_the_middle(self, database: Database) -> None:
        """The driver's own call is cancelled. A caller that keeps the error must not keep the locks with it."""
        ids = Ids()
        kept: list[BaseException] = []

        async def count(connection: AsyncConnection) -> None:
            await connection.execute(_LONG_COUNT)

        async def write_and_count(transaction: Transaction) -> None:
            await events.write(transaction, event(ids()))
            await count(transaction.connection)

        for _ in range(2):
            for attempt in (database.read(count, timeout_s=0.02), database.write(write_and_count, timeout_s=0.02)):
                with pytest.raises(DatabaseUnavailable, match="did not answer in time") as caught:
                    await attempt
                kept.append(caught.value)
        assert await append(database, ids) == 1
        assert kept

    async def test_a_read_that_is_cut_short_keeps_no_snapshot(self, sqlite_location: DatabaseLocation) -> None:
        """Else the write-ahead log could not be folded back into the file until a garbage collection."""

        async def count(connection: AsyncConnection) -> None:
            await events.head(connection)
            await connection.execute(_LONG_COUNT)

        async def checkpoint(connection: AsyncConnection) -> int:
            await connection.execute(text("ROLLBACK"))
            busy: int = (await connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))).scalar_one()
            return busy

        async with opened(sqlite_location) as database:
            with pytest.raises(DatabaseUnavailable) as caught:
                await database.read(count, timeout_s=0.02)
            await append(database, Ids())
            assert await by_hand(sqlite_location, checkpoint) == 0
        assert caught.value.database == sqlite_location.name


_LONG_COUNT = text(
    "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000000) "
    "SELECT count(*), (SELECT count(*) FROM events) FROM numbers"
)


class TestPostgresServer:
    async def test_a_value_that_is_too_long_for_an_index_is_refused_alone(
        self, postgres_location: DatabaseLocation
    ) -> None:
        """No path that may be stored is; but whatever exceeds a limit of the server is a refusal, and no outage."""
        file, path = ingested("a"), b64encode(shake_256(b"noise").digest(3000)).decode()
        strange = ingest(file)
        force_setattr(strange, "entries", (file.entry._replace(path=path),))
        async with opened(postgres_location) as database:
            scribe = Scribe(SqlEventStore(database))
            first, refused, last = await scribe.send(
                scribe.ask(created()), scribe.ask(strange), scribe.ask(ingest(ingested("b")))
            )
        assert isinstance(refused, Refused)
        assert "index row size" in refused.reason
        assert isinstance(first, Committed)
        assert isinstance(last, Committed)
        assert (first.sequence, last.sequence) == (2, 4)

    async def test_a_session_that_the_server_ends_is_replaced(self, postgres_location: DatabaseLocation) -> None:
        ids = Ids()
        async with opened(postgres_location) as database, opened(postgres_location) as other:
            await append(database, ids)
            await other.read(_end_other_sessions)
            assert await append(database, ids) == 2
            assert await database.read(events.head) == 2

    async def test_a_session_that_ends_under_a_writer_writes_nothing(self, postgres_location: DatabaseLocation) -> None:
        ids = Ids()
        gate = Gate()

        async def interrupted(transaction: Transaction) -> None:
            await events.write(transaction, event(ids()))
            await gate.stop_here()
            await events.write(transaction, event(ids()))

        async with opened(postgres_location) as database, opened(postgres_location) as other:
            async with trio.open_nursery() as nursery:

                async def write() -> None:
                    with pytest.raises(DatabaseUnavailable, match="connection"):
                        await database.write(interrupted)

                nursery.start_soon(write)
                await gate.arrival()
                await other.read(_end_other_sessions)
                gate.open()
            assert await append(database, ids) == 1

    async def test_a_session_that_ends_before_the_commit_leaves_the_outcome_unknown(
        self, postgres_location: DatabaseLocation
    ) -> None:
        ids = Ids()
        gate = Gate()

        async def last_statement(transaction: Transaction) -> None:
            await transaction.connection.execute(text("SELECT 1"))
            await gate.stop_here()

        async with opened(postgres_location) as database, opened(postgres_location) as other:
            async with trio.open_nursery() as nursery:

                async def write() -> None:
                    with pytest.raises(OutcomeUnknown):
                        await database.write(last_statement)

                nursery.start_soon(write)
                await gate.arrival()
                await other.read(_end_other_sessions)
                gate.open()
            assert await append(database, ids) == 1

    async def test_a_commit_that_is_answered_with_a_rollback_is_none(self, postgres_location: DatabaseLocation) -> None:
        """As it is after a statement that failed and whose error nobody passed on: the driver says nothing of it."""
        ids = Ids()

        async def swallow(transaction: Transaction) -> None:
            with suppress(DBAPIError):
                await transaction.connection.execute(text("SELECT 1 / 0"))

        async with opened(postgres_location) as database:
            with pytest.raises(DatabaseUnavailable, match="answered COMMIT with ROLLBACK"):
                await database.write(swallow)
            assert await append(database, ids) == 1

    async def test_a_server_that_is_not_there_is_not_available(self, tmp_path: Path) -> None:
        location = DatabaseLocation.parse(f"postgresql://postgres:{_WORD}@/store?host={tmp_path}")
        with pytest.raises(DatabaseUnavailable) as caught:
            await Database(location).open()
        assert _WORD not in f"{caught.value!r} {caught.value} {location!r}"

    async def test_a_database_or_user_that_is_not_there_is_not_available(
        self, postgres_location: DatabaseLocation
    ) -> None:
        url = postgres_location.url
        for other, reason in (
            (url.set(database="nowhere"), 'database "nowhere" does not exist'),
            (url.set(username="nobody", password=_WORD), 'role "nobody" does not exist'),
        ):
            location = DatabaseLocation.parse(other.render_as_string(hide_password=False))
            with pytest.raises(DatabaseUnavailable, match=reason) as caught:
                await Database(location).open()
            assert _WORD not in f"{caught.value!r} {caught.value} {location!r} {caught.value.__cause__}"

    async def test_sessions_are_set_up_as_the_log_needs_them(self, postgres_location: DatabaseLocation) -> None:
        async def of_writer(transaction: Transaction) -> list[str]:
            return await _settings(transaction.connection)

        async with opened(postgres_location, lock_timeout_s=1.5) as database:
            assert await database.write(of_writer) == ["read committed", "on", "1500ms", "5min", "30s"]
            assert await database.read(_settings) == ["repeatable read", "on", "1500ms", "5min", "30s"]


async def _settings(connection: AsyncConnection) -> list[str]:
    return [
        str(await connection.scalar(text(f"SHOW {name}")))
        for name in (
            "transaction_isolation",
            "synchronous_commit",
            "lock_timeout",
            "statement_timeout",
            "idle_in_transaction_session_timeout",
        )
    ]


async def _end_other_sessions(connection: AsyncConnection) -> None:
    """Ends them, and waits until they are gone."""
    await connection.execute(
        text(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    )


class TestSqliteSessions:
    async def test_connections_are_set_up_as_the_log_needs_them(self, sqlite_location: DatabaseLocation) -> None:
        async def pragmas(connection: AsyncConnection) -> list[object]:
            return [
                (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            ]

        async with opened(sqlite_location) as database:
            for _ in range(2):
                assert await database.read(pragmas) == ["wal", 2, 1]
            assert await database.write(lambda transaction: pragmas(transaction.connection)) == ["wal", 2, 1]


class TestClosing:
    async def test_nothing_runs_on_a_closed_database(self, location: DatabaseLocation) -> None:
        database = Database(location)
        for _ in range(2):
            with pytest.raises(DatabaseClosed):
                await append(database, Ids())
            with pytest.raises(DatabaseClosed):
                await database.read(events.head)
            await database.close()
            await database.open()
            await database.close()
            await database.close()

    async def test_closing_waits_for_a_write_and_cuts_a_read_short(self, location: DatabaseLocation) -> None:
        ids = Ids()
        at_write, at_read = Gate(), Gate()

        async def slow_write(transaction: Transaction) -> int:
            await at_write.stop_here()
            return await events.write(transaction, event(ids()))

        async def endless_read(connection: AsyncConnection) -> None:
            await events.head(connection)
            at_read.open()
            await at_read.stop_here()
            await asyncio.Event().wait()

        database = Database(location)
        await database.open()
        done: list[int] = []
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                done.append(await database.write(slow_write))

            async def read() -> None:
                with pytest.raises(DatabaseClosed):
                    await database.read(endless_read)
                at_write.open()

            nursery.start_soon(write)
            nursery.start_soon(read)
            await at_write.arrival()
            await at_read.arrival()
            nursery.start_soon(database.close)
        assert done == [1]
        async with opened(location) as again:
            assert await again.read(events.head) == 1
