"""`v1.objects.removed`: the bytes of retired objects were deleted; their rows stay as a record."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from artifactstore_protocols.commands import RemoveObjects
from artifactstore_protocols.entries import Place
from artifactstore_protocols.event_types import object_places
from artifactstore_protocols.event_types.base import EventType
from artifactstore_protocols.event_types.object_places import digest_at
from artifactstore_protocols.event_types.objects_stored import OBJECTS
from artifactstore_protocols.state import LogState
from artifactstore_protocols.views import Cell, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import StoredEvent

__all__ = ["OBJECTS_REMOVED", "ObjectsRemoved", "remove_objects"]

_NAME: Final = "v1.objects.removed"


class ObjectsRemoved(Struct, frozen=True):
    """The bytes of retired objects were deleted. The subject is `objects`.

    Attributes:
        objects: 1 to 4,096 objects, each as a backend and a key.
    """

    objects: tuple[Place, ...]


def remove_objects(command: RemoveObjects, state: LogState) -> ObjectsRemoved | None:
    """Return the payload that records deleted objects; None if all of them are recorded as removed already.

    Raises:
        InvalidValue: the log does not record that an object is retired, so its bytes must not be deleted.
    """
    objects: list[Place] = []
    for place in command.objects:
        held = state.places_of(digest_at(place)).get(place)
        if held is None or held.state != "removed":
            object_places.check_state(place, state, "retired")
            objects.append(place)
    return ObjectsRemoved(tuple(objects)) if objects else None


def _judge(payload: ObjectsRemoved, _stored: "StoredEvent", state: LogState) -> None:
    object_places.check_distinct(payload.objects)
    for place in payload.objects:
        object_places.check_state(place, state, "retired")


def _evolve(payload: ObjectsRemoved, stored: "StoredEvent", state: LogState) -> None:
    at_us = stored.event.recorded_at_us
    for place in payload.objects:
        digest = digest_at(place)
        held = replace(state.places_of(digest)[place], state="removed", changed_at_us=at_us)
        state.set_place(digest, place, held)


def _rows(payload: ObjectsRemoved, stored: "StoredEvent") -> Iterable[RowOperation]:
    changed: dict[str, Cell] = {"state": "removed", "changed_at": stored.event.recorded_at_us}
    return object_places.place_updates(payload.objects, changed)


OBJECTS_REMOVED: Final = EventType(
    name=_NAME,
    codec=object_places.places_codec(_NAME, ObjectsRemoved, {}),
    subject=lambda _payload: OBJECTS,
    needs=object_places.needs,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: object_places.describe("removed", payload),
)
