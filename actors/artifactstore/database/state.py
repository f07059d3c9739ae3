"""Loads the state that a batch of commands or events needs, in a handful of queries whatever the size of the batch."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from sqlalchemy import Table, column, func, select, values

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.files import entry_in, files_query, path_of
from artifactstore.database.schema import LIVE, ViewTables
from artifactstore_protocols.entries import Place
from artifactstore_protocols.state import ContentState, LogState, Needs, PackageState, PlaceState
from artifactstore_protocols.views import CONTENTS, FILES, LOCATIONS, PACKAGES, SCHEMAS

__all__ = ["load_state"]

_PARAMETERS_MAX: Final = 10_000  # SQLite takes 32,766 in a statement, and PostgreSQL 32,767
_VALUES_MAX: Final = 400  # a compound of values nests no deeper than 500 in SQLite


async def load_state(connection: AsyncConnection, needs: Needs, tables: ViewTables = LIVE) -> LogState:
    """Return the state that `needs` names, as the connection's transaction sees it in a set of view tables."""
    state = LogState()
    await _load_packages(connection, tables[PACKAGES], state, needs.packages | needs.whole)
    await _load_schemas(connection, tables[SCHEMAS], state, needs.schemas)
    await _load_contents(connection, tables, state, needs.contents)
    keys: defaultdict[str, list[str]] = defaultdict(list)
    for package_id, key in sorted(needs.entries | needs.above):
        keys[package_id].append(key)
    for package_id, package in state.packages.items():
        if package.is_empty:  # a new package has nothing to look for
            continue
        if package_id in needs.whole:
            await _load_entries(connection, tables, package)
            continue
        for chunk in _chunks(keys[package_id], _PARAMETERS_MAX):
            await _load_entries(connection, tables, package, chunk)
        wanted = sorted(key for owner, key in needs.entries if owner == package_id)
        await _load_directories(connection, tables[FILES], package, wanted)
    return state


async def _load_packages(
    connection: AsyncConnection, packages: Table, state: LogState, package_ids: Iterable[str]
) -> None:
    for chunk in _chunks(sorted(package_ids), _PARAMETERS_MAX):
        for row in await connection.execute(select(packages).where(packages.c.package_id.in_(chunk))):
            state.packages[row.package_id] = PackageState(
                package_id=row.package_id,
                number=row.created_sequence,
                name=row.name,
                retention_class=row.retention_class,
                metadata=row.metadata,
                created_at_us=row.created_at,
                finalized=row.status == "finalized",
                version=row.version,
                files=row.file_count,
                links=row.link_count,
                directories=row.directory_count,
                total_bytes=row.total_bytes,
            )


async def _load_schemas(connection: AsyncConnection, schemas: Table, state: LogState, names: Iterable[str]) -> None:
    for chunk in _chunks(sorted(names), _PARAMETERS_MAX):
        latest = select(schemas.c.name, func.max(schemas.c.version)).where(schemas.c.name.in_(chunk))
        for name, version in await connection.execute(latest.group_by(schemas.c.name)):
            state.schema_versions[name] = version


async def _load_contents(
    connection: AsyncConnection, tables: ViewTables, state: LogState, digests: Iterable[bytes]
) -> None:
    contents, locations = tables[CONTENTS], tables[LOCATIONS]
    for chunk in _chunks(sorted(digests), _PARAMETERS_MAX):
        for row in await connection.execute(select(contents).where(contents.c.digest_primary.in_(chunk))):
            state.contents[row.digest_primary] = ContentState(row.digest_algorithm, row.digest_sha256, row.size_bytes)
        if not state.contents:
            continue
        places = select(
            locations.c.digest_primary,
            locations.c.backend_id,
            locations.c.object_key,
            locations.c.integrity,
            locations.c.sequence,
        ).where(locations.c.digest_primary.in_(chunk))
        for digest, backend_id, object_key, integrity, sequence in await connection.execute(places):
            if (content := state.contents.get(digest)) is not None:
                content.places[Place(backend_id, object_key)] = PlaceState(integrity, sequence)


async def _load_entries(
    connection: AsyncConnection, tables: ViewTables, package: PackageState, keys: Sequence[str] | None = None
) -> None:
    """The entries of a package with these path keys; all of them without keys."""
    files = tables[FILES]
    query = files_query(files, tables[CONTENTS]).where(files.c.package_number == package.number)
    for row in await connection.execute(query if keys is None else query.where(files.c.path_key.in_(keys))):
        package.entries[row.path_key] = entry_in(row)


async def _load_directories(
    connection: AsyncConnection, files: Table, package: PackageState, keys: Sequence[str]
) -> None:
    """Which of the paths are directories already: the first entry below each, found by its place in the index."""
    for chunk in _chunks(keys, _VALUES_MAX):
        wanted = values(column("path_key", files.c.path_key.type), name="given").data([(key,) for key in chunk])
        given = wanted.cte("wanted")
        below = (
            select(path_of(files))
            .where(
                files.c.package_number == package.number,
                files.c.path_key > given.c.path_key + "/",
                files.c.path_key < given.c.path_key + "0",  # the character after the slash
            )
            .limit(1)
            .scalar_subquery()
        )
        query = select(given.c.path_key, func.coalesce(below, "").label("below"))
        for row in await connection.execute(query):
            if row.below:
                package.below[row.path_key] = row.below


def _chunks[T](items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
