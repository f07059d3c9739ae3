"""Queries for what keeps packages: their retention and their protected tags."""

from collections.abc import Iterable
from functools import cache

from sqlalchemy import Table, literal_column, select

from artifactstore.database.bulk import Query, Steps, lookup, query, wanted
from artifactstore.database.schema import ViewTables
from artifactstore_protocols.state import LogState
from artifactstore_protocols.views import RETENTION, TAGS

__all__ = ["load_keeping"]


def load_keeping(state: LogState, tables: ViewTables, package_ids: Iterable[str], database: str) -> Steps[None]:
    """Load what keeps some packages, of those that the state has."""
    keys = [(package_id,) for package_id in sorted(package_ids) if package_id in state.packages]
    if not keys:
        return
    for package_id, expires_at in (yield lookup(_retention(tables[RETENTION], database), keys)):
        state.packages[package_id].expires_at_us = expires_at
    for package_id, tag in (yield lookup(_protected(tables[TAGS], database), keys)):
        state.packages[package_id].protected_tags.add(tag)


@cache
def _retention(retention: Table, database: str) -> Query:
    values = wanted(database, package_id=str)
    selected = select(retention.c.package_id, retention.c.expires_at)
    return query(selected.where(retention.c.package_id == values["package_id"]), values, database)


@cache
def _protected(tags: Table, database: str) -> Query:
    values = wanted(database, package_id=str)
    selected = select(tags.c.package_id, tags.c.tag).where(tags.c.package_id == values["package_id"])
    return query(selected.where(tags.c.protected == literal_column("1")), values, database)
