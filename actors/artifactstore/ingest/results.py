"""Results of commands, built from the events that the commands wrote instead of a read from the views.

A read costs as much as a small commit, mostly for thread hops. Only a repeated call reads the views, since its package
or file may have changed after the first call.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

from artifactstore.ingest.scan import Scan
from artifactstore_protocols.entries import Entry
from artifactstore_protocols.event_types import FILES_INGESTED, FilesIngested, PackageCreated
from artifactstore_protocols.events import Committed
from artifactstore_protocols.identity import PRIMARY_ALGORITHM
from artifactstore_protocols.metadata import (
    METADATA_BYTES_MAX,
    METADATA_KEYS_MAX,
    UNREADABLE,
    Metadata,
    MetadataValue,
    metadata_bytes,
)
from artifactstore_protocols.paths import tree_order
from artifactstore_protocols.records import FileRecord, IngestPreview, PackageRecord, PreviewedEntry

__all__ = [
    "created_package",
    "entries_sequence",
    "file_record",
    "files_written",
    "preview_of",
    "unreadable_note",
]

_NOTE_BYTES: Final = 16_000
_FRAME_BYTES: Final = 200
_HEAD_BYTES: Final = 5
"""The bytes of a note's paths, of what stands around them, and of what stands before each path, at most."""

_PATH_CHARACTERS: Final = 1000


def created_package(committed: Committed) -> PackageRecord:
    """Return the package right after the event that creates it: open, empty, at version 1."""
    [created], [payload] = committed.events, cast("Sequence[PackageCreated]", committed.payloads())
    return PackageRecord(
        package_id=payload.package_id,
        name=payload.name,
        status="open",
        version=1,
        files=0,
        links=0,
        directories=0,
        bytes=0,
        retention_class=payload.retention_class,
        retention_duration_us=payload.retention_duration_us,
        expires_at_us=None,
        metadata=dict(payload.metadata),
        created_by=created.event.principal,
        created_at_us=created.event.recorded_at_us,
        finalized_at_us=None,
        manifest_digest=None,
        tree_digest=None,
        created_sequence=created.sequence,
        finalized_sequence=None,
        schema=payload.schema,
        parents=dict(payload.parents),
    )


def file_record(package_id: str, sequence: int, entry: Entry, sha256: bytes) -> FileRecord:
    """Return the file right after the event with this sequence; `sha256` is the digest of its content."""
    return FileRecord(
        package_id=package_id,
        path=entry.path,
        kind=entry.kind,
        size_bytes=entry.size_bytes,
        executable=entry.executable,
        media_type=entry.media_type,
        content_address=f"{PRIMARY_ALGORITHM}:{entry.digest.hex()}",
        sha256=f"sha256:{sha256.hex()}",
        target=entry.target,
        sequence=sequence,
    )


def entries_sequence(committed: Committed) -> int:
    """Return the sequence of the event that put a command's entries into their package; 0 if no entry was new."""
    written = (stored.sequence for stored in committed.events if stored.event.type == FILES_INGESTED.name)
    return next(written, 0)


def files_written(committed: Committed) -> int:
    """Return the number of files that a command put into its package."""
    return sum(
        entry.kind == "file"
        for payload in committed.payloads()
        if isinstance(payload, FilesIngested)
        for entry in payload.entries
    )


def preview_of(scan: Scan) -> IngestPreview:
    """Return what an ingest of a scan would store, in the order of the package."""
    entries = [
        *(PreviewedEntry(file.path, "file", file.size_bytes) for file in scan.files),
        *(PreviewedEntry(path, "link", 0) for path, _target in scan.links),
        *(PreviewedEntry(path, "directory", 0) for path in scan.directories),
    ]
    entries.sort(key=lambda entry: tree_order(entry.path))
    return IngestPreview(
        entries=tuple(entries),
        files=len(scan.files),
        links=len(scan.links),
        directories=len(scan.directories),
        bytes=sum(file.size_bytes for file in scan.files),
        excluded=scan.excluded,
        unreadable=scan.unreadable,
    )


def unreadable_note(unreadable: Sequence[str], present: Iterable[str], before: Metadata) -> Metadata:
    """Return the annotation `UNREADABLE` after an ingest into a package; an empty map for none.

    Args:
        unreadable: the paths that this ingest left out. A byte of a name that is not UTF-8 is shown as an escape.
        present: the paths that it stored, which are not missing any more.
        before: all annotations of the package before. An earlier note that is none of ours is replaced.
    """
    count, names = _noted(before.get(UNREADABLE))
    here = set(present) if names else set[str]()
    every = {*(name for name in names if name not in here)}
    every |= {path.encode(errors="backslashreplace").decode()[:_PATH_CHARACTERS] for path in unreadable}
    if not every:
        return {}
    others = {key: value for key, value in before.items() if key != UNREADABLE}
    room = min(_NOTE_BYTES, METADATA_BYTES_MAX - len(metadata_bytes(others)) - _FRAME_BYTES)
    if room < 0 or len(others) == METADATA_KEYS_MAX:
        return {}  # the caller's annotations leave no room; the answer of the ingest has the paths
    shown: list[MetadataValue] = []
    for path in sorted(every):
        room -= len(path.encode()) + _HEAD_BYTES
        if room < 0:
            break
        shown.append(path)
    return {UNREADABLE: {"count": max(len(every), count if unreadable else 0), "paths": shown}}


def _noted(value: MetadataValue | None) -> tuple[int, list[str]]:
    """Return the count and the paths of an earlier note; nothing if a user wrote something else there."""
    if not isinstance(value, Mapping):
        return 0, []
    count, paths = value.get("count"), value.get("paths")
    if type(count) is not int or not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        return 0, []
    return count, cast("list[str]", paths)
