"""Results and progress of verification, repair and replay, as frozen values."""

from collections.abc import Sequence

from msgspec import Struct

__all__ = [
    "AffectedPackage",
    "FlawedObject",
    "ObjectFlaws",
    "RepairReport",
    "ReplayProgress",
    "ReplayReport",
    "VerifyProgress",
    "VerifyReport",
]


class VerifyProgress(Struct, frozen=True):
    """The progress of a verification."""

    objects: int
    objects_total: int
    bytes: int
    bytes_total: int


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
