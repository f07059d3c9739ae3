"""Log and views in memory: what is committed, and the questions that an event store answers from it.

Rows are what `views.project` says, applied as `views.coalesce` folds them. Every answer is given at one instant, so it
is one snapshot.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import cast, override

from msgspec.structs import replace

from artifactstore_protocols import canonical
from artifactstore_protocols.admission import admit, examine
from artifactstore_protocols.collection import CollectableObject, UnreleasedPackage
from artifactstore_protocols.disk_usage import NameUsage, UniqueUsage
from artifactstore_protocols.entries import Place
from artifactstore_protocols.event_store import Location, PackageContents
from artifactstore_protocols.event_types.object_places import digest_at
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.keep_policies import GroupMember, KeepPolicy
from artifactstore_protocols.keep_rules import Candidate
from artifactstore_protocols.metadata import Metadata
from artifactstore_protocols.object_keys import latest_key, next_key
from artifactstore_protocols.package_listing import PackageFilter
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.paths import tree_order
from artifactstore_protocols.purging import PurgedContent
from artifactstore_protocols.records import (
    FileRecord,
    Hold,
    MetadataSchema,
    PackageRecord,
    PackageStatus,
    RetainedPackage,
    Tag,
)
from artifactstore_protocols.retention import RetentionClass, added_class
from artifactstore_protocols.state import (
    LogState,
    ObjectState,
)
from artifactstore_protocols.store_stats import StoreStats
from artifactstore_protocols.token_records import StoredToken
from artifactstore_protocols.tokens import Grant, Scope
from artifactstore_protocols.verification import DueKey, DueObjects
from artifactstore_protocols.views import (
    CLASSES,
    CLOCK,
    CONTENTS,
    FILES,
    HOLDS,
    KEEP_POLICIES,
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
    NamedCells,
    RowOperation,
    coalesce,
)
from memory_views import MemoryViews, bytes_of, number_of, text_of

__all__ = ["Tables"]


class Tables(MemoryViews):
    """The views, and the questions."""

    @classmethod
    def built_from(cls, events: Iterable[StoredEvent]) -> "Tables":
        """The views that a log implies, if every event of it may stand where it does."""
        built, state = cls(), LogState()
        built.apply(operation for stored in events for operation in admit(examine(stored), state))
        built.count_totals()
        return built

    @override
    def apply(self, operations: Iterable[RowOperation]) -> None:
        """Write what some events imply, in their order."""
        super().apply(coalesce(operations))

    def differences(self, other: "Tables") -> int:
        """How many rows one of the two does not have like the other."""
        mine, theirs = self.tables, other.tables
        return sum(
            mine[view].get(key) != theirs[view].get(key) for view in VIEWS for key in {*mine[view], *theirs[view]}
        )

    def package(self, package_id: str) -> PackageRecord:
        """See `EventStore.package`."""
        row = self.tables[PACKAGES].get((package_id,))
        if row is None:
            raise PackageNotFound(package_id)
        return self._package(row)

    def stats(self) -> StoreStats:
        """See `EventStore.stats`."""
        counted = self.totals()
        fields = {"bytes" if name == "total_bytes" else name: getattr(counted, name) for name in TOTALS.columns[1:]}
        return StoreStats(**fields)

    def packages(self) -> list[PackageRecord]:
        """Every package, in order of creation."""
        found = [self._package(row) for row in self.tables[PACKAGES].values()]
        return sorted(found, key=lambda record: record.created_sequence)

    def _package(self, row: NamedCells) -> PackageRecord:
        retention = self.tables[RETENTION][row["package_id"],]
        return PackageRecord(
            package_id=text_of(row, "package_id"),
            name=text_of(row, "name"),
            status=cast("PackageStatus", row["status"]),
            version=number_of(row, "version"),
            files=number_of(row, "file_count"),
            links=number_of(row, "link_count"),
            directories=number_of(row, "directory_count"),
            bytes=number_of(row, "total_bytes"),
            retention_class=text_of(row, "retention_class"),
            retention_duration_us=cast("int | None", retention["duration_us"]),
            expires_at_us=cast("int | None", retention["expires_at"]),
            metadata=cast("Metadata", canonical.decode(cast("bytes", row["metadata"]))),
            created_by=text_of(row, "created_by"),
            created_at_us=number_of(row, "created_at"),
            finalized_at_us=cast("int | None", row["finalized_at"]),
            manifest_digest=cast("str | None", row["manifest_digest"]),
            tree_digest=cast("str | None", row["tree_digest"]),
            created_sequence=number_of(row, "created_sequence"),
            finalized_sequence=cast("int | None", row["finalized_sequence"]),
            annotations={
                text_of(each, "key"): json.loads(text_of(each, "annotation"))
                for each in self.rows(VALUES)
                if each["package_number"] == row["created_sequence"] and each["annotation"] is not None
            },
            schema=cast("str | None", row["metadata_schema"]),
            parents={
                text_of(each, "parent_id"): text_of(each, "manifest_digest")
                for each in self.rows(PARENTS)
                if each["package_number"] == row["created_sequence"]
            },
            tags=tuple(each.tag for each in self.tags() if each.package_id == row["package_id"]),
            gone_at_us=cast("int | None", row["gone_at"]),
            gone_by=cast("str | None", row["gone_by"]),
            gone_reason=cast("str | None", row["gone_reason"]),
            gone_sequence=cast("int | None", row["gone_sequence"]),
        )

    def readable_package(self, package_id: str) -> PackageRecord:
        """One package whose entries can be read."""
        found = self.package(package_id)
        found.check_not_gone()
        return found

    def file(self, package_id: str, path_key: str) -> FileRecord | None:
        """See `EventStore.file`."""
        row = self.tables[FILES].get((self.readable_package(package_id).created_sequence, path_key))
        return None if row is None else self._file(row)

    def files(self, package_id: str) -> list[FileRecord]:
        """See `EventStore.files`."""
        self.readable_package(package_id)
        return self._files_in(package_id)

    def _files_in(self, package_id: str) -> list[FileRecord]:
        return [file for file in self.all_files() if file.package_id == package_id]

    def all_files(self) -> list[FileRecord]:
        """Every entry of every package."""
        rows = sorted(self.rows(FILES), key=lambda row: (row["package_number"], tree_order(text_of(row, "path_key"))))
        return [self._file(row) for row in rows]

    def _file(self, row: NamedCells) -> FileRecord:
        entry = self._entry(row)
        content = self._content_row(row) if entry.kind == "file" else None
        return FileRecord(
            package_id=self._owner(row),
            path=entry.path,
            kind=entry.kind,
            size_bytes=entry.size_bytes,
            executable=entry.executable,
            media_type=entry.media_type,
            content_address="" if content is None else _address(content),
            sha256="" if content is None else f"sha256:{bytes_of(content, 'digest_sha256').hex()}",
            target=entry.target,
            sequence=number_of(row, "sequence"),
        )

    def _owner(self, row: NamedCells) -> str:
        """The id of the package that an entry is in."""
        packages = self.tables[PACKAGES].values()
        return next(
            text_of(each, "package_id") for each in packages if each["created_sequence"] == row["package_number"]
        )

    def _content_row(self, row: NamedCells) -> NamedCells:
        """The content that a row refers to."""
        return self.tables[CONTENTS][row["digest_primary"],]

    def locations(self, package_id: str | None) -> list[Location]:
        """The objects of one package, or of all, in order of content address."""
        wanted = {row["digest_primary"] for row in self.rows(FILES) if self._owner(row) == package_id}
        return [
            _location(row, self._content_row(row))
            for row in self._current()
            if package_id is None or row["digest_primary"] in wanted
        ]

    def contents(self, package: PackageRecord) -> PackageContents:
        """See `EventStore.contents`."""
        of_package = [row for row in self.rows(FILES) if row["package_number"] == package.created_sequence]
        rows = sorted(of_package, key=lambda row: text_of(row, "path_key"))
        held = {row["digest_primary"] for row in rows} - {None}
        return PackageContents(
            package,
            [self.manifest_entry(row) for row in rows],
            [self.manifest_receipt(row) for row in self._current() if row["digest_primary"] in held],
            frozenset(text_of(self.tables[CONTENTS][digest,], "digest_algorithm") for digest in held),
        )

    def due(self, due: DueObjects) -> list[Location]:
        """See `EventStore.due_objects`: all of them."""
        found = [
            replace(_location(row, self._content_row(row)), verified_sequence=number_of(row, "verified_sequence"))
            for row in self._current()
        ]
        return sorted((at for at in found if due_key(at)[0] <= due.up_to and _is_sampled(at, due)), key=due_key)

    def unused(self, addresses: Collection[ContentAddress]) -> dict[ContentAddress, Place]:
        """See `EventStore.unused_places`."""
        found: dict[ContentAddress, Place] = {}
        for address in addresses:
            digest = address.digest.raw
            rows = [row for row in self.tables[LOCATIONS].values() if row["digest_primary"] == digest]
            if rows:
                latest = max(rows, key=lambda row: number_of(row, "sequence"))
                key = next_key(latest_key(text_of(row, "object_key") for row in rows))
                found[address] = Place(text_of(latest, "backend_id"), key)
        return found

    def flagged(self) -> dict[ContentAddress, Place]:
        """See `EventStore.flagged_objects`."""
        found: dict[ContentAddress, Place] = {}
        for row in self._current():
            if row["integrity"] != "intact":
                keys = [
                    text_of(each, "object_key")
                    for each in self.tables[LOCATIONS].values()
                    if each["digest_primary"] == row["digest_primary"]
                ]
                address = ContentAddress.parse(_address(self._content_row(row)))
                found[address] = Place(text_of(row, "backend_id"), next_key(latest_key(keys)))
        return found

    def _current(self) -> list[NamedCells]:
        """The rows of live and condemned objects."""
        return [row for row in self.rows(LOCATIONS) if row["state"] in {"live", "condemned"}]

    def usable_sizes(self) -> dict[bytes, int]:
        """The sizes of contents with an intact object, by digest."""
        usable = {bytes_of(row, "digest_primary") for row in self._current() if row["integrity"] == "intact"}
        return {digest: number_of(self.tables[CONTENTS][digest,], "size_bytes") for digest in usable}

    def contents_within(self, globs: Sequence[str]) -> set[bytes]:
        """The contents of packages whose names globs match, and that are not gone."""
        where = PackageFilter(within=globs)
        numbers = {
            row["created_sequence"]
            for row in self.rows(PACKAGES)
            if row["gone_at"] is None and where.matches_name(text_of(row, "name"))
        }
        files = [row for row in self.rows(FILES) if row["package_number"] in numbers and row["digest_primary"]]
        return {bytes_of(row, "digest_primary") for row in files}

    def collectable(self, state: ObjectState, after: CollectableObject | None) -> list[CollectableObject]:
        """See `EventStore.collectable_objects`."""
        sizes = {row["digest_primary"]: number_of(row, "size_bytes") for row in self.rows(CONTENTS)}
        found = [
            CollectableObject(_place(row), sizes.get(row["digest_primary"], 0), number_of(row, "changed_at"))
            for row in self.rows(LOCATIONS)
            if row["state"] == state
        ]

        def order(each: CollectableObject) -> tuple[int, bytes, Place]:
            return each.changed_at_us, digest_at(each.place), each.place

        return sorted((each for each in found if after is None or order(each) > order(after)), key=order)

    def unreleased(self, after: int) -> list[UnreleasedPackage]:
        """See `EventStore.unreleased_packages`."""
        held = Counter(number_of(row, "package_number") for row in self.rows(FILES))
        found = [
            UnreleasedPackage(text_of(row, "package_id"), number, held[number])
            for row in self.rows(PACKAGES)
            if row["gone_at"] is not None and held[number := number_of(row, "created_sequence")] and number > after
        ]
        return sorted(found, key=lambda each: each.number)

    def keys_of(self, number: int, after: str) -> list[str]:
        """See `EventStore.entry_keys`."""
        keys = [text_of(row, "path_key") for row in self.rows(FILES) if row["package_number"] == number]
        return sorted(key for key in keys if key > after)

    def states_at(self, places: Collection[Place]) -> dict[Place, ObjectState]:
        """See `EventStore.object_states`."""
        states: dict[Place, ObjectState] = {
            _place(row): cast("ObjectState", text_of(row, "state")) for row in self.rows(LOCATIONS)
        }
        return {place: states[place] for place in places if place in states}

    def collected(self, addresses: Collection[ContentAddress]) -> frozenset[ContentAddress]:
        """See `EventStore.collected_contents`."""
        used = {row["digest_primary"] for row in self.rows(FILES)} | {row["digest_primary"] for row in self._current()}
        gone = {row["digest_primary"] for row in self.rows(LOCATIONS)} - used
        return frozenset(address for address in addresses if address.digest.raw in gone)

    def purged_contents(self) -> list[PurgedContent]:
        """The purged contents, in order of their addresses."""
        contents = {row["digest_primary"]: row for row in self.rows(CONTENTS)}
        found = [
            PurgedContent(
                _address(content),
                number_of(content, "size_bytes"),
                text_of(row, "reason"),
                text_of(row, "purged_by"),
                number_of(row, "purged_at"),
                number_of(row, "sequence"),
            )
            for row in self.rows(PURGED)
            for content in [contents[row["digest_primary"]]]
        ]
        return sorted(found, key=lambda each: each.content_address)

    def places_of_purged(self, addresses: Collection[ContentAddress]) -> list[tuple[Place, int]]:
        """See `EventStore.places_of_purged`."""
        wanted = {str(address) for address in addresses}
        sizes = {
            ContentAddress.parse(each.content_address).digest.raw: each.size_bytes
            for each in self.purged_contents()
            if each.content_address in wanted
        }
        return [
            (_place(row), sizes[digest])
            for row in self.rows(LOCATIONS)
            if (digest := bytes_of(row, "digest_primary")) in sizes
        ]

    def flagged_counts(self) -> dict[str, int]:
        """See `EventStore.flagged_counts`."""
        problems = Counter(text_of(row, "integrity") for row in self._current())
        del problems["intact"]
        return dict(problems)

    def deduplicated_bytes(self, package_id: str) -> int:
        """See `EventStore.deduplicated_bytes`."""
        stored_at = {_address(row): number_of(row, "sequence") for row in self.tables[CONTENTS].values()}
        files = [file for file in self._files_in(package_id) if file.kind == "file"]
        new = {
            file.content_address: file.size_bytes
            for file in files
            if stored_at[file.content_address] + 1 == file.sequence
        }
        return sum(file.size_bytes for file in files) - sum(new.values())

    def holds(self) -> list[Hold]:
        """See `EventStore.holds`."""
        return [
            Hold(
                text_of(row, "hold_id"),
                text_of(row, "package_id"),
                text_of(row, "reason"),
                text_of(row, "placed_by"),
                number_of(row, "placed_at"),
                number_of(row, "sequence"),
            )
            for row in sorted(self.rows(HOLDS), key=lambda row: text_of(row, "hold_id"))
        ]

    def is_kept(self, package_id: str) -> bool:
        """Whether a hold or a protected tag keeps a package."""
        return any(each.package_id == package_id for each in self.holds()) or any(
            each.package_id == package_id and each.protected for each in self.tags()
        )

    def retained(self, until_us: int) -> list[RetainedPackage]:
        """Packages whose retention ends until a time, in the order of that end."""
        found = [
            RetainedPackage(each.package_id, each.name, each.version, each.expires_at_us, self.is_kept(each.package_id))
            for each in self.packages()
            if each.status == "finalized" and each.expires_at_us is not None and each.expires_at_us <= until_us
        ]
        return sorted(found, key=lambda each: (each.expires_at_us, each.package_id))

    def observed_clock(self) -> int | None:
        """The row of the clock, if there is one."""
        return next((number_of(row, "observed_at") for row in self.rows(CLOCK)), None)

    def retention_sequence(self, package_id: str) -> int:
        """The event that last set the retention of a package."""
        self.package(package_id)
        return number_of(self.tables[RETENTION][package_id,], "sequence")

    def tags(self) -> list[Tag]:
        """See `EventStore.tags`."""
        return [
            Tag(
                text_of(row, "tag"),
                text_of(row, "package_id"),
                bool(row["protected"]),
                text_of(row, "set_by"),
                number_of(row, "set_at"),
                number_of(row, "sequence"),
            )
            for row in self.rows(TAGS)
        ]

    def retention_classes(self) -> list[RetentionClass]:
        """See `EventStore.retention_classes`."""
        return [added_class(text_of(row, "name"), number_of(row, "duration_us")) for row in self.rows(CLASSES)]

    def stored_tokens(self) -> list[StoredToken]:
        """Every token."""
        return [
            StoredToken(
                Grant(
                    text_of(row, "name"),
                    cast("tuple[Scope, ...]", tuple(text_of(row, "scopes").split(","))),
                    tuple(cast("list[str]", canonical.decode(bytes_of(row, "packages")))),
                    cast("int | None", row["expires_at"]),
                ),
                bytes_of(row, "digest"),
                text_of(row, "store_id"),
                text_of(row, "created_by"),
                number_of(row, "created_at"),
                number_of(row, "sequence"),
                cast("int | None", row["revoked_at"]),
                cast("str | None", row["revoked_by"]),
                cast("str | None", row["revoked_reason"]),
            )
            for row in self.rows(TOKENS)
        ]

    def keep_policies(self) -> list[KeepPolicy]:
        """See `EventStore.keep_policies`."""
        return [
            KeepPolicy(
                text_of(row, "package_group"),
                self.keep_rules()[text_of(row, "package_group")],
                text_of(row, "set_by"),
                number_of(row, "set_at"),
                number_of(row, "sequence"),
            )
            for row in self.rows(KEEP_POLICIES)
        ]

    def next_group(self, where: PackageFilter, after: str) -> list[GroupMember]:
        """See `EventStore.next_group`."""
        groups = self.groups()
        name = min((each for each in groups if each > after and where.matches_name(each)), default=None)
        return [] if name is None else self.group(name)

    def group(self, name: str) -> list[GroupMember]:
        """See `EventStore.group`."""
        packages, retention = (
            {text_of(row, "package_id"): row for row in self.tables[table].values()} for table in (PACKAGES, RETENTION)
        )

        def member(each: Candidate) -> GroupMember:
            kept = retention[each.package_id]
            size_bytes = number_of(packages[each.package_id], "total_bytes")
            expires_at_us = None if kept["expires_at"] is None else number_of(kept, "expires_at")
            return GroupMember(name, each, size_bytes, text_of(kept, "retention_class"), expires_at_us)

        return list(map(member, self.groups().get(name, {}).values()))

    def name_usage(self) -> list[NameUsage]:
        """See `EventStore.name_usage`, for all names."""
        found: dict[str, NameUsage] = {}
        for row in self.tables[PACKAGES].values():
            if row["gone_at"] is not None:
                continue
            name = text_of(row, "name")
            before = found.get(name) or NameUsage(name, 0, 0, 0, 0)
            found[name] = NameUsage(
                name,
                before.packages + 1,
                before.files + number_of(row, "file_count"),
                before.bytes + number_of(row, "total_bytes"),
                before.stored_bytes + number_of(row, "stored_bytes"),
            )
        return [found[name] for name in sorted(found)]

    def unique_usage(self, package_ids: Collection[str]) -> UniqueUsage:
        """See `EventStore.unique_usage`."""
        packages = [row for key, row in self.tables[PACKAGES].items() if key[0] in package_ids]
        numbers = {row["created_sequence"] for row in packages}
        files = self.rows(FILES)
        own = {row["digest_primary"] for row in files if row["package_number"] in numbers}
        there = {row["created_sequence"] for row in self.tables[PACKAGES].values() if row["gone_at"] is None} - numbers
        others = {row["digest_primary"] for row in files if row["package_number"] in there}
        objects = [row for row in self._current() if row["digest_primary"] in own - others]
        return UniqueUsage(
            len(packages),
            sum(number_of(row, "file_count") for row in packages),
            sum(number_of(row, "total_bytes") for row in packages),
            len(objects),
            sum(number_of(self._content_row(row), "size_bytes") for row in objects),
        )

    def schemas(self) -> list[MetadataSchema]:
        """See `EventStore.metadata_schemas`."""
        return [_schema(row) for row in self.rows(SCHEMAS)]

    def requirements(self) -> Mapping[str, str]:
        """See `EventStore.schema_requirements`."""
        return {text_of(row, "glob"): text_of(row, "schema") for row in self.rows(REQUIREMENTS)}

    def schema(self, name: str, version: int | None = None) -> MetadataSchema | None:
        """See `EventStore.metadata_schema`."""
        found = [each for each in self.schemas() if each.name == name and version in {None, each.version}]
        return found[-1] if found else None


def due_key(at: Location) -> DueKey:
    """The position of an object in the order of verification."""
    return at.verified_sequence, at.known.address.digest.raw, at.backend_id, at.object_key


def _is_sampled(at: Location, due: DueObjects) -> bool:
    end, arcs = due_key(at)[1][28:], due.sample.arcs
    return not arcs or any(first <= end <= last for first, last in arcs)


def _place(row: NamedCells) -> Place:
    return Place(text_of(row, "backend_id"), text_of(row, "object_key"))


def _location(row: NamedCells, content: NamedCells) -> Location:
    return Location(
        content_address=_address(content),
        backend_id=text_of(row, "backend_id"),
        object_key=text_of(row, "object_key"),
        digest_sha256=bytes_of(content, "digest_sha256").hex(),
        size_bytes=number_of(content, "size_bytes"),
        integrity=text_of(row, "integrity"),
    )


def _address(content: NamedCells) -> str:
    return f"{text_of(content, 'digest_algorithm')}:{bytes_of(content, 'digest_primary').hex()}"


def _schema(row: NamedCells) -> MetadataSchema:
    return MetadataSchema(text_of(row, "name"), number_of(row, "version"), cast("bytes", row["schema"]).decode())
