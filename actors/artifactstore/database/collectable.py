"""Queries for garbage collection: condemned and retired objects in pages, and the states of listed keys."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal_column, or_, select, tuple_

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import Query, Steps, lookup, query, run, wanted
from artifactstore.database.schema import LIVE
from artifactstore_protocols.collection import CollectableObject, ObjectTotals, UnreleasedPackage
from artifactstore_protocols.event_types.object_places import digest_at
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.state import ObjectState
from artifactstore_protocols.storage import Place
from artifactstore_protocols.totals import TOTALS_ID
from artifactstore_protocols.views import CONTENTS, FILES, LOCATIONS, PACKAGES, TOTALS

__all__ = [
    "collectable_objects",
    "collectable_page",
    "collected_contents",
    "collected_query",
    "entry_keys",
    "object_states",
    "retired_query",
    "retired_totals",
    "unreleased_packages",
    "unreleased_page",
    "waiting_queries",
    "waiting_totals",
]

_contents, _locations, _files, _packages = LIVE[CONTENTS], LIVE[LOCATIONS], LIVE[FILES], LIVE[PACKAGES]
_size = func.coalesce(_contents.c.size_bytes, literal_column("0"))
_JOINED = _locations.outerjoin(_contents, _contents.c.digest_primary == _locations.c.digest_primary)
_totals = select(func.count(), func.coalesce(func.sum(_size), literal_column("0"))).select_from(_JOINED)


def _in_state(state: ObjectState) -> ColumnElement[bool]:
    # A literal, not a parameter: only with it can a planner use the partial index of collectable objects.
    return _locations.c.state == literal_column(f"'{state}'")


def collectable_page(state: ObjectState, after: CollectableObject | None, limit: int) -> Select[*tuple[Any, ...]]:
    """Return the query for a page of the objects in a state, `condemned` or `retired`, in the order of the index."""
    columns = _locations.c
    keys = columns.changed_at, columns.digest_primary, columns.backend_id, columns.object_key
    selected = select(columns.backend_id, columns.object_key, _size, columns.changed_at).select_from(_JOINED)
    selected = selected.where(_in_state(state))
    if after is not None:
        selected = selected.where(tuple_(*keys) > tuple_(after.changed_at_us, digest_at(after.place), *after.place))
    return selected.order_by(*keys).limit(limit)


async def collectable_objects(
    connection: AsyncConnection, state: ObjectState, after: CollectableObject | None, limit: int
) -> Sequence[CollectableObject]:
    """Return a page of the objects in a state."""
    rows = (await connection.execute(collectable_page(state, after, limit))).all()
    return [CollectableObject(Place(*place), size_bytes, changed_at_us) for *place, size_bytes, changed_at_us in rows]


def unreleased_page(after: int, limit: int) -> Select[*tuple[Any, ...]]:
    """Return the query for a page of the gone packages that still hold entries, in the order of their creation."""
    columns = _packages.c
    # Literals: only with them can a planner use the partial index of these packages.
    zero: ColumnElement[int] = literal_column("0")
    holds = or_(columns.file_count > zero, columns.link_count > zero, columns.directory_count > zero)
    selected = select(
        columns.package_id,
        columns.created_sequence,
        columns.file_count + columns.link_count + columns.directory_count,
    ).where(columns.gone_at.is_not(None), holds, columns.created_sequence > after)
    return selected.order_by(columns.created_sequence).limit(limit)


async def unreleased_packages(connection: AsyncConnection, after: int, limit: int) -> Sequence[UnreleasedPackage]:
    """Return a page of the gone packages that still hold entries."""
    rows = (await connection.execute(unreleased_page(after, limit))).all()
    return [UnreleasedPackage(str(package_id), int(number), int(entries)) for package_id, number, entries in rows]


async def entry_keys(connection: AsyncConnection, number: int, after: str, limit: int) -> Sequence[str]:
    """Return the next path keys of a package."""
    columns = _files.c
    selected = select(columns.path_key).where(columns.package_number == number, columns.path_key > after)
    return [str(key) for (key,) in (await connection.execute(selected.order_by(columns.path_key).limit(limit))).all()]


def retired_query() -> Select[*tuple[Any, ...]]:
    """Return the query that counts the retired objects: their number, then their bytes."""
    return _totals.where(_in_state("retired"))


async def retired_totals(connection: AsyncConnection) -> ObjectTotals:
    """Return the totals of the retired objects."""
    return ObjectTotals(*map(int, (await connection.execute(retired_query())).one()))


def waiting_queries(after_us: int) -> tuple[Select[*tuple[Any, ...]], Select[*tuple[Any, ...]]]:
    """Return the queries for the time of the oldest condemned object, and for the totals of those after a time."""
    condemned, changed_at = _in_state("condemned"), _locations.c.changed_at
    oldest = select(changed_at).where(condemned).order_by(changed_at).limit(1)
    return oldest, _totals.where(condemned, changed_at > after_us)


async def waiting_totals(connection: AsyncConnection, after_us: int) -> ObjectTotals:
    """Return the totals of the objects that were condemned after a time.

    Only if there are older ones too, the others are counted: otherwise the totals of the store have the answer.
    """
    oldest, of_waiting = waiting_queries(after_us)
    first_us = (await connection.execute(oldest)).scalar_one_or_none()
    if first_us is None:
        return ObjectTotals()
    if first_us > after_us:
        totals = LIVE[TOTALS].c
        of_waiting = select(totals.condemned, totals.condemned_bytes).where(totals.id == TOTALS_ID)
    return ObjectTotals(*map(int, (await connection.execute(of_waiting)).one()))


async def object_states(connection: AsyncConnection, places: Collection[Place]) -> Mapping[Place, ObjectState]:
    """Return the states of those of the places that have a row. Each place has the key of a content."""
    if not places:
        return {}
    digests = sorted({digest_at(place) for place in places})
    statement = _states(connection.dialect.name)
    found: dict[Place, ObjectState] = {}

    def steps() -> Steps[None]:
        rows = yield lookup(statement, [(digest,) for digest in digests])
        found.update((Place(backend_id, object_key), state) for backend_id, object_key, state in rows)

    await run(connection, steps())
    return {place: found[place] for place in places if place in found}


async def collected_contents(
    connection: AsyncConnection, addresses: Collection[ContentAddress]
) -> frozenset[ContentAddress]:
    """Return the contents whose objects are all retired or removed, and that no entry refers to."""
    by_digest = {address.digest.raw: address for address in addresses}
    statement = collected_query(connection.dialect.name)
    found: set[ContentAddress] = set()

    def steps() -> Steps[None]:
        rows = yield lookup(statement, [(digest,) for digest in by_digest])
        found.update(by_digest[digest] for (digest,) in rows)

    if by_digest:
        await run(connection, steps())
    return frozenset(found)


@cache
def collected_query(database: str) -> Query:
    """Return the query for those of the wanted contents that were collected."""
    values = wanted(database, digest=bytes)
    other = _locations.alias()
    current = select(other.c.digest_primary).where(other.c.digest_primary == _locations.c.digest_primary)
    current = current.where(other.c.state.in_([literal_column("'live'"), literal_column("'condemned'")]))
    used = select(_files.c.digest_primary).where(_files.c.digest_primary == _locations.c.digest_primary)
    selected = select(_locations.c.digest_primary).where(_locations.c.digest_primary == values["digest"])
    return query(selected.where(~current.exists(), ~used.exists()), values, database)


@cache
def _states(database: str) -> Query:
    values = wanted(database, digest=bytes)
    columns = _locations.c
    selected = select(columns.backend_id, columns.object_key, columns.state)
    return query(selected.where(columns.digest_primary == values["digest"]), values, database)
