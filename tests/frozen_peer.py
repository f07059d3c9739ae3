"""A process that takes the head of a log on PostgreSQL and freezes in the middle of a statement.

Usage: python frozen_peer.py URL sending|receiving TRANSACTION_S    (it prints `frozen` and stops itself; woken up, it
prints the name of the error that it meets)

TRANSACTION_S is how long it lets a whole transaction take, in place of what the store says.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import trio
from sqlalchemy import text

from artifactstore.database import engines
from artifactstore.database.database import Database
from artifactstore.database.events import Transaction
from artifactstore.database.location import DatabaseLocation

_ROWS = 5_000
_WIDE = "x" * 1_000
_STOPPING_S = 0.1
"""How long a thread may continue after the process was told to stop."""


def _freeze() -> None:
    print("frozen", flush=True)  # noqa: T201
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(_STOPPING_S)


def _rows() -> Iterator[tuple[str]]:
    for number in range(_ROWS):
        if number == _ROWS // 2:
            _freeze()
        yield (_WIDE,)


async def _driver_of(transaction: Transaction) -> Any:  # noqa: ANN401 - the driver has no types
    return (await transaction.connection.get_raw_connection()).driver_connection


async def sending(transaction: Transaction) -> None:
    """Half of what it executes has been sent."""
    await transaction.connection.execute(text("CREATE TEMPORARY TABLE wide (cell text)"))
    await (await _driver_of(transaction)).executemany("INSERT INTO wide VALUES ($1)", _rows())


async def receiving(transaction: Transaction) -> None:
    """It has asked for more than lies ready for it at a time."""
    driver = await _driver_of(transaction)
    query = await driver.prepare("SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
    fetching = asyncio.ensure_future(query.fetch())
    for _ in range(3):
        await asyncio.sleep(0)  # it sends its question in its first steps
    _freeze()
    await fetching


async def main(url: str, how: str, transaction_s: str) -> None:
    with patch.object(engines, "STATEMENT_TIMEOUT_S", float(transaction_s)):
        database = Database(DatabaseLocation.parse(url))
        await database.open()
    try:
        await database.write(sending if how == "sending" else receiving)
    except Exception as error:
        print(type(error).__name__, flush=True)  # noqa: T201
    await database.close()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3])
