"""Who did what, and when: the log's events as lines for people."""

from artifactstore_protocols import manifest
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.payloads import (
    FileIngested,
    FileReplaced,
    MetadataSchemaRegistered,
    ObjectFlagged,
    ObjectHealed,
    PackageCreated,
    PackageFinalized,
    Payload,
)
from artifactstore_protocols.records import AuditEntry

__all__ = ["audit_entry"]


def audit_entry(stored: StoredEvent) -> AuditEntry:
    """One event as a line of an audit.

    Raises:
        UnknownEventType: a newer release wrote the event.
    """
    event = stored.event
    return AuditEntry(
        sequence=stored.sequence,
        recorded_at_us=event.recorded_at_us,
        actor=event.actor,
        type=event.type,
        subject=event.subject,
        detail=_detail(stored.decode()),
    )


def _detail(payload: Payload) -> str:
    match payload:
        case PackageCreated():
            return f"created {payload.name!r}, retention {payload.retention_class}"
        case FileIngested():
            return f"added {payload.path!r}, {payload.size_bytes} bytes, {payload.content_address}"
        case FileReplaced():
            return f"replaced {payload.path!r}, {payload.size_bytes} bytes, {payload.content_address}"
        case PackageFinalized():
            return f"finalised, manifest {ContentAddress(manifest.manifest_digest(payload.manifest))}"
        case MetadataSchemaRegistered():
            return f"registered metadata schema {payload.name!r} version {payload.version}"
        case ObjectFlagged():
            return f"found object {payload.integrity} in {payload.backend_id}"
        case ObjectHealed():
            return f"rewrote a flawed object in {payload.backend_id}"
