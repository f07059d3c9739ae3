"""Ingest of a stream: the event loop gathers its bytes, and worker threads hash and write them.

The event loop only appends to a buffer of about `CHUNK_BYTES`. A stream that fits into it is put whole, which needs no
write if its content is already stored. A longer stream is hashed and written in pieces as it arrives.
"""

from collections.abc import AsyncIterator, Buffer, Mapping
from functools import partial
from typing import cast

from artifactstore.backends.registry import BackendRegistry
from artifactstore.dataplane.ingest import CHUNK_BYTES, commit, ingest_contents
from artifactstore.dataplane.threads import WorkerThreads
from artifactstore.environment import check_cancelled
from artifactstore_protocols.dataplane import IngestResult, SourceOverrun, SourceTruncated
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.identity import ContentAddress, ContentHasher
from artifactstore_protocols.storage import Place, StorageBackend

__all__ = ["StreamIngest"]


class StreamIngest:
    """The ingest of one stream. The caller must always call `close`."""

    __slots__ = ("_backends", "_expected_bytes", "_gathered", "_long", "_received_bytes", "_threads")

    def __init__(self, backends: BackendRegistry, threads: WorkerThreads, expected_bytes: int | None) -> None:
        """Prepare to receive a stream.

        Raises:
            InvalidValue: `expected_bytes` is negative.
        """
        if expected_bytes is not None and expected_bytes < 0:
            raise InvalidValue("expected size", str(expected_bytes), "it is 0 or more, or None if not known")
        self._backends = backends
        self._threads = threads
        self._expected_bytes = expected_bytes
        self._received_bytes = 0
        self._gathered = bytearray()
        self._long: _LongStream | None = None

    async def receive(self, reader: AsyncIterator[bytes]) -> None:
        """Receive the whole stream.

        Raises:
            SourceTruncated, SourceOverrun: the stream is shorter or longer than declared.
            InvalidValue: a chunk is not a bytes-like object.
            StorageError: the bytes cannot be written.
        """
        expected = self._expected_bytes
        async for chunk in reader:
            if not isinstance(cast("object", chunk), Buffer):
                raise InvalidValue("chunk of the stream", type(chunk).__name__, "give bytes")
            self._received_bytes += len(chunk)
            if expected is not None and self._received_bytes > expected:
                raise SourceOverrun(expected, self._received_bytes)
            for start in range(0, len(chunk), CHUNK_BYTES):
                self._gathered += chunk[start : start + CHUNK_BYTES]
                if len(self._gathered) > CHUNK_BYTES:
                    await self._write_gathered()
        if expected is not None and self._received_bytes < expected:
            raise SourceTruncated(expected, self._received_bytes)

    async def _write_gathered(self) -> None:
        if self._long is None:
            self._long = await self._threads.run(partial(_LongStream, self._backends.default))
        await self._threads.run(partial(self._long.write, self._gathered))
        self._gathered = bytearray()

    async def store(self, places: Mapping[ContentAddress, Place]) -> IngestResult:
        """Store the received content durably.

        Raises:
            StorageError: the content cannot be stored.
        """
        if self._long is None:
            work = partial(ingest_contents, self._backends, [self._gathered], places, check_cancelled)
            (answer,) = await self._threads.run(work)
            if isinstance(answer, ArtifactStoreError):
                raise answer
            return answer
        return await self._threads.run(partial(self._long.commit, self._gathered, places))

    async def close(self) -> None:
        """Discard unstored bytes. The call finishes even if the caller is cancelled."""
        if self._long is not None:
            await self._threads.clean_up(self._long.abort)


class _LongStream:
    """The synchronous part of the ingest of a long stream. It is created and used in worker threads."""

    __slots__ = ("_backend", "_hasher", "_writer", "abort")

    def __init__(self, backend: StorageBackend) -> None:
        self._backend = backend
        self._hasher = ContentHasher()
        self._writer = backend.open_writer()
        self.abort = self._writer.abort

    def write(self, content: bytearray) -> None:
        self._hasher.update(content)
        self._writer.write(content)

    def commit(self, rest: bytearray, places: Mapping[ContentAddress, Place]) -> IngestResult:
        self.write(rest)
        return commit(self._backend, self._writer, self._hasher, places)
