"""Checking stored objects while they are read: all of one for `verify`, piece by piece for a reader."""

from collections.abc import Callable

from artifactstore.dataplane.ingest import CHUNK_BYTES
from artifactstore_protocols.dataplane import RangeRefused, VerifyResult
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.identity import ContentAddress, ContentHasher, Hasher, new_hasher
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.storage import ObjectDamaged, ObjectMissing, StorageBackend

__all__ = ["ObjectPieces", "verify"]


def verify(backend: StorageBackend, address: ContentAddress, check_wanted: Callable[[], None]) -> VerifyResult:
    """Read all of an object and compare it with its address; see `DataPlane.verify_object`."""
    hasher = ContentHasher(address.digest.algorithm)
    try:
        with (
            backend.open(first_key(address)) as reader,
            memoryview(bytearray(min(CHUNK_BYTES, reader.size_bytes))) as view,
        ):
            while count := reader.readinto(view):
                check_wanted()
                hasher.update(view[:count])
    except ObjectMissing:
        return VerifyResult(address, "missing", None, None)
    except ObjectDamaged:
        return VerifyResult(address, "damaged", None, None)
    digests = hasher.digests()
    intact = digests.content_address == address
    return VerifyResult(address, "ok" if intact else "damaged", digests, hasher.size_bytes)


class ObjectPieces:
    """The pieces of an object, or of a range of it, in order; one call of `next_piece` at a time."""

    __slots__ = ("_address", "_backend_id", "_end", "_hasher", "_position", "_reader")

    def __init__(self, backend: StorageBackend, address: ContentAddress, offset: int, length: int | None) -> None:
        """Open the object.

        Raises:
            ObjectMissing: there is none.
            RangeRefused: the range does not lie within it.
            ObjectDamaged: it is empty and should not be.
        """
        self._backend_id = backend.backend_id
        self._address = address
        self._reader = backend.open(first_key(address), max(offset, 0), length)
        size_bytes = self._reader.size_bytes
        self._position = offset
        self._end = size_bytes if length is None else offset + length
        # Only the primary digest, and only of a whole: a range cannot be told from another one.
        whole = (offset, self._end) == (0, size_bytes)
        self._hasher: Hasher | None = new_hasher(address.digest.algorithm) if whole else None
        refused: ArtifactStoreError | None = None
        if not 0 <= offset <= self._end <= size_bytes:
            refused = RangeRefused(offset, length, size_bytes)
        elif self.exhausted:
            refused = self._damage()
        if refused is not None:
            self._reader.close()
            raise refused

    @property
    def exhausted(self) -> bool:
        """Whether everything that was asked for has been read."""
        return self._position == self._end

    def next_piece(self) -> bytes:
        """The next bytes.

        Raises:
            ObjectDamaged: the object is not what its address says; raised in place of its last piece.
        """
        buffer = bytearray(min(CHUNK_BYTES, self._end - self._position))
        self._position += self._reader.readinto(buffer)
        piece = bytes(buffer)
        if self._hasher is not None:
            self._hasher.update(piece)
        if self.exhausted and (damage := self._damage()) is not None:
            raise damage
        return piece

    def _damage(self) -> ObjectDamaged | None:
        if self._hasher is None or self._hasher.hexdigest() == self._address.digest.hex:
            return None
        return ObjectDamaged(self._backend_id, first_key(self._address), "its bytes have another digest")

    def close(self) -> None:
        """Close the object."""
        self._reader.close()
