"""The storage SPI: what a place for bytes must do, and the values and errors it answers with.

A backend stores immutable objects under keys and knows nothing of packages or events. It promises that an
object is whole and durable before it is acknowledged, that putting the same content twice is harmless from
any number of threads and processes, and that no key reaches outside its root. It leaves hashing, buffering
and threads to the data plane, which is the only code that talks to a backend.
"""

import re
from collections.abc import Buffer, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Protocol, Self, runtime_checkable

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.storage_errors import (
    KeyRefused,
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
    "ObjectDamaged",
    "ObjectMissing",
    "ObjectPut",
    "ObjectReader",
    "ObjectStat",
    "ObjectWriter",
    "RestoreStatus",
    "RetrievalTier",
    "StorageBackend",
    "StorageDenied",
    "StorageError",
    "StorageFailed",
    "StorageFault",
    "StorageFull",
    "StorageOutcome",
    "StorageReceipt",
    "UnknownBackend",
    "check_object_key",
    "object_key_of",
]

type StorageOutcome = Literal["stored", "deduplicated", "rewritten"]
type RetrievalTier = Literal["immediate", "archive"]
type RestoreStatus = Literal["not_required", "required", "in_progress", "restored"]

_KEY: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,254}(/[a-z0-9][a-z0-9._-]{0,254})*")
_KEY_CHARS_MAX: Final = 1024
_RESERVED_PART: Final = "tmp"


def object_key_of(address: ContentAddress) -> str:
    """Key of a content address: `<algorithm>/<hex[0:2]>/<hex[2:4]>/<hex>`, which keeps directories small."""
    digest = address.digest
    return f"{digest.algorithm}/{digest.hex[0:2]}/{digest.hex[2:4]}/{digest.hex}"


def check_object_key(object_key: str) -> None:
    """Refuse a key that could leave a root or be ambiguous; every backend calls this before it acts on a key.

    A key is one or more parts joined by `/`, each of lower-case ASCII letters, digits, `.`, `_` and `-`, a
    letter or digit first, 255 characters at most, 1,024 in all. That leaves no room for `..`, absolute paths,
    drive letters, hidden files or names that differ by case only. A key below `tmp` is refused: that is a
    backend's own.

    Raises:
        KeyRefused: it is not such a key.
    """
    if len(object_key) > _KEY_CHARS_MAX:
        raise KeyRefused(object_key[:80], f"it is longer than {_KEY_CHARS_MAX} characters")
    if _KEY.fullmatch(object_key) is None:
        raise KeyRefused(object_key[:80], "join parts of [a-z0-9._-], a letter or digit first, by single slashes")
    if object_key.partition("/")[0] == _RESERVED_PART:
        raise KeyRefused(object_key[:80], f"keys below {_RESERVED_PART!r} belong to the backend")


def _not_negative(what: str, number: int) -> None:
    if number < 0:
        raise InvalidValue(what, str(number), "it is 0 or more")


@dataclass(frozen=True, slots=True)
class StorageReceipt:
    """Proof that a content is durable in a backend.

    Attributes:
        backend_id: where it is.
        object_key: under which key.
        content_address: what it is.
        size_bytes: how long it is.
        outcome: `stored` wrote it, `deduplicated` found it there, `rewritten` wrote it in place of one that was damaged
            or, where a rewrite was asked for, missing.
        retrieval_tier: `immediate` can be read at once, `archive` must be restored first.
        restore_status: how far a restore from an archive is; `not_required` for `immediate`.
    """

    backend_id: str
    object_key: str
    content_address: ContentAddress
    size_bytes: int
    outcome: StorageOutcome
    retrieval_tier: RetrievalTier
    restore_status: RestoreStatus

    def __post_init__(self) -> None:
        check_object_key(self.object_key)
        _not_negative("object size", self.size_bytes)


@dataclass(frozen=True, slots=True)
class ObjectStat:
    """What a backend knows of an object without reading it; fields as in `StorageReceipt`."""

    backend_id: str
    object_key: str
    size_bytes: int
    retrieval_tier: RetrievalTier
    restore_status: RestoreStatus


@dataclass(frozen=True, slots=True)
class BackendHealth:
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


@dataclass(frozen=True, slots=True)
class ObjectPut:
    """One whole object to put.

    Attributes:
        object_key: where to put it.
        content_address: what it is; the caller has hashed `content`.
        content: its bytes; they must not change until the next item is asked for.
        rewrite: write it whatever is there, because the object is known to be damaged or missing.
    """

    object_key: str
    content_address: ContentAddress
    content: Buffer
    rewrite: bool


class ObjectWriter(Protocol):
    """One object being written, whose key is known only at its end; used by one thread at a time.

    Leaving the `with` block without `commit` discards all that was written, whatever the reason.
    """

    def __enter__(self) -> Self:
        """Return the writer itself."""
        ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Discard what is not committed."""
        ...

    def write(self, buffer: Buffer) -> None:
        """Append bytes, all of them.

        Raises:
            StorageFull, StorageDenied, StorageFailed: the object cannot be written.
        """
        ...

    def commit(self, object_key: str, content_address: ContentAddress, *, rewrite: bool) -> StorageReceipt:
        """Make the object durable under its key; once, as the last call. Arguments as in `ObjectPut`.

        Raises:
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
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Close the object."""
        ...

    @property
    def size_bytes(self) -> int:
        """Length of the object."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly the bytes `[offset, offset + length)`, fewer only where the object ends there.

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
    abandoned write leaves nothing behind that a reader could see or that the next start would not remove. A
    deletion must not race a put of the same content: who deletes makes sure that nobody stores it anew.
    """

    @property
    def backend_id(self) -> str:
        """Name under which receipts refer to this backend."""
        ...

    def put_batch(self, puts: Iterable[ObjectPut]) -> Sequence[StorageReceipt | StorageError]:
        """Put whole objects that share what durability costs; answers come in the order of the puts.

        The iterable is consumed one by one, so that the caller needs memory for one object only. An object
        that is there already is compared with the bytes at hand, a very large one by a sample. If it has
        them, it is not written again; if not, it is damaged and is replaced. One object's failure never fails
        its neighbours, except where the shared sync fails. An exception of the iterable itself abandons the
        whole batch.

        Raises:
            StorageDenied, StorageFailed: the backend is out of reach, so that no batch can be begun.
        """
        ...

    def begin_write(self) -> ObjectWriter:
        """Start an object too large to hold in memory, or one of unknown size.

        Raises:
            StorageFull, StorageDenied, StorageFailed: the backend cannot be written.
        """
        ...

    def open_object(self, object_key: str) -> ObjectReader:
        """Open an object to get all or a range of it.

        Raises:
            KeyRefused: the key is not one.
            ObjectMissing: no such object.
            StorageDenied, StorageFailed: the backend cannot be read.
        """
        ...

    def head(self, object_key: str) -> ObjectStat:
        """Say what is stored under a key; raises as `open_object` does."""
        ...

    def delete(self, object_key: str) -> bool:
        """Remove an object durably; False if there was none.

        Raises:
            KeyRefused: the key is not one.
            StorageDenied, StorageFailed: the object could not be removed.
        """
        ...

    def list_objects(self) -> Iterator[ObjectStat]:
        """Every object there is, in bytewise order of keys; changes meanwhile may be seen or not.

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
