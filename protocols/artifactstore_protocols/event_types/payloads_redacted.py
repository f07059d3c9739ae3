"""`v1.payloads.redacted`: texts that must be forgotten were replaced in the payloads of earlier events.

The record of an event commits to the digest of its payload, so a payload can go without breaking the log. In its place
stands a substitute, and this event commits to the digest of the substitute. So every payload of a log is verified,
either by its own record or by the record of the event that redacted it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import Struct

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import RecordValue
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import Codec, EventType, PayloadInvalid, fields_of
from artifactstore_protocols.identity import PRIMARY_ALGORITHM, Digest
from artifactstore_protocols.names import check_name
from artifactstore_protocols.state import LogState, Needs, Redaction
from artifactstore_protocols.views import RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["PAYLOADS_REDACTED", "REDACTED_MAX", "PayloadsRedacted"]

REDACTED_MAX: Final = 1024
"""The maximum number of events that one event redacts."""

_NAME: Final = "v1.payloads.redacted"
_SUBJECT: Final = "log"


class PayloadsRedacted(Struct, frozen=True):
    """Payloads of earlier events were replaced. The subject is `log`.

    Attributes:
        events: the sequence of each event and the primary digest of its substitute, in ascending order.
        reason: the reason that the principal gave.
    """

    events: tuple[tuple[int, bytes], ...]
    reason: str


def _encode(payload: PayloadsRedacted) -> bytes:
    events: list[RecordValue] = [list[RecordValue](each) for each in payload.events]
    return canonical.encode_record({"events": events, "reason": payload.reason})


def _decode(content: bytes) -> PayloadsRedacted:
    value = fields_of(_NAME, content, {"events": frozenset({list}), "reason": frozenset({str})})
    pairs = cast("list[Any]", value["events"])
    if not 0 < len(pairs) <= REDACTED_MAX:
        raise PayloadInvalid(_NAME, f"it redacts 1 to {REDACTED_MAX} events")
    events: list[tuple[int, bytes]] = []
    for pair in pairs:
        if type(pair) is not list or [type(each) for each in cast("list[object]", pair)] != [int, bytes]:
            raise PayloadInvalid(_NAME, "a redacted event has a sequence and a digest")
        sequence, digest = cast("tuple[int, bytes]", tuple(cast("list[object]", pair)))
        Digest(PRIMARY_ALGORITHM, digest.hex())
        if sequence <= (events[-1][0] if events else 0):
            raise PayloadInvalid(_NAME, "the redacted events stand in ascending order")
        events.append((sequence, digest))
    return PayloadsRedacted(tuple(events), cast("str", value["reason"]))


def _check(payload: PayloadsRedacted, _event: "Event") -> None:
    check_name("reason", payload.reason)


def _judge(payload: PayloadsRedacted, stored: "StoredEvent", state: LogState) -> None:
    """Check that exactly the events that say that this one redacts them are named, each with its substitute.

    A later event may have redacted one of them again; that event then commits to what is there.
    """
    named = {sequence: f"{PRIMARY_ALGORITHM}:{digest.hex()}" for sequence, digest in payload.events}
    for sequence, substitute in named.items():
        found = state.redactions.get(sequence)
        if found is None or sequence >= stored.sequence:
            reason = "it still has its payload; if this is a backup, run the backup again"
            raise InvalidValue("redacted event", str(sequence), reason)
        if found.redacted_by <= stored.sequence and found != Redaction(stored.sequence, substitute):
            raise InvalidValue("redacted event", str(sequence), "its substitute is another one")
    for sequence, found in state.redactions.items():
        if found.redacted_by == stored.sequence and sequence not in named:
            raise InvalidValue("redacted event", str(sequence), "this event does not redact it")


def _evolve(_payload: PayloadsRedacted, _stored: "StoredEvent", _state: LogState) -> None:
    """Change nothing: the earlier events have their substitutes from the beginning."""


def _rows(_payload: PayloadsRedacted, _stored: "StoredEvent") -> Iterable[RowOperation]:
    return ()


PAYLOADS_REDACTED: Final = EventType(
    name=_NAME,
    codec=Codec(_encode, _decode),
    subject=lambda _payload: _SUBJECT,
    needs=lambda _payload: Needs(),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: f"redacted {len(payload.events)} earlier events: {payload.reason}",
)
