"""How the service reads a store: more than the methods of the registry offer, for code that narrows it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple

from artifactstore.registry.base import StoreCalls
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.export_choice import ExportChoice
from artifactstore_protocols.messages import Stream
from artifactstore_protocols.purging import ContentPurged
from artifactstore_protocols.records import FileRecord
from artifactstore_protocols.storage import StorageError

__all__ = ["PackageReads", "event_store", "object_root", "package_reads"]


class PackageReads(NamedTuple):
    """How the service reads packages. Programs have the methods of `Registry`, which check more and promise more.

    Attributes:
        entry: returns the entry at a path of a package by their ids, `paths.path_key` for the path; None if there is
            none.
        open_object: opens a range of an object as a stream: content address, offset, length and length of the chunks.
        read_objects: reads small objects, and compares them with their digests.
        whole_object: opens a whole object, for archives.
        chosen_entries: returns the entries of a package that an archive takes.
        check_contents: checks that contents can be read by what the tables say, or raises `ContentPurged`.
    """

    entry: Callable[[str, str], Awaitable[FileRecord | None]]
    open_object: Callable[[str, int, int | None, int], Awaitable[Stream[bytes]]]
    read_objects: Callable[[Sequence[str]], Awaitable[Sequence[bytes | StorageError]]]
    whole_object: Callable[[str], AbstractAsyncContextManager[AsyncIterator[bytes]]]
    chosen_entries: Callable[[str, ExportChoice], Awaitable[Sequence[FileRecord]]]
    check_contents: Callable[[Sequence[str]], Awaitable[None]]


def package_reads(registry: StoreCalls) -> PackageReads:
    """Return how the service reads the packages of a store: by content address, which no program needs."""

    async def chosen(package_id: str, choice: ExportChoice) -> Sequence[FileRecord]:
        choose = registry._chosen  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        _package_id, found = await choose(package_id, choice)
        return found.entries

    async def check(content_addresses: Sequence[str]) -> None:
        for known in await registry._known(content_addresses):  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            if isinstance(known, ContentPurged):
                raise known

    return PackageReads(
        registry._store.file,  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        registry._open_object,  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        registry._contents,  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        registry._object,  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        chosen,
        check,
    )


def object_root(registry: StoreCalls) -> Path:
    """Return the directory below which the service keeps the bytes of uploads.

    Raises:
        TypeError: the objects of this store are not in a local directory. No command serves such a store.
    """
    root = registry._root  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - of the class above
    if root is None:
        raise TypeError("a store without a local object root serves no uploads")
    return root


def event_store(registry: StoreCalls) -> EventStore:
    """Return the log and the tables of an open registry, for a front door that narrows what its callers may read.

    Raises:
        StoreClosed, WrongEventLoop: as the methods of the registry.
    """
    return registry._store  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - of the class above
