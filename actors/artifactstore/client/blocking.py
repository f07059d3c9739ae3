"""The client of a service for programs without an event loop: the methods of `RemoteRegistry`, without `await`.

For example::

    from artifactstore.client.blocking import connect

    with connect("https://store.example.org", token) as registry:
        print(registry.get_package("nightly").manifest_digest)

The client runs in its own thread, as the store of `artifactstore.blocking` does. Any number of threads may use it.
"""

from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import update_wrapper
from typing import Concatenate, Literal

from artifactstore.blocking_calls import ask, entered, items, opened
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

__all__ = ["BlockingRemoteRegistry", "connect"]


def _blocking[**P, R](
    method: Callable[Concatenate[RemoteRegistry, P], Awaitable[R]],
) -> Callable[Concatenate["BlockingRemoteRegistry", P], R]:
    def call(self: "BlockingRemoteRegistry", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return ask(self.portal, lambda: self.portal.submit(lambda registry: method(registry, *args, **kwargs)))

    return update_wrapper(call, method, assigned=("__name__", "__doc__"))


class BlockingRemoteRegistry:
    """`RemoteRegistry` for blocking calls. See `RemoteRegistry` for what the methods do and raise.

    Any thread may call it, except one that runs an event loop: there, calls raise `BlocksEventLoop`.
    """

    def __init__(self, portal: Portal[RemoteRegistry]) -> None:
        self.portal = portal

    check_connection = _blocking(RemoteRegistry.check_connection)
    get_package = _blocking(RemoteRegistry.get_package)
    list_files = _blocking(RemoteRegistry.list_files)
    list_directory = _blocking(RemoteRegistry.list_directory)
    diff_packages = _blocking(RemoteRegistry.diff_packages)
    explain_retention = _blocking(RemoteRegistry.explain_retention)
    get_tag = _blocking(RemoteRegistry.get_tag)
    stats = _blocking(RemoteRegistry.stats)
    get_file_record = _blocking(RemoteRegistry.get_file_record)
    export_package = _blocking(RemoteRegistry.export_package)
    get_manifest_bytes = _blocking(RemoteRegistry.get_manifest_bytes)
    read_events = _blocking(RemoteRegistry.read_events)

    def list_packages(
        self,
        where: PackageFilter = ALL,
        *,
        sort: SortKey = "created",
        reverse: bool = False,
        after: str | None = None,
        limit: int | None = None,
    ) -> Generator[PackageRecord]:
        """Iterate over packages: by default over all, the newest first."""
        return items(
            self.portal,
            self.portal.iterate(
                lambda registry: registry.list_packages(where, sort=sort, reverse=reverse, after=after, limit=limit)
            ),
        )

    def find(
        self,
        wanted: EntryFilter,
        *,
        packages: PackageFilter = ALL,
        reverse: bool = False,
        after: str | None = None,
        limit: int | None = None,
    ) -> Generator[FoundEntry]:
        """Iterate over the entries with a path, a name or a content, and their packages: the newest package first."""
        return items(
            self.portal,
            self.portal.iterate(
                lambda registry: registry.find(wanted, packages=packages, reverse=reverse, after=after, limit=limit)
            ),
        )

    def list_tags(self) -> Generator[Tag]:
        """Iterate over all tags, in the order of the names."""
        return items(self.portal, self.portal.iterate(RemoteRegistry.list_tags))

    def list_holds(self, package: str | None = None) -> Generator[Hold]:
        """Iterate over the holds on a package."""
        return items(self.portal, self.portal.iterate(lambda registry: registry.list_holds(package)))

    def history(self, package: str | None = None) -> Generator[HistoryEntry]:
        """Iterate over the history of a package."""
        return items(self.portal, self.portal.iterate(lambda registry: registry.history(package)))

    @contextmanager
    def get_file(
        self, package: str, path: str, *, offset: int = 0, length: int | None = None
    ) -> Generator[Iterator[bytes]]:
        """Stream the bytes of one file, or a range of them."""
        entering = self.portal.enter(lambda registry: registry.get_file(package, path, offset=offset, length=length))
        with entered(self.portal, entering) as found:
            yield found

    @contextmanager
    def export_archive(
        self,
        package: str,
        form: Literal["tar", "zip"],
        *,
        subtree: str = "",
        paths: Sequence[str] | None = None,
        strip_components: int = 0,
        links: LinkPolicy = LinkPolicy.KEEP,
        progress: Callable[[IngestProgress], None] | None = None,
    ) -> Generator[Iterator[bytes]]:
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
        with entered(self.portal, entering) as found:
            yield found

    @contextmanager
    def tail_events(self, since: int = 0) -> Generator[Iterator[ShownEvent]]:
        """Stream every event after `since` that the token sees, then new events, until the connection is closed."""
        entering = self.portal.enter(lambda registry: registry.tail_events(since))
        with entered(self.portal, entering) as found:
            yield found


@contextmanager
def connect(url: str, token: str) -> Generator[BlockingRemoteRegistry]:
    """Open the store behind a service; see `artifactstore.client.connect`.

    Raises:
        The errors of `artifactstore.client.connect`, and `BlocksEventLoop` in a thread that runs an event loop. A
        registry that is used after the block raises `StoreClosed`.
    """
    with opened(lambda: connect_in_trio(url, token)) as portal:
        yield BlockingRemoteRegistry(portal)
