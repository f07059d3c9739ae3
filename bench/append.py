"""What many producers get through the whole way, beside the same rows written by bare sqlite3 in one thread.

Run: `python bench/append.py [COMMANDS]`. Each producer opens packages one after the other: an ask to IngestActor, one
to EventWriter, a share of a transaction, an answer. The bare writer commits as many rows of about that size, one and
sixteen commands a transaction, with the same durability. All are measured in turns in one process; the best counts.
"""

import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import trio

from artifactstore import Settings, open_registry

COMMANDS = 2_048
REPEATS = 3
PRODUCERS = (1, 16, 64)


async def through_the_store(directory: Path, producers: int, commands: int) -> float:
    """Seconds that a store takes for that many commands from that many producers."""
    settings = Settings(database_url=f"sqlite:///{directory / 'log.db'}", storage_local_root=directory / "objects")
    async with open_registry(settings) as registry:

        async def produce(number: int) -> None:
            for turn in range(commands // producers):
                await registry.create_package(f"{number}-{turn}")

        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for number in range(producers):
                nursery.start_soon(produce, number)
        return time.perf_counter() - began


def bare(directory: Path, per_transaction: int, commands: int) -> float:
    """Seconds that sqlite3 takes for three rows a command, that many commands a transaction."""
    with closing(sqlite3.connect(directory / "bare.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        for table in ("events", "packages", "retention"):
            connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, payload BLOB)")
        began = time.perf_counter()
        for _ in range(commands // per_transaction):
            connection.execute("BEGIN IMMEDIATE")
            for table in ("events", "packages", "retention"):
                rows = [(os.urandom(256),) for _ in range(per_transaction)]
                connection.executemany(f"INSERT INTO {table} (payload) VALUES (?)", rows)  # noqa: S608 - fixed names
            connection.execute("COMMIT")
        return time.perf_counter() - began


def main() -> int:
    """Print the table."""
    commands = int(sys.argv[1]) if len(sys.argv) > 1 else COMMANDS
    ways: dict[str, Callable[[Path], float]] = {
        f"sqlite3, {size} a transaction": partial(bare, per_transaction=size, commands=commands) for size in (1, 16)
    }
    for producers in PRODUCERS:

        def store(directory: Path, producers: int = producers) -> float:
            return trio.run(through_the_store, directory, producers, commands)

        ways[f"store, {producers} producers"] = store
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(REPEATS):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as directory:
                best[name] = min(best[name], way(Path(directory)))
    yardstick = best["sqlite3, 16 a transaction"]
    for name, seconds in best.items():
        print(
            f"{name:26} {commands / seconds:9,.0f} commands/s  {seconds / yardstick:7.2f} x sqlite3, 16 a transaction"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
