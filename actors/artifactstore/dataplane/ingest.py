"""The work of one worker thread: reading, hashing and storing a batch of files, or the pieces of one stream.

Files up to `CHUNK_BYTES` are read whole, so that one that is stored already costs no write; larger ones are
hashed and written in one pass, by two threads that share two such buffers. Nothing here knows of trio but a
callable that raises when the work is no longer wanted; it is asked before every file and every piece.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from typing import Final

from artifactstore.dataplane.source import open_source
from artifactstore_protocols.dataplane import FileSource, IngestResult, SourceDiffers, SourceError
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.identity import ContentAddress, ContentDigests, ContentHasher
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.storage import (
    KeyTaken,
    ObjectWriter,
    StorageBackend,
    StorageError,
    StorageOutcome,
    StorageReceipt,
)

__all__ = ["CHUNK_BYTES", "commit", "ingest_batch", "ingest_contents"]

# Hashing in small pieces beside a busy event loop spends its time on the GIL: 8 MiB keeps most of its speed.
CHUNK_BYTES: Final = 8 * 1024 * 1024

type _Answers = dict[int, IngestResult | ArtifactStoreError]


def ingest_contents(
    backend: StorageBackend,
    contents: Sequence[bytes | bytearray],
    rewrite: frozenset[ContentAddress],
    check_wanted: Callable[[], None],
) -> list[IngestResult | ArtifactStoreError]:
    """Hash and store contents that are in memory; answers come in their order."""
    answers: _Answers = {}

    def load(index: int) -> tuple[ContentDigests, bytes | bytearray]:
        check_wanted()
        return _digests_of(contents[index]), contents[index]

    _put_whole(backend, range(len(contents)), load, rewrite, answers)
    return [answers[index] for index in range(len(contents))]


def ingest_batch(
    backend: StorageBackend,
    batch: Sequence[FileSource],
    rewrite: frozenset[ContentAddress],
    check_wanted: Callable[[], None],
) -> list[IngestResult | ArtifactStoreError]:
    """Hash and store files; answers come in the order of the batch."""
    answers: _Answers = {}
    large: list[int] = []

    def load(index: int) -> tuple[ContentDigests, bytes] | None:
        check_wanted()
        source = batch[index]
        try:
            with open_source(source) as opened:
                if opened.size_bytes > CHUNK_BYTES:
                    large.append(index)
                    return None
                content = opened.read_whole(check_wanted)
        except SourceError as error:
            answers[index] = _detached(error)
            return None
        digests = _digests_of(content)
        if source.expected is not None and source.expected != digests:
            answers[index] = SourceDiffers(source.path, source.expected.content_address)
            return None
        return digests, content

    _put_whole(backend, range(len(batch)), load, rewrite, answers)
    if large:
        buffers = bytearray(CHUNK_BYTES), bytearray(CHUNK_BYTES)
        with ThreadPoolExecutor(1, "artifactstore-hashing") as beside:
            for index in large:
                try:
                    answers[index] = _ingest_large(backend, batch[index], rewrite, check_wanted, buffers, beside)
                except (SourceError, StorageError) as error:
                    answers[index] = _detached(error)
    return [answers[index] for index in range(len(batch))]


def commit(
    backend: StorageBackend, writer: ObjectWriter, hasher: ContentHasher, rewrite: frozenset[ContentAddress]
) -> IngestResult:
    """Make durable what was written and hashed.

    Raises:
        StorageError: it could not be stored.
    """
    digests = hasher.digests()
    key = first_key(digests.content_address)
    outcome: StorageOutcome = "rewritten"
    if digests.content_address not in rewrite:
        try:
            outcome = writer.commit(key)
        except KeyTaken:
            _clear(backend, key)
            writer.commit(key)
    else:
        _clear(backend, key)
        writer.commit(key)
    return _result(backend.backend_id, digests, hasher.size_bytes, outcome)


def _put_whole(
    backend: StorageBackend,
    indexes: Iterable[int],
    load: Callable[[int], tuple[ContentDigests, bytes | bytearray] | None],
    rewrite: frozenset[ContentAddress],
    answers: _Answers,
) -> None:
    """Put what can be loaded of these as one batch; what is found damaged is loaded again and put in its place."""
    loaded: list[tuple[int, ContentDigests, int]] = []
    to_clear, cleared = set(rewrite), set[int]()

    def puts() -> Iterator[tuple[str, bytes | bytearray]]:
        for index in indexes:
            if (found := load(index)) is None:
                continue
            digests, content = found
            key = first_key(digests.content_address)
            if digests.content_address in to_clear:
                to_clear.discard(digests.content_address)
                cleared.add(index)
                _clear(backend, key)
            loaded.append((index, digests, len(content)))
            yield key, content

    damaged: dict[int, ContentAddress] = {}
    for (index, digests, size_bytes), answer in zip(loaded, backend.put_many(puts()), strict=True):
        if isinstance(answer, KeyTaken) and digests.content_address not in rewrite:
            damaged[index] = digests.content_address
        elif isinstance(answer, StorageError):
            answers[index] = answer
        else:
            outcome = "rewritten" if index in cleared else answer
            answers[index] = _result(backend.backend_id, digests, size_bytes, outcome)
    if damaged:
        _put_whole(backend, damaged, load, rewrite.union(damaged.values()), answers)


def _ingest_large(
    backend: StorageBackend,
    source: FileSource,
    rewrite: frozenset[ContentAddress],
    check_wanted: Callable[[], None],
    buffers: tuple[bytearray, bytearray],
    beside: Executor,
) -> IngestResult:
    """Write each piece while it is hashed in the thread beside, and read the next one meanwhile."""
    hasher = ContentHasher()
    hashed = beside.submit(hasher.update, b"")
    try:
        with open_source(source) as opened, backend.open_writer() as writer:
            for piece in opened.pieces(buffers):
                check_wanted()
                hashed.result()  # so the buffer that is read into next is free
                hashed = beside.submit(hasher.update, piece)
                writer.write(piece)
            hashed.result()
            if source.expected is not None and source.expected != hasher.digests():
                raise SourceDiffers(source.path, source.expected.content_address)
            return commit(backend, writer, hasher, rewrite)
    finally:
        wait([hashed])  # the buffers are the next file's


def _clear(backend: StorageBackend, key: str) -> None:
    """Remove an object that is not what it should be, to put another in its place.

    Healing moves to the next generation's key when events carry keys. Until then a loss of power at that moment, or two
    processes that heal one object at once, can lose it.
    """
    (answer,) = backend.delete_many([key])
    if isinstance(answer, StorageError):
        raise answer


def _digests_of(content: bytes | bytearray) -> ContentDigests:
    hasher = ContentHasher()
    hasher.update(content)
    return hasher.digests()


def _result(backend_id: str, digests: ContentDigests, size_bytes: int, outcome: StorageOutcome) -> IngestResult:
    address = digests.content_address
    receipt = StorageReceipt(backend_id, first_key(address), address, size_bytes, outcome, "immediate", "not_required")
    return IngestResult(digests, size_bytes, receipt)


def _detached(error: ArtifactStoreError) -> ArtifactStoreError:
    """Keep an error's facts but not its traceback, whose frames would keep a file's content in memory."""
    error.__cause__ = error.__context__ = error.__traceback__ = None
    return error
