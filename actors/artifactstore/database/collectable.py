"""Queries for garbage collection: condemned and retired objects in pages, and the states of listed keys."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, func, literal_column, select, tuple_

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import Query, lookup, query, run, wanted
from artifactstore.database.schema import LIVE
from artifactstore_protocols.collection import CollectableObject, ObjectTotals
from artifactstore_protocols.event_types.object_places import digest_at
from artifactstore_protocols.state import ObjectState
from artifactstore_protocols.storage import Place
from artifactstore_protocols.views import CONTENTS, LOCATIONS

__all__ = ["collectable_objects", "collectable_page", "collectable_totals", "object_states", "totals_query"]

_contents, _locations = LIVE[CONTENTS], LIVE[LOCATIONS]
_size = func.coalesce(_contents.c.size_bytes, literal_column("0"))
_JOINED = _locations.outerjoin(_contents, _contents.c.digest_primary == _locations.c.digest_primary)


def _in_state(state: ObjectState) -> Any:
    # A literal, not a parameter: only with it can a planner use the partial index of collectable objects.
    return _locations.c.state == literal_column(f"'{state}'")


def collectable_page(state: ObjectState, after: Place | None, limit: int) -> Select[tuple[object, ...]]:
    """Return the query for a page of the objects in a state, `condemned` or `retired`, in the order of the index."""
    columns = _locations.c
    keys = columns.digest_primary, columns.backend_id, columns.object_key
    selected = select(columns.backend_id, columns.object_key, _size, columns.changed_at).select_from(_JOINED)
    selected = selected.where(_in_state(state))
    if after is not None:
        selected = selected.where(tuple_(*keys) > tuple_(digest_at(after), *after))
    return selected.order_by(*keys).limit(limit)


async def collectable_objects(
    connection: AsyncConnection, state: ObjectState, after: Place | None, limit: int
) -> Sequence[CollectableObject]:
    """Return a page of the objects in a state."""
    rows = (await connection.execute(collectable_page(state, after, limit))).all()
    return [CollectableObject(Place(*place), size_bytes, changed_at_us) for *place, size_bytes, changed_at_us in rows]


def totals_query(state: ObjectState) -> Select[tuple[object, ...]]:
    """Return the query that counts the objects in a state after and until a time: numbers, then bytes."""
    selected = select(func.count(), func.coalesce(func.sum(_size), literal_column("0"))).select_from(_JOINED)
    return selected.where(_in_state(state))


async def collectable_totals(
    connection: AsyncConnection, state: ObjectState, until_us: int | None
) -> ObjectTotals:
    """Return the totals of the objects in a state, or of those that have been in it since `until_us` at least."""
    selected = totals_query(state)
    if until_us is not None:
        selected = selected.where(_locations.c.changed_at <= until_us)
    objects, size_bytes = (await connection.execute(selected)).one()
    return ObjectTotals(int(objects), int(size_bytes))


async def object_states(connection: AsyncConnection, places: Collection[Place]) -> Mapping[Place, ObjectState]:
    """Return the states of those of the places that have a row. Each place has the key of a content."""
    if not places:
        return {}
    digests = sorted({digest_at(place) for place in places})
    statement = _states(connection.dialect.name)
    found: dict[Place, ObjectState] = {}

    def steps() -> Any:
        rows = yield lookup(statement, [(digest,) for digest in digests])
        found.update((Place(backend_id, object_key), state) for backend_id, object_key, state in rows)

    await run(connection, steps())
    return {place: found[place] for place in places if place in found}


@cache
def _states(database: str) -> Query:
    values = wanted(database, digest=bytes)
    columns = _locations.c
    selected = select(columns.backend_id, columns.object_key, columns.state)
    return query(selected.where(columns.digest_primary == values["digest"]), values, database)
