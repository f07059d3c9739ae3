"""Results about packages: their records, names, schemas and history, as frozen values."""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct, field

from artifactstore_protocols.metadata import Metadata, MetadataValue
from artifactstore_protocols.packages import PackageGone

__all__ = ["FinalizedPackage", "HistoryEntry", "MetadataSchema", "PackageRecord", "PackageStatus", "Tag"]


type PackageStatus = Literal["open", "finalized", "deleted", "expired"]


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
