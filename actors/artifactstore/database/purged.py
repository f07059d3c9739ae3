"""Queries for purged contents: for the commit that must not bring one back, for readers, for backups and purges."""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, Table, select

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import Query, Steps, lookup, query, run, wanted
from artifactstore.database.files import address_in
from artifactstore.database.schema import LIVE, ViewTables
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.purging import PurgedContent
from artifactstore_protocols.state import LogState, Purged
from artifactstore_protocols.storage import Place
from artifactstore_protocols.views import CONTENTS, LOCATIONS, PURGED

__all__ = ["list_purged", "load_purged", "places_of_purged", "purged_contents"]

_purged, _contents, _locations = LIVE[PURGED], LIVE[CONTENTS], LIVE[LOCATIONS]


def load_purged(state: LogState, tables: ViewTables, digests: Collection[bytes], database: str) -> Steps[None]:
    """Load which of the loaded contents were purged. Only a content without a current object can be."""
    keys = [
        (digest,)
        for digest in digests
        if digest in state.contents and not any(held.is_current for held in state.places_of(digest).values())
    ]
    if keys:
        for digest, at_us, by, reason in (yield lookup(_facts(tables[PURGED], database), keys)):
            state.purged[digest] = Purged(at_us, by, reason)


@cache
def _facts(table: Table, database: str) -> Query:
    values = wanted(database, digest=bytes)
    columns = table.c
    selected = select(columns.digest_primary, columns.purged_at, columns.purged_by, columns.reason)
    return query(selected.where(columns.digest_primary == values["digest"]), values, database)


def _records() -> Select[*tuple[Any, ...]]:
    return select(
        _contents.c.digest_algorithm,
        _purged.c.digest_primary,
        _contents.c.size_bytes,
        _purged.c.reason,
        _purged.c.purged_by,
        _purged.c.purged_at,
        _purged.c.sequence,
    ).join_from(_purged, _contents, _contents.c.digest_primary == _purged.c.digest_primary)


def _record(row: Sequence[Any]) -> PurgedContent:
    algorithm, digest, size_bytes, *rest = row
    return PurgedContent(address_in(algorithm, digest, size_bytes), size_bytes, *rest)


async def purged_contents(
    connection: AsyncConnection, addresses: Collection[ContentAddress]
) -> dict[ContentAddress, PurgedContent]:
    """Return the records of those of the contents that were purged."""
    found: dict[ContentAddress, PurgedContent] = {}

    def steps() -> Steps[None]:
        rows = yield lookup(_records_wanted(connection.dialect.name), [(each.digest.raw,) for each in addresses])
        found.update((ContentAddress.parse(record.content_address), record) for record in map(_record, rows))

    if addresses:
        await run(connection, steps())
    return {address: found[address] for address in addresses if address in found}


@cache
def _records_wanted(database: str) -> Query:
    values = wanted(database, digest=bytes)
    return query(_records().where(_purged.c.digest_primary == values["digest"]), values, database)


async def list_purged(connection: AsyncConnection, after: str, limit: int) -> Sequence[PurgedContent]:
    """Return up to `limit` purged contents after a content address, in the order of their digests."""
    selected = _records().order_by(_purged.c.digest_primary).limit(limit)
    if after:
        selected = selected.where(_purged.c.digest_primary > ContentAddress.parse(after).digest.raw)
    return [_record(row) for row in map(tuple, await connection.execute(selected))]


async def places_of_purged(
    connection: AsyncConnection, addresses: Collection[ContentAddress]
) -> Sequence[tuple[Place, int]]:
    """Return every place that a purged content ever had, with the size of the content."""
    found: list[tuple[Place, int]] = []

    def steps() -> Steps[None]:
        rows = yield lookup(_places_wanted(connection.dialect.name), [(each.digest.raw,) for each in addresses])
        found.extend((Place(backend_id, object_key), size_bytes) for backend_id, object_key, size_bytes in rows)

    if addresses:
        await run(connection, steps())
    return found


@cache
def _places_wanted(database: str) -> Query:
    values = wanted(database, digest=bytes)
    selected = (
        select(_locations.c.backend_id, _locations.c.object_key, _contents.c.size_bytes)
        .join_from(_locations, _purged, _purged.c.digest_primary == _locations.c.digest_primary)
        .join(_contents, _contents.c.digest_primary == _locations.c.digest_primary)
    )
    return query(selected.where(_locations.c.digest_primary == values["digest"]), values, database)
