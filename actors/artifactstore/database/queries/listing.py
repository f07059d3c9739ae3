"""Queries for lists of packages."""

from collections.abc import Sequence

from msgspec import structs
from sqlalchemy import ColumnElement, Select, select, tuple_

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.queries.glob_conditions import glob_condition, within_condition
from artifactstore.database.queries.lookup import IS_NOT_GONE, LISTED_AT_ONCE, package_in, package_query
from artifactstore.database.schema import LIVE
from artifactstore_protocols.globs import is_literal
from artifactstore_protocols.metadata import search_term
from artifactstore_protocols.package_listing import PackageFilter, PackageListing, SortKey, position_of
from artifactstore_protocols.records import PackageRecord
from artifactstore_protocols.views import PACKAGES, PARENTS, TAGS, VALUES

__all__ = ["conditions", "listing_query", "packages"]

_others = LIVE[VALUES].alias("others")
_packages = LIVE[PACKAGES]
_tags = LIVE[TAGS]
_values = LIVE[VALUES]
_parents = LIVE[PARENTS]


async def packages(connection: AsyncConnection, page: PackageListing) -> Sequence[PackageRecord]:
    """Return one page of a list of packages.

    SQL selects by what indexes and plain comparisons can tell; `PackageFilter.matches` decides about the rest.
    """
    found: list[PackageRecord] = []
    part = page
    while len(found) < page.limit:
        records = [package_in(row) for row in await connection.execute(listing_query(part))]
        found += filter(page.where.matches, records)
        if len(records) < part.limit:
            break
        part = structs.replace(
            part, after=position_of(records[-1], page.sort), limit=min(2 * part.limit, LISTED_AT_ONCE)
        )
    return found[: page.limit]


def listing_query(page: PackageListing) -> Select[tuple[object, ...]]:
    """Return the SQL query for a page of a list, which may also select packages that the filter rejects."""
    columns = _packages.c
    query = package_query().where(*conditions(page.where, page.sort, joined=True))
    number: ColumnElement[int] = columns.created_sequence
    # An index has the packages that are made from another one, or that have a value, in the order of the list.
    if page.where.made_from is not None and page.sort == "created":
        parent = _parents.c.parent_id == page.where.made_from
        query = query.join(_parents, _parents.c.package_number == number).where(parent)
        number = _parents.c.package_number
    elif page.where.metadata and page.sort == "created":
        query = query.join(_values, _values.c.package_number == number).where(_values.c.term == _terms(page.where)[0])
        number = _values.c.package_number
    elif page.where.has and page.sort == "created":
        query = query.join(_values, _values.c.package_number == number).where(_values.c.key == page.where.has[0])
        number = _values.c.package_number
    value = {"created": number, "name": columns.name, "size": columns.total_bytes}[page.sort]
    keys = [number] if page.sort == "created" else [value, number]
    if page.after is not None:
        position, bound = tuple_(*keys), tuple_(*page.after[-len(keys) :])
        query = query.where(position > bound if page.ascending else position < bound)
    return query.order_by(*(key if page.ascending else key.desc() for key in keys)).limit(page.limit)


def conditions(where: PackageFilter, sort: SortKey, *, joined: bool = False) -> list[ColumnElement[bool]]:
    """Return conditions that hold for every package which a filter accepts, and maybe for others.

    A condition may use an index only if that is in the order of the list: otherwise each page would sort all matches.

    Args:
        where: the filter.
        sort: the order of the list.
        joined: whether the caller's query states the first of these conditions itself, if the list is in order of
            creation: the parent, and the metadata.
    """
    columns = _packages.c
    found: list[ColumnElement[bool]] = []
    if where.name is not None:
        in_order = sort == "name" or (sort == "created" and is_literal(where.name))
        found.append(glob_condition(columns.name if in_order else columns.name.concat(""), where.name))
    if where.within is not None:
        alone = len(where.within) == 1 and where.name is None
        in_order = alone and (sort == "name" or (sort == "created" and is_literal(where.within[0])))
        name = columns.name if in_order else columns.name.concat("")
        found.append(within_condition(name, where.within))
    if where.status is None:
        found.append(IS_NOT_GONE)
    for column, value in (
        (columns.status, where.status),
        (columns.created_by, where.created_by),
        (columns.retention_class, where.retention_class),
    ):
        if value is not None:
            found.append((column if sort == "created" else column.concat("")) == value)
    if where.tag is not None:
        found.append(columns.package_id.in_(select(_tags.c.package_id).where(glob_condition(_tags.c.tag, where.tag))))
    joins = int(joined and sort == "created")
    if where.made_from is not None and not joins:
        is_child = _parents.c.parent_id == where.made_from, _parents.c.package_number == columns.created_sequence
        found.append(select(_parents.c.parent_id).where(*is_child).exists())
    joins = joins if where.made_from is None else 0
    wanted = [_others.c.term == term for term in _terms(where)[joins:]]
    wanted += [_others.c.key == key for key in where.has[0 if where.metadata else joins :]]
    for each in wanted:
        of_package = each, _others.c.package_number == columns.created_sequence
        found.append(select(_others.c.key).where(*of_package).exists())
    if where.since_us is not None:
        found.append(columns.created_at >= where.since_us)
    if where.until_us is not None:
        found.append(columns.created_at < where.until_us)
    return found


def _terms(where: PackageFilter) -> list[str]:
    """Return the terms of the metadata that a filter wants."""
    terms = (search_term(key, value) for key, value in where.metadata.items())
    return [term for term in terms if term is not None]
