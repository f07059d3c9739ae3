"""A process that opens a package and waits at a chosen place on the way, so that it can be frozen there.

Usage: python -m integration.processes.peer DATABASE_URL OBJECTS PLACE [IDLE_TIMEOUT_S]

It says "here" when it is there, continues at a line on stdin, and prints as JSON the sequence that it got or the error.
IDLE_TIMEOUT_S is what it tells PostgreSQL about its own sessions, in place of the time that the store gives them.
"""

import asyncio
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from unittest.mock import patch

import trio

from artifactstore import Settings, open_registry
from artifactstore.database import events
from artifactstore.database.asyncio_core import AsyncConnection, AsyncTransaction
from artifactstore.database.bulk import Statement
from artifactstore.database.errors import DatabaseUnavailable, OutcomeUnknown
from artifactstore.database.schema import ViewTables
from artifactstore.database.views import row_statements
from artifactstore_protocols.views import RowOperation

__all__ = ["Place"]

_IDLE_TIMEOUT = "artifactstore.database.engines._IDLE_TIMEOUT_S"


class Place(StrEnum):
    """Where it waits."""

    ASKING = "asking"
    """Before it asks for the head of the log."""
    WRITING = "writing"
    """With the head, when it has written its event and the rows, and has still to move the head."""
    COMMITTING = "committing"
    """With the head, when all that is left is the COMMIT."""


class _Stop:
    """Waits once."""

    def __init__(self) -> None:
        self._waited = False

    async def here(self) -> None:
        if not self._waited:
            await asyncio.to_thread(self.in_thread)

    def in_thread(self) -> None:
        if not self._waited:
            self._waited = True
            print("here", flush=True)  # noqa: T201
            sys.stdin.readline()


def _wait_at(place: Place, stack: ExitStack) -> None:
    stop = _Stop()
    lock_head, commit = events.lock_head, AsyncTransaction.commit

    async def lock_head_later(connection: AsyncConnection, *, wait_s: float) -> events.Head:
        await stop.here()
        return await lock_head(connection, wait_s=wait_s)

    def rows_and_wait(operations: Iterable[RowOperation], tables: ViewTables, database: str) -> Iterator[Statement]:
        yield from row_statements(operations, tables, database)
        stop.in_thread()  # the database's own, which does nothing else meanwhile

    async def commit_later(transaction: AsyncTransaction) -> None:
        await stop.here()
        await commit(transaction)

    match place:
        case Place.ASKING:
            stack.enter_context(patch.object(events, "lock_head", lock_head_later))
        case Place.WRITING:
            stack.enter_context(patch("artifactstore.database.events.row_statements", rows_and_wait))
        case Place.COMMITTING:
            stack.enter_context(patch.object(AsyncTransaction, "commit", commit_later))


async def _open_a_package(settings: Settings, place: Place) -> dict[str, object]:
    async with open_registry(settings) as registry:
        with ExitStack() as stack:
            _wait_at(place, stack)
            try:
                package = await registry.create_package("the peer's")
            except (DatabaseUnavailable, OutcomeUnknown) as error:
                return {"error": type(error).__name__, "message": str(error)}
        return {"package_id": package.package_id}


def main(url: str, objects: str, place: str, idle_timeout_s: str | None = None) -> None:
    with ExitStack() as stack:
        if idle_timeout_s is not None:
            stack.enter_context(patch(_IDLE_TIMEOUT, int(idle_timeout_s)))
        settings = Settings(database_url=url, storage_local_root=Path(objects))
        print(json.dumps(trio.run(_open_a_package, settings, Place(place))))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
