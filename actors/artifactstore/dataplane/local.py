"""A data plane over one local directory, ready to use: what an embedded store and a single server need."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from artifactstore.backends.local import LocalBackend
from artifactstore.backends.registry import BackendRegistry
from artifactstore.dataplane.inprocess import InProcessDataPlane

__all__ = ["open_local_data_plane"]


@asynccontextmanager
async def open_local_data_plane(root: Path, *, backend_id: str = "local") -> AsyncGenerator[InProcessDataPlane]:
    """Open a local root for the block, making it if there is none.

    Args:
        root: directory of the objects.
        backend_id: name of the backend in receipts.

    Raises:
        StorageDenied, StorageFull, StorageFailed: the root cannot be made.
    """
    backend = await trio.to_thread.run_sync(partial(LocalBackend, root, backend_id))
    try:
        yield InProcessDataPlane(BackendRegistry([backend]), backend_id)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(backend.close)
