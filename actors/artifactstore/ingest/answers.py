"""Answers made from the events that a command wrote, so that nothing is read back that is known already.

A read costs as much as a small commit, most of it hops between threads. Only a repeated call is answered from the
views, since what it made may have gone on changing.
"""

from typing import cast

from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.payloads import FileIngested, FileReplaced, PackageCreated
from artifactstore_protocols.records import FileRecord, PackageRecord

__all__ = ["created_package", "file_record"]


def created_package(created: StoredEvent) -> PackageRecord:
    """The package as its `v1.package.created` event leaves it: open, empty, at version 1."""
    payload = cast("PackageCreated", created.decode())
    return PackageRecord(
        package_id=payload.package_id,
        name=payload.name,
        status="open",
        version=1,
        files=0,
        bytes=0,
        retention_class=payload.retention_class,
        retention_duration_us=payload.retention_duration_us,
        expires_at_us=None,
        metadata=dict(payload.metadata),
        created_by=created.event.actor,
        created_at_us=created.event.recorded_at_us,
        finalized_at_us=None,
        manifest_digest=None,
        tree_digest=None,
        created_sequence=created.sequence,
        finalized_sequence=None,
    )


def file_record(sequence: int, payload: FileIngested | FileReplaced) -> FileRecord:
    """The file as the event with this sequence leaves it."""
    return FileRecord(
        package_id=payload.package_id,
        path=payload.path,
        size_bytes=payload.size_bytes,
        executable=payload.executable,
        media_type=payload.media_type,
        content_address=payload.content_address,
        sha256=payload.sha256,
        sequence=sequence,
    )
