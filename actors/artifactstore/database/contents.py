"""Reading a package's contents for a manifest: its rows as entries and receipts, in pages."""

from functools import cache

from sqlalchemy import Text, literal_column, select, type_coerce

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import Query, Steps, lookup, query, run, wanted
from artifactstore.database.cells import CheckedText, DamagedCell
from artifactstore.database.files import content_columns, path_of
from artifactstore.database.queries import IS_CURRENT
from artifactstore.database.schema import LIVE
from artifactstore_protocols.event_store import PackageContents
from artifactstore_protocols.manifest import DirectoryEntry, Entry, FileEntry, LinkEntry, ManifestReceipt
from artifactstore_protocols.object_keys import first_key_of
from artifactstore_protocols.records import PackageRecord
from artifactstore_protocols.views import CONTENTS, FILES, KIND_DIRECTORY, KIND_FILE, KIND_LINK, LOCATIONS

__all__ = ["contents"]

_contents, _files, _locations = LIVE[CONTENTS], LIVE[FILES], LIVE[LOCATIONS]

_PAGE = 1000
"""The number of entries in one page."""


async def contents(connection: AsyncConnection, package: PackageRecord) -> PackageContents:
    """Return a package with its entries and receipts.

    To save memory, the function holds one page of rows at a time, and equal texts of many rows are one object.

    Raises:
        DamagedCell: a row holds a value that no event can have written.
    """
    return await run(connection, _steps(package, connection.dialect.name))


def _steps(package: PackageRecord, database: str) -> Steps[PackageContents]:
    entries: list[Entry] = []
    receipts: list[ManifestReceipt] = []
    texts: dict[str, str] = {}
    algorithms = set[str]()
    number, after = package.created_sequence, ""
    while rows := (yield lookup(_page(database), [(number, after)])):
        for key, path, kind, executable, media_type, digest, target, algorithm, sha256, size_bytes, *place in rows:
            if key == after:
                pass  # the same entry again, with another object of its content
            elif kind == KIND_FILE and digest is not None and size_bytes is not None:
                of_type = texts.setdefault(media_type, media_type)
                entries.append(FileEntry("file", path, bool(executable), size_bytes, of_type or "", digest, sha256))
                algorithms.add(algorithm)
            elif kind == KIND_LINK and target is not None:
                entries.append(LinkEntry("link", path, target))
            elif kind == KIND_DIRECTORY:
                entries.append(DirectoryEntry("directory", path))
            else:
                raise DamagedCell(f"entry {path!r} of package number {number} has no content, or no kind")
            after = key
            backend_id, object_key = place
            if digest is not None and object_key is not None:
                is_first = object_key == first_key_of(algorithm, digest.hex())
                backend = texts.setdefault(backend_id, backend_id)
                receipts.append(ManifestReceipt(digest, backend, None if is_first else object_key))
    return PackageContents(package, entries, receipts, frozenset(algorithms))


@cache
def _page(database: str) -> Query:
    """Return a query for the page of entries after a key, with their objects, in key order (nearly tree order)."""
    values = wanted(database, number=int, after=str)
    # In subqueries: SQLite does not move `wanted` in front of an outer join, so a plain join would read every entry.
    number, after = (select(value).scalar_subquery() for value in values.values())
    page = (
        select(
            _files.c.path_key,
            path_of(_files),
            _files.c.kind,
            _files.c.executable,
            _files.c.media_type,
            _files.c.digest_primary,
            _files.c.link_target,
        )
        .where(_files.c.package_number == number, _files.c.path_key > after)
        .order_by(_files.c.path_key)
        .limit(literal_column(str(_PAGE)))
        .offset(literal_column("0"))
        .subquery("page")
    )
    is_object = (_locations.c.digest_primary == page.c.digest_primary) & IS_CURRENT
    backend_id, object_key = (
        type_coerce(_locations.c[name], Text().with_variant(CheckedText(name, nullable=True), "sqlite")).label(name)
        for name in ("backend_id", "object_key")
    )
    selected = (
        select(*page.c, *content_columns(_contents), backend_id, object_key)
        .select_from(
            page.outerjoin(_contents, _contents.c.digest_primary == page.c.digest_primary).outerjoin(
                _locations, is_object
            )
        )
        .order_by(page.c.path_key)
    )
    return query(selected, values, database)
