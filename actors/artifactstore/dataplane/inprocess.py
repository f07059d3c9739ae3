"""The in-process implementation of `DataPlane`, on trio, over the registered storage backends.

It combines the other modules of this package. The registry selects the backend to store an object in. The caller passes
the place of an object to read, which comes from a row of the database.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial

from artifactstore.backends.registry import BackendRegistry
from artifactstore.dataplane.deleting import delete_all
from artifactstore.dataplane.ingest import ingest_batch, ingest_contents
from artifactstore.dataplane.reading import ObjectPieces, read_all, stat_all, verify_all
from artifactstore.dataplane.stream import StreamIngest
from artifactstore.dataplane.threads import WorkerThreads
from artifactstore.environment import check_cancelled
from artifactstore_protocols.dataplane import NOWHERE, SERVED_CHUNK_BYTES, FileSource, IngestResult, VerifyResult
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.storage import (
    BackendHealth,
    Compaction,
    HeldFile,
    KnownObject,
    ListedObject,
    OffersFiles,
    Place,
    StorageError,
)

__all__ = ["InProcessDataPlane"]


class InProcessDataPlane:
    """A `DataPlane` with its own worker threads, as many as the highest `concurrency` of its backends.

    Memory is bounded. A thread holds at most three chunks of 8 MiB or one batch of small objects at a time. Each stream
    that is being received holds two chunks, so callers must bound the number of streams.
    """

    __slots__ = ("_backends", "_threads")

    def __init__(self, backends: BackendRegistry) -> None:
        """Use open backends. The caller closes them, after the last call of this data plane."""
        self._backends = backends
        self._threads = WorkerThreads(max(backend.concurrency for backend in backends))

    async def ingest_stream(
        self,
        reader: AsyncIterator[bytes],
        *,
        expected_size: int | None = None,
        places: Mapping[ContentAddress, Place] = NOWHERE,
    ) -> IngestResult:
        """Hash and store a stream in one pass."""
        ingest = StreamIngest(self._backends, self._threads, expected_size)
        try:
            await ingest.receive(reader)
            return await ingest.store(places)
        finally:
            await ingest.close()

    async def ingest_files(
        self, batch: Sequence[FileSource], *, places: Mapping[ContentAddress, Place] = NOWHERE
    ) -> Sequence[IngestResult | ArtifactStoreError]:
        """Hash and store local files, all in one worker thread."""
        return await self._threads.run(partial(ingest_batch, self._backends, batch, places, check_cancelled))

    async def ingest_contents(self, contents: Sequence[bytes]) -> Sequence[IngestResult | ArtifactStoreError]:
        """Hash and store contents, all in one worker thread."""
        return await self._threads.run(partial(ingest_contents, self._backends, contents, NOWHERE, check_cancelled))

    @asynccontextmanager
    async def serve_object(
        self,
        known: KnownObject,
        *,
        offset: int = 0,
        length: int | None = None,
        chunk_bytes: int = SERVED_CHUNK_BYTES,
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open an object and iterate over its bytes."""
        backend = self._backends.resolve(known.place.backend_id)
        pieces = await self._threads.run(partial(ObjectPieces, backend, known, offset, length, chunk_bytes))
        try:
            async with aclosing(self._read(pieces)) as reading:
                yield reading
        finally:
            await self._threads.clean_up(pieces.close)

    async def _read(self, pieces: ObjectPieces) -> AsyncGenerator[bytes]:
        while not pieces.exhausted:
            yield await self._threads.run(pieces.next_piece)

    async def read_objects(self, known: Sequence[KnownObject]) -> Sequence[bytes | StorageError]:
        """Read many small objects, all in one worker thread."""
        return await self._threads.run(partial(read_all, self._backends, known, check_cancelled))

    async def verify_objects(self, known: Sequence[KnownObject]) -> Sequence[VerifyResult]:
        """Read objects, all in one worker thread, and compare each with its address."""
        return await self._threads.run(partial(verify_all, self._backends, known, check_cancelled))

    async def stat_objects(self, known: Sequence[KnownObject]) -> Sequence[int | None]:
        """Return the sizes of objects in bytes; None for an object that is missing."""
        return await self._threads.run(partial(stat_all, self._backends, known))

    async def object_file(self, known: KnownObject) -> HeldFile | None:
        """Open the file of an object, if its backend offers files."""
        backend = self._backends.resolve(known.place.backend_id)
        if not isinstance(backend, OffersFiles):
            return None
        return await self._threads.run(partial(backend.open_file, known.place.object_key))

    async def delete_objects(self, places: Sequence[Place]) -> Sequence[bool | StorageError]:
        """Remove objects durably, all in one worker thread."""
        return await self._threads.run(partial(delete_all, self._backends, places, check_cancelled))

    def backend_ids(self) -> Sequence[str]:
        """Return the ids of all backends, in order."""
        return [backend.backend_id for backend in self._backends]

    async def list_objects(self, backend_id: str, *, after: str, limit: int) -> Sequence[ListedObject]:
        """Return a page of the objects of a backend."""
        backend = self._backends.resolve(backend_id)
        return await self._threads.run(lambda: backend.list_keys(after=after, limit=limit))

    async def compact(self, backend_id: str) -> Compaction:
        """Give room back. It runs beside the other work, because it can take minutes."""
        backend = self._backends.resolve(backend_id)
        return await self._threads.compact(lambda: backend.compact(check_cancelled))

    async def health(self) -> Sequence[BackendHealth]:
        """Measure every backend that objects are stored in."""
        return [await self._threads.probe(backend.health) for backend in self._backends.in_use()]
