"""Queries for the space that packages take. None of them reads all entries."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, and_, func, literal_column, select

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.queries import IS_CURRENT, glob_condition
from artifactstore.database.schema import LIVE
from artifactstore_protocols.disk_usage import NameUsage, UniqueUsage
from artifactstore_protocols.views import CONTENTS, FILES, LOCATIONS, PACKAGES

__all__ = ["name_usage", "name_usage_query", "unique_usage", "unique_usage_query"]

_packages, _files, _contents, _locations = LIVE[PACKAGES], LIVE[FILES], LIVE[CONTENTS], LIVE[LOCATIONS]
_others, _owners = _files.alias("others"), _packages.alias("owners")


def name_usage_query(name: str | None, after: str, limit: int) -> Select[*tuple[Any, ...]]:
    """Return the query for up to `limit` names after a name, in their order. It reads the packages by their names.

    Args:
        name: a glob for names, which the query narrows and does not decide; None for all.
        after: the name after which the names begin.
        limit: the maximum number of names.
    """
    columns = _packages.c
    totals = (columns.file_count, columns.total_bytes, columns.stored_bytes)
    query = select(columns.name, func.count(), *map(func.sum, totals)).where(
        columns.gone_at.is_(None), columns.name > after
    )
    if name is not None:
        query = query.where(glob_condition(columns.name, name))
    return query.group_by(columns.name).order_by(columns.name).limit(limit)


async def name_usage(connection: AsyncConnection, name: str | None, after: str, limit: int) -> list[NameUsage]:
    """Return what the packages of each name take; see `name_usage_query`."""
    rows = await connection.execute(name_usage_query(name, after, limit))
    return [NameUsage(found, *map(int, counts)) for found, *counts in map(tuple, rows)]


def unique_usage_query(numbers: Sequence[int]) -> Select[*tuple[Any, ...]]:
    """Return the query for the number and the size of the objects that only packages with these numbers refer to.

    It reads the entries of these packages, and for each content searches one entry of another package by the index.
    Entries of packages that are deleted or expired do not count.
    """
    own = (
        select(_files.c.digest_primary)
        .where(_files.c.package_number.in_(numbers), _files.c.digest_primary.is_not(None))
        .distinct()
        .subquery("own")
    )
    is_other = and_(
        _others.c.digest_primary == own.c.digest_primary,
        _others.c.package_number.not_in(numbers),
        _owners.c.gone_at.is_(None),
    )
    joined = _others.join(_owners, _owners.c.created_sequence == _others.c.package_number)
    # One search for each content, by the index. A plain NOT EXISTS lets PostgreSQL read all entries instead.
    sharer = (
        select(_others.c.package_number)
        .select_from(joined)
        .where(is_other)
        .limit(literal_column("1"))
        .offset(literal_column("0"))
        .scalar_subquery()
    )
    objects = own.join(_locations, _locations.c.digest_primary == own.c.digest_primary).join(
        _contents, _contents.c.digest_primary == own.c.digest_primary
    )
    size = func.coalesce(func.sum(_contents.c.size_bytes), 0)
    return select(func.count(), size).select_from(objects).where(IS_CURRENT, sharer.is_(None))


async def unique_usage(connection: AsyncConnection, package_ids: Sequence[str]) -> UniqueUsage:
    """Return what would be freed if these packages went together."""
    columns = _packages.c
    selected = select(columns.created_sequence, columns.file_count, columns.total_bytes)
    rows = (await connection.execute(selected.where(columns.package_id.in_(package_ids)))).all()
    numbers = [row.created_sequence for row in rows]
    objects, size_bytes = (await connection.execute(unique_usage_query(numbers))).one()
    files, total_bytes = (sum(row[column] for row in rows) for column in (1, 2))
    return UniqueUsage(len(rows), files, total_bytes, int(objects), int(size_bytes))
