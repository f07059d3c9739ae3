"""Queries for what keeps packages: their retention, the holds on them and their protected tags."""

from collections.abc import Sequence
from functools import cache

from sqlalchemy import Table, literal_column, select

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import Query, Steps, lookup, query, wanted
from artifactstore.database.cells import time_in
from artifactstore.database.schema import LIVE, ViewTables
from artifactstore_protocols.records import Hold
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import HOLDS, RETENTION, TAGS

__all__ = ["holds", "load_keeping"]

_holds = LIVE[HOLDS]


def load_keeping(state: LogState, tables: ViewTables, needs: Needs, database: str) -> Steps[None]:
    """Load the needed holds, and what keeps some packages, of those that the state has."""
    if needs.holds:
        hold_ids = [(hold_id,) for hold_id in sorted(needs.holds)]
        state.holds.update((yield lookup(_packages_of_holds(tables[HOLDS], database), hold_ids)))
    keys = [(package_id,) for package_id in sorted(needs.kept) if package_id in state.packages]
    if not keys:
        return
    for package_id, retained_from, expires_at in (yield lookup(_retention(tables[RETENTION], database), keys)):
        package = state.packages[package_id]
        package.retained_from_us, package.expires_at_us = retained_from or 0, expires_at
    for package_id, tag in (yield lookup(_protected(tables[TAGS], database), keys)):
        state.packages[package_id].protected_tags.add(tag)
    for package_id, hold_id in (yield lookup(_holds_on(tables[HOLDS], database), keys)):
        state.packages[package_id].holds.add(hold_id)


@cache
def _packages_of_holds(table: Table, database: str) -> Query:
    values = wanted(database, hold_id=str)
    selected = select(table.c.hold_id, table.c.package_id)
    return query(selected.where(table.c.hold_id == values["hold_id"]), values, database)


@cache
def _retention(table: Table, database: str) -> Query:
    values = wanted(database, package_id=str)
    selected = select(table.c.package_id, table.c.retained_from, table.c.expires_at)
    return query(selected.where(table.c.package_id == values["package_id"]), values, database)


@cache
def _protected(table: Table, database: str) -> Query:
    values = wanted(database, package_id=str)
    selected = select(table.c.package_id, table.c.tag).where(table.c.package_id == values["package_id"])
    return query(selected.where(table.c.protected == literal_column("1")), values, database)


@cache
def _holds_on(table: Table, database: str) -> Query:
    values = wanted(database, package_id=str)
    selected = select(table.c.package_id, table.c.hold_id)
    return query(selected.where(table.c.package_id == values["package_id"]), values, database)


async def holds(connection: AsyncConnection, *, package_id: str | None, after: str, limit: int) -> Sequence[Hold]:
    """Return up to `limit` holds after an id, in the order of their ids; of one package, or of all."""
    wanted_holds = select(_holds).where(_holds.c.hold_id > after).order_by(_holds.c.hold_id).limit(limit)
    if package_id is not None:
        wanted_holds = wanted_holds.where(_holds.c.package_id == package_id)
    return [
        Hold(row.hold_id, row.package_id, row.reason, row.placed_by, time_in("placed_at", row.placed_at), row.sequence)
        for row in await connection.execute(wanted_holds)
    ]
