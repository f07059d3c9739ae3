"""The registry for programs without an event loop: the methods of `Registry`, without `await`.

For example::

    from pathlib import Path
    from artifactstore.blocking import open_registry

    with open_registry() as registry:
        print(registry.ingest_tree(Path("docs")).manifest_digest)

The store runs in its own thread. Any number of threads may use a registry. An exception that interrupts a waiting call,
such as KeyboardInterrupt, withdraws the call. Progress callbacks run in the store's thread.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial, update_wrapper
from itertools import islice
from pathlib import Path
from typing import Concatenate, Literal

import trio

from artifactstore.arguments import checked
from artifactstore.blocking_calls import ask, entered, items, opened
from artifactstore.config import Settings
from artifactstore.open import open_registry as open_in_trio
from artifactstore.package_paths import BlockingAccess, BlockingPackage, BlockingPackagePath, Opened
from artifactstore.portal import Portal, snapshot_of
from artifactstore.refusals import StoreClosed, WrongProcess
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

__all__ = ["BlockingPackage", "BlockingPackagePath", "BlockingRegistry", "open_registry"]


async def _read_in_thread(source: Iterable[bytes]) -> AsyncGenerator[bytes]:
    """Yield the chunks of an iterable, which may block: a worker thread reads it. Runs in the store's thread."""
    chunks = iter(source)

    def following() -> tuple[bytes, ...]:
        return tuple(islice(chunks, 1))

    # After a cancellation, do not wait for the next chunk: the iterable may block forever.
    while chunk := await trio.to_thread.run_sync(following, abandon_on_cancel=True):
        yield chunk[0]


def _blocking[**P, R](
    method: Callable[Concatenate[Registry, P], Awaitable[R]],
) -> Callable[Concatenate["BlockingRegistry", P], R]:
    def call(self: "BlockingRegistry", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return ask(self.portal, lambda: self.portal.submit(lambda registry: method(registry, *args, **kwargs)))

    # The documentation and, through `__wrapped__`, the signature are those of the `Registry` method.
    return update_wrapper(call, method, assigned=("__name__", "__doc__"))


class BlockingRegistry:
    """`Registry` for blocking calls: every method returns when it is done. `Registry` documents what they do and raise.

    Any thread may call it, except one that runs an event loop: there, calls raise `BlocksEventLoop`.
    """

    def __init__(self, portal: Portal[Registry]) -> None:
        self.portal = portal

    create_package = _blocking(Registry.create_package)
    ingest_directory = _blocking(Registry.ingest_directory)
    ingest_tree = _blocking(Registry.ingest_tree)
    preview_ingest = _blocking(Registry.preview_ingest)
    preview_package = _blocking(Registry.preview_package)
    missing_objects = _blocking(Registry.missing_objects)
    store_objects = _blocking(Registry.store_objects)
    add_entries = _blocking(Registry.add_entries)
    finalize_package = _blocking(Registry.finalize_package)
    register_metadata_schema = _blocking(Registry.register_metadata_schema)
    annotate_package = _blocking(Registry.annotate_package)
    get_metadata_schema = _blocking(Registry.get_metadata_schema)
    delete_package = _blocking(Registry.delete_package)
    place_hold = _blocking(Registry.place_hold)
    release_hold = _blocking(Registry.release_hold)
    set_retention = _blocking(Registry.set_retention)
    extend_retention = _blocking(Registry.extend_retention)
    explain_retention = _blocking(Registry.explain_retention)
    observe_clock = _blocking(Registry.observe_clock)
    confirm_clock = _blocking(Registry.confirm_clock)
    require_schema = _blocking(Registry.require_schema)
    unrequire_schema = _blocking(Registry.unrequire_schema)
    set_tag = _blocking(Registry.set_tag)
    delete_tag = _blocking(Registry.delete_tag)
    get_tag = _blocking(Registry.get_tag)
    add_retention_class = _blocking(Registry.add_retention_class)
    set_keep_policy = _blocking(Registry.set_keep_policy)
    get_keep_policy = _blocking(Registry.get_keep_policy)
    delete_keep_policy = _blocking(Registry.delete_keep_policy)
    create_token = _blocking(Registry.create_token)
    get_token = _blocking(Registry.get_token)
    revoke_token = _blocking(Registry.revoke_token)
    identify = _blocking(Registry.identify)
    get_package = _blocking(Registry.get_package)
    list_files = _blocking(Registry.list_files)
    diff_packages = _blocking(Registry.diff_packages)
    list_directory = _blocking(Registry.list_directory)
    get_file_record = _blocking(Registry.get_file_record)
    get_manifest_bytes = _blocking(Registry.get_manifest_bytes)
    export_package = _blocking(Registry.export_package)
    copy_package = _blocking(Registry.copy_package)
    read_events = _blocking(Registry.read_events)
    export_events = _blocking(Registry.export_events)
    import_events = _blocking(Registry.import_events)
    backup = _blocking(Registry.backup)
    preview_pruning = _blocking(Registry.preview_pruning)
    restore = _blocking(Registry.restore)
    verify = _blocking(Registry.verify)
    repair = _blocking(Registry.repair)
    collect_garbage = _blocking(Registry.collect_garbage)
    purge = _blocking(Registry.purge)
    redact = _blocking(Registry.redact)
    replay = _blocking(Registry.replay)
    stats = _blocking(Registry.stats)
    disk_usage = _blocking(Registry.disk_usage)
    unique_usage = _blocking(Registry.unique_usage)
    health = _blocking(Registry.health)

    @checked
    def ingest_file(
        self,
        package: str,
        path: str,
        source: Path | Iterable[bytes],
        *,
        expected_size: int | None = None,
        executable: bool | None = None,
        media_type: str | None = None,
        replace: bool = False,
        principal: str = DEFAULT_PRINCIPAL,
        idempotency_key: str | None = None,
    ) -> FileRecord:
        """Put one file into an open package. A worker thread reads an iterable, one chunk at a time."""
        reader = source if isinstance(source, Path) else _read_in_thread(source)
        return ask(
            self.portal,
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
            ),
        )

    def snapshot(self) -> SupervisorSnapshot:
        """Return the current supervision tree."""
        return ask(self.portal, lambda: self.portal.submit(snapshot_of))

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

    def exported_events(self) -> Generator[bytes]:
        """Iterate over the bytes of the file that `export_events` writes; close the iterator if you stop early."""
        return items(self.portal, self.portal.iterate(Registry.exported_events))

    def list_metadata_schemas(self) -> Generator[MetadataSchema]:
        """Iterate over every version of every metadata schema, in the order of names and versions."""
        return items(self.portal, self.portal.iterate(Registry.list_metadata_schemas))

    def list_retention(self, expiring_within: str = "0d") -> Generator[RetainedPackage]:
        """Iterate over the packages whose retention ends within a time."""
        return items(self.portal, self.portal.iterate(lambda registry: registry.list_retention(expiring_within)))

    def expire_packages(
        self,
        *,
        dry_run: bool = False,
        yes_expire: int | None = None,
        abandoned_after: str = ABANDONED_AFTER,
        principal: str = DEFAULT_PRINCIPAL,
    ) -> Generator[ExpiredPackage]:
        """Let go what is due, and iterate over what went."""
        call = partial(
            Registry.expire_packages,
            dry_run=dry_run,
            yes_expire=yes_expire,
            abandoned_after=abandoned_after,
            principal=principal,
        )
        return items(self.portal, self.portal.iterate(call))

    def list_holds(self, package: str | None = None) -> Generator[Hold]:
        """Iterate over holds."""
        return items(self.portal, self.portal.iterate(lambda registry: registry.list_holds(package)))

    def list_tags(self) -> Generator[Tag]:
        """Iterate over all tags, in the order of the names."""
        return items(self.portal, self.portal.iterate(Registry.list_tags))

    def list_retention_classes(self) -> Generator[RetentionClass]:
        """See `Registry.list_retention_classes`."""
        return items(self.portal, self.portal.iterate(Registry.list_retention_classes))

    def list_keep_policies(self) -> Generator[KeepPolicy]:
        """Iterate over all keep policies, in the order of their groups."""
        return items(self.portal, self.portal.iterate(Registry.list_keep_policies))

    def list_tokens(self) -> Generator[Token]:
        """Iterate over all tokens, in the order of their names."""
        return items(self.portal, self.portal.iterate(Registry.list_tokens))

    def apply_keep_policies(
        self,
        group: str | None = None,
        *,
        dry_run: bool = False,
        yes_expire: int | None = None,
        principal: str = DEFAULT_PRINCIPAL,
    ) -> Generator[KeepVerdict]:
        """Let packages go that nothing keeps, and iterate over what the keep policies say about each package."""
        return items(
            self.portal,
            self.portal.iterate(
                lambda registry: registry.apply_keep_policies(
                    group, dry_run=dry_run, yes_expire=yes_expire, principal=principal
                )
            ),
        )

    def tag_history(self, tag: str) -> Generator[HistoryEntry]:
        """Iterate over the history of one tag, in log order."""
        return items(self.portal, self.portal.iterate(lambda registry: registry.tag_history(tag)))

    def history(self, package: str | None = None) -> Generator[HistoryEntry]:
        """Iterate over the history of one package or of the whole store, in log order."""
        return items(self.portal, self.portal.iterate(lambda registry: registry.history(package)))

    def open_package(self, package: str) -> BlockingPackage:
        """Open a package for reading by paths like those of `pathlib`."""

        def run_there[T](work: Callable[[], Awaitable[T]]) -> T:
            return ask(self.portal, lambda: self.portal.submit(lambda _registry: work()))

        def tell(work: Callable[[], None]) -> None:
            async def run(_registry: Registry) -> None:
                work()

            with suppress(StoreClosed, WrongProcess):
                self.portal.send(run)

        found = ask(self.portal, lambda: self.portal.submit(lambda registry: registry.open_package(package))).opened
        access = BlockingAccess(found.access.contents, run_there, tell)
        return BlockingPackage(Opened(found.record, found.tree, access))

    @contextmanager
    def get_file(
        self, package: str, path: str, *, offset: int = 0, length: int | None = None
    ) -> Generator[Iterator[bytes]]:
        """Stream the bytes of one file, or a range of them, in large chunks."""
        entering = self.portal.enter(lambda registry: registry.get_file(package, path, offset=offset, length=length))
        with entered(self.portal, entering) as chunks:
            yield chunks

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
        with entered(self.portal, entering) as chunks:
            yield chunks

    @contextmanager
    def tail_events(self, since: int = 0) -> Generator[Iterator[StoredEvent]]:
        """Stream every event after `since` once and in order, then new events, until the store closes."""
        with entered(self.portal, self.portal.enter(lambda registry: registry.tail_events(since))) as events:
            yield events


@contextmanager
def open_registry(
    settings: Settings | None = None,
    *,
    backend: Callable[[], StorageBackend] | None = None,
    create: bool = True,
) -> Generator[BlockingRegistry]:
    """Run a store during the block. Leaving the block waits for running calls, and ends iterations.

    Args:
        settings: where the log and the objects are; by default what `Settings.load` finds.
        backend: see `artifactstore.open_registry`.
        create: see `artifactstore.open_registry`.

    Raises:
        The errors of `artifactstore.open_registry`, and `BlocksEventLoop` in a thread that runs an event loop. A
        registry raises `WrongProcess` if it is used after a fork, and `StoreClosed` if it is used after the block.
    """
    with opened(lambda: open_in_trio(settings, backend=backend, create=create)) as portal:
        yield BlockingRegistry(portal)
