"""The work of one worker thread: reading, hashing and storing a batch of files, or the pieces of one stream.

Files up to `CHUNK_BYTES` are read whole, so that one that is stored already costs no write; larger ones are
hashed and written in one pass, by two threads that share two such buffers. Nothing here knows of trio but a
callable that raises when the work is no longer wanted; it is asked before every file and every piece.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from typing import Final

from artifactstore.dataplane.source import open_source
from artifactstore_protocols.dataplane import FileSource, IngestResult, SourceDiffers, SourceError
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.identity import ContentAddress, ContentDigests, ContentHasher
from artifactstore_protocols.storage import ObjectPut, StorageBackend, StorageError, object_key_of

__all__ = ["CHUNK_BYTES", "ingest_batch", "ingest_bytes", "ingest_contents"]

# Hashing in small pieces beside a busy event loop spends its time on the GIL: 8 MiB keeps most of its speed.
CHUNK_BYTES: Final = 8 * 1024 * 1024


def ingest_bytes(
    backend: StorageBackend, content: bytes | bytearray, rewrite: frozenset[ContentAddress]
) -> IngestResult:
    """Hash and store a content that is in memory.

    Raises:
        StorageError: it could not be stored.
    """
    put, digests = _put_of(content, rewrite)
    (answer,) = backend.put_batch([put])
    if isinstance(answer, StorageError):
        raise answer
    return IngestResult(digests, answer.size_bytes, answer)


def ingest_contents(
    backend: StorageBackend, contents: Sequence[bytes], check_wanted: Callable[[], None]
) -> list[IngestResult | ArtifactStoreError]:
    """Hash and store contents that are in memory; answers come in their order."""
    hashed: list[ContentDigests] = []

    def puts() -> Iterator[ObjectPut]:
        for content in contents:
            check_wanted()
            put, digests = _put_of(content, frozenset())
            hashed.append(digests)
            yield put

    receipts = backend.put_batch(puts())
    return [
        receipt if isinstance(receipt, StorageError) else IngestResult(digests, receipt.size_bytes, receipt)
        for digests, receipt in zip(hashed, receipts, strict=True)
    ]


def ingest_batch(
    backend: StorageBackend,
    batch: Sequence[FileSource],
    rewrite: frozenset[ContentAddress],
    check_wanted: Callable[[], None],
) -> list[IngestResult | ArtifactStoreError]:
    """Hash and store files; answers come in the order of the batch."""
    work = _BatchOfFiles(backend, batch, rewrite, check_wanted)
    work.ingest_small()
    work.ingest_large()
    return [work.answers[index] for index in range(len(batch))]


def _put_of(content: bytes | bytearray, rewrite: frozenset[ContentAddress]) -> tuple[ObjectPut, ContentDigests]:
    hasher = ContentHasher()
    hasher.update(content)
    digests = hasher.digests()
    address = digests.content_address
    return ObjectPut(object_key_of(address), address, content, address in rewrite), digests


class _BatchOfFiles:
    __slots__ = ("_backend", "_batch", "_check_wanted", "_large", "_put", "_rewrite", "answers")

    def __init__(
        self,
        backend: StorageBackend,
        batch: Sequence[FileSource],
        rewrite: frozenset[ContentAddress],
        check_wanted: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._batch = batch
        self._rewrite = rewrite
        self._check_wanted = check_wanted
        self._put: list[tuple[int, ContentDigests]] = []
        self._large: list[int] = []
        self.answers: dict[int, IngestResult | ArtifactStoreError] = {}

    def ingest_small(self) -> None:
        receipts = self._backend.put_batch(self._small_puts())
        for (index, digests), receipt in zip(self._put, receipts, strict=True):
            if isinstance(receipt, StorageError):
                self.answers[index] = receipt
            else:
                self.answers[index] = IngestResult(digests, receipt.size_bytes, receipt)

    def _small_puts(self) -> Iterator[ObjectPut]:
        for index, source in enumerate(self._batch):
            self._check_wanted()
            try:
                with open_source(source) as opened:
                    if opened.size_bytes > CHUNK_BYTES:
                        self._large.append(index)
                        continue
                    content = opened.read_whole(self._check_wanted)
            except SourceError as error:
                self.answers[index] = _detached(error)
                continue
            put, digests = _put_of(content, self._rewrite)
            if source.expected is not None and source.expected != digests:
                self.answers[index] = SourceDiffers(source.path, source.expected.content_address)
                continue
            self._put.append((index, digests))
            yield put

    def ingest_large(self) -> None:
        if not self._large:
            return
        buffers = bytearray(CHUNK_BYTES), bytearray(CHUNK_BYTES)
        with ThreadPoolExecutor(1, "artifactstore-hashing") as beside:
            for index in self._large:
                try:
                    self.answers[index] = self._ingest_large(self._batch[index], buffers, beside)
                except (SourceError, StorageError) as error:
                    self.answers[index] = _detached(error)

    def _ingest_large(self, source: FileSource, buffers: tuple[bytearray, bytearray], beside: Executor) -> IngestResult:
        """Write each piece while it is hashed in the thread beside, and read the next one meanwhile."""
        hasher = ContentHasher()
        hashed = beside.submit(hasher.update, b"")
        try:
            with open_source(source) as opened, self._backend.begin_write() as writer:
                for piece in opened.pieces(buffers):
                    self._check_wanted()
                    hashed.result()  # so the buffer that is read into next is free
                    hashed = beside.submit(hasher.update, piece)
                    writer.write(piece)
                hashed.result()
                digests = hasher.digests()
                address = digests.content_address
                if source.expected is not None and source.expected != digests:
                    raise SourceDiffers(source.path, source.expected.content_address)
                receipt = writer.commit(object_key_of(address), address, rewrite=address in self._rewrite)
        finally:
            wait([hashed])  # the buffers are the next file's
        return IngestResult(digests, hasher.size_bytes, receipt)


def _detached(error: ArtifactStoreError) -> ArtifactStoreError:
    """Keep an error's facts but not its traceback, whose frames would keep a file's content in memory."""
    error.__cause__ = error.__context__ = error.__traceback__ = None
    return error
