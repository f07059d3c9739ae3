"""`v1.package.finalized`: a package was finalized. Its payload is the manifest's canonical CBOR."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING, Final, cast, override

from msgspec import Struct

from artifactstore_protocols import canonical, manifest
from artifactstore_protocols.commands import FinalizePackage
from artifactstore_protocols.entries import Entry, Place
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import Codec, EventType, Part, check_equal
from artifactstore_protocols.event_types.ending import check_not_gone
from artifactstore_protocols.expiry import check_finalized_at
from artifactstore_protocols.identity import ContentAddress, Digest
from artifactstore_protocols.keep_rules import Candidate
from artifactstore_protocols.manifest import Entry as ManifestEntry
from artifactstore_protocols.manifest import FileEntry, Manifest
from artifactstore_protocols.manifest.summary import ManifestSummary
from artifactstore_protocols.metadata import UNREADABLE, Metadata, metadata_bytes
from artifactstore_protocols.metadata_schema import check_with_schema
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.packages import PackageChanged, PackageNotFound
from artifactstore_protocols.paths import path_key
from artifactstore_protocols.redacted_texts import has_mark
from artifactstore_protocols.retention import retention_class
from artifactstore_protocols.state import LogState, Needs, PackageState
from artifactstore_protocols.views import PACKAGES, RETENTION, Cell, RowOperation, Update

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["PACKAGE_FINALIZED", "PackageFinalized", "finalize_package"]

_SHOWN_CHARACTERS = 80
_PART_ENTRIES = 1000


class PackageFinalized(Struct, frozen=True):
    """A package was finalized. The payload is the manifest, and the subject is the package id.

    Attributes:
        manifest: the bytes of the manifest, which are the payload.
        summary: the summary of the manifest, from a caller that has just built or read it; it is not part of the event.
        decoded: the decoded manifest, from a caller that has read it; it is not part of the event.
    """

    manifest: bytes
    summary: ManifestSummary | None = None
    decoded: Manifest | None = None

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, PackageFinalized) and self.manifest == other.manifest

    @override
    def __hash__(self) -> int:
        return self.manifest.__hash__()


def finalize_package(command: FinalizePackage, state: LogState) -> PackageFinalized | None:
    """Return the payload that finalizes a package; None if it is finalized already.

    Raises:
        PackageNotFound: no package has this id.
        PackageGone: the package was deleted or has expired.
        PackageChanged: the manifest was built for another version of the package.
        SchemaViolated: the metadata and the annotations do not fit the package's schema.
        ClockDoubtful: the manifest has a time long before the last event.
    """
    package = _package(command.package_id, state)
    check_not_gone(package)
    if package.finalized:
        return None
    if package.version != command.expected_version:
        raise PackageChanged(command.package_id, command.expected_version, package.version)
    _check_schema(package, state)
    payload = PackageFinalized(command.manifest, command.summary)
    if state.log_time_us:
        check_finalized_at(_summary(payload).finalized_at_us, state.log_time_us)
    return payload


def read_manifest(payload: PackageFinalized, *, redacted: bool = False) -> PackageFinalized:
    """Return the payload with its decoded manifest and summary. See `manifest.decode` for `redacted`.

    Raises:
        ManifestInvalid: the bytes are not a manifest.
    """
    if payload.decoded is not None:
        return payload
    decoded = manifest.decode(payload.manifest, redacted=redacted)
    return PackageFinalized(payload.manifest, manifest.summarize(payload.manifest, decoded), decoded)


def _package(package_id: str, state: LogState) -> PackageState:
    package = state.packages.get(package_id)
    if package is None:
        raise PackageNotFound(package_id)
    return package


def _check_schema(package: PackageState, state: LogState, *, redacted: bool = False) -> None:
    if package.schema is not None:
        metadata = cast("Metadata", canonical.decode(package.metadata))
        described = {**metadata, **package.annotations}
        described.pop(UNREADABLE, None)  # not the caller's
        check_with_schema(state.schemas[package.schema], package.schema, described, redacted=redacted)


def _summary(payload: PackageFinalized) -> ManifestSummary:
    return payload.summary or manifest.summarize(payload.manifest)


def _decoded_manifest(payload: PackageFinalized) -> Manifest:
    return payload.decoded or manifest.decode(payload.manifest)


def _needs(payload: PackageFinalized) -> Needs:
    package_id = frozenset({_summary(payload).package_id})
    return Needs(packages=package_id, described=package_id)


def _check(payload: PackageFinalized, event: "Event") -> None:
    FinalizePackage(_summary(payload).package_id, 0, payload.manifest, payload.summary)
    check_equal("principal in the manifest", _decoded_manifest(payload).provenance.principal, event.principal)


def _judge(payload: PackageFinalized, stored: "StoredEvent", state: LogState) -> None:
    """Check all but the entries and receipts of the manifest, which are in its parts.

    The paths of a manifest differ. So if the totals are equal and every entry is one of the package, none is missing.
    """
    decoded = _decoded_manifest(payload)
    package = _package(decoded.package.package_id, state)
    check_not_gone(package)
    if package.finalized:
        raise InvalidValue("event", package.package_id, "the package is finalized already")
    check_equal("name in the manifest", decoded.package.name, package.name)
    check_equal("metadata in the manifest", metadata_bytes(decoded.package.metadata), package.metadata)
    check_equal("schema in the manifest", decoded.package.schema, package.schema)
    check_equal("parents in the manifest", dict(decoded.package.parents), package.parents)
    # A manifest has the metadata, so it is redacted with it, but it has no annotations.
    redacted = stored.event.redacted_by is not None or has_mark(package.annotations)
    _check_schema(package, state, redacted=redacted)
    check_finalized_at(decoded.package.finalized_at_us, state.log_time_us)
    check_equal("created_at_us in the manifest", decoded.package.created_at_us, package.created_at_us)
    kept, promised = decoded.retention_summary, retention_class(package.retention_class, state.classes)
    check_equal("retention class in the manifest", kept.retention_class, promised.name)
    check_equal("retention duration in the manifest", kept.duration_us, promised.duration_us)
    said = decoded.provenance
    counts = (said.file_count, said.link_count, said.directory_count, said.total_bytes)
    added_up = (package.files, package.links, package.directories, package.total_bytes)
    check_equal("totals in the manifest", counts, added_up)


def _parts(payload: PackageFinalized) -> Iterator[Part]:
    """Return one part for 1,000 entries and the receipts of their contents."""
    decoded = _decoded_manifest(payload)
    package_id = decoded.package.package_id
    for entries in batched(decoded.entries, _PART_ENTRIES):
        needs = Needs(
            packages=frozenset({package_id}),
            at=frozenset((package_id, path_key(entry.path)) for entry in entries),
            contents=frozenset(entry.digest for entry in entries if type(entry) is FileEntry),
        )
        yield Part(needs, partial(_check_part, decoded, entries))


def _check_part(decoded: Manifest, entries: tuple[ManifestEntry, ...], state: LogState) -> None:
    package, receipts = _package(decoded.package.package_id, state), decoded.storage_receipts
    for entry in entries:
        known = package.entries.get(path_key(entry.path))
        if known is None or _listed(known, state) != entry:
            raise InvalidValue("manifest", entry.path[:_SHOWN_CHARACTERS], "the package's entry differs, or is missing")
        if type(entry) is not FileEntry:
            continue
        receipt = receipts[bisect_left(receipts, (entry.digest,))]  # they are sorted, and each content has one
        key = receipt.object_key or first_key(ContentAddress(Digest(decoded.digest_algorithm, entry.digest.hex())))
        if Place(receipt.backend_id, key) not in state.places_of(entry.digest):
            raise InvalidValue("receipt in the manifest", f"{receipt.backend_id} {key}", "the object was never there")


def _listed(entry: Entry, state: LogState) -> tuple[object, ...]:
    """Return the entry as a manifest lists it."""
    kind, path, executable, media_type, size_bytes, digest, target = entry
    match kind:
        case "file":
            content = state.contents.get(digest)
            sha256 = b"" if content is None else content.sha256
            return kind, path, executable, size_bytes, media_type, digest, sha256
        case "link":
            return kind, path, target
        case "directory":
            return kind, path


def _evolve(payload: PackageFinalized, stored: "StoredEvent", state: LogState) -> None:
    summary = _summary(payload)
    package = state.packages[summary.package_id]
    state.finalize_package(
        package, stored.event.payload_digest, at_us=summary.finalized_at_us, expires_at_us=summary.expires_at_us
    )
    state.add_candidate(package, Candidate(package.package_id, summary.finalized_at_us, stored.sequence))


def _rows(payload: PackageFinalized, stored: "StoredEvent") -> Iterable[RowOperation]:
    summary = _summary(payload)
    package: dict[str, Cell] = {
        "status": "finalized",
        "finalized_at": summary.finalized_at_us,
        "manifest_digest": stored.event.payload_digest,  # also if the manifest was redacted
        "tree_digest": summary.tree_digest,
        "finalized_sequence": stored.sequence,
    }
    retention: dict[str, Cell] = {
        "status": "retained",
        "retained_from": summary.finalized_at_us,
        "expires_at": summary.expires_at_us,
        "sequence": stored.sequence,
    }
    key = (summary.package_id,)
    return (Update(PACKAGES, key, package), Update(RETENTION, key, retention))


PACKAGE_FINALIZED: Final = EventType(
    name="v1.package.finalized",
    codec=Codec(lambda payload: payload.manifest, PackageFinalized),
    subject=lambda payload: _summary(payload).package_id,
    needs=_needs,
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    parts=_parts,
    describe=lambda payload: f"finalized, manifest {ContentAddress(manifest.manifest_digest(payload.manifest))}",
)
