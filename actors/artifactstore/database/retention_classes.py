"""Queries for the retention classes that a store has added."""

from functools import cache

from sqlalchemy import Table, select

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import Query, Steps, lookup, query, wanted
from artifactstore.database.schema import LIVE, ViewTables
from artifactstore_protocols.life_cycle import CUSTOM
from artifactstore_protocols.retention import RETENTION_CLASSES, RetentionClass, added_class
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import CLASSES

__all__ = ["load_classes", "retention_classes"]

_classes = LIVE[CLASSES]


async def retention_classes(connection: AsyncConnection) -> list[RetentionClass]:
    """Return the added classes in the order of their names."""
    rows = await connection.execute(select(_classes.c.name, _classes.c.duration_us).order_by(_classes.c.name))
    return [added_class(name, duration_us) for name, duration_us in map(tuple, rows)]


def load_classes(state: LogState, tables: ViewTables, needs: Needs, database: str) -> Steps[None]:
    """Load the needed classes, and those of the packages whose description is needed."""
    described = (state.packages[each] for each in needs.described if each in state.packages)
    names = {*needs.classes, *(package.retention_class for package in described)} - RETENTION_CLASSES.keys() - {CUSTOM}
    if names:
        state.classes.update((yield lookup(_durations(tables[CLASSES], database), [(name,) for name in sorted(names)])))


@cache
def _durations(table: Table, database: str) -> Query:
    values = wanted(database, name=str)
    selected = select(table.c.name, table.c.duration_us)
    return query(selected.where(table.c.name == values["name"]), values, database)
