"""Constructors of data planes, for an embedded store and for a server."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import cast

import trio

from artifactstore.backends.local import LocalBackend
from artifactstore.backends.registry import SMALL_BACKEND_ID, BackendRegistry
from artifactstore.backends.small import SmallBackend
from artifactstore.backends.small_file import file_below
from artifactstore.dataplane.inprocess import InProcessDataPlane
from artifactstore.target_limits import TargetLimits
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.storage import StorageBackend

__all__ = ["open_data_plane", "open_local_data_plane"]


def open_data_plane(opening: Callable[[], StorageBackend]) -> AbstractAsyncContextManager[InProcessDataPlane]:
    """Open a data plane over one backend for the block, and close the backend afterwards.

    Args:
        opening: returns the open backend; called in a worker thread.

    Raises:
        StorageError: the backend cannot be opened.
        InvalidValue: the returned object is not a `StorageBackend`.
    """

    def checked() -> Sequence[StorageBackend]:
        backend = opening()
        if not isinstance(cast("object", backend), StorageBackend):
            reason = "return one that has all of StorageBackend's methods"
            raise InvalidValue("storage backend", type(backend).__name__, reason)
        return [backend]

    return _opened(lambda: (checked(), 0))


def open_local_data_plane(
    root: Path,
    *,
    backend_id: str = "local",
    make: bool = True,
    read_only: bool = False,
    small_max: int | None = None,
    small_optional: bool = False,
    limits: TargetLimits | None = None,
) -> AbstractAsyncContextManager[InProcessDataPlane]:
    """Open a data plane over a local root for the block.

    Args:
        root: the directory of the objects.
        backend_id: name of the backend in receipts.
        make: create the root if there is none.
        read_only: do not change the root when it is opened. The caller must not write.
        small_max: the largest size, in bytes, that the backend for small objects stores. With 0, that backend only
            reads; with None, there is no such backend.
        small_optional: store small objects as files if the root cannot hold the file of small objects.
        limits: see `LocalBackend`.

    Raises:
        StorageDenied, StorageFull, StorageFailed: the root cannot be made.
    """
    check_cancelled = trio.from_thread.check_cancelled

    def opening() -> tuple[Sequence[StorageBackend], int]:
        local = LocalBackend(
            root, backend_id, make=make, read_only=read_only, limits=limits, check_cancelled=check_cancelled
        )
        if small_max is None:
            return [local], 0
        small = SmallBackend(root, SMALL_BACKEND_ID, read_only=read_only)
        takes_small = not small_optional or file_below(root).exists() or small.health().writable
        return [local, small], small_max if takes_small else 0

    return _opened(opening)


@asynccontextmanager
async def _opened(
    opening: Callable[[], tuple[Sequence[StorageBackend], int]],
) -> AsyncGenerator[InProcessDataPlane]:
    """Open a data plane. `opening` returns the backends, the default first, and the largest size of a small object."""
    backends, small_max = await trio.to_thread.run_sync(opening)
    try:
        yield InProcessDataPlane(BackendRegistry(backends, backends[0].backend_id, small_max=small_max))
    finally:
        with trio.CancelScope(shield=True):
            for backend in backends:
                await trio.to_thread.run_sync(backend.close)
