"""`v1.objects.condemned`: no package refers to these contents, so their objects may be retired after a grace period."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from artifactstore_protocols.entries import Place, StoredObject
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import object_places
from artifactstore_protocols.event_types.base import EventType, check_equal
from artifactstore_protocols.event_types.object_places import digest_at
from artifactstore_protocols.event_types.objects_stored import OBJECTS
from artifactstore_protocols.state import LogState
from artifactstore_protocols.views import Cell, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import StoredEvent

__all__ = ["OBJECTS_CONDEMNED", "REPLACED", "ObjectsCondemned", "condemn_lost"]

_NAME: Final = "v1.objects.condemned"

REPLACED: Final = "replaced"
"""The rule that condemns a content because another one took its last path."""


class ObjectsCondemned(Struct, frozen=True):
    """Objects were condemned, because no package refers to their contents. The subject is `objects`.

    Attributes:
        objects: 1 to 4,096 objects, each as a backend and a key.
        rule: the name of the rule that condemned them.
    """

    objects: tuple[Place, ...]
    rule: str


def condemn_lost(
    lost: Sequence[bytes],
    rule: str,
    state: LogState,
    *,
    stored: Sequence[StoredObject] = (),
    gone: Sequence[Place] = (),
) -> ObjectsCondemned | None:
    """Return the payload that condemns contents which lose their last reference by the same command, or None.

    The log's number of references decides. The entries are not counted here: a condemned object can be read and
    reprieved, and retiring it counts them.

    Args:
        lost: the primary digests of the contents.
        rule: the name of the rule.
        state: the state before the command.
        stored: the objects that the command records.
        gone: the objects that the command retires.
    """
    if not lost:
        return None
    objects: list[Place] = []
    for digest in lost:
        live = {place for place, held in state.places_of(digest).items() if held.state == "live"}
        live.update(each.place for each in stored if each.digest == digest)
        objects += sorted(live.difference(gone))
    return ObjectsCondemned(tuple(objects), rule) if objects else None


def _condemnable(contents: Sequence[bytes], state: LogState) -> tuple[Place, ...]:
    return tuple(
        place
        for digest in contents
        if not state.references_to(digest)
        for place, held in sorted(state.places_of(digest).items())
        if held.state == "live"
    )


def _judge(payload: ObjectsCondemned, _stored: "StoredEvent", state: LogState) -> None:
    contents = tuple(dict.fromkeys(map(digest_at, payload.objects)))
    for digest in contents:
        if count := state.references_to(digest):
            raise InvalidValue("object", digest.hex(), f"{count} entries of packages refer to it")
    check_equal("condemned objects", payload.objects, _condemnable(contents, state))


def _evolve(payload: ObjectsCondemned, stored: "StoredEvent", state: LogState) -> None:
    at_us = stored.event.recorded_at_us
    for place in payload.objects:
        digest = digest_at(place)
        held = replace(state.places_of(digest)[place], state="condemned", changed_at_us=at_us)
        state.set_place(digest, place, held)


def _rows(payload: ObjectsCondemned, stored: "StoredEvent") -> Iterable[RowOperation]:
    changed: dict[str, Cell] = {"state": "condemned", "changed_at": stored.event.recorded_at_us, "rule": payload.rule}
    return object_places.place_updates(payload.objects, changed)


OBJECTS_CONDEMNED: Final = EventType(
    name=_NAME,
    codec=object_places.places_codec(_NAME, ObjectsCondemned, {"rule": None}),
    subject=lambda _payload: OBJECTS,
    needs=object_places.needs,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: object_places.describe("condemned", payload, f", by rule {payload.rule!r}"),
)
