"""Opening a store: settings in, a running registry out."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from artifactstore.config import Settings
from artifactstore.database.database import Database
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.store import SqlEventStore
from artifactstore.dataplane import open_local_data_plane
from artifactstore.registry import Registry
from artifactstore.supervision import ActorSpec, open_tree
from artifactstore.tree import Actors, tree_spec

__all__ = ["open_registry", "open_store"]


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
    async with open_store(Settings.from_environment() if settings is None else settings) as registry:
        yield registry


@asynccontextmanager
async def open_store(
    settings: Settings, services: Callable[[Actors], Sequence[ActorSpec[Any]]] = lambda _actors: ()
) -> AsyncGenerator[Registry]:
    """As `open_registry`, with further actors beside the core: `services` makes their specs."""
    store = SqlEventStore(Database(DatabaseLocation.parse(settings.database_url)))
    actors = Actors()
    async with open_local_data_plane(settings.storage_local_root) as plane:
        spec = tree_spec(actors, settings, store, plane, services(actors))
        try:
            async with open_tree(spec) as tree:
                yield Registry(actors, store, tree)
        finally:
            # Its actor closes it, unless that crashed in its last moments.
            with trio.CancelScope(shield=True):
                await store.close()
