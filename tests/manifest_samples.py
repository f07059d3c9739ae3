"""One small manifest by hand, for examples that drawn ones would not show: three files, two contents."""

import hashlib

from blake3 import blake3

from artifactstore_protocols.identity import ContentAddress, Digest
from artifactstore_protocols.manifest import Manifest, ManifestFile, ManifestPackage, ManifestReceipt, Producer
from artifactstore_protocols.object_keys import first_key

__all__ = ["sample_file", "sample_manifest", "sample_package", "sample_receipt"]

_DAY_US = 86_400_000_000


def sample_file(
    path: str, content: bytes, *, executable: bool = False, media_type: str = "text/markdown"
) -> ManifestFile:
    """A file with this content and its true digests."""
    return ManifestFile(
        path=path,
        size_bytes=len(content),
        executable=executable,
        media_type=media_type,
        digest=Digest("blake3", blake3(content).hexdigest()),
        sha256=Digest("sha256", hashlib.sha256(content).hexdigest()),
    )


def sample_receipt(file: ManifestFile) -> ManifestReceipt:
    """Where the local backend keeps the file's content."""
    address = ContentAddress(file.digest)
    return ManifestReceipt(address, "local", first_key(address), file.size_bytes)


def sample_package() -> ManifestPackage:
    """The package of the sample."""
    return ManifestPackage(
        package_id="0198f3a0-7c00-7000-8000-000000000001",
        name="nightly",
        created_at_us=1_756_000_000_000_000,
        finalized_at_us=1_756_000_060_000_000,
        metadata={"commit": "8ef51b8", "branch": "main", "é": "ü"},
    )


def sample_manifest(*files: ManifestFile) -> Manifest:
    """The sample, or the same package with other files."""
    chosen = files or (
        sample_file("docs/copy.md", b"# Hello\n"),
        sample_file("bin/run", b"#!/bin/sh\nexit 0\n", executable=True, media_type="application/octet-stream"),
        sample_file("docs/a.md", b"# Hello\n"),
    )
    return Manifest.build(
        package=sample_package(),
        files=chosen,
        storage_receipts=[sample_receipt(file) for file in chosen],
        retention_class="ephemeral",
        retention_duration_us=_DAY_US,
        producer=Producer("artifactstore", "0.1.0"),
        actor="ci@example.org",
    )
