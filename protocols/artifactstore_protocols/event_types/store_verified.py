"""`v1.store.verified`: a verification has read a range of the objects that were due."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, cast

from msgspec import Struct

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import RecordValue
from artifactstore_protocols.commands import RecordVerification
from artifactstore_protocols.entries import Place
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import Codec, EventType, PayloadInvalid, fields_of
from artifactstore_protocols.event_types.object_places import digest_at
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.verification import DueKey, Sample, VerifiedKey
from artifactstore_protocols.views import MarkVerified, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import StoredEvent

__all__ = ["STORE_VERIFIED", "VERIFICATION", "StoreVerified", "record_verification", "verification_needs"]

VERIFICATION: Final = "verification"
"""The subject of the events that say what was verified."""

_NAME: Final = "v1.store.verified"
_NUMBERS: Final = ("as_of", "share_ppm", "seed", "objects", "bytes", "damaged", "missing")
_FIELDS: Final = {
    **dict.fromkeys(_NUMBERS, frozenset({int})),
    "first": frozenset({list}),
    "last": frozenset({list}),
}


class StoreVerified(Struct, frozen=True):
    """A verification has read every object of a range that was due, or those of a sample.

    The subject is `verification`.

    The range is in the order of verification: by the event that stored the object or verified it before, then by
    digest, backend and key. It holds only objects that are live or condemned. What was newly found is in the
    `v1.objects.flagged` and `v1.objects.restored` before this event.

    Attributes:
        as_of: the head of the log when the verification began. No object of the range was stored after it.
        first: the first object: its event, and its backend and key.
        last: the last object, likewise.
        share_ppm: the share of the sample, in parts per million; 1,000,000 if every object was read.
        seed: the seed of the sample; 0 if every object was read.
        objects: the number of objects that were read, at most 2,048.
        bytes: their total size.
        damaged: how many of them are damaged.
        missing: how many of them are missing.
    """

    as_of: int
    first: VerifiedKey
    last: VerifiedKey
    share_ppm: int
    seed: int
    objects: int
    bytes: int
    damaged: int
    missing: int


def record_verification(command: RecordVerification, state: LogState) -> StoreVerified:
    """Return the payload that records a verified range.

    Raises:
        InvalidValue: the log contradicts it; see `verification_needs`.
    """
    payload = StoreVerified(
        command.as_of,
        command.first,
        command.last,
        command.sample.share_ppm,
        command.sample.seed,
        command.objects,
        command.bytes,
        command.damaged,
        command.missing,
    )
    _check_counts(payload, state)
    return payload


def verification_needs(first: VerifiedKey, last: VerifiedKey) -> Needs:
    """Return the state that tells whether a range can have been verified: its ends, and the totals of the store."""
    return Needs(contents=frozenset(digest_at(key.place) for key in (first, last)))


def _check_counts(payload: StoreVerified, state: LogState) -> None:
    """Refuse a range whose ends the log does not know, and counts of more than it ever stored.

    What was retired since the verification began counts, too.
    """
    for key in (payload.first, payload.last):
        if key.place not in state.places_of(digest_at(key.place)):
            raise InvalidValue("range", key.place.object_key[:80], "the log names no such object")
    totals = state.totals
    for what, count, most in (
        ("objects", payload.objects, totals.objects + totals.retired),
        ("bytes", payload.bytes, totals.object_bytes + totals.retired_bytes),
    ):
        if count > most:
            raise InvalidValue("verification", f"{count} {what}", f"the store had at most {most} so far")


def _command(payload: StoreVerified) -> RecordVerification:
    return RecordVerification(
        payload.as_of,
        payload.first,
        payload.last,
        Sample(payload.share_ppm, payload.seed),
        payload.objects,
        payload.bytes,
        payload.damaged,
        payload.missing,
    )


def _encode(payload: StoreVerified) -> bytes:
    numbers: dict[str, RecordValue] = {name: getattr(payload, name) for name in _NUMBERS}
    keys: dict[str, RecordValue] = {
        name: [key.sequence, *key.place] for name, key in (("first", payload.first), ("last", payload.last))
    }
    return canonical.encode_record(numbers | keys)


def _decode(content: bytes) -> StoreVerified:
    value = fields_of(_NAME, content, _FIELDS)
    numbers = {name: cast("int", value[name]) for name in _NUMBERS}
    payload = StoreVerified(first=_key(value["first"]), last=_key(value["last"]), **numbers)
    _command(payload)
    return payload


def _key(value: object) -> VerifiedKey:
    each = cast("list[object]", value)
    if [type(part) for part in each] != [int, str, str]:
        raise PayloadInvalid(_NAME, "an object is a sequence, a backend and a key")
    sequence, backend_id, object_key = each
    return VerifiedKey(cast("int", sequence), Place(cast("str", backend_id), cast("str", object_key)))


def _row_key(key: VerifiedKey) -> DueKey:
    return key.sequence, digest_at(key.place), key.place.backend_id, key.place.object_key


def _rows(payload: StoreVerified, stored: "StoredEvent") -> Iterable[RowOperation]:
    if payload.as_of >= stored.sequence:
        raise InvalidValue("as_of", str(payload.as_of), "a verification begins after an event before this one")
    first, last = _row_key(payload.first), _row_key(payload.last)
    if first > last:
        raise InvalidValue("range", str(first[0]), "its first object comes after its last one")
    yield MarkVerified(first, last, Sample(payload.share_ppm, payload.seed).arcs, stored.sequence)


def _judge(payload: StoreVerified, stored: "StoredEvent", state: LogState) -> None:
    tuple(_rows(payload, stored))
    _check_counts(payload, state)


def _evolve(_payload: StoreVerified, _stored: "StoredEvent", _state: LogState) -> None:
    """Change nothing: no decision depends on when an object was verified."""


def _describe(payload: StoreVerified) -> str:
    found = [f"{count} {what}" for what in ("damaged", "missing") if (count := getattr(payload, what))]
    return f"verified {payload.objects} objects, {payload.bytes} bytes" + (f": {', '.join(found)}" if found else "")


STORE_VERIFIED: Final = EventType(
    name=_NAME,
    codec=Codec(_encode, _decode),
    subject=lambda _payload: VERIFICATION,
    needs=lambda payload: verification_needs(payload.first, payload.last),
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=_describe,
)
