"""A peer that freezes in the middle of a statement, with the head: no timeout of an idle transaction is for it."""

import logging
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from sqlalchemy import text

import frozen_peer
from artifactstore.database import events, stuck
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.database import Database
from artifactstore.database.errors import DatabaseBusy
from artifactstore.database.location import DatabaseLocation
from command_strategies import Ids
from database_tools import Gate, event, opened, surgery

pytestmark = pytest.mark.slow

_NEVER_S = 3600


@contextmanager
def frozen(location: DatabaseLocation, how: str, *, transaction_s: float) -> Generator[subprocess.Popen[str]]:
    """A peer that has frozen."""
    url = location.url.render_as_string(hide_password=False)
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(Path(frozen_peer.__file__)), url, how, str(transaction_s)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "frozen\n"
            yield process
        finally:
            process.kill()


async def insist(database: Database) -> int:
    """Append, however often the database is said to be busy."""
    ids = Ids()
    while True:
        try:
            return await database.write(lambda transaction: events.write(transaction, event(ids())))
        except DatabaseBusy:
            continue


def wake(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGCONT)
    said, _ = process.communicate()
    return said.strip()


async def test_a_peer_that_froze_while_it_was_sending_is_ended_by_the_server(
    postgres_location: DatabaseLocation,
) -> None:
    """PostgreSQL 17 or later bounds the transaction as a whole."""
    async with opened(postgres_location) as database:
        with frozen(postgres_location, "sending", transaction_s=1) as peer:
            assert await insist(database) == 1
            assert await trio.to_thread.run_sync(wake, peer) == "ConnectionDoesNotExistError"


@pytest.mark.parametrize("how", ["sending", "receiving"])
async def test_a_peer_that_no_timeout_reaches_is_ended_by_who_waits_for_it(
    postgres_location: DatabaseLocation,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As one that sends is before PostgreSQL 17, and one that receives always is."""
    async with opened(postgres_location, lock_timeout_s=0.05) as database:
        with frozen(postgres_location, how, transaction_s=_NEVER_S) as peer:
            for _ in range(2):
                with pytest.raises(DatabaseBusy):
                    await database.write(lambda transaction: events.write(transaction, event(Ids()())))
            assert not caplog.records, "it is not old enough"
            with caplog.at_level(logging.WARNING):
                monkeypatch.setattr(stuck, "STUCK_AFTER_S", 0.1)
                assert await insist(database) == 1
            assert await trio.to_thread.run_sync(wake, peer) == "ConnectionDoesNotExistError"
    assert [record.getMessage() for record in caplog.records] == [
        "ended 1 session(s) that held the head of the log for more than 0.1 s"
    ]


async def test_a_writer_without_a_time_limit_is_left_alone(
    postgres_location: DatabaseLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, limits = Gate(), list[object]()
    limit = text("SELECT setting FROM pg_settings WHERE name = 'transaction_timeout'")
    monkeypatch.setattr(stuck, "STUCK_AFTER_S", 0.0)
    async with opened(postgres_location, lock_timeout_s=0.05) as database, opened(postgres_location) as other:

        async def hold(transaction: events.Transaction) -> None:
            limits.append(await transaction.connection.scalar(limit))
            await gate.stop_here()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(other.write, hold, timeout_s=None))
            await gate.arrival()
            try:
                for _ in range(2):
                    with pytest.raises(DatabaseBusy):
                        await database.write(lambda transaction: events.write(transaction, event(Ids()())))
            finally:
                gate.open()
        assert limits in ([None], ["0"])  # None before PostgreSQL 17
        # The name ends with the transaction, so the next one of the same session is not left alone.
        assert await other.write(lambda transaction: transaction.connection.scalar(text("SHOW application_name"))) == (
            "artifactstore"
        )


async def test_an_old_reader_and_other_roles_are_left_alone(
    postgres_location: DatabaseLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, reading = Gate(), Gate()
    url = postgres_location.url
    monkeypatch.setattr(stuck, "STUCK_AFTER_S", 0.0)
    async with opened(postgres_location, lock_timeout_s=0.05) as database, opened(postgres_location) as reader:
        name = f"{url.database}_other"
        await surgery(postgres_location, text(f"CREATE ROLE {name} SUPERUSER LOGIN"))
        theirs = DatabaseLocation.parse(url.set(username=name).render_as_string())
        async with opened(theirs) as other, trio.open_nursery() as nursery:

            async def hold(_transaction: events.Transaction) -> None:
                await gate.stop_here()

            async def read(connection: AsyncConnection) -> None:
                await events.head(connection)
                await reading.stop_here()

            nursery.start_soon(other.write, hold)
            nursery.start_soon(reader.read, read)
            await gate.arrival()
            await reading.arrival()
            for _ in range(2):
                with pytest.raises(DatabaseBusy):
                    await database.write(lambda transaction: events.write(transaction, event(Ids()())))
            gate.open()
            reading.open()
        await surgery(postgres_location, text(f"DROP ROLE {name}"))
