"""What each event type says: one frozen dataclass a type, and its canonical CBOR.

A payload is encoded once, when the event is made; the same bytes go to the database, to tails and into exports. The
names are versioned: a changed meaning is a new type beside the old one, never a new reading of old bytes. An unknown
type stops a replay with an error that names it, because guessing would build wrong tables.
"""

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar, cast, override

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import CanonicalValue
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.manifest.summary import ManifestSummary

__all__ = [
    "FileIngested",
    "FileReplaced",
    "MetadataSchemaRegistered",
    "ObjectFlagged",
    "ObjectHealed",
    "PackageCreated",
    "PackageFinalized",
    "Payload",
    "PayloadInvalid",
    "UnknownEventType",
    "decode_payload",
    "encode_payload",
]


@dataclass(eq=False)
class UnknownEventType(ArtifactStoreError):
    """An event type, or a version of one, that this release cannot project."""

    type: str
    sequence: int | None = None

    @override
    def __str__(self) -> str:
        where = "" if self.sequence is None else f" at sequence {self.sequence}"
        return f"unknown event type {self.type!r}{where}; a newer artifactstore wrote it, so use that release or later"


@dataclass(eq=False)
class PayloadInvalid(ArtifactStoreError):
    """A payload that is not what its event type says."""

    type: str
    reason: str

    @override
    def __str__(self) -> str:
        return f"payload of {self.type} is invalid: {self.reason}"


@dataclass(frozen=True, slots=True)
class PackageCreated:
    """A package was opened. `retention_duration_us` is null for what never expires."""

    TYPE: ClassVar[str] = "v1.package.created"

    package_id: str
    name: str
    retention_class: str
    retention_duration_us: int | None
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _FileFacts:
    """A file at a path, where its bytes are, and the package's own totals once this event has happened.

    `path_key` is the NFC form as it was computed then: a later Unicode table must not change what a replay builds.
    """

    package_id: str
    package_version: int
    package_files: int
    package_bytes: int
    path: str
    path_key: str
    size_bytes: int
    executable: bool
    media_type: str
    content_address: str
    sha256: str
    backend_id: str
    object_key: str
    retrieval_tier: str
    restore_status: str


@dataclass(frozen=True, slots=True)
class FileIngested(_FileFacts):
    """A file was added at a path that was free."""

    TYPE: ClassVar[str] = "v1.file.ingested"


@dataclass(frozen=True, slots=True)
class FileReplaced(_FileFacts):
    """A file took the place of another one at the same path, on request."""

    TYPE: ClassVar[str] = "v1.file.replaced"

    replaced_content_address: str


@dataclass(frozen=True, slots=True)
class PackageFinalized:
    """A package was sealed. The payload *is* the manifest's canonical CBOR."""

    TYPE: ClassVar[str] = "v1.package.finalized"

    manifest: bytes
    summary: ManifestSummary | None = field(default=None, compare=False)
    """What the manifest says in brief, from who has just built it; it is not part of the event."""


@dataclass(frozen=True, slots=True)
class MetadataSchemaRegistered:
    """A version of a metadata schema was registered. `schema` is its canonical JSON text (RFC 8785)."""

    TYPE: ClassVar[str] = "v1.metadata_schema.registered"

    name: str
    version: int
    schema: str


@dataclass(frozen=True, slots=True)
class ObjectFlagged:
    """Verification found an object damaged or missing; the next ingest of the same content rewrites it."""

    TYPE: ClassVar[str] = "v1.object.flagged"

    content_address: str
    backend_id: str
    integrity: str


@dataclass(frozen=True, slots=True)
class ObjectHealed:
    """A flagged object is whole again."""

    TYPE: ClassVar[str] = "v1.object.healed"

    content_address: str
    backend_id: str


type Payload = (
    PackageCreated
    | FileIngested
    | FileReplaced
    | PackageFinalized
    | MetadataSchemaRegistered
    | ObjectFlagged
    | ObjectHealed
)

_PAYLOAD_BYTES_MAX = 8 << 20
"""More than any payload has but a manifest: the most metadata that a package may have takes 5 MB."""

_Mapped = PackageCreated | FileIngested | FileReplaced | MetadataSchemaRegistered | ObjectFlagged | ObjectHealed
_BY_TYPE: Mapping[str, type[_Mapped]] = {
    mapped.TYPE: mapped
    for mapped in (
        PackageCreated,
        FileIngested,
        FileReplaced,
        MetadataSchemaRegistered,
        ObjectFlagged,
        ObjectHealed,
    )
}


def _kinds_of(hint: object) -> frozenset[type]:
    """The types that a decoded value may have where a payload's field has this annotation; a bool is no int here."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return frozenset(cast("type", typing.get_origin(option) or option) for option in options)


_KINDS: Mapping[str, Mapping[str, frozenset[type]]] = {
    name: {field.name: _kinds_of(typing.get_type_hints(mapped)[field.name]) for field in fields(mapped)}
    for name, mapped in _BY_TYPE.items()
}


def encode_payload(payload: Payload) -> bytes:
    """The canonical CBOR of a payload: a map of its fields, or the manifest's own bytes."""
    if isinstance(payload, PackageFinalized):
        return payload.manifest
    value: dict[str, CanonicalValue] = {}
    for name in _KINDS[payload.TYPE]:
        held: CanonicalValue | Mapping[str, str] = getattr(payload, name)
        value[name] = dict(held) if isinstance(held, Mapping) else held
    return canonical.encode(value)


def decode_payload(event_type: str, payload: bytes) -> Payload:
    """Read the payload of an event of the given type.

    A finalised package's manifest is handed over as bytes; the manifest codec reads it.

    Raises:
        UnknownEventType: this release does not know the type.
        PayloadInvalid: the bytes are canonical CBOR, but not of that type's shape.
        canonical.NotCanonical: the bytes are not canonical CBOR.
    """
    if event_type == PackageFinalized.TYPE:
        return PackageFinalized(payload)
    mapped = _BY_TYPE.get(event_type)
    if mapped is None:
        raise UnknownEventType(event_type)
    value = canonical.decode(payload, max_bytes=_PAYLOAD_BYTES_MAX)
    kinds = _KINDS[event_type]
    if not isinstance(value, dict) or value.keys() != kinds.keys():
        raise PayloadInvalid(event_type, f"expected a map with exactly the keys {', '.join(sorted(kinds))}")
    for name, allowed in kinds.items():
        held = value[name]
        if type(held) not in allowed and not (type(held) is dict and Mapping in allowed and _is_of_text(held)):
            raise PayloadInvalid(event_type, f"{name} has the wrong type")
    # Every field was just checked against its annotation; only the constructor's signature is not expressible.
    construct = cast("typing.Callable[..., _Mapped]", mapped)
    return construct(**value)


def _is_of_text(value: dict[str, CanonicalValue]) -> bool:
    return all(type(item) is str for item in value.values())
