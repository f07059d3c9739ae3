"""Functions for the events that change the states of objects: the codec, checks and rows that they share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, cast

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import RecordValue
from artifactstore_protocols.commands import OBJECTS_MAX
from artifactstore_protocols.entries import Place, check_place
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import Codec, PayloadInvalid, fields_of
from artifactstore_protocols.identity import PRIMARY_ALGORITHM
from artifactstore_protocols.object_keys import parse_key
from artifactstore_protocols.packages import ProjectionDamaged
from artifactstore_protocols.state import LogState, Needs, ObjectState, PlaceState
from artifactstore_protocols.views import LOCATIONS, Cell, RowOperation, Update

__all__ = [
    "PLACES_MAX",
    "check_distinct",
    "check_references",
    "check_state",
    "describe",
    "digest_at",
    "needs",
    "place_updates",
    "places_codec",
    "places_in",
]

PLACES_MAX: Final = 16 * OBJECTS_MAX
"""The maximum number of objects in one event. Each content of a command can have several."""

_PLACE_FIELDS: Final = 2
_SHOWN_CHARACTERS: Final = 80


class _Places(Protocol):
    @property
    def objects(self) -> tuple[Place, ...]: ...


def digest_at(place: Place) -> bytes:
    """Return the primary digest of the content that a place's key belongs to.

    Raises:
        KeyRefused, InvalidValue: the key does not belong to a content.
    """
    address, _generation = parse_key(place.object_key)
    if address.digest.algorithm != PRIMARY_ALGORITHM:
        raise InvalidValue("object key", place.object_key[:_SHOWN_CHARACTERS], f"it begins with {PRIMARY_ALGORITHM!r}")
    return address.digest.raw


def places_codec[P: _Places](
    name: str, make: Callable[..., P], fields: Mapping[str, frozenset[str] | None], *, at_least: int = 1
) -> Codec[P]:
    """Return the codec of a payload that names places and has some texts.

    Args:
        name: the name of the event type.
        make: makes a payload from its fields.
        fields: the names of the texts, each with its allowed values; None allows any printable text.
        at_least: the smallest number of places.
    """
    kinds = {"objects": frozenset({list}), **{field: frozenset({str}) for field in fields}}

    def encode(payload: P) -> bytes:
        texts: dict[str, RecordValue] = {field: getattr(payload, field) for field in fields}
        return canonical.encode_record({"objects": [list[RecordValue](place) for place in payload.objects], **texts})

    def decode(content: bytes) -> P:
        value = fields_of(name, content, cast("Mapping[str, frozenset[type]]", kinds))
        texts = {field: cast("str", value[field]) for field in fields}
        for field, allowed in fields.items():
            if not (0 < len(texts[field]) <= _SHOWN_CHARACTERS and texts[field].isprintable()) or (
                allowed is not None and texts[field] not in allowed
            ):
                raise PayloadInvalid(name, f"it has another {field} than such an event can have")
        return make(objects=places_in(name, cast("list[Any]", value["objects"]), at_least=at_least), **texts)

    return Codec(encode, decode)


def places_in(name: str, value: Sequence[Any], *, at_least: int = 1) -> tuple[Place, ...]:
    """Return the places in a payload, after checking their number and each of them.

    Raises:
        PayloadInvalid: the value is not such a list.
        KeyRefused, InvalidValue: a key does not belong to a content.
    """
    places: list[Place] = []
    for each in value:
        if type(each) is not list or [type(part) for part in cast("list[object]", each)] != [str] * _PLACE_FIELDS:
            raise PayloadInvalid(name, "an object has a backend and a key")
        place = Place(*cast("list[str]", each))
        check_place(*place)
        digest_at(place)
        places.append(place)
    if not at_least <= len(places) <= PLACES_MAX:
        raise PayloadInvalid(name, f"it has {at_least} to {PLACES_MAX} objects")
    return tuple(places)


def needs(payload: _Places) -> Needs:
    """Return the state that a payload of places needs: the contents at the places."""
    return Needs(contents=frozenset(map(digest_at, payload.objects)))


def check_distinct(places: Sequence[Place]) -> None:
    """Reject a sequence of places in which one occurs twice.

    Raises:
        InvalidValue: a place occurs twice.
    """
    if len(set(places)) != len(places):
        raise InvalidValue("objects", str(len(places)), "one of them stands there twice")


def check_state(place: Place, state: LogState, wanted: ObjectState) -> PlaceState:
    """Return the recorded state of an object, after checking that it is the wanted one.

    Raises:
        InvalidValue: the object is in another state, or the log does not name it.
    """
    held = state.places_of(digest_at(place)).get(place)
    if held is None or held.state != wanted:
        named = f"{place.backend_id} {place.object_key}"[:_SHOWN_CHARACTERS]
        raise InvalidValue("object", named, f"it is {'unknown' if held is None else held.state}, and not {wanted}")
    return held


def check_references(digests: Iterable[bytes], state: LogState) -> None:
    """Check that as many entries in the tables refer to each content as the log says.

    Raises:
        ProjectionDamaged: the numbers differ, so a content can look unused although a package refers to it.
    """
    for digest in digests:
        counted, stated = state.references[digest], state.references_to(digest)
        if counted != stated:
            raise ProjectionDamaged(f"content {digest.hex()}", f"in {counted} entries", f"in {stated}, by the log")


def place_updates(places: Iterable[Place], values: Mapping[str, Cell]) -> Iterable[RowOperation]:
    """Yield the operations that set these columns in the rows of some places."""
    for place in places:
        yield Update(LOCATIONS, (digest_at(place), *place), values)


def describe(verb: str, payload: _Places, why: str = "") -> str:
    """Return a one-line description of the event for people."""
    if not payload.objects:
        return f"{verb} no objects{why}"
    backend_id, object_key = payload.objects[0]
    more = f" and {len(payload.objects) - 1} more objects" if len(payload.objects) > 1 else ""
    return f"{verb} {object_key} in {backend_id}{more}{why}"
