"""Opening a SQLite file for somebody who does not wait for it."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from artifactstore.database.engines import open_file


def test_what_is_opened_for_somebody_who_has_left_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        caller.cancel()
        await asyncio.sleep(0)
        may_open.set()
        with pytest.raises(asyncio.CancelledError):
            await caller

    monkeypatch.setattr("sqlite3.connect", slowly)
    asyncio.run(leave())
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")
