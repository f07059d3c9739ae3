"""Queries for one package."""

from collections.abc import Generator, Sequence
from typing import cast

from sqlalchemy import ColumnElement, Row, ScalarSelect, Select, func, literal_column, select

from artifactstore.database.annotations import annotations_column, annotations_in, parents_column, parents_in
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.cells import DamagedCell, time_in
from artifactstore.database.queries.glob_conditions import within_condition
from artifactstore.database.schema import LIVE, events
from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import NotCanonical
from artifactstore_protocols.event_types import PACKAGE_FINALIZED
from artifactstore_protocols.events import check_payload, digest_of_payload
from artifactstore_protocols.metadata import Metadata, is_metadata
from artifactstore_protocols.package_listing import PackageFilter
from artifactstore_protocols.package_references import (
    CANDIDATES_MAX,
    PART_LENGTH_MIN,
    ByDigest,
    ById,
    ByName,
    ByPartOfId,
    ByTag,
    OpenByName,
    PackageQuery,
    search_package,
)
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.records import PackageRecord
from artifactstore_protocols.redaction import ManifestRedacted
from artifactstore_protocols.views import PACKAGES, RETENTION, TAGS

__all__ = [
    "HAS_NO_END",
    "IS_NOT_GONE",
    "LISTED_AT_ONCE",
    "TAG_SEPARATOR",
    "find_package",
    "manifest_bytes",
    "number_of",
    "package",
    "package_in",
    "package_query",
    "queries_for",
    "readable_package",
]

_packages = LIVE[PACKAGES]
_retention = LIVE[RETENTION]
_tags = LIVE[TAGS]

_SHOWN_CHARACTERS = 60

TAG_SEPARATOR = "\n"
"""A character that no tag contains."""

HAS_NO_END = _packages.c.gone_at.is_(None)
"""The condition of the partial index of names."""

IS_NOT_GONE = _packages.c.gone_sequence.is_(None)
"""The same, without the choice of that index."""

# As in the index on it; the number is no parameter.
_id_end: ColumnElement[str] = func.substr(_packages.c.package_id, literal_column("31"))

LISTED_AT_ONCE = 500


def package_query() -> Select[tuple[object, ...]]:
    """Return the query of packages, whose rows `package_in` reads."""
    joined = _packages.join(_retention, _retention.c.package_id == _packages.c.package_id)
    tags = select(func.aggregate_strings(_tags.c.tag, TAG_SEPARATOR)).where(
        _tags.c.package_id == _packages.c.package_id
    )
    further = (_retention.c.expires_at, _retention.c.duration_us, tags.scalar_subquery().label("tags"))
    number = _packages.c.created_sequence
    return select(_packages, *further, annotations_column(number), parents_column(number)).select_from(joined)


def number_of(package_id: str) -> ScalarSelect[int]:
    """Return the number of a package, as a subquery."""
    return select(_packages.c.created_sequence).where(_packages.c.package_id == package_id).scalar_subquery()


async def package(connection: AsyncConnection, package_id: str) -> PackageRecord:
    """Return the package with this id.

    Raises:
        PackageNotFound: no package has this id.
    """
    row = (await connection.execute(package_query().where(_packages.c.package_id == package_id))).one_or_none()
    if row is None:
        raise PackageNotFound(package_id)
    return package_in(row)


async def readable_package(connection: AsyncConnection, package_id: str) -> PackageRecord:
    """Return the package with this id, whose entries can be read.

    Raises:
        PackageNotFound: no package has this id.
        PackageGone: the package was deleted or has expired.
    """
    found = await package(connection, package_id)
    found.check_not_gone()
    return found


async def find_package(
    connection: AsyncConnection, text: str, *, prefer_open: bool, within: Sequence[str] | None = None
) -> PackageRecord:
    """Return the package that a text names; see `package_references.search_package`.

    With `within`, a package whose name matches none of these globs is as if it were not there.
    """
    search: Generator[PackageQuery, Sequence[PackageRecord], PackageRecord] = search_package(
        text, prefer_open=prefer_open
    )
    try:
        wanted = next(search)
        while True:
            wanted = search.send(await _matching(connection, wanted, PackageFilter(within=within)))
    except StopIteration as end:
        return cast("PackageRecord", end.value)


async def _matching(connection: AsyncConnection, wanted: PackageQuery, where: PackageFilter) -> Sequence[PackageRecord]:
    """Return the packages that match a query, and whose names a filter accepts. Each query uses an index."""
    if isinstance(wanted, ByName | OpenByName) and not where.matches_name(wanted.name):
        return ()
    needed = 1 if isinstance(wanted, ByDigest) else CANDIDATES_MAX + 1 if isinstance(wanted, ByPartOfId) else None
    found: dict[str, PackageRecord] = {}
    for selected in queries_for(wanted, where.within):
        page, accepted, offset = selected, 0, 0
        while True:
            records = [package_in(row) for row in await connection.execute(page)]
            for record in records:
                if where.matches_name(record.name):
                    found[record.package_id] = record
                    accepted += 1
            # Rejected packages must not take the places of accepted ones, so the search continues after them.
            if where.within is None or needed is None or accepted >= needed or not records:
                break
            offset += len(records)
            page = selected.limit(LISTED_AT_ONCE).offset(offset)
    return sorted(found.values(), key=lambda record: -record.created_sequence)


def queries_for(wanted: PackageQuery, within: Sequence[str] | None = None) -> Sequence[Select[tuple[object, ...]]]:
    """Return the SQL queries whose rows together match a query for packages.

    With `within`, they leave out packages whose names match none of these globs, as far as SQL can tell. A query for a
    name is as it is without.
    """
    selected = _queries_for(wanted)
    if within is None or isinstance(wanted, ByName | OpenByName):
        return selected
    name = _packages.c.name.concat("")  # no index on names may serve it
    return tuple(each.where(within_condition(name, within)) for each in selected)


def _queries_for(wanted: PackageQuery) -> Sequence[Select[tuple[object, ...]]]:
    columns = _packages.c
    newest = columns.finalized_sequence.desc()
    match wanted:
        case ById(package_id):
            return (package_query().where(columns.package_id == package_id),)
        case ByPartOfId(text):
            begins = (columns.package_id >= text) & (columns.package_id < f"{text}~")
            ends = (_id_end == text[-PART_LENGTH_MIN:]) & columns.package_id.endswith(text, autoescape=True)
            # An id begins with the time at which it was made.
            newest_ids = (begins, columns.package_id.desc()), (ends, columns.created_sequence.desc())
            return tuple(
                package_query().where(each).order_by(order).limit(CANDIDATES_MAX + 1) for each, order in newest_ids
            )
        case ByName(name, back, until_us, before):
            query = package_query().where(columns.name == name, columns.finalized_sequence.is_not(None), HAS_NO_END)
            if until_us is not None:
                query = query.where(columns.finalized_at < until_us)
            if before is not None:
                query = query.where(columns.finalized_sequence < before)
            return (query.order_by(newest).limit(1).offset(back),)
        case OpenByName(name):
            query = package_query().where(columns.name == name, columns.finalized_sequence.is_(None), HAS_NO_END)
            return (query.order_by(columns.created_sequence.desc()).limit(CANDIDATES_MAX + 1),)
        case ByTag(tag):
            tagged = select(_tags.c.package_id).where(_tags.c.tag == tag)
            return (package_query().where(columns.package_id == tagged.scalar_subquery()),)
        case ByDigest(of, digest, gone):
            column = columns.manifest_digest if of == "manifest" else columns.tree_digest
            query = package_query().where(column == digest, ~IS_NOT_GONE if gone else IS_NOT_GONE)
            return (query.order_by(newest).limit(1),)


async def manifest_bytes(connection: AsyncConnection, package_id: str) -> bytes | None:
    """Return the manifest bytes of a finalized package, from its event; None while the package is open.

    Raises:
        PayloadDiffers: the manifest does not match the digest in the event's record.
        ManifestRedacted: the manifest was redacted.
    """
    query = (
        select(events.c.sequence, events.c.payload_digest, events.c.payload, events.c.redacted_by)
        .join(_packages, _packages.c.finalized_sequence == events.c.sequence)
        .where(_packages.c.package_id == package_id, events.c.type == PACKAGE_FINALIZED.name)
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    if row.redacted_by is not None:
        raise ManifestRedacted(package_id, row.payload_digest, row.redacted_by)
    payload = bytes(row.payload)
    check_payload(row.sequence, PACKAGE_FINALIZED.name, digest_of_payload(payload), row.payload_digest)
    return payload


def package_in(row: Row[tuple[object, ...]]) -> PackageRecord:
    """Return the package in a row of `package_query`."""
    of_finalized = (row.finalized_at, row.manifest_digest, row.tree_digest, row.finalized_sequence)
    of_gone = (row.gone_at, row.gone_by, row.gone_reason, row.gone_sequence)
    needed = {"open": (), "finalized": of_finalized, "deleted": of_gone, "expired": of_gone}.get(row.status)
    if needed is None or None in needed or (needed is not of_gone and row.gone_at is not None):
        raise DamagedCell(
            f"package {row.package_id} is {row.status[:_SHOWN_CHARACTERS]!r}, and no event has made it so"
        )
    times = {name: getattr(row, name) for name in ("created_at", "finalized_at", "expires_at", "gone_at")}
    for column, us in times.items():
        if us is not None:
            time_in(column, us)
    return PackageRecord(
        package_id=row.package_id,
        name=row.name,
        status=row.status,
        version=row.version,
        files=row.file_count,
        links=row.link_count,
        directories=row.directory_count,
        bytes=row.total_bytes,
        retention_class=row.retention_class,
        retention_duration_us=row.duration_us,
        expires_at_us=row.expires_at,
        metadata=_metadata(row),
        created_by=row.created_by,
        created_at_us=row.created_at,
        finalized_at_us=row.finalized_at,
        manifest_digest=row.manifest_digest,
        tree_digest=row.tree_digest,
        created_sequence=row.created_sequence,
        finalized_sequence=row.finalized_sequence,
        tags=tuple(sorted(row.tags.split(TAG_SEPARATOR))) if row.tags is not None else (),
        annotations=annotations_in(row.annotations),
        schema=row.metadata_schema,
        parents=parents_in(row.parents),
        gone_at_us=row.gone_at,
        gone_by=row.gone_by,
        gone_reason=row.gone_reason,
        gone_sequence=row.gone_sequence,
    )


def _metadata(row: Row[tuple[object, ...]]) -> Metadata:
    try:
        metadata = canonical.decode(row.metadata)
    except NotCanonical as error:
        raise DamagedCell(f"the metadata of package {row.package_id} is {error}") from error
    if not is_metadata(metadata):
        raise DamagedCell(f"the metadata of package {row.package_id} is no map of values")
    return cast("Metadata", metadata)
