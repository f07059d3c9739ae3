"""Queries for verification: which objects are due, and how current the verification of the store is.

All of them use the partial index of live and condemned objects in the order of verification.
"""

from collections.abc import Collection, Sequence
from itertools import batched
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal_column, or_, select, tuple_

from artifactstore.database import events
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.cells import DamagedCell, time_in
from artifactstore.database.files import address_in, content_columns
from artifactstore.database.queries import IS_CURRENT
from artifactstore.database.schema import LIVE
from artifactstore.database.schema import events as log
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_store import Location
from artifactstore_protocols.event_types.store_verified import VERIFICATION
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.object_keys import latest_key, next_key
from artifactstore_protocols.storage import Place
from artifactstore_protocols.storage_errors import KeyRefused
from artifactstore_protocols.verification import DueKey, DueObjects, VerificationState
from artifactstore_protocols.views import CONTENTS, FILES, LOCATIONS, PACKAGES

__all__ = [
    "count_files_with_content",
    "due_objects",
    "due_query",
    "due_totals",
    "files_with_content_query",
    "last_event_before",
    "state_queries",
    "unused_places",
    "verification_state",
]

_locations, _contents, _files = LIVE[LOCATIONS], LIVE[CONTENTS], LIVE[FILES]
_packages = LIVE[PACKAGES]
_ORDER = (
    _locations.c.verified_sequence,
    _locations.c.digest_primary,
    _locations.c.backend_id,
    _locations.c.object_key,
)
_KNOWN_AT_ONCE = 500
"""The number of digests in one statement, below the 999 parameters that every SQLite build accepts."""

# The numbers are no parameters, like those of `object_places`: digests have 32 bytes, and their last four are an end.
_END: ColumnElement[bytes] = func.substr(_locations.c.digest_primary, literal_column("29"), literal_column("4"))


def _is_due(due: DueObjects) -> list[ColumnElement[bool]]:
    conditions = [IS_CURRENT, _locations.c.verified_sequence <= due.up_to]
    if arcs := due.sample.arcs:
        conditions.append(or_(*(_END.between(first, last) for first, last in arcs)))
    return conditions


def due_query(due: DueObjects, after: DueKey | None, limit: int) -> Select[*tuple[Any, ...]]:
    """Return the query of `due_objects`."""
    query = (
        select(*_ORDER, _locations.c.integrity, *content_columns(_contents))
        .select_from(_locations.outerjoin(_contents, _contents.c.digest_primary == _locations.c.digest_primary))
        .where(*_is_due(due))
        .order_by(*_ORDER)
        .limit(limit)
    )
    return query if after is None else query.where(tuple_(*_ORDER) > tuple_(*after))


async def due_objects(
    connection: AsyncConnection, due: DueObjects, *, after: DueKey | None, limit: int
) -> Sequence[Location]:
    """Return up to `limit` due objects after a position, in the order of verification."""
    rows: Sequence[Sequence[Any]] = (await connection.execute(due_query(due, after, limit))).all()
    return [
        Location(
            address_in(algorithm, digest, size_bytes), backend_id, key, sha256.hex(), size_bytes, integrity, sequence
        )
        for sequence, digest, backend_id, key, integrity, algorithm, sha256, size_bytes in rows
    ]


async def due_totals(connection: AsyncConnection, due: DueObjects) -> tuple[int, int]:
    """Return the number of due objects, and their total size in bytes."""
    joined = _locations.join(_contents, _contents.c.digest_primary == _locations.c.digest_primary)
    query = select(func.count(), func.coalesce(func.sum(_contents.c.size_bytes), 0)).select_from(joined)
    count, size = (await connection.execute(query.where(*_is_due(due)))).one()
    return int(count), int(size)


async def last_event_before(connection: AsyncConnection, at_us: int) -> int:
    """Return the sequence of the last event before a time; 0 if there is none.

    A search by halves: it reads few events, and expects that the times of events do not go backwards.
    """
    below, above = 0, await events.head(connection) + 1
    while above - below > 1:
        middle = (below + above) // 2
        recorded_at = (await connection.execute(select(log.c.recorded_at).where(log.c.sequence == middle))).scalar()
        if recorded_at is not None and recorded_at < at_us:
            below = middle
        else:
            above = middle
    return below


def files_with_content_query(digest: bytes) -> Select[*tuple[Any, ...]]:
    """Return the query of `count_files_with_content`."""
    joined = _files.join(_packages, _packages.c.created_sequence == _files.c.package_number)
    counting = select(func.count()).select_from(joined)
    return counting.where(_files.c.digest_primary == digest, _packages.c.gone_sequence.is_(None))


async def count_files_with_content(connection: AsyncConnection, content_address: str) -> int:
    """Return the number of files with a content, by the index on contents; those of gone packages do not count."""
    query = files_with_content_query(ContentAddress.parse(content_address).digest.raw)
    return int((await connection.execute(query)).scalar_one())


async def unused_places(
    connection: AsyncConnection, addresses: Collection[ContentAddress]
) -> dict[ContentAddress, Place]:
    """Return the place after all places of each content, in the backend of its latest object."""
    held: dict[bytes, list[Place]] = {}
    by_digest = {address.digest.raw: address for address in addresses}
    for some in batched(by_digest, _KNOWN_AT_ONCE):
        query = select(_locations.c.digest_primary, _locations.c.backend_id, _locations.c.object_key)
        rows = await connection.execute(
            query.where(_locations.c.digest_primary.in_(some)).order_by(~IS_CURRENT, _locations.c.sequence.desc())
        )
        for digest, backend_id, object_key in rows:
            held.setdefault(digest, []).append(Place(backend_id, object_key))
    try:
        return {
            by_digest[digest]: Place(places[0].backend_id, next_key(latest_key(place.object_key for place in places)))
            for digest, places in held.items()
        }
    except (InvalidValue, KeyRefused) as error:
        raise DamagedCell(f"an object has an {error}") from error


def state_queries() -> tuple[Select[*tuple[Any, ...]], Select[*tuple[Any, ...]]]:
    """Return the queries of `verification_state`: the last verification, and the object that was not read longest."""
    last = select(log.c.recorded_at, log.c.sequence).where(log.c.subject == VERIFICATION)
    oldest = (
        select(_locations.c.verified_sequence)
        .where(IS_CURRENT)
        .order_by(_locations.c.verified_sequence)
        .limit(1)
        .scalar_subquery()
    )
    return (
        last.order_by(log.c.sequence.desc()).limit(1),
        select(log.c.recorded_at).where(log.c.sequence == oldest),
    )


async def verification_state(connection: AsyncConnection) -> VerificationState:
    """Return how current the verification of the store is, by two searches in indexes."""
    of_last, of_oldest = state_queries()
    last = (await connection.execute(of_last)).one_or_none()
    oldest = (await connection.execute(of_oldest)).one_or_none()
    return VerificationState(
        verified_at_us=None if last is None else time_in("recorded_at", last[0]),
        verified_sequence=0 if last is None else last[1],
        oldest_at_us=None if oldest is None else time_in("recorded_at", oldest[0]),
    )
