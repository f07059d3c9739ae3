"""Connections of callers that are cancelled while they take one or give it back: none stays open, none is lost."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from artifactstore.database.engines import connected, open_file, reader_engine
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


async def _cancel(task: asyncio.Task[object], times: int) -> None:
    for _ in range(times):
        task.cancel()
        for _turn in range(5):
            await asyncio.sleep(0)
