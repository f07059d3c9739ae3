"""Push by reference: what the store lacks, contents that it gets, and entries that refer to them."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import count
from typing import Final

from artifactstore.environment import environment
from artifactstore.ingest.steps import stored_object
from artifactstore.supervision import NO_TIME_LIMIT, ActorRef
from artifactstore_protocols.commands import (
    ENTRIES_BYTES_MAX,
    ENTRIES_MAX,
    OBJECTS_MAX,
    Command,
    IngestFiles,
    OnExisting,
    StoreObjects,
    entry_bytes,
)
from artifactstore_protocols.dataplane import FileSource, IngestResult
from artifactstore_protocols.entries import Entry
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.event_types import FilesIngested
from artifactstore_protocols.events import Committed
from artifactstore_protocols.identity import ContentAddress, ContentDigests
from artifactstore_protocols.messages import StorageRole, StoreFiles
from artifactstore_protocols.packages import ObjectsNotStored, PackageFinalizedAlready
from artifactstore_protocols.pushing import (
    UPLOADED_BYTES_MAX,
    AddedEntries,
    ContentsMissing,
    NewEntry,
    UploadedContent,
    UploadRights,
    added_entry,
)
from artifactstore_protocols.storage import Place

__all__ = ["Push"]

_COMMITS_TRIED: Final = 8
_BATCH_BYTES: Final = 16 << 20


class Push:
    """The steps of a push into one package.

    Args:
        store: the event store.
        storage: the actor that stores bytes.
        commit: commits a command of the principal.
        package_id: the id of the package.
        principal: the principal.
        readable: globs for the names of packages to whose contents the principal may refer; None for all contents.
    """

    def __init__(
        self,
        store: EventStore,
        storage: ActorRef[StorageRole],
        commit: Callable[[Command], Awaitable[Committed]],
        package_id: str,
        principal: str,
        readable: tuple[str, ...] | None,
    ) -> None:
        self._store = store
        self._storage = storage
        self._commit = commit
        self._package_id = package_id
        self._principal = principal
        self._readable = readable

    async def missing(self, contents: Sequence[str]) -> tuple[str, ...]:
        """Return those of the contents to which no file may refer yet, in their order, each once."""
        await self._check_open()
        addresses = list(dict.fromkeys(map(ContentAddress.parse, contents)))
        there = await self._store.referable_contents(addresses, self._limits())
        return tuple(str(address) for address in addresses if address not in there)

    async def store(self, contents: Sequence[bytes]) -> tuple[UploadedContent, ...]:
        """Store contents, and keep receipts of them. The work is the same whether the store has them already."""
        await self._check_open()
        for content in contents:
            if len(content) > UPLOADED_BYTES_MAX:
                reason = f"a content in one piece has at most {UPLOADED_BYTES_MAX} bytes; ingest it as a file"
                raise InvalidValue("content", f"{len(content)} bytes", reason)
        uploaded: list[UploadedContent] = []
        for batch in _batches(contents):
            results = await self._stored(batch)
            addresses = {result.digests.content_address for result in results}
            await self._store.note_uploads(addresses, self._rights())
            uploaded += [_uploaded(result.digests, result.size_bytes) for result in results]
        return tuple(uploaded)

    async def add(self, entries: Sequence[NewEntry]) -> AddedEntries:
        """Add entries that refer to contents. Those that the package has already are skipped."""
        addresses = dict.fromkeys(entry.address for entry in entries)
        addresses.pop(None, None)
        wanted = [address for address in addresses if address is not None]
        sizes = await self._store.referable_contents(wanted, self._limits())
        if missing := tuple(str(address) for address in wanted if address not in sizes):
            await self._check_open()
            raise ContentsMissing(missing)
        added = 0
        made = [added_entry(entry, 0 if entry.address is None else sizes[entry.address]) for entry in entries]
        for some in _commands(made):
            command = IngestFiles(self._package_id, some, (), OnExisting.RESUME, by_reference=True)
            try:
                committed = await self._commit(command)
            except ObjectsNotStored as error:  # they were collected, or found flawed, since they were looked up
                raise ContentsMissing(tuple(map(str, error.contents))) from None
            added += sum(len(each.entries) for each in committed.written if isinstance(each, FilesIngested))
        return AddedEntries(self._package_id, added)

    def _rights(self) -> UploadRights:
        return UploadRights(self._package_id, self._principal, self._readable or (), environment.get().now_us())

    def _limits(self) -> UploadRights | None:
        return None if self._readable is None else self._rights()

    async def _check_open(self) -> None:
        package = await self._store.package(self._package_id)
        package.check_not_gone()
        if package.status != "open":
            raise PackageFinalizedAlready(self._package_id)

    async def _stored(self, batch: Sequence[bytes]) -> list[IngestResult]:
        """Store contents and record them. A key that was retired meanwhile leads to the next one."""
        places = dict(await self._store.flagged_objects())
        results = await self._put(batch, places)
        for tries_left in count(_COMMITS_TRIED - 1, -1):
            objects = {result.digests.content_address: stored_object(result) for result in results}
            try:
                await self._commit(StoreObjects(tuple(objects.values())))
            except ObjectsNotStored as refused:
                if not tries_left:
                    raise
                places |= refused.next_places
                results = await self._put(batch, places)
            else:
                break
        return results

    async def _put(self, batch: Sequence[bytes], places: dict[ContentAddress, Place]) -> list[IngestResult]:
        sources = tuple(FileSource(f"content {number}", content=each) for number, each in enumerate(batch, 1))
        results: list[IngestResult] = []
        for answer in await self._storage.ask(StoreFiles(sources, places), timeout=NO_TIME_LIMIT):
            if isinstance(answer, ArtifactStoreError):
                raise answer
            results.append(answer)
        return results


def _uploaded(digests: ContentDigests, size_bytes: int) -> UploadedContent:
    address = str(digests.content_address)
    return UploadedContent(address, f"{digests.sha256.algorithm}:{digests.sha256.hex}", size_bytes)


def _batches(contents: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield batches for one command each, limited by count and by bytes."""
    batch: list[bytes] = []
    size = 0
    for content in contents:
        if batch and (len(batch) == OBJECTS_MAX or size + len(content) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(content)
        size += len(content)
    if batch:
        yield batch


def _commands(entries: Sequence[Entry]) -> Iterator[tuple[Entry, ...]]:
    """Yield the entries of one command each, limited by count and by bytes."""
    some: list[Entry] = []
    size = 0
    for entry in entries:
        entry_size = entry_bytes(entry)
        if some and (len(some) == ENTRIES_MAX or size + entry_size > ENTRIES_BYTES_MAX):
            yield tuple(some)
            some, size = [], 0
        some.append(entry)
        size += entry_size
    if some:
        yield tuple(some)
