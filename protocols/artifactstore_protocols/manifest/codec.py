"""Manifests as bytes: canonical CBOR of exactly the fields that the model has, under the same names.

`decode` accepts what `encode` writes and nothing else: no unknown or missing field, no other type, no other order, no
other encoding of the same. So a manifest and its bytes stand for each other, and the digest of the bytes is the digest
of the manifest.

Entries and receipts are arrays of their fields, and their digests are byte strings: a file costs about 170 bytes.
"""

from collections.abc import Callable, Iterable
from typing import Final

import cbor2
from blake3 import blake3

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import NotCanonical, RecordValue
from artifactstore_protocols.identity import Digest
from artifactstore_protocols.manifest.entries import ENTRY_KINDS, Entry
from artifactstore_protocols.manifest.model import MANIFEST_VERSION, Manifest
from artifactstore_protocols.manifest.parts import (
    ManifestInvalid,
    ManifestPackage,
    ManifestReceipt,
    Producer,
    Provenance,
    RetentionSummary,
)

__all__ = ["MANIFEST_BYTES_MAX", "decode", "decode_summary", "encode", "manifest_digest", "to_value"]

MANIFEST_BYTES_MAX: Final = 256 * 1024 * 1024
"""The largest manifest that is decoded unless the caller sets another limit; 100,000 files take about 17 MB."""

_BYTES_PER_ITEM: Final = 3
"""How many bytes an item of a manifest takes at least, on average, beyond `canonical.ITEMS_FREE`: a link of a
three-letter path to a one-letter target has 12 bytes and 4 items."""

_SHOWN_CHARS: Final = 80

_FIELDS: Final = (
    "manifest_version",
    "digest_algorithm",
    "package",
    "entries",
    "storage_receipts",
    "retention_summary",
    "provenance",
)

type _Fields = dict[str, RecordValue]


def encode(manifest: Manifest) -> bytes:
    """The canonical CBOR of a manifest."""
    return cbor2.dumps(to_value(manifest))  # making the manifest has checked each value, and the maps are in order


def decode(payload: bytes, *, max_bytes: int = MANIFEST_BYTES_MAX) -> Manifest:
    """The manifest whose canonical CBOR is `payload`.

    Raises:
        ManifestInvalid: the bytes are not canonical, larger than `max_bytes`, or break a rule of manifests.
    """
    try:
        sealed = _manifest(_load(payload, max_bytes))
        canonical.require_canonical(payload, encode(sealed))
    except NotCanonical as error:
        raise ManifestInvalid("", str(error)) from error
    return sealed


def decode_summary(
    payload: bytes, *, max_bytes: int = MANIFEST_BYTES_MAX
) -> tuple[ManifestPackage, RetentionSummary, Provenance]:
    """What a manifest says besides its entries and receipts, which are not judged: three times as fast as `decode`.

    Raises:
        ManifestInvalid: the bytes are not canonical, larger than `max_bytes`, or these parts break a rule of manifests.
    """
    try:
        value = _load(payload, max_bytes)
        canonical.require_canonical(payload, cbor2.dumps(value))
        fields = _fields(value, _FIELDS)
    except NotCanonical as error:
        raise ManifestInvalid("", str(error)) from error
    return (
        _within("package", _package, fields["package"]),
        _within("retention_summary", _retention, fields["retention_summary"]),
        _within("provenance", _provenance, fields["provenance"]),
    )


def _load(payload: bytes, max_bytes: int) -> RecordValue:
    items_max = canonical.ITEMS_FREE + len(payload) // _BYTES_PER_ITEM
    return canonical.load(payload, max_bytes=max_bytes, items_max=items_max)


def manifest_digest(payload: bytes) -> Digest:
    """BLAKE3-256 over the canonical CBOR of a manifest: the identity of a finalized package."""
    return Digest("blake3", blake3(payload).hexdigest())


def to_value(manifest: Manifest) -> dict[str, object]:
    """The manifest as a plain value, maps in canonical CBOR order; entries and receipts are tuples.

    The order saves the encoder the sorting, and the tuples save it copies.
    """
    return {
        "entries": manifest.entries,
        "package": {
            "name": manifest.package.name,
            "metadata": {key: manifest.package.metadata[key] for key in _in_order(manifest.package.metadata)},
            "package_id": manifest.package.package_id,
            "created_at_us": manifest.package.created_at_us,
            "finalized_at_us": manifest.package.finalized_at_us,
        },
        "provenance": {
            "actor": manifest.provenance.actor,
            "producer": {
                "name": manifest.provenance.producer.name,
                "version": manifest.provenance.producer.version,
            },
            "file_count": manifest.provenance.file_count,
            "link_count": manifest.provenance.link_count,
            "total_bytes": manifest.provenance.total_bytes,
            "tree_digest": manifest.provenance.tree_digest,
            "directory_count": manifest.provenance.directory_count,
        },
        "digest_algorithm": manifest.digest_algorithm,
        "manifest_version": manifest.manifest_version,
        "storage_receipts": manifest.storage_receipts,
        "retention_summary": {
            "duration_us": manifest.retention_summary.duration_us,
            "expires_at_us": manifest.retention_summary.expires_at_us,
            "retention_class": manifest.retention_summary.retention_class,
        },
    }


def _in_order(keys: Iterable[str]) -> list[str]:
    return sorted(keys, key=lambda key: (len(encoded := key.encode()), encoded))


def _manifest(value: RecordValue) -> Manifest:
    # The version comes first: of a later one, unknown fields are not the news.
    version = value.get("manifest_version") if isinstance(value, dict) else None
    if type(version) is int and version != MANIFEST_VERSION:
        raise ManifestInvalid("manifest_version", f"{version} is not {MANIFEST_VERSION}; use a later release")
    fields = _fields(value, _FIELDS)
    return Manifest(
        manifest_version=_integer(fields, "manifest_version"),
        digest_algorithm=_text(fields, "digest_algorithm"),
        package=_within("package", _package, fields["package"]),
        entries=_rows(fields, "entries", _entry),
        storage_receipts=_rows(fields, "storage_receipts", _receipt),
        retention_summary=_within("retention_summary", _retention, fields["retention_summary"]),
        provenance=_within("provenance", _provenance, fields["provenance"]),
    )


def _package(value: RecordValue) -> ManifestPackage:
    fields = _fields(value, ("package_id", "name", "created_at_us", "finalized_at_us", "metadata"))
    return ManifestPackage(
        package_id=_text(fields, "package_id"),
        name=_text(fields, "name"),
        created_at_us=_integer(fields, "created_at_us"),
        finalized_at_us=_integer(fields, "finalized_at_us"),
        metadata=_within("metadata", _metadata, fields["metadata"]),
    )


def _metadata(value: RecordValue) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ManifestInvalid("", "expected a map of text to text")
    return {key: _text(value, key) for key in value}


def _entry(row: list[RecordValue]) -> Entry:
    name = row[0] if row and isinstance(row[0], str) else ""
    kind = ENTRY_KINDS.get(name)
    if kind is None:
        raise ManifestInvalid("", f"an entry begins with one of {', '.join(ENTRY_KINDS)}")
    if len(row) != len(kind._fields):
        raise ManifestInvalid("", f"a {name} has the fields {', '.join(kind._fields)}")
    return kind._make(row)  # the manifest checks their types


def _receipt(row: list[RecordValue]) -> ManifestReceipt:
    if len(row) != len(ManifestReceipt._fields):
        raise ManifestInvalid("", f"a receipt has the fields {', '.join(ManifestReceipt._fields)}")
    return ManifestReceipt._make(row)


def _retention(value: RecordValue) -> RetentionSummary:
    fields = _fields(value, ("retention_class", "duration_us", "expires_at_us"))
    return RetentionSummary(
        retention_class=_text(fields, "retention_class"),
        duration_us=None if fields["duration_us"] is None else _integer(fields, "duration_us"),
        expires_at_us=None if fields["expires_at_us"] is None else _integer(fields, "expires_at_us"),
    )


def _provenance(value: RecordValue) -> Provenance:
    counts = ("file_count", "link_count", "directory_count", "total_bytes")
    fields = _fields(value, ("producer", "actor", "tree_digest", *counts))
    return Provenance(
        producer=_within("producer", _producer, fields["producer"]),
        actor=_text(fields, "actor"),
        tree_digest=_text(fields, "tree_digest"),
        **{name: _integer(fields, name) for name in counts},
    )


def _producer(value: RecordValue) -> Producer:
    fields = _fields(value, ("name", "version"))
    return Producer(name=_text(fields, "name"), version=_text(fields, "version"))


def _fields(value: RecordValue, names: tuple[str, ...]) -> _Fields:
    if not isinstance(value, dict):
        raise ManifestInvalid("", f"expected a map with {', '.join(names)}")
    for name in names:
        if name not in value:
            raise ManifestInvalid(name, "this field is missing")
    if len(value) != len(names):
        unknown = next(name for name in value if name not in names)
        raise ManifestInvalid(unknown[:_SHOWN_CHARS], "this field is unknown")
    return value


def _text(fields: _Fields, name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise ManifestInvalid(name[:_SHOWN_CHARS], "expected text")
    return value


def _integer(fields: _Fields, name: str) -> int:
    value = fields[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise ManifestInvalid(name, "expected an integer")
    return value


def _within[T](where: str, read: Callable[[RecordValue], T], value: RecordValue) -> T:
    try:
        return read(value)
    except ManifestInvalid as error:
        raise error.within(where) from error.__cause__


def _rows[T](fields: _Fields, name: str, read: Callable[[list[RecordValue]], T]) -> tuple[T, ...]:
    values = fields[name]
    if not isinstance(values, list):
        raise ManifestInvalid(name, "expected an array")
    rows: list[T] = []
    for index, value in enumerate(values):
        if not isinstance(value, list):
            raise ManifestInvalid(f"{name}[{index}]", "expected an array")
        try:
            rows.append(read(value))
        except ManifestInvalid as error:
            raise error.within(f"{name}[{index}]") from error.__cause__
    return tuple(rows)
