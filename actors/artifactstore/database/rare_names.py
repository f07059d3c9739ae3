"""Packages with files of rare names: one search of the index of file names, instead of one search in each package.

A pattern such as `docs/a.md` or `logs/crash*` says how the last part of each path begins. If few files of the store
have such a name, all of them are read. Otherwise `RARE_MAX` of them are skipped in the index for nothing.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, literal_column, select

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.schema import LIVE
from artifactstore_protocols.globs import beginning_of, beginning_of_name, end_of_texts, last_name
from artifactstore_protocols.package_listing import EntryListing
from artifactstore_protocols.views import FILES

__all__ = ["RARE_MAX", "file_name", "is_name", "named_query", "numbers_with_rare_name"]

RARE_MAX: Final = 2_000
"""The maximum number of files with a name that is rare."""

file_name: ColumnElement[str] = literal_column(
    "substr(artifact_files.path_key, length(rtrim(artifact_files.path_key, "
    "replace(artifact_files.path_key, '/', ''))) + 1)"
)
"""The last part of a path key, as in the index on it."""

_files = LIVE[FILES]


async def numbers_with_rare_name(connection: AsyncConnection, page: EntryListing) -> Sequence[int] | None:
    """Return the numbers of packages that a page of a search may find, in its order; None if its names are not rare.

    Packages before the page are left out. The filter for packages is for the caller.
    """
    globs = page.entries.globs
    wanted = next((glob for glob in globs if beginning_of_name(glob)), None)
    if wanted is None or any(is_name(glob) for glob in globs):
        return None
    named = named_query(wanted)
    if (await connection.execute(named.limit(1).offset(RARE_MAX))).first() is not None:
        return None
    rows = [tuple(row) for row in await connection.execute(named)]
    matches = page.entries.path_matcher()
    numbers = {number for number, key in rows if matches(key)}
    if page.after is not None:
        at = page.after[0]
        numbers = {number for number in numbers if (number >= at if page.ascending else number <= at)}
    return sorted(numbers, reverse=not page.ascending)


def is_name(glob: str) -> bool:
    """Return whether a pattern names the last part of a path and does not begin exactly, as `**/a.md`."""
    return not beginning_of(glob) and last_name(glob) is not None


def named_query(glob: str) -> Select[tuple[Any, ...]]:
    """Return the query for the files whose name begins like those that a pattern matches."""
    query = select(_files.c.package_number, _files.c.path_key)
    if (name := last_name(glob)) is not None:
        return query.where(file_name == name)
    begin = beginning_of_name(glob)
    query = query.where(file_name >= begin)
    return query if (end := end_of_texts(begin)) is None else query.where(file_name < end)
