"""Receipts of uploads, and the contents to which a package may refer."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from itertools import batched
from typing import Any, Final

from sqlalchemy import Select, delete, func, literal_column, select

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import (
    OnConflict,
    Query,
    Steps,
    execute_all,
    insertion,
    lookup,
    query,
    run,
    wanted,
)
from artifactstore.database.events import Transaction
from artifactstore.database.queries.glob_conditions import within_condition
from artifactstore.database.queries.objects import IS_CURRENT
from artifactstore.database.schema import LIVE, upload_receipts
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.package_listing import PackageFilter
from artifactstore_protocols.pushing import RECEIPT_US, UploadRights
from artifactstore_protocols.views import CONTENTS, FILES, LOCATIONS, PACKAGES

__all__ = ["note_uploads", "readable_query", "receipt_query", "referable_contents", "upload_ends", "usable_query"]

_contents, _files, _locations, _packages = LIVE[CONTENTS], LIVE[FILES], LIVE[LOCATIONS], LIVE[PACKAGES]
_receipts = upload_receipts.c

_AT_ONCE: Final = 500
"""The number of digests in one statement, below the 999 parameters that every SQLite build accepts."""


async def referable_contents(
    connection: AsyncConnection, addresses: Collection[ContentAddress], rights: UploadRights | None
) -> Mapping[ContentAddress, int]:
    """Return the sizes of those contents that have an intact object, and to which a package may refer."""
    if not addresses:
        return {}
    by_digest = {address.digest.raw: address for address in addresses}
    usable: dict[bytes, int] = dict(
        await run(connection, _found(usable_query(connection.dialect.name), [(each,) for each in by_digest]))
    )
    allowed = set(usable) if rights is None else await _allowed(connection, list(by_digest), rights)
    return {by_digest[digest]: size for digest, size in usable.items() if digest in allowed}


def _found(found_by: Query, keys: list[tuple[object, ...]]) -> Steps[list[Any]]:
    return (yield lookup(found_by, keys))


async def _allowed(connection: AsyncConnection, digests: list[bytes], rights: UploadRights) -> set[bytes]:
    """Return the contents that the principal has receipts for, or may read in a package."""
    keys: list[tuple[object, ...]] = [
        (digest, rights.principal, rights.package_id, rights.now_us) for digest in digests
    ]
    found = {digest for (digest,) in await run(connection, _found(receipt_query(connection.dialect.name), keys))}
    if rights.readable:
        where = PackageFilter(within=rights.readable)
        for page in batched([digest for digest in digests if digest not in found], _AT_ONCE):
            rows = await connection.execute(readable_query(page, rights.readable))
            found.update(digest for digest, name in rows if where.matches_name(name))
    return found


async def note_uploads(transaction: Transaction, addresses: Collection[ContentAddress], rights: UploadRights) -> None:
    """Record receipts, and forget those that have ended."""
    ended = delete(upload_receipts).where(_receipts.expires_at <= rights.now_us)
    await transaction.connection.execute(ended)
    end_us = rights.now_us + RECEIPT_US
    rows = [(rights.principal, rights.package_id, address.digest.raw, end_us) for address in addresses]
    if rows:
        statement = insertion(upload_receipts, rows, transaction.database, OnConflict.OVERWRITE)
        await execute_all(transaction.connection, [statement])


async def upload_ends(
    connection: AsyncConnection, addresses: Collection[ContentAddress], now_us: int
) -> Mapping[ContentAddress, int]:
    """Return when the last receipt of each content ends that has one."""
    found: dict[ContentAddress, int] = {}
    by_digest = {address.digest.raw: address for address in addresses}

    def steps() -> Steps[None]:
        rows = yield lookup(_ends_query(connection.dialect.name), [(digest, now_us) for digest in by_digest])
        found.update((by_digest[digest], end_us) for digest, end_us in rows)

    if addresses:
        await run(connection, steps())
    return found


@cache
def usable_query(database: str) -> Query:
    """Return the query for the sizes of those of the wanted contents that have an intact object."""
    values = wanted(database, digest=bytes)
    joined = _locations.join(_contents, _contents.c.digest_primary == _locations.c.digest_primary)
    selected = select(_contents.c.digest_primary, _contents.c.size_bytes).distinct().select_from(joined)
    of_wanted = _locations.c.digest_primary == values["digest"]
    is_intact = _locations.c.integrity == literal_column("'intact'")
    return query(selected.where(of_wanted, IS_CURRENT, is_intact), values, database)


@cache
def receipt_query(database: str) -> Query:
    """Return the query for those of the wanted contents that a principal has a receipt for."""
    values = wanted(database, digest=bytes, principal=str, package_id=str, now_us=int)
    selected = select(_receipts.digest_primary).where(
        _receipts.principal == values["principal"],
        _receipts.package_id == values["package_id"],
        _receipts.digest_primary == values["digest"],
        _receipts.expires_at > values["now_us"],
    )
    return query(selected, values, database)


def readable_query(digests: Sequence[bytes], globs: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """Return the query for those contents that are in packages whose names the globs may match, with the names."""
    joined = _files.join(_packages, _packages.c.created_sequence == _files.c.package_number)
    selected = select(_files.c.digest_primary, _packages.c.name).distinct().select_from(joined)
    within = within_condition(_packages.c.name, globs)
    return selected.where(_files.c.digest_primary.in_(digests), _packages.c.gone_at.is_(None), within)


@cache
def _ends_query(database: str) -> Query:
    values = wanted(database, digest=bytes, now_us=int)
    last = func.max(_receipts.expires_at)
    selected = select(_receipts.digest_primary, last).group_by(_receipts.digest_primary)
    of_wanted = _receipts.digest_primary == values["digest"]
    return query(selected.where(of_wanted, _receipts.expires_at > values["now_us"]), values, database)
