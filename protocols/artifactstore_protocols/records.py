"""The results of the registry's methods: packages, files, reports and health, as frozen values.

Times are int64 microseconds since 1970 UTC. Sizes are in bytes. Digests and content addresses are text in the form
`<algorithm>:<hex>`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct, field

from artifactstore_protocols.metadata import Metadata, MetadataValue
from artifactstore_protocols.packages import PackageGone

__all__ = [
    "BackupCheck",
    "BackupReport",
    "ComponentHealth",
    "CopyReport",
    "DirectoryIngest",
    "DirectoryItem",
    "EntryChange",
    "EntryKind",
    "ExpiredPackage",
    "ExportReport",
    "FileRecord",
    "FinalizedPackage",
    "FlawedObject",
    "FoundEntry",
    "HealthReport",
    "HistoryEntry",
    "Hold",
    "IngestProgress",
    "IngestSummary",
    "LeftPackage",
    "LogExport",
    "LogImport",
    "MetadataSchema",
    "ObjectFlaws",
    "PackageRecord",
    "PolicyVerdict",
    "RefusedFile",
    "ReplayProgress",
    "ReplayReport",
    "RestoreReport",
    "RetainedPackage",
    "RetentionReport",
    "Tag",
    "TargetLimit",
    "TransferProgress",
    "VerifyProgress",
    "VerifyReport",
]

type TargetLimit = Literal["directory_sync", "file_sync", "locks", "modes", "names"]
"""A limitation of the file system that is written to.

`directory_sync` and `file_sync`: a power failure can undo the latest writes. `locks`: the file system does not keep
concurrent writers apart. `modes`: the file system does not keep permissions, and so no executable bits. `names`: the
file system keeps names in another Unicode form.
"""

type PackageStatus = Literal["open", "finalized", "deleted", "expired"]
type EntryKind = Literal["file", "link", "directory"]


class PackageRecord(Struct, frozen=True):
    """A package, as the projection has it.

    Attributes:
        package_id: its UUID.
        name: its label; several packages may have the same name.
        status: `open` while the package can change; `finalized` afterwards; `deleted` or `expired` once it is gone.
        version: a number that grows with each change while the package is open.
        files: the number of its files.
        links: the number of its symbolic links.
        directories: the number of its empty directories.
        bytes: the total size of its files.
        retention_class: the name of its retention class.
        retention_duration_us: how long it is kept after it is finalized, in microseconds, as set at its creation; None
            if it never expires.
        expires_at_us: the time of expiry; None while the package is open, or if it never expires.
        metadata: the metadata that its creator gave.
        created_by: the principal who created it.
        created_at_us: the time of creation.
        finalized_at_us: the time of finalization; None while the package is open.
        manifest_digest: the digest of its manifest; None while the package is open.
        tree_digest: the digest of its paths and contents alone; None while the package is open.
        created_sequence: the sequence of the event that created it.
        finalized_sequence: the sequence of the event that finalized it; None while the package is open.
        tags: the tags that name it, sorted.
        annotations: what was said about it since it was created, beside the metadata and the manifest.
        schema: the schema that its metadata fits, as `NAME@VERSION`; None for none.
        parents: the manifest digests of the packages that it is made from, by their ids.
        gone_at_us: the time when it was deleted or expired; None while it is open or finalized, as for the next three.
        gone_by: the principal who deleted it, or who ran the rule that let it go.
        gone_reason: the reason that this principal gave, or the rule.
        gone_sequence: the sequence of the event that ended it.
    """

    package_id: str
    name: str
    status: PackageStatus
    version: int
    files: int
    links: int
    directories: int
    bytes: int
    retention_class: str
    retention_duration_us: int | None
    expires_at_us: int | None
    metadata: Metadata
    created_by: str
    created_at_us: int
    finalized_at_us: int | None
    manifest_digest: str | None
    tree_digest: str | None
    created_sequence: int
    finalized_sequence: int | None
    tags: Sequence[str] = ()
    annotations: Metadata = field(default_factory=dict[str, MetadataValue])
    schema: str | None = None
    parents: Mapping[str, str] = field(default_factory=dict[str, str])
    gone_at_us: int | None = None
    gone_by: str | None = None
    gone_reason: str | None = None
    gone_sequence: int | None = None

    @property
    def is_gone(self) -> bool:
        """Whether it was deleted or has expired. Its record stays, but nothing can read its files."""
        return self.status in {"deleted", "expired"}

    def check_not_gone(self) -> None:
        """Check that its files can be read.

        Raises:
            PackageGone: it was deleted or has expired.
        """
        if self.is_gone:
            raise PackageGone(
                self.package_id, self.status, self.gone_at_us or 0, self.gone_by or "", self.gone_reason or ""
            )

    @property
    def values(self) -> Metadata:
        """The metadata and the annotations. They have no key in common."""
        return {**self.metadata, **self.annotations}


class RetainedPackage(Struct, frozen=True):
    """A finalized package whose retention ends, and what else keeps it.

    Attributes:
        package_id: its id.
        name: its name.
        version: its version.
        expires_at_us: when its retention ends.
        is_kept: whether a hold or a protected tag keeps it.
    """

    package_id: str
    name: str
    version: int
    expires_at_us: int
    is_kept: bool


class LeftPackage(Struct, frozen=True):
    """An open package that nobody touched for a while.

    Attributes:
        package_id: its id.
        name: its name.
        version: its version.
        touched_at_us: the time of its last event.
        created_sequence: the sequence of the event that created it.
    """

    package_id: str
    name: str
    version: int
    touched_at_us: int
    created_sequence: int


class ExpiredPackage(Struct, frozen=True):
    """A package that a rule let go, or would let go.

    Attributes:
        package_id: its id.
        name: its name.
        rule: `retention`: its time was over. `abandoned`: it was open, and nobody touched it for long.
        since_us: when its retention ended, or when it was touched last.
        sequence: the sequence of the event that recorded it; None if nothing was changed.
    """

    package_id: str
    name: str
    rule: str
    since_us: int
    sequence: int | None


class PolicyVerdict(Struct, frozen=True):
    """What one keep policy says about a package.

    Attributes:
        group: the group of the policy.
        kept_by: the rules of the policy that keep the package, such as `daily 14`; empty if none does.
        sequence: the sequence of the event that set the policy.
    """

    group: str
    kept_by: tuple[str, ...]
    sequence: int


class RetentionReport(Struct, frozen=True):
    """What keeps a package and until when, or what let it go.

    Attributes:
        package: the package.
        retention_sequence: the sequence of the event that last set its retention.
        holds: the holds on it.
        protected_tags: the protected tags that name it.
        policies: what each keep policy that matches its name says about it; none while it is open, or once it is gone.
        goes_by: the rules by which it goes at their next run: `retention`, by `expire`, and `policy:GROUP`, by
            `retention policy apply`.
        is_kept: whether it is not gone, and no rule lets it go at the time of the report.
        reasons: one line for each thing that keeps it or let it go, with the sequence of its event.
    """

    package: PackageRecord
    retention_sequence: int
    holds: Sequence["Hold"]
    protected_tags: Sequence["Tag"]
    policies: Sequence[PolicyVerdict]
    goes_by: Sequence[str]
    is_kept: bool
    reasons: Sequence[str]


class Hold(Struct, frozen=True):
    """A hold on a package, which keeps it from deletion and expiry until it is released.

    Attributes:
        hold_id: its id.
        package_id: the package.
        reason: the reason that its principal gave.
        placed_by: the principal who placed it.
        placed_at_us: the time when it was placed.
        sequence: the sequence of the event that placed it.
    """

    hold_id: str
    package_id: str
    reason: str
    placed_by: str
    placed_at_us: int
    sequence: int


class FileRecord(Struct, frozen=True, gc=False):
    """An entry of a package: a file, a symbolic link or an empty directory.

    Attributes:
        package_id: the id of the package.
        path: its path in the package, exactly as given.
        kind: `file`, `link` or `directory`. Only a file has a size, a media type and digests. For the other kinds,
            these are 0 or empty.
        size_bytes: the length of the file.
        executable: whether the file's owner may execute it.
        media_type: the media type that the caller gave, or that of the file's suffix.
        content_address: the primary digest of the file's bytes.
        sha256: the SHA-256 digest of the file's bytes.
        target: the target of a link, relative to the directory that holds the link; empty for the other kinds.
        sequence: the sequence of the event that wrote the entry.
    """

    package_id: str
    path: str
    kind: EntryKind
    size_bytes: int
    executable: bool
    media_type: str
    content_address: str
    sha256: str
    target: str
    sequence: int


class FoundEntry(Struct, frozen=True):
    """An entry that a search found, with its package."""

    package: PackageRecord
    entry: FileRecord


class DirectoryItem(Struct, frozen=True, gc=False):
    """An item of a directory of a package: a file, a symbolic link, or a directory with everything below it.

    Attributes:
        path: its path in the package.
        kind: `file`, `link` or `directory`.
        bytes: the length of the file; the total size of the files below a directory; 0 for a link.
        entries: the number of files and links: 1, or those below a directory.
        executable: whether the file's owner may execute it.
        media_type: the media type of a file; empty for the other kinds, as are the digest and the target.
        content_address: the primary digest of a file's bytes.
        target: the target of a link.
    """

    path: str
    kind: EntryKind
    bytes: int
    entries: int
    executable: bool = False
    media_type: str = ""
    content_address: str = ""
    target: str = ""


class EntryChange(Struct, frozen=True):
    """A difference between two packages.

    Attributes:
        kind: what happened to the entry.
        before: the entry in the first package; None if it was added.
        after: the entry in the second package; None if it was removed.
    """

    kind: Literal["added", "removed", "changed", "renamed"]
    before: FileRecord | None
    after: FileRecord | None

    @property
    def path(self) -> str:
        """The path in the second package; in the first one if the entry was removed."""
        entry = self.after or self.before
        return "" if entry is None else entry.path


class DirectoryIngest(Struct, frozen=True):
    """The result of ingesting a directory into a package.

    `files`, `links` and `directories` count the files, the symbolic links that were kept, and the empty directories in
    the directory. `bytes` is the total size of the files. `unchanged_files` counts the files that the package already
    had. `reused_files` counts the files that were not read, since they have not changed since an earlier ingest read
    them. `excluded` has the paths that were left out: files of the store itself, what the selection excludes, and links
    that the link policy skips. `unreadable` has the paths that could not be read, if those were to be skipped.
    """

    package_id: str
    files: int
    links: int
    directories: int
    bytes: int
    unchanged_files: int
    reused_files: int
    excluded: tuple[str, ...]
    unreadable: tuple[str, ...]
    sequence: int


class FinalizedPackage(Struct, frozen=True):
    """A finalized package."""

    package_id: str
    name: str
    manifest_digest: str
    tree_digest: str
    files: int
    links: int
    directories: int
    bytes: int
    sequence: int


class IngestSummary(Struct, frozen=True):
    """The result of ingesting a directory as a package, which was finalized.

    `deduplicated_bytes` is the size of the files whose content was in the log before the files' event. It is computed
    from the log, so every call returns the same number. `reused_files`, `excluded` and `unreadable` are as for
    `DirectoryIngest`. `continued_files` counts the files that an interrupted call had put into the package, which this
    call continued; 0 if it began a new package, or found a finalized one.
    """

    package_id: str
    name: str
    manifest_digest: str
    tree_digest: str
    files: int
    links: int
    directories: int
    bytes: int
    deduplicated_bytes: int
    reused_files: int
    continued_files: int
    excluded: tuple[str, ...]
    unreadable: tuple[str, ...]
    sequence: int


class PreviewedEntry(Struct, frozen=True):
    """An entry that an ingest would store. `size_bytes` is 0 for links and empty directories."""

    path: str
    kind: EntryKind
    size_bytes: int


class IngestPreview(Struct, frozen=True):
    """What an ingest would store and leave out. `entries` have the order of the package."""

    entries: tuple[PreviewedEntry, ...]
    files: int
    links: int
    directories: int
    bytes: int
    excluded: tuple[str, ...]
    unreadable: tuple[str, ...]


class IngestProgress(Struct, frozen=True):
    """The progress of a directory ingest. The files and bytes that are counted as done are durable and in the log.

    While the directory is being scanned, `scanning` is true and the totals cover only what the scan has found so far.
    """

    files: int
    files_total: int
    bytes: int
    bytes_total: int
    scanning: bool = False


class VerifyProgress(Struct, frozen=True):
    """The progress of a verification."""

    objects: int
    objects_total: int
    bytes: int
    bytes_total: int


class RefusedFile(Struct, frozen=True):
    """A file that could not be written to the target of an export, and the reason."""

    path: str
    reason: str


class ExportReport(Struct, frozen=True):
    """The result of exporting a package to a directory.

    Attributes:
        package_id: the id of the package.
        directory: the target directory.
        files: the number of the package's files that are in the target under their names.
        bytes: the total size of these files.
        links: the number of the package's symbolic links that are in the target.
        directories: the number of the package's empty directories that are in the target.
        unchanged: the number of files and links that were there before, as the package has them.
        replaced: the number of files and links that an update replaced, or whose executable bit it corrected.
        new: the number of files and links that were missing.
        refused: the entries that could not be written. An export with such entries raises `ExportIncomplete`.
        unreadable: the files whose objects are damaged or missing. They raise `ExportIncomplete`, too.
        left_out: the paths in the package of links that lead out of what was exported, which raise it as well.
        vanished: the paths in the package that had no other names than the stripped ones.
        others: what an update found in the target that is not in the package. It is kept. Of a directory that is not in
            the package, only the directory.
        limits: the limitations of the target's file system.
        wrong_executable_bits: the number of files in the target that are executable and should not be, or vice versa.
    """

    package_id: str
    directory: str
    files: int
    bytes: int
    links: int
    directories: int
    unchanged: int
    replaced: int
    new: int
    refused: tuple[RefusedFile, ...]
    unreadable: tuple[RefusedFile, ...]
    left_out: tuple[str, ...]
    vanished: tuple[str, ...]
    others: tuple[str, ...]
    limits: tuple[TargetLimit, ...]
    wrong_executable_bits: int

    @property
    def complete(self) -> bool:
        """Return whether everything that was asked for is in the target."""
        return not (self.refused or self.unreadable or self.left_out)


class CopyReport(Struct, frozen=True):
    """The result of copying a package to another store.

    Attributes:
        package_id: the id of the copy, in the other store.
        copied_from: the id of the package, in this store.
        name: the name of both.
        manifest_digest: the digest of the copy's manifest, which names the copy's own id and times.
        tree_digest: the tree digest of both.
        files: the number of files.
        links: the number of symbolic links.
        directories: the number of empty directories.
        bytes: the total size of the files.
        new_objects: the number of contents that were copied; the other store had the others.
        new_bytes: the total size of these contents.
        sequence: the sequence of the event that finalized the copy.
        annotations: the number of annotations that were carried over.
        tags: the tags that were carried over.
        schema: the schema of the copy, as `NAME@VERSION`; None for none.
        parents: the ids of the copy's parents, in the other store.
        parents_left_out: the ids in this store of the parents that the other store lacked when the copy began.
    """

    package_id: str
    copied_from: str
    name: str
    manifest_digest: str
    tree_digest: str
    files: int
    links: int
    directories: int
    bytes: int
    new_objects: int
    new_bytes: int
    sequence: int
    annotations: int = 0
    tags: Sequence[str] = ()
    schema: str | None = None
    parents: Sequence[str] = ()
    parents_left_out: Sequence[str] = ()


class FlawedObject(Struct, frozen=True):
    """An object that does not match the log.

    Attributes:
        content_address: the address of its content.
        size_bytes: the size that it should have.
        files: files that have its content, as `package id/path`.
        file_count: the number of files that have its content, of which `files` can be the first ones; None if they were
            not counted.
    """

    content_address: str
    size_bytes: int
    files: tuple[str, ...]
    file_count: int | None = None


class AffectedPackage(Struct, frozen=True):
    """A package with files that cannot be read as they were, and the number of these files."""

    package_id: str
    name: str
    files: int


class VerifyReport(Struct, frozen=True):
    """The result of a verification, which reads every object again.

    Attributes:
        objects: the number of distinct objects that were read.
        bytes: the total size of these objects.
        mismatches: the objects whose bytes, size or digests differ from the log.
        missing: the objects that are missing.
        manifests: the number of manifests that were compared with the tables.
        manifest_mismatches: the ids of packages whose manifest differs from the tables.
        row_flaws: descriptions of rows that no event could have written; at most 100.
        not_recorded: the reason why the findings are not in the log; None if they are.
        unreadable: the objects that this process is not permitted to read. The verification records nothing about them.
        unconfirmed: the number of objects that a first read found flawed and a second read found intact. They count as
            intact.
        affected: the packages with the flawed objects, at most 100.
        affected_packages: the number of packages with the files that the flawed objects name.
        seed: the seed of the sample; None without a sample.
    """

    objects: int
    bytes: int
    mismatches: tuple[FlawedObject, ...]
    missing: tuple[FlawedObject, ...]
    manifests: int
    manifest_mismatches: tuple[str, ...]
    row_flaws: tuple[str, ...]
    not_recorded: str | None = None
    unreadable: tuple[FlawedObject, ...] = ()
    unconfirmed: int = 0
    affected: Sequence[AffectedPackage] = ()
    affected_packages: int = 0
    seed: int | None = None

    @property
    def sound(self) -> bool:
        """Whether every object was read and no flaw was found."""
        flaws = (self.mismatches, self.missing, self.manifest_mismatches, self.row_flaws, self.unreadable)
        return not any(flaws)


class RepairReport(Struct, frozen=True):
    """The result of a repair, or of a look at what it would do.

    Attributes:
        source: the source of contents; None if the repair had none.
        dry_run: whether nothing was changed.
        objects: the number of objects that were flagged, missing or of another size.
        intact: the number of flagged objects that are intact, and lost their flag.
        repaired: the number of objects whose content was stored again.
        repaired_bytes: their total size.
        refused: the number of contents that the source has under their name or address, but with other bytes.
        remaining: the number of objects that are still damaged or missing.
        needed: the first of these objects, at most 100.
    """

    source: str | None
    dry_run: bool
    objects: int
    intact: int
    repaired: int
    repaired_bytes: int
    refused: int
    remaining: int
    needed: tuple[FlawedObject, ...]


class ReplayProgress(Struct, frozen=True):
    """The progress of a replay."""

    events: int
    events_total: int


class ReplayReport(Struct, frozen=True):
    """The result of a replay.

    Attributes:
        events: the number of events that were replayed.
        sequence: the sequence of the last event. It equals `events`, since the log has no gap.
        projection_digest: the digest over all rows that the log implies.
        live_digest: the digest over all rows of the live tables, at the same sequence.
        repaired_rows: the number of rows that a rebuild wrote, removed or changed; 0 for a check.
    """

    events: int
    sequence: int
    projection_digest: str
    live_digest: str
    repaired_rows: int

    @property
    def identical(self) -> bool:
        """Whether the live tables hold exactly the rows that the log implies."""
        return self.projection_digest == self.live_digest


class ObjectFlaws(Struct, frozen=True):
    """Objects that do not match a log.

    Attributes:
        damaged_objects: the number of objects with wrong bytes.
        missing_objects: the number of missing objects.
        damaged: the first few damaged objects.
        missing: the first few missing objects.
    """

    damaged_objects: int = 0
    missing_objects: int = 0
    damaged: tuple[FlawedObject, ...] = ()
    missing: tuple[FlawedObject, ...] = ()

    @property
    def any(self) -> bool:
        """Whether any object is damaged or missing."""
        return bool(self.damaged_objects or self.missing_objects)


class TransferProgress(Struct, frozen=True):
    """The progress of a log's export or import, of a backup, of a restore, or of a backup's check.

    `bytes` counts the bytes of the log file. If objects are copied as well, it counts the bytes of the objects that the
    log names. `bytes_total` is None while it is unknown.
    """

    events: int
    events_total: int
    bytes: int
    bytes_total: int | None


class LogExport(Struct, frozen=True):
    """The result of exporting the log to a file.

    Attributes:
        file: the path of the file.
        events: the number of events in the file, which is also the sequence of the last one.
        bytes: the length of the file.
        digest: the checksum in the footer of the file; equal logs have equal checksums.
        limits: the limitations of the target's file system.
    """

    file: str
    events: int
    bytes: int
    digest: str
    limits: tuple[TargetLimit, ...]


class LogImport(Struct, frozen=True):
    """The result of importing a log from a file.

    Attributes:
        file: the path of the file.
        events: the number of events in the file.
        written: the number of these events that were new.
        sequence: the head of this log after the import; beyond `events` if this log already had later events.
        digest: the checksum in the footer of the file.
        flaws: the objects that this log names and that this store lacks, or has with another size.
    """

    file: str
    events: int
    written: int
    sequence: int
    digest: str
    flaws: ObjectFlaws


class BackupReport(Struct, frozen=True):
    """The result of creating or updating a backup.

    Attributes:
        directory: the directory of the backup.
        events: the number of events in the backup's log.
        new_events: the number of these events that this call added.
        objects: the number of objects that this store names.
        new_objects: the number of objects that this call copied.
        new_bytes: the total size of the objects that this call copied.
        digest: the checksum of the last file of the backup's log, which covers the whole log.
        flaws: the objects of this store that could not be copied, since they are damaged or missing.
        pruned_objects: the number of objects, collected by the store, that this call removed from the backup.
        pruned_bytes: the total size of the objects that this call removed.
        limits: the limitations of the directory's file system.
    """

    directory: str
    events: int
    new_events: int
    objects: int
    new_objects: int
    new_bytes: int
    digest: str
    flaws: ObjectFlaws
    pruned_objects: int
    pruned_bytes: int
    limits: tuple[TargetLimit, ...]


class RestoreReport(Struct, frozen=True):
    """The result of restoring a store from a backup.

    Attributes:
        directory: the directory of the backup.
        events: the number of events in the backup's log.
        written: the number of these events that were new.
        sequence: the head of this log after the restore.
        new_objects: the number of objects that were put into the store.
        new_bytes: the total size of these objects.
        digest: as in `BackupReport`.
        flaws: the objects that the store still lacks, since they are damaged or missing in the backup.
    """

    directory: str
    events: int
    written: int
    sequence: int
    new_objects: int
    new_bytes: int
    digest: str
    flaws: ObjectFlaws


class BackupCheck(Struct, frozen=True):
    """The result of reading every byte of a backup.

    `objects` is the number of objects that the backup's log names, and `bytes` is their total size. The other
    attributes are as in `BackupReport`.
    """

    directory: str
    events: int
    objects: int
    bytes: int
    digest: str
    flaws: ObjectFlaws


class HistoryEntry(Struct, frozen=True):
    """An event of a package's or an object's history: who did what, and when.

    Attributes:
        sequence: the sequence of the event.
        recorded_at_us: when it was recorded.
        principal: who did it.
        type: its type.
        subject: what it is about: the id of a package, a tag after `tag:`, or a kind of thing.
        detail: what was done, as text for people.
        package_id: the package that the event is about, or that it names; None without one.
    """

    sequence: int
    recorded_at_us: int
    principal: str
    type: str
    subject: str
    detail: str
    package_id: str | None = None


class Tag(Struct, frozen=True):
    """A tag.

    Attributes:
        tag: its name.
        package_id: the id of the package that it names.
        protected: whether it can be neither moved nor deleted.
        set_by: the principal that set it last.
        set_at_us: when, in microseconds since 1970 UTC.
        sequence: the sequence of that event.
    """

    tag: str
    package_id: str
    protected: bool
    set_by: str
    set_at_us: int
    sequence: int


class MetadataSchema(Struct, frozen=True):
    """A registered version of a metadata schema.

    Attributes:
        name: its name.
        version: its version, from 1.
        schema: the schema as canonical JSON text.
        required_for: the globs for names of packages that must have this version, sorted.
    """

    name: str
    version: int
    schema: str
    required_for: Sequence[str] = ()


class ComponentHealth(Struct, frozen=True):
    """One reading of one component.

    Attributes:
        name: the name of the component, such as `database` or `actor:event-writer`.
        healthy: whether the component works.
        detail: the finding, in words.
        details: the measurements by name. The names include the units.
        latency_s: the duration of the probe, in seconds.
        measured_at_us: the time of the reading.
    """

    name: str
    healthy: bool
    detail: str
    details: Mapping[str, str | int | float]
    latency_s: float
    measured_at_us: int


class HealthReport(Struct, frozen=True):
    """The readings of all components. The report is healthy only if every reading is."""

    version: str
    answered_at_us: int
    components: tuple[ComponentHealth, ...]

    @property
    def healthy(self) -> bool:
        """Whether every component is healthy."""
        return all(component.healthy for component in self.components)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The findings of the components that are not healthy, one line for each."""
        return tuple(f"{part.name}: {part.detail}" for part in self.components if not part.healthy)
