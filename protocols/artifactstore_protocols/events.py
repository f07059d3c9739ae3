"""Events before and after they have a place in the log, and their canonical records.

The record of an event is canonical CBOR of all its fields except the sequence, with the payload's digest in place of
the payload. So the same event has the same record in every store, records stay small, and digests over records cover
the payloads too. Rows and log files hold a payload beside its record's fields; readers check the payload against the
digest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, cast, override

from blake3 import blake3
from msgspec import Struct
from msgspec.structs import force_setattr

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import NotCanonical, RecordValue
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.event_types import Payload, UnknownEventType, decode_payload
from artifactstore_protocols.identity import PRIMARY_ALGORITHM, ContentAddress
from artifactstore_protocols.ids import check_id
from artifactstore_protocols.manifest import MANIFEST_BYTES_MAX

__all__ = [
    "PAYLOAD_BYTES_MAX",
    "RECORD_BYTES_MAX",
    "SEQUENCE_MAX",
    "CommandStamp",
    "Committed",
    "Event",
    "EventConflict",
    "EventRefused",
    "IdempotencyConflict",
    "PayloadDiffers",
    "RecordInvalid",
    "StoredEvent",
    "check_payload",
    "decode_event",
    "digest_of_payload",
    "encode_record",
    "parse_sequence",
]

PAYLOAD_BYTES_MAX: Final = MANIFEST_BYTES_MAX
"""The maximum bytes of a payload. The largest payloads are manifests."""

RECORD_BYTES_MAX: Final = 1 << 20
"""The maximum bytes of a record. It holds no payload, but names and keys that callers chose."""

SEQUENCE_MAX: Final = 2**63 - 1
"""The largest sequence: databases store it in a signed 64-bit integer."""

_RECORD_VERSION = 1
_RECORD_ITEMS_MAX = 64  # a record has 21; with a few more, the error can name the expected keys
_NULLABLE: Final = frozenset({"command_digest", "idempotency_key"})
_FIELDS: Final[Mapping[str, type]] = {
    "version": int,
    "event_id": str,
    "type": str,
    "subject": str,
    "principal": str,
    "recorded_at_us": int,
    "command_id": str,
    "command_digest": str,
    "idempotency_key": str,
    "payload_digest": str,
}


class EventConflict(ArtifactStoreError):
    """The log already has an event with this id and other content."""

    event_id: str
    sequence: int
    template = (
        "event id {self.event_id} is already in the log at sequence {self.sequence} with other content; "
        "make a new id for a new event"
    )


class EventRefused(ArtifactStoreError):
    """No command could have made this event at its place in the log. Nothing from that log is used.

    Attributes:
        code: the stable name of this error, the same for a database, a log file and a backup.
        sequence: the sequence of the event.
        event_type: the type that the event states.
        reason: the rule that the event breaks.
    """

    code: ClassVar[str] = "event-refused"
    sequence: int
    event_type: str
    reason: str

    @override
    def __str__(self) -> str:
        return (
            f"event {self.sequence} ({self.event_type[:80]}) breaks a rule of the log: {self.reason}; "
            "it was damaged or made by hand, so take another copy of the log or backup"
        )


class IdempotencyConflict(ArtifactStoreError):
    """An idempotency key or a command id was used for another command."""

    key: str
    sequence: int
    template = (
        "idempotency key {self.key!r} was used for another command at sequence {self.sequence}; "
        "repeat that command exactly, or choose a new key"
    )


class PayloadDiffers(ArtifactStoreError):
    """A payload does not match the digest in its event's record. The payload is not used.

    Attributes:
        code: the stable name of this error, the same for a database, a log file and a backup.
        sequence: the sequence of the event.
        event_type: the type of the event.
        recorded: the payload's digest in the record.
        found: the digest of the payload that was read.
        source: the name of the file with the payload; None for a database.
    """

    code: ClassVar[str] = "payload-differs"
    sequence: int
    event_type: str
    recorded: str
    found: str
    source: str | None = None

    @override
    def __str__(self) -> str:
        where, remedy = "", "restore the database from a backup"
        if self.source is not None:
            where, remedy = f" in {self.source}", "take another copy of it"
        return (
            f"the payload of event {self.sequence} ({self.event_type[:80]}){where} was changed: its record names "
            f"{self.recorded[:80]}, and what is there is {self.found}; {remedy}"
        )


class RecordInvalid(ArtifactStoreError):
    """The bytes are not an event record that this release can read."""

    reason: str
    template = "not the record of an event: {self.reason}"


class CommandStamp(Struct, frozen=True):
    """The command that an event came from, so that a repeated command finds its first answer.

    Attributes:
        command_id: a UUIDv7 made by the caller; all events of one command share it.
        digest: the content address of the command's canonical arguments; only on the command's first event.
        idempotency_key: the caller's name for the call; only on the command's first event.
    """

    command_id: str
    digest: str | None = None
    idempotency_key: str | None = None

    def __post_init__(self) -> None:
        check_id("command id", self.command_id)


class Event(Struct, frozen=True):
    """An event that has no sequence yet.

    Attributes:
        event_id: a UUIDv7, unique in the log and derived from the command's id.
        type: the versioned name of the type, such as `v1.files.ingested`.
        subject: what the event is about: a package id, a log id, the name of a metadata schema, or `objects`.
        principal: the principal, as the caller states it.
        recorded_at_us: the time when the writer recorded it, int64 microseconds since the epoch, UTC.
        payload: the payload in canonical CBOR.
        command: the command that it came from.
        payload_digest: the content address of the payload, which stands in the record; computed from `payload`, unless
            the event was redacted.
        redacted_by: the sequence of the event that redacted this one; None for nearly every event. `payload` is then a
            substitute, and `payload_digest` still that of the payload which nobody has any more.
    """

    event_id: str
    type: str
    subject: str
    principal: str
    recorded_at_us: int
    payload: bytes
    command: CommandStamp
    payload_digest: str = ""
    redacted_by: int | None = None

    def __post_init__(self) -> None:
        check_id("event id", self.event_id)
        if self.redacted_by is None:
            force_setattr(self, "payload_digest", digest_of_payload(self.payload))
        else:
            ContentAddress.parse(self.payload_digest)

    @property
    def substitute(self) -> str | None:
        """The content address of the payload that is there in place of a redacted one; None if nothing was redacted."""
        return None if self.redacted_by is None else digest_of_payload(self.payload)

    def same_record(self, other: "Event") -> bool:
        """Return whether two events have the same record, so that they differ at most in what was redacted."""
        return encode_record(self) == encode_record(other)

    def is_redacted_after(self, other: "Event") -> bool:
        """Return whether this event was redacted later than another one with the same record, or only this one was."""
        return (self.redacted_by or 0) > (other.redacted_by or 0)

    def same_content(self, other: "Event") -> bool:
        """Return whether two events have the same type, subject, actor and payload.

        The time of recording is the writer's, so it may differ in a repeated event.
        """
        return (self.type, self.subject, self.principal, self.payload) == (
            other.type,
            other.subject,
            other.principal,
            other.payload,
        )


class StoredEvent(Struct, frozen=True):
    """An event with its sequence in the log: 1, 2, 3 … without a gap."""

    sequence: int
    event: Event

    def decode(self) -> Payload:
        """Return the decoded payload.

        Raises:
            UnknownEventType: this release does not know the type.
            EventRefused: the payload breaks a rule of its type.
        """
        try:
            return decode_payload(self.event.type, self.event.payload)
        except UnknownEventType as unknown:
            raise UnknownEventType(unknown.type, self.sequence) from None
        except ArtifactStoreError as error:
            raise EventRefused(self.sequence, self.event.type, str(error)) from error


@dataclass(frozen=True, slots=True)
class Committed:
    """The events that a command wrote, now or when it was first committed.

    Attributes:
        events: the events in order; empty if the command changed nothing.
        sequence: the sequence of the last event; the head of the log if there is none.
        repeated: whether this is the answer to an earlier call.
        written: the payloads that were encoded into the events; empty in a repeated answer.
    """

    events: tuple[StoredEvent, ...]
    sequence: int
    repeated: bool
    written: tuple[Payload, ...] = field(default=(), repr=False, compare=False)

    def payloads(self) -> Sequence[Payload]:
        """Return the payloads of the events, without decoding any that were just encoded.

        Raises:
            UnknownEventType, EventRefused: see `StoredEvent.decode`.
        """
        return self.written or [stored.decode() for stored in self.events]


def digest_of_payload(payload: bytes) -> str:
    """Return the content address of a payload. For an event that finalizes a package, it is the manifest digest."""
    return f"{PRIMARY_ALGORITHM}:{blake3(payload).hexdigest()}"


def check_payload(
    sequence: int, event_type: str, payload_digest: str, recorded: str, source: str | None = None
) -> None:
    """Check the digest of a payload that was read against the digest in its record.

    Raises:
        PayloadDiffers: the digests differ.
    """
    if payload_digest != recorded:
        raise PayloadDiffers(sequence, event_type, recorded, payload_digest, source)


def encode_record(event: Event) -> bytes:
    """Return the canonical record of an event: a CBOR map of all fields, with the digest in place of the payload.

    The keys are `version` (1), `event_id`, `type`, `subject`, `principal`, `recorded_at_us`, `command_id`,
    `command_digest`, `idempotency_key` and `payload_digest`, sorted bytewise. `version` and `recorded_at_us` are
    integers; all other values are text. `command_digest` and `idempotency_key` may be null.
    """
    record: dict[str, RecordValue] = {
        "version": _RECORD_VERSION,
        "event_id": event.event_id,
        "type": event.type,
        "subject": event.subject,
        "principal": event.principal,
        "recorded_at_us": event.recorded_at_us,
        "command_id": event.command.command_id,
        "command_digest": event.command.digest,
        "idempotency_key": event.command.idempotency_key,
        "payload_digest": event.payload_digest,
    }
    return canonical.encode_record(record)


def decode_event(
    sequence: int, record: bytes, payload: bytes, *, redacted_by: int | None = None, source: str | None = None
) -> StoredEvent:
    """Return the event with a record and a payload. `encode_record` encodes it to the same record.

    The payload is only checked against its digest; `decode_payload` decodes it. The event that redacts another has the
    digest of the substitute, which `admission` compares.

    Args:
        sequence: its sequence in the log.
        record: its canonical record.
        payload: the payload that is stored beside the record.
        redacted_by: the sequence of the event that redacts this one, if the payload is a substitute.
        source: the name of the file with both, for errors.

    Raises:
        RecordInvalid: the bytes are not a record, or have a version that this release does not know.
        PayloadDiffers: the record names another payload.
    """
    try:
        fields = canonical.decode_record(record, max_bytes=RECORD_BYTES_MAX, items_max=_RECORD_ITEMS_MAX)
        if not isinstance(fields, dict) or fields.keys() != _FIELDS.keys():
            raise RecordInvalid(f"expected a map with exactly the keys {', '.join(sorted(_FIELDS))}")
        for name, wanted in _FIELDS.items():
            if type(fields[name]) is not wanted and not (fields[name] is None and name in _NULLABLE):
                raise RecordInvalid(f"{name} has the wrong type")
        if fields["version"] != _RECORD_VERSION:
            raise RecordInvalid(f"version {fields['version']!r} is unknown; a newer artifactstore wrote it")
        text = cast("Mapping[str, str]", fields)
        digest, key = cast("tuple[str | None, str | None]", (fields["command_digest"], fields["idempotency_key"]))
        event = Event(
            event_id=text["event_id"],
            type=text["type"],
            subject=text["subject"],
            principal=text["principal"],
            recorded_at_us=cast("int", fields["recorded_at_us"]),
            payload=payload,
            command=CommandStamp(text["command_id"], digest, key),
            payload_digest="" if redacted_by is None else text["payload_digest"],
            redacted_by=redacted_by,
        )
        if redacted_by is not None and redacted_by <= sequence:
            raise RecordInvalid(f"event {redacted_by}, which is not later, cannot redact it")
    except (NotCanonical, InvalidValue) as error:
        raise RecordInvalid(str(error)) from error
    check_payload(sequence, event.type, event.payload_digest, text["payload_digest"], source)
    return StoredEvent(sequence, event)


def parse_sequence(text: str) -> int | None:
    """Parse a sequence: ASCII digits, from 0 to `SEQUENCE_MAX`; return None for any other text."""
    if not (text.isascii() and text.isdecimal()) or len(text.lstrip("0")) > len(str(SEQUENCE_MAX)):
        return None
    sequence = int(text.lstrip("0") or "0")
    return sequence if sequence <= SEQUENCE_MAX else None
