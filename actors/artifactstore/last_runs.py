"""The durable record of the last backup and the last verification, which `Registry.stats` and the page show.

The record is a help for people. So a store that cannot be written, or that is busy, does not make a backup or a
verification fail: the record then stays as it was.
"""

import logging

from artifactstore.ids import now_us
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.records import BackupReport, VerifyReport
from artifactstore_protocols.store_stats import LastRun, RunKind

__all__ = ["note_backup", "note_verification"]

_logger = logging.getLogger("artifactstore.store")


async def note_backup(store: EventStore, report: BackupReport) -> None:
    """Record that a backup is complete."""
    flaws = report.flaws.damaged_objects + report.flaws.missing_objects
    await _note(store, "backup", LastRun(now_us(), report.events, report.objects, flaws))


async def note_verification(store: EventStore, report: VerifyReport, *, sequence: int) -> None:
    """Record that a verification of the whole store is complete.

    Args:
        store: the store.
        report: the result.
        sequence: the head of the log when the verification began.
    """
    found = (report.mismatches, report.missing, report.unreadable, report.manifest_mismatches, report.row_flaws)
    await _note(store, "verification", LastRun(now_us(), sequence, report.objects, sum(map(len, found))))


async def _note(store: EventStore, kind: RunKind, last: LastRun) -> None:
    try:
        store.must_be_writable()
        await store.note_run(kind, last)
    except ArtifactStoreError as error:
        _logger.info("the %s is complete, but not recorded as the last one: %s", kind, error)
