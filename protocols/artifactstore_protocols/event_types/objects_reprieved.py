"""`v1.objects.reprieved`: condemned objects are live again, because a package refers to them."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from artifactstore_protocols.entries import Place
from artifactstore_protocols.event_types import object_places
from artifactstore_protocols.event_types.base import EventType
from artifactstore_protocols.event_types.object_places import digest_at
from artifactstore_protocols.event_types.objects_stored import OBJECTS
from artifactstore_protocols.state import LogState
from artifactstore_protocols.views import RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import StoredEvent

__all__ = ["OBJECTS_REPRIEVED", "ObjectsReprieved", "reprieve_objects"]

_NAME: Final = "v1.objects.reprieved"


class ObjectsReprieved(Struct, frozen=True):
    """Condemned objects are live again. The event that uses them follows in the same command. The subject is `objects`.

    Attributes:
        objects: 1 to 4,096 objects, each as a backend and a key.
    """

    objects: tuple[Place, ...]


def reprieve_objects(
    contents: Iterable[bytes], superseded: Collection[Place], state: LogState
) -> ObjectsReprieved | None:
    """Return the payload that reprieves the condemned objects of some contents, except superseded ones; or None."""
    objects = tuple(
        place
        for digest in contents
        for place, held in sorted(state.places_of(digest).items())
        if held.state == "condemned" and place not in superseded
    )
    return ObjectsReprieved(objects) if objects else None


def _judge(payload: ObjectsReprieved, _stored: "StoredEvent", state: LogState) -> None:
    object_places.check_distinct(payload.objects)
    for place in payload.objects:
        object_places.check_state(place, state, "condemned")


def _evolve(payload: ObjectsReprieved, _stored: "StoredEvent", state: LogState) -> None:
    for place in payload.objects:
        digest = digest_at(place)
        state.set_place(digest, place, replace(state.places_of(digest)[place], state="live"))


def _rows(payload: ObjectsReprieved, _stored: "StoredEvent") -> Iterable[RowOperation]:
    return object_places.place_updates(payload.objects, {"state": "live", "changed_at": None, "rule": None})


OBJECTS_REPRIEVED: Final = EventType(
    name=_NAME,
    codec=object_places.places_codec(_NAME, ObjectsReprieved, {}),
    subject=lambda _payload: OBJECTS,
    needs=object_places.needs,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: object_places.describe("reprieved", payload),
)
