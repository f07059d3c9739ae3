"""The views of a log as dictionaries: the meaning of row operations, one by one and as plainly as can be.

Nothing of it is shared with the code under test.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, cast

from artifactstore_protocols import canonical, manifest
from artifactstore_protocols.entries import Entry, Place, directory_entry, file_entry, link_entry
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.identity import Digest
from artifactstore_protocols.keep_rules import Candidate, KeepRules
from artifactstore_protocols.manifest import DirectoryEntry, FileEntry, LinkEntry, ManifestReceipt
from artifactstore_protocols.metadata import Metadata
from artifactstore_protocols.paths import ancestors
from artifactstore_protocols.state import (
    ContentState,
    Gone,
    LogState,
    Needs,
    ObjectState,
    PackageState,
    PlaceState,
    Purged,
    StoreTotals,
    TagState,
)
from artifactstore_protocols.verification import DueKey
from artifactstore_protocols.views import (
    CLASSES,
    CLOCK,
    CONTENTS,
    FILES,
    HOLDS,
    KEEP_POLICIES,
    KIND_DIRECTORY,
    KIND_FILE,
    KIND_LINK,
    LOCATIONS,
    PACKAGES,
    PARENTS,
    PURGED,
    REQUIREMENTS,
    RETENTION,
    SCHEMAS,
    TAGS,
    TOKENS,
    TOTALS,
    VALUES,
    VIEWS,
    Delete,
    DeleteRange,
    MarkVerified,
    NamedCells,
    Put,
    PutIfAbsent,
    Row,
    RowOperation,
    Update,
    ViewDigest,
    ViewTable,
)

__all__ = ["MemoryViews", "bytes_of", "number_of", "path_of", "text_of"]


class MemoryViews:
    """Tables as dictionaries, by key; holds every operation to what a database would hold it to."""

    def __init__(self, tables: Sequence[ViewTable] = VIEWS) -> None:
        self.tables: dict[ViewTable, dict[Row, NamedCells]] = {table: {} for table in tables}

    def apply(self, operations: Iterable[RowOperation]) -> None:  # noqa: C901, PLR0912 - one case for each operation
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
                case MarkVerified(first, last, arcs, sequence):
                    for key, cells in table.items():
                        digest, place = bytes_of(cells, "digest_primary"), (cells["backend_id"], cells["object_key"])
                        at = cast("DueKey", (cells["verified_sequence"], digest, *place))
                        sampled = not arcs or any(low <= digest[28:32] <= high for low, high in arcs)
                        if first <= at <= last and sampled and cells["state"] in {"live", "condemned"}:
                            table[key] = {**cells, "verified_sequence": sequence}
                case DeleteRange(_view, prefix, first, last):
                    for key in [key for key in table if key[:-1] == prefix and first <= key[-1] <= last]:  # type: ignore[operator]
                        del table[key]
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

    def state(self, needs: Needs | None = None, *, events: Sequence[StoredEvent] = ()) -> LogState:
        """All that is true, as the writer would load it; with `needs`, of packages only those.

        Before the clock is observed, the time of the first of the events of the log stands for it.
        """
        state = LogState()
        for row in self.rows(PACKAGES):
            if needs is not None and row["package_id"] not in needs.packages:
                continue
            state.packages[text_of(row, "package_id")] = PackageState(
                package_id=text_of(row, "package_id"),
                number=number_of(row, "created_sequence"),
                name=text_of(row, "name"),
                retention_class=text_of(row, "retention_class"),
                metadata=bytes_of(row, "metadata"),
                created_at_us=number_of(row, "created_at"),
                finalized=row["manifest_digest"] is not None,
                version=number_of(row, "version"),
                files=number_of(row, "file_count"),
                links=number_of(row, "link_count"),
                directories=number_of(row, "directory_count"),
                total_bytes=number_of(row, "total_bytes"),
                stored_bytes=number_of(row, "stored_bytes"),
                manifest_digest=cast("str | None", row["manifest_digest"]),
                schema=cast("str | None", row["metadata_schema"]),
                gone=gone_of(row),
            )
        numbered = {package.number: package for package in state.packages.values()}
        for row in self.rows(FILES):
            package, key = numbered.get(number_of(row, "package_number")), text_of(row, "path_key")
            if package is not None:
                package.entries[key] = self._entry(row)
            if package is not None and not package.finalized and package.gone is None:  # others take no more
                for above in ancestors(key):
                    package.below.setdefault(above, path_of(row))
        for row in self.rows(CONTENTS):
            content = text_of(row, "digest_algorithm"), bytes_of(row, "digest_sha256"), number_of(row, "size_bytes")
            count, digest = number_of(row, "reference_count"), bytes_of(row, "digest_primary")
            state.contents[digest] = ContentState(*content, count)
        for row in self.rows(LOCATIONS):
            place = Place(text_of(row, "backend_id"), text_of(row, "object_key"))
            status = PlaceState(
                text_of(row, "integrity"),
                number_of(row, "sequence"),
                cast("ObjectState", row["state"]),
                cast("int | None", row["changed_at"]) or 0,
            )
            state.load_place(bytes_of(row, "digest_primary"), place, status)
        state.purged.update(self.purged())
        for row in self.rows(SCHEMAS):
            state.schema_versions[text_of(row, "name")] = number_of(row, "version")
            state.schemas[f"{text_of(row, 'name')}@{number_of(row, 'version')}"] = bytes_of(row, "schema").decode()
        self._describe(numbered)
        state.requirements.update((text_of(row, "glob"), text_of(row, "schema")) for row in self.rows(REQUIREMENTS))
        for row in self.rows(TAGS):
            state.set_tag(text_of(row, "tag"), TagState(text_of(row, "package_id"), bool(row["protected"])))
        state.keep_policies.update(self.keep_rules())
        state.tokens.update((text_of(row, "name"), row["revoked_at"] is not None) for row in self.rows(TOKENS))
        state.classes.update((text_of(row, "name"), number_of(row, "duration_us")) for row in self.rows(CLASSES))
        state.groups.update(self.groups())
        self._retain(state, events)
        state.references = self._references(needs, numbered)
        state.totals = self.totals()
        state.log_time_us = events[-1].event.recorded_at_us if events else 0
        return state

    def _references(self, needs: Needs | None, numbered: Mapping[int, PackageState]) -> dict[bytes, int]:
        """The number of entries of each content that is to be counted, if none too; with no needs, of every content."""
        files = [row for row in self.rows(FILES) if row["kind"] == KIND_FILE]
        counted = Counter(bytes_of(row, "digest_primary") for row in files)
        if needs is None:
            return Counter({bytes_of(row, "digest_primary"): 0 for row in self.rows(CONTENTS)} | counted)
        asked = set(needs.references)
        if needs.counts:  # of what a release of the ranges can leave without an entry
            released = Counter(
                bytes_of(row, "digest_primary")
                for row in files
                if (package := numbered.get(number_of(row, "package_number"))) is not None
                and any(
                    package.package_id == package_id and first <= text_of(row, "path_key") <= last
                    for package_id, first, last in needs.ranges
                )
            )
            contents = self.tables[CONTENTS]
            asked.update(each for each in released if number_of(contents[each,], "reference_count") <= released[each])
        return {digest: counted[digest] for digest in asked}

    def purged(self) -> dict[bytes, Purged]:
        """The purged contents, by digest."""
        return {
            bytes_of(row, "digest_primary"): Purged(
                number_of(row, "purged_at"), text_of(row, "purged_by"), text_of(row, "reason")
            )
            for row in self.rows(PURGED)
        }

    def keep_rules(self) -> dict[str, KeepRules]:
        """The rules of every keep policy, by its group."""
        return {
            text_of(row, "package_group"): KeepRules.of_map(cast("Metadata", canonical.decode(bytes_of(row, "rules"))))
            for row in self.rows(KEEP_POLICIES)
        }

    def groups(self) -> dict[str, dict[str, Candidate]]:
        """Every finalized package that is there, by its name and its id, as keep policies see it."""
        found: dict[str, dict[str, Candidate]] = {}
        for row in self.rows(PACKAGES):
            if row["status"] == "finalized":
                package_id = text_of(row, "package_id")
                tags = [text_of(tag, "tag") for tag in self.rows(TAGS) if tag["package_id"] == package_id]
                times = number_of(row, "finalized_at"), number_of(row, "finalized_sequence")
                found.setdefault(text_of(row, "name"), {})[package_id] = Candidate(package_id, *times, tuple(tags))
        return found

    def totals(self) -> StoreTotals:
        """The row of totals; zeros where there is none."""
        return next(
            (
                StoreTotals(**{column: number_of(row, column) for column in TOTALS.columns[1:]}, changed=False)
                for row in self.rows(TOTALS)
            ),
            StoreTotals(),
        )

    def count_totals(self) -> None:
        """Write the totals and the references anew, by counting all rows; no totals before a package or an object."""
        references = Counter(row["digest_primary"] for row in self.rows(FILES))
        for content in self.rows(CONTENTS):
            digest = content["digest_primary"]
            self.apply([Update(CONTENTS, (digest,), {"reference_count": references[digest]})])
        packages = [row for row in self.rows(PACKAGES) if row["gone_at"] is None]
        numbers = {row["created_sequence"] for row in packages}
        kinds = Counter(row["kind"] for row in self.rows(FILES) if row["package_number"] in numbers)
        contents = {row["digest_primary"]: number_of(row, "size_bytes") for row in self.rows(CONTENTS)}
        held = [row for row in self.rows(LOCATIONS) if row["state"] in {"live", "condemned"}]
        condemned = [row for row in held if row["state"] == "condemned"]
        gone = [row for row in self.rows(PACKAGES) if row["gone_at"] is not None]
        entries = ("file_count", "link_count", "directory_count")
        # An orphan was never stored.
        retired = [row for row in self.rows(LOCATIONS) if row not in held and row["stored_at"] is not None]
        if not self.rows(PACKAGES) and not self.rows(LOCATIONS):
            return
        row: Row = (
            1,
            len(packages),
            sum(package["status"] == "finalized" for package in packages),
            kinds[KIND_FILE],
            kinds[KIND_LINK],
            kinds[KIND_DIRECTORY],
            sum(number_of(package, "total_bytes") for package in packages),
            len(held),
            sum(contents.get(row["digest_primary"], 0) for row in held),
            len(condemned),
            sum(contents.get(row["digest_primary"], 0) for row in condemned),
            sum(number_of(package, column) for package in gone for column in entries),
            sum(number_of(package, "total_bytes") for package in gone),
            sum(package["status"] == "deleted" for package in gone),
            sum(package["status"] == "expired" for package in gone),
            len(retired),
            sum(contents.get(row["digest_primary"], 0) for row in retired),
            sum(row["state"] == "removed" for row in self.rows(LOCATIONS)),
        )
        self.apply([Put(TOTALS, [row])])

    def _retain(self, state: LogState, events: Sequence[StoredEvent]) -> None:
        """Give packages their retention the holds on them, and the clock."""
        for row in self.rows(RETENTION):
            if (package := state.packages.get(text_of(row, "package_id"))) is not None:
                package.expires_at_us = cast("int | None", row["expires_at"])
                package.retained_from_us = cast("int | None", row["retained_from"]) or 0
        begun_us = events[0].event.recorded_at_us if events else None
        state.clock_us = next((number_of(row, "observed_at") for row in self.rows(CLOCK)), begun_us)
        for row in self.rows(HOLDS):
            state.holds[text_of(row, "hold_id")] = text_of(row, "package_id")
            if (package := state.packages.get(text_of(row, "package_id"))) is not None:
                package.holds.add(text_of(row, "hold_id"))

    def _describe(self, packages: Mapping[int, PackageState]) -> None:
        """Give packages their annotations and parents."""
        for row in self.rows(PARENTS):
            package = packages.get(number_of(row, "package_number"))
            if package is not None:
                package.parents[text_of(row, "parent_id")] = text_of(row, "manifest_digest")
        for row in self.rows(VALUES):
            package = packages.get(number_of(row, "package_number"))
            if package is not None and row["annotation"] is not None:
                package.annotations[text_of(row, "key")] = json.loads(text_of(row, "annotation"))

    def _entry(self, row: NamedCells) -> Entry:
        if row["kind"] == KIND_LINK:
            return link_entry(path_of(row), text_of(row, "link_target"))
        if row["kind"] == KIND_DIRECTORY:
            return directory_entry(path_of(row))
        executable, digest = bool(row["executable"]), bytes_of(row, "digest_primary")
        return file_entry(path_of(row), executable, text_of(row, "media_type"), self._content(row)[2], digest)

    def _content(self, row: NamedCells) -> tuple[Digest, Digest, int]:
        """Both digests and the size of what a row refers to."""
        content = self.tables[CONTENTS][row["digest_primary"],]
        primary = Digest(text_of(content, "digest_algorithm"), bytes_of(content, "digest_primary").hex())
        return primary, Digest("sha256", bytes_of(content, "digest_sha256").hex()), number_of(content, "size_bytes")

    def manifest_entry(self, row: NamedCells) -> manifest.Entry:
        """A row of files as a manifest lists it."""
        if row["kind"] == KIND_LINK:
            return LinkEntry("link", path_of(row), text_of(row, "link_target"))
        return DirectoryEntry("directory", path_of(row)) if row["kind"] == KIND_DIRECTORY else self.file_entry(row)

    def file_entry(self, row: NamedCells) -> FileEntry:
        """A row of a file as a manifest lists it."""
        primary, sha256, size_bytes = self._content(row)
        executable, media_type = bool(row["executable"]), text_of(row, "media_type")
        return FileEntry("file", path_of(row), executable, size_bytes, media_type, primary.raw, sha256.raw)

    def manifest_receipt(self, row: NamedCells) -> ManifestReceipt:
        """A row of locations as a manifest lists it."""
        return ManifestReceipt(bytes_of(row, "digest_primary"), text_of(row, "backend_id"), text_of(row, "object_key"))


def gone_of(row: NamedCells) -> Gone | None:
    """How a package ended, by its row."""
    if row["gone_at"] is None:
        return None
    status = cast("Literal['deleted', 'expired']", row["status"])
    return Gone(status, number_of(row, "gone_at"), text_of(row, "gone_by"), text_of(row, "gone_reason"))


def path_of(row: NamedCells) -> str:
    """The path of an entry, as it was given."""
    return text_of(row, "path_key" if row["path"] is None else "path")


def text_of(row: NamedCells, column: str) -> str:
    """A cell that holds text."""
    cell = row[column]
    assert isinstance(cell, str)
    return cell


def number_of(row: NamedCells, column: str) -> int:
    """A cell that holds a number."""
    cell = row[column]
    assert isinstance(cell, int)
    return cell


def bytes_of(row: NamedCells, column: str) -> bytes:
    """A cell that holds bytes."""
    cell = row[column]
    assert isinstance(cell, bytes)
    return cell
