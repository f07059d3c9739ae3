"""Manifests as bytes: canonical CBOR of exactly the fields that the model has, under the same names.

`decode` accepts what `encode` writes and nothing else: no unknown or missing field, no other type, no other
order, no other encoding of the same. So a manifest and its bytes stand for each other, and the digest of the
bytes is the digest of the manifest. Digests are text, `<algorithm>:<lower-case hex>`.
"""

from collections.abc import Callable, Iterable
from typing import Final

from blake3 import blake3

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import CanonicalValue, NotCanonical
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.identity import ContentAddress, Digest
from artifactstore_protocols.manifest.model import MANIFEST_VERSION, Manifest
from artifactstore_protocols.manifest.parts import (
    ManifestFile,
    ManifestInvalid,
    ManifestPackage,
    ManifestReceipt,
    Producer,
    Provenance,
    RetentionSummary,
)
from artifactstore_protocols.manifest.tree import digest_text

__all__ = ["MANIFEST_BYTES_MAX", "decode", "encode", "manifest_digest", "to_value"]

MANIFEST_BYTES_MAX: Final = 256 * 1024 * 1024
"""The largest manifest that is decoded unless the caller sets another limit; 100,000 files take about 45 MB."""

_SHOWN_CHARS: Final = 80

type _Fields = dict[str, CanonicalValue]


def encode(manifest: Manifest) -> bytes:
    """The canonical CBOR of a manifest."""
    return canonical.encode(to_value(manifest))


def decode(payload: bytes, *, max_bytes: int = MANIFEST_BYTES_MAX) -> Manifest:
    """The manifest whose canonical CBOR is `payload`.

    Raises:
        ManifestInvalid: the bytes are not canonical, larger than `max_bytes`, or break a rule of manifests.
    """
    try:
        value = canonical.decode(payload, max_bytes=max_bytes)
    except NotCanonical as error:
        raise ManifestInvalid("", str(error)) from error
    return _manifest(value)


def manifest_digest(payload: bytes) -> Digest:
    """BLAKE3-256 over the canonical CBOR of a manifest: the identity of a finalised package."""
    return Digest("blake3", blake3(payload).hexdigest())


def to_value(manifest: Manifest) -> CanonicalValue:
    """The manifest as the plain value that CBOR and JSON are made of, maps in canonical CBOR order.

    The order spares the encoder the sorting, which for 100,000 files costs more than the encoding.
    """
    return {
        "files": [_file_value(file) for file in manifest.files],
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
            "total_bytes": manifest.provenance.total_bytes,
            "tree_digest": manifest.provenance.tree_digest,
        },
        "manifest_version": manifest.manifest_version,
        "storage_receipts": [_receipt_value(receipt) for receipt in manifest.storage_receipts],
        "retention_summary": {
            "duration_us": manifest.retention_summary.duration_us,
            "expires_at_us": manifest.retention_summary.expires_at_us,
            "retention_class": manifest.retention_summary.retention_class,
        },
    }


def _in_order(keys: Iterable[str]) -> list[str]:
    return sorted(keys, key=lambda key: (len(encoded := key.encode()), encoded))


def _file_value(file: ManifestFile) -> CanonicalValue:
    return {
        "path": file.path,
        "digest": digest_text(file.digest),
        "sha256": digest_text(file.sha256),
        "executable": file.executable,
        "media_type": file.media_type,
        "size_bytes": file.size_bytes,
    }


def _receipt_value(receipt: ManifestReceipt) -> CanonicalValue:
    return {
        "backend_id": receipt.backend_id,
        "object_key": receipt.object_key,
        "size_bytes": receipt.size_bytes,
        "content_address": digest_text(receipt.content_address.digest),
    }


def _manifest(value: CanonicalValue) -> Manifest:
    # The version comes first: of a later one, unknown fields are not the news.
    version = value.get("manifest_version") if isinstance(value, dict) else None
    if type(version) is int and version != MANIFEST_VERSION:
        raise ManifestInvalid("manifest_version", f"{version} is not {MANIFEST_VERSION}; use a later release")
    names = ("manifest_version", "package", "files", "storage_receipts", "retention_summary", "provenance")
    fields = _fields(value, names)
    return Manifest(
        manifest_version=_integer(fields, "manifest_version"),
        package=_within("package", _package, fields["package"]),
        files=_items(fields, "files", _file),
        storage_receipts=_items(fields, "storage_receipts", _receipt),
        retention_summary=_within("retention_summary", _retention, fields["retention_summary"]),
        provenance=_within("provenance", _provenance, fields["provenance"]),
    )


def _package(value: CanonicalValue) -> ManifestPackage:
    fields = _fields(value, ("package_id", "name", "created_at_us", "finalized_at_us", "metadata"))
    return ManifestPackage(
        package_id=_text(fields, "package_id"),
        name=_text(fields, "name"),
        created_at_us=_integer(fields, "created_at_us"),
        finalized_at_us=_integer(fields, "finalized_at_us"),
        metadata=_within("metadata", _metadata, fields["metadata"]),
    )


def _metadata(value: CanonicalValue) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ManifestInvalid("", "expected a map of text to text")
    return {key: _text(value, key) for key in value}


def _file(value: CanonicalValue) -> ManifestFile:
    fields = _fields(value, ("path", "size_bytes", "executable", "media_type", "digest", "sha256"))
    executable = fields["executable"]
    if not isinstance(executable, bool):
        raise ManifestInvalid("executable", "expected true or false")
    return ManifestFile(
        path=_text(fields, "path"),
        size_bytes=_integer(fields, "size_bytes"),
        executable=executable,
        media_type=_text(fields, "media_type"),
        digest=_address(fields, "digest").digest,
        sha256=_address(fields, "sha256").digest,
    )


def _receipt(value: CanonicalValue) -> ManifestReceipt:
    fields = _fields(value, ("content_address", "backend_id", "object_key", "size_bytes"))
    return ManifestReceipt(
        content_address=_address(fields, "content_address"),
        backend_id=_text(fields, "backend_id"),
        object_key=_text(fields, "object_key"),
        size_bytes=_integer(fields, "size_bytes"),
    )


def _retention(value: CanonicalValue) -> RetentionSummary:
    fields = _fields(value, ("retention_class", "duration_us", "expires_at_us"))
    return RetentionSummary(
        retention_class=_text(fields, "retention_class"),
        duration_us=None if fields["duration_us"] is None else _integer(fields, "duration_us"),
        expires_at_us=None if fields["expires_at_us"] is None else _integer(fields, "expires_at_us"),
    )


def _provenance(value: CanonicalValue) -> Provenance:
    fields = _fields(value, ("producer", "actor", "tree_digest", "file_count", "total_bytes"))
    return Provenance(
        producer=_within("producer", _producer, fields["producer"]),
        actor=_text(fields, "actor"),
        tree_digest=_text(fields, "tree_digest"),
        file_count=_integer(fields, "file_count"),
        total_bytes=_integer(fields, "total_bytes"),
    )


def _producer(value: CanonicalValue) -> Producer:
    fields = _fields(value, ("name", "version"))
    return Producer(name=_text(fields, "name"), version=_text(fields, "version"))


def _fields(value: CanonicalValue, names: tuple[str, ...]) -> _Fields:
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


def _address(fields: _Fields, name: str) -> ContentAddress:
    try:
        return ContentAddress.parse(_text(fields, name))
    except InvalidValue as error:
        raise ManifestInvalid(name, str(error)) from error


def _within[T](where: str, read: Callable[[CanonicalValue], T], value: CanonicalValue) -> T:
    try:
        return read(value)
    except ManifestInvalid as error:
        raise error.within(where) from error.__cause__


def _items[T](fields: _Fields, name: str, read: Callable[[CanonicalValue], T]) -> tuple[T, ...]:
    values = fields[name]
    if not isinstance(values, list):
        raise ManifestInvalid(name, "expected an array")
    return tuple(_within(f"{name}[{index}]", read, value) for index, value in enumerate(values))
