"""The words for shell completion: packages, tags, paths in a package, principals. After any error there are none.

A completion must be fast, so these queries read a SQLite database directly: opening the store takes too long. They
change no data and make no file, and they read a bounded number of rows. There are no words if the log is on PostgreSQL.
"""

import os
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from itertools import islice
from typing import Final, NamedTuple, cast

from artifactstore.cli.remote import service_named
from artifactstore.cli.store_option import named_store
from artifactstore.config import find_settings
from artifactstore.places import absolute, is_sqlite_url, sqlite_file
from artifactstore.sqlite_access import reading
from artifactstore_protocols.errors import ArtifactStoreError
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
from artifactstore_protocols.paths import path_key

__all__ = ["added_classes", "package_names", "packages_and_paths", "packages_and_tags", "paths", "principals", "tags"]

_WORDS_MAX: Final = 50
_RECENT_MAX: Final = 2000
"""The number of packages that a completion looks at in order of age. Older ones follow in order of their names."""

_SELECTED_MAX: Final = 5
"""The number of earlier packages of a name that are offered: `nightly@{5}` is the last one."""

_COLONS_MAX: Final = 5
_DEPTH_MAX: Final = 20
"""The number of directories with one entry that a completion of a path enters at once."""

_LOCK_TIMEOUT_S: Final = 0.5
_STEPS_MAX: Final = 5_000_000
"""The number of steps of SQLite's virtual machine after which a query is given up: about 0.1 s."""

_RECENT_NAMES = """
SELECT name FROM (
  SELECT name, status FROM artifact_packages WHERE gone_at IS NULL ORDER BY created_sequence DESC LIMIT :recent
)
WHERE substr(name, 1, length(:begin)) = :begin AND (:status IS NULL OR status = :status)
"""
_FIRST_NAME = "SELECT min(name) FROM artifact_packages WHERE name >= :after AND gone_at IS NULL"
_FIRST_PRINCIPAL = "SELECT min(created_by) FROM artifact_packages WHERE created_by >= :after"
_TAGS = """
SELECT tag FROM artifact_tags WHERE substr(tag, 1, length(:begin)) = :begin ORDER BY sequence DESC LIMIT :limit
"""
_CLASSES = "SELECT name FROM added_retention_classes ORDER BY name LIMIT :limit"
_IDS = """
SELECT package_id FROM artifact_packages WHERE package_id >= :begin AND package_id < :begin || '~'
ORDER BY package_id DESC LIMIT :limit
"""
_FINALIZED = (
    "SELECT count(*) FROM (SELECT 1 FROM artifact_packages WHERE name = :name AND finalized_sequence > 0 "
    "AND gone_at IS NULL LIMIT :limit)"
)
_FIRST_PATH = """
SELECT path_key FROM artifact_files WHERE package_number = :number AND path_key >= :after ORDER BY path_key LIMIT 1
"""
_PACKAGE = "SELECT package_id, name, status, created_sequence, finalized_sequence FROM artifact_packages WHERE "


def package_names(incomplete: str, *, status: str | None = None) -> list[str]:
    """Return package names that begin with `incomplete`, newest first.

    Args:
        incomplete: the typed text.
        status: `open` for open packages only.
    """
    return _read(lambda database: _package_names(database, incomplete, status))


def packages_and_tags(incomplete: str, *, store: str | None = None) -> list[str]:
    """Return texts that name a package and begin with `incomplete`: names, `NAME@{n}`, `tag:TAG` and ids.

    Args:
        incomplete: the typed text.
        store: the directory of the store; None for the one of the command.
    """
    return _read(lambda database: _references(database, incomplete), store)


def packages_and_paths(incomplete: str) -> list[str]:
    """Return texts that name a package, or `PACKAGE:PATH` after a package and a colon."""

    def find(database: sqlite3.Connection) -> list[str]:
        parts = incomplete.split(":")
        for number in range(1, min(len(parts), _COLONS_MAX + 1)):
            package = ":".join(parts[:number])
            with suppress(ArtifactStoreError):
                return [f"{package}:{path}" for path in _paths(database, package, ":".join(parts[number:]))]
        return _references(database, incomplete)

    return _read(find)


def paths(package: str, incomplete: str) -> list[str]:
    """Return paths in a package that begin with `incomplete`, up to the next `/`."""
    return _read(lambda database: _paths(database, package, incomplete))


def tags(incomplete: str) -> list[str]:
    """Return tags that begin with `incomplete`, set last first."""
    return _read(lambda database: _tags(database, incomplete))


def principals(incomplete: str) -> list[str]:
    """Return principals that created a package and begin with `incomplete`."""
    return _read(lambda database: list(islice(_distinct(database, _FIRST_PRINCIPAL, incomplete), _WORDS_MAX)))


def added_classes() -> list[str]:
    """Return the retention classes that the store has added."""
    return _read(lambda database: [name for (name,) in database.execute(_CLASSES, {"limit": _WORDS_MAX})])


def _read(find: Callable[[sqlite3.Connection], list[str]], other: str | None = None) -> list[str]:
    try:
        store = named_store() if other is None else other
        if store is None and service_named() is not None:
            return []  # no words of a store that the command will not use
        # A shell gives the words as they were typed, before it expands them.
        settings = find_settings(store=None if store is None else os.path.expandvars(store)).settings
        if not is_sqlite_url(url := settings.database_url):
            return []
        access = reading(absolute("database", sqlite_file("database", url)), "a completion only reads")
        with closing(access.connect(timeout_s=_LOCK_TIMEOUT_S)) as database:
            database.set_progress_handler(lambda: True, _STEPS_MAX)
            return find(database)
    except (ArtifactStoreError, sqlite3.Error, OSError, ValueError):
        return []


def _package_names(database: sqlite3.Connection, incomplete: str, status: str | None) -> list[str]:
    recent = database.execute(_RECENT_NAMES, {"begin": incomplete, "recent": _RECENT_MAX, "status": status})
    found = dict.fromkeys(name for (name,) in recent)
    if status is None:
        found |= dict.fromkeys(islice(_distinct(database, _FIRST_NAME, incomplete), _WORDS_MAX))
    return list(islice(found, _WORDS_MAX))


def _distinct(database: sqlite3.Connection, first: str, begin: str) -> Generator[str]:
    """Yield each text of an indexed column that begins with `begin` once; each costs one search of the index."""
    after = begin
    while True:
        (text,) = database.execute(first, {"after": after}).fetchone()
        if text is None or not text.startswith(begin):
            return
        yield text
        after = f"{text}\0"


def _references(database: sqlite3.Connection, incomplete: str) -> list[str]:
    if "@" in incomplete:
        return _selected(database, incomplete.partition("@")[0])
    begin = incomplete.removeprefix("tag:")
    found = _package_names(database, incomplete, None)
    if incomplete and ("tag:".startswith(incomplete) or incomplete != begin):
        found += [f"tag:{tag}" for tag in _tags(database, begin if incomplete != begin else "")]
    if len(incomplete) >= PART_LENGTH_MIN:
        found += [package_id for (package_id,) in database.execute(_IDS, {"begin": incomplete, "limit": _WORDS_MAX})]
    return found


def _selected(database: sqlite3.Connection, name: str) -> list[str]:
    """Return the selectors of the newest packages of a name: `NAME@latest`, `NAME@{1}` and so on."""
    (count,) = database.execute(_FINALIZED, {"name": name, "limit": _SELECTED_MAX + 1}).fetchone()
    return [f"{name}@{{{back}}}" if back else f"{name}@latest" for back in range(count)]


def _tags(database: sqlite3.Connection, incomplete: str) -> list[str]:
    return [tag for (tag,) in database.execute(_TAGS, {"begin": incomplete, "limit": _WORDS_MAX})]


def _paths(database: sqlite3.Connection, package: str, incomplete: str) -> list[str]:
    """Return the paths below a directory. If it has only one entry, a directory, return the paths below that one."""
    number = _find_package(database, package).number
    found = [incomplete]
    for _level in range(_DEPTH_MAX):
        found = list(islice(_level_paths(database, number, found[0]), _WORDS_MAX))
        if len(found) != 1 or not found[0].endswith("/"):
            break
    return found


def _level_paths(database: sqlite3.Connection, number: int, begin: str) -> Generator[str]:
    """Yield the paths that begin with `begin`, cut after the next `/`; each costs one search of the index."""
    key = after = path_key(begin)
    while (row := database.execute(_FIRST_PATH, {"number": number, "after": after}).fetchone()) is not None:
        (path,) = row
        if not path.startswith(key):
            return
        name, slash, _below = path[len(key) :].partition("/")
        yield f"{begin}{name}{slash}"
        after = f"{key}{name}0" if slash else f"{path}\0"  # 0 follows /


class _Found(NamedTuple):
    package_id: str
    name: str
    status: str
    number: int
    finalized_sequence: int | None


def _find_package(database: sqlite3.Connection, text: str) -> _Found:
    """Return the package that a text names.

    Raises:
        PackageNotFound, AmbiguousPackage, InvalidValue: the text names none.
    """
    search: Generator[PackageQuery, Sequence[_Found], _Found] = search_package(text)
    try:
        wanted = next(search)
        while True:
            where, *values = _condition(wanted)
            wanted = search.send([_Found(*row) for row in database.execute(f"{_PACKAGE}{where}", values)])
    except StopIteration as end:
        return cast("_Found", end.value)


def _condition(wanted: PackageQuery) -> tuple[str, *tuple[str | int, ...]]:
    """Return the condition and its values, as `artifactstore.database.queries` has them."""
    match wanted:
        case ById(package_id):
            return "package_id = ?", package_id
        case ByPartOfId(text):
            end = text[-PART_LENGTH_MIN:]
            begins = "package_id >= ? AND package_id < ? || '~'"
            ends = "substr(package_id, 31) = ? AND substr(package_id, ?) = ?"
            return f"({begins}) OR ({ends}) LIMIT {CANDIDATES_MAX + 1}", text, text, end, -len(text), text
        case ByName(name, back, until_us, before):
            bounds = {"finalized_at": until_us, "finalized_sequence": before}
            given = {column: bound for column, bound in bounds.items() if bound is not None}
            conditions = ["name = ? AND finalized_sequence IS NOT NULL AND gone_at IS NULL"]
            where = " AND ".join([*conditions, *(f"{each} < ?" for each in given)])
            values: tuple[str | int, ...] = (name, *given.values(), back)
            return f"{where} ORDER BY finalized_sequence DESC LIMIT 1 OFFSET ?", *values
        case OpenByName(name):
            where = "name = ? AND finalized_sequence IS NULL AND gone_at IS NULL"
            return f"{where} LIMIT {CANDIDATES_MAX + 1}", name
        case ByTag(tag):
            return "package_id = (SELECT package_id FROM artifact_tags WHERE tag = ?)", tag
        case ByDigest(of, digest, gone):
            where = f"{of}_digest = ? AND gone_at IS {'NOT NULL' if gone else 'NULL'}"
            return f"{where} ORDER BY finalized_sequence DESC LIMIT 1", digest
