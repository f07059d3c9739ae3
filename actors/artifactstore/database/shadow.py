"""Temporary copies of the view tables, which a replay fills on its own connection.

The tables are defined once, so that their statements are compiled once. Only a replay imports this module.
"""

from collections.abc import Iterable
from types import MappingProxyType

from sqlalchemy import Column, Index, MetaData, Table

from artifactstore.database.schema import LIVE, ViewTables
from artifactstore_protocols.views import LOCATIONS, VIEWS, Cell, ViewTable

__all__ = ["DIFFERING", "SHADOW", "TEMPORARY"]

TEMPORARY = MetaData()


def _temporary(name: str, *columns: Column[Cell]) -> Table:
    return Table(name, TEMPORARY, *columns, prefixes=["TEMPORARY"], sqlite_with_rowid=False)


def _like(view: ViewTable, names: Iterable[str]) -> Iterable[Column[Cell]]:
    for column in map(LIVE[view].c.__getitem__, names):
        yield Column(column.name, column.type, primary_key=column.name in view.key, nullable=column.nullable)


SHADOW: ViewTables = MappingProxyType(
    {view: _temporary(f"shadow_{view.name}", *_like(view, view.columns)) for view in VIEWS}
)
"""The tables that a replay fills, by view."""

# Without it, each `v1.store.verified` of a log would read all objects.
Index(None, *(SHADOW[LOCATIONS].c[name] for name in ("verified_sequence", *LOCATIONS.key)))

DIFFERING: ViewTables = MappingProxyType(
    {view: _temporary(f"differing_{view.name}", *_like(view, view.key)) for view in VIEWS}
)
"""The tables for the keys of rows that differ between the live views and `SHADOW`."""
