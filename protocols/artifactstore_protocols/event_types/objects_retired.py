"""`v1.objects.retired`: keys are never used again, and their bytes may be deleted from now on."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from artifactstore_protocols.commands import RetireObjects
from artifactstore_protocols.entries import Place
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import object_places
from artifactstore_protocols.event_types.base import EventType
from artifactstore_protocols.event_types.object_places import digest_at
from artifactstore_protocols.event_types.objects_stored import OBJECTS, supersedes
from artifactstore_protocols.packages import ProjectionDamaged
from artifactstore_protocols.state import LogState, PlaceState
from artifactstore_protocols.storage import RESTORE_NUMBERS, TIER_NUMBERS
from artifactstore_protocols.views import LOCATIONS, Cell, Put, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import StoredEvent

__all__ = ["CONDEMNED", "OBJECTS_RETIRED", "ORPHAN", "SUPERSEDED", "ObjectsRetired", "retire_objects"]

_NAME: Final = "v1.objects.retired"

CONDEMNED: Final = "condemned"
"""The object was condemned, and its grace period is over."""

ORPHAN: Final = "orphan"
"""A backend has bytes at a key that no event names."""

SUPERSEDED: Final = "superseded"
"""The content was stored again under another key."""


class ObjectsRetired(Struct, frozen=True):
    """Keys are retired: their bytes may be deleted, and nothing is stored under them again. The subject is `objects`.

    Attributes:
        objects: 1 to 4,096 objects, each as a backend and a key.
        cause: why the keys are retired: "condemned", "orphan" or "superseded".
    """

    objects: tuple[Place, ...]
    cause: str


def retire_objects(command: RetireObjects, state: LogState) -> ObjectsRetired | None:
    """Return the payload that retires keys, or None if no key is left to retire.

    Keys whose objects are no longer condemned, have been condemned again, or are no longer orphans, are skipped.

    Raises:
        ProjectionDamaged: the tables contradict each other, so that a package may refer to one of the objects.
    """
    object_places.check_references(map(digest_at, command.objects), state)
    wanted = "condemned" if command.cause == CONDEMNED else None
    objects = [place for place in command.objects if _state_of(place, state) == wanted]
    if command.until_us is not None:  # somebody may have used an object meanwhile, and condemned it again
        objects = [place for place in objects if _changed_at_us(place, state) <= command.until_us]
    for place in objects:
        _check_unused(place, command.cause, state)
    return ObjectsRetired(tuple(objects), command.cause) if objects else None


def _state_of(place: Place, state: LogState) -> str | None:
    held = state.places_of(digest_at(place)).get(place)
    return None if held is None else held.state


def _changed_at_us(place: Place, state: LogState) -> int:
    held = state.places_of(digest_at(place)).get(place)
    return 0 if held is None else held.changed_at_us


def _check_unused(place: Place, cause: str, state: LogState) -> None:
    """Check the rows of a content against each other: a lost row must not make its object look like an orphan."""
    digest = digest_at(place)
    count, places = state.references_to(digest), state.places_of(digest)
    if cause == CONDEMNED and count:
        raise ProjectionDamaged(f"object {place.object_key}", f"in {count} entries", "condemned, so in none")
    if cause == ORPHAN and digest not in state.purged and not any(held.is_current for held in places.values()):
        if count:
            raise ProjectionDamaged(f"content {digest.hex()}", f"in {count} entries and nowhere stored", "stored")
        if digest in state.contents and not places:
            raise ProjectionDamaged(f"content {digest.hex()}", "without an object", "stored once at least")


def _judge(payload: ObjectsRetired, _stored: "StoredEvent", state: LogState) -> None:
    object_places.check_distinct(payload.objects)
    for place in payload.objects:
        digest, held = digest_at(place), _state_of(place, state)
        named = f"{place.backend_id} {place.object_key}"[:80]
        if payload.cause == SUPERSEDED:
            if not any(supersedes(other, place, state) for other in state.places_of(digest)):
                raise InvalidValue("object", named, "no other object of its content supersedes it")
            continue
        if held != (CONDEMNED if payload.cause == CONDEMNED else None):
            raise InvalidValue("object", named, f"it is {held or 'unknown'}, and not {payload.cause}")
        elsewhere = any(other.is_current for at, other in state.places_of(digest).items() if at != place)
        unneeded = elsewhere or digest in state.purged
        if state.references_to(digest) and not (payload.cause == ORPHAN and unneeded):
            raise InvalidValue("object", named, "entries of packages refer to its content")


def _evolve(payload: ObjectsRetired, stored: "StoredEvent", state: LogState) -> None:
    for place in payload.objects:
        digest = digest_at(place)
        held = state.places_of(digest).get(place) or PlaceState("intact", stored.sequence)
        state.set_place(digest, place, replace(held, state="retired", changed_at_us=stored.event.recorded_at_us))


def _rows(payload: ObjectsRetired, stored: "StoredEvent") -> Iterable[RowOperation]:
    at_us, sequence = stored.event.recorded_at_us, stored.sequence
    if payload.cause == ORPHAN:
        rest: tuple[Cell, ...] = (
            TIER_NUMBERS["immediate"],
            RESTORE_NUMBERS["not_required"],
            "retired",
            "intact",
            None,
            at_us,
            ORPHAN,
            sequence,
            sequence,
        )
        return [Put(LOCATIONS, [(digest_at(place), *place, *rest) for place in payload.objects])]
    changed: dict[str, Cell] = {"state": "retired", "changed_at": at_us}
    if payload.cause == SUPERSEDED:  # a condemned object keeps the rule that condemned it
        changed["rule"] = SUPERSEDED
    return object_places.place_updates(payload.objects, changed)


OBJECTS_RETIRED: Final = EventType(
    name=_NAME,
    codec=object_places.places_codec(_NAME, ObjectsRetired, {"cause": frozenset({CONDEMNED, ORPHAN, SUPERSEDED})}),
    subject=lambda _payload: OBJECTS,
    needs=object_places.needs,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: object_places.describe("retired", payload, f", {payload.cause}"),
)
