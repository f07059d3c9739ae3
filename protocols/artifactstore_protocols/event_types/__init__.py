"""The event types that this release knows. Each module defines one type: payload, rules, rows and description.

Type names are versioned: a changed meaning is a new type beside the old one. An unknown type stops a replay with an
error that names it, because guessing would build wrong tables.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, override

from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_types.base import EventType, PayloadInvalid
from artifactstore_protocols.event_types.clock import CLOCK_CONFIRMED, CLOCK_OBSERVED, ClockConfirmed, ClockObserved
from artifactstore_protocols.event_types.command_noted import COMMAND_NOTED, CommandNoted
from artifactstore_protocols.event_types.contents_purged import CONTENTS_PURGED, ContentsPurged
from artifactstore_protocols.event_types.entries_released import ENTRIES_RELEASED, EntriesReleased
from artifactstore_protocols.event_types.files_ingested import FILES_INGESTED, FilesIngested
from artifactstore_protocols.event_types.hold_placed import HOLD_PLACED, HoldPlaced
from artifactstore_protocols.event_types.hold_released import HOLD_RELEASED, HoldReleased
from artifactstore_protocols.event_types.keep_policy_deleted import KEEP_POLICY_DELETED, KeepPolicyDeleted
from artifactstore_protocols.event_types.keep_policy_set import KEEP_POLICY_SET, KeepPolicySet
from artifactstore_protocols.event_types.log_created import LOG_CREATED, LogCreated
from artifactstore_protocols.event_types.objects_condemned import OBJECTS_CONDEMNED, ObjectsCondemned
from artifactstore_protocols.event_types.objects_flagged import (
    OBJECTS_FLAGGED,
    OBJECTS_RESTORED,
    ObjectsFlagged,
    ObjectsRestored,
)
from artifactstore_protocols.event_types.objects_removed import OBJECTS_REMOVED, ObjectsRemoved
from artifactstore_protocols.event_types.objects_reprieved import OBJECTS_REPRIEVED, ObjectsReprieved
from artifactstore_protocols.event_types.objects_retired import OBJECTS_RETIRED, ObjectsRetired
from artifactstore_protocols.event_types.objects_stored import OBJECTS_STORED, ObjectsStored
from artifactstore_protocols.event_types.package_annotated import PACKAGE_ANNOTATED, PackageAnnotated
from artifactstore_protocols.event_types.package_created import PACKAGE_CREATED, PackageCreated
from artifactstore_protocols.event_types.package_deleted import PACKAGE_DELETED, PackageDeleted
from artifactstore_protocols.event_types.package_expired import PACKAGE_EXPIRED, PackageExpired
from artifactstore_protocols.event_types.package_finalized import PACKAGE_FINALIZED, PackageFinalized
from artifactstore_protocols.event_types.payloads_redacted import PAYLOADS_REDACTED, PayloadsRedacted
from artifactstore_protocols.event_types.placing import Totals
from artifactstore_protocols.event_types.retention_changed import RETENTION_CHANGED, RetentionChanged
from artifactstore_protocols.event_types.retention_class_added import RETENTION_CLASS_ADDED, RetentionClassAdded
from artifactstore_protocols.event_types.schema_registered import SCHEMA_REGISTERED, MetadataSchemaRegistered
from artifactstore_protocols.event_types.schema_required import (
    SCHEMA_REQUIREMENT_DELETED,
    SCHEMA_REQUIREMENT_SET,
    SchemaRequirementDeleted,
    SchemaRequirementSet,
)
from artifactstore_protocols.event_types.store_verified import STORE_VERIFIED, StoreVerified
from artifactstore_protocols.event_types.tag_deleted import TAG_DELETED, TagDeleted
from artifactstore_protocols.event_types.tag_set import TAG_SET, TagSet
from artifactstore_protocols.event_types.token_created import TOKEN_CREATED, TokenCreated
from artifactstore_protocols.event_types.token_revoked import TOKEN_REVOKED, TokenRevoked

__all__ = [
    "CLOCK_CONFIRMED",
    "CLOCK_OBSERVED",
    "COMMAND_NOTED",
    "CONTENTS_PURGED",
    "ENTRIES_RELEASED",
    "EVENT_TYPES",
    "FILES_INGESTED",
    "HOLD_PLACED",
    "HOLD_RELEASED",
    "KEEP_POLICY_DELETED",
    "KEEP_POLICY_SET",
    "LOG_CREATED",
    "OBJECTS_CONDEMNED",
    "OBJECTS_FLAGGED",
    "OBJECTS_REMOVED",
    "OBJECTS_REPRIEVED",
    "OBJECTS_RESTORED",
    "OBJECTS_RETIRED",
    "OBJECTS_STORED",
    "PACKAGE_ANNOTATED",
    "PACKAGE_CREATED",
    "PACKAGE_DELETED",
    "PACKAGE_EXPIRED",
    "PACKAGE_FINALIZED",
    "PAYLOADS_REDACTED",
    "RETENTION_CHANGED",
    "RETENTION_CLASS_ADDED",
    "SCHEMA_REGISTERED",
    "SCHEMA_REQUIREMENT_DELETED",
    "SCHEMA_REQUIREMENT_SET",
    "STORE_VERIFIED",
    "TAG_DELETED",
    "TAG_SET",
    "TOKEN_CREATED",
    "TOKEN_REVOKED",
    "ClockConfirmed",
    "ClockObserved",
    "CommandNoted",
    "ContentsPurged",
    "EntriesReleased",
    "EventType",
    "FilesIngested",
    "HoldPlaced",
    "HoldReleased",
    "KeepPolicyDeleted",
    "KeepPolicySet",
    "LogCreated",
    "MetadataSchemaRegistered",
    "ObjectsCondemned",
    "ObjectsFlagged",
    "ObjectsRemoved",
    "ObjectsReprieved",
    "ObjectsRestored",
    "ObjectsRetired",
    "ObjectsStored",
    "PackageAnnotated",
    "PackageCreated",
    "PackageDeleted",
    "PackageExpired",
    "PackageFinalized",
    "Payload",
    "PayloadInvalid",
    "PayloadsRedacted",
    "RetentionChanged",
    "RetentionClassAdded",
    "SchemaRequirementDeleted",
    "SchemaRequirementSet",
    "StoreVerified",
    "TagDeleted",
    "TagSet",
    "TokenCreated",
    "TokenRevoked",
    "Totals",
    "UnknownEventType",
    "decode_payload",
    "encode_payload",
    "event_type",
    "type_of",
]

type Payload = (
    LogCreated
    | PackageCreated
    | ObjectsStored
    | FilesIngested
    | PackageFinalized
    | MetadataSchemaRegistered
    | ObjectsFlagged
    | ObjectsRestored
    | CommandNoted
    | ObjectsCondemned
    | ObjectsReprieved
    | ObjectsRetired
    | ObjectsRemoved
    | TagSet
    | TagDeleted
    | PackageAnnotated
    | StoreVerified
    | RetentionClassAdded
    | KeepPolicySet
    | KeepPolicyDeleted
    | EntriesReleased
    | PackageDeleted
    | PackageExpired
    | HoldPlaced
    | HoldReleased
    | RetentionChanged
    | ClockObserved
    | ClockConfirmed
    | ContentsPurged
    | PayloadsRedacted
    | SchemaRequirementSet
    | SchemaRequirementDeleted
    | TokenCreated
    | TokenRevoked
)

_BY_PAYLOAD: Final[Mapping[type, EventType[Any]]] = MappingProxyType(
    {
        LogCreated: LOG_CREATED,
        PackageCreated: PACKAGE_CREATED,
        ObjectsStored: OBJECTS_STORED,
        FilesIngested: FILES_INGESTED,
        PackageFinalized: PACKAGE_FINALIZED,
        MetadataSchemaRegistered: SCHEMA_REGISTERED,
        ObjectsFlagged: OBJECTS_FLAGGED,
        ObjectsRestored: OBJECTS_RESTORED,
        CommandNoted: COMMAND_NOTED,
        ObjectsCondemned: OBJECTS_CONDEMNED,
        ObjectsReprieved: OBJECTS_REPRIEVED,
        ObjectsRetired: OBJECTS_RETIRED,
        ObjectsRemoved: OBJECTS_REMOVED,
        TagSet: TAG_SET,
        TagDeleted: TAG_DELETED,
        PackageAnnotated: PACKAGE_ANNOTATED,
        StoreVerified: STORE_VERIFIED,
        RetentionClassAdded: RETENTION_CLASS_ADDED,
        KeepPolicySet: KEEP_POLICY_SET,
        KeepPolicyDeleted: KEEP_POLICY_DELETED,
        EntriesReleased: ENTRIES_RELEASED,
        PackageDeleted: PACKAGE_DELETED,
        PackageExpired: PACKAGE_EXPIRED,
        HoldPlaced: HOLD_PLACED,
        HoldReleased: HOLD_RELEASED,
        RetentionChanged: RETENTION_CHANGED,
        ClockObserved: CLOCK_OBSERVED,
        ClockConfirmed: CLOCK_CONFIRMED,
        ContentsPurged: CONTENTS_PURGED,
        PayloadsRedacted: PAYLOADS_REDACTED,
        SchemaRequirementSet: SCHEMA_REQUIREMENT_SET,
        SchemaRequirementDeleted: SCHEMA_REQUIREMENT_DELETED,
        TokenCreated: TOKEN_CREATED,
        TokenRevoked: TOKEN_REVOKED,
    }
)

EVENT_TYPES: Final[Mapping[str, EventType[Any]]] = MappingProxyType({each.name: each for each in _BY_PAYLOAD.values()})
"""Every event type by name."""


class UnknownEventType(ArtifactStoreError):
    """This release does not know an event type, or a version of one, and cannot project it."""

    type: str
    sequence: int | None = None

    @override
    def __str__(self) -> str:
        where = "" if self.sequence is None else f" at sequence {self.sequence}"
        return f"unknown event type {self.type!r}{where}; a newer artifactstore wrote it, so use that release or later"


def event_type(name: str) -> EventType[Any]:
    """Return the event type with this name.

    Raises:
        UnknownEventType: this release does not know it.
    """
    known = EVENT_TYPES.get(name)
    if known is None:
        raise UnknownEventType(name)
    return known


def type_of(payload: Payload) -> EventType[Any]:
    """Return the event type that has this payload."""
    return _BY_PAYLOAD[type(payload)]


def encode_payload(payload: Payload) -> bytes:
    """Return the canonical CBOR of a payload: a map of its fields, or the manifest's own bytes."""
    encoded: bytes = type_of(payload).codec.encode(payload)
    return encoded


def decode_payload(name: str, content: bytes) -> Payload:
    """Decode the payload of an event of the given type. A manifest stays encoded as bytes.

    Raises:
        UnknownEventType: this release does not know the type.
        PayloadInvalid, InvalidValue, PathRefused: the bytes are canonical CBOR, but break a rule of the type.
        NotCanonical: the bytes are not canonical CBOR.
    """
    payload: Payload = event_type(name).codec.decode(content)
    return payload
