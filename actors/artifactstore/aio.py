"""The registry for asyncio programs: the methods of `Registry`, for asyncio's `await`, `async for` and `async with`.

For example::

    from pathlib import Path
    from artifactstore.aio import open_registry

    async with open_registry() as registry:
        print((await registry.ingest_tree(Path("docs"))).manifest_digest)

The store runs in its own thread and does not change the host's event loop. Cancelling a call also
cancels it in that thread, and waits until it has stopped there. Progress callbacks run in the store's thread.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager, suppress
from functools import partial, update_wrapper
from pathlib import Path
from typing import Any, Concatenate, Literal, cast

import trio

from artifactstore.arguments import checked
from artifactstore.asyncio_calls import answer, entered, items, opened
from artifactstore.config import Settings
from artifactstore.host_loop import must_be_asyncio
from artifactstore.open import open_registry as open_in_trio
from artifactstore.package_paths import Package
from artifactstore.portal import Portal, snapshot_of
from artifactstore.registry import DEFAULT_PRINCIPAL, Registry
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.expiry import ABANDONED_AFTER
from artifactstore_protocols.keep_policies import KeepPolicy, KeepVerdict
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.package_listing import ALL, EntryFilter, PackageFilter, SortKey
from artifactstore_protocols.records import (
    ExpiredPackage,
    FileRecord,
    FoundEntry,
    HistoryEntry,
    Hold,
    IngestProgress,
    MetadataSchema,
    PackageRecord,
    RetainedPackage,
    Tag,
)
from artifactstore_protocols.retention import RetentionClass
from artifactstore_protocols.storage import StorageBackend
from artifactstore_protocols.supervision import SupervisorSnapshot
from artifactstore_protocols.token_records import Token

__all__ = ["AsyncioRegistry", "open_registry"]


def _awaitable[**P, R](
    method: Callable[Concatenate[Registry, P], Awaitable[R]],
) -> Callable[Concatenate["AsyncioRegistry", P], Coroutine[Any, Any, R]]:
    async def call(self: "AsyncioRegistry", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await answer(lambda: self.portal.submit(lambda registry: method(registry, *args, **kwargs)))

    # The documentation and, through `__wrapped__`, the signature are those of the `Registry` method.
    return update_wrapper(call, method, assigned=("__name__", "__doc__"))


async def _read_in(loop: asyncio.AbstractEventLoop, source: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    """Yield the chunks of a stream, which the caller's loop reads one at a time; runs in the store's thread."""
    chunks = aiter(source)

    async def following() -> tuple[bytes, ...]:
        try:
            return (await anext(chunks),)
        except StopAsyncIteration:
            return ()

    while chunk := await _in_loop(loop, following):
        yield chunk[0]


async def _in_loop[T](loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in an asyncio loop of another thread; pass a cancellation on, and wait for the coroutine."""
    token = trio.lowlevel.current_trio_token()
    ended = trio.Event()
    tasks: list[asyncio.Task[T]] = []

    def begin() -> None:
        tasks.append(loop.create_task(work()))
        tasks[0].add_done_callback(end)

    def end(task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # marks it as retrieved, so that asyncio does not log it
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(ended.set)

    loop.call_soon_threadsafe(begin)
    try:
        await ended.wait()
    except trio.Cancelled:
        loop.call_soon_threadsafe(lambda: tasks[0].cancel())  # noqa: PLW0108 - `tasks` is filled when the loop runs this
        with trio.CancelScope(shield=True):
            await ended.wait()
        raise
    task = tasks[0]
    error = CancelledError() if task.cancelled() else task.exception()
    if error is None:
        return task.result()
    # A cancellation by asyncio, or an interrupt of the host program, reaches trio as an ordinary error.
    raise error if isinstance(error, Exception) else CancelledError() from error


class AsyncioRegistry:
    """`Registry` for asyncio. See `Registry` for what the methods do and raise.

    Any asyncio loop of the process may call it, in any thread. Without a running loop, calls raise `WrongEventLoop`.
    """

    def __init__(self, portal: Portal[Registry]) -> None:
        self.portal = portal

    create_package = _awaitable(Registry.create_package)
    ingest_directory = _awaitable(Registry.ingest_directory)
    ingest_tree = _awaitable(Registry.ingest_tree)
    preview_ingest = _awaitable(Registry.preview_ingest)
    preview_package = _awaitable(Registry.preview_package)
    missing_objects = _awaitable(Registry.missing_objects)
    store_objects = _awaitable(Registry.store_objects)
    add_entries = _awaitable(Registry.add_entries)
    finalize_package = _awaitable(Registry.finalize_package)
    register_metadata_schema = _awaitable(Registry.register_metadata_schema)
    annotate_package = _awaitable(Registry.annotate_package)
    get_metadata_schema = _awaitable(Registry.get_metadata_schema)
    delete_package = _awaitable(Registry.delete_package)
    place_hold = _awaitable(Registry.place_hold)
    release_hold = _awaitable(Registry.release_hold)
    set_retention = _awaitable(Registry.set_retention)
    extend_retention = _awaitable(Registry.extend_retention)
    explain_retention = _awaitable(Registry.explain_retention)
    observe_clock = _awaitable(Registry.observe_clock)
    confirm_clock = _awaitable(Registry.confirm_clock)
    require_schema = _awaitable(Registry.require_schema)
    unrequire_schema = _awaitable(Registry.unrequire_schema)
    set_tag = _awaitable(Registry.set_tag)
    delete_tag = _awaitable(Registry.delete_tag)
    get_tag = _awaitable(Registry.get_tag)
    add_retention_class = _awaitable(Registry.add_retention_class)
    set_keep_policy = _awaitable(Registry.set_keep_policy)
    get_keep_policy = _awaitable(Registry.get_keep_policy)
    delete_keep_policy = _awaitable(Registry.delete_keep_policy)
    create_token = _awaitable(Registry.create_token)
    get_token = _awaitable(Registry.get_token)
    revoke_token = _awaitable(Registry.revoke_token)
    identify = _awaitable(Registry.identify)
    get_package = _awaitable(Registry.get_package)
    list_files = _awaitable(Registry.list_files)
    diff_packages = _awaitable(Registry.diff_packages)
    list_directory = _awaitable(Registry.list_directory)
    get_file_record = _awaitable(Registry.get_file_record)
    get_manifest_bytes = _awaitable(Registry.get_manifest_bytes)
    export_package = _awaitable(Registry.export_package)
    copy_package = _awaitable(Registry.copy_package)
    read_events = _awaitable(Registry.read_events)
    export_events = _awaitable(Registry.export_events)
    import_events = _awaitable(Registry.import_events)
    backup = _awaitable(Registry.backup)
    preview_pruning = _awaitable(Registry.preview_pruning)
    restore = _awaitable(Registry.restore)
    verify = _awaitable(Registry.verify)
    repair = _awaitable(Registry.repair)
    collect_garbage = _awaitable(Registry.collect_garbage)
    purge = _awaitable(Registry.purge)
    redact = _awaitable(Registry.redact)
    replay = _awaitable(Registry.replay)
    stats = _awaitable(Registry.stats)
    disk_usage = _awaitable(Registry.disk_usage)
    unique_usage = _awaitable(Registry.unique_usage)
    health = _awaitable(Registry.health)

    @checked
    async def ingest_file(
        self,
        package: str,
        path: str,
        source: Path | AsyncIterable[bytes],
        *,
        expected_size: int | None = None,
        executable: bool | None = None,
        media_type: str | None = None,
        replace: bool = False,
        principal: str = DEFAULT_PRINCIPAL,
        idempotency_key: str | None = None,
    ) -> FileRecord:
        """Put one file into an open package. A stream is read in this event loop, one chunk at a time."""
        reader = source if isinstance(source, Path) else _read_in(must_be_asyncio(), source)
        try:
            return await answer(
                lambda: self.portal.submit(
                    lambda registry: registry.ingest_file(
                        package,
                        path,
                        reader,
                        expected_size=expected_size,
                        executable=executable,
                        media_type=media_type,
                        replace=replace,
                        principal=principal,
                        idempotency_key=idempotency_key,
                    )
                )
            )
        finally:
            if isinstance(source, AsyncGenerator):
                await cast("AsyncGenerator[bytes]", source).aclose()

    async def snapshot(self) -> SupervisorSnapshot:
        """Return the current supervision tree."""
        return await answer(lambda: self.portal.submit(snapshot_of))

    def list_packages(
        self,
        where: PackageFilter = ALL,
        *,
        sort: SortKey = "created",
        reverse: bool = False,
        after: str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[PackageRecord]:
        """Iterate over packages: by default over all, the newest first."""
        return items(
            self.portal.iterate(
                lambda registry: registry.list_packages(where, sort=sort, reverse=reverse, after=after, limit=limit)
            )
        )

    def find(
        self,
        wanted: EntryFilter,
        *,
        packages: PackageFilter = ALL,
        reverse: bool = False,
        after: str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[FoundEntry]:
        """Iterate over the entries with a path, a name or a content, and their packages: the newest package first."""
        return items(
            self.portal.iterate(
                lambda registry: registry.find(wanted, packages=packages, reverse=reverse, after=after, limit=limit)
            )
        )

    def exported_events(self) -> AsyncGenerator[bytes]:
        """Iterate over the bytes of the file that `export_events` writes; close the iterator if you stop early."""
        return items(self.portal.iterate(Registry.exported_events))

    def list_metadata_schemas(self) -> AsyncGenerator[MetadataSchema]:
        """Iterate over every version of every metadata schema, in the order of names and versions."""
        return items(self.portal.iterate(Registry.list_metadata_schemas))

    def list_retention(self, expiring_within: str = "0d") -> AsyncGenerator[RetainedPackage]:
        """Iterate over the packages whose retention ends within a time."""
        return items(self.portal.iterate(lambda registry: registry.list_retention(expiring_within)))

    def expire_packages(
        self,
        *,
        dry_run: bool = False,
        yes_expire: int | None = None,
        abandoned_after: str = ABANDONED_AFTER,
        principal: str = DEFAULT_PRINCIPAL,
    ) -> AsyncGenerator[ExpiredPackage]:
        """Let go what is due, and iterate over what went."""
        call = partial(
            Registry.expire_packages,
            dry_run=dry_run,
            yes_expire=yes_expire,
            abandoned_after=abandoned_after,
            principal=principal,
        )
        return items(self.portal.iterate(call))

    def list_holds(self, package: str | None = None) -> AsyncGenerator[Hold]:
        """Iterate over holds."""
        return items(self.portal.iterate(lambda registry: registry.list_holds(package)))

    def list_tags(self) -> AsyncGenerator[Tag]:
        """Iterate over all tags, in the order of the names."""
        return items(self.portal.iterate(Registry.list_tags))

    def list_retention_classes(self) -> AsyncGenerator[RetentionClass]:
        """See `Registry.list_retention_classes`."""
        return items(self.portal.iterate(Registry.list_retention_classes))

    def list_keep_policies(self) -> AsyncGenerator[KeepPolicy]:
        """Iterate over all keep policies, in the order of their groups."""
        return items(self.portal.iterate(Registry.list_keep_policies))

    def list_tokens(self) -> AsyncGenerator[Token]:
        """Iterate over all tokens, in the order of their names."""
        return items(self.portal.iterate(Registry.list_tokens))

    def apply_keep_policies(
        self,
        group: str | None = None,
        *,
        dry_run: bool = False,
        yes_expire: int | None = None,
        principal: str = DEFAULT_PRINCIPAL,
    ) -> AsyncGenerator[KeepVerdict]:
        """Let packages go that nothing keeps, and iterate over what the keep policies say about each package."""
        return items(
            self.portal.iterate(
                lambda registry: registry.apply_keep_policies(
                    group, dry_run=dry_run, yes_expire=yes_expire, principal=principal
                )
            )
        )

    def tag_history(self, tag: str) -> AsyncGenerator[HistoryEntry]:
        """Iterate over the history of one tag, in log order."""
        return items(self.portal.iterate(lambda registry: registry.tag_history(tag)))

    def history(self, package: str | None = None) -> AsyncGenerator[HistoryEntry]:
        """Iterate over the history of one package or of the whole store, in log order."""
        return items(self.portal.iterate(lambda registry: registry.history(package)))

    async def open_package(self, package: str) -> Package:
        """Open a package for reading by paths like those of `pathlib`."""

        async def run[T](work: Callable[[], Awaitable[T]]) -> T:
            return await answer(lambda: self.portal.submit(lambda _registry: work()))

        opened = await answer(lambda: self.portal.submit(lambda registry: registry.open_package(package)))
        return opened.reached_by(run)

    @asynccontextmanager
    async def get_file(
        self, package: str, path: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Stream the bytes of one file, or a range of them, in large chunks."""
        entering = self.portal.enter(lambda registry: registry.get_file(package, path, offset=offset, length=length))
        async with entered(entering) as chunks:
            yield chunks

    @asynccontextmanager
    async def export_archive(
        self,
        package: str,
        form: Literal["tar", "zip"],
        *,
        subtree: str = "",
        paths: Sequence[str] | None = None,
        strip_components: int = 0,
        links: LinkPolicy = LinkPolicy.KEEP,
        progress: Callable[[IngestProgress], None] | None = None,
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Stream the bytes of one tar or zip file with a package, or a part of it."""
        entering = self.portal.enter(
            lambda registry: registry.export_archive(
                package,
                form,
                subtree=subtree,
                paths=paths,
                strip_components=strip_components,
                links=links,
                progress=progress,
            )
        )
        async with entered(entering) as chunks:
            yield chunks

    @asynccontextmanager
    async def tail_events(self, since: int = 0) -> AsyncGenerator[AsyncIterator[StoredEvent]]:
        """Stream every event after `since` once and in order, then new events, until the store closes."""
        async with entered(self.portal.enter(lambda registry: registry.tail_events(since))) as events:
            yield events


@asynccontextmanager
async def open_registry(
    settings: Settings | None = None,
    *,
    backend: Callable[[], StorageBackend] | None = None,
    create: bool = True,
) -> AsyncGenerator[AsyncioRegistry]:
    """Run a store during the block. Leaving the block waits for running calls, and ends iterations.

    Args:
        settings: where the log and the objects are; by default what `Settings.load` finds.
        backend: see `artifactstore.open_registry`.
        create: see `artifactstore.open_registry`.

    Raises:
        The errors of `artifactstore.open_registry`, and `WrongEventLoop` if no asyncio loop runs. A registry that is
        used after the block raises `StoreClosed`.
    """
    async with opened(lambda: open_in_trio(settings, backend=backend, create=create)) as portal:
        yield AsyncioRegistry(portal)
