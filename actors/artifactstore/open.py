"""Functions that open the store of some settings, and run it for a block or in a nursery."""

import logging
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import trio

from artifactstore.arguments import checked
from artifactstore.config import Settings
from artifactstore.database.database import Database
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.store import SqlEventStore
from artifactstore.dataplane import open_data_plane, open_local_data_plane, read_marker, update_marker
from artifactstore.environment import in_thread
from artifactstore.host_loop import must_be_trio
from artifactstore.ingest import StorePlaces
from artifactstore.places import absolute
from artifactstore.registry import Registry
from artifactstore.supervision import ActorSpec, Report, StartFailed, open_tree
from artifactstore.tree import Actors, tree_spec
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.root_markers import claimed
from artifactstore_protocols.storage import StorageBackend

__all__ = ["open_registry", "open_store", "run_registry"]

_logger = logging.getLogger("artifactstore.store")

_LOOP_BLOCKED_AFTER_S = 30.0


@checked
@asynccontextmanager
async def open_registry(
    settings: Settings | None = None,
    *,
    backend: Callable[[], StorageBackend] | None = None,
    create: bool = True,
) -> AsyncGenerator[Registry]:
    """Run a store for the duration of the block. Leaving the block finishes accepted work, then stops every actor.

    Cancelling the block has the same effect: acknowledged data is kept, and no work is left half done.

    Args:
        settings: settings of the store; by default, those of `Settings.load`.
        backend: opens the backend for the objects, instead of the settings' local directory. It is called in a worker
            thread, and its result is closed with the store. A store always uses the kind of backend and the
            `backend_id` that it was created with.
        create: whether to create a missing store. With False, for programs that only read, a missing store is an error
            and nothing is written.

    Raises:
        WrongEventLoop: the caller is not a task of trio.
        InvalidValue: a setting is invalid.
        StoreNotFound: the store does not exist, and `create` is False.
        SchemaTooOld, SchemaTooNew: the database belongs to another release.
        DatabaseUnavailable, DatabaseBusy: the database cannot be opened now.
        StorageError: the storage root cannot be used.
        StartFailed: an actor could not start, and its error is not an `ArtifactStoreError`.
    """
    must_be_trio()
    found = Settings.load() if settings is None else settings
    async with open_store(found, backend=backend, create=create) as registry:
        yield registry


async def run_registry(
    settings: Settings | None = None,
    *,
    backend: Callable[[], StorageBackend] | None = None,
    create: bool = True,
    task_status: trio.TaskStatus[Registry] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Run a store as a child of a nursery, until it is cancelled: `registry = await nursery.start(run_registry)`.

    Args:
        settings: as for `open_registry`.
        backend: as for `open_registry`.
        create: as for `open_registry`.
        task_status: receives the registry once the store runs.

    Raises:
        Exception: any error of `open_registry`, which `nursery.start` raises.
    """
    async with open_registry(settings, backend=backend, create=create) as registry:
        task_status.started(registry)
        await trio.sleep_forever()


@asynccontextmanager
async def open_store(
    settings: Settings,
    services: Callable[[Actors], Sequence[ActorSpec[Any]]] = lambda _actors: (),
    *,
    backend: Callable[[], StorageBackend] | None = None,
    create: bool = True,
    on_report: Callable[[Report], None] | None = None,
) -> AsyncGenerator[Registry]:
    """Run a store like `open_registry`, with further actors besides those of the core.

    Args:
        settings: settings of the store.
        services: returns the specs of the further actors.
        backend: as for `open_registry`.
        create: as for `open_registry`.
        on_report: called after a crash, for an actor that will not stop, and, from a separate thread, for a blocked
            event loop. All reports are also logged.
    """
    started = False
    closed = trio.Event()
    refusal: ArtifactStoreError | None = None
    location = DatabaseLocation.parse(settings.database_url)
    database = Database(location, create=create)
    store = SqlEventStore(database)
    actors = Actors()
    if backend is None:
        root, own = _storage_root(settings), places_of(settings)
        opening = open_local_data_plane(root, make=create, small_max=settings.storage_small_max)
    else:
        opening = open_data_plane(backend)
        root, own = None, StorePlaces(None, location.path)
    async with opening as plane:
        spec = tree_spec(actors, settings, store, plane, services(actors), places=own)
        try:
            watched = open_tree(spec, on_report=on_report, loop_blocked_after_s=_LOOP_BLOCKED_AFTER_S)
            async with watched as tree:
                started = True
                if root is not None and database.read_only is None:
                    await _claim(root, store, writes=create)
                _logger.info("the store is open: log in %s", store.name)
                try:
                    yield Registry(actors, store, tree, closed, root)
                finally:
                    closed.set()
                    if trio.current_effective_deadline() == -math.inf:  # cancelled
                        database.hurry()
        except StartFailed as failed:
            # Raise the cause: the caller needs the problem of the store, not the actor that met it first.
            if started or not isinstance(failed.cause, ArtifactStoreError):
                raise
            refusal = failed.cause
        finally:
            # The database actor closes the store, unless the actor crashed while it stopped.
            with trio.CancelScope(shield=True):
                await store.close()
            if started:
                _logger.info("the store is closed")
    if refusal is not None:
        raise refusal


def places_of(settings: Settings) -> StorePlaces:
    """Return where the store of these settings has its files, if its objects are in a local directory."""
    return StorePlaces(_storage_root(settings), DatabaseLocation.parse(settings.database_url).path)


def _storage_root(settings: Settings) -> Path:
    return absolute("storage root", settings.storage_local_root)


async def _claim(root: Path, store: SqlEventStore, *, writes: bool) -> None:
    """Mark an unclaimed object root as this store's, and that of another store as shared if this one may write there.

    If the marker cannot be written, it stays as it is.
    """
    try:
        marker = await in_thread(partial(read_marker, root))
        decide = partial(claimed, await store.store_id(), writes=writes)
        if decide(marker) != marker:
            await in_thread(partial(update_marker, root, decide))
    except (OSError, ArtifactStoreError) as error:
        _logger.info("the object root is not marked as this store's: %s", error)
