"""Measurements within one process: what a command takes without the start of Python, and bare code beside it.

Each is a process of its own, so that none leaves memory or caches to the next, and prints a sample as JSON. The rows
that bare sqlite3 writes, and their tables with all indexes, are copied from a store, so that both write the same.
"""

import hashlib
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import blake3
import trio

from artifactstore import Registry, Settings, open_registry

type Rows = dict[str, list[tuple[object, ...]]]

_LOG: Final = {"events", "log_head", "alembic_version"}


@contextmanager
def measured(target: Path) -> Generator[None]:
    """Print what the block takes, with the sync of what it writes to."""
    subprocess.run(["sync", "-f", target], check=True)
    began, cpu_began = time.perf_counter(), time.process_time()
    yield
    subprocess.run(["sync", "-f", target], check=True)
    print(json.dumps({"value": time.perf_counter() - began, "cpu_s": time.process_time() - cpu_began}))


def hashes(file: str) -> None:
    """Both hashes of a file's bytes, one after the other on one core."""
    content = Path(file).read_bytes()
    with measured(Path(file).parent):
        blake3.blake3(content).digest()
        hashlib.sha256(content).digest()


def settings_of(store: Path) -> Settings:
    """Return the settings that `--store` means."""
    return Settings(database_url=f"sqlite:///{store / 'artifactstore.db'}", storage_local_root=store / "objects")


def replay(store: str) -> None:
    """Check all tables against the log."""

    async def check() -> None:
        async with open_registry(settings_of(Path(store))) as registry:
            with measured(Path(store)):
                report = await registry.replay(check=True)
            if not report.identical:
                raise AssertionError("the tables are not what the log implies")

    trio.run(check)


def append(store: str, commands: str, producers: str) -> None:
    """Create that many new packages, from that many tasks at once."""

    async def produce(registry: Registry, number: int) -> None:
        for turn in range(int(commands) // int(producers)):
            await registry.create_package(f"{number}-{turn}")

    async def run() -> None:
        async with open_registry(settings_of(Path(store))) as registry:
            with measured(Path(store)):
                async with trio.open_nursery() as nursery:
                    for number in range(int(producers)):
                        nursery.start_soon(produce, registry, number)

    trio.run(run)


def rows_of(store: Path) -> tuple[list[str], Rows]:
    """Return the statements that create a store's tables and indexes, and all rows by table."""
    with closing(sqlite3.connect(store / "artifactstore.db")) as connection:
        made = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        tables = [name for kind, name, _ in made if kind == "table"]
        rows = {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables}  # noqa: S608
    return [sql for kind, _, sql in made if kind in {"table", "index"}], rows


def insert_of(table: str, row: tuple[object, ...]) -> str:
    """Return the statement that writes a row; the row of the log's head replaces the one before."""
    return f'INSERT OR REPLACE INTO "{table}" VALUES ({", ".join("?" * len(row))})'  # noqa: S608 - names from the schema


def insert_rows(store: str) -> None:
    """All rows but those of the log into a database that need not outlive a crash, as a replay's tables need not."""
    schema, rows = rows_of(Path(store))
    with closing(sqlite3.connect("", isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")
        for statement in schema:
            connection.execute(statement)
        with measured(Path(store)):
            connection.execute("BEGIN")
            for table in rows.keys() - _LOG:
                if rows[table]:
                    connection.executemany(insert_of(table, rows[table][0]), rows[table])
            connection.execute("COMMIT")


def insert_row_sets(store: str, database: str, commands: str) -> None:
    """Write what that many commands wrote, each command in a transaction that is durable before the next begins."""
    schema, rows = rows_of(Path(store))
    count = int(commands)
    sets = {table: of_it[-count:] for table, of_it in rows.items() if len(of_it) >= count}
    sets["log_head"] = rows["log_head"] * count
    statements = {table: insert_of(table, of_it[0]) for table, of_it in sets.items()}
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        for statement in schema:
            connection.execute(statement)
        with measured(Path(database).parent):
            for number in range(count):
                connection.execute("BEGIN IMMEDIATE")
                for table, statement in statements.items():
                    connection.execute(statement, sets[table][number])
                connection.execute("COMMIT")


_MEASUREMENTS: Final[Mapping[str, Callable[..., None]]] = {
    "hashes": hashes,
    "replay": replay,
    "append": append,
    "insert-rows": insert_rows,
    "insert-row-sets": insert_row_sets,
}

if __name__ == "__main__":
    _MEASUREMENTS[sys.argv[1]](*sys.argv[2:])
