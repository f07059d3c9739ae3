"""`v1.objects.stored`: contents, or further objects of them, that are new in the store."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import RecordValue
from artifactstore_protocols.commands import OBJECTS_MAX
from artifactstore_protocols.entries import DIGEST_BYTES, Place, StoredObject, check_object
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import (
    Codec,
    EventType,
    PayloadInvalid,
    check_equal,
    fields_of,
    require_shortest,
)
from artifactstore_protocols.identity import PRIMARY_ALGORITHM
from artifactstore_protocols.state import ContentState, LogState, Needs, PlaceState
from artifactstore_protocols.storage import RestoreStatus, RetrievalTier
from artifactstore_protocols.views import CONTENTS, LOCATIONS, Put, PutIfAbsent, Row, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import StoredEvent

__all__ = ["OBJECTS", "OBJECTS_STORED", "ObjectsStored", "new_objects"]

OBJECTS: Final = "objects"
"""What events about objects have as their subject."""

_NAME: Final = "v1.objects.stored"
_FIELDS: Final = {"digest_algorithm": frozenset({str}), "places": frozenset({list}), "objects": frozenset({list})}
_PLACE_FIELDS: Final = 3
_OBJECT_FIELDS: Final = 5


@dataclass(frozen=True, slots=True)
class ObjectsStored:
    """Contents that are new in the store, and where they are.

    Attributes:
        digest_algorithm: of the primary digests.
        objects: 1 to `OBJECTS_MAX`; their outcomes are not part of the event.
    """

    digest_algorithm: str
    objects: tuple[StoredObject, ...]


def new_objects(stored: Sequence[StoredObject], state: LogState) -> tuple[StoredObject, ...]:
    """Return those of the objects that the log does not name yet, each once.

    Raises:
        InvalidValue: one address has two contents, or one key.
    """
    new: dict[Place, StoredObject] = {}
    contents: dict[bytes, tuple[bytes, int]] = {}
    for each in stored:
        known = state.contents.get(each.digest)
        fact = (each.sha256, each.size_bytes)
        if known is not None:
            check_equal("SHA-256", each.sha256.hex(), known.sha256.hex())
            check_equal("size", each.size_bytes, known.size_bytes)
            if each.place in known.places:
                continue
        elif contents.setdefault(each.digest, fact) != fact:
            raise InvalidValue("digest", each.digest.hex(), "two contents that differ have it")
        as_stored = each if each.outcome == "stored" else each._replace(outcome="stored")
        if new.setdefault(each.place, as_stored).digest != each.digest:
            raise InvalidValue("object key", each.place.object_key[:80], "it names one content for ever")
    return tuple(new.values())


def _encode(payload: ObjectsStored) -> bytes:
    places: dict[tuple[str, str, str], int] = {}
    objects: list[RecordValue] = []
    for digest, sha256, size_bytes, place, tier, restore, _outcome in payload.objects:
        number = places.setdefault((place.backend_id, tier, restore), len(places))
        key = None if place.object_key == _first_key(payload.digest_algorithm, digest) else place.object_key
        objects.append([digest, sha256, size_bytes, number, key])
    described: list[RecordValue] = [list[RecordValue](each) for each in places]
    return canonical.encode_checked(
        {"digest_algorithm": payload.digest_algorithm, "places": described, "objects": objects}
    )


def _decode(content: bytes) -> ObjectsStored:
    value = fields_of(_NAME, content, _FIELDS, proven=False)
    algorithm = cast("str", value["digest_algorithm"])
    places = cast("list[list[str]]", value["places"])
    if not all(type(each) is list and [type(part) for part in each] == [str] * _PLACE_FIELDS for each in places):
        raise PayloadInvalid(_NAME, "a place is a backend, a retrieval tier and a restore status")
    objects: list[StoredObject] = []
    for each in cast("list[list[object]]", value["objects"]):
        if type(each) is not list or len(each) != _OBJECT_FIELDS:
            raise PayloadInvalid(_NAME, f"an object has {_OBJECT_FIELDS} fields")
        digest, sha256, size_bytes, number, key = each
        if type(number) is not int or not 0 <= number < len(places) or type(key) not in {str, type(None)}:
            raise PayloadInvalid(_NAME, "an object names a place, and a key or null")
        if type(digest) is not bytes or len(digest) != DIGEST_BYTES:
            raise PayloadInvalid(_NAME, "an object has a digest")
        backend_id, tier, restore = places[number]
        place = Place(backend_id, _first_key(algorithm, digest) if key is None else cast("str", key))
        stored = StoredObject(
            digest,
            cast("bytes", sha256),
            cast("int", size_bytes),
            place,
            cast("RetrievalTier", tier),
            cast("RestoreStatus", restore),
        )
        check_object(stored)
        objects.append(stored)
    payload = ObjectsStored(algorithm, tuple(objects))
    reason = f"it has 1 to {OBJECTS_MAX} objects, and each place and key in its shortest form"
    if not 0 < len(objects) <= OBJECTS_MAX:
        raise PayloadInvalid(_NAME, reason)
    require_shortest(_NAME, content, _encode(payload), reason)
    return payload


def _first_key(algorithm: str, digest: bytes) -> str:
    text = digest.hex()
    return f"{algorithm}/{text[0:2]}/{text[2:4]}/{text}"


def _judge(payload: ObjectsStored, _stored: "StoredEvent", state: LogState) -> None:
    check_equal("digest algorithm", payload.digest_algorithm, PRIMARY_ALGORITHM)
    if len(new_objects(payload.objects, state)) != len(payload.objects):
        raise InvalidValue("objects", str(len(payload.objects)), "the log names some of them already")


def _evolve(payload: ObjectsStored, stored: "StoredEvent", state: LogState) -> None:
    for each in payload.objects:
        content = state.contents.get(each.digest)
        if content is None:
            content = state.contents[each.digest] = ContentState(payload.digest_algorithm, each.sha256, each.size_bytes)
        content.places[each.place] = PlaceState("intact", stored.sequence)


def _rows(payload: ObjectsStored, stored: "StoredEvent") -> Iterable[RowOperation]:
    algorithm, at_us, sequence = payload.digest_algorithm, stored.event.recorded_at_us, stored.sequence
    contents: dict[bytes, Row] = {}
    locations: list[Row] = []
    for digest, sha256, size_bytes, (backend_id, key), tier, restore, _outcome in payload.objects:
        contents[digest] = (digest, algorithm, sha256, size_bytes, sequence)
        locations.append((digest, backend_id, key, tier, restore, "live", "intact", at_us, sequence))
    return (PutIfAbsent(CONTENTS, tuple(contents.values())), Put(LOCATIONS, locations))


OBJECTS_STORED: Final = EventType(
    name=_NAME,
    codec=Codec(_encode, _decode),
    subject=lambda _payload: OBJECTS,
    needs=lambda payload: Needs(contents=frozenset(each.digest for each in payload.objects)),
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: (
        f"stored {len(payload.objects)} objects, {sum(e.size_bytes for e in payload.objects)} bytes"
    ),
)
