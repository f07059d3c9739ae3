"""Packages with files of rare names: one search of the index of file names, instead of one search in each package.

A pattern such as `docs/a.md`, `**/*.tar.gz` or `logs/crash*` says what the last part of each path is, how it ends, or
how it begins. If few files of the store have such a name, all of them are read. Otherwise at most `NAMED_MAX` are read
in the index for nothing.

The index has the names by their endings. If only the beginning of the names is known, it is searched under each ending.
"""

from collections.abc import Sequence
from typing import Any, Final, cast

from sqlalchemy import CTE, ColumnElement, CompoundSelect, Integer, Select, literal_column, or_, select, union_all

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.name_keys import ending, name_key
from artifactstore.database.schema import LIVE
from artifactstore_protocols.globs import beginning_of, last_name, like_pattern
from artifactstore_protocols.name_keys import beginning_of_key, ending_in_pattern, is_searchable, key_range
from artifactstore_protocols.name_keys import name_key as key_of
from artifactstore_protocols.package_listing import EntryListing
from artifactstore_protocols.views import FILES

__all__ = [
    "BEGUN_MAX",
    "ENDINGS_MAX",
    "NAMED_MAX",
    "RARE_MAX",
    "endings_query",
    "is_name",
    "named_query",
    "numbers_with_rare_name",
    "rare_query",
]

RARE_MAX: Final = 2_000
"""The maximum number of files with a name that is rare, and in a directory that the pattern matches."""

NAMED_MAX: Final = 20_000
"""The maximum number of files with a rare name in all directories."""

ENDINGS_MAX: Final = 1_000
"""The maximum number of endings under which names with a beginning are searched. Each one costs two searches."""

BEGUN_MAX: Final = 100
"""The maximum number of endings that names with a beginning have. Each one is a part of the query for the names."""

_IS, _ENDS, _BEGINS = range(3)
"""What a pattern says of the last part of paths, the most exact one first."""

_files = LIVE[FILES]


async def numbers_with_rare_name(connection: AsyncConnection, page: EntryListing) -> Sequence[int] | None:
    """Return the numbers of packages that a page of a search may find, in its order; None if its names are not rare.

    Packages before the page are left out. The filter for packages is for the caller.
    """
    globs = page.entries.globs
    wanted = min(filter(is_searchable, globs), key=_vagueness, default=None)
    if wanted is None or any(is_name(glob) for glob in globs):
        return None
    endings: Sequence[str] = ()
    rows: list[tuple[Any, ...]]
    if _vagueness(wanted) == _BEGINS:
        rows = [tuple(row) for row in await connection.execute(endings_query(beginning_of_key(wanted)))]
        if len(rows) > BEGUN_MAX or any(place > ENDINGS_MAX for _ending, place in rows):
            return None
        endings = [found for found, _place in rows]
    named = named_query(wanted, endings)
    if (await connection.execute(named.limit(1).offset(NAMED_MAX))).first() is not None:
        return None
    rows = [tuple(row) for row in await connection.execute(rare_query(wanted, named))]
    if len(rows) > RARE_MAX:
        return None
    matches = page.entries.path_matcher()
    numbers = {number for number, key in rows if matches(key)}
    if page.after is not None:
        at = page.after[0]
        numbers = {number for number in numbers if (number >= at if page.ascending else number <= at)}
    return sorted(numbers, reverse=not page.ascending)


def _vagueness(glob: str) -> int:
    if last_name(glob) is not None:
        return _IS
    return _ENDS if ending_in_pattern(glob) is not None else _BEGINS


def is_name(glob: str) -> bool:
    """Return whether a pattern names the last part of a path and does not begin exactly, as `**/a.md`."""
    return not beginning_of(glob) and last_name(glob) is not None


def named_query(glob: str, endings: Sequence[str] = ()) -> Select[tuple[Any, ...]] | CompoundSelect[Any]:
    """Return the query for the files whose name is, ends or begins like those that a searchable pattern matches.

    Args:
        glob: the pattern.
        endings: the endings of the names, if the pattern says only how they begin: what `endings_query` finds.
    """
    query = cast("Select[tuple[Any, ...]]", select(_files.c.package_number, _files.c.path_key))
    if (name := last_name(glob)) is not None:
        return query.where(name_key == key_of(name))
    known, beginning = ending_in_pattern(glob), beginning_of_key(glob)
    each = [query.where(*_within(*key_range(f"{end}/{beginning}"))) for end in ((known,) if known else ("", *endings))]
    return union_all(*each) if len(each) > 1 else each[0]


def rare_query(glob: str, named: Select[tuple[Any, ...]] | CompoundSelect[Any]) -> Select[*tuple[Any, ...]]:
    """Return the query for those of the named files that the pattern may match: at most one more than `RARE_MAX`."""
    names = named.limit(NAMED_MAX).subquery()  # limited, so that no database compares other paths first
    number, key = names.c.package_number, names.c.path_key
    return select(number, key).where(key.like(like_pattern(glob), escape="\\")).limit(RARE_MAX + 1)


def endings_query(beginning: str) -> Select[tuple[Any, ...]]:
    """Return the query for the endings of names with a beginning, and the place of each among all endings.

    A place that is too large is that of an ending after which no others were looked for. At most one more than
    `BEGUN_MAX` is found.
    """
    low, high = key_range(f"/{beginning}")
    endings = _endings()
    each, place = endings.c.ending, endings.c.place
    # Ordered and limited, so that no database has another way to find it than a search of the index.
    begun = select(name_key).select_from(_files).where(name_key >= each.concat(low)).order_by(name_key).limit(1)
    is_begun = begun.correlate(endings).scalar_subquery() < each.concat(high)
    query = select(each, place).where(each.is_not(None), or_(place > ENDINGS_MAX, is_begun)).limit(BEGUN_MAX + 1)
    return cast("Select[tuple[Any, ...]]", query)


def _endings() -> CTE:
    """Return the endings of names, followed by NULL unless there are too many: one search of the index finds the next.

    Keys with an ending begin with a dot, which is just before the slash. What follows the keys of an ending is the
    ending with a `0`, which is just after the slash.
    """
    first = select(ending).select_from(_files).where(*_within(".", "/")).order_by(name_key).limit(1).scalar_subquery()
    found = select(first.label("ending"), literal_column("1", Integer).label("place")).cte("endings", recursive=True)
    after = _within(found.c.ending.concat("0"), "/")
    following = select(ending).select_from(_files).where(*after).order_by(name_key).limit(1).correlate(found)
    return found.union_all(
        select(following.scalar_subquery(), found.c.place + 1).where(
            found.c.ending.is_not(None), found.c.place <= ENDINGS_MAX
        )
    )


def _within(low: str | ColumnElement[str], high: str | ColumnElement[str]) -> Sequence[ColumnElement[bool]]:
    return name_key >= low, name_key < high
