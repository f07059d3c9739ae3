"""Audit entries, each of which describes one event of the log for people."""

from artifactstore_protocols.event_types import event_type
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.records import AuditEntry

__all__ = ["audit_entry"]


def audit_entry(stored: StoredEvent) -> AuditEntry:
    """Return the audit entry of an event.

    Raises:
        UnknownEventType: a newer release wrote the event.
    """
    event = stored.event
    return AuditEntry(
        sequence=stored.sequence,
        recorded_at_us=event.recorded_at_us,
        principal=event.principal,
        type=event.type,
        subject=event.subject,
        detail=event_type(event.type).describe(stored.decode()),
    )
