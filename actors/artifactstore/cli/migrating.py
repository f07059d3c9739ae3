"""What `artifactstore migrate` does: open no store, only the database, and move its schema."""

from artifactstore.cli.runner import logged, on_trio
from artifactstore.database.database import Database
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.schema import SCHEMA_REVISION

__all__ = ["migrate_database"]

_AGAIN = "the schema is as it was, or done; run the same command again"


def migrate_database(*, fresh: bool, destroy_log: str | None) -> tuple[str, str | None, str]:
    """Upgrade the configured database, or drop and set it up. Returns its name and the schema before and after.

    Raises:
        LogNotEmpty, SchemaTooNew, DatabaseUnavailable: nothing was changed.
    """
    with logged() as settings:
        database = Database(DatabaseLocation.parse(settings.database_url))
        if fresh:
            on_trio(lambda: database.start_afresh(destroy_log=destroy_log), interrupted=_AGAIN)
            return database.location.name, None, SCHEMA_REVISION
        before, after = on_trio(database.migrate, interrupted=_AGAIN)
        return database.location.name, before, after
