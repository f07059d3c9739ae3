"""The registry for asyncio programs: the same methods, awaited from asyncio.

```python
from pathlib import Path
from artifactstore.aio import open_registry

async with open_registry() as registry:
    print((await registry.ingest_tree(Path("docs"))).manifest_digest)
```

The store runs in a thread of its own; nothing of the host's event loop is touched. Cancelling a call withdraws it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Concatenate

from artifactstore.config import Settings
from artifactstore.portal import Portal, in_trio
from artifactstore.registry import DEFAULT_ACTOR, Registry
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.records import AuditEntry, FileRecord, PackageRecord

__all__ = ["AsyncioRegistry", "open_registry"]


def _awaitable[**P, R](
    method: Callable[Concatenate[Registry, P], Awaitable[R]],
) -> Callable[Concatenate["AsyncioRegistry", P], Coroutine[Any, Any, R]]:
    async def call(self: "AsyncioRegistry", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.wrap_future(self.portal.submit(lambda registry: method(registry, *args, **kwargs)))

    call.__name__, call.__doc__ = method.__name__, method.__doc__
    return call


async def _iterate[T](portal: Portal, source: Callable[[Registry], AsyncGenerator[T]]) -> AsyncGenerator[T]:
    """The items of an asynchronous generator that lives in the store's thread."""

    async def begin(registry: Registry) -> AsyncGenerator[T]:
        return source(registry)

    items = await asyncio.wrap_future(portal.submit(begin))
    try:
        while True:
            try:
                yield await asyncio.wrap_future(portal.submit(lambda _registry: anext(items)))
            except StopAsyncIteration:
                return
    finally:
        await asyncio.wrap_future(portal.submit(lambda _registry: items.aclose()))


async def _read_in(loop: asyncio.AbstractEventLoop, source: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Runs in the store's thread, and asks the caller's loop for every chunk of its stream."""

    async def following() -> bytes | None:
        return await anext(source, None)

    while (chunk := await in_trio(asyncio.run_coroutine_threadsafe(following(), loop))) is not None:
        yield chunk


class AsyncioRegistry:
    """`Registry`, each method of which is awaited from asyncio. See there for what they do and raise."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal

    create_package = _awaitable(Registry.create_package)
    ingest_directory = _awaitable(Registry.ingest_directory)
    ingest_tree = _awaitable(Registry.ingest_tree)
    finalize_package = _awaitable(Registry.finalize_package)
    register_metadata_schema = _awaitable(Registry.register_metadata_schema)
    get_package = _awaitable(Registry.get_package)
    list_files = _awaitable(Registry.list_files)
    get_file_record = _awaitable(Registry.get_file_record)
    get_manifest_bytes = _awaitable(Registry.get_manifest_bytes)
    export_package = _awaitable(Registry.export_package)
    read_events = _awaitable(Registry.read_events)
    verify = _awaitable(Registry.verify)
    replay = _awaitable(Registry.replay)
    health = _awaitable(Registry.health)
    apply_retention = _awaitable(Registry.apply_retention)
    change_retention = _awaitable(Registry.change_retention)

    async def ingest_file(
        self,
        package_id: str,
        path: str,
        source: Path | AsyncIterator[bytes],
        *,
        expected_size: int | None = None,
        executable: bool | None = None,
        media_type: str | None = None,
        replace: bool = False,
        actor: str = DEFAULT_ACTOR,
        idempotency_key: str | None = None,
    ) -> FileRecord:
        """Put one file into an open package; a stream is read in this event loop, a chunk at a time."""
        loop = asyncio.get_running_loop()
        reader = source if isinstance(source, Path) else _read_in(loop, source)
        return await asyncio.wrap_future(
            self.portal.submit(
                lambda registry: registry.ingest_file(
                    package_id,
                    path,
                    reader,
                    expected_size=expected_size,
                    executable=executable,
                    media_type=media_type,
                    replace=replace,
                    actor=actor,
                    idempotency_key=idempotency_key,
                )
            )
        )

    def list_packages(self) -> AsyncGenerator[PackageRecord]:
        """Every package, in order of creation."""
        return _iterate(self.portal, Registry.list_packages)

    def audit(self, package_id: str | None = None) -> AsyncGenerator[AuditEntry]:
        """Who did what and when, to one package or to the whole store, in order."""
        return _iterate(self.portal, lambda registry: registry.audit(package_id))

    def get_file(
        self, package_id: str, path: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes]:
        """The bytes of one file, or a range of them, in large chunks."""

        async def chunks(registry: Registry) -> AsyncGenerator[bytes]:
            async with registry.get_file(package_id, path, offset=offset, length=length) as stream:
                async for chunk in stream:
                    yield chunk

        return _iterate(self.portal, chunks)

    def tail_events(self, since: int = 0) -> AsyncGenerator[StoredEvent]:
        """Every event after `since`, then those to come, without end."""

        async def tail(registry: Registry) -> AsyncGenerator[StoredEvent]:
            async with registry.tail_events(since) as stored:
                async for event in stored:
                    yield event

        return _iterate(self.portal, tail)


@asynccontextmanager
async def open_registry(settings: Settings | None = None) -> AsyncGenerator[AsyncioRegistry]:
    """Run a store for as long as the block lasts.

    Args:
        settings: where log and objects are; read from the environment by default.

    Raises:
        As `artifactstore.open_registry`; `StoreClosed` from a registry that is used after the block.
    """
    portal = Portal(settings)
    opened = portal.start()
    try:
        await asyncio.wrap_future(opened)
        yield AsyncioRegistry(portal)
    finally:
        await asyncio.shield(asyncio.wrap_future(portal.stop()))
