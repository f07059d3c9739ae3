"""Projections as data: which rows an event implies, decided from the event alone.

A projection never reads a table, a clock or a random source. Every operation states absolute values, so that applying
a log twice, in batches of any size, or into another database gives the same rows. Whoever writes rows (live tables,
shadow tables, a dictionary in a test) is a `ViewWriter`.

`coalesce` folds the operations of a batch, so that a thousand files in one package move its version once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, assert_never

import blake3

from artifactstore_protocols import canonical, manifest
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.events import EventRefused, StoredEvent
from artifactstore_protocols.identity import ContentAddress, Digest
from artifactstore_protocols.manifest import ManifestSummary
from artifactstore_protocols.payloads import (
    FileIngested,
    FileReplaced,
    MetadataSchemaRegistered,
    ObjectFlagged,
    ObjectHealed,
    PackageCreated,
    PackageFinalized,
    Payload,
    UnknownEventType,
)

__all__ = [
    "FILES",
    "LOCATIONS",
    "PACKAGES",
    "RETENTION",
    "SCHEMAS",
    "VIEWS",
    "Cell",
    "Put",
    "PutIfAbsent",
    "Row",
    "RowOperation",
    "Update",
    "ViewDigest",
    "ViewTable",
    "ViewWriter",
    "coalesce",
    "project",
]

type Cell = str | int | bytes | None
type Row = Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class ViewTable:
    """A projected table: its key columns, then all its columns, in the order in which they are digested."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]

    def key_of(self, row: Row) -> tuple[Cell, ...]:
        """The key of a row, in key-column order."""
        return tuple(row[column] for column in self.key)


PACKAGES = ViewTable(
    "artifact_packages",
    ("package_id",),
    (
        "package_id",
        "name",
        "status",
        "version",
        "file_count",
        "total_bytes",
        "retention_class",
        "metadata",
        "created_by",
        "created_at",
        "finalized_at",
        "manifest_digest",
        "tree_digest",
        "created_sequence",
        "finalized_sequence",
    ),
)
FILES = ViewTable(
    "artifact_files",
    ("package_id", "path_key"),
    (
        "package_id",
        "path_key",
        "path",
        "size_bytes",
        "executable",
        "media_type",
        "digest_algorithm",
        "digest_primary",
        "digest_sha256",
        "content_address",
        "ingested_at",
        "sequence",
    ),
)
LOCATIONS = ViewTable(
    "storage_locations",
    ("content_address", "backend_id"),
    (
        "content_address",
        "backend_id",
        "object_key",
        "digest_algorithm",
        "digest_primary",
        "digest_sha256",
        "size_bytes",
        "retrieval_tier",
        "restore_status",
        "integrity",
        "stored_at",
        "sequence",
    ),
)
RETENTION = ViewTable(
    "retention_state",
    ("package_id",),
    ("package_id", "retention_class", "duration_us", "status", "retained_from", "expires_at"),
)
SCHEMAS = ViewTable(
    "metadata_schemas",
    ("name", "version"),
    ("name", "version", "schema", "registered_at", "sequence"),
)
VIEWS: tuple[ViewTable, ...] = (PACKAGES, FILES, LOCATIONS, RETENTION, SCHEMAS)


@dataclass(frozen=True, slots=True)
class Put:
    """Write the whole row, whatever was at its key."""

    table: ViewTable
    row: Row


@dataclass(frozen=True, slots=True)
class PutIfAbsent:
    """Write the whole row unless its key is taken: the first one to store an object keeps the location."""

    table: ViewTable
    row: Row


@dataclass(frozen=True, slots=True)
class Update:
    """Set some columns of the row at `key`, if it is there."""

    table: ViewTable
    key: tuple[Cell, ...]
    values: Row


type RowOperation = Put | PutIfAbsent | Update


class ViewWriter(Protocol):
    """Where projected rows go. `apply` gets the operations of a run of events, in log order."""

    async def apply(self, operations: Sequence[RowOperation]) -> None:
        """Write all of them, or raise and have written none that will be kept."""
        ...


def project(stored: StoredEvent, payload: Payload | None = None) -> tuple[RowOperation, ...]:
    """The row operations that an event implies.

    Args:
        stored: the event.
        payload: what its payload decodes to, from a caller who has it already.

    Raises:
        UnknownEventType: a newer release wrote the event; the error names type and sequence.
        EventRefused: the payload is not what its type says.
    """
    try:
        payload = stored.decode() if payload is None else payload
        match payload:
            case PackageCreated():
                return _package_created(stored, payload)
            case FileIngested() | FileReplaced():
                return _file(stored, payload)
            case PackageFinalized():
                return _finalized(stored, payload.summary or manifest.summarize(payload.manifest))
            case MetadataSchemaRegistered():
                return (_schema(stored, payload),)
            case ObjectFlagged():
                return (_integrity(payload.content_address, payload.backend_id, payload.integrity),)
            case ObjectHealed():
                return (_integrity(payload.content_address, payload.backend_id, "intact"),)
            case _:
                assert_never(payload)
    except (EventRefused, UnknownEventType):
        raise
    except ArtifactStoreError as error:
        raise EventRefused(stored.sequence, stored.event.type, str(error)) from error


def _package_created(stored: StoredEvent, created: PackageCreated) -> tuple[RowOperation, ...]:
    package: Row = {
        "package_id": created.package_id,
        "name": created.name,
        "status": "open",
        "version": 1,
        "file_count": 0,
        "total_bytes": 0,
        "retention_class": created.retention_class,
        "metadata": canonical.encode(dict(created.metadata)),
        "created_by": stored.event.actor,
        "created_at": stored.event.recorded_at_us,
        "finalized_at": None,
        "manifest_digest": None,
        "tree_digest": None,
        "created_sequence": stored.sequence,
        "finalized_sequence": None,
    }
    retention: Row = {
        "package_id": created.package_id,
        "retention_class": created.retention_class,
        "duration_us": created.retention_duration_us,
        "status": "open",
        "retained_from": None,
        "expires_at": None,
    }
    return (Put(PACKAGES, package), Put(RETENTION, retention))


def _file(stored: StoredEvent, file: FileIngested | FileReplaced) -> tuple[RowOperation, ...]:
    primary = ContentAddress.parse(file.content_address).digest
    sha256 = ContentAddress.parse(file.sha256).digest
    identity: Row = {
        "digest_algorithm": primary.algorithm,
        "digest_primary": primary.hex,
        "digest_sha256": sha256.hex,
        "content_address": file.content_address,
        "size_bytes": file.size_bytes,
        "sequence": stored.sequence,
    }
    row: Row = {
        **identity,
        "package_id": file.package_id,
        "path_key": file.path_key,
        "path": file.path,
        "executable": int(file.executable),
        "media_type": file.media_type,
        "ingested_at": stored.event.recorded_at_us,
    }
    location: Row = {
        **identity,
        "backend_id": file.backend_id,
        "object_key": file.object_key,
        "retrieval_tier": file.retrieval_tier,
        "restore_status": file.restore_status,
        "integrity": "intact",
        "stored_at": stored.event.recorded_at_us,
    }
    totals: Row = {
        "version": file.package_version,
        "file_count": file.package_files,
        "total_bytes": file.package_bytes,
    }
    return (Put(FILES, row), PutIfAbsent(LOCATIONS, location), Update(PACKAGES, (file.package_id,), totals))


def _finalized(stored: StoredEvent, sealed: ManifestSummary) -> tuple[RowOperation, ...]:
    package: Row = {
        "status": "finalized",
        "finalized_at": sealed.finalized_at_us,
        "manifest_digest": sealed.manifest_digest,
        "tree_digest": sealed.tree_digest,
        "finalized_sequence": stored.sequence,
    }
    retention: Row = {
        "status": "retained",
        "retained_from": sealed.finalized_at_us,
        "expires_at": sealed.expires_at_us,
    }
    key = (sealed.package_id,)
    return (Update(PACKAGES, key, package), Update(RETENTION, key, retention))


def _schema(stored: StoredEvent, registered: MetadataSchemaRegistered) -> RowOperation:
    row: Row = {
        "name": registered.name,
        "version": registered.version,
        "schema": registered.schema.encode(),
        "registered_at": stored.event.recorded_at_us,
        "sequence": stored.sequence,
    }
    return Put(SCHEMAS, row)


def _integrity(content_address: str, backend_id: str, integrity: str) -> RowOperation:
    return Update(LOCATIONS, (content_address, backend_id), {"integrity": integrity})


def coalesce(operations: Iterable[RowOperation]) -> tuple[tuple[RowOperation, ...], ...]:
    """Fold operations on the same key into as few as say the same.

    Returns rounds to be applied one after the other; inside a round every key stands once, so order does not matter
    there. Nearly all is in the first round: only a conditional put beside something else cannot be folded, because
    what it does depends on the table.
    """
    folded: dict[tuple[str, tuple[Cell, ...]], list[RowOperation]] = {}
    for operation in operations:
        key = operation.key if isinstance(operation, Update) else operation.table.key_of(operation.row)
        pending = folded.setdefault((operation.table.name, key), [])
        last = pending[-1] if pending else None
        match last, operation:
            case (_, Put()):
                pending[:] = [operation]
            case (Put() | PutIfAbsent(), PutIfAbsent()):
                pass
            case (Put(), Update()):
                pending[-1] = replace(last, row={**last.row, **operation.values})
            case (Update(), Update()):
                pending[-1] = replace(last, values={**last.values, **operation.values})
            case _:
                pending.append(operation)
    rounds = max((len(pending) for pending in folded.values()), default=0)
    return tuple(tuple(pending[i] for pending in folded.values() if i < len(pending)) for i in range(rounds))


class ViewDigest:
    """One digest over the whole projection, fed row by row.

    BLAKE3 over the canonical CBOR of `[table, cell, …]` for every row: tables in the order of `VIEWS`, rows in the
    bytewise order of their keys, cells in column order. Byte cells enter as byte strings.
    """

    def __init__(self) -> None:
        self._hasher = blake3.blake3()

    def add(self, table: ViewTable, cells: Sequence[Cell]) -> None:
        """Take in one row, its cells in the order of `table.columns`."""
        self._hasher.update(canonical.encode_record([table.name, *cells]))

    def result(self) -> Digest:
        """The digest of all rows so far."""
        return Digest("blake3", self._hasher.hexdigest())
