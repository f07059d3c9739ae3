"""Queries for what keeps packages: their retention, the holds on them and their protected tags."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, literal, literal_column, or_, select, tuple_, union_all

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import Query, Steps, lookup, query, wanted
from artifactstore.database.cells import time_in
from artifactstore.database.queries import tag_in
from artifactstore.database.schema import LIVE, ViewTables, events
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.records import Hold, LeftPackage, RetainedPackage, Tag
from artifactstore_protocols.retention import RETENTION_CLASSES, is_permanent
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import CLOCK, HOLDS, PACKAGES, RETENTION, TAGS

__all__ = [
    "holds",
    "holds_query",
    "kept_by",
    "kept_queries",
    "left_packages",
    "left_query",
    "load_keeping",
    "observed_clock",
    "retained",
    "retained_query",
]

_holds, _packages, _retained, _tags = LIVE[HOLDS], LIVE[PACKAGES], LIVE[RETENTION], LIVE[TAGS]


def load_keeping(state: LogState, tables: ViewTables, needs: Needs, database: str) -> Steps[None]:
    """Load the needed holds, what keeps some packages, of those that the state has, and the clock."""
    if needs.clock:
        for (observed_at,) in (yield lookup(_clock(tables[CLOCK], database), [()])):
            state.clock_us = observed_at
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
def _clock(table: Table, database: str) -> Query:
    return query(_observed(table), {}, database)


def _observed(table: Table) -> Select[*tuple[Any, ...]]:
    """Return the query for the time that was observed last; before the first one, when the log began."""
    observed = select(table.c.observed_at).where(table.c.id == literal_column("1"))
    began = select(events.c.recorded_at).where(events.c.sequence == literal_column("1"), ~select(table.c.id).exists())
    return union_all(observed, began).subquery("clock").select()


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


def holds_query(*, package_id: str | None, after: str, limit: int) -> Select[*tuple[Any, ...]]:
    """Return the query of `holds`."""
    wanted_holds = select(_holds).where(_holds.c.hold_id > after).order_by(_holds.c.hold_id).limit(limit)
    return wanted_holds if package_id is None else wanted_holds.where(_holds.c.package_id == package_id)


async def holds(connection: AsyncConnection, *, package_id: str | None, after: str, limit: int) -> Sequence[Hold]:
    """Return up to `limit` holds after an id, in the order of their ids; of one package, or of all."""
    wanted_holds = holds_query(package_id=package_id, after=after, limit=limit)
    return [
        Hold(row.hold_id, row.package_id, row.reason, row.placed_by, time_in("placed_at", row.placed_at), row.sequence)
        for row in await connection.execute(wanted_holds)
    ]


def _is_kept() -> ColumnElement[bool]:
    """Return whether a hold or a protected tag keeps a package of the query."""
    # No EXISTS: PostgreSQL would read all tags for it.
    one: ColumnElement[int] = literal_column("1")
    held = select(_holds.c.hold_id).where(_holds.c.package_id == _packages.c.package_id)
    tagged = select(_tags.c.tag).where(_tags.c.package_id == _packages.c.package_id, _tags.c.protected == one)
    return or_(*(each.limit(one).correlate(_packages).scalar_subquery().is_not(None) for each in (held, tagged)))


def retained_query(*, until_us: int, after: tuple[int, str], limit: int, kept: bool) -> Select[*tuple[Any, ...]]:
    """Return the query of `retained`."""
    columns = _retained.c
    selected = (
        select(_packages.c.package_id, _packages.c.name, _packages.c.version, columns.expires_at, _is_kept())
        .select_from(_retained)
        .join(_packages, _packages.c.package_id == columns.package_id)
        # A literal, not a parameter: only with it can a planner use the partial index.
        .where(columns.status == literal_column("'retained'"), columns.expires_at <= until_us)
        .where(tuple_(columns.expires_at, columns.package_id) > tuple_(*map(literal, after)))
        .order_by(columns.expires_at, columns.package_id)
        .limit(limit)
    )
    return selected if kept else selected.where(~_is_kept())


async def retained(
    connection: AsyncConnection, *, until_us: int, after: tuple[int, str], limit: int, kept: bool
) -> Sequence[RetainedPackage]:
    """Return packages whose retention ends until a time; see `EventStore.retained`."""
    rows = await connection.execute(retained_query(until_us=until_us, after=after, limit=limit, kept=kept))
    return [
        RetainedPackage(package_id, name, version, expires_at_us, bool(is_kept))
        for package_id, name, version, expires_at_us, is_kept in map(tuple, rows)
    ]


def left_query(*, until_us: int, after: int, limit: int) -> Select[*tuple[Any, ...]]:
    """Return the query of `left_packages`."""
    columns = _packages.c
    touched = (
        select(events.c.recorded_at)
        .where(events.c.subject == columns.package_id)
        .order_by(events.c.sequence.desc())
        .limit(1)
        .correlate(_packages)
        .scalar_subquery()
    )
    return (
        select(columns.package_id, columns.name, columns.version, touched.label("touched"), columns.created_sequence)
        .where(columns.status == "open", columns.created_sequence > after, touched <= until_us, ~_is_kept())
        .where(columns.retention_class.not_in([name for name in RETENTION_CLASSES if is_permanent(name)]))
        .order_by(columns.created_sequence)
        .limit(limit)
    )


async def left_packages(connection: AsyncConnection, *, until_us: int, after: int, limit: int) -> Sequence[LeftPackage]:
    """Return open packages that nobody touched since a time; see `EventStore.left_packages`."""
    rows = await connection.execute(left_query(until_us=until_us, after=after, limit=limit))
    return [LeftPackage(*row) for row in rows]


def kept_queries(package_id: str) -> tuple[Select[*tuple[Any, ...]], Select[*tuple[Any, ...]]]:
    """Return the queries of `kept_by`: the event of the retention, and the protected tags that name the package."""
    protected = select(_tags).where(_tags.c.package_id == package_id, _tags.c.protected == 1).order_by(_tags.c.tag)
    return select(_retained.c.sequence).where(_retained.c.package_id == package_id), protected


async def kept_by(connection: AsyncConnection, package_id: str) -> tuple[int, Sequence[Tag]]:
    """Return what keeps a package; see `EventStore.kept_by`."""
    of_retention, protected = kept_queries(package_id)
    sequence = (await connection.execute(of_retention)).scalar_one_or_none()
    if sequence is None:
        raise PackageNotFound(package_id)
    return sequence, [tag_in(row) for row in await connection.execute(protected)]


async def observed_clock(connection: AsyncConnection) -> int | None:
    """Return the time that was observed last; see `EventStore.observed_clock`."""
    return (await connection.execute(_observed(LIVE[CLOCK]))).scalar_one_or_none()
