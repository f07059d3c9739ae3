"""`v1.objects.reprieved`: condemned objects are live again, because a package refers to them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from artifactstore_protocols.entries import Place
from artifactstore_protocols.event_types import object_places
from artifactstore_protocols.event_types.base import EventType, check_equal
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
        objects: 0 to 4,096 objects, each as a backend and a key. There are none if a command that refers to contents
            of the store finds all of them live.
    """

    objects: tuple[Place, ...]


def reprieve_objects(contents: Iterable[bytes], state: LogState, *, always: bool = False) -> ObjectsReprieved | None:
    """Return the payload that reprieves every condemned object of some contents, or None unless `always`.

    An object that the same command supersedes is reprieved, too. So no content in a package has a condemned object.
    """
    objects = _condemned(contents, state)
    return ObjectsReprieved(objects) if objects or always else None


def _condemned(contents: Iterable[bytes], state: LogState) -> tuple[Place, ...]:
    return tuple(
        place
        for digest in contents
        for place, held in sorted(state.places_of(digest).items())
        if held.state == "condemned"
    )


def _judge(payload: ObjectsReprieved, _stored: "StoredEvent", state: LogState) -> None:
    check_equal("reprieved objects", payload.objects, _condemned(sorted(set(map(digest_at, payload.objects))), state))


def _evolve(payload: ObjectsReprieved, _stored: "StoredEvent", state: LogState) -> None:
    for place in payload.objects:
        digest = digest_at(place)
        state.set_place(digest, place, replace(state.places_of(digest)[place], state="live", changed_at_us=0))


def _rows(payload: ObjectsReprieved, _stored: "StoredEvent") -> Iterable[RowOperation]:
    return object_places.place_updates(payload.objects, {"state": "live", "changed_at": None, "rule": None})


OBJECTS_REPRIEVED: Final = EventType(
    name=_NAME,
    codec=object_places.places_codec(_NAME, ObjectsReprieved, {}, at_least=0),
    subject=lambda _payload: OBJECTS,
    needs=object_places.needs,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: object_places.describe("reprieved", payload),
)
