"""Entries of a history, each of which describes one event of the log for people."""

from artifactstore_protocols.event_types import event_type
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.ids import is_id
from artifactstore_protocols.records import HistoryEntry

__all__ = ["history_entry"]


def history_entry(stored: StoredEvent) -> HistoryEntry:
    """Return the entry for an event.

    Raises:
        UnknownEventType: a newer release wrote the event.
    """
    event, payload = stored.event, stored.decode()
    return HistoryEntry(
        sequence=stored.sequence,
        recorded_at_us=event.recorded_at_us,
        principal=event.principal,
        type=event.type,
        subject=event.subject,
        detail=event_type(event.type).describe(payload),
        package_id=event.subject if is_id(event.subject) else getattr(payload, "package_id", None),
    )
