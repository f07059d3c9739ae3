"""Commands that fill packages."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from msgspec import Struct

from artifactstore_protocols.commands.checks import ENTRIES_BYTES_MAX, ENTRIES_MAX, PARENTS_MAX, check_reference
from artifactstore_protocols.entries import Entry, StoredObject, check_entry, check_object
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.ids import check_id
from artifactstore_protocols.manifest import MANIFEST_BYTES_MAX, ManifestSummary, manifest_digest
from artifactstore_protocols.metadata import Metadata, check_keys, check_metadata
from artifactstore_protocols.metadata_schema import parse_reference
from artifactstore_protocols.names import check_name
from artifactstore_protocols.typed import check_fields

__all__ = [
    "AnnotatePackage",
    "CreatePackage",
    "FinalizePackage",
    "IngestFiles",
    "OnExisting",
    "check_entries_bytes",
    "entries_bytes",
    "entry_bytes",
    "file_entry_bytes",
]


_ENTRY_BYTES = 70  # digest, size, kind and CBOR heads

_TEXT_BYTES = 4  # the most that UTF-8 uses for a character


class CreatePackage(Struct, frozen=True):
    """A command that creates an open package.

    Attributes:
        package_id: the id of the package, which is unique.
        name: a label, which need not be unique.
        retention_class: the name of its retention class.
        metadata: values by key.
        schema: the schema that the metadata fits, as `NAME` (its latest version) or `NAME@VERSION`; None for none.
        parents: the ids of the finalized packages that this one is made from, at most `PARENTS_MAX`.
    """

    package_id: str
    name: str
    retention_class: str
    metadata: Metadata
    schema: str | None = None
    parents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("package id", self.package_id)
        check_reference("package name", self.name)
        check_metadata(self.metadata)
        if self.schema is not None:
            check_name("metadata schema name", parse_reference(self.schema)[0])
        if len(self.parents) > PARENTS_MAX or len(set(self.parents)) != len(self.parents):
            raise InvalidValue("parents", str(len(self.parents)), f"name at most {PARENTS_MAX} packages, each once")
        for parent in self.parents:
            check_id("package id", parent)


class OnExisting(StrEnum):
    """What an ingest does with an entry whose path the package already has."""

    REFUSE = "refuse"
    """Refuse the entry, even if the package has the same one."""
    RESUME = "resume"
    """Skip an entry that the package has with the same content and attributes. Refuse a different one."""
    REPLACE = "replace"
    """Skip an entry that the package has with the same content and attributes. Replace a different one."""


class IngestFiles(Struct, frozen=True):
    """A command that puts entries into an open package, either all of them or none.

    Attributes:
        package_id: the id of the package.
        entries: 1 to `ENTRIES_MAX` entries of at most `ENTRIES_BYTES_MAX` together. Each path occurs once.
        stored: proofs for the contents of files that the log may not know yet, at most `ENTRIES_MAX`. Proofs that are
            not needed do no harm.
        on_existing: what to do with an entry whose path the package already has.
        by_reference: whether the files name contents of the store. Then the number of events does not tell whether
            other packages refer to the contents.
    """

    package_id: str
    entries: tuple[Entry, ...]
    stored: tuple[StoredObject, ...]
    on_existing: OnExisting
    by_reference: bool = False

    def __post_init__(self) -> None:
        if type(self.entries) is not tuple or type(self.stored) is not tuple:
            raise InvalidValue("entries", type(self.entries).__name__, "entries and stored objects are tuples")
        check_id("package id", self.package_id)
        if type(self.on_existing) is not OnExisting:
            raise InvalidValue("on_existing", str(self.on_existing)[:60], "use a member of OnExisting")
        if self.by_reference and self.stored:
            raise InvalidValue("by_reference", str(self.by_reference), "such a command brings no objects")
        if not 0 < len(self.entries) <= ENTRIES_MAX or len(self.stored) > ENTRIES_MAX:
            reason = f"a command has 1 to {ENTRIES_MAX} entries, and no more stored objects; send the rest in others"
            raise InvalidValue("entries", f"{len(self.entries)} entries, {len(self.stored)} objects", reason)
        for entry in self.entries:
            check_entry(entry)
        for stored in self.stored:
            check_object(stored)
        check_entries_bytes(self.entries)


def check_entries_bytes(entries: Sequence[Entry]) -> None:
    """Refuse entries that are too large for one command.

    Raises:
        InvalidValue: the entries take more than `ENTRIES_BYTES_MAX`.
    """
    if (size := entries_bytes(entries)) > ENTRIES_BYTES_MAX:
        reason = f"the entries of a command take {ENTRIES_BYTES_MAX} bytes at most; send the rest in others"
        raise InvalidValue("entries", f"{size} bytes", reason)


def entries_bytes(entries: Iterable[Entry]) -> int:
    """Return an upper bound for the size of entries in an event, in bytes."""
    return sum(map(entry_bytes, entries))


def entry_bytes(entry: Entry) -> int:
    """Return an upper bound for the size of an entry in an event, in bytes. The path can occur as text and as key."""
    _kind, path, _executable, media_type, _size, _digest, target = entry
    return _ENTRY_BYTES + _TEXT_BYTES * (2 * len(path) + len(media_type) + len(target))


def file_entry_bytes(path: str, media_type: str) -> int:
    """Return the `entry_bytes` of a file with this path and media type."""
    return _ENTRY_BYTES + _TEXT_BYTES * (2 * len(path) + len(media_type))


class FinalizePackage(Struct, frozen=True):
    """A command that finalizes a package. The manifest was built when the package had `expected_version`."""

    package_id: str
    expected_version: int
    manifest: bytes
    summary: ManifestSummary | None = None
    """The summary of the manifest. Without it, the writer decodes the manifest while it locks the head of the log."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("package id", self.package_id)
        if len(self.manifest) > MANIFEST_BYTES_MAX:
            reason = f"a manifest has at most {MANIFEST_BYTES_MAX} bytes; spread the files over several packages"
            raise InvalidValue("manifest", f"{len(self.manifest)} bytes", reason)
        if self.summary is not None:
            stated = (self.summary.package_id, self.summary.manifest_digest)
            if stated != (self.package_id, str(ContentAddress(manifest_digest(self.manifest)))):
                reason = "it is not of this package's manifest; make it from the bytes that are committed"
                raise InvalidValue("manifest summary", " ".join(stated), reason)


class AnnotatePackage(Struct, frozen=True):
    """A command that sets and removes annotations of a package, either all of them or none.

    Attributes:
        package_id: the id of the package, which may be open or finalized.
        annotations: the annotations to set, with values as metadata has them.
        removed: the keys of the annotations to remove. Each occurs once, and is not set by the same command.
        expected: what the package must have of all these keys, so that no other change is lost; None for anything.
    """

    package_id: str
    annotations: Metadata
    removed: tuple[str, ...] = ()
    expected: Metadata | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("package id", self.package_id)
        check_metadata(self.annotations, "annotation")
        check_keys(self.removed, "annotation key")
        if not self.annotations and not self.removed:
            raise InvalidValue("annotations", "", "name at least one to set or to remove")
        if len({*self.removed, *self.annotations}) != len(self.removed) + len(self.annotations):
            reason = "each key is set or removed once"
            raise InvalidValue("annotations", ", ".join(self.removed)[:60], reason)
