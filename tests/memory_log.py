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
from artifactstore_protocols.manifest import FileEntry, Manifest, ManifestPackage, ManifestReceipt, Producer
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.packages import Draft, Facts, FileState, PackageState, decide
from artifactstore_protocols.paths import ancestors
from artifactstore_protocols.payloads import encode_payload
from artifactstore_protocols.views import (
    CONTENTS,
    FILES,
    LOCATIONS,
    PACKAGES,
    RETENTION,
    SCHEMAS,
    VIEWS,
    NamedCells,
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
        self.tables: dict[ViewTable, dict[Row, NamedCells]] = {table: {} for table in tables}

    def apply(self, operations: Iterable[RowOperation]) -> None:
        """Write them one by one, in the order in which they stand."""
        for operation in operations:
            table = self.tables[operation.table]
            match operation:
                case Put(view, rows) | PutIfAbsent(view, rows):
                    for row in rows:
                        named = dict(zip(view.columns, row, strict=True))
                        key = tuple(named[name] for name in view.key)
                        if isinstance(operation, Put) or key not in table:
                            table[key] = named
                case Update(view, key, values):
                    assert values.keys() <= set(view.columns) - set(view.key)
                    if key in table:
                        table[key] = {**table[key], **values}

    def rows(self, view: ViewTable) -> list[NamedCells]:
        """All rows in key order; text that is valid sorts as its UTF-8 does."""
        by_key = cast("dict[tuple[str, ...], NamedCells]", self.tables[view])
        return [by_key[key] for key in sorted(by_key)]

    def digest(self) -> Digest:
        """The digest over all rows of all views."""
        digest = ViewDigest()
        for view in VIEWS:
            digest.add([[view.name, *(row[column] for column in view.columns)] for row in self.rows(view)])
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
            primary, sha256, size_bytes = self._content(row)
            facts.files[package_id, key] = FileState(
                _path(row),
                size_bytes,
                bool(row["executable"]),
                _text(row, "media_type"),
                str(ContentAddress(primary)),
                str(ContentAddress(sha256)),
            )
            for above in ancestors(key):
                facts.directories.setdefault((package_id, above), _path(row))
        for row in self.rows(SCHEMAS):
            facts.schema_versions[_text(row, "name")] = _number(row, "version")
        return facts

    def _content(self, row: NamedCells) -> tuple[Digest, Digest, int]:
        """Both digests and the size of what a row refers to."""
        content = self.tables[CONTENTS][row["digest_primary"],]
        primary = Digest(_text(content, "digest_algorithm"), _octets(content, "digest_primary").hex())
        return primary, Digest("sha256", _octets(content, "digest_sha256").hex()), _number(content, "size_bytes")

    def file_entry(self, row: NamedCells) -> FileEntry:
        """A row of files as a manifest lists it."""
        primary, sha256, size_bytes = self._content(row)
        executable, media_type = bool(row["executable"]), _text(row, "media_type")
        return FileEntry("file", _path(row), executable, size_bytes, media_type, primary.raw, sha256.raw)

    def manifest_receipt(self, row: NamedCells) -> ManifestReceipt:
        """A row of locations as a manifest lists it."""
        return ManifestReceipt(_octets(row, "digest_primary"), _text(row, "backend_id"), _text(row, "object_key"))


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
        key = (found.content_address.digest.raw, found.backend_id, first_key(found.content_address))
        return key in self.views.tables[LOCATIONS]

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
        stored = {row["digest_primary"] for row in files}
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
            entries=[self.views.file_entry(row) for row in files],
            storage_receipts=[
                self.views.manifest_receipt(row)
                for row in self.views.rows(LOCATIONS)
                if row["digest_primary"] in stored
            ],
            retention_class=_text(package, "retention_class"),
            retention_duration_us=duration_us,
            producer=Producer("artifactstore", "0.1.0"),
            actor="ci",
        )


def _path(row: NamedCells) -> str:
    return _text(row, "path_key" if row["path"] is None else "path")


def _text(row: NamedCells, column: str) -> str:
    cell = row[column]
    assert isinstance(cell, str)
    return cell


def _number(row: NamedCells, column: str) -> int:
    cell = row[column]
    assert isinstance(cell, int)
    return cell


def _octets(row: NamedCells, column: str) -> bytes:
    cell = row[column]
    assert isinstance(cell, bytes)
    return cell
