"""Which storage backends there are, by id, and which of them takes an object of some size."""

from collections.abc import Iterable, Iterator
from typing import Final

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.storage import StorageBackend, UnknownBackend

__all__ = ["SMALL_BACKEND_ID", "BackendRegistry"]

SMALL_BACKEND_ID: Final = "local-small"


class BackendRegistry:
    """An immutable set of open backends; iterates in the order of their ids.

    Attributes:
        default: where objects are stored that are not small.
        small_max: how many bytes a small object has at most; 0 if none is.
    """

    __slots__ = ("_backends", "default", "small_max")

    def __init__(self, backends: Iterable[StorageBackend], default_id: str, *, small_max: int = 0) -> None:
        """Take backends in.

        Args:
            backends: open backends.
            default_id: which of them is the default.
            small_max: what `SMALL_BACKEND_ID` takes; 0 stores nothing there.

        Raises:
            InvalidValue: two of them have the same id.
            UnknownBackend: one that is needed is not there.
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
        """Iterate over the backends that objects are stored in, in the order of their ids."""
        in_use = {self.default.backend_id, self.for_size(self.small_max).backend_id}
        return (backend for backend in self if backend.backend_id in in_use)

    def resolve(self, backend_id: str) -> StorageBackend:
        """Find a backend by its id.

        Raises:
            UnknownBackend: there is none of that id.
        """
        try:
            return self._backends[backend_id]
        except KeyError:
            raise UnknownBackend(backend_id, tuple(self._backends)) from None

    def for_size(self, size_bytes: int) -> StorageBackend:
        """Return the backend that takes an object of this size."""
        return self.resolve(SMALL_BACKEND_ID) if 0 <= size_bytes <= self.small_max != 0 else self.default
