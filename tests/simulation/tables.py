"""Log and views in memory: what is committed, and the questions that an event store answers from it.

Rows are what `views.project` says, applied as `views.coalesce` folds them. Every answer is given at one instant, so it
is one snapshot.
"""

from collections import Counter
from collections.abc import Iterable
from typing import cast

from artifactstore_protocols import canonical
from artifactstore_protocols.admission import admit, examine
from artifactstore_protocols.entries import Entry, Place, directory_entry, file_entry, link_entry
from artifactstore_protocols.event_store import Location
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.identity import ContentAddress, Digest
from artifactstore_protocols.object_keys import latest_key, next_key
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.paths import ancestors, tree_order
from artifactstore_protocols.records import FileRecord, MetadataSchema, PackageRecord
from artifactstore_protocols.state import (
    ContentState,
    EntryCounts,
    LogState,
    Needs,
    ObjectState,
    PackageState,
    PlaceState,
)
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
    coalesce,
)

__all__ = ["Tables"]


class Tables:
    """The views, as dictionaries by key."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[Row, NamedCells]] = {view.name: {} for view in VIEWS}

    @classmethod
    def built_from(cls, events: Iterable[StoredEvent]) -> "Tables":
        """The views that a log implies, if every event of it may stand where it does."""
        built, state = cls(), LogState()
        built.apply(operation for stored in events for operation in admit(examine(stored), state))
        return built

    def apply(self, operations: Iterable[RowOperation]) -> None:
        """Write what some events imply, in their order."""
        for operation in coalesce(operations):
            view = operation.table
            rows = self._rows[view.name]
            match operation:
                case Put():
                    rows.update((view.key_of(row), view.named(row)) for row in operation.rows)
                case PutIfAbsent():
                    for row in operation.rows:
                        rows.setdefault(view.key_of(row), view.named(row))
                case Delete():
                    for key in operation.keys:
                        rows.pop(key, None)
                case Update():
                    if operation.key in rows:
                        rows[operation.key] = {**rows[operation.key], **operation.values}

    def rows(self, view: ViewTable) -> list[NamedCells]:
        """All rows of a view, in key order; a column of a key has cells of one type."""
        return [
            row for _, row in sorted(self._rows[view.name].items(), key=lambda item: cast("tuple[str, ...]", item[0]))
        ]

    def digest(self) -> Digest:
        """The digest over all rows."""
        digest = ViewDigest()
        for view in VIEWS:
            rows = self.rows(view)
            digest.add([[row[column] for column in view.columns] for row in rows])
            digest.end(view, len(rows))
        return digest.result()

    def differences(self, other: "Tables") -> int:
        """How many rows one of the two does not have like the other."""
        mine, theirs = self._rows, other._rows
        return sum(
            mine[name].get(key) != theirs[name].get(key) for name in mine for key in {*mine[name], *theirs[name]}
        )

    def state(self, needs: Needs) -> LogState:
        """What commands and events need to know."""
        state = LogState()
        for package_id in needs.packages | needs.whole:
            if (row := self._rows[PACKAGES.name].get((package_id,))) is not None:
                state.packages[package_id] = self._package_state(row)
        numbered = {package.number: package for package in state.packages.values()}
        for (number, key), row in self._rows[FILES.name].items():
            package = numbered.get(cast("int", number))
            if package is not None:
                package.entries[str(key)] = self._entry(row)
                for above in ancestors(str(key)):
                    package.below.setdefault(above, _path(row))
        for row in self.rows(CONTENTS):
            content = _text(row, "digest_algorithm"), _octets(row, "digest_sha256"), _number(row, "size_bytes")
            state.contents[_octets(row, "digest_primary")] = ContentState(*content)
        for row in self.rows(LOCATIONS):
            place = Place(_text(row, "backend_id"), _text(row, "object_key"))
            found = PlaceState(_text(row, "integrity"), _number(row, "sequence"), cast("ObjectState", row["state"]))
            state.set_place(_octets(row, "digest_primary"), place, found)
        for name, version in self._rows[SCHEMAS.name]:
            state.schema_versions[str(name)] = max(state.schema_versions.get(str(name), 0), cast("int", version))
        for row in self.rows(FILES):
            if row["kind"] == KIND_FILE:
                digest = _octets(row, "digest_primary")
                state.references[digest] = state.references.get(digest, 0) + 1
        state.counts = self.counts()
        return state

    def counts(self) -> tuple[EntryCounts, EntryCounts]:
        """All entries: counted, and as the packages' totals state them."""
        kinds = Counter(row["kind"] for row in self.rows(FILES))
        sizes = (_number(self._content(row), "size_bytes") for row in self.rows(FILES) if row["kind"] == KIND_FILE)
        columns = ("file_count", "link_count", "directory_count", "total_bytes")
        stated = (sum(_number(row, column) for row in self.rows(PACKAGES)) for column in columns)
        return EntryCounts(kinds[KIND_FILE], kinds[KIND_LINK], kinds[KIND_DIRECTORY], sum(sizes)), EntryCounts(*stated)

    def _package_state(self, row: NamedCells) -> PackageState:
        return PackageState(
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

    def _entry(self, row: NamedCells) -> Entry:
        if row["kind"] == KIND_LINK:
            return link_entry(_path(row), _text(row, "link_target"))
        if row["kind"] == KIND_DIRECTORY:
            return directory_entry(_path(row))
        size_bytes = _number(self._content(row), "size_bytes")
        executable, digest = bool(row["executable"]), _octets(row, "digest_primary")
        return file_entry(_path(row), executable, _text(row, "media_type"), size_bytes, digest)

    def package(self, package_id: str) -> PackageRecord:
        """See `EventStore.package`."""
        row = self._rows[PACKAGES.name].get((package_id,))
        if row is None:
            raise PackageNotFound(package_id)
        return self._package(row)

    def packages(self) -> list[PackageRecord]:
        """Every package, in order of creation."""
        found = [self._package(row) for row in self._rows[PACKAGES.name].values()]
        return sorted(found, key=lambda record: record.created_sequence)

    def _package(self, row: NamedCells) -> PackageRecord:
        retention = self._rows[RETENTION.name][row["package_id"],]
        return PackageRecord(
            package_id=_text(row, "package_id"),
            name=_text(row, "name"),
            status="open" if row["status"] == "open" else "finalized",
            version=_number(row, "version"),
            files=_number(row, "file_count"),
            links=_number(row, "link_count"),
            directories=_number(row, "directory_count"),
            bytes=_number(row, "total_bytes"),
            retention_class=_text(row, "retention_class"),
            retention_duration_us=cast("int | None", retention["duration_us"]),
            expires_at_us=cast("int | None", retention["expires_at"]),
            metadata=cast("dict[str, str]", canonical.decode(cast("bytes", row["metadata"]))),
            created_by=_text(row, "created_by"),
            created_at_us=_number(row, "created_at"),
            finalized_at_us=cast("int | None", row["finalized_at"]),
            manifest_digest=cast("str | None", row["manifest_digest"]),
            tree_digest=cast("str | None", row["tree_digest"]),
            created_sequence=_number(row, "created_sequence"),
            finalized_sequence=cast("int | None", row["finalized_sequence"]),
        )

    def file(self, package_id: str, path_key: str) -> FileRecord | None:
        """See `EventStore.file`."""
        row = self._rows[FILES.name].get((self.package(package_id).created_sequence, path_key))
        return None if row is None else self._file(row)

    def files(self, package_id: str) -> list[FileRecord]:
        """See `EventStore.files`."""
        self.package(package_id)
        return self._files_in(package_id)

    def _files_in(self, package_id: str) -> list[FileRecord]:
        return [file for file in self.all_files() if file.package_id == package_id]

    def all_files(self) -> list[FileRecord]:
        """Every entry of every package."""
        rows = sorted(self.rows(FILES), key=lambda row: (row["package_number"], tree_order(_text(row, "path_key"))))
        return [self._file(row) for row in rows]

    def _file(self, row: NamedCells) -> FileRecord:
        entry = self._entry(row)
        content = self._content(row) if entry.kind == "file" else None
        return FileRecord(
            package_id=self._owner(row),
            path=entry.path,
            kind=entry.kind,
            size_bytes=entry.size_bytes,
            executable=entry.executable,
            media_type=entry.media_type,
            content_address="" if content is None else _address(content),
            sha256="" if content is None else f"sha256:{_octets(content, 'digest_sha256').hex()}",
            target=entry.target,
            sequence=_number(row, "sequence"),
        )

    def _owner(self, row: NamedCells) -> str:
        """The id of the package that an entry is in."""
        packages = self._rows[PACKAGES.name].values()
        return next(_text(each, "package_id") for each in packages if each["created_sequence"] == row["package_number"])

    def _content(self, row: NamedCells) -> NamedCells:
        """The content that a row refers to."""
        return self._rows[CONTENTS.name][row["digest_primary"],]

    def locations(self, package_id: str | None) -> list[Location]:
        """The objects of one package, or of all, in order of content address."""
        wanted = {row["digest_primary"] for row in self.rows(FILES) if self._owner(row) == package_id}
        return [
            _location(row, self._content(row))
            for row in self._current()
            if package_id is None or row["digest_primary"] in wanted
        ]

    def flagged(self) -> dict[ContentAddress, Place]:
        """See `EventStore.flagged_objects`."""
        found: dict[ContentAddress, Place] = {}
        for row in self._current():
            if row["integrity"] != "intact":
                keys = [
                    _text(each, "object_key")
                    for each in self._rows[LOCATIONS.name].values()
                    if each["digest_primary"] == row["digest_primary"]
                ]
                address = ContentAddress.parse(_address(self._content(row)))
                found[address] = Place(_text(row, "backend_id"), next_key(latest_key(keys)))
        return found

    def _current(self) -> list[NamedCells]:
        """The rows of live and condemned objects."""
        return [row for row in self.rows(LOCATIONS) if row["state"] in {"live", "condemned"}]

    def flagged_counts(self) -> dict[str, int]:
        """See `EventStore.flagged_counts`."""
        problems = Counter(_text(row, "integrity") for row in self._current())
        del problems["intact"]
        return dict(problems)

    def deduplicated_bytes(self, package_id: str) -> int:
        """See `EventStore.deduplicated_bytes`."""
        stored_at = {_address(row): _number(row, "sequence") for row in self._rows[CONTENTS.name].values()}
        files = [file for file in self._files_in(package_id) if file.kind == "file"]
        new = {
            file.content_address: file.size_bytes
            for file in files
            if stored_at[file.content_address] + 1 == file.sequence
        }
        return sum(file.size_bytes for file in files) - sum(new.values())

    def schema(self, name: str) -> MetadataSchema | None:
        """See `EventStore.metadata_schema`."""
        rows = [row for row in self.rows(SCHEMAS) if row["name"] == name]
        return _schema(rows[-1]) if rows else None


def _location(row: NamedCells, content: NamedCells) -> Location:
    return Location(
        content_address=_address(content),
        backend_id=_text(row, "backend_id"),
        object_key=_text(row, "object_key"),
        digest_sha256=_octets(content, "digest_sha256").hex(),
        size_bytes=_number(content, "size_bytes"),
        integrity=_text(row, "integrity"),
    )


def _address(content: NamedCells) -> str:
    return f"{_text(content, 'digest_algorithm')}:{_octets(content, 'digest_primary').hex()}"


def _path(row: NamedCells) -> str:
    return _text(row, "path_key" if row["path"] is None else "path")


def _schema(row: NamedCells) -> MetadataSchema:
    return MetadataSchema(_text(row, "name"), _number(row, "version"), cast("bytes", row["schema"]).decode())


def _text(row: NamedCells, column: str) -> str:
    return cast("str", row[column])


def _number(row: NamedCells, column: str) -> int:
    return cast("int", row[column])


def _octets(row: NamedCells, column: str) -> bytes:
    return cast("bytes", row[column])
