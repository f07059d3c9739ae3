"""The storage SPI: the interface of storage backends, with its values and errors.

A backend stores immutable objects under keys, and is independent of packages and events. It guarantees that:

- an object is whole and durable before its write is acknowledged;
- the bytes at a key never change;
- any number of threads and processes can put the same bytes at a key, with no further effect;
- no key reaches outside the backend's root.

Only the data plane calls backends. It does the hashing and buffering, and provides the threads.
"""

from collections.abc import Buffer, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Literal, NamedTuple, Protocol, Self, runtime_checkable

from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.object_keys import check_object_key
from artifactstore_protocols.storage_errors import (
    KeyRefused,
    KeyTaken,
    ObjectDamaged,
    ObjectMissing,
    StorageDenied,
    StorageError,
    StorageFailed,
    StorageFault,
    StorageFull,
    UnknownBackend,
)

__all__ = [
    "RESTORE_NUMBERS",
    "TIER_NUMBERS",
    "BackendHealth",
    "Compaction",
    "HeldFile",
    "KeyRefused",
    "KeyTaken",
    "KnownObject",
    "ListedObject",
    "ObjectDamaged",
    "ObjectMissing",
    "ObjectReader",
    "ObjectWriter",
    "OffersFiles",
    "Place",
    "PutOutcome",
    "RestoreStatus",
    "RetrievalTier",
    "StorageBackend",
    "StorageDenied",
    "StorageError",
    "StorageFailed",
    "StorageFault",
    "StorageFull",
    "StorageReceipt",
    "UnknownBackend",
]

type PutOutcome = Literal["stored", "deduplicated"]
"""`stored`: the call wrote the object. `deduplicated`: the key already had the same bytes."""

type RetrievalTier = Literal["immediate", "archive"]
type RestoreStatus = Literal["not_required", "required", "in_progress", "restored"]

TIER_NUMBERS: Final[Mapping[RetrievalTier, int]] = {"immediate": 0, "archive": 1}
"""The values of the column `retrieval_tier`. They are numbers, since a word would take its length in every row."""

RESTORE_NUMBERS: Final[Mapping[RestoreStatus, int]] = {
    "not_required": 0,
    "required": 1,
    "in_progress": 2,
    "restored": 3,
}
"""The values of the column `restore_status`."""


class Place(NamedTuple):
    """The place of an object. The backend id and the key are logical names, which are the same in every store."""

    backend_id: str
    object_key: str


class ListedObject(NamedTuple):
    """An object as a backend lists it.

    `age_s` is the number of seconds since it was stored, by the clocks of this machine and of the backend. It decides
    only when the bytes of an ingest that died may go; see `v1.objects.retired`.
    """

    object_key: str
    size_bytes: int
    age_s: float


class KnownObject(NamedTuple):
    """An object as a row names it: its content address, its size in bytes, and its place."""

    address: ContentAddress
    size_bytes: int
    place: Place


def _not_negative(what: str, number: int) -> None:
    if number < 0:
        raise InvalidValue(what, str(number), "it is 0 or more")


class StorageReceipt(Struct, frozen=True):
    """The proof that a backend stores a content durably.

    Attributes:
        backend_id: the backend that stores the content.
        object_key: the key of the object.
        content_address: the address of the content.
        size_bytes: the length of the content.
        outcome: `stored` if the call wrote the object, `deduplicated` if the key already had the same bytes.
        retrieval_tier: `immediate` if the object can be read at once, `archive` if it must be restored first.
        restore_status: the status of a restore from an archive; `not_required` for `immediate`.
    """

    backend_id: str
    object_key: str
    content_address: ContentAddress
    size_bytes: int
    outcome: PutOutcome
    retrieval_tier: RetrievalTier
    restore_status: RestoreStatus

    def __post_init__(self) -> None:
        check_object_key(self.object_key)
        _not_negative("object size", self.size_bytes)


class BackendHealth(Struct, frozen=True):
    """The result of one probe of a backend. The probe writes, syncs, reads back and removes a small object, the canary.

    Attributes:
        backend_id: the id of the backend.
        total_bytes: the size of the device; None if it is unknown or unlimited.
        free_bytes: the number of bytes that this process can still write; None if it is unknown or unlimited.
        free_inodes: the number of files that this process can still create; None if it is unknown or unlimited.
        canary_latency_s: the duration of the canary, in seconds; None if the canary failed.
        failure: the reason why the canary failed, as text for people; None if it did not.
        failure_code: the name of the system error behind it, such as `ENOENT`; None if there is none.
    """

    backend_id: str
    total_bytes: int | None
    free_bytes: int | None
    free_inodes: int | None
    canary_latency_s: float | None
    failure: str | None
    failure_code: str | None = None

    def __post_init__(self) -> None:
        if (self.canary_latency_s is None) == (self.failure is None):
            reason = "a canary has either a latency or a failure"
            raise InvalidValue("backend health", f"{self.canary_latency_s}, {self.failure}", reason)

    @property
    def writable(self) -> bool:
        """Whether the canary was written, synced and read back."""
        return self.failure is None


class HeldFile(Protocol):
    """A file that can be read as long as the object exists."""

    def opened(self) -> AbstractContextManager[int]:
        """Return a descriptor of the file for a block. Several threads may have one at the same time."""
        ...


class ObjectWriter(Protocol):
    """An object that is being written. Its key is given at the end. Only one thread at a time may use the writer.

    Leaving the `with` block without `commit` discards all written bytes.
    """

    def __enter__(self) -> Self:
        """Return the writer itself."""
        ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Discard the object if it is not committed."""
        ...

    def write(self, buffer: Buffer) -> None:
        """Append all bytes of a buffer.

        Raises:
            StorageFull, StorageDenied, StorageFailed: the object cannot be written.
        """
        ...

    def commit(self, object_key: str) -> PutOutcome:
        """Make the object durable under its key. No write may follow.

        Raises:
            KeyTaken: the key has other bytes. The caller may call `commit` again with another key.
            KeyRefused: the key is invalid.
            StorageFull, StorageDenied, StorageFailed: the object could not be made durable.
        """
        ...

    def abort(self) -> None:
        """Discard the object. Does nothing after `commit` or another `abort`."""
        ...


class ObjectReader(Protocol):
    """An object that is open for reading. It stays readable and unchanged even if its key is deleted."""

    def __enter__(self) -> Self:
        """Return the reader itself."""
        ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close the object."""
        ...

    @property
    def size_bytes(self) -> int:
        """The length of the whole object, even if only a range is open."""
        ...

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill a buffer with the next bytes, and return their number.

        The number is less than the length of the buffer only at the end of the range.

        Raises:
            ObjectDamaged: the bytes should exist but cannot be read.
            StorageDenied, StorageFailed: the backend cannot be read.
        """
        ...

    def read(self, most: int) -> bytes:
        """Return the next bytes: `most` of them, and fewer only at the end of the range.

        Raises:
            ObjectDamaged: the bytes should exist but cannot be read.
            StorageDenied, StorageFailed: the backend cannot be read.
        """
        ...

    def close(self) -> None:
        """Release the object. Does nothing if already closed."""
        ...


class Compaction(NamedTuple):
    """The result of a compaction.

    Attributes:
        freed_bytes: the number of bytes by which the backend became smaller.
        is_whole: False if bytes of deleted objects are still there, since another process reads them. The next
            compaction tries again.
    """

    freed_bytes: int
    is_whole: bool = True


@runtime_checkable
class StorageBackend(Protocol):
    """A place for objects. All calls may block. Worker threads call a backend concurrently.

    A backend raises errors of the operating system or the network only as `StorageError`s. The remains of a failed or
    abandoned write are invisible to readers, and the next start removes them. The log decides which keys may be
    deleted. A key that may still be put or read is never deleted.
    """

    @property
    def backend_id(self) -> str:
        """The name of this backend in rows and receipts."""
        ...

    @property
    def concurrency(self) -> int:
        """The number of concurrent calls up to which the backend gets faster. The data plane makes more calls wait."""
        ...

    def put_many(self, puts: Iterable[tuple[str, Buffer]]) -> Sequence[PutOutcome | StorageError]:
        """Put whole objects, each given by its key and bytes. The objects share the cost of durability.

        Results are in the order of the puts. The backend may consume the iterable item by item. The bytes must not
        change until the call returns. If a key already has bytes, the backend compares them; of a very large object, it
        compares a sample. Equal bytes are not written again. Other bytes stay, and the result is `KeyTaken`. The
        failure of one object does not affect the others, unless the shared sync fails. An exception from the iterable
        abandons the whole batch.

        Raises:
            StorageFault: the backend is out of reach, so that a batch cannot begin or end.
        """
        ...

    def open_writer(self) -> ObjectWriter:
        """Begin to write an object that is too large for memory, or whose size is unknown.

        Raises:
            StorageFull, StorageDenied, StorageFailed: the backend cannot be written.
        """
        ...

    def open(self, object_key: str, offset: int = 0, length: int | None = None) -> ObjectReader:
        """Open an object for reading from `offset`, up to `length` bytes or its end, whichever comes first.

        Raises:
            KeyRefused: the key is invalid.
            ObjectMissing: the backend has no object under this key.
            StorageDenied, StorageFailed: the backend cannot be read.
        """
        ...

    def read_many(self, wanted: Sequence[tuple[str, int]]) -> Sequence[bytes | StorageError]:
        """Read whole small objects at once, each given by its key and its expected size in bytes.

        Results are in the order of `wanted`: the bytes, or an error such as `ObjectMissing` or `ObjectDamaged`. For an
        object that is longer than expected, the result is at least one byte longer than expected.

        Raises:
            KeyRefused: a key is invalid.
            StorageDenied, StorageFailed: the backend cannot be read.
        """
        ...

    def stat_many(self, object_keys: Sequence[str]) -> Sequence[int | None]:
        """Return the size of each object in bytes, in the order of the keys; None for a missing object.

        Raises:
            KeyRefused: a key is invalid.
            StorageDenied, StorageFailed: the backend cannot be read.
        """
        ...

    def delete_many(self, object_keys: Sequence[str]) -> Sequence[bool | StorageError]:
        """Remove objects durably. Return for each key whether it had an object, or why the removal failed.

        A concurrent put of the same key either stores the object again or is undone by this call.
        """
        ...

    def compact(self, check_cancelled: Callable[[], None]) -> Compaction:
        """Give the room of deleted objects back to the device, as far as that is worth the work.

        Concurrent calls continue meanwhile.

        Args:
            check_cancelled: called between steps; raises to abandon the rest.

        Raises:
            StorageDenied, StorageFull, StorageFailed: the backend cannot be written.
        """
        ...

    def list_keys(self, *, after: str = "", limit: int) -> Sequence[ListedObject]:
        """Return the objects whose keys come after `after`, in the bytewise order of their keys.

        The result may or may not include concurrent changes. A page of fewer than `limit` keys is the last.

        Raises:
            StorageDenied, StorageFailed: the backend cannot be read.
        """
        ...

    def health(self) -> BackendHealth:
        """Measure the backend now. A problem is part of the result and is never raised."""
        ...

    def close(self) -> None:
        """Release the backend's resources. No call may be in progress, and only `close` may be called afterwards."""
        ...


@runtime_checkable
class OffersFiles(Protocol):
    """An optional part of a backend: its objects are regular files. Then an export may make reflinks of them."""

    def open_file(self, object_key: str) -> HeldFile:
        """Open the file that holds the bytes of an object and nothing else, for reading only.

        Like an `ObjectReader`, it stays readable and unchanged even if the key is deleted.

        Raises:
            KeyRefused: the key is invalid.
            ObjectMissing: the backend has no object under this key.
            StorageDenied, StorageFailed: the backend cannot be read.
        """
        ...
