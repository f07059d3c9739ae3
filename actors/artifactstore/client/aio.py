"""The client of a service for asyncio programs: the methods of `RemoteRegistry`, for asyncio's `await`.

For example::

    from artifactstore.client.aio import connect

    async with connect("https://store.example.org", token) as registry:
        print((await registry.get_package("nightly")).manifest_digest)

The client runs in its own thread, as the store of `artifactstore.aio` does.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import update_wrapper
from typing import Any, Concatenate, Literal

from artifactstore.asyncio_calls import answer, entered, items, opened
from artifactstore.client import RemoteRegistry
from artifactstore.client import connect as connect_in_trio
from artifactstore.portal import Portal
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.package_listing import ALL, EntryFilter, PackageFilter, SortKey
from artifactstore_protocols.records import (
    FoundEntry,
    HistoryEntry,
    Hold,
    IngestProgress,
    PackageRecord,
    ShownEvent,
    Tag,
)

__all__ = ["AsyncioRemoteRegistry", "connect"]


def _awaitable[**P, R](
    method: Callable[Concatenate[RemoteRegistry, P], Awaitable[R]],
) -> Callable[Concatenate["AsyncioRemoteRegistry", P], Coroutine[Any, Any, R]]:
    async def call(self: "AsyncioRemoteRegistry", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await answer(lambda: self.portal.submit(lambda registry: method(registry, *args, **kwargs)))

    return update_wrapper(call, method, assigned=("__name__", "__doc__"))


class AsyncioRemoteRegistry:
    """`RemoteRegistry` for asyncio. See `RemoteRegistry` for what the methods do and raise.

    Any asyncio loop of the process may call it, in any thread.
    """

    def __init__(self, portal: Portal[RemoteRegistry]) -> None:
        self.portal = portal

    check_connection = _awaitable(RemoteRegistry.check_connection)
    get_package = _awaitable(RemoteRegistry.get_package)
    list_files = _awaitable(RemoteRegistry.list_files)
    list_directory = _awaitable(RemoteRegistry.list_directory)
    diff_packages = _awaitable(RemoteRegistry.diff_packages)
    explain_retention = _awaitable(RemoteRegistry.explain_retention)
    get_tag = _awaitable(RemoteRegistry.get_tag)
    stats = _awaitable(RemoteRegistry.stats)
    get_file_record = _awaitable(RemoteRegistry.get_file_record)
    export_package = _awaitable(RemoteRegistry.export_package)
    get_manifest_bytes = _awaitable(RemoteRegistry.get_manifest_bytes)
    read_events = _awaitable(RemoteRegistry.read_events)

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

    def list_tags(self) -> AsyncGenerator[Tag]:
        """Iterate over all tags, in the order of the names."""
        return items(self.portal.iterate(RemoteRegistry.list_tags))

    def list_holds(self, package: str | None = None) -> AsyncGenerator[Hold]:
        """Iterate over the holds on a package."""
        return items(self.portal.iterate(lambda registry: registry.list_holds(package)))

    def history(self, package: str | None = None) -> AsyncGenerator[HistoryEntry]:
        """Iterate over the history of a package."""
        return items(self.portal.iterate(lambda registry: registry.history(package)))

    @asynccontextmanager
    async def get_file(
        self, package: str, path: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Stream the bytes of one file, or a range of them."""
        entering = self.portal.enter(lambda registry: registry.get_file(package, path, offset=offset, length=length))
        async with entered(entering) as found:
            yield found

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
        async with entered(entering) as found:
            yield found

    @asynccontextmanager
    async def tail_events(self, since: int = 0) -> AsyncGenerator[AsyncIterator[ShownEvent]]:
        """Stream every event after `since` that the token sees, then new events, until the connection is closed."""
        entering = self.portal.enter(lambda registry: registry.tail_events(since))
        async with entered(entering) as found:
            yield found


@asynccontextmanager
async def connect(url: str, token: str) -> AsyncGenerator[AsyncioRemoteRegistry]:
    """Open the store behind a service; see `artifactstore.client.connect`.

    Raises:
        The errors of `artifactstore.client.connect`, and `WrongEventLoop` if no asyncio loop runs. A registry that is
        used after the block raises `StoreClosed`.
    """
    async with opened(lambda: connect_in_trio(url, token)) as portal:
        yield AsyncioRemoteRegistry(portal)
