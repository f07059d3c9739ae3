"""The durable records of the last backup and the last garbage collection, which `Registry.stats` and the page show.

The records are a help for people. So a store that cannot be written, or that is busy, makes no run fail: the record
then stays as it was.
"""

import logging

from artifactstore.ids import now_us
from artifactstore_protocols.collection import CollectionReport
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.records import BackupReport
from artifactstore_protocols.store_stats import LastRun, RunKind

__all__ = ["note_backup", "note_collection"]

_logger = logging.getLogger("artifactstore.store")


async def note_backup(store: EventStore, report: BackupReport) -> None:
    """Record that a backup is complete."""
    flaws = report.flaws.damaged_objects + report.flaws.missing_objects
    await _note(store, "backup", LastRun(now_us(), report.events, report.objects, flaws))


async def note_collection(store: EventStore, report: CollectionReport) -> None:
    """Record that a garbage collection is complete."""
    head = (await store.probe()).head
    await _note(store, "collection", LastRun(now_us(), head, report.deleted.objects, len(report.failures)))


async def _note(store: EventStore, kind: RunKind, last: LastRun) -> None:
    try:
        store.must_be_writable()
        await store.note_run(kind, last)
    except ArtifactStoreError as error:
        _logger.info("the %s is complete, but not recorded as the last one: %s", kind, error)
