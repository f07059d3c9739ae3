"""Queries for objects and their places."""

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal_column, select, true

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.cells import DamagedCell
from artifactstore.database.files import address_in, content_columns
from artifactstore.database.queries.lookup import number_of
from artifactstore.database.schema import LIVE
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_store import Location
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.object_keys import latest_key, next_key
from artifactstore_protocols.package_listing import raw_digest
from artifactstore_protocols.storage import KeyRefused, KnownObject, Place
from artifactstore_protocols.views import CONTENTS, FILES, LOCATIONS, PACKAGES

__all__ = [
    "IS_CURRENT",
    "contents_with_sha256",
    "deduplicated_bytes",
    "digest_in",
    "flagged_counts",
    "flagged_objects",
    "known_objects",
    "location_totals",
    "locations",
    "primary_digests",
]

_packages = LIVE[PACKAGES]
_contents = LIVE[CONTENTS]
_files = LIVE[FILES]
_locations = LIVE[LOCATIONS]

# Literals, not parameters: only with literals can a planner use the partial index of flagged objects.
IS_CURRENT = (_locations.c.state != literal_column("'retired'")) & (_locations.c.state != literal_column("'removed'"))

_IS_FLAWED = _locations.c.integrity != literal_column("'intact'")

_IS_FLAGGED = _IS_FLAWED & IS_CURRENT

_KNOWN_AT_ONCE = 500
"""The number of digests in one statement, below the 999 parameters that every SQLite build accepts."""

_LOCATIONS_QUERY = select(
    _locations.c.digest_primary,
    _locations.c.backend_id,
    _locations.c.object_key,
    _locations.c.integrity,
    *content_columns(_contents),
).select_from(_locations.outerjoin(_contents, _contents.c.digest_primary == _locations.c.digest_primary))


async def primary_digests(connection: AsyncConnection, digest: str) -> Sequence[bytes]:
    """Return the primary digests of the contents that a digest may mean."""
    algorithm, raw = raw_digest(digest)
    if algorithm not in {None, "sha256"}:
        return [raw]
    rows = await connection.execute(contents_with_sha256(raw))
    return [*(row[0] for row in rows), *([raw] if algorithm is None else [])]


def contents_with_sha256(digest: bytes) -> Select[*tuple[Any, ...]]:
    """Return the query for the primary digests of the contents with this SHA-256."""
    # The index has the first 8 bytes. Their position is no parameter: only so can a planner use the index.
    start: ColumnElement[bytes] = func.substr(_contents.c.digest_sha256, literal_column("1"), literal_column("8"))
    selected = select(_contents.c.digest_primary)
    return selected.where(start == digest[:8], _contents.c.digest_sha256 == digest)


def _locations_of(package_id: str | None) -> ColumnElement[bool]:
    if package_id is None:
        return true()
    of_package = select(_files.c.digest_primary).where(_files.c.package_number == number_of(package_id))
    return _locations.c.digest_primary.in_(of_package)


async def locations(
    connection: AsyncConnection, *, package_id: str | None, after: str, limit: int
) -> Sequence[Location]:
    """Return the current objects of up to `limit` contents after the content address `after`, in order of address.

    With a package id, only the contents of that package count. Retired and removed objects are left out.
    """
    referring = _locations if package_id is None else _files
    digests = select(referring.c.digest_primary).where(referring.c.digest_primary > digest_in(after))
    if package_id is None:
        digests = digests.where(IS_CURRENT)
    else:
        digests = digests.where(_files.c.package_number == number_of(package_id))
    page = digests.distinct().order_by(referring.c.digest_primary).limit(limit).subquery()
    query = _LOCATIONS_QUERY.where(IS_CURRENT, _locations.c.digest_primary.in_(select(page.c.digest_primary)))
    rows = await connection.execute(query.order_by(*(_locations.c[name] for name in LOCATIONS.key)))
    return [_location(row) for row in rows]


async def known_objects(
    connection: AsyncConnection, addresses: Collection[ContentAddress]
) -> dict[ContentAddress, KnownObject]:
    """Return the object to read each content from: the latest object that is not flagged, or else the latest.

    Contents without a current object are left out.
    """
    found: dict[ContentAddress, KnownObject] = {}
    asked = {(address.digest.algorithm, address.digest.raw): address for address in addresses}
    digests = iter([raw for _algorithm, raw in asked])
    while page := list(islice(digests, _KNOWN_AT_ONCE)):
        query = _LOCATIONS_QUERY.where(IS_CURRENT, _locations.c.digest_primary.in_(page))
        for row in await connection.execute(query.order_by(~_IS_FLAWED, _locations.c.sequence)):  # the last row wins
            digest, backend_id, object_key, _integrity, algorithm, _sha256, size_bytes = tuple(row)
            address_in(algorithm, digest, size_bytes)
            if (address := asked.get((algorithm, digest))) is not None:
                found[address] = KnownObject(address, size_bytes, Place(backend_id, object_key))
    return found


def digest_in(content_address: str) -> bytes:
    """Return the raw digest of a content address; no bytes for no address."""
    return ContentAddress.parse(content_address).digest.raw if content_address else b""


async def location_totals(connection: AsyncConnection, *, package_id: str | None) -> tuple[int, int]:
    """Return the number of objects that `locations` returns without a limit, and their total size in bytes."""
    joined = _locations.join(_contents, _contents.c.digest_primary == _locations.c.digest_primary)
    query = select(func.count(), func.coalesce(func.sum(_contents.c.size_bytes), 0)).select_from(joined)
    count, size = (await connection.execute(query.where(IS_CURRENT, _locations_of(package_id)))).one()
    return int(count), int(size)


async def flagged_objects(connection: AsyncConnection) -> dict[ContentAddress, Place]:
    """Return each content with a flagged object, and the unused place where to store it again."""
    flagged = select(_locations.c.digest_primary).where(_IS_FLAGGED)
    query = _LOCATIONS_QUERY.where(_locations.c.digest_primary.in_(flagged)).order_by(~_IS_FLAGGED)
    rows = await connection.execute(query)
    places: dict[ContentAddress, list[Place]] = {}
    try:
        for digest, backend_id, object_key, _integrity, algorithm, _sha256, size_bytes in map(tuple, rows):
            address = ContentAddress.parse(address_in(algorithm, digest, size_bytes))
            places.setdefault(address, []).append(Place(backend_id, object_key))
        latest = {address: latest_key(place.object_key for place in found) for address, found in places.items()}
        return {address: Place(found[0].backend_id, next_key(latest[address])) for address, found in places.items()}
    except (InvalidValue, KeyRefused) as error:
        raise DamagedCell(f"a flagged object has an {error}") from error


async def flagged_counts(connection: AsyncConnection) -> dict[str, int]:
    """Return the number of flagged objects by problem."""
    query = select(_locations.c.integrity, func.count()).where(_IS_FLAGGED).group_by(_locations.c.integrity)
    return {problem: int(count) for problem, count in (await connection.execute(query)).all()}


async def deduplicated_bytes(connection: AsyncConnection, package_id: str) -> int:
    """Return the bytes of the package's files whose content the store had before their event was written."""
    new = (
        select(_contents.c.digest_primary, _contents.c.size_bytes)
        .join(_files, _files.c.digest_primary == _contents.c.digest_primary)
        # The event for the new objects of a command directly precedes the event for its entries.
        .where(_files.c.package_number == number_of(package_id), _files.c.sequence == _contents.c.sequence + 1)
        .distinct()
        .subquery()
    )
    new_bytes = select(func.coalesce(func.sum(new.c.size_bytes), 0)).scalar_subquery()
    query = select(_packages.c.total_bytes - new_bytes).where(_packages.c.package_id == package_id)
    return int((await connection.execute(query)).scalar_one_or_none() or 0)


def _location(row: Sequence[Any]) -> Location:
    digest, backend_id, object_key, integrity, algorithm, sha256, size_bytes = row
    address = address_in(algorithm, digest, size_bytes)
    return Location(address, backend_id, object_key, sha256.hex(), size_bytes, integrity)
