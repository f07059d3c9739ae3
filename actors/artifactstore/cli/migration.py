"""Work of `artifactstore migrate`, which opens only the database, not the store, and migrates its schema.

A new store also gets its object root, so that it is complete. The root of an existing store is never created: an empty
root would hide that the objects are missing.
"""

from artifactstore.cli.runner import logged, on_trio
from artifactstore.database.database import Database
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.schema import SCHEMA_REVISION
from artifactstore.dataplane import open_local_data_plane
from artifactstore.places import absolute

__all__ = ["migrate_database"]

_AGAIN = "the schema is as it was, or done; run the same command again"


def migrate_database(*, fresh: bool, destroy_log: str | None) -> tuple[str, str | None, str]:
    """Upgrade the configured database, or drop and set it up; return its name and the schema before and after.

    Raises:
        LogNotEmpty, SchemaTooNew, DatabaseUnavailable: nothing was changed.
        StorageError: the object root cannot be created; the database is set up.
    """
    with logged() as settings:
        database = Database(DatabaseLocation.parse(settings.database_url))
        root = absolute("storage root", settings.storage_local_root)

        async def migrate() -> tuple[str | None, str]:
            before: str | None = None
            after = SCHEMA_REVISION
            if fresh:
                await database.start_afresh(destroy_log=destroy_log)
            else:
                before, after = await database.migrate()
            if before is None:
                async with open_local_data_plane(root):
                    pass
            return before, after

        return database.location.name, *on_trio(migrate, interrupted=_AGAIN)
