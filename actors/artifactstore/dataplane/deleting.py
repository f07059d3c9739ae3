"""Deletion of objects in their backends."""

from collections.abc import Callable, Sequence

from artifactstore.backends.registry import BackendRegistry
from artifactstore_protocols.storage import Place, StorageError

__all__ = ["delete_all"]


def delete_all(
    backends: BackendRegistry, places: Sequence[Place], check_cancelled: Callable[[], None]
) -> list[bool | StorageError]:
    """Delete objects, one call for each backend; see `DataPlane.delete_objects`.

    A backend that is missing or out of reach fails its own objects only.
    """
    answers: dict[int, bool | StorageError] = {}
    by_backend: dict[str, list[int]] = {}
    for index, place in enumerate(places):
        by_backend.setdefault(place.backend_id, []).append(index)
    for backend_id, indexes in by_backend.items():
        check_cancelled()
        try:
            deleted = backends.resolve(backend_id).delete_many([places[index].object_key for index in indexes])
        except StorageError as error:
            deleted = [error] * len(indexes)
        answers |= zip(indexes, deleted, strict=True)
    return [answers[index] for index in range(len(places))]
