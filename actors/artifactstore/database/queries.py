"""Queries of the views for packages, files and objects. Every function reads in the caller's snapshot."""

from collections.abc import Collection, Generator, Mapping, Sequence
from functools import cache
from itertools import batched, islice
from typing import Any, cast

from msgspec import structs
from sqlalchemy import (
    ColumnElement,
    Row,
    ScalarSelect,
    Select,
    and_,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)

from artifactstore.database.annotations import annotations_column, annotations_in, parents_column, parents_in, text_in
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import Query, Steps, lookup, query, run, wanted
from artifactstore.database.cells import DamagedCell, time_in
from artifactstore.database.files import address_in, content_columns, entry_in, path_of
from artifactstore.database.name_keys import name_key
from artifactstore.database.rare_names import is_name, numbers_with_rare_name
from artifactstore.database.schema import LIVE, events
from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import NotCanonical
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_store import Location
from artifactstore_protocols.event_types import PACKAGE_FINALIZED
from artifactstore_protocols.events import check_payload, digest_of_payload
from artifactstore_protocols.globs import beginning_of, end_of_texts, is_literal, last_name, like_pattern
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.metadata import Metadata, is_metadata, search_term
from artifactstore_protocols.name_keys import name_key as key_of
from artifactstore_protocols.object_keys import latest_key, next_key
from artifactstore_protocols.package_listing import (
    EntryListing,
    PackageFilter,
    PackageListing,
    SortKey,
    position_of,
    raw_digest,
)
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
from artifactstore_protocols.paths import path_key, tree_order
from artifactstore_protocols.records import FileRecord, FoundEntry, MetadataSchema, PackageRecord, Tag
from artifactstore_protocols.redaction import ManifestRedacted
from artifactstore_protocols.storage import KeyRefused, KnownObject, Place
from artifactstore_protocols.views import (
    CONTENTS,
    FILES,
    LOCATIONS,
    PACKAGES,
    PARENTS,
    REQUIREMENTS,
    RETENTION,
    SCHEMAS,
    TAGS,
    VALUES,
)

__all__ = [
    "IS_CURRENT",
    "contents_with_sha256",
    "deduplicated_bytes",
    "differences",
    "differing_entries",
    "entries_query",
    "file",
    "file_page",
    "file_page_query",
    "files_with_content",
    "find_entries",
    "find_package",
    "flagged_counts",
    "flagged_objects",
    "glob_condition",
    "known_objects",
    "list_files",
    "listing_query",
    "location_totals",
    "locations",
    "manifest_bytes",
    "metadata_schema",
    "metadata_schemas",
    "package",
    "packages",
    "queries_for",
    "readable_package",
    "schema_requirements",
    "tag",
    "tag_in",
    "tags",
    "tags_query",
]

_SHOWN_CHARACTERS = 60
_TAG_SEPARATOR = "\n"
"""A character that no tag contains."""

_packages, _contents, _files, _locations = LIVE[PACKAGES], LIVE[CONTENTS], LIVE[FILES], LIVE[LOCATIONS]
_requirements = LIVE[REQUIREMENTS]
_retention, _schemas, _tags, _values = LIVE[RETENTION], LIVE[SCHEMAS], LIVE[TAGS], LIVE[VALUES]
_parents = LIVE[PARENTS]
_others = _values.alias("others")

# Literals, not parameters: only with literals can a planner use the partial index of flagged objects.
IS_CURRENT = (_locations.c.state != literal_column("'retired'")) & (_locations.c.state != literal_column("'removed'"))
_IS_FLAWED = _locations.c.integrity != literal_column("'intact'")
_IS_FLAGGED = _IS_FLAWED & IS_CURRENT

_HAS_NO_END = _packages.c.gone_at.is_(None)
"""The condition of the partial index of names."""

_IS_NOT_GONE = _packages.c.gone_sequence.is_(None)
"""The same, without the choice of that index."""

# As in the index on it; the number is no parameter.
_id_end: ColumnElement[str] = func.substr(_packages.c.package_id, literal_column("31"))

_LISTED_AT_ONCE = 500
_KNOWN_AT_ONCE = 500
"""The number of digests in one statement, below the 999 parameters that every SQLite build accepts."""

_FILE_COLUMNS = (
    _files.c.package_number,
    _files.c.path_key,
    path_of(_files),
    _files.c.kind,
    _files.c.executable,
    _files.c.media_type,
    _files.c.digest_primary,
    _files.c.link_target,
    _files.c.sequence,
    *content_columns(_contents),
)
_FILES_QUERY = select(*_FILE_COLUMNS).select_from(
    _files.outerjoin(_contents, _contents.c.digest_primary == _files.c.digest_primary)
)
_LOCATIONS_QUERY = select(
    _locations.c.digest_primary,
    _locations.c.backend_id,
    _locations.c.object_key,
    _locations.c.integrity,
    *content_columns(_contents),
).select_from(_locations.outerjoin(_contents, _contents.c.digest_primary == _locations.c.digest_primary))


def _package_query() -> Select[tuple[object, ...]]:
    joined = _packages.join(_retention, _retention.c.package_id == _packages.c.package_id)
    tags = select(func.aggregate_strings(_tags.c.tag, _TAG_SEPARATOR)).where(
        _tags.c.package_id == _packages.c.package_id
    )
    further = (_retention.c.expires_at, _retention.c.duration_us, tags.scalar_subquery().label("tags"))
    number = _packages.c.created_sequence
    return select(_packages, *further, annotations_column(number), parents_column(number)).select_from(joined)


def _number_of(package_id: str) -> ScalarSelect[int]:
    return select(_packages.c.created_sequence).where(_packages.c.package_id == package_id).scalar_subquery()


async def package(connection: AsyncConnection, package_id: str) -> PackageRecord:
    """Return the package with this id.

    Raises:
        PackageNotFound: no package has this id.
    """
    row = (await connection.execute(_package_query().where(_packages.c.package_id == package_id))).one_or_none()
    if row is None:
        raise PackageNotFound(package_id)
    return _package(row)


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
    for selected in queries_for(wanted):
        page, accepted, offset = selected, 0, 0
        while True:
            records = [_package(row) for row in await connection.execute(page)]
            for record in records:
                if where.matches_name(record.name):
                    found[record.package_id] = record
                    accepted += 1
            # Rejected packages must not take the places of accepted ones, so the search continues after them.
            if where.within is None or needed is None or accepted >= needed or not records:
                break
            offset += len(records)
            page = selected.limit(_LISTED_AT_ONCE).offset(offset)
    return sorted(found.values(), key=lambda record: -record.created_sequence)


def queries_for(wanted: PackageQuery) -> Sequence[Select[tuple[object, ...]]]:
    """Return the SQL queries whose rows together match a query for packages."""
    columns = _packages.c
    newest = columns.finalized_sequence.desc()
    match wanted:
        case ById(package_id):
            return (_package_query().where(columns.package_id == package_id),)
        case ByPartOfId(text):
            begins = (columns.package_id >= text) & (columns.package_id < f"{text}~")
            ends = (_id_end == text[-PART_LENGTH_MIN:]) & columns.package_id.endswith(text, autoescape=True)
            # An id begins with the time at which it was made.
            newest_ids = (begins, columns.package_id.desc()), (ends, columns.created_sequence.desc())
            return tuple(
                _package_query().where(each).order_by(order).limit(CANDIDATES_MAX + 1) for each, order in newest_ids
            )
        case ByName(name, back, until_us, before):
            query = _package_query().where(columns.name == name, columns.finalized_sequence.is_not(None), _HAS_NO_END)
            if until_us is not None:
                query = query.where(columns.finalized_at < until_us)
            if before is not None:
                query = query.where(columns.finalized_sequence < before)
            return (query.order_by(newest).limit(1).offset(back),)
        case OpenByName(name):
            query = _package_query().where(columns.name == name, columns.finalized_sequence.is_(None), _HAS_NO_END)
            return (query.order_by(columns.created_sequence.desc()).limit(CANDIDATES_MAX + 1),)
        case ByTag(tag):
            tagged = select(_tags.c.package_id).where(_tags.c.tag == tag)
            return (_package_query().where(columns.package_id == tagged.scalar_subquery()),)
        case ByDigest(of, digest, gone):
            column = columns.manifest_digest if of == "manifest" else columns.tree_digest
            query = _package_query().where(column == digest, ~_IS_NOT_GONE if gone else _IS_NOT_GONE)
            return (query.order_by(newest).limit(1),)


async def packages(connection: AsyncConnection, page: PackageListing) -> Sequence[PackageRecord]:
    """Return one page of a list of packages.

    SQL selects by what indexes and plain comparisons can tell; `PackageFilter.matches` decides about the rest.
    """
    found: list[PackageRecord] = []
    part = page
    while len(found) < page.limit:
        records = [_package(row) for row in await connection.execute(listing_query(part))]
        found += filter(page.where.matches, records)
        if len(records) < part.limit:
            break
        part = structs.replace(
            part, after=position_of(records[-1], page.sort), limit=min(2 * part.limit, _LISTED_AT_ONCE)
        )
    return found[: page.limit]


def listing_query(page: PackageListing) -> Select[tuple[object, ...]]:
    """Return the SQL query for a page of a list, which may also select packages that the filter rejects."""
    columns = _packages.c
    query = _package_query().where(*_conditions(page.where, page.sort, joined=True))
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


def _conditions(where: PackageFilter, sort: SortKey, *, joined: bool = False) -> list[ColumnElement[bool]]:
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
        found.append(or_(false(), *(glob_condition(name, glob) for glob in where.within)))
    if where.status is None:
        found.append(_IS_NOT_GONE)
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


def glob_condition(column: ColumnElement[str], glob: str) -> ColumnElement[bool]:
    """Return a condition that every text meets which the glob matches, and which an index on the column serves."""
    if is_literal(glob):
        return column == glob
    conditions: list[ColumnElement[bool]] = [column.like(like_pattern(glob), escape="\\")]
    start = beginning_of(glob)
    if start:
        conditions.append(column >= start)
    if (end := end_of_texts(start)) is not None:
        conditions.append(column < end)
    return and_(*conditions)


async def find_entries(connection: AsyncConnection, page: EntryListing) -> Sequence[FoundEntry]:
    """Return one page of the entries that a search finds, in the order of its packages.

    SQL narrows the search as in `packages`, and the filters decide about the rest.
    """
    if page.entries.digest is not None:
        return await _find_in(connection, page, await _primary_digests(connection, page.entries.digest))
    if (numbers := await numbers_with_rare_name(connection, page)) is None:
        return await _find_in(connection, page, None)
    found: list[FoundEntry] = []
    for some in batched(numbers, _LISTED_AT_ONCE):
        left = structs.replace(page, limit=page.limit - len(found))
        found += await _find_in(connection, left, None, some)
        if len(found) == page.limit:
            break
    return found


async def _find_in(
    connection: AsyncConnection,
    page: EntryListing,
    digests: Sequence[bytes] | None,
    numbers: Sequence[int] | None = None,
) -> Sequence[FoundEntry]:
    matches = page.entries.path_matcher()
    found: list[FoundEntry] = []
    part = page
    while len(found) < page.limit:
        selected = entries_query(part, digests, numbers)
        rows: list[tuple[Any, ...]] = [tuple(row) for row in await connection.execute(selected)]
        created = {row[0] for row in rows}
        of_numbers = _package_query().where(_packages.c.created_sequence.in_(created))
        packages = {each.created_sequence: each for each in map(_package, await connection.execute(of_numbers))}
        accepted = {number: package for number, package in packages.items() if page.packages.matches(package)}
        found += (
            FoundEntry(package, _file(row, package.package_id))
            for row in rows
            if (package := accepted.get(row[0])) is not None and matches(row[1])
        )
        if len(rows) < part.limit:
            break
        part = structs.replace(part, after=rows[-1][:2], limit=min(2 * part.limit, _LISTED_AT_ONCE))
    return found[: page.limit]


def entries_query(
    page: EntryListing, digests: Sequence[bytes] | None, numbers: Sequence[int] | None = None
) -> Select[tuple[Any, ...]]:
    """Return the SQL query for a page of a search, which may also select entries that the filters reject.

    A digest is searched by an index. So is a file name in a pattern without an exact beginning, such as `**/a.txt`.
    Otherwise one search in each package finds an exact path, or the paths with the beginning of a pattern.

    Args:
        page: the page.
        digests: the primary digests of the content; None if any content will do.
        numbers: the only packages to search, by the sequences of their creation; None for all.
    """
    number, key = _files.c.package_number, _files.c.path_key
    # The packages come first: SQLite reads them in this order, and sorts nothing.
    query = (
        select(*_FILE_COLUMNS)
        .select_from(_packages)
        .join(_files, number == _packages.c.created_sequence)
        .outerjoin(_contents, _contents.c.digest_primary == _files.c.digest_primary)
        .where(*_conditions(page.packages, "created"), *(glob_condition(key, glob) for glob in page.entries.globs))
    )
    order = _packages.c.created_sequence
    if numbers is not None:
        query = query.where(order.in_(numbers))
    if digests is not None:
        one = _files.c.digest_primary == digests[0] if len(digests) == 1 else _files.c.digest_primary.in_(digests)
        query, order = query.where(one), number
    elif numbers is None:
        names = [name for glob in page.entries.globs if is_name(glob) and (name := last_name(glob))]
        if names:
            query, order = query.where(*(name_key == key_of(name) for name in names)), number
    if page.after is not None:
        at, after = page.after
        start, rest = (order >= at, order > at) if page.ascending else (order <= at, order < at)
        query = query.where(start, or_(rest, key > after))
    return query.order_by(order.asc() if page.ascending else order.desc(), key).limit(page.limit)


async def _primary_digests(connection: AsyncConnection, digest: str) -> Sequence[bytes]:
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


async def file(connection: AsyncConnection, package_id: str, path_key: str) -> FileRecord | None:
    """Return the entry at a path, given as its NFC key; None if there is no entry."""
    query = _FILES_QUERY.where(_files.c.package_number == _number_of(package_id), _files.c.path_key == path_key)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _file(row, package_id)


def _locations_of(package_id: str | None) -> ColumnElement[bool]:
    if package_id is None:
        return true()
    of_package = select(_files.c.digest_primary).where(_files.c.package_number == _number_of(package_id))
    return _locations.c.digest_primary.in_(of_package)


async def locations(
    connection: AsyncConnection, *, package_id: str | None, after: str, limit: int
) -> Sequence[Location]:
    """Return the current objects of up to `limit` contents after the content address `after`, in order of address.

    With a package id, only the contents of that package count. Retired and removed objects are left out.
    """
    referring = _locations if package_id is None else _files
    digests = select(referring.c.digest_primary).where(referring.c.digest_primary > _digest_in(after))
    if package_id is None:
        digests = digests.where(IS_CURRENT)
    else:
        digests = digests.where(_files.c.package_number == _number_of(package_id))
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


def _digest_in(content_address: str) -> bytes:
    return ContentAddress.parse(content_address).digest.raw if content_address else b""


async def location_totals(connection: AsyncConnection, *, package_id: str | None) -> tuple[int, int]:
    """Return the number of objects that `locations` returns without a limit, and their total size in bytes."""
    joined = _locations.join(_contents, _contents.c.digest_primary == _locations.c.digest_primary)
    query = select(func.count(), func.coalesce(func.sum(_contents.c.size_bytes), 0)).select_from(joined)
    count, size = (await connection.execute(query.where(IS_CURRENT, _locations_of(package_id)))).one()
    return int(count), int(size)


async def files_with_content(connection: AsyncConnection, content_address: str, *, limit: int) -> Sequence[str]:
    """Return up to `limit` files with a content as `package id/path`, oldest first."""
    query = (
        select(_packages.c.package_id, path_of(_files))
        .join(_packages, _packages.c.created_sequence == _files.c.package_number)
        .where(_files.c.digest_primary == _digest_in(content_address), _IS_NOT_GONE)
    )
    rows = await connection.execute(query.order_by(_files.c.sequence).limit(limit))
    return [f"{row.package_id}/{row.path}" for row in rows]


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
        .where(_files.c.package_number == _number_of(package_id), _files.c.sequence == _contents.c.sequence + 1)
        .distinct()
        .subquery()
    )
    new_bytes = select(func.coalesce(func.sum(new.c.size_bytes), 0)).scalar_subquery()
    query = select(_packages.c.total_bytes - new_bytes).where(_packages.c.package_id == package_id)
    return int((await connection.execute(query)).scalar_one_or_none() or 0)


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


async def tag(connection: AsyncConnection, name: str) -> Tag | None:
    """Return a tag; None if there is none."""
    row = (await connection.execute(select(_tags).where(_tags.c.tag == name))).one_or_none()
    return None if row is None else tag_in(row)


async def tags(
    connection: AsyncConnection, *, after: str, limit: int, within: Sequence[str] | None = None
) -> Sequence[Tag]:
    """Return up to `limit` tags after a name, in the order of their names; of packages whose names globs match."""
    where = PackageFilter(within=within)
    found: list[Tag] = []
    while len(found) < limit:
        rows = (await connection.execute(tags_query(after=after, limit=_LISTED_AT_ONCE if within else limit))).all()
        found += [tag_in(row) for row in rows if where.matches_name(row.name)]
        if within is None or not rows:
            break
        after = rows[-1].tag
    return found[:limit]


def tags_query(*, after: str, limit: int) -> Select[*tuple[Any, ...]]:
    """Return the query of `tags`, with the names of the packages."""
    joined = _tags.join(_packages, _packages.c.package_id == _tags.c.package_id)
    selected = select(_tags, _packages.c.name).select_from(joined)
    return selected.where(_tags.c.tag > after).order_by(_tags.c.tag).limit(limit)


def tag_in(row: Row[tuple[object, ...]]) -> Tag:
    """Return the tag of a row."""
    return Tag(row.tag, row.package_id, bool(row.protected), row.set_by, time_in("set_at", row.set_at), row.sequence)


async def metadata_schema(connection: AsyncConnection, name: str, version: int | None = None) -> MetadataSchema | None:
    """Return a version of a metadata schema, by default the latest one; None if there is none."""
    query = select(_schemas).where(_schemas.c.name == name).order_by(_schemas.c.version.desc()).limit(1)
    if version is not None:
        query = query.where(_schemas.c.version == version)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _schema(row)


async def metadata_schemas(
    connection: AsyncConnection, *, after: tuple[str, int], limit: int
) -> Sequence[MetadataSchema]:
    """Return up to `limit` metadata schemas after a name and a version, in the order of names and versions."""
    keys = _schemas.c.name, _schemas.c.version
    query = select(_schemas).where(tuple_(*keys) > tuple_(*after)).order_by(*keys).limit(limit)
    return [_schema(row) for row in await connection.execute(query)]


async def schema_requirements(connection: AsyncConnection) -> Mapping[str, str]:
    """Return the schemas that packages must have, by globs for their names, in the order of the globs."""
    rows = await connection.execute(select(_requirements.c.glob, _requirements.c.schema).order_by(_requirements.c.glob))
    return {row.glob: row.schema for row in rows}


def _schema(row: Row[tuple[object, ...]]) -> MetadataSchema:
    return MetadataSchema(row.name, row.version, text_in(row.name, row.schema))


async def list_files(connection: AsyncConnection, package: PackageRecord) -> list[FileRecord]:
    """Return all entries of a package in tree order."""

    def steps() -> Steps[list[FileRecord]]:
        rows = yield lookup(_files_by_number(connection.dialect.name), [(package.created_sequence,)])
        rows.sort(key=lambda row: tree_order(row[1]))
        return [_file(row, package.package_id) for row in rows]

    return await run(connection, steps())


async def file_page(connection: AsyncConnection, package: PackageRecord, *, after: str, limit: int) -> list[FileRecord]:
    """Return up to `limit` entries of a package after a path key, in the order of their keys."""
    selected = file_page_query(package.created_sequence, after=after, limit=limit)
    return [_file(tuple(row), package.package_id) for row in await connection.execute(selected)]


def file_page_query(number: int, *, after: str, limit: int) -> Select[*tuple[Any, ...]]:
    """Return the query of `file_page`."""
    selected = _FILES_QUERY.where(_files.c.package_number == number, _files.c.path_key > after)
    return selected.order_by(_files.c.path_key).limit(limit)


async def differences(
    connection: AsyncConnection, before: PackageRecord, after: PackageRecord
) -> list[tuple[FileRecord | None, FileRecord | None]]:
    """Return the entries of two packages at each path at which they differ, in the order of their path keys.

    Packages with one tree digest are equal, and no entry is read.
    """
    if before.tree_digest is not None and before.tree_digest == after.tree_digest:
        return []
    sides: list[dict[str, FileRecord]] = []
    for package, other in ((before, after), (after, before)):
        selected = differing_entries(package.created_sequence, other.created_sequence)
        found = [_file(tuple(row), package.package_id) for row in await connection.execute(selected)]
        sides.append({path_key(entry.path): entry for entry in found})
    old, new = sides
    return [(old.get(key), new.get(key)) for key in sorted(old.keys() | new.keys())]


def differing_entries(number: int, other_number: int) -> Select[tuple[Any, ...]]:
    """Return the query for the entries of a package that another package lacks, or has in another form.

    For each entry, one search finds the other package's entry at the same path.
    """
    other = _files.alias("other")
    same_path = and_(other.c.package_number == other_number, other.c.path_key == _files.c.path_key)
    differs = or_(
        other.c.path_key.is_(None),
        _files.c.path.is_distinct_from(other.c.path),  # equal under NFC, and written differently
        _files.c.kind != other.c.kind,
        _files.c.executable != other.c.executable,
        _files.c.digest_primary.is_distinct_from(other.c.digest_primary),
        _files.c.link_target.is_distinct_from(other.c.link_target),
    )
    joined = _files.outerjoin(other, same_path).outerjoin(
        _contents, _contents.c.digest_primary == _files.c.digest_primary
    )
    return select(*_FILE_COLUMNS).select_from(joined).where(_files.c.package_number == number, differs)


@cache
def _files_by_number(database: str) -> Query:
    """Return a query for entries in key order, which is nearly tree order, so that sorting them is cheap."""
    values = wanted(database, number=int)
    # In a subquery: SQLite does not move `wanted` in front of an outer join, so a plain join would read every entry.
    number = select(values["number"]).scalar_subquery()
    selected = _FILES_QUERY.where(_files.c.package_number == number).order_by(_files.c.path_key)
    return query(selected, values, database)


def _package(row: Row[tuple[object, ...]]) -> PackageRecord:
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
        tags=tuple(sorted(row.tags.split(_TAG_SEPARATOR))) if row.tags is not None else (),
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


def _location(row: Sequence[Any]) -> Location:
    digest, backend_id, object_key, integrity, algorithm, sha256, size_bytes = row
    address = address_in(algorithm, digest, size_bytes)
    return Location(address, backend_id, object_key, sha256.hex(), size_bytes, integrity)


def _file(row: Sequence[Any], package_id: str) -> FileRecord:
    number, _key, path, kind, executable, media_type, digest, target, sequence, algorithm, sha256, size_bytes = row
    entry = entry_in(number, path, kind, executable, media_type, digest, target, size_bytes)
    is_file = entry.kind == "file"
    return FileRecord(
        package_id=package_id,
        path=path,
        kind=entry.kind,
        size_bytes=entry.size_bytes,
        executable=entry.executable,
        media_type=entry.media_type,
        content_address=address_in(algorithm, digest, size_bytes) if is_file else "",
        sha256=f"sha256:{sha256.hex()}" if is_file else "",
        target=entry.target,
        sequence=sequence,
    )
