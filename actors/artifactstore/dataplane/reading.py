"""Reading of stored objects with a check of their digests: small objects in batches, large objects in pieces."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack
from itertools import cycle
from typing import Final

from artifactstore.backends.registry import BackendRegistry
from artifactstore.dataplane.ingest import CHUNK_BYTES
from artifactstore.environment import thread_beside
from artifactstore_protocols.dataplane import RangeRefused, VerifyResult
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.identity import ContentDigests, ContentHasher, Digest, Hasher, digest_of, new_hasher
from artifactstore_protocols.storage import (
    KnownObject,
    ObjectDamaged,
    ObjectMissing,
    ObjectReader,
    StorageBackend,
    StorageError,
)

__all__ = ["ObjectPieces", "read_all", "stat_all", "verify_all"]

_WHOLE_BYTES_MAX = 1 << 20
_RUN_BYTES = 16 << 20
_BUFFERS: Final = 3
"""Buffers of `CHUNK_BYTES` to verify a large object: one is filled, one is hashed, one evens out their speeds."""


def read_all(
    backends: BackendRegistry, known: Sequence[KnownObject], check_cancelled: Callable[[], None]
) -> list[bytes | StorageError]:
    """Read small objects and compare each with its address; see `DataPlane.read_objects`."""
    answers: dict[int, bytes | StorageError] = {}
    for backend, indexes in _by_backend(backends, known):
        check_cancelled()
        wanted = [(known[index].place.object_key, known[index].size_bytes) for index in indexes]
        for index, content in zip(indexes, backend.read_many(wanted), strict=True):
            answers[index] = content
            if isinstance(content, bytes):
                digest = known[index].address.digest
                if digest_of(content, digest.algorithm) != digest:
                    answers[index] = _damaged(known[index])
    return [answers[index] for index in range(len(known))]


def verify_all(
    backends: BackendRegistry, known: Sequence[KnownObject], check_cancelled: Callable[[], None]
) -> list[VerifyResult]:
    """Read objects completely and compare each with its address; see `DataPlane.verify_objects`."""
    results: dict[int, VerifyResult] = {}
    for backend, indexes in _by_backend(backends, known):
        for run in _runs(known, indexes):
            check_cancelled()
            whole = known[run[0]].size_bytes <= _WHOLE_BYTES_MAX
            wanted = [(known[index].place.object_key, known[index].size_bytes) for index in run]
            contents = backend.read_many(wanted) if whole else [None] * len(run)
            for index, content in zip(run, contents, strict=True):
                each = known[index]
                if isinstance(content, bytes) and len(content) == each.size_bytes:
                    results[index] = _verified(each, _digests(content, each.address.digest), len(content))
                else:
                    results[index] = _verify(backend, each, check_cancelled)
    return [results[index] for index in range(len(known))]


def stat_all(backends: BackendRegistry, known: Sequence[KnownObject]) -> list[int | None]:
    """Return the sizes of objects; see `DataPlane.stat_objects`."""
    answers: dict[int, int | None] = {}
    for backend, indexes in _by_backend(backends, known):
        answers |= zip(indexes, backend.stat_many([known[index].place.object_key for index in indexes]), strict=True)
    return [answers[index] for index in range(len(known))]


def _by_backend(backends: BackendRegistry, known: Sequence[KnownObject]) -> Iterator[tuple[StorageBackend, list[int]]]:
    indexes: dict[str, list[int]] = {}
    for index, each in enumerate(known):
        indexes.setdefault(each.place.backend_id, []).append(index)
    for backend_id, found in indexes.items():
        yield backends.resolve(backend_id), found


def _runs(known: Sequence[KnownObject], indexes: Sequence[int]) -> Iterator[list[int]]:
    """Yield runs of objects to read together, up to 16 MiB each. An object of more than 1 MiB is a run of its own."""
    run, run_bytes = list[int](), 0
    for index in indexes:
        size_bytes = known[index].size_bytes
        if size_bytes > _WHOLE_BYTES_MAX:
            yield [index]
            continue
        if run and run_bytes + size_bytes > _RUN_BYTES:
            yield run
            run, run_bytes = [], 0
        run.append(index)
        run_bytes += size_bytes
    if run:
        yield run


def _verify(backend: StorageBackend, known: KnownObject, check_cancelled: Callable[[], None]) -> VerifyResult:
    hasher = ContentHasher(known.address.digest.algorithm)
    try:
        with backend.open(known.place.object_key) as reader:
            if reader.size_bytes > CHUNK_BYTES:
                _hash_beside(reader, hasher, check_cancelled)
            else:
                view = memoryview(bytearray(reader.size_bytes))
                while count := reader.readinto(view):
                    hasher.update(view[:count])
    except ObjectMissing:
        return VerifyResult(known.address, "missing", None, None)
    except ObjectDamaged:
        return VerifyResult(known.address, "damaged", None, None)
    return _verified(known, hasher.digests(), hasher.size_bytes)


def _hash_beside(reader: ObjectReader, hasher: ContentHasher, check_cancelled: Callable[[], None]) -> None:
    """Read an object in pieces, while one thread for each hash function hashes the previous piece."""
    feeds = hasher.feeds()
    views = cycle([memoryview(bytearray(CHUNK_BYTES)) for _ in range(_BUFFERS)])
    used: deque[Future[None]] = deque()
    with ExitStack() as stack:
        threads = [stack.enter_context(thread_beside("artifactstore-verifying")) for _ in feeds]
        try:
            while count := reader.readinto(view := next(views)):
                check_cancelled()
                used.extend(thread.submit(feed, view[:count]) for thread, feed in zip(threads, feeds, strict=True))
                while len(used) > len(feeds) * (_BUFFERS - 1):  # the next read reuses the oldest buffer
                    used.popleft().result()
            while used:
                used.popleft().result()
        finally:
            wait(used)


def _digests(content: bytes, expected: Digest) -> ContentDigests:
    """Return the digests of a content. Reuses the `expected` object if it is equal."""
    primary = new_hasher(expected.algorithm)
    primary.update(content)
    measured = primary.hexdigest()
    same = measured == expected.hex
    return ContentDigests(expected if same else Digest(expected.algorithm, measured), digest_of(content, "sha256"))


def _verified(known: KnownObject, digests: ContentDigests, size_bytes: int) -> VerifyResult:
    intact = digests.primary == known.address.digest
    return VerifyResult(known.address, "ok" if intact else "damaged", digests, size_bytes)


def _damage(known: KnownObject, hasher: Hasher) -> ObjectDamaged | None:
    if hasher.hexdigest() == known.address.digest.hex:
        return None
    return _damaged(known)


def _damaged(known: KnownObject) -> ObjectDamaged:
    return ObjectDamaged(*known.place, "its bytes have another digest")


class ObjectPieces:
    """An iterator over the pieces of an object or of a range of it. Calls of `next_piece` must not overlap."""

    __slots__ = ("_chunk_bytes", "_end", "_hasher", "_known", "_position", "_reader")

    def __init__(
        self, backend: StorageBackend, known: KnownObject, offset: int, length: int | None, chunk_bytes: int
    ) -> None:
        """Open the object.

        Raises:
            ObjectMissing: there is no such object.
            RangeRefused: the range does not lie within the object.
            ObjectDamaged: the object is empty and should not be.
        """
        self._known = known
        self._chunk_bytes = chunk_bytes
        self._reader = backend.open(known.place.object_key, max(offset, 0), length)
        size_bytes = self._reader.size_bytes
        self._position = offset
        self._end = size_bytes if length is None else offset + length
        # Only the primary digest, and only for a whole object: a range has no digest to compare with.
        whole = (offset, self._end) == (0, size_bytes)
        self._hasher: Hasher | None = new_hasher(known.address.digest.algorithm) if whole else None
        refused: ArtifactStoreError | None = None
        if not 0 <= offset <= self._end <= size_bytes:
            refused = RangeRefused(offset, length, size_bytes)
        elif self.exhausted and self._hasher is not None:
            refused = _damage(known, self._hasher)
        if refused is not None:
            self._reader.close()
            raise refused

    @property
    def exhausted(self) -> bool:
        """Whether all requested bytes have been read."""
        return self._position == self._end

    def next_piece(self) -> bytes:
        """Return the next bytes, up to the length of a chunk.

        Raises:
            ObjectDamaged: the digest of the object differs from its address. Raised instead of the last piece.
        """
        piece = self._reader.read(min(self._chunk_bytes, self._end - self._position))
        self._position += len(piece)
        if self._hasher is not None:
            self._hasher.update(piece)
            if self.exhausted and (damage := _damage(self._known, self._hasher)) is not None:
                raise damage
        return piece

    def close(self) -> None:
        """Close the object."""
        self._reader.close()
