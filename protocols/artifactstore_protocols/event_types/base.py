"""The definition of an event type, and the codec that most payloads share."""

import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from msgspec import Struct

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import CanonicalValue, RecordValue
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.metadata import is_metadata
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = [
    "Codec",
    "EventType",
    "Part",
    "PayloadInvalid",
    "check_equal",
    "fields_of",
    "record_codec",
    "require_shortest",
]

_PAYLOAD_BYTES_MAX = 8 << 20
"""The size limit of every payload except a manifest. Most have less than 100 KB."""

_SHOWN_CHARACTERS = 80


class PayloadInvalid(ArtifactStoreError):
    """A payload breaks a rule of its event type."""

    type: str
    reason: str
    template = "payload of {self.type} is invalid: {self.reason}"


class Codec[P](Struct, frozen=True):
    """Functions that encode a payload to canonical bytes and decode it.

    `decode` raises `PayloadInvalid`, `NotCanonical` or `InvalidValue`.
    """

    encode: Callable[[P], bytes]
    decode: Callable[[bytes], P]


class Part(NamedTuple):
    """A part of a long payload. It can be checked apart from the others, so that only its state is in memory.

    Attributes:
        needs: the state that `check` reads.
        check: checks the part against the state before the event. Raises an `ArtifactStoreError`.
    """

    needs: Needs
    check: Callable[[LogState], None]


@dataclass(frozen=True, slots=True)
class EventType[P]:
    """The definition of one event type.

    Attributes:
        name: the versioned name; a changed meaning is a new type beside the old one.
        codec: encodes and decodes the payload.
        subject: returns what the event is about, such as a package id.
        needs: returns the state that `judge` and `evolve` read.
        check: checks the rules that need no state and that `codec.decode` does not check.
        parts: returns the parts of the payload that `judge` and `needs` leave out.
        judge: checks the event against the state before it, by the rules of the decision that makes such events.
        evolve: applies the event to the state.
        rows: returns the row operations for the projections, from the event alone.
        describe: returns one line for people.
    """

    name: str
    codec: Codec[P]
    subject: Callable[[P], str]
    needs: Callable[[P], Needs]
    judge: Callable[[P, "StoredEvent", LogState], None]
    evolve: Callable[[P, "StoredEvent", LogState], None]
    rows: Callable[[P, "StoredEvent"], Iterable[RowOperation]]
    describe: Callable[[P], str]
    check: Callable[[P, "Event"], None] = lambda _payload, _event: None
    parts: Callable[[P], Iterable[Part]] = lambda _payload: ()


def check_equal(what: str, found: object, expected: object) -> None:
    """Reject a value that differs from the one that the events before imply.

    Raises:
        InvalidValue: the values differ.
    """
    if found != expected:
        raise InvalidValue(what, str(found)[:_SHOWN_CHARACTERS], f"it should be {str(expected)[:_SHOWN_CHARACTERS]!r}")


def fields_of(
    name: str, payload: bytes, kinds: Mapping[str, frozenset[type]], *, proven: bool = True
) -> dict[str, RecordValue]:
    """Return the map in a payload, after checking its keys and the types of its values.

    Args:
        name: the name of the event type.
        payload: canonical CBOR.
        kinds: the allowed types of each key's value.
        proven: False skips the check that the bytes are canonical. The caller then checks each value and calls
            `require_shortest`, which is cheaper for a long payload.

    Raises:
        PayloadInvalid: the payload is not such a map.
        NotCanonical: the bytes are not canonical CBOR.
    """
    if proven:
        value = canonical.decode_record(payload, max_bytes=_PAYLOAD_BYTES_MAX)
    else:
        items_max = canonical.items_allowed(len(payload))
        value = canonical.load(payload, max_bytes=_PAYLOAD_BYTES_MAX, items_max=items_max)
    if not isinstance(value, dict) or value.keys() != kinds.keys():
        raise PayloadInvalid(name, f"expected a map with exactly the keys {', '.join(sorted(kinds))}")
    for key, allowed in kinds.items():
        held = value[key]
        if type(held) not in allowed and not (Mapping in allowed and is_metadata(held)):
            raise PayloadInvalid(name, f"{key} has the wrong type")
    return value


def require_shortest(name: str, payload: bytes, encoded: bytes, reason: str) -> None:
    """Reject a payload that differs from the encoding of its own value.

    Raises:
        NotCanonical: the bytes are not canonical CBOR.
        PayloadInvalid: the bytes are canonical; `reason` says what is not in its shortest form.
    """
    if payload != encoded:
        canonical.decode_record(payload, max_bytes=_PAYLOAD_BYTES_MAX)
        raise PayloadInvalid(name, reason)


def record_codec[P: Struct](name: str, payload: type[P]) -> Codec[P]:
    """Return the codec of a struct of texts, numbers and metadata. The payload is a map of the struct's fields."""
    hints = typing.get_type_hints(payload)
    names = payload.__struct_fields__
    kinds = {field: _kinds_of(hints[field]) for field in names}

    def encode(value: P) -> bytes:
        held: dict[str, Any] = {field: getattr(value, field) for field in names}
        return canonical.encode(
            {
                field: dict(cast("Mapping[str, CanonicalValue]", cell)) if isinstance(cell, Mapping) else cell
                for field, cell in held.items()
            }
        )

    def decode(content: bytes) -> P:
        return payload(**cast("dict[str, Any]", fields_of(name, content, kinds)))

    return Codec(encode, decode)


def _kinds_of(hint: object) -> frozenset[type]:
    """Return the types that a decoded value of a field with this annotation may have; a bool is no int here."""
    if isinstance(hint, typing.TypeAliasType):
        hint = hint.__value__
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return frozenset(cast("type", typing.get_origin(option) or option) for option in options)
