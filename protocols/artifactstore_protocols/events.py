"""Events: what they hold before and after they have a place in the log, and their canonical record.

The record of an event is canonical CBOR of all its fields but its position, with the payload's digest in place of the
payload. So the same event is the same bytes in every store, a record is small whatever it tells of, and digests over
records commit to payloads too. Rows and log files hold a payload beside its record's fields; whoever reads them holds
the payload against the digest.
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
from artifactstore_protocols.identity import PRIMARY_ALGORITHM
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
"""The largest payload: a sealed manifest of the largest size."""

RECORD_BYTES_MAX: Final = 1 << 20
"""The largest record: it holds no payload, but names and keys that callers chose."""

SEQUENCE_MAX: Final = 2**63 - 1
"""The largest sequence: databases keep it in a signed 64-bit integer."""

_RECORD_VERSION = 1
_RECORD_ITEMS_MAX = 64  # it has 21; one with some more is told by what it has
_NULLABLE: Final = frozenset({"command_digest", "idempotency_key"})
_FIELDS: Final[Mapping[str, type]] = {
    "version": int,
    "event_id": str,
    "type": str,
    "subject": str,
    "actor": str,
    "recorded_at_us": int,
    "command_id": str,
    "command_digest": str,
    "idempotency_key": str,
    "payload_digest": str,
}


@dataclass(eq=False)
class EventConflict(ArtifactStoreError):
    """An event id that is in the log already, with other content."""

    event_id: str
    sequence: int
    template = (
        "event id {self.event_id} is already in the log at sequence {self.sequence} with other content; "
        "make a new id for a new event"
    )


@dataclass(eq=False)
class EventRefused(ArtifactStoreError):
    """An event that no command could have made at its place in the log; nothing is taken from that log.

    Attributes:
        code: stable name of this refusal, the same for a database, a log file and a backup.
        sequence: its place.
        event_type: what it says that it is.
        reason: the rule that it breaks.
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


@dataclass(eq=False)
class IdempotencyConflict(ArtifactStoreError):
    """An idempotency key, or a command id, that was used for another command."""

    key: str
    sequence: int
    template = (
        "idempotency key {self.key!r} was used for another command at sequence {self.sequence}; "
        "repeat that command exactly, or choose a new key"
    )


@dataclass(eq=False)
class PayloadDiffers(ArtifactStoreError):
    """A payload that is not the one that its event's record names; nothing of it is used.

    Attributes:
        code: stable name of this refusal, the same for a database, a log file and a backup.
        sequence: of the event.
        event_type: its type.
        recorded: the payload's digest by the record.
        found: the digest of the payload that is there.
        source: what the file is called that it was read from; None for a database.
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


@dataclass(eq=False)
class RecordInvalid(ArtifactStoreError):
    """Bytes that are not the record of any event that this release knows how to read."""

    reason: str
    template = "not the record of an event: {self.reason}"


class CommandStamp(Struct, frozen=True):
    """Which command an event came from, so that a repeated command finds its first answer.

    Attributes:
        command_id: UUIDv7 that the caller made; all events of one command share it.
        digest: content address of the command's canonical arguments; on the command's first event only.
        idempotency_key: what the caller gave to be able to ask again; on the command's first event only.
    """

    command_id: str
    digest: str | None = None
    idempotency_key: str | None = None

    def __post_init__(self) -> None:
        check_id("command id", self.command_id)


class Event(Struct, frozen=True):
    """An event that does not have its position yet.

    Attributes:
        event_id: UUIDv7, unique in the log; it follows from the command's id.
        type: versioned name, such as `v1.files.ingested`.
        subject: what it is about: a package id, or a content address.
        actor: who did it, as the caller says.
        recorded_at_us: when the writer recorded it, int64 microseconds since the epoch, UTC.
        payload: canonical CBOR, made once.
        command: where it came from.
        payload_digest: content address of the payload, which the record holds in its place; it is computed.
    """

    event_id: str
    type: str
    subject: str
    actor: str
    recorded_at_us: int
    payload: bytes
    command: CommandStamp
    payload_digest: str = ""

    def __post_init__(self) -> None:
        check_id("event id", self.event_id)
        force_setattr(self, "payload_digest", digest_of_payload(self.payload))

    def same_content(self, other: "Event") -> bool:
        """Whether both say the same. The time of recording is the writer's, so a repeat may differ in it."""
        return (self.type, self.subject, self.actor, self.payload) == (
            other.type,
            other.subject,
            other.actor,
            other.payload,
        )


class StoredEvent(Struct, frozen=True):
    """An event with its place in the log: 1, 2, 3 … without a gap."""

    sequence: int
    event: Event

    def decode(self) -> Payload:
        """The payload as a value.

        Raises:
            UnknownEventType: this release does not know the type.
            EventRefused: the payload is not what its type says.
        """
        try:
            return decode_payload(self.event.type, self.event.payload)
        except UnknownEventType as unknown:
            raise UnknownEventType(unknown.type, self.sequence) from None
        except ArtifactStoreError as error:
            raise EventRefused(self.sequence, self.event.type, str(error)) from error


@dataclass(frozen=True, slots=True)
class Committed:
    """What a command wrote, now or the first time it was asked.

    Attributes:
        events: in order; empty where what was asked for was true already.
        sequence: the last of them; the head of the log where there is none.
        repeated: whether this is the answer to an earlier call.
        written: the values that the payloads were encoded from, where it is the first answer.
    """

    events: tuple[StoredEvent, ...]
    sequence: int
    repeated: bool
    written: tuple[Payload, ...] = field(default=(), repr=False, compare=False)

    def payloads(self) -> Sequence[Payload]:
        """The payloads of the events; nothing that was just encoded is decoded.

        Raises:
            UnknownEventType, EventRefused: as `StoredEvent.decode`.
        """
        return self.written or [stored.decode() for stored in self.events]


def digest_of_payload(payload: bytes) -> str:
    """Return the content address of a payload; that of a finalizing event is the manifest's digest."""
    return f"{PRIMARY_ALGORITHM}:{blake3(payload).hexdigest()}"


def check_payload(
    sequence: int, event_type: str, payload_digest: str, recorded: str, source: str | None = None
) -> None:
    """Hold the digest of a payload that was read against the one that its record names.

    Raises:
        PayloadDiffers: it is another payload.
    """
    if payload_digest != recorded:
        raise PayloadDiffers(sequence, event_type, recorded, payload_digest, source)


def encode_record(event: Event) -> bytes:
    """The canonical record: CBOR map of every field but the position, with the payload's digest for the payload.

    Layout: `{version: 1, event_id, type, subject, actor, recorded_at_us, command_id, command_digest,
    idempotency_key, payload_digest}`, keys sorted bytewise; text but for the two integers and the nullable last fields
    of the command.
    """
    record: dict[str, RecordValue] = {
        "version": _RECORD_VERSION,
        "event_id": event.event_id,
        "type": event.type,
        "subject": event.subject,
        "actor": event.actor,
        "recorded_at_us": event.recorded_at_us,
        "command_id": event.command.command_id,
        "command_digest": event.command.digest,
        "idempotency_key": event.command.idempotency_key,
        "payload_digest": event.payload_digest,
    }
    return canonical.encode_record(record)


def decode_event(sequence: int, record: bytes, payload: bytes, *, source: str | None = None) -> StoredEvent:
    """The event that a record and the payload beside it are; `encode_record` makes the same record of it again.

    The payload is only held against its digest; `decode_payload` reads it.

    Args:
        sequence: its place in the log.
        record: its canonical record.
        payload: what stands beside the record.
        source: what errors call the file that both come from.

    Raises:
        RecordInvalid: it is not a record, or one of a version that this release does not know.
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
            actor=text["actor"],
            recorded_at_us=cast("int", fields["recorded_at_us"]),
            payload=payload,
            command=CommandStamp(text["command_id"], digest, key),
        )
    except (NotCanonical, InvalidValue) as error:
        raise RecordInvalid(str(error)) from error
    check_payload(sequence, event.type, event.payload_digest, text["payload_digest"], source)
    return StoredEvent(sequence, event)


def parse_sequence(text: str) -> int | None:
    """Return the sequence that a text is: ASCII digits, from 0 to `SEQUENCE_MAX`; None for anything else."""
    if not (text.isascii() and text.isdecimal()) or len(text.lstrip("0")) > len(str(SEQUENCE_MAX)):
        return None
    sequence = int(text.lstrip("0") or "0")
    return sequence if sequence <= SEQUENCE_MAX else None
