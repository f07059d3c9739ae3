"""Queries for tags and metadata schemas."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, select, tuple_

from artifactstore.database.annotations import text_in
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.cells import time_in
from artifactstore.database.queries.lookup import LISTED_AT_ONCE
from artifactstore.database.schema import LIVE
from artifactstore_protocols.package_listing import PackageFilter
from artifactstore_protocols.records import MetadataSchema, Tag
from artifactstore_protocols.views import PACKAGES, REQUIREMENTS, SCHEMAS, TAGS

__all__ = ["metadata_schema", "metadata_schemas", "schema_requirements", "tag", "tag_in", "tags", "tags_query"]

_packages = LIVE[PACKAGES]
_requirements = LIVE[REQUIREMENTS]
_schemas = LIVE[SCHEMAS]
_tags = LIVE[TAGS]


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
        rows = (await connection.execute(tags_query(after=after, limit=LISTED_AT_ONCE if within else limit))).all()
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
