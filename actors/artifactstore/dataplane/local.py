"""A data plane over one storage backend, ready to use: what an embedded store and a single server need."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast

import trio

from artifactstore.backends.local import LocalBackend
from artifactstore.backends.registry import BackendRegistry
from artifactstore.dataplane.inprocess import InProcessDataPlane
from artifactstore.target_limits import TargetLimits
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.storage import StorageBackend

__all__ = ["open_data_plane", "open_local_data_plane"]


@asynccontextmanager
async def open_data_plane(opening: Callable[[], StorageBackend]) -> AsyncGenerator[InProcessDataPlane]:
    """Open a backend for the block, and close it after the last call.

    Args:
        opening: makes the backend; called in a worker thread.

    Raises:
        StorageError: it cannot be opened.
        InvalidValue: it is no backend.
    """
    backend = await trio.to_thread.run_sync(opening)
    if not isinstance(cast("object", backend), StorageBackend):
        raise InvalidValue(
            "storage backend", type(backend).__name__, "return one that has all of StorageBackend's methods"
        )
    try:
        yield InProcessDataPlane(BackendRegistry([backend]), backend.backend_id)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(backend.close)


def open_local_data_plane(
    root: Path,
    *,
    backend_id: str = "local",
    make: bool = True,
    read_only: bool = False,
    limits: TargetLimits | None = None,
) -> AbstractAsyncContextManager[InProcessDataPlane]:
    """Open a local root for the block.

    Args:
        root: directory of the objects.
        backend_id: name of the backend in receipts.
        make: make the root if there is none.
        read_only: change nothing by opening it; do not write then.
        limits: as `LocalBackend` takes it.

    Raises:
        StorageDenied, StorageFull, StorageFailed: the root cannot be made.
    """
    check_wanted = trio.from_thread.check_cancelled
    return open_data_plane(
        partial(
            LocalBackend, root, backend_id, make=make, read_only=read_only, limits=limits, check_wanted=check_wanted
        )
    )
