"""The work of one worker thread: read, hash and store a batch of files or contents, or commit one stream.

A file of up to `CHUNK_BYTES` is read whole, so that a content that is already stored costs no write. For a larger file,
two threads hash each piece and a third writes it while the next piece is read. This module does not use trio. It calls
`check_cancelled` before every file and every piece, which raises if the caller was cancelled.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import ExitStack, nullcontext
from functools import partial
from typing import Final

from artifactstore.backends.registry import BackendRegistry
from artifactstore.dataplane.source import Directories, open_source
from artifactstore.environment import thread_beside
from artifactstore_protocols.dataplane import FileSource, IngestResult, SourceDiffers, SourceError
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.identity import ContentAddress, ContentDigests, ContentHasher, digests_of
from artifactstore_protocols.object_keys import first_key, next_key
from artifactstore_protocols.storage import (
    KeyTaken,
    ObjectWriter,
    Place,
    PutOutcome,
    StorageBackend,
    StorageError,
    StorageReceipt,
)

__all__ = ["CHUNK_BYTES", "commit", "ingest_batch", "ingest_contents"]

# With small pieces beside a busy event loop, hashing mostly waits for the GIL; 8 MiB keeps most of its speed.
CHUNK_BYTES: Final = 8 * 1024 * 1024

_BUFFERS: Final = 3
"""Buffers of `CHUNK_BYTES` for large files: one is filled, one is in use, and one evens out their speeds."""

_KEYS_TRIED: Final = 8
"""How many further keys of a content are tried when a key holds other bytes: damaged objects that are not retired."""

type _Answers = dict[int, IngestResult | ArtifactStoreError]
type _Loaded = tuple[ContentDigests, bytes | bytearray]
type _Places = Mapping[ContentAddress, Place]


def ingest_contents(
    backends: BackendRegistry,
    contents: Sequence[bytes | bytearray],
    places: _Places,
    check_cancelled: Callable[[], None],
) -> list[IngestResult | ArtifactStoreError]:
    """Hash and store contents that are in memory; return the results in their order."""
    answers: _Answers = {}

    def load(index: int) -> _Loaded:
        check_cancelled()
        return digests_of(contents[index]), contents[index]

    taken: dict[StorageBackend, list[int]] = {}
    for index, content in enumerate(contents):
        taken.setdefault(backends.for_size(len(content)), []).append(index)
    for backend, indexes in taken.items():
        _put_whole(backends, backend, indexes, load, places, answers)
    return [answers[index] for index in range(len(contents))]


def ingest_batch(
    backends: BackendRegistry, batch: Sequence[FileSource], places: _Places, check_cancelled: Callable[[], None]
) -> list[IngestResult | ArtifactStoreError]:
    """Hash and store files; return the results in the order of the batch."""
    with Directories() as directories:
        return _ingest_batch(backends, batch, places, check_cancelled, directories)


def _ingest_batch(
    backends: BackendRegistry,
    batch: Sequence[FileSource],
    places: _Places,
    check_cancelled: Callable[[], None],
    directories: Directories,
) -> list[IngestResult | ArtifactStoreError]:
    answers: _Answers = {}

    def load(larger: list[int], limit: int, index: int) -> _Loaded | None:
        """Read a file of up to `limit` bytes. Append the index of a larger file to `larger` and return None."""
        check_cancelled()
        source = batch[index]
        try:
            with open_source(source, directories) if source.content is None else nullcontext() as opened:
                size_bytes = len(source.content or b"") if opened is None else opened.size_bytes
                if size_bytes > limit:
                    larger.append(index)
                    return None
                content = source.content or b"" if opened is None else opened.read_whole(check_cancelled)
        except SourceError as error:
            answers[index] = _detached(error)
            return None
        digests = digests_of(content)
        if source.expected is not None and source.expected != digests:
            answers[index] = SourceDiffers(source.path, source.expected.content_address)
            return None
        return digests, content

    left: Sequence[int] = range(len(batch))
    if backends.small_max:
        larger = list[int]()
        take_small = partial(load, larger, backends.small_max)
        _put_whole(backends, backends.for_size(backends.small_max), left, take_small, places, answers)
        left = larger
    large = list[int]()
    if left:
        _put_whole(backends, backends.default, left, partial(load, large, CHUNK_BYTES), places, answers)
    if large:
        buffers = [bytearray(CHUNK_BYTES) for _ in range(_BUFFERS)]
        with ExitStack() as stack:
            names = "artifactstore-blake3", "artifactstore-sha256", "artifactstore-writing"
            beside = [stack.enter_context(thread_beside(name)) for name in names]
            for index in large:
                try:
                    source = batch[index]
                    answers[index] = _ingest_large(backends.default, source, places, check_cancelled, buffers, beside)
                except (SourceError, StorageError) as error:
                    answers[index] = _detached(error)
    return [answers[index] for index in range(len(batch))]


def commit(backend: StorageBackend, writer: ObjectWriter, hasher: ContentHasher, places: _Places) -> IngestResult:
    """Make the written object durable under the first key that does not hold other bytes.

    Raises:
        StorageError: the object could not be stored.
    """
    digests = hasher.digests()
    address = digests.content_address
    object_key = places[address].object_key if address in places else first_key(address)
    tries_left = _KEYS_TRIED
    while True:
        try:
            outcome = writer.commit(object_key)
        except KeyTaken:
            if not tries_left:
                raise
            tries_left, object_key = tries_left - 1, next_key(object_key)
        else:
            return _result(Place(backend.backend_id, object_key), digests, hasher.size_bytes, outcome)


def _put_whole(
    backends: BackendRegistry,
    backend: StorageBackend,
    indexes: Iterable[int],
    load: Callable[[int], _Loaded | None],
    places: _Places,
    answers: _Answers,
    tries_left: int = _KEYS_TRIED,
) -> None:
    """Put the contents that `load` returns as one batch. If a key is taken, load its content again for the next key."""
    loaded: list[tuple[int, ContentDigests, int, Place]] = []
    elsewhere: dict[str, list[int]] = {}

    def puts() -> Iterator[tuple[str, bytes | bytearray]]:
        for index in indexes:
            if (found := load(index)) is None:
                continue
            digests, content = found
            address = digests.content_address
            place = places.get(address) or Place(backend.backend_id, first_key(address))
            if place.backend_id != backend.backend_id:
                elsewhere.setdefault(place.backend_id, []).append(index)
                continue
            loaded.append((index, digests, len(content), place))
            yield place.object_key, content

    outcomes = backend.put_many(puts())
    next_places: dict[ContentAddress, Place] = {}
    again: list[int] = []
    for (index, digests, size_bytes, place), answer in zip(loaded, outcomes, strict=True):
        if isinstance(answer, KeyTaken) and tries_left:
            next_places[digests.content_address] = Place(place.backend_id, next_key(place.object_key))
            again.append(index)
        elif isinstance(answer, StorageError):
            answers[index] = answer
        else:
            answers[index] = _result(place, digests, size_bytes, answer)
    if again:
        _put_whole(backends, backend, again, load, {**places, **next_places}, answers, tries_left - 1)
    for backend_id, others in elsewhere.items():
        _put_whole(backends, backends.resolve(backend_id), others, load, places, answers, tries_left)


def _ingest_large(
    backend: StorageBackend,
    source: FileSource,
    places: _Places,
    check_cancelled: Callable[[], None],
    buffers: Sequence[bytearray],
    beside: Sequence[Executor],
) -> IngestResult:
    """Read a file in pieces while the three threads of `beside` hash each piece twice and write it."""
    hasher = ContentHasher()
    used: deque[Future[None]] = deque()
    with open_source(source) as opened, backend.open_writer() as writer:
        uses = [*hasher.feeds(), writer.write]
        try:
            for piece in opened.pieces(buffers):
                check_cancelled()
                used.extend(thread.submit(use, piece) for thread, use in zip(beside, uses, strict=True))
                while len(used) > len(uses) * (len(buffers) - 1):  # the next read reuses the oldest buffer
                    used.popleft().result()
            while used:
                used.popleft().result()
        finally:
            wait(used)  # before the buffers are reused and the writer is closed
        if source.expected is not None and source.expected != hasher.digests():
            raise SourceDiffers(source.path, source.expected.content_address)
        return commit(backend, writer, hasher, places)


def _result(place: Place, digests: ContentDigests, size_bytes: int, outcome: PutOutcome) -> IngestResult:
    address = digests.content_address
    receipt = StorageReceipt(*place, address, size_bytes, outcome, "immediate", "not_required")
    return IngestResult(digests, size_bytes, receipt)


def _detached(error: ArtifactStoreError) -> ArtifactStoreError:
    """Remove the traceback and the causes of an error, whose frames would keep a file's content in memory."""
    error.__cause__ = error.__context__ = error.__traceback__ = None
    return error
