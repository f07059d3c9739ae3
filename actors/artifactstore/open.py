"""Opening a store: settings in, a running registry out."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from artifactstore.config import Settings
from artifactstore.database.database import Database
from artifactstore.database.location import DatabaseLocation
from artifactstore.dataplane import open_local_data_plane
from artifactstore.registry import Registry
from artifactstore.supervision import open_tree
from artifactstore.tree import Actors, tree_spec

__all__ = ["open_registry"]


@asynccontextmanager
async def open_registry(settings: Settings | None = None) -> AsyncGenerator[Registry]:
    """Run a store for as long as the block lasts; leaving it finishes what was accepted, then stops every actor.

    Args:
        settings: where log and objects are; read from the environment by default.

    Raises:
        InvalidValue: a setting is wrong.
        StartFailed: an actor could not start; its cause says why, such as a schema that is too old.
        StorageError: the storage root cannot be used.
    """
    settings = Settings.from_environment() if settings is None else settings
    database = Database(DatabaseLocation.parse(settings.database_url))
    actors = Actors()
    async with (
        open_local_data_plane(settings.storage_local_root) as plane,
        open_tree(tree_spec(actors, settings, database, plane)) as tree,
    ):
        yield Registry(actors, database, tree)
