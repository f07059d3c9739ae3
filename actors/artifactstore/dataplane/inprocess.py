"""The data plane that works in this process, on trio, over the registered storage backends.

It joins the pieces beside it: threads, streams, batches of files, checked reading. Everything goes to one
default backend; the registry is there for those that objects were stored in under another id, and for their
health.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial

from artifactstore.backends.registry import BackendRegistry
from artifactstore.dataplane.ingest import ingest_batch, ingest_contents
from artifactstore.dataplane.reading import ObjectPieces, verify
from artifactstore.dataplane.stream import StreamIngest
from artifactstore.dataplane.threads import WorkerThreads
from artifactstore.machine import check_wanted
from artifactstore_protocols.dataplane import FileSource, IngestResult, VerifyResult
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.storage import BackendHealth, StorageError

__all__ = ["InProcessDataPlane"]


class InProcessDataPlane:
    """A `DataPlane` on worker threads of its own.

    Memory is bounded: a thread holds at most two chunks of 8 MiB at a time, and so does each stream that is
    being received, so callers bound the number of streams.
    """

    __slots__ = ("_backend", "_backends", "_threads")

    def __init__(self, backends: BackendRegistry, default_backend_id: str, *, max_threads: int = 4) -> None:
        """Join backends and threads.

        Args:
            backends: open backends; the caller closes them, after the last call here.
            default_backend_id: where objects are stored and looked for.
            max_threads: worker threads at most, besides one for health.

        Raises:
            UnknownBackend: the default is none of the backends.
        """
        self._backends = backends
        self._backend = backends.resolve(default_backend_id)
        self._threads = WorkerThreads(max_threads)

    async def ingest_stream(
        self,
        reader: AsyncIterator[bytes],
        *,
        expected_size: int | None = None,
        rewrite: frozenset[ContentAddress] = frozenset(),
    ) -> IngestResult:
        """Hash and store a stream in one pass."""
        ingest = StreamIngest(self._backend, self._threads, expected_size)
        try:
            await ingest.receive(reader)
            return await ingest.store(rewrite)
        finally:
            await ingest.close()

    async def ingest_files(
        self, batch: Sequence[FileSource], *, rewrite: frozenset[ContentAddress] = frozenset()
    ) -> Sequence[IngestResult | ArtifactStoreError]:
        """Hash and store local files, all in one worker thread."""
        return await self._threads.run(partial(ingest_batch, self._backend, batch, rewrite, check_wanted))

    async def ingest_contents(self, contents: Sequence[bytes]) -> Sequence[IngestResult | ArtifactStoreError]:
        """Hash and store contents, all in one worker thread."""
        return await self._threads.run(partial(ingest_contents, self._backend, contents, frozenset(), check_wanted))

    @asynccontextmanager
    async def serve_object(
        self, address: ContentAddress, *, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open an object and iterate over its bytes."""
        pieces = await self._threads.run(partial(ObjectPieces, self._backend, address, offset, length))
        try:
            async with aclosing(self._read(pieces)) as reading:
                yield reading
        finally:
            await self._threads.clean_up(pieces.close)

    async def _read(self, pieces: ObjectPieces) -> AsyncGenerator[bytes]:
        while not pieces.exhausted:
            yield await self._threads.run(pieces.next_piece)

    async def verify_object(self, address: ContentAddress) -> VerifyResult:
        """Read all of an object and compare it with its address."""
        return await self._threads.run(partial(verify, self._backend, address, check_wanted))

    async def verify_objects(self, addresses: Sequence[ContentAddress]) -> Sequence[VerifyResult]:
        """Read many objects, all in one worker thread, and compare each with its address."""
        return await self._threads.run(lambda: [verify(self._backend, each, check_wanted) for each in addresses])

    async def stat_objects(self, addresses: Sequence[ContentAddress]) -> Sequence[int | None]:
        """Return the size of what is stored under each of many addresses."""
        keys = [first_key(address) for address in addresses]
        return await self._threads.run(lambda: self._backend.stat_many(keys))

    async def delete_object(self, address: ContentAddress) -> bool:
        """Remove an object durably."""
        (answer,) = await self._threads.run(lambda: self._backend.delete_many([first_key(address)]))
        if isinstance(answer, StorageError):
            raise answer
        return answer

    async def health(self) -> Sequence[BackendHealth]:
        """Measure every backend."""
        return [await self._threads.probe(backend.health) for backend in self._backends]
