"""The open storage backends by id, and the choice of a backend by the size of an object."""

from collections.abc import Iterable, Iterator
from typing import Final

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.storage import StorageBackend, UnknownBackend

__all__ = ["SMALL_BACKEND_ID", "BackendRegistry"]

SMALL_BACKEND_ID: Final = "local-small"


class BackendRegistry:
    """An immutable set of open backends. Iteration is in the order of their ids.

    Attributes:
        default: backend of objects that are not small.
        small_max: largest size of a small object, in bytes; 0 if no object is small.
    """

    __slots__ = ("_backends", "default", "small_max")

    def __init__(self, backends: Iterable[StorageBackend], default_id: str, *, small_max: int = 0) -> None:
        """Index backends by their ids.

        Args:
            backends: open backends.
            default_id: id of the default backend.
            small_max: largest object that `SMALL_BACKEND_ID` takes, in bytes; 0 stores nothing there.

        Raises:
            InvalidValue: two backends have the same id.
            UnknownBackend: the default backend, or the one for small objects, is missing.
        """
        by_id: dict[str, StorageBackend] = {}
        for backend in backends:
            if by_id.setdefault(backend.backend_id, backend) is not backend:
                raise InvalidValue("backend id", backend.backend_id, "two backends have it; give each its own")
        self._backends = dict(sorted(by_id.items()))
        self.default = self.resolve(default_id)
        self.small_max = small_max
        self.for_size(small_max)

    def __iter__(self) -> Iterator[StorageBackend]:
        return iter(self._backends.values())

    def in_use(self) -> Iterator[StorageBackend]:
        """Iterate over the backends that take new objects, in the order of their ids."""
        in_use = {self.default.backend_id, self.for_size(self.small_max).backend_id}
        return (backend for backend in self if backend.backend_id in in_use)

    def resolve(self, backend_id: str) -> StorageBackend:
        """Return the backend with this id.

        Raises:
            UnknownBackend: no backend has this id.
        """
        try:
            return self._backends[backend_id]
        except KeyError:
            raise UnknownBackend(backend_id, tuple(self._backends)) from None

    def for_size(self, size_bytes: int) -> StorageBackend:
        """Return the backend that takes an object of this size."""
        return self.resolve(SMALL_BACKEND_ID) if 0 <= size_bytes <= self.small_max != 0 else self.default
