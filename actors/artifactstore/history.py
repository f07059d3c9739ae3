"""Entries of a history, each of which describes one event of the log for people."""

from artifactstore_protocols.event_types import PACKAGE_FINALIZED, Payload, event_type
from artifactstore_protocols.events import Event, StoredEvent
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
        detail=_detail(event, payload),
        package_id=event.subject if is_id(event.subject) else getattr(payload, "package_id", None),
    )


def _detail(event: Event, payload: Payload) -> str:
    detail = event_type(event.type).describe(payload)
    if event.redacted_by is None:
        return detail
    if event.type == PACKAGE_FINALIZED.name:
        detail = f"finalized, manifest {event.payload_digest}"
    return f"{detail} (redacted by event {event.redacted_by})"
