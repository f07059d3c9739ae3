"""A peer that freezes with the head of the log does not stop the others for good, and finds out when it wakes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from sqlalchemy import text

from artifactstore.database import events
from artifactstore.database.database import Database
from artifactstore.database.errors import DatabaseBusy
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.store import SqlEventStore
from artifactstore_protocols.events import Committed
from command_strategies import created
from database_tools import Scribe, opened, whole_log
from integration.processes.peer import Place

GUARD_S = 120
IMPATIENT_S = 0.05
"""How long the others wait for the head before they say that the database is busy."""


class Peer:
    """A process that waits at its place, frozen or not."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def freeze(self) -> None:
        """Stop it, and wait until every thread of it stands still."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def wake(self) -> dict[str, Any]:
        """Let it continue to its end, and hear what it says."""
        self._process.send_signal(signal.SIGCONT)
        return self.go_on()

    def go_on(self) -> dict[str, Any]:
        out, _err = self._process.communicate("\n")
        assert self._process.returncode == 0
        said: dict[str, Any] = json.loads(out)
        return said

    def let_through(self) -> None:
        """Let it continue, and do not wait for its end."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def peer_at(place: Place, location: DatabaseLocation, objects: Path, *further: str) -> Generator[Peer]:
    """A peer that has come to its place."""
    url = location.url.render_as_string(hide_password=False)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "integration.processes.peer", url, objects, place, *further],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "here\n"
            yield Peer(process)
        finally:
            process.kill()


async def append(database: Database) -> Committed:
    [outcome] = await Scribe(SqlEventStore(database)).tell(created(int.from_bytes(b"other")))
    return outcome


async def insist(database: Database) -> int:
    """Append, however often the database is said to be busy; every other error is one."""
    with trio.fail_after(GUARD_S):
        while True:
            try:
                return (await append(database)).sequence
            except DatabaseBusy:
                await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("place", [Place.WRITING, Place.COMMITTING])
async def test_the_others_are_told_that_it_is_busy_and_go_on_when_the_frozen_peer_is_killed(
    location: DatabaseLocation, tmp_path: Path, place: Place
) -> None:
    async with opened(location, lock_timeout_s=IMPATIENT_S) as database:
        with peer_at(place, location, tmp_path / "objects") as peer:
            peer.freeze()
            for _ in range(2):
                with pytest.raises(DatabaseBusy, match="another process held its lock for too long"):
                    await append(database)
            assert await database.read(events.head) == 0, "readers do not wait"
            peer.kill()
            assert await insist(database) == 2, "what it had begun is undone"
        assert len(await whole_log(database)) == 2


async def test_a_peer_on_sqlite_keeps_the_lock_while_it_is_frozen_and_commits_when_it_wakes(
    sqlite_location: DatabaseLocation, tmp_path: Path
) -> None:
    """Nobody but itself can end its transaction; so the others are told for as long as it takes."""
    async with opened(sqlite_location, lock_timeout_s=IMPATIENT_S) as database:
        with peer_at(Place.COMMITTING, sqlite_location, tmp_path / "objects") as peer:
            peer.freeze()
            for _ in range(3):
                with pytest.raises(DatabaseBusy):
                    await append(database)
            assert "package_id" in await trio.to_thread.run_sync(peer.wake)
        assert await insist(database) == 3


@pytest.mark.parametrize("place", [Place.WRITING, Place.COMMITTING])
async def test_postgresql_ends_a_frozen_peers_transaction_and_the_peer_finds_out(
    postgres_location: DatabaseLocation, tmp_path: Path, place: Place
) -> None:
    async with opened(postgres_location, lock_timeout_s=IMPATIENT_S) as database:
        with peer_at(place, postgres_location, tmp_path / "objects", "1") as peer:
            peer.freeze()
            assert await insist(database) == 2
            said = await trio.to_thread.run_sync(peer.wake)
        log = await whole_log(database)
        if place is Place.WRITING:
            assert said["error"] == "DatabaseUnavailable"
            assert len(log) == 2
        else:  # its writer does not know what became of the commit, finds out that it is not there, and does it now
            assert [stored.event.subject for stored in log[2:]] == [said["package_id"]]
        assert (await SqlEventStore(database).replay(rebuild=False)).identical


async def test_postgresql_takes_the_head_back_from_a_peer_that_got_it_while_it_was_frozen(
    postgres_location: DatabaseLocation, tmp_path: Path
) -> None:
    """It had asked for the head before it froze, so the server gives it the head and nobody is there to use it."""
    async with opened(postgres_location, lock_timeout_s=IMPATIENT_S) as database, opened(postgres_location) as holder:
        with peer_at(Place.ASKING, postgres_location, tmp_path / "objects", "1") as peer:

            async def freeze_in_the_queue(transaction: events.Transaction) -> None:
                peer.let_through()
                while not await transaction.connection.scalar(_WAITING):
                    continue
                peer.freeze()

            await holder.write(freeze_in_the_queue)
            assert await insist(database) == 2
            said = await trio.to_thread.run_sync(peer.wake)
        assert said["error"] == "DatabaseUnavailable"
        assert len(await whole_log(database)) == 2


_WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
