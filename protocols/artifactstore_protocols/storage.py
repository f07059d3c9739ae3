"""The storage SPI: what a place for bytes must do, and the values and errors it answers with.

A backend stores immutable objects under keys and knows nothing of packages or events. It promises that an
object is whole and durable before it is acknowledged, that bytes at a key never change, that putting the same
bytes twice is harmless from any number of threads and processes, and that no key reaches outside its root. It
leaves hashing, buffering and threads to the data plane, which is the only code that talks to a backend.
"""

from collections.abc import Buffer, Iterable, Sequence
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self, runtime_checkable

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
    "BackendHealth",
    "KeyRefused",
    "KeyTaken",
    "KnownObject",
    "ObjectDamaged",
    "ObjectMissing",
    "ObjectReader",
    "ObjectWriter",
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
"""`stored` wrote an object, `deduplicated` found its bytes there."""

type RetrievalTier = Literal["immediate", "archive"]
type RestoreStatus = Literal["not_required", "required", "in_progress", "restored"]


class Place(NamedTuple):
    """Where an object is: backend and key are logical names, the same in every store."""

    backend_id: str
    object_key: str


class KnownObject(NamedTuple):
    """An object as a row names it: what it is, how long, and where."""

    address: ContentAddress
    size_bytes: int
    place: Place


def _not_negative(what: str, number: int) -> None:
    if number < 0:
        raise InvalidValue(what, str(number), "it is 0 or more")


class StorageReceipt(Struct, frozen=True):
    """Proof that a content is durable in a backend.

    Attributes:
        backend_id: where it is.
        object_key: under which key.
        content_address: what it is.
        size_bytes: how long it is.
        outcome: `stored` wrote it, `deduplicated` found it there.
        retrieval_tier: `immediate` can be read at once, `archive` must be restored first.
        restore_status: how far a restore from an archive is; `not_required` for `immediate`.
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
    """What one probe of a backend measured.

    Attributes:
        backend_id: which backend.
        total_bytes: size of the device; None if it could not be measured or has no bound.
        free_bytes: bytes that this process may still write; None likewise.
        free_inodes: files that this process may still create; None likewise.
        canary_latency_s: seconds that it took to write, sync, read back and remove a small object; None if it
            failed.
        failure: why the canary failed; None if it did not.
    """

    backend_id: str
    total_bytes: int | None
    free_bytes: int | None
    free_inodes: int | None
    canary_latency_s: float | None
    failure: str | None

    def __post_init__(self) -> None:
        if (self.canary_latency_s is None) == (self.failure is None):
            reason = "a canary has either a latency or a failure"
            raise InvalidValue("backend health", f"{self.canary_latency_s}, {self.failure}", reason)

    @property
    def writable(self) -> bool:
        """Whether the canary was written, synced and read back."""
        return self.failure is None


class ObjectWriter(Protocol):
    """One object being written, whose key is known only at its end; used by one thread at a time.

    Leaving the `with` block without `commit` discards all that was written, whatever the reason.
    """

    def __enter__(self) -> Self:
        """Return the writer itself."""
        ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Discard what is not committed."""
        ...

    def write(self, buffer: Buffer) -> None:
        """Append bytes, all of them.

        Raises:
            StorageFull, StorageDenied, StorageFailed: the object cannot be written.
        """
        ...

    def commit(self, object_key: str) -> PutOutcome:
        """Make the object durable under its key, as the last call.

        Raises:
            KeyTaken: the key holds other bytes; `commit` with another key may follow.
            KeyRefused: the key is not one.
            StorageFull, StorageDenied, StorageFailed: the object could not be made durable.
        """
        ...

    def abort(self) -> None:
        """Discard the object; harmless after `commit` and after another `abort`."""
        ...


class ObjectReader(Protocol):
    """An object open for reading; it stays readable and unchanged even if its key is deleted meanwhile."""

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
        """Length of the whole object, whatever range of it is open."""
        ...

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill a buffer with the next bytes; returns how many, fewer than fit only at the end of the range.

        Raises:
            ObjectDamaged: the bytes should be there but cannot be read.
            StorageDenied, StorageFailed: the backend cannot be read.
        """
        ...

    def close(self) -> None:
        """Release the object; harmless twice."""
        ...


@runtime_checkable
class StorageBackend(Protocol):
    """A place for objects. Synchronous: every call may block, and worker threads call it, several at once.

    Errors of the operating system or the network leave a backend only as `StorageError`s. A failed or
    abandoned write leaves nothing behind that a reader could see or that the next start would not remove. The
    log decides which keys may be deleted: bytes of a key that may still be put or read are not.
    """

    @property
    def backend_id(self) -> str:
        """Name under which rows and receipts refer to this backend."""
        ...

    @property
    def concurrency(self) -> int:
        """How many calls at once make it faster; more wait outside."""
        ...

    def put_many(self, puts: Iterable[tuple[str, Buffer]]) -> Sequence[PutOutcome | StorageError]:
        """Put whole objects, each a key and its bytes, that share what durability costs.

        Answers come in the order of the puts. The iterable may be consumed one by one; its bytes must not
        change until the call returns. Bytes that are at a key already are compared, of a very large object a
        sample. Equal ones are not written again; others stay, and `KeyTaken` is the answer. One object's
        failure never fails its neighbours, except where the shared sync fails. An exception of the iterable
        itself abandons the whole batch.

        Raises:
            StorageFault: the backend is out of reach, so that no batch can begin or end.
        """
        ...

    def open_writer(self) -> ObjectWriter:
        """Start an object too large to hold in memory, or one of unknown size.

        Raises:
            StorageFull, StorageDenied, StorageFailed: the backend cannot be written.
        """
        ...

    def open(self, object_key: str, offset: int = 0, length: int | None = None) -> ObjectReader:
        """Open an object to read it from `offset` on, up to `length` bytes or its end, whichever comes first.

        Raises:
            KeyRefused: the key is not one.
            ObjectMissing: no such object.
            StorageDenied, StorageFailed: the backend cannot be read.
        """
        ...

    def read_many(self, wanted: Sequence[tuple[str, int]]) -> Sequence[bytes | StorageError]:
        """Read whole small objects at once, each named by its key and the size that it should have, in bytes.

        Answers come in their order: the bytes, or why they cannot be read, such as `ObjectMissing` and
        `ObjectDamaged`. Of an object that is longer than it should be, at least one more byte is returned.

        Raises:
            KeyRefused: one of the keys is not one.
            StorageDenied, StorageFailed: the backend cannot be read.
        """
        ...

    def stat_many(self, object_keys: Sequence[str]) -> Sequence[int | None]:
        """Return the size of each object in bytes, in the order of the keys; None where there is none.

        Raises:
            KeyRefused: one of the keys is not one.
            StorageDenied, StorageFailed: the backend cannot be read.
        """
        ...

    def delete_many(self, object_keys: Sequence[str]) -> Sequence[bool | StorageError]:
        """Remove objects durably; for each key whether there was one, or why it could not be removed."""
        ...

    def list_keys(self, *, after: str = "", limit: int) -> Sequence[tuple[str, int]]:
        """Return the next keys after one, in bytewise order, each with the size of its object in bytes.

        Changes meanwhile may be seen or not. A page of fewer than `limit` keys is the last.

        Raises:
            StorageDenied, StorageFailed: the backend cannot be read.
        """
        ...

    def health(self) -> BackendHealth:
        """Measure the backend now; what is wrong with it is in the answer, never raised."""
        ...

    def close(self) -> None:
        """Release what the backend holds; no call may be under way or follow, except another `close`."""
        ...
