"""StorageActor: the data plane as an actor.

Each message is one complete operation on bytes. The data plane runs it in worker threads, and acknowledged data is
durable. Operations run concurrently, within the data plane's own limits on threads and memory.
"""

from collections.abc import AsyncGenerator
from functools import partial
from typing import override

from artifactstore.streams import ChannelStream
from artifactstore.supervision import Actor, Concurrent, OnCancel, OnTaskCrash, handles
from artifactstore_protocols.dataplane import DataPlane, IngestResult, RangeRefused, VerifyResult
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.messages import (
    CompactStorage,
    DeleteObjects,
    ListBackends,
    ListObjects,
    OpenObjectFile,
    ProbeStorage,
    ReadObjects,
    ServeObject,
    StatObjects,
    StorageRole,
    StoreFiles,
    StoreStream,
    Stream,
    VerifyObjects,
)
from artifactstore_protocols.storage import (
    BackendHealth,
    Compaction,
    HeldFile,
    ListedObject,
    ObjectMissing,
    StorageError,
)

__all__ = ["StorageActor"]

_WRITES = 64
_READS = 64
_COMPACTIONS = 4


class StorageActor(Actor[StorageRole]):
    """The actor that stores and serves objects.

    Args:
        plane: the data plane that does the work. The actor does not close it.
    """

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._stored_objects = 0
        self._streams = 0

    @override
    def state_summary(self) -> dict[str, str | int]:
        return {"objects stored since start": self._stored_objects}

    @handles(StoreFiles, mode=Concurrent(_WRITES), on_cancel=OnCancel.CANCEL)
    async def store_files(self, message: StoreFiles) -> tuple[IngestResult | ArtifactStoreError, ...]:
        """Store a batch of local files."""
        answers = tuple(await self._plane.ingest_files(message.batch, places=message.places))
        self._stored_objects += sum(isinstance(answer, IngestResult) for answer in answers)
        return answers

    @handles(StoreStream, mode=Concurrent(_WRITES), on_cancel=OnCancel.CANCEL)
    async def store_stream(self, message: StoreStream) -> IngestResult:
        """Store one stream."""
        result = await self._plane.ingest_stream(
            message.reader, expected_size=message.expected_size, places=message.places
        )
        self._stored_objects += 1
        return result

    @handles(ServeObject, mode=Concurrent(_READS), on_cancel=OnCancel.CANCEL)
    async def serve_object(self, message: ServeObject) -> Stream[bytes]:
        """Open an object. Its bytes follow at the consumer's pace."""
        # Report a missing object or an invalid range now, not with the first chunk.
        known = message.known
        (size_bytes,) = await self._plane.stat_objects([known])
        if size_bytes is None:
            raise ObjectMissing(*known.place)
        end = size_bytes if message.length is None else message.offset + message.length
        if not 0 <= message.offset <= end <= size_bytes:
            raise RangeRefused(message.offset, message.length, size_bytes)

        async def chunks() -> AsyncGenerator[bytes]:
            opened = self._plane.serve_object(
                known, offset=message.offset, length=message.length, chunk_bytes=message.chunk_bytes
            )
            async with opened as parts:
                async for chunk in parts:
                    yield chunk

        self._streams += 1
        return ChannelStream(
            self.context.name,
            f"object {known.address}",
            source=chunks,
            start=partial(self.context.start_child, f"serve-{self._streams}", on_crash=OnTaskCrash.REPORT),
        )

    @handles(ReadObjects, mode=Concurrent(_READS), on_cancel=OnCancel.CANCEL)
    async def read_objects(self, message: ReadObjects) -> tuple[bytes | StorageError, ...]:
        """Return the bytes of many small objects."""
        return tuple(await self._plane.read_objects(message.known))

    @handles(StatObjects, mode=Concurrent(_READS), on_cancel=OnCancel.CANCEL)
    async def stat_objects(self, message: StatObjects) -> tuple[int | None, ...]:
        """Return the sizes of many objects."""
        return tuple(await self._plane.stat_objects(message.known))

    @handles(VerifyObjects, mode=Concurrent(_READS), on_cancel=OnCancel.CANCEL)
    async def verify_objects(self, message: VerifyObjects) -> tuple[VerifyResult, ...]:
        """Read objects again and compare them with their digests."""
        return tuple(await self._plane.verify_objects(message.known))

    @handles(OpenObjectFile, mode=Concurrent(_READS), on_cancel=OnCancel.CANCEL)
    async def object_file(self, message: OpenObjectFile) -> HeldFile | None:
        """Open the file of an object."""
        return await self._plane.object_file(message.known)

    @handles(DeleteObjects, mode=Concurrent(_READS), on_cancel=OnCancel.COMPLETE)
    async def delete_objects(self, message: DeleteObjects) -> tuple[bool | StorageError, ...]:
        """Remove objects."""
        return tuple(await self._plane.delete_objects(message.places))

    @handles(ListBackends, mode=Concurrent(_READS), on_cancel=OnCancel.CANCEL)
    async def list_backends(self, message: ListBackends) -> tuple[str, ...]:  # noqa: ARG002
        """Return the ids of the backends."""
        return tuple(self._plane.backend_ids())

    @handles(ListObjects, mode=Concurrent(_READS), on_cancel=OnCancel.CANCEL)
    async def list_objects(self, message: ListObjects) -> tuple[ListedObject, ...]:
        """Return a page of the objects of a backend."""
        return tuple(await self._plane.list_objects(message.backend_id, after=message.after, limit=message.limit))

    @handles(CompactStorage, mode=Concurrent(_COMPACTIONS), on_cancel=OnCancel.CANCEL)
    async def compact(self, message: CompactStorage) -> Compaction:
        """Give the room of deleted objects back."""
        return await self._plane.compact(message.backend_id)

    @handles(ProbeStorage, mode=Concurrent(4), on_cancel=OnCancel.CANCEL)
    async def probe(self, message: ProbeStorage) -> tuple[BackendHealth, ...]:  # noqa: ARG002
        """Measure the backends."""
        return tuple(await self._plane.health())
