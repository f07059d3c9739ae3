"""A whole store in memory: decisions, a log and views, without a database. What tests compare replays with.

`MemoryViews` is the meaning of row operations, one by one and as plainly as can be; nothing of it is shared with the
code under test.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import cast

from artifactstore_protocols import manifest
from artifactstore_protocols.canonical import decode
from artifactstore_protocols.commands import (
    Command,
    CondemnObjects,
    FinalizePackage,
    IngestFiles,
    RegisterMetadataSchema,
    RemoveObjects,
    ReplaceObjects,
    RetireObjects,
)
from artifactstore_protocols.entries import Entry, Place, directory_entry, file_entry, link_entry
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_types import type_of
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.identity import Digest
from artifactstore_protocols.judging import decide, project
from artifactstore_protocols.manifest import (
    DirectoryEntry,
    FileEntry,
    LinkEntry,
    Manifest,
    ManifestPackage,
    ManifestReceipt,
    Producer,
)
from artifactstore_protocols.paths import ancestors
from artifactstore_protocols.state import ContentState, EntryCounts, LogState, ObjectState, PackageState, PlaceState
from artifactstore_protocols.views import (
    CONTENTS,
    FILES,
    KIND_DIRECTORY,
    KIND_FILE,
    KIND_LINK,
    LOCATIONS,
    PACKAGES,
    RETENTION,
    SCHEMAS,
    VIEWS,
    Delete,
    NamedCells,
    Put,
    PutIfAbsent,
    Row,
    RowOperation,
    Update,
    ViewDigest,
    ViewTable,
)
from command_strategies import (
    Condemn,
    Create,
    Finalize,
    Find,
    Ingest,
    Register,
    Remove,
    Replace,
    Retire,
    Step,
    created,
    found,
    package_id_of,
    place_of,
    stored_events,
    stored_object,
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
                case Delete(_view, keys):
                    for key in keys:
                        table.pop(key, None)
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
            rows = self.rows(view)
            digest.add([[row[column] for column in view.columns] for row in rows])
            digest.end(view, len(rows))
        return digest.result()

    def state(self) -> LogState:
        """All that is true, as the writer would load it."""
        state = LogState()
        for row in self.rows(PACKAGES):
            state.packages[_text(row, "package_id")] = PackageState(
                package_id=_text(row, "package_id"),
                number=_number(row, "created_sequence"),
                name=_text(row, "name"),
                retention_class=_text(row, "retention_class"),
                metadata=_octets(row, "metadata"),
                created_at_us=_number(row, "created_at"),
                finalized=row["status"] == "finalized",
                version=_number(row, "version"),
                files=_number(row, "file_count"),
                links=_number(row, "link_count"),
                directories=_number(row, "directory_count"),
                total_bytes=_number(row, "total_bytes"),
            )
        numbered = {package.number: package for package in state.packages.values()}
        for row in self.rows(FILES):
            package, key = numbered[_number(row, "package_number")], _text(row, "path_key")
            if not package.finalized:  # a sealed one takes no more
                package.entries[key] = self._entry(row)
                for above in ancestors(key):
                    package.below.setdefault(above, _path(row))
        for row in self.rows(CONTENTS):
            content = _text(row, "digest_algorithm"), _octets(row, "digest_sha256"), _number(row, "size_bytes")
            state.contents[_octets(row, "digest_primary")] = ContentState(*content)
        for row in self.rows(LOCATIONS):
            place = Place(_text(row, "backend_id"), _text(row, "object_key"))
            status = PlaceState(_text(row, "integrity"), _number(row, "sequence"), cast("ObjectState", row["state"]))
            state.set_place(_octets(row, "digest_primary"), place, status)
        for row in self.rows(SCHEMAS):
            state.schema_versions[_text(row, "name")] = _number(row, "version")
        for row in self.rows(FILES):
            if row["kind"] == KIND_FILE:
                digest = _octets(row, "digest_primary")
                state.references[digest] = state.references.get(digest, 0) + 1
        state.counts = self.counts()
        return state

    def counts(self) -> tuple[EntryCounts, EntryCounts]:
        """All entries: counted, and as the packages' totals state them."""
        kinds = Counter(row["kind"] for row in self.rows(FILES))
        sizes = (self._content(row)[2] for row in self.rows(FILES) if row["kind"] == KIND_FILE)
        columns = ("file_count", "link_count", "directory_count", "total_bytes")
        stated = (sum(_number(row, column) for row in self.rows(PACKAGES)) for column in columns)
        return EntryCounts(kinds[KIND_FILE], kinds[KIND_LINK], kinds[KIND_DIRECTORY], sum(sizes)), EntryCounts(*stated)

    def _entry(self, row: NamedCells) -> Entry:
        if row["kind"] == KIND_LINK:
            return link_entry(_path(row), _text(row, "link_target"))
        if row["kind"] == KIND_DIRECTORY:
            return directory_entry(_path(row))
        executable, digest = bool(row["executable"]), _octets(row, "digest_primary")
        return file_entry(_path(row), executable, _text(row, "media_type"), self._content(row)[2], digest)

    def _content(self, row: NamedCells) -> tuple[Digest, Digest, int]:
        """Both digests and the size of what a row refers to."""
        content = self.tables[CONTENTS][row["digest_primary"],]
        primary = Digest(_text(content, "digest_algorithm"), _octets(content, "digest_primary").hex())
        return primary, Digest("sha256", _octets(content, "digest_sha256").hex()), _number(content, "size_bytes")

    def manifest_entry(self, row: NamedCells) -> manifest.Entry:
        """A row of files as a manifest lists it."""
        if row["kind"] == KIND_LINK:
            return LinkEntry("link", _path(row), _text(row, "link_target"))
        return DirectoryEntry("directory", _path(row)) if row["kind"] == KIND_DIRECTORY else self.file_entry(row)

    def file_entry(self, row: NamedCells) -> FileEntry:
        """A row of a file as a manifest lists it."""
        primary, sha256, size_bytes = self._content(row)
        executable, media_type = bool(row["executable"]), _text(row, "media_type")
        return FileEntry("file", _path(row), executable, size_bytes, media_type, primary.raw, sha256.raw)

    def manifest_receipt(self, row: NamedCells) -> ManifestReceipt:
        """A row of locations as a manifest lists it."""
        return ManifestReceipt(_octets(row, "digest_primary"), _text(row, "backend_id"), _text(row, "object_key"))


class MemoryLog:
    """Judges steps one after the other, and keeps state, log and views as a writer does.

    Its clock reads 1,000,001 for the first command that writes events, one more for the next.
    """

    def __init__(self) -> None:
        self.state = LogState(counts=(EntryCounts(), EntryCounts()))
        self.events: list[StoredEvent] = []
        self.views = MemoryViews()
        self._now_us = 1_000_000

    def ask(self, step: Step) -> ArtifactStoreError | None:
        """Try a step; returns why it was refused."""
        return self.commit(self.command(step))

    def commit(self, command: Command) -> ArtifactStoreError | None:
        """Try a command; returns why it was refused."""
        try:
            payloads = decide(command, self.state, entries_max=FILES_PER_PACKAGE_MAX)
        except ArtifactStoreError as refusal:
            return refusal
        self._now_us += bool(payloads)
        events = stored_events(payloads, after=len(self.events), at_us=self._now_us)
        for stored, payload in zip(events, payloads, strict=True):
            type_of(payload).evolve(payload, stored, self.state)
            self.events.append(stored)
            self.views.apply(project(stored, payload))
        self.state.counts = self.views.counts()
        return None

    def command(self, step: Step) -> Command:
        """The command that the step is now."""
        match step:
            case Create():
                return created(step.package, retention_class=step.retention_class, metadata=step.metadata)
            case Ingest():
                files = [file.ingested() for file in step.files]
                entries, stored = tuple(file.entry for file in files), tuple(file.stored for file in files)
                return IngestFiles(package_id_of(step.package), entries, stored, step.on_existing)
            case Finalize():
                return self.finalize(package_id_of(step.package), late=step.late)
            case Register():
                return RegisterMetadataSchema(step.name, '{"type":"object"}')
            case Find():
                return found(*step.objects, as_of=len(self.events))
            case Condemn():
                return CondemnObjects(tuple(stored_object(each).digest for each in step.contents), "unreferenced")
            case Retire():
                return RetireObjects(tuple(place_of(*each) for each in step.objects), step.cause)
            case Remove():
                return RemoveObjects(tuple(place_of(*each) for each in step.objects))
            case Replace():
                return ReplaceObjects(tuple(stored_object(*each) for each in step.objects))

    def finalize(self, package_id: str, *, late: bool = False) -> FinalizePackage:
        """The command that seals a package, if there is one, as it stands in the views."""
        package = self.state.packages.get(package_id)
        if package is None:
            return FinalizePackage(package_id, 0, b"")
        sealed = self.manifest(package_id)
        payload = manifest.encode(sealed)
        summary = manifest.summarize(payload, sealed)
        return FinalizePackage(package_id, package.version + late, payload, summary)

    def manifest(self, package_id: str) -> Manifest:
        """What sealing would write: made from the views alone."""
        package = self.views.tables[PACKAGES][(package_id,)]
        retention = self.views.tables[RETENTION][(package_id,)]
        files = [row for row in self.views.rows(FILES) if row["package_number"] == package["created_sequence"]]
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
            entries=[self.views.manifest_entry(row) for row in files],
            storage_receipts=[
                self.views.manifest_receipt(row)
                for row in self.views.rows(LOCATIONS)
                if row["digest_primary"] in stored and row["state"] in {"live", "condemned"}
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
