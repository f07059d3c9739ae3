"""`v1.objects.stored`: new contents, or further objects of known contents, were stored."""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final, cast

from msgspec import Struct

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
from artifactstore_protocols.identity import PRIMARY_ALGORITHM, ContentAddress, Digest
from artifactstore_protocols.object_keys import first_key, first_key_of, parse_key
from artifactstore_protocols.purging import ContentPurged
from artifactstore_protocols.state import ContentState, LogState, Needs, ObjectState, PlaceState
from artifactstore_protocols.storage import RESTORE_NUMBERS, TIER_NUMBERS, RestoreStatus, RetrievalTier
from artifactstore_protocols.views import CONTENTS, LOCATIONS, Cell, Put, PutIfAbsent, Row, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import StoredEvent

__all__ = [
    "OBJECTS",
    "OBJECTS_STORED",
    "UPLOADED",
    "ObjectsStored",
    "bytes_brought",
    "check_not_purged",
    "is_later_generation",
    "new_objects",
    "superseded",
    "supersedes",
    "unreferenced",
]

UPLOADED: Final = "uploaded"
"""The rule that condemns a content because it was stored for no package yet."""

OBJECTS: Final = "objects"
"""The subject of every event about objects."""

_NAME: Final = "v1.objects.stored"
_FIELDS: Final = {"digest_algorithm": frozenset({str}), "places": frozenset({list}), "objects": frozenset({list})}
_PLACE_FIELDS: Final = 4
_OBJECT_FIELDS: Final = 5
_STATES: Final = frozenset({"live", "condemned"})


class ObjectsStored(Struct, frozen=True):
    """New contents, or further objects of known contents, were stored. The subject is `objects`.

    Attributes:
        digest_algorithm: the algorithm of the primary digests.
        places: in the event, the backends of the objects with their retrieval tiers, restore statuses and states, each
            once.
        objects: 0 to 256 objects, each with its content's digests and size, and its place. There are none if objects
            were stored for no package and the log names all of them.
        condemned: the primary digests of those contents that no package refers to. Their objects start as condemned.
    """

    digest_algorithm: str
    objects: tuple[StoredObject, ...]
    condemned: frozenset[bytes] = frozenset()


def new_objects(
    stored: Sequence[StoredObject], state: LogState, needed: Collection[bytes] = ()
) -> tuple[StoredObject, ...]:
    """Return the objects that the log must record: those at keys that it does not name yet.

    An object is skipped if its backend has an intact object of a later generation. An object of a content without a
    live object is skipped unless the content is needed; its bytes stay an orphan.

    Args:
        stored: the objects.
        state: the state before the command; it is not changed.
        needed: the primary digests of contents that a package is to refer to.

    Raises:
        InvalidValue: two different contents have the same address, or a key belongs to another content.
        ContentPurged: a content was purged.
    """
    new: dict[tuple[bytes, str], StoredObject] = {}
    contents: dict[bytes, tuple[bytes, int]] = {}
    for each in stored:
        digest, place = each.digest, each.place
        known, fact = state.contents.get(digest), (each.sha256, each.size_bytes)
        if known is not None:
            check_equal("SHA-256", each.sha256.hex(), known.sha256.hex())
            check_equal("size", each.size_bytes, known.size_bytes)
        elif contents.setdefault(digest, fact) != fact:
            raise InvalidValue("digest", digest.hex(), "two contents that differ have it")
        first = first_key_of(PRIMARY_ALGORITHM, digest.hex())
        if place.object_key != first and first_key(parse_key(place.object_key)[0]) != first:
            raise InvalidValue("object key", place.object_key[:80], "it names another content, and does so for ever")
        places = state.places_of(digest)
        if digest not in needed and all(held.state != "live" for held in places.values()):
            continue
        check_not_purged(digest, state)
        if place in places or any(held.is_usable and is_later_generation(at, place) for at, held in places.items()):
            continue
        twin = new.setdefault((digest, place.backend_id), each)
        if is_later_generation(place, twin.place):
            new[digest, place.backend_id] = each
    return tuple(new.values())


def check_not_purged(digest: bytes, state: LogState, path: str = "") -> None:
    """Refuse a content that was purged; `path` is of the file that has it.

    Raises:
        ContentPurged: it was.
    """
    if (purged := state.purged.get(digest)) is not None:
        raise ContentPurged(str(ContentAddress(Digest(PRIMARY_ALGORITHM, digest.hex()))), *purged, path)


def bytes_brought(new: Iterable[StoredObject], state: LogState) -> int:
    """Return the total size of the contents that new objects bring: those without a live or condemned object before."""
    sizes = {each.digest: each.size_bytes for each in new}
    known = (any(held.is_current for held in state.places_of(digest).values()) for digest in sizes)
    return sum(size for size, is_known in zip(sizes.values(), known, strict=True) if not is_known)


def unreferenced(objects: Iterable[StoredObject], state: LogState) -> frozenset[bytes]:
    """Return the contents of objects that no package refers to, and that have no live object."""
    return frozenset(
        each.digest
        for each in objects
        if not state.references_to(each.digest)
        and all(held.state != "live" for held in state.places_of(each.digest).values())
    )


def superseded(new: Sequence[StoredObject], state: LogState) -> tuple[Place, ...]:
    """Return the objects that need not be kept once new objects of their contents are recorded."""
    found: dict[Place, None] = {}
    for each in new:
        places = state.places_of(each.digest)
        found.update((at, None) for at, held in sorted(places.items()) if _is_superseded(at, held, each.place))
    return tuple(found)


def supersedes(later: Place, earlier: Place, state: LogState) -> bool:
    """Return whether an object supersedes another object of its content."""
    places = state.places_of(bytes.fromhex(parse_key(earlier.object_key)[0].digest.hex))
    if later == earlier or later not in places or earlier not in places:
        return False
    states = places[later].state, places[earlier].state
    if not places[later].is_usable or states == ("condemned", "live"):
        return False
    return _is_superseded(earlier, places[earlier], later)


def _is_superseded(place: Place, held: PlaceState, later: Place) -> bool:
    """Return whether a later object supersedes an object.

    Any object supersedes a flawed one. Only a later generation in the same backend supersedes an intact one; it was
    stored because the earlier object could not be used.
    """
    return held.is_current and (held.integrity != "intact" or is_later_generation(later, place))


def is_later_generation(place: Place, other: Place) -> bool:
    """Return whether a place has a later generation of the same content in the same backend."""
    if place.backend_id != other.backend_id or place.object_key == other.object_key:
        return False
    return parse_key(place.object_key)[1] > parse_key(other.object_key)[1]


def _encode(payload: ObjectsStored) -> bytes:
    places: dict[tuple[str, str, str, str], int] = {}
    objects: list[list[RecordValue]] = []
    for digest, sha256, size_bytes, place, tier, restore in payload.objects:
        state = _state(payload, digest)
        number = places.setdefault((place.backend_id, tier, restore, state), len(places))
        first = first_key_of(payload.digest_algorithm, digest.hex())
        key = None if place.object_key == first else place.object_key
        objects.append([digest, sha256, size_bytes, number, key])
    return _encoded(payload.digest_algorithm, places, objects)


def _state(payload: ObjectsStored, digest: bytes) -> ObjectState:
    return "condemned" if digest in payload.condemned else "live"


def _encoded(algorithm: str, places: Iterable[Sequence[str]], objects: Sequence[Sequence[RecordValue]]) -> bytes:
    described: list[RecordValue] = [list[RecordValue](each) for each in places]
    return canonical.encode_checked(
        {"digest_algorithm": algorithm, "places": described, "objects": cast("list[RecordValue]", objects)}
    )


def _decode(content: bytes) -> ObjectsStored:
    value = fields_of(_NAME, content, _FIELDS, proven=False)
    algorithm = cast("str", value["digest_algorithm"])
    places = cast("list[list[str]]", value["places"])
    if not all(type(each) is list and [type(part) for part in each] == [str] * _PLACE_FIELDS for each in places):
        raise PayloadInvalid(_NAME, "a place is a backend, a retrieval tier, a restore status and a state")
    if not {each[3] for each in places} <= _STATES:
        raise PayloadInvalid(_NAME, "its objects are live or condemned")
    objects: list[StoredObject] = []
    states: dict[bytes, str] = {}
    rows = cast("list[list[RecordValue]]", value["objects"])
    is_shortest = True
    for each in rows:
        if type(each) is not list or len(each) != _OBJECT_FIELDS:
            raise PayloadInvalid(_NAME, f"an object has {_OBJECT_FIELDS} fields")
        digest, sha256, size_bytes, number, key = each
        if type(number) is not int or not 0 <= number < len(places) or type(key) not in {str, type(None)}:
            raise PayloadInvalid(_NAME, "an object names a place, and a key or null")
        if type(digest) is not bytes or len(digest) != DIGEST_BYTES:
            raise PayloadInvalid(_NAME, "an object has a digest")
        backend_id, tier, restore, state = places[number]
        if states.setdefault(digest, state) != state:
            raise PayloadInvalid(_NAME, "the objects of a content have one state")
        first = first_key_of(algorithm, digest.hex())
        is_shortest &= key != first
        place = Place(backend_id, first if key is None else cast("str", key))
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
    numbers = list(dict.fromkeys(each[3] for each in rows))
    is_shortest &= numbers == list(range(len(set(map(tuple, places))))) and len(numbers) == len(places)
    reason = f"it has at most {OBJECTS_MAX} objects, and each place and key in its shortest form"
    if len(objects) > OBJECTS_MAX:
        raise PayloadInvalid(_NAME, reason)
    require_shortest(_NAME, content, _encoded(algorithm, places, rows) if is_shortest else b"", reason)
    condemned = frozenset(digest for digest, state in states.items() if state == "condemned")
    return ObjectsStored(algorithm, tuple(objects), condemned)


def _judge(payload: ObjectsStored, _stored: "StoredEvent", state: LogState) -> None:
    check_equal("digest algorithm", payload.digest_algorithm, PRIMARY_ALGORITHM)
    needed = {each.digest for each in payload.objects}
    if len(new_objects(payload.objects, state, needed)) != len(payload.objects):
        raise InvalidValue("objects", str(len(payload.objects)), "the log names some of them already, or later ones")
    if not payload.condemned <= unreferenced(payload.objects, state):
        raise InvalidValue("objects", str(len(payload.condemned)), "a package refers to some that are condemned")


def _evolve(payload: ObjectsStored, stored: "StoredEvent", state: LogState) -> None:
    at_us = stored.event.recorded_at_us
    held = {
        "live": PlaceState("intact", stored.sequence),
        "condemned": PlaceState("intact", stored.sequence, "condemned", at_us),
    }
    for each in payload.objects:
        if each.digest not in state.contents:
            content = ContentState(payload.digest_algorithm, each.sha256, each.size_bytes)
            state.contents[each.digest] = content
        state.set_place(each.digest, each.place, held[_state(payload, each.digest)])


def _rows(payload: ObjectsStored, stored: "StoredEvent") -> Iterable[RowOperation]:
    algorithm, at_us, sequence = payload.digest_algorithm, stored.event.recorded_at_us, stored.sequence
    contents: dict[bytes, Row] = {}
    locations: list[Row] = []
    for digest, sha256, size_bytes, (backend_id, key), tier, restore in payload.objects:
        contents[digest] = (digest, algorithm, sha256, size_bytes, 0, sequence)
        since: tuple[Cell, ...] = ("live", "intact", at_us, None, None)
        if digest in payload.condemned:
            since = ("condemned", "intact", at_us, at_us, UPLOADED)
        held = (TIER_NUMBERS[tier], RESTORE_NUMBERS[restore], *since, sequence, sequence)
        locations.append((digest, backend_id, key, *held))
    return (PutIfAbsent(CONTENTS, tuple(contents.values())), Put(LOCATIONS, locations)) if locations else ()


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
