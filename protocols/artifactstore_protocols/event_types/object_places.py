"""What the events that change the states of objects share: payloads that name places, and counts that must agree."""

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
    "check_counts",
    "check_distinct",
    "check_state",
    "describe",
    "digest_at",
    "needs",
    "place_updates",
    "places_codec",
]

PLACES_MAX: Final = 16 * OBJECTS_MAX
"""Objects in one event: several of each content of a command."""

_PLACE_FIELDS: Final = 2
_SHOWN_CHARACTERS: Final = 80


class _Places(Protocol):
    @property
    def objects(self) -> tuple[Place, ...]: ...


def digest_at(place: Place) -> bytes:
    """Return the primary digest of the content whose key a place has.

    Raises:
        KeyRefused, InvalidValue: it is no key of a content.
    """
    address, _generation = parse_key(place.object_key)
    if address.digest.algorithm != PRIMARY_ALGORITHM:
        raise InvalidValue("object key", place.object_key[:_SHOWN_CHARACTERS], f"it begins with {PRIMARY_ALGORITHM!r}")
    return address.digest.raw


def places_codec[P: _Places](
    name: str, make: Callable[..., P], fields: Mapping[str, frozenset[str] | None]
) -> Codec[P]:
    """Return the codec of a payload that names places, and has some texts.

    Args:
        name: of the event type.
        make: makes a payload of its fields.
        fields: names of the texts, with the values that each may have; None for any printable one.
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
        return make(objects=_places(name, cast("list[Any]", value["objects"])), **texts)

    return Codec(encode, decode)


def _places(name: str, value: Sequence[Any]) -> tuple[Place, ...]:
    places: list[Place] = []
    for each in value:
        if type(each) is not list or [type(part) for part in cast("list[object]", each)] != [str] * _PLACE_FIELDS:
            raise PayloadInvalid(name, "an object has a backend and a key")
        place = Place(*cast("list[str]", each))
        check_place(*place)
        digest_at(place)
        places.append(place)
    if not 0 < len(places) <= PLACES_MAX:
        raise PayloadInvalid(name, f"it has 1 to {PLACES_MAX} objects")
    return tuple(places)


def needs(payload: _Places) -> Needs:
    """Return what the state must hold of the contents of some places."""
    return Needs(contents=frozenset(map(digest_at, payload.objects)))


def check_distinct(places: Sequence[Place]) -> None:
    """Refuse places of which one stands there twice.

    Raises:
        InvalidValue: one does.
    """
    if len(set(places)) != len(places):
        raise InvalidValue("objects", str(len(places)), "one of them stands there twice")


def check_state(place: Place, state: LogState, wanted: ObjectState) -> PlaceState:
    """Return what is known of an object that must be in a state.

    Raises:
        InvalidValue: it is in another one, or the log does not name it.
    """
    held = state.places_of(digest_at(place)).get(place)
    if held is None or held.state != wanted:
        named = f"{place.backend_id} {place.object_key}"[:_SHOWN_CHARACTERS]
        raise InvalidValue("object", named, f"it is {'unknown' if held is None else held.state}, and not {wanted}")
    return held


def check_counts(state: LogState) -> None:
    """Make sure that the entries in the tables are those that the packages' totals count.

    Raises:
        ProjectionDamaged: they are not, so that a content may seem to be in no package, and is in one.
    """
    if state.counts is None:
        raise AssertionError("the command needs counts")
    counted, stated = state.counts
    if counted != stated:
        found, expected = (
            f"{each.files} files of {each.total_bytes} bytes, {each.links} links and {each.directories} directories"
            for each in (counted, stated)
        )
        raise ProjectionDamaged("what the packages hold", found, expected)


def place_updates(places: Iterable[Place], values: Mapping[str, Cell]) -> Iterable[RowOperation]:
    """Return what sets these columns of the rows of some places."""
    for place in places:
        yield Update(LOCATIONS, (digest_at(place), *place), values)


def describe(verb: str, payload: _Places, why: str = "") -> str:
    """Return a line for people."""
    backend_id, object_key = payload.objects[0]
    more = f" and {len(payload.objects) - 1} more objects" if len(payload.objects) > 1 else ""
    return f"{verb} {object_key} in {backend_id}{more}{why}"
