"""The registry for plain programs: the same methods, without `await`.

Like this::

    from pathlib import Path
    from artifactstore.blocking import open_registry

    with open_registry() as registry:
        print(registry.ingest_tree(Path("docs")).manifest_digest)

The store runs in a thread of its own; a registry may be used from any number of threads. An exception that strikes
while a call waits, such as KeyboardInterrupt, withdraws the call. Progress callbacks are called in the store's thread.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import update_wrapper
from itertools import islice
from pathlib import Path
from typing import Concatenate

import trio

from artifactstore.arguments import checked
from artifactstore.config import Settings
from artifactstore.host_loop import must_not_block
from artifactstore.portal import Call, Iteration, Portal, snapshot_of
from artifactstore.registry import DEFAULT_ACTOR, Registry
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.records import AuditEntry, FileRecord, PackageRecord
from artifactstore_protocols.storage import StorageBackend
from artifactstore_protocols.supervision import SupervisorSnapshot

__all__ = ["BlockingRegistry", "open_registry"]


def _ask[T](portal: Portal, begin: Callable[[], Call[T]]) -> T:
    """Wait for an answer. An interrupt while waiting withdraws the call, and is raised when nothing of it runs."""
    if not portal.in_own_thread:  # a callback is refused for what it is
        must_not_block()
    call = begin()
    try:
        return call.answer.result()
    finally:
        call.answer.cancel()
        call.over.result()


def _items[T](portal: Portal, iteration: Iteration[T]) -> Generator[T]:
    try:
        while True:
            try:
                yield _ask(portal, iteration.step)
            except StopAsyncIteration:
                return
    finally:
        if (closing := iteration.close()) is not None:
            closing.over.result()


@contextmanager
def _entered[T](portal: Portal, entering: Iteration[tuple[T, ...]]) -> Generator[Iterator[T]]:
    """A block of the registry's: entering and leaving this one enters and leaves that one."""
    with closing(_items(portal, entering)) as steps:
        next(steps)
        yield (item[0] for item in steps)


async def _read_in_thread(source: Iterable[bytes]) -> AsyncGenerator[bytes]:
    """Runs in the store's thread; the iterable may block, so its chunks are asked for elsewhere."""
    chunks = iter(source)

    def following() -> tuple[bytes, ...]:
        return tuple(islice(chunks, 1))

    # A chunk that is not wanted any more is not waited for: the iterable may never come back.
    while chunk := await trio.to_thread.run_sync(following, abandon_on_cancel=True):
        yield chunk[0]


def _blocking[**P, R](
    method: Callable[Concatenate[Registry, P], Awaitable[R]],
) -> Callable[Concatenate["BlockingRegistry", P], R]:
    def call(self: "BlockingRegistry", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return _ask(self.portal, lambda: self.portal.submit(lambda registry: method(registry, *args, **kwargs)))

    # What it is called with and what it does is the registry's method's to say.
    return update_wrapper(call, method, assigned=("__name__", "__doc__"))


class BlockingRegistry:
    """`Registry`, each method of which returns when it is done. See there for what they do and raise.

    Any thread may call it but one that runs an event loop, which is refused with `BlocksEventLoop`.
    """

    def __init__(self, portal: Portal) -> None:
        self.portal = portal

    create_package = _blocking(Registry.create_package)
    ingest_directory = _blocking(Registry.ingest_directory)
    ingest_tree = _blocking(Registry.ingest_tree)
    finalize_package = _blocking(Registry.finalize_package)
    register_metadata_schema = _blocking(Registry.register_metadata_schema)
    get_package = _blocking(Registry.get_package)
    list_files = _blocking(Registry.list_files)
    get_file_record = _blocking(Registry.get_file_record)
    get_manifest_bytes = _blocking(Registry.get_manifest_bytes)
    export_package = _blocking(Registry.export_package)
    read_events = _blocking(Registry.read_events)
    export_events = _blocking(Registry.export_events)
    import_events = _blocking(Registry.import_events)
    backup = _blocking(Registry.backup)
    restore = _blocking(Registry.restore)
    verify = _blocking(Registry.verify)
    replay = _blocking(Registry.replay)
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
        actor: str = DEFAULT_ACTOR,
        idempotency_key: str | None = None,
    ) -> FileRecord:
        """Put one file into an open package; an iterable's chunks are asked for in a worker thread, one at a time."""
        reader = source if isinstance(source, Path) else _read_in_thread(source)
        return _ask(
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
                    actor=actor,
                    idempotency_key=idempotency_key,
                )
            ),
        )

    def snapshot(self) -> SupervisorSnapshot:
        """The supervision tree as it is now."""
        return _ask(self.portal, lambda: self.portal.submit(snapshot_of))

    def list_packages(self) -> Generator[PackageRecord]:
        """Every package, in order of creation."""
        return _items(self.portal, self.portal.iterate(Registry.list_packages))

    def exported_events(self) -> Generator[bytes]:
        """The bytes of the file that `export_events` would write; close it if you stop before its end."""
        return _items(self.portal, self.portal.iterate(Registry.exported_events))

    def audit(self, package: str | None = None) -> Generator[AuditEntry]:
        """Who did what and when, to one package or to the whole store, in order."""
        return _items(self.portal, self.portal.iterate(lambda registry: registry.audit(package)))

    @contextmanager
    def get_file(
        self, package: str, path: str, *, offset: int = 0, length: int | None = None
    ) -> Generator[Iterator[bytes]]:
        """The bytes of one file, or a range of them, as a stream of large chunks."""
        entering = self.portal.enter(lambda registry: registry.get_file(package, path, offset=offset, length=length))
        with _entered(self.portal, entering) as chunks:
            yield chunks

    @contextmanager
    def tail_events(self, since: int = 0) -> Generator[Iterator[StoredEvent]]:
        """Every event after `since`, in order and each once, then those to come, until the store closes."""
        with _entered(self.portal, self.portal.enter(lambda registry: registry.tail_events(since))) as events:
            yield events


@contextmanager
def open_registry(
    settings: Settings | None = None,
    *,
    backend: Callable[[], StorageBackend] | None = None,
    create: bool = True,
) -> Generator[BlockingRegistry]:
    """Run a store for as long as the block lasts. Its end waits for calls under way, and breaks iterations off.

    Args:
        settings: where log and objects are; found as `Settings.load` finds them by default.
        backend: as for `artifactstore.open_registry`.
        create: as for `artifactstore.open_registry`.

    Raises:
        As `artifactstore.open_registry`; `BlocksEventLoop` in a thread that runs an event loop, `WrongProcess` from
        a registry that is used after a fork, and `StoreClosed` from one that is used after the block.
    """
    must_not_block()
    portal = Portal(settings, backend, create=create)
    opened = portal.start()
    try:
        opened.result()
        yield BlockingRegistry(portal)
    finally:
        try:
            portal.stop().result()
        finally:
            portal.join()
