"""Names of packages and tags for shell completion, which must be fast: after any error there are no names."""

import sqlite3
from contextlib import closing

from artifactstore.cli.store_option import named_store
from artifactstore.config import find_settings
from artifactstore.places import absolute, is_sqlite_url, sqlite_file
from artifactstore_protocols.errors import ArtifactStoreError

__all__ = ["package_names", "tags"]

_NAMES_MAX = 50
_LOCK_TIMEOUT_S = 0.5

# The newest come first. The queries read the database directly: opening the store takes too long for a completion.
_PACKAGE_NAMES = """
SELECT name FROM artifact_packages WHERE substr(name, 1, length(:begin)) = :begin
GROUP BY name ORDER BY max(created_sequence) DESC LIMIT :limit
"""
_TAGS = """
SELECT tag FROM artifact_tags WHERE substr(tag, 1, length(:begin)) = :begin ORDER BY sequence DESC LIMIT :limit
"""


def package_names(incomplete: str) -> list[str]:
    """Return up to 50 package names that begin with `incomplete`, newest first; none if the log is on PostgreSQL."""
    return _names(_PACKAGE_NAMES, incomplete)


def tags(incomplete: str) -> list[str]:
    """Return up to 50 tags that begin with `incomplete`, set last first; none if the log is on PostgreSQL."""
    return _names(_TAGS, incomplete)


def _names(query: str, incomplete: str) -> list[str]:
    try:
        url = find_settings(store=named_store()).settings.database_url
        if not is_sqlite_url(url):
            return []
        # `mode=rw`, since a plain open would create a missing file.
        location = f"{absolute('database', sqlite_file('database', url)).as_uri()}?mode=rw"
        with closing(sqlite3.connect(location, timeout=_LOCK_TIMEOUT_S, uri=True)) as database:
            found = database.execute(query, {"begin": incomplete, "limit": _NAMES_MAX})
            return [name for (name,) in found]
    except (ArtifactStoreError, sqlite3.Error, OSError, ValueError):
        return []
