"""What the registry answers: facts about packages, files, checks and health, as frozen values.

Times are int64 microseconds since the epoch, UTC; sizes are bytes; digests and content addresses are text in the form
`<algorithm>:<hex>`.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

__all__ = [
    "AuditEntry",
    "BackupCheck",
    "BackupReport",
    "ComponentHealth",
    "DirectoryIngest",
    "EntryKind",
    "ExportReport",
    "FileRecord",
    "FinalizedPackage",
    "FlawedObject",
    "HealthReport",
    "IngestProgress",
    "IngestSummary",
    "LogExport",
    "LogImport",
    "MetadataSchema",
    "ObjectFlaws",
    "PackageRecord",
    "RefusedFile",
    "ReplayProgress",
    "ReplayReport",
    "RestoreReport",
    "TargetLimit",
    "TransferProgress",
    "VerifyProgress",
    "VerifyReport",
]

type TargetLimit = Literal["directory_sync", "file_sync", "locks", "modes", "names"]
"""What a file system that is written to does not keep or cannot do.

`directory_sync` and `file_sync`: a loss of power can undo what was written last. `locks`: two who write there at once
are not kept apart. `modes`: permissions, so executable bits. `names`: they are kept in another Unicode form.
"""

type PackageStatus = Literal["open", "finalized"]
type EntryKind = Literal["file", "link", "directory"]


class PackageRecord(Struct, frozen=True):
    """A package as its view has it.

    Attributes:
        package_id: UUID.
        name: a label; several packages may share it.
        status: `open` takes files, `finalized` never changes again.
        version: counts its changes while it is open.
        files: how many it holds.
        links: how many symbolic links it holds.
        directories: how many empty directories it holds.
        bytes: the sizes of its files added up.
        retention_class: how long it is kept once it is finalized,
        retention_duration_us: in microseconds, as it was promised at creation; None never expires.
        expires_at_us: when that ends; None while it is open, or for what never expires.
        metadata: what its creator said about it.
        created_by: who opened it.
        created_at_us: when.
        finalized_at_us: when it was sealed, or None.
        manifest_digest: digest of its manifest, once sealed.
        tree_digest: digest of its paths and contents alone, once sealed.
        created_sequence: of the event that created it.
        finalized_sequence: of the event that finalized it, or None.
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
    metadata: Mapping[str, str]
    created_by: str
    created_at_us: int
    finalized_at_us: int | None
    manifest_digest: str | None
    tree_digest: str | None
    created_sequence: int
    finalized_sequence: int | None


class FileRecord(Struct, frozen=True, gc=False):
    """An entry of a package: a file, a symbolic link or an empty directory.

    Attributes:
        package_id: the package.
        path: where it is in there, exactly as it was given.
        kind: `file`, `link` or `directory`. Only a file has a size, a media type and digests: elsewhere they are 0 or
            empty.
        size_bytes: how long it is.
        executable: whether its owner may run it.
        media_type: by its name, or as the caller said.
        content_address: primary digest of its bytes.
        sha256: the second digest.
        target: what a link says, relative to the directory that holds it; empty for the other kinds.
        sequence: of the event that put it there.
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


class DirectoryIngest(Struct, frozen=True):
    """What became of a directory: what it holds, and how many of the files were there already.

    `links` and `directories` are the symbolic links that were kept and the empty directories.

    `reused_files` are those that were not read: an earlier ingest had read them and they have not been touched since.
    `excluded` are paths in the directory that were left out: they belong to the store itself, which takes in nothing of
    its own, or they are links that were to be skipped.
    """

    package_id: str
    files: int
    links: int
    directories: int
    bytes: int
    unchanged_files: int
    reused_files: int
    excluded: tuple[str, ...]
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
    """A directory that was ingested and finalized.

    `deduplicated_bytes` are those of files whose content the store already had when their event was written; it is
    worked out from the log, so it is the same whoever asks, and whenever. `reused_files` were not read by this call,
    because an earlier one had read them and they have not been touched since. `excluded` is as for
    `DirectoryIngest`.
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
    excluded: tuple[str, ...]
    sequence: int


class IngestProgress(Struct, frozen=True):
    """How far a directory ingest has come; what is counted as done is durable and in the log.

    While the directory is still being scanned, `scanning` is true and the totals are what has been found so far.
    """

    files: int
    files_total: int
    bytes: int
    bytes_total: int
    scanning: bool = False


class VerifyProgress(Struct, frozen=True):
    """How far a verification has come."""

    objects: int
    objects_total: int
    bytes: int
    bytes_total: int


class RefusedFile(Struct, frozen=True):
    """A file that the target of an export did not take, and why."""

    path: str
    reason: str


class ExportReport(Struct, frozen=True):
    """A package that was written to a directory.

    Attributes:
        package_id: the package.
        directory: the target.
        files: how many of its files are there now, under their names, with
        bytes: what they hold.
        links: how many of its symbolic links are there now.
        directories: how many of its empty directories are there now.
        resumed_files: how many of them were there already, from an interrupted export.
        refused: those that the target did not take; an export that has any raises `ExportIncomplete`.
        limits: what the target could not keep.
        wrong_executable_bits: files that are executable there and should not be, or the other way round.
    """

    package_id: str
    directory: str
    files: int
    bytes: int
    links: int
    directories: int
    resumed_files: int
    refused: tuple[RefusedFile, ...]
    limits: tuple[TargetLimit, ...]
    wrong_executable_bits: int


class FlawedObject(Struct, frozen=True):
    """An object that is not what the log says, and the files that it belongs to (the first few of them)."""

    content_address: str
    size_bytes: int
    files: tuple[str, ...]


class VerifyReport(Struct, frozen=True):
    """What reading every object again found.

    Attributes:
        objects: how many distinct objects were read.
        bytes: their sizes, added up.
        mismatches: objects whose bytes, size or digests are not those of the log.
        missing: objects that are not there.
        manifests: how many manifests were checked against files and views.
        manifest_mismatches: ids of packages whose manifest says something else than the views.
        row_flaws: rows of the views that no event could have put there, in words; the first hundred.
        not_recorded: why what was found is not in the log; None if it is.
        unreadable: objects that this process may not read; nothing is known of them, and nothing is recorded.
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

    @property
    def sound(self) -> bool:
        """Whether everything was read, and nothing was found."""
        flaws = (self.mismatches, self.missing, self.manifest_mismatches, self.row_flaws, self.unreadable)
        return not any(flaws)


class ReplayProgress(Struct, frozen=True):
    """How far a replay has come."""

    events: int
    events_total: int


class ReplayReport(Struct, frozen=True):
    """What a replay found.

    Attributes:
        events: how many events were fed.
        sequence: the last of them; the same number, since the log has no gap.
        projection_digest: digest over all rows that the log implies.
        live_digest: digest over all rows that the live tables hold, at the same sequence.
        repaired_rows: rows that a rebuild wrote, removed or changed; 0 for a check.
    """

    events: int
    sequence: int
    projection_digest: str
    live_digest: str
    repaired_rows: int

    @property
    def identical(self) -> bool:
        """Whether the live tables hold exactly what the log implies."""
        return self.projection_digest == self.live_digest


class ObjectFlaws(Struct, frozen=True):
    """Objects that are not as a log says.

    Attributes:
        damaged_objects: how many have other bytes than they should,
        missing_objects: how many are not there, and
        damaged: the first of each,
        missing: likewise.
    """

    damaged_objects: int = 0
    missing_objects: int = 0
    damaged: tuple[FlawedObject, ...] = ()
    missing: tuple[FlawedObject, ...] = ()

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self.damaged_objects or self.missing_objects)


class TransferProgress(Struct, frozen=True):
    """How far a log, a backup or a restore has come.

    `bytes` are those of the log's file, or of the objects that the log names where objects are carried as well;
    `bytes_total` is None while nobody can tell.
    """

    events: int
    events_total: int
    bytes: int
    bytes_total: int | None


class LogExport(Struct, frozen=True):
    """A log that was written to a file.

    Attributes:
        file: where.
        events: how many it holds, and so the sequence of the last one.
        bytes: length of the file.
        digest: checksum in its footer; equal logs have equal ones.
        limits: what the target could not keep.
    """

    file: str
    events: int
    bytes: int
    digest: str
    limits: tuple[TargetLimit, ...]


class LogImport(Struct, frozen=True):
    """A log that was taken over from a file.

    Attributes:
        file: where it came from.
        events: how many the file holds.
        written: how many of them were not in this log before.
        sequence: head of this log now; beyond `events` if this store had continued from that log already.
        digest: checksum in the file's footer.
        flaws: objects that this log names and this store does not have, or has in another size.
    """

    file: str
    events: int
    written: int
    sequence: int
    digest: str
    flaws: ObjectFlaws


class BackupReport(Struct, frozen=True):
    """A backup that was made or brought up to date.

    Attributes:
        directory: where it is.
        events: how many its log holds now, and
        new_events: how many of them are new.
        objects: how many objects this store names, and
        new_objects: how many of them were copied now, with
        new_bytes: what they hold.
        digest: checksum of the last file of its log, which stands for all of the log.
        flaws: objects of this store that could not be copied, since their bytes are wrong or not there.
        limits: what the directory's file system could not keep.
    """

    directory: str
    events: int
    new_events: int
    objects: int
    new_objects: int
    new_bytes: int
    digest: str
    flaws: ObjectFlaws
    limits: tuple[TargetLimit, ...]


class RestoreReport(Struct, frozen=True):
    """A store that was restored from a backup.

    Attributes:
        directory: where the backup is.
        events: how many its log holds.
        written: how many of them were not in this log before.
        sequence: head of this log now.
        new_objects: how many objects were put into the store, with
        new_bytes: what they hold.
        digest: as in `BackupReport`.
        flaws: objects that the store still lacks, since their bytes in the backup are wrong or not there.
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
    """What reading every byte of a backup found; attributes as in `BackupReport`."""

    directory: str
    events: int
    objects: int
    bytes: int
    digest: str
    flaws: ObjectFlaws


class AuditEntry(Struct, frozen=True):
    """Who did what to a package (or, as `subject`, to an object), and when, as the log has it."""

    sequence: int
    recorded_at_us: int
    actor: str
    type: str
    subject: str
    detail: str


class MetadataSchema(Struct, frozen=True):
    """A registered version of a metadata schema; `schema` is canonical JSON text."""

    name: str
    version: int
    schema: str


class ComponentHealth(Struct, frozen=True):
    """One reading of one part.

    Attributes:
        name: such as `database` or `actor:event-writer`.
        healthy: whether it did what it is for.
        detail: what was found, in words.
        details: what was measured, by name; units are in the names.
        latency_s: how long the probe took.
        measured_at_us: when.
    """

    name: str
    healthy: bool
    detail: str
    details: Mapping[str, str | int | float]
    latency_s: float
    measured_at_us: int


class HealthReport(Struct, frozen=True):
    """All readings; healthy only if each of them is."""

    version: str
    answered_at_us: int
    components: tuple[ComponentHealth, ...]

    @property
    def healthy(self) -> bool:
        """Whether every part is."""
        return all(component.healthy for component in self.components)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is wrong, a line for each part that is not healthy."""
        return tuple(f"{part.name}: {part.detail}" for part in self.components if not part.healthy)
