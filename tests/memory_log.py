"""A whole store in memory: decisions, a log and views, without a database. What tests compare replays with.

`MemoryViews` is the meaning of row operations, one by one and as plainly as can be; nothing of it is shared with the
code under test.
"""

from collections.abc import Iterable, Sequence
from typing import cast

from artifactstore_protocols import manifest
from artifactstore_protocols.canonical import decode
from artifactstore_protocols.commands import (
    Command,
    FinalizePackage,
    FlagObject,
    FlagObjects,
    IngestFiles,
    RegisterMetadataSchema,
)
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.events import CommandStamp, Event, StoredEvent
from artifactstore_protocols.identity import ContentAddress, Digest
from artifactstore_protocols.manifest import Manifest, ManifestFile, ManifestPackage, ManifestReceipt, Producer
from artifactstore_protocols.packages import Draft, Facts, FileState, PackageState, decide
from artifactstore_protocols.paths import ancestors
from artifactstore_protocols.payloads import encode_payload
from artifactstore_protocols.views import (
    FILES,
    LOCATIONS,
    PACKAGES,
    RETENTION,
    SCHEMAS,
    VIEWS,
    Cell,
    Put,
    PutIfAbsent,
    Row,
    RowOperation,
    Update,
    ViewDigest,
    ViewTable,
    project,
)
from command_strategies import (
    Create,
    Finalize,
    Flag,
    Ids,
    Ingest,
    Register,
    Step,
    created,
    flag,
    ingested,
    package_id_of,
)

__all__ = ["FILES_PER_PACKAGE_MAX", "MemoryLog", "MemoryViews"]

FILES_PER_PACKAGE_MAX = 3


class MemoryViews:
    """Tables as dictionaries, by key; holds every operation to what a database would hold it to."""

    def __init__(self, tables: Sequence[ViewTable] = VIEWS) -> None:
        self.tables: dict[ViewTable, dict[tuple[Cell, ...], Row]] = {table: {} for table in tables}

    def apply(self, operations: Iterable[RowOperation]) -> None:
        """Write them one by one, in the order in which they stand."""
        for operation in operations:
            table = self.tables[operation.table]
            match operation:
                case Put(view, row) | PutIfAbsent(view, row):
                    assert sorted(row) == sorted(view.columns)
                    key = view.key_of(row)
                    if isinstance(operation, Put) or key not in table:
                        table[key] = dict(row)
                case Update(view, key, values):
                    assert set(values) <= set(view.columns) - set(view.key)
                    if key in table:
                        table[key] = {**table[key], **values}

    def rows(self, view: ViewTable) -> list[Row]:
        """All rows in key order; text that is valid sorts as its UTF-8 does."""
        by_key = cast("dict[tuple[str, ...], Row]", self.tables[view])
        return [by_key[key] for key in sorted(by_key)]

    def digest(self) -> Digest:
        """The digest over all rows of all views."""
        digest = ViewDigest()
        for view in VIEWS:
            for row in self.rows(view):
                digest.add(view, [row[column] for column in view.columns])
        return digest.result()

    def facts(self) -> Facts:
        """All that is true, as the writer would load it."""
        facts = Facts()
        for row in self.rows(PACKAGES):
            package_id = _text(row, "package_id")
            numbers = [_number(row, name) for name in ("version", "file_count", "total_bytes")]
            facts.packages[package_id] = PackageState(package_id, row["status"] == "finalized", *numbers)
        for row in self.rows(FILES):
            package_id, key = _text(row, "package_id"), _text(row, "path_key")
            facts.files[package_id, key] = FileState(
                _text(row, "path"),
                _number(row, "size_bytes"),
                bool(row["executable"]),
                _text(row, "media_type"),
                _text(row, "content_address"),
                f"sha256:{_text(row, 'digest_sha256')}",
            )
            for above in ancestors(key):
                facts.directories.setdefault((package_id, above), _text(row, "path"))
        for row in self.rows(SCHEMAS):
            facts.schema_versions[_text(row, "name")] = _number(row, "version")
        return facts


class MemoryLog:
    """Judges steps one after the other, and keeps facts, log and views as a writer does."""

    def __init__(self) -> None:
        self.facts = Facts()
        self.events: list[StoredEvent] = []
        self.views = MemoryViews()
        self._ids = Ids()

    def ask(self, step: Step) -> ArtifactStoreError | None:
        """Try a step; returns why it was refused."""
        return self.commit(self.command(step))

    def commit(self, command: Command) -> ArtifactStoreError | None:
        """Try a command; returns why it was refused."""
        facts = self.facts.copy()
        try:
            drafts = decide(command, facts, files_per_package_max=FILES_PER_PACKAGE_MAX)
        except ArtifactStoreError as refusal:
            return refusal
        self.facts = facts
        stamp = CommandStamp(self._ids())
        for draft in drafts:
            stored = self._stored(draft, stamp)
            self.events.append(stored)
            self.views.apply(project(stored, draft.payload))
        return None

    def _stored(self, draft: Draft, stamp: CommandStamp) -> StoredEvent:
        sequence = len(self.events) + 1
        payload = encode_payload(draft.payload)
        event = Event(draft.event_id, draft.payload.TYPE, draft.subject, "ci", 1_000_000 + sequence, payload, stamp)
        return StoredEvent(sequence, event)

    def command(self, step: Step) -> Command:
        """The command that the step is now."""
        ids = self._ids
        match step:
            case Create():
                return created(step.package, retention_class=step.retention_class, metadata=step.metadata, ids=ids)
            case Ingest():
                files = tuple(
                    ingested(file.path, file.content, executable=file.executable, outcome=file.outcome, ids=ids)
                    for file in step.files
                )
                return IngestFiles(package_id_of(step.package), files, step.on_existing)
            case Finalize():
                return self.finalize(package_id_of(step.package), late=step.late)
            case Register():
                return RegisterMetadataSchema(ids(), step.name, '{"type":"object"}')
            case Flag():
                found = [flag(content, integrity, ids=ids) for content, integrity in step.objects]
                return FlagObjects(tuple(one for one in found if self._is_stored(one)))

    def _is_stored(self, found: FlagObject) -> bool:
        return (str(found.content_address), found.backend_id) in self.views.tables[LOCATIONS]

    def finalize(self, package_id: str, *, late: bool = False) -> FinalizePackage:
        """The command that seals a package, if there is one, as it stands in the views."""
        package = self.facts.packages.get(package_id)
        if package is None:
            return FinalizePackage(self._ids(), package_id, 0, b"")
        sealed = self.manifest(package_id)
        payload = manifest.encode(sealed)
        summary = manifest.summarize(payload, sealed)
        return FinalizePackage(self._ids(), package_id, package.version + late, payload, summary)

    def manifest(self, package_id: str) -> Manifest:
        """What sealing would write: made from the views alone."""
        package = self.views.tables[PACKAGES][(package_id,)]
        retention = self.views.tables[RETENTION][(package_id,)]
        files = [row for row in self.views.rows(FILES) if row["package_id"] == package_id]
        stored = {row["content_address"] for row in files}
        metadata = package["metadata"]
        assert isinstance(metadata, bytes)
        labels = decode(metadata)
        assert isinstance(labels, dict)
        duration_us = retention["duration_us"]
        assert duration_us is None or isinstance(duration_us, int)
        return Manifest.build(
            package=ManifestPackage(
                package_id,
                _text(package, "name"),
                _number(package, "created_at"),
                1_000_000 + len(self.events),
                {key: str(value) for key, value in labels.items()},
            ),
            files=[_manifest_file(row) for row in files],
            storage_receipts=[
                _manifest_receipt(row) for row in self.views.rows(LOCATIONS) if row["content_address"] in stored
            ],
            retention_class=_text(package, "retention_class"),
            retention_duration_us=duration_us,
            producer=Producer("artifactstore", "0.1.0"),
            actor="ci",
        )


def _manifest_file(row: Row) -> ManifestFile:
    return ManifestFile(
        _text(row, "path"),
        _number(row, "size_bytes"),
        bool(row["executable"]),
        _text(row, "media_type"),
        Digest(_text(row, "digest_algorithm"), _text(row, "digest_primary")),
        Digest("sha256", _text(row, "digest_sha256")),
    )


def _manifest_receipt(row: Row) -> ManifestReceipt:
    address = ContentAddress.parse(_text(row, "content_address"))
    return ManifestReceipt(address, _text(row, "backend_id"), _text(row, "object_key"), _number(row, "size_bytes"))


def _text(row: Row, column: str) -> str:
    cell = row[column]
    assert isinstance(cell, str)
    return cell


def _number(row: Row, column: str) -> int:
    cell = row[column]
    assert isinstance(cell, int)
    return cell
