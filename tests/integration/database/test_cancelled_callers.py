"""Connections of callers that are cancelled while they take one or give it back: none stays open, none is lost."""

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from artifactstore.database import events
from artifactstore.database.bulk import Cells, Steps
from artifactstore.database.engines import begin_before_lock, connected, open_file, reader_engine, writer_engine
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.sqlite_driver import Connection


@pytest.mark.parametrize("times", [1, 2])
def test_what_is_opened_for_somebody_who_has_left_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    begun, may_open, opened = threading.Event(), threading.Event(), list[sqlite3.Connection]()
    connect = sqlite3.connect

    def slowly(file: Path) -> sqlite3.Connection:
        begun.set()
        may_open.wait()
        opened.append(connect(file, check_same_thread=False))
        return opened[0]

    async def leave() -> None:
        caller = asyncio.create_task(open_file(tmp_path / "file.db"))
        await asyncio.to_thread(begun.wait)
        try:
            await _cancel(caller, times)
        finally:
            may_open.set()
        with pytest.raises(asyncio.CancelledError):
            await caller

    monkeypatch.setattr("sqlite3.connect", slowly)
    asyncio.run(leave())
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")


@pytest.mark.parametrize("times", [1, 2])
def test_a_connection_is_back_in_its_pool_before_its_user_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """The pool may be disposed of then; a connection that came back later would stay open."""
    engine = reader_engine(DatabaseLocation.parse(f"sqlite:///{tmp_path}/file.db"))
    roll_back = Connection.rollback

    async def leave() -> None:
        giving_back, may_end = asyncio.Event(), asyncio.Event()

        async def slowly(connection: Connection) -> None:
            giving_back.set()
            await may_end.wait()
            await roll_back(connection)

        async def use() -> None:
            async with connected(engine) as connection:
                await connection.exec_driver_sql("SELECT 1")

        await use()  # the dialect rolls back as well, on the first connection that it sees
        monkeypatch.setattr(Connection, "rollback", slowly)
        user = asyncio.create_task(use())
        await giving_back.wait()
        await _cancel(user, times)
        assert not user.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await user
        await engine.dispose()

    asyncio.run(leave())


@pytest.mark.parametrize("times", [1, 2])
def test_a_lock_that_comes_after_its_caller_has_left_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """A statement in the driver's thread cannot be cancelled: this one begins the transaction when nobody waits."""
    path = tmp_path / "file.db"
    engine = writer_engine(DatabaseLocation.parse(f"sqlite:///{path}"))
    begun, may_begin = threading.Event(), threading.Event()
    steps = events._lock_steps  # pyright: ignore[reportPrivateUsage]

    def slowly(*, begin: bool) -> Steps[Sequence[Cells]]:
        begun.set()
        may_begin.wait()
        return (yield from steps(begin=begin))

    async def lock() -> None:
        async with connected(engine) as connection:
            await begin_before_lock(connection)
            await events.lock_head(connection)

    async def leave() -> None:
        caller = asyncio.create_task(lock())
        await asyncio.to_thread(begun.wait)
        try:
            await _cancel(caller, times)
        finally:
            may_begin.set()
        with pytest.raises(asyncio.CancelledError):
            await caller
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
        await engine.dispose()

    monkeypatch.setattr(events, "_lock_steps", slowly)
    monkeypatch.setattr(events, "_HEAD_AND_END", "SELECT 0, NULL, NULL, NULL, 0")
    asyncio.run(leave())


async def _cancel(task: asyncio.Task[object], times: int) -> None:
    for _ in range(times):
        task.cancel()
        for _turn in range(5):
            await asyncio.sleep(0)
