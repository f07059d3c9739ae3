"""Which storage backends there are, by id."""

from collections.abc import Iterable, Iterator

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.storage import StorageBackend, UnknownBackend

__all__ = ["BackendRegistry"]


class BackendRegistry:
    """An immutable set of open backends; iterates in the order of their ids."""

    __slots__ = ("_backends",)

    def __init__(self, backends: Iterable[StorageBackend]) -> None:
        """Take backends in.

        Raises:
            InvalidValue: two of them have the same id.
        """
        by_id: dict[str, StorageBackend] = {}
        for backend in backends:
            if by_id.setdefault(backend.backend_id, backend) is not backend:
                raise InvalidValue("backend id", backend.backend_id, "two backends have it; give each its own")
        self._backends = dict(sorted(by_id.items()))

    def __iter__(self) -> Iterator[StorageBackend]:
        return iter(self._backends.values())

    def resolve(self, backend_id: str) -> StorageBackend:
        """Find a backend by its id.

        Raises:
            UnknownBackend: there is none of that id.
        """
        try:
            return self._backends[backend_id]
        except KeyError:
            raise UnknownBackend(backend_id, tuple(self._backends)) from None
