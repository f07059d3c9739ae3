"""The pages of the log: the latest events, kept up to date while the page is open, and the history of one package."""

from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta

from artifactstore.environment import in_thread
from artifactstore.history import history_entry
from artifactstore.http.api.events import events_seen
from artifactstore.http.api.model import Answer, Call, FreshQuery
from artifactstore.http.api.pages.html import page
from artifactstore.registry import event_store
from artifactstore_protocols.event_types import UnknownEventType
from artifactstore_protocols.events import SEQUENCE_MAX, StoredEvent
from artifactstore_protocols.records import HistoryEntry

__all__ = ["HISTORY_TEMPLATE", "PATH", "WINDOW", "HistoryQuery", "LogQuery", "show_history", "show_log"]

PATH: Final = "/log"
HISTORY_TEMPLATE: Final = "/packages/{package}/history"

WINDOW: Final = 200
"""The number of events that a page looks at. It shows those that the token may see."""


class LogQuery(FreshQuery, frozen=True, forbid_unknown_fields=True):
    """Which part of the log to show."""

    before: Annotated[
        int, Meta(ge=0, le=SEQUENCE_MAX, description="Events before this sequence; 0 for the latest ones.")
    ] = 0


class HistoryQuery(FreshQuery, frozen=True, forbid_unknown_fields=True):
    """Which part of the history of a package to show."""

    after: Annotated[int, Meta(ge=0, le=SEQUENCE_MAX, description="Events after this sequence.")] = 0


async def show_log(call: Call, query: LogQuery) -> Answer:
    """Answer with a part of the log, the latest event first."""
    store = event_store(call.registry)
    head = await store.wait_for_growth(0)
    end = min(query.before or head + 1, head + 1)
    first = max(0, end - 1 - WINDOW)
    found: list[StoredEvent] = []
    at = first
    while at < end - 1 and (events := await store.read_events(after=at, limit=end - 1 - at)):
        found += await events_seen(call, events)
        at = events[-1].sequence
    rows = await in_thread(lambda: _rows(found))
    older = f"{PATH}?before={first + 1}" if first else None
    return await page("log.html", rows=rows[::-1], since=head, is_latest=not query.before, older=older)


async def show_history(call: Call, query: HistoryQuery) -> Answer:
    """Answer with a part of the history of a package, the first event first."""
    package = call.package
    events = await event_store(call.registry).read_events(after=query.after, limit=WINDOW, subject=package.package_id)
    rows = await in_thread(lambda: _rows(events))
    here = f"/packages/{package.package_id}/history"
    # A page can be short because its events are large, so only an empty page is surely the last one.
    later = f"{here}?after={events[-1].sequence}" if events else None
    return await page("history.html", package=package, rows=rows, first=here if query.after else None, later=later)


def _rows(events: Sequence[StoredEvent]) -> list[HistoryEntry]:
    rows: list[HistoryEntry] = []
    for stored in events:
        try:
            rows.append(history_entry(stored))
        except UnknownEventType as unknown:
            event = stored.event
            of = stored.sequence, event.recorded_at_us, event.principal, event.type, event.subject
            rows.append(HistoryEntry(*of, detail=str(unknown)))
    return rows
