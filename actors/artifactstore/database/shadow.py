"""Twins of the view tables, which a replay fills: temporary tables of one connection.

They are described once, so that their statements are compiled once; only a replay imports them.
"""

from types import MappingProxyType

from sqlalchemy import Column, MetaData, Table

from artifactstore.database.schema import LIVE, ViewTables
from artifactstore_protocols.views import VIEWS, Cell

__all__ = ["DIFFERING", "SHADOW", "TEMPORARY"]

TEMPORARY = MetaData()


def _temporary(name: str, *columns: Column[Cell]) -> Table:
    return Table(name, TEMPORARY, *columns, prefixes=["TEMPORARY"], sqlite_with_rowid=False)


def _like(column: Column[Cell]) -> Column[Cell]:
    return Column(column.name, column.type, primary_key=column.primary_key, nullable=column.nullable)


SHADOW: ViewTables = MappingProxyType(
    {view: _temporary(f"shadow_{view.name}", *map(_like, LIVE[view].columns)) for view in VIEWS}
)
"""Twins of the views, to replay into."""

DIFFERING: ViewTables = MappingProxyType(
    {view: _temporary(f"differing_{view.name}", *map(_like, LIVE[view].primary_key)) for view in VIEWS}
)
"""Keys of rows in which the views and their twins differ."""
