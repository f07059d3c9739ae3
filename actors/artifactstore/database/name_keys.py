"""Keys of file names in SQL, as in the index on them: see `artifactstore_protocols.name_keys`."""

from typing import Final

from sqlalchemy import ColumnElement, literal_column

__all__ = ["ending", "name_key", "name_key_sql"]

_PATH: Final = "artifact_files.path_key"


def name_key_sql(path: str = "path_key") -> str:
    """Return the expression for the key of a path's last part. `path` is the column; an index has only its name.

    The parentheses are those that PostgreSQL reports, so that Alembic can compare the index.
    """
    above = f"rtrim({path}, replace({path}, '/', ''))"  # up to its last slash: all other characters are trimmed
    return f"(({_ending_sql(path)} || '/') || substr({_before_ending_sql(path)}, length({above}) + 1))"


def _before_ending_sql(path: str) -> str:
    """Return the expression for a path up to its last slash or dot."""
    return f"rtrim({path}, replace(replace({path}, '/', ''), '.', ''))"


def _ending_sql(path: str) -> str:
    """Return the expression for what follows, with the slash or dot."""
    return f"substr('/' || {path}, length({_before_ending_sql(path)}) + 1)"


name_key: ColumnElement[str] = literal_column(name_key_sql(_PATH))
"""The key of a file's name."""

ending: ColumnElement[str] = literal_column(_ending_sql(_PATH))
"""The part of that key before its last slash."""
