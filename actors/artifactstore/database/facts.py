"""Loads what a batch of commands or events needs to know, in a handful of queries whatever the size of the batch."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from sqlalchemy import Table, column, func, select, values

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.files import address_in, files_query, path_of, sha256_in
from artifactstore.database.schema import LIVE, ViewTables
from artifactstore_protocols.admission import Content, History, HistoryNeeds, Opened
from artifactstore_protocols.packages import Facts, FileState, Needs, PackageState
from artifactstore_protocols.views import CONTENTS, FILES, PACKAGES, SCHEMAS

__all__ = ["load_facts", "load_history"]

# SQLite takes 32,766 parameters in a statement and PostgreSQL 32,767; a compound of values nests no deeper than 500.
_CHUNK = 400


async def load_history(connection: AsyncConnection, needs: HistoryNeeds, tables: ViewTables) -> History:
    """The history that `needs` names, but for commands, as a set of view tables has it."""
    packages, contents = tables[PACKAGES], tables[CONTENTS]
    history = History(await load_facts(connection, needs.facts, tables))
    for chunk in _chunks(sorted(needs.opened)):
        for row in await connection.execute(select(packages).where(packages.c.package_id.in_(chunk))):
            history.opened[row.package_id] = Opened(row.name, row.metadata, row.created_at, row.retention_class)
    for digests in _chunks(sorted(needs.contents)):
        for row in await connection.execute(select(contents).where(contents.c.digest_primary.in_(digests))):
            history.contents[row.digest_primary] = Content(row.digest_algorithm, row.digest_sha256, row.size_bytes)
    return history


async def load_facts(connection: AsyncConnection, needs: Needs, tables: ViewTables = LIVE) -> Facts:
    """The facts that `needs` names, as the connection's transaction sees them in a set of view tables."""
    packages, schemas = tables[PACKAGES], tables[SCHEMAS]
    facts = Facts()
    for chunk in _chunks(sorted(needs.packages)):
        for row in await connection.execute(select(packages).where(packages.c.package_id.in_(chunk))):
            facts.packages[row.package_id] = PackageState(
                row.package_id, row.status == "finalized", row.version, row.file_count, row.total_bytes
            )
    for chunk in _chunks(sorted(needs.schemas)):
        latest = select(schemas.c.name, func.max(schemas.c.version)).where(schemas.c.name.in_(chunk))
        for name, version in await connection.execute(latest.group_by(schemas.c.name)):
            facts.schema_versions[name] = version
    by_package: defaultdict[str, list[str]] = defaultdict(list)
    for package_id, key in sorted(needs.files | needs.above):
        by_package[package_id].append(key)
    for package_id, keys in by_package.items():
        package = facts.packages.get(package_id)
        if package is None or package.file_count == 0:  # a new package has nothing to look for
            continue
        for chunk in _chunks(keys):
            await _load_files(connection, tables, facts, package_id, chunk)
        wanted = [key for owner, key in needs.files if owner == package_id]
        await _load_directories(connection, tables[FILES], facts, package_id, wanted)
    return facts


async def _load_files(
    connection: AsyncConnection, tables: ViewTables, facts: Facts, package_id: str, keys: Sequence[str]
) -> None:
    files = tables[FILES]
    query = files_query(files, tables[CONTENTS]).where(files.c.package_id == package_id, files.c.path_key.in_(keys))
    for row in await connection.execute(query):
        facts.files[package_id, row.path_key] = FileState(
            row.path, row.size_bytes, bool(row.executable), row.media_type, address_in(row), sha256_in(row)
        )


async def _load_directories(
    connection: AsyncConnection, files: Table, facts: Facts, package_id: str, keys: Sequence[str]
) -> None:
    """Which of the paths are directories already: the first file below each, found by its place in the index."""
    for chunk in _chunks(keys):
        wanted = values(column("path_key", files.c.path_key.type), name="given").data([(key,) for key in chunk])
        given = wanted.cte("wanted")
        below = (
            select(path_of(files))
            .where(
                files.c.package_id == package_id,
                files.c.path_key > given.c.path_key + "/",
                files.c.path_key < given.c.path_key + "0",  # the character after the slash
            )
            .limit(1)
            .scalar_subquery()
        )
        query = select(given.c.path_key, func.coalesce(below, "").label("below"))
        for row in await connection.execute(query):
            if row.below:
                facts.directories[package_id, row.path_key] = row.below


def _chunks[T](items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
