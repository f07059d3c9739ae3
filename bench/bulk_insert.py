"""What it costs to put the events of one commit into PostgreSQL, by each way that the driver has.

Each round writes the same number of new events by every way in turn, in a transaction each, and takes the time of the
insert alone; so all of them meet the same table, server and machine. What is printed is the median of each and how many
times faster than `executemany` it is, the way that SQLAlchemy goes when it is given many rows.

Usage: python bench/bulk_insert.py [ROUNDS]
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from artifactstore.database import engines, migrate
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import execute_all, insertion
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.schema import events
from artifactstore.ids import new_id
from postgres_server import running_server

type Rows = Sequence[Mapping[str, Any]]
type Way = Callable[[AsyncConnection, Rows], Awaitable[None]]

SIZES = (1, 16, 256)
ROUNDS = 60
PAYLOAD_BYTES = 400
NAMES = tuple(column.name for column in events.columns)


async def executemany(connection: AsyncConnection, rows: Rows) -> None:
    """One statement, bound once for each row, sent without waiting in between."""
    await connection.execute(events.insert(), rows)


async def many_values(connection: AsyncConnection, rows: Rows) -> None:
    """One statement with a tuple of parameters for each row."""
    await connection.execute(events.insert().values(rows))


async def arrays(connection: AsyncConnection, rows: Rows) -> None:
    """One statement with an array for each column: the store's own way."""
    await execute_all(connection, [insertion(events, [tuple(row.values()) for row in rows], "postgresql")])


async def copy(connection: AsyncConnection, rows: Rows) -> None:
    """COPY in binary."""
    await connection.exec_driver_sql("SELECT 1")  # the transaction begins with SQLAlchemy's first statement
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.copy_records_to_table("events", records=[tuple(row.values()) for row in rows], columns=NAMES)


WAYS: tuple[Way, ...] = (executemany, many_values, arrays, copy)


def row(sequence: int) -> dict[str, Any]:
    """One event, in the order of the columns."""
    event_id = new_id()
    made = {
        "sequence": sequence,
        "event_id": event_id,
        "type": "v1.file.ingested",
        "subject": event_id,
        "principal": "bench",
        "recorded_at": sequence,
        "command_id": event_id,
        "command_digest": None,
        "idempotency_key": None,
        "payload": bytes(PAYLOAD_BYTES),
    }
    return {name: made[name] for name in NAMES}


async def measure(url: str, rounds: int) -> None:
    """Print the table."""
    location = DatabaseLocation.parse(url)
    writer, reader = engines.writer_engine(location), engines.reader_engine(location)
    await migrate.ensure_schema(writer, reader, location)
    sequences = count(1)
    print(f"{'events':>6}  " + "".join(f"{way.__name__:>24}" for way in WAYS))
    for size in SIZES:
        taken: dict[Way, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                rows = [row(next(sequences)) for _ in range(size)]
                async with writer.begin() as connection:
                    await connection.exec_driver_sql("SELECT 1")
                    began = time.perf_counter()
                    await way(connection, rows)
                    taken[way].append(time.perf_counter() - began)
        medians = {way: statistics.median(seconds) for way, seconds in taken.items()}
        line = (f"{medians[way] * 1e3:>13.2f} ms  x {medians[executemany] / medians[way]:.2f}" for way in WAYS)
        print(f"{size:>6}  " + "".join(f"{each:>24}" for each in line))
    await writer.dispose()
    await reader.dispose()


if __name__ == "__main__":
    with running_server() as server, server.fresh_database() as database:
        asyncio.run(measure(database, int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
