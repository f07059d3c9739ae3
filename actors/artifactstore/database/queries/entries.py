"""Queries for the entries of packages."""

from collections.abc import Sequence
from functools import cache
from itertools import batched
from typing import Any, Final

from msgspec import structs
from sqlalchemy import Select, and_, or_, select

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import Query, Steps, lookup, query, run, wanted
from artifactstore.database.files import address_in, content_columns, entry_in, path_of
from artifactstore.database.name_keys import name_key
from artifactstore.database.queries.glob_conditions import glob_condition
from artifactstore.database.queries.listing import conditions
from artifactstore.database.queries.lookup import IS_NOT_GONE, LISTED_AT_ONCE, number_of, package_in, package_query
from artifactstore.database.queries.objects import digest_in, primary_digests
from artifactstore.database.rare_names import is_name, numbers_with_rare_name
from artifactstore.database.schema import LIVE
from artifactstore_protocols.globs import last_name
from artifactstore_protocols.name_keys import name_key as key_of
from artifactstore_protocols.package_listing import EntryListing, EntryPage
from artifactstore_protocols.paths import path_key, tree_order
from artifactstore_protocols.records import FileRecord, FoundEntry, PackageRecord
from artifactstore_protocols.views import CONTENTS, FILES, PACKAGES

__all__ = [
    "FILES_QUERY",
    "FILE_COLUMNS",
    "SEARCHED_ENTRIES",
    "SEARCHED_PACKAGES",
    "differences",
    "differing_entries",
    "entries_query",
    "file",
    "file_in",
    "file_page",
    "file_page_query",
    "files_with_content",
    "find_entries",
    "list_files",
    "searched_query",
]

SEARCHED_ENTRIES: Final = 500_000
"""After how many entries a page of a search ends, at the end of their package. Comparing them takes about a second."""

SEARCHED_PACKAGES: Final = 2_000
"""After how many packages it ends."""

_packages = LIVE[PACKAGES]
_contents = LIVE[CONTENTS]
_files = LIVE[FILES]

FILE_COLUMNS = (
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

FILES_QUERY = select(*FILE_COLUMNS).select_from(
    _files.outerjoin(_contents, _contents.c.digest_primary == _files.c.digest_primary)
)


async def find_entries(connection: AsyncConnection, page: EntryListing) -> EntryPage:
    """Return one page of the entries that a search finds, in the order of its packages.

    SQL narrows the search as in `packages`, and the filters decide about the rest. Where no index has the wanted paths,
    the page ends with a package after which too much would be read at once.
    """
    last: int | None = None
    found: Sequence[FoundEntry] = []
    if page.entries.digest is not None:
        found = await _find_in(connection, page, await primary_digests(connection, page.entries.digest))
    elif (numbers := await numbers_with_rare_name(connection, page)) is not None:
        for some in batched(numbers, LISTED_AT_ONCE):
            left = structs.replace(page, limit=page.limit - len(found))
            found = [*found, *await _find_in(connection, left, None, some)]
            if len(found) == page.limit:
                break
    elif any(map(is_name, page.entries.globs)):
        found = await _find_in(connection, page, None)
    else:
        last = await _last_searched(connection, page)
        found = await _find_in(connection, page, None, last=last)
    if len(found) == page.limit:
        end = found[-1]
        return EntryPage(found, (end.package.created_sequence, path_key(end.entry.path)))
    # Every path key follows an empty text: the next page begins with the next package.
    return EntryPage(found, None if last is None else (last + 1 if page.ascending else last - 1, ""))


async def _last_searched(connection: AsyncConnection, page: EntryListing) -> int | None:
    """Return the number of the last package that a page searches; None if it searches all that are left."""
    packages = (await connection.execute(searched_query(page))).all()
    entries = 0
    for number, count in packages:
        entries += count
        if entries >= SEARCHED_ENTRIES:
            return int(number)
    return int(packages[-1][0]) if len(packages) == SEARCHED_PACKAGES else None


def searched_query(page: EntryListing) -> Select[*tuple[Any, ...]]:
    """Return the query for the packages that a page may search, each with the number of its entries."""
    columns = _packages.c
    number, count = columns.created_sequence, columns.file_count + columns.link_count + columns.directory_count
    selected = select(number, count).where(*conditions(page.packages, "created"))
    if page.after is not None:
        selected = selected.where(number >= page.after[0] if page.ascending else number <= page.after[0])
    return selected.order_by(number.asc() if page.ascending else number.desc()).limit(SEARCHED_PACKAGES)


async def _find_in(
    connection: AsyncConnection,
    page: EntryListing,
    digests: Sequence[bytes] | None,
    numbers: Sequence[int] | None = None,
    *,
    last: int | None = None,
) -> Sequence[FoundEntry]:
    matches = page.entries.path_matcher()
    found: list[FoundEntry] = []
    part = page
    while len(found) < page.limit:
        selected = entries_query(part, digests, numbers, last=last)
        rows: list[tuple[Any, ...]] = [tuple(row) for row in await connection.execute(selected)]
        created = {row[0] for row in rows}
        of_numbers = package_query().where(_packages.c.created_sequence.in_(created))
        packages = {each.created_sequence: each for each in map(package_in, await connection.execute(of_numbers))}
        accepted = {number: package for number, package in packages.items() if page.packages.matches(package)}
        found += (
            FoundEntry(package, file_in(row, package.package_id))
            for row in rows
            if (package := accepted.get(row[0])) is not None and matches(row[1])
        )
        if len(rows) < part.limit:
            break
        part = structs.replace(part, after=rows[-1][:2], limit=min(2 * part.limit, LISTED_AT_ONCE))
    return found[: page.limit]


def entries_query(
    page: EntryListing,
    digests: Sequence[bytes] | None,
    numbers: Sequence[int] | None = None,
    *,
    last: int | None = None,
) -> Select[tuple[Any, ...]]:
    """Return the SQL query for a page of a search, which may also select entries that the filters reject.

    A digest is searched by an index. So is a file name in a pattern without an exact beginning, such as `**/a.txt`.
    Otherwise one search in each package finds an exact path, or the paths with the beginning of a pattern.

    Args:
        page: the page.
        digests: the primary digests of the content; None if any content will do.
        numbers: the only packages to search, by the sequences of their creation; None for all.
        last: the last package to search, likewise; None for no end.
    """
    number, key = _files.c.package_number, _files.c.path_key
    # The packages come first: SQLite reads them in this order, and sorts nothing.
    query = (
        select(*FILE_COLUMNS)
        .select_from(_packages)
        .join(_files, number == _packages.c.created_sequence)
        .outerjoin(_contents, _contents.c.digest_primary == _files.c.digest_primary)
        .where(*conditions(page.packages, "created"), *(glob_condition(key, glob) for glob in page.entries.globs))
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
    if last is not None:
        query = query.where(order <= last if page.ascending else order >= last)
    if page.after is not None:
        at, after = page.after
        start, rest = (order >= at, order > at) if page.ascending else (order <= at, order < at)
        query = query.where(start, or_(rest, key > after))
    return query.order_by(order.asc() if page.ascending else order.desc(), key).limit(page.limit)


async def file(connection: AsyncConnection, package_id: str, path_key: str) -> FileRecord | None:
    """Return the entry at a path, given as its NFC key; None if there is no entry."""
    query = FILES_QUERY.where(_files.c.package_number == number_of(package_id), _files.c.path_key == path_key)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else file_in(row, package_id)


async def files_with_content(connection: AsyncConnection, content_address: str, *, limit: int) -> Sequence[str]:
    """Return up to `limit` files with a content as `package id/path`, oldest first."""
    query = (
        select(_packages.c.package_id, path_of(_files))
        .join(_packages, _packages.c.created_sequence == _files.c.package_number)
        .where(_files.c.digest_primary == digest_in(content_address), IS_NOT_GONE)
    )
    rows = await connection.execute(query.order_by(_files.c.sequence).limit(limit))
    return [f"{row.package_id}/{row.path}" for row in rows]


async def list_files(connection: AsyncConnection, package: PackageRecord) -> list[FileRecord]:
    """Return all entries of a package in tree order."""

    def steps() -> Steps[list[FileRecord]]:
        rows = yield lookup(_files_by_number(connection.dialect.name), [(package.created_sequence,)])
        rows.sort(key=lambda row: tree_order(row[1]))
        return [file_in(row, package.package_id) for row in rows]

    return await run(connection, steps())


async def file_page(connection: AsyncConnection, package: PackageRecord, *, after: str, limit: int) -> list[FileRecord]:
    """Return up to `limit` entries of a package after a path key, in the order of their keys."""
    selected = file_page_query(package.created_sequence, after=after, limit=limit)
    return [file_in(tuple(row), package.package_id) for row in await connection.execute(selected)]


def file_page_query(number: int, *, after: str, limit: int) -> Select[*tuple[Any, ...]]:
    """Return the query of `file_page`."""
    selected = FILES_QUERY.where(_files.c.package_number == number, _files.c.path_key > after)
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
        found = [file_in(tuple(row), package.package_id) for row in await connection.execute(selected)]
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
    return select(*FILE_COLUMNS).select_from(joined).where(_files.c.package_number == number, differs)


@cache
def _files_by_number(database: str) -> Query:
    """Return a query for entries in key order, which is nearly tree order, so that sorting them is cheap."""
    values = wanted(database, number=int)
    # In a subquery: SQLite does not move `wanted` in front of an outer join, so a plain join would read every entry.
    number = select(values["number"]).scalar_subquery()
    selected = FILES_QUERY.where(_files.c.package_number == number).order_by(_files.c.path_key)
    return query(selected, values, database)


def file_in(row: Sequence[Any], package_id: str) -> FileRecord:
    """Return the file in a row of `FILE_COLUMNS`."""
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
