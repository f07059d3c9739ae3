"""The totals of a store, and the records of its last backup and its last garbage collection.

The totals are one row of the projection, so reading them costs the same for any number of files. The records are
rows of this database alone: they say nothing that a log should tell other stores.
"""

from functools import cache
from typing import Any, Final

from sqlalchemy import Select, select

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import OnConflict, execute_all, insertion
from artifactstore.database.cells import time_in
from artifactstore.database.events import Transaction
from artifactstore.database.schema import LIVE, last_runs
from artifactstore.database.verification import verification_state
from artifactstore_protocols.store_stats import LastRun, RunKind, StoreStats
from artifactstore_protocols.totals import TOTALS_ID
from artifactstore_protocols.views import TOTALS

__all__ = ["note_run", "stats", "stats_queries"]

_BACKUP: Final[RunKind] = "backup"
_COLLECTION: Final[RunKind] = "collection"
_FIELDS: Final = {"total_bytes": "bytes"}
"""Columns of the totals whose field in `StoreStats` has another name."""


@cache
def stats_queries() -> tuple[Select[*tuple[Any, ...]], Select[*tuple[Any, ...]]]:
    """Return the queries of the totals and of the last runs."""
    totals = LIVE[TOTALS]
    return select(*(totals.c[name] for name in TOTALS.columns[1:])).where(totals.c.id == TOTALS_ID), select(last_runs)


async def stats(connection: AsyncConnection) -> StoreStats:
    """Return the totals of the store; zeros before the first package or object."""
    of_totals, of_runs = stats_queries()
    totals = (await connection.execute(of_totals)).one_or_none()
    runs = {
        kind: LastRun(time_in("ended_at", ended_at_us), *counts)
        for kind, ended_at_us, *counts in (await connection.execute(of_runs)).all()
    }
    verified = await verification_state(connection)
    last_backup, last_collection = runs.get(_BACKUP), runs.get(_COLLECTION)
    if totals is None:
        return StoreStats(last_collection=last_collection, last_backup=last_backup, verification=verified)
    row: dict[str, Any] = dict(zip(TOTALS.columns[1:], totals, strict=True))
    return StoreStats(
        **{_FIELDS.get(name, name): row[name] for name in TOTALS.columns[1:]},
        last_collection=last_collection,
        last_backup=last_backup,
        verification=verified,
    )


async def note_run(transaction: Transaction, kind: RunKind, last: LastRun) -> None:
    """Record that a backup or a collection is complete. It replaces the record of the one before."""
    row = (kind, last.ended_at_us, last.sequence, last.objects, last.flaws)
    statement = insertion(last_runs, [row], transaction.database, OnConflict.OVERWRITE)
    await execute_all(transaction.connection, [statement])
