"""What a storage backend answers when it cannot do as it was asked.

The operating system's and the network's errors never leave a backend as they are: each becomes one of these,
so that a caller can tell a full disk from a missing object without knowing what the backend is made of.
"""

from dataclasses import dataclass
from typing import override

from artifactstore_protocols.errors import ArtifactStoreError

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
    """Base of what a backend refuses or cannot do."""


@dataclass(eq=False)
class KeyRefused(StorageError):
    """An object key that no backend takes, because it could leave the root or mean two things.

    Attributes:
        object_key: the key, shortened.
        reason: the rule that it breaks.
    """

    object_key: str
    reason: str
    template = "object key {self.object_key!r} is refused: {self.reason}"


@dataclass(eq=False)
class KeyTaken(StorageError):
    """A key that holds other bytes than those to be put; they stay, and the content belongs at its next key."""

    backend_id: str
    object_key: str
    template = "key {self.object_key} of backend {self.backend_id!r} holds other bytes; store at the next key"


@dataclass(eq=False)
class ObjectMissing(StorageError):
    """No object under this key."""

    backend_id: str
    object_key: str
    template = "backend {self.backend_id!r} has no object {self.object_key}; ingest its content again"


@dataclass(eq=False)
class ObjectDamaged(StorageError):
    """An object whose bytes are not, or cannot be read as, what was stored.

    Attributes:
        backend_id: where it is stored.
        object_key: which object.
        reason: what was found.
    """

    backend_id: str
    object_key: str
    reason: str
    template = (
        "object {self.object_key} in backend {self.backend_id!r} is damaged: {self.reason}; "
        "run verify, then ingest its content again"
    )


@dataclass(eq=False)
class UnknownBackend(StorageError):
    """A backend id that this store does not have.

    Attributes:
        backend_id: the id that was asked for.
        known: the ids there are.
    """

    backend_id: str
    known: tuple[str, ...]

    @override
    def __str__(self) -> str:
        known = ", ".join(self.known) or "none"
        return f"unknown storage backend {self.backend_id!r}; configured: {known}"


@dataclass(eq=False)
class StorageFault(StorageError):
    """Base of what the operating system or a service reported.

    Attributes:
        backend_id: which backend.
        operation: what was being done.
        cause: name of the underlying error, such as `ENOSPC`; explained where it is not the device's.
    """

    backend_id: str
    operation: str
    cause: str


class StorageFull(StorageFault):
    """No room: the device, a quota or a file size limit is exhausted."""

    template = "backend {self.backend_id!r} is full ({self.cause} during {self.operation}); free room, then try again"


class StorageDenied(StorageFault):
    """This process may not do that there: a read-only mount or missing permissions."""

    template = (
        "backend {self.backend_id!r} denies {self.operation} ({self.cause}); check that its root is mounted writable "
        "and belongs to this user"
    )


class StorageFailed(StorageFault):
    """Any other fault, such as an input/output error."""

    @override
    def __str__(self) -> str:
        advice = "check the device" if self.cause.isalnum() else "put that right, then try again"
        return f"backend {self.backend_id!r} failed during {self.operation} ({self.cause}); {advice}"
