"""The state that decisions and rules use: the part of a store's state that a batch of commands or events needs.

The code that writes the log loads the state that `Needs` names, in the transaction that writes. Decisions read the
state and never change it. `event_types` update the state after each event, so that the next command or event sees the
effects of the ones before it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from msgspec import Struct, field

from artifactstore_protocols.entries import Entry, Place
from artifactstore_protocols.keep_rules import Candidate, KeepRules
from artifactstore_protocols.metadata import MetadataValue

__all__ = [
    "ContentState",
    "EntryCounts",
    "Gone",
    "LastEvent",
    "LogState",
    "Needs",
    "ObjectState",
    "PackageState",
    "PlaceState",
    "Purged",
    "Redaction",
    "StoreTotals",
    "TagState",
]

type ObjectState = Literal["live", "condemned", "retired", "removed"]
"""The state of an object.

Packages may refer to a `live` object. A commit that uses a `condemned` object reprieves it. The bytes of a `retired`
object may be deleted, and its key is never used again. `removed` records that the bytes were deleted.
"""

_CURRENT: Final = frozenset({"live", "condemned"})
_NOWHERE: Final[Mapping[Place, "PlaceState"]] = {}


class Needs(Struct, frozen=True):
    """The state that a batch of commands or events needs from the database.

    Attributes:
        packages: the ids of the needed packages.
        entries: the (package id, path key) of each entry to write. Loads the entry, and whether entries are below it.
        at: the (package id, path key) of further paths. Loads only the entry at each path.
        contents: the primary digests of the needed contents.
        schemas: the names of the needed metadata schemas.
        tags: the names of the needed tags.
        references: the primary digests of contents whose entries are to be counted.
        described: the ids of needed packages whose annotations, parents and schema are needed, too.
        kept: the ids of needed packages whose retention, holds and protected tags are needed, too.
        holds: the ids of the needed holds.
        schema_texts: the needed schemas themselves, as `NAME` (the latest version) or `NAME@VERSION`. A name is also in
            `schemas`.
        groups: the names of packages whose finalized packages are needed, with their tags, as keep policies see them.
        keep_policies: whether all keep policies are needed.
        ranges: (package id, first path key, last path key) for each range of entries to release. Loads its entries
            and their contents.
        counts: whether to count the entries of those contents that can lose their last one by a release of the ranges.
        occupants: the ids of packages whose needed entries may be replaced. The contents of these entries are needed,
            too.
        clock: whether the time that the store saw last is needed.
        classes: the names of the needed retention classes that the store has added. Those of the packages in
            `described` are needed, too.
        names: the names of packages to create. Loads all requirements, and the schemas that these names require.
        requirements: whether all requirements are needed: which names require which schema.
        tokens: the names of the needed tokens.
    """

    packages: frozenset[str] = frozenset()
    entries: frozenset[tuple[str, str]] = frozenset()
    at: frozenset[tuple[str, str]] = frozenset()
    contents: frozenset[bytes] = frozenset()
    schemas: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    references: frozenset[bytes] = frozenset()
    described: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    holds: frozenset[str] = frozenset()
    schema_texts: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    keep_policies: bool = False
    counts: bool = False
    occupants: frozenset[str] = frozenset()
    ranges: frozenset[tuple[str, str, str]] = frozenset()
    clock: bool = False
    classes: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    requirements: bool = False
    tokens: frozenset[str] = frozenset()

    @classmethod
    def of_all(cls, needs: Iterable["Needs"]) -> "Needs":
        """Return the union of several needs."""
        all_needs = tuple(needs)
        flags = ("counts", "clock", "keep_policies", "requirements")
        names = (name for name in cls.__struct_fields__ if name not in flags)
        unions: dict[str, Any] = {
            name: frozenset[Any]().union(*(getattr(each, name) for each in all_needs)) for name in names
        }
        unions |= {name: any(getattr(each, name) for each in all_needs) for name in flags}
        return cls(**unions)

    def __or__(self, other: "Needs") -> "Needs":
        return Needs.of_all((self, other))


class Redaction(NamedTuple):
    """The redaction of an event: the event that redacts it, and the content address of its substitute."""

    redacted_by: int
    substitute: str


class Gone(NamedTuple):
    """The end of a package: whether it was deleted or has expired, when, by whom, and why."""

    status: Literal["deleted", "expired"]
    at_us: int
    by: str
    reason: str


class PackageState(Struct):
    """The state of a package.

    Attributes:
        package_id: its id.
        number: the sequence of the event that created it.
        name: its name.
        retention_class: the name of its retention class.
        metadata: its metadata, as canonical CBOR.
        created_at_us: the time of creation, in microseconds since 1970 UTC.
        finalized: whether it is finalized, or was before it went.
        version: the number of events that have created or changed it.
        files: the number of its files.
        links: the number of its symbolic links.
        directories: the number of its empty directories.
        total_bytes: the total size of its files.
        stored_bytes: the total size of the contents that its ingests stored, since the store did not have them.
        entries: its entries by path key; at least the needed entries that exist.
        below: for each needed path key with entries below it, the path of one of these entries.
        manifest_digest: the digest of its manifest; None while it is open.
        schema: the schema that its metadata fits, as `NAME@VERSION`; None for none.
        annotations: its annotations; empty if not requested.
        parents: the manifest digests of the packages that it is made from, by their ids; empty if not requested.
        gone: how it ended; None while it is open or finalized.
        expires_at_us: when its retention ends; None while it is open, if it is permanent, or if not requested.
        retained_from_us: when its retention began; 0 while it is open, or if not requested.
        protected_tags: the protected tags that name it; empty if not requested.
        holds: the ids of the holds on it; empty if not requested.
    """

    package_id: str
    number: int
    name: str
    retention_class: str
    metadata: bytes
    created_at_us: int
    finalized: bool = False
    version: int = 1
    files: int = 0
    links: int = 0
    directories: int = 0
    total_bytes: int = 0
    stored_bytes: int = 0
    manifest_digest: str | None = None
    schema: str | None = None
    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    below: dict[str, str] = field(default_factory=dict[str, str])
    annotations: dict[str, MetadataValue] = field(default_factory=dict[str, MetadataValue])
    parents: dict[str, str] = field(default_factory=dict[str, str])
    gone: Gone | None = None
    expires_at_us: int | None = None
    retained_from_us: int = 0
    protected_tags: set[str] = field(default_factory=set[str])
    holds: set[str] = field(default_factory=set[str])

    @property
    def is_empty(self) -> bool:
        """Whether it has no entries."""
        return not (self.files or self.links or self.directories)


class PlaceState(Struct, frozen=True, gc=False):
    """An object at a place.

    Attributes:
        integrity: `intact`, `damaged` or `missing`.
        sequence: the sequence of the event that stored the object or last changed its integrity.
        state: the state of the object.
        changed_at_us: the time when the object got this state, in microseconds since 1970 UTC; 0 while it is live.
    """

    integrity: str
    sequence: int
    state: ObjectState = "live"
    changed_at_us: int = 0

    @property
    def is_current(self) -> bool:
        """Whether the backend should have the object's bytes."""
        return self.state in _CURRENT

    @property
    def is_usable(self) -> bool:
        """Whether the backend should have the object's bytes, and no verification has flagged them."""
        return self.state in _CURRENT and self.integrity == "intact"


class ContentState(Struct, gc=False):
    """A content that the store has or had. `references` is the number of its entries in packages, by the log."""

    algorithm: str
    sha256: bytes
    size_bytes: int
    references: int = 0


class Purged(NamedTuple):
    """When a content was purged, in microseconds since 1970 UTC, by which principal, and why."""

    at_us: int
    by: str
    reason: str


class TagState(NamedTuple):
    """The package that a tag names, and whether the tag is protected."""

    package_id: str
    protected: bool


class EntryCounts(NamedTuple):
    """The number of entries of each kind, and the total size of the files in bytes."""

    files: int = 0
    links: int = 0
    directories: int = 0
    total_bytes: int = 0


class StoreTotals(Struct):
    """The totals of a store, after the events so far. The columns of their row are the fields before `changed`.

    Attributes:
        packages: the number of packages.
        finalized: the number of packages that are finalized.
        files: the number of files in packages.
        links: the number of symbolic links in packages.
        directories: the number of empty directories in packages.
        total_bytes: the total size of the files in packages.
        objects: the number of live and condemned objects.
        object_bytes: the total size of these objects.
        condemned: the number of condemned objects.
        condemned_bytes: the total size of these objects.
        unreleased: the number of entries that deleted and expired packages still hold, until a collection.
        unreleased_bytes: the total size of the files among these entries.
        deleted: the number of packages that were deleted so far.
        expired: the number of packages that have expired so far.
        retired: the number of objects that were retired so far; orphans do not count.
        retired_bytes: the total size of these objects.
        removed: the number of objects that were removed so far, orphans too.
        changed: whether an event has changed a package or an object since the totals were loaded.
    """

    packages: int = 0
    finalized: int = 0
    files: int = 0
    links: int = 0
    directories: int = 0
    total_bytes: int = 0
    objects: int = 0
    object_bytes: int = 0
    condemned: int = 0
    condemned_bytes: int = 0
    unreleased: int = 0
    unreleased_bytes: int = 0
    deleted: int = 0
    expired: int = 0
    retired: int = 0
    retired_bytes: int = 0
    removed: int = 0
    changed: bool = False


class LastEvent(Struct, frozen=True):
    """The command, the principal and the type of the last event of a log."""

    command_id: str
    principal: str
    type: str


class LogState(Struct):
    """The state after the events so far. It has at least the state that `Needs` named and that exists.

    Attributes:
        packages: packages by id.
        contents: contents by primary digest.
        objects: by primary digest, every place where the content is or was.
        references: by primary digest, the number of entries that were counted in the tables; only requested ones.
            Each equals the `ContentState.references` of its content, unless somebody has changed a table by hand.
        referred: the contents whose number of references events have changed since the state was loaded.
        purged: by primary digest, the requested contents that were purged.
        schema_versions: the latest version of each schema, by name.
        schemas: the JSON of schemas, as `NAME@VERSION`; only requested schemas.
        requirements: the schemas that packages must have, as `NAME@VERSION`, by globs for the packages' names.
        tags: tags by name.
        holds: the package of each hold, by the id of the hold.
        classes: the durations of retention classes that the store has added, in microseconds, by name.
        tokens: whether each token is revoked, by its name.
        clock_us: the time that was observed or confirmed last, or at first the time when the log began; None in an
            empty log, or if not requested.
        log_time_us: the time of the last event; 0 in an empty log. No later event has an earlier time, unless somebody
            confirms the clock.
        commands: the ids of commands that have written events; only requested ids.
        redactions: the redactions of earlier events, by their sequences; only those that an event names, or that name
            an event. The tables of the projection do not hold them.
        last: the last event; None before the first event, or if not requested.
        totals: the totals of the store; only loaded with packages or contents, since nothing else changes them.
    """

    packages: dict[str, PackageState] = field(default_factory=dict[str, PackageState])
    contents: dict[bytes, ContentState] = field(default_factory=dict[bytes, ContentState])
    objects: dict[bytes, dict[Place, PlaceState]] = field(default_factory=dict[bytes, dict[Place, PlaceState]])
    references: dict[bytes, int] = field(default_factory=dict[bytes, int])
    referred: set[bytes] = field(default_factory=set[bytes])
    purged: dict[bytes, Purged] = field(default_factory=dict[bytes, Purged])
    schema_versions: dict[str, int] = field(default_factory=dict[str, int])
    schemas: dict[str, str] = field(default_factory=dict[str, str])
    requirements: dict[str, str] = field(default_factory=dict[str, str])
    tags: dict[str, TagState] = field(default_factory=dict[str, TagState])
    keep_policies: dict[str, KeepRules] = field(default_factory=dict[str, KeepRules])
    groups: dict[str, dict[str, Candidate]] = field(default_factory=dict[str, dict[str, Candidate]])
    holds: dict[str, str] = field(default_factory=dict[str, str])
    classes: dict[str, int] = field(default_factory=dict[str, int])
    tokens: dict[str, bool] = field(default_factory=dict[str, bool])
    clock_us: int | None = None
    log_time_us: int = 0
    commands: set[str] = field(default_factory=set[str])
    redactions: dict[int, Redaction] = field(default_factory=dict[int, Redaction])
    last: LastEvent | None = None
    previous: LastEvent | None = None
    totals: StoreTotals = field(default_factory=StoreTotals)

    def places_of(self, digest: bytes) -> Mapping[Place, PlaceState]:
        """Return every place where a content is or was, with the state of its object."""
        return self.objects.get(digest, _NOWHERE)

    def references_to(self, digest: bytes) -> int:
        """Return the number of entries that refer to a content, by the log."""
        content = self.contents.get(digest)
        return 0 if content is None else content.references

    def refer(self, digest: bytes, by: int) -> None:
        """Change the number of references to a content after an event."""
        self.contents[digest].references += by
        self.referred.add(digest)
        if digest in self.references:
            self.references[digest] += by

    def load_place(self, digest: bytes, place: Place, held: PlaceState) -> None:
        """Add the state of an object as the tables have it."""
        self.objects.setdefault(digest, {})[place] = held

    def set_place(self, digest: bytes, place: Place, held: PlaceState) -> None:
        """Set the state of an object after an event, and count it in the totals while it is current."""
        before = self.places_of(digest).get(place)
        self.load_place(digest, place, held)
        content, totals = self.contents.get(digest), self.totals
        added = held.is_current - (before is not None and before.is_current)
        totals.objects += added
        size_bytes = 0 if content is None else content.size_bytes
        totals.object_bytes += added * size_bytes
        condemned = (held.state == "condemned") - (before is not None and before.state == "condemned")
        totals.condemned += condemned
        totals.condemned_bytes += condemned * size_bytes
        if added < 0:
            totals.retired += 1
            totals.retired_bytes += size_bytes
        if held.state == "removed" and (before is None or before.state != "removed"):
            totals.removed += 1
        totals.changed = True

    def set_tag(self, tag: str, named: TagState | None) -> None:
        """Set or delete a tag after an event, and note a protected tag with the package that it names."""
        before = self.tags.pop(tag, None)
        self._move_tag(tag, before, named)
        if before is not None and before.package_id in self.packages:
            self.packages[before.package_id].protected_tags.discard(tag)
        if named is None:
            return
        self.tags[tag] = named
        if named.protected and named.package_id in self.packages:
            self.packages[named.package_id].protected_tags.add(tag)

    def _move_tag(self, tag: str, before: TagState | None, after: TagState | None) -> None:
        """Move a tag between the packages that keep policies judge."""
        for group in self.groups.values():
            if before is not None and (old := group.get(before.package_id)) is not None:
                group[before.package_id] = old._replace(tags=tuple(each for each in old.tags if each != tag))
            if after is not None and (new := group.get(after.package_id)) is not None:
                group[after.package_id] = new._replace(tags=tuple(sorted({*new.tags, tag})))

    def add_candidate(self, package: PackageState, candidate: Candidate) -> None:
        """Add a package that was finalized to those that keep policies judge, if its name is needed."""
        if package.name in self.groups:
            self.groups[package.name][candidate.package_id] = candidate

    def add_package(self, package: PackageState) -> None:
        """Add a new package, and count it in the totals."""
        self.packages[package.package_id] = package
        self.totals.packages += 1
        self.totals.changed = True

    def fill_package(self, package: PackageState, version: int, counts: EntryCounts) -> None:
        """Set the version and the counts of a package after an event, and add the difference to the totals.

        The totals count the entries of packages that are gone apart.
        """
        before = EntryCounts(package.files, package.links, package.directories, package.total_bytes)
        if package.gone is None:
            self._add_entries(counts, before)
        else:
            self._add_unreleased(counts, before)
        package.version = version
        package.files, package.links, package.directories, package.total_bytes = counts

    def _add_entries(self, counts: EntryCounts, before: EntryCounts) -> None:
        totals = self.totals
        totals.files += counts.files - before.files
        totals.links += counts.links - before.links
        totals.directories += counts.directories - before.directories
        totals.total_bytes += counts.total_bytes - before.total_bytes
        totals.changed = True

    def _add_unreleased(self, counts: EntryCounts, before: EntryCounts) -> None:
        self.totals.unreleased += sum(counts[:3]) - sum(before[:3])
        self.totals.unreleased_bytes += counts.total_bytes - before.total_bytes
        self.totals.changed = True

    def end_package(self, package: PackageState, gone: Gone) -> None:
        """Record after an event that a package is gone, and take it out of the totals."""
        counts = EntryCounts(package.files, package.links, package.directories, package.total_bytes)
        package.gone = gone
        package.below = {}
        self.groups.get(package.name, {}).pop(package.package_id, None)
        self._add_entries(EntryCounts(), counts)
        self._add_unreleased(counts, EntryCounts())
        self.totals.deleted += gone.status == "deleted"
        self.totals.expired += gone.status == "expired"
        self.totals.packages -= 1
        self.totals.finalized -= package.finalized

    def finalize_package(
        self, package: PackageState, manifest_digest: str, *, at_us: int, expires_at_us: int | None
    ) -> None:
        """Finalize a package after an event, and count it in the totals."""
        package.finalized = True
        package.retained_from_us, package.expires_at_us = at_us, expires_at_us
        package.manifest_digest = manifest_digest
        package.below = {}
        self.totals.finalized += 1
        self.totals.changed = True
