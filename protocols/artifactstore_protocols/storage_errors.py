"""The errors of storage backends.

A backend never raises errors of the operating system or the network directly. It raises one of these errors instead, so
that a caller can tell a full disk from a missing object for every kind of backend.
"""

from typing import override

from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.system_errors import in_words, remedy_of

__all__ = [
    "KeyRefused",
    "KeyTaken",
    "ObjectDamaged",
    "ObjectMissing",
    "StorageDenied",
    "StorageError",
    "StorageFailed",
    "StorageFault",
    "StorageFull",
    "UnknownBackend",
]


class StorageError(ArtifactStoreError):
    """The base class of the errors of storage backends."""


class KeyRefused(StorageError):
    """No backend accepts this object key, because it could leave the root or be ambiguous.

    Attributes:
        object_key: the key, shortened.
        reason: the rule that the key breaks.
    """

    object_key: str
    reason: str
    template = "object key {self.object_key!r} is refused: {self.reason}"


class KeyTaken(StorageError):
    """The key already has other bytes, which stay unchanged. Store the content at its next key."""

    backend_id: str
    object_key: str
    template = "key {self.object_key} of backend {self.backend_id!r} holds other bytes; store at the next key"


class ObjectMissing(StorageError):
    """The backend has no object under this key."""

    backend_id: str
    object_key: str
    template = "backend {self.backend_id!r} has no object {self.object_key}; ingest its content again"


class ObjectDamaged(StorageError):
    """The bytes of an object cannot be read, or differ from the bytes that were stored.

    Attributes:
        backend_id: the backend that stores the object.
        object_key: the key of the object.
        reason: what is wrong with the object.
    """

    backend_id: str
    object_key: str
    reason: str
    template = (
        "object {self.object_key} in backend {self.backend_id!r} is damaged: {self.reason}; "
        "run verify, then ingest its content again"
    )


class UnknownBackend(StorageError):
    """The store has no backend with this id.

    Attributes:
        backend_id: the unknown id.
        known: the ids of the store's backends.
    """

    backend_id: str
    known: tuple[str, ...]

    @override
    def __str__(self) -> str:
        known = ", ".join(self.known) or "none"
        return f"unknown storage backend {self.backend_id!r}; configured: {known}"


class StorageFault(StorageError):
    """The base class of faults that the operating system or a service reported.

    Attributes:
        backend_id: the id of the backend.
        operation: the operation that failed.
        cause: the name of the underlying error, such as `ENOSPC`, or an explanation if the device is not at fault.
    """

    backend_id: str
    operation: str
    cause: str


class StorageFull(StorageFault):
    """The device, a quota or a file size limit is exhausted."""

    @override
    def __str__(self) -> str:
        remedy = remedy_of(self.cause, "free room, then try again")
        return f"backend {self.backend_id!r} is full: {in_words(self.cause)} during {self.operation}; {remedy}"


class StorageDenied(StorageFault):
    """The mount is read-only, or this process lacks permissions for the operation."""

    @override
    def __str__(self) -> str:
        return (
            f"backend {self.backend_id!r} denies {self.operation}: {in_words(self.cause)}; "
            "check that its root is mounted writable and belongs to this user"
        )


class StorageFailed(StorageFault):
    """The operation failed with another fault, such as an input/output error."""

    @override
    def __str__(self) -> str:
        otherwise = "check the device" if self.cause.isalnum() else "put that right, then try again"
        remedy = remedy_of(self.cause, otherwise)
        return f"backend {self.backend_id!r} failed during {self.operation}: {in_words(self.cause)}; {remedy}"
