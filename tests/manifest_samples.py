"""One small manifest by hand, for examples that drawn ones would not show: three files, two contents, a link and an
empty directory."""

import hashlib

from blake3 import blake3

from artifactstore_protocols.manifest import (
    DirectoryEntry,
    Entry,
    FileEntry,
    LinkEntry,
    Manifest,
    ManifestPackage,
    ManifestReceipt,
    Producer,
)

__all__ = ["sample_file", "sample_manifest", "sample_package", "sample_receipt"]

_DAY_US = 86_400_000_000


def sample_file(path: str, content: bytes, *, executable: bool = False, media_type: str = "text/markdown") -> FileEntry:
    """A file with this content and its true digests."""
    digest, sha256 = blake3(content).digest(), hashlib.sha256(content).digest()
    return FileEntry("file", path, executable, len(content), media_type, digest, sha256)


def sample_receipt(file: FileEntry) -> ManifestReceipt:
    """Where the local backend keeps the file's content."""
    return ManifestReceipt(file.digest, "local", None)


def sample_package() -> ManifestPackage:
    """The package of the sample."""
    return ManifestPackage(
        package_id="0198f3a0-7c00-7000-8000-000000000001",
        name="nightly",
        created_at_us=1_756_000_000_000_000,
        finalized_at_us=1_756_000_060_000_000,
        metadata={"commit": "8ef51b8", "branch": "main", "é": "ü"},
    )


def sample_manifest(*entries: Entry) -> Manifest:
    """The sample, or the same package with other entries."""
    chosen = entries or (
        sample_file("docs/copy.md", b"# Hello\n"),
        sample_file("bin/run", b"#!/bin/sh\nexit 0\n", executable=True, media_type="application/octet-stream"),
        DirectoryEntry("directory", "logs"),
        sample_file("docs/a.md", b"# Hello\n"),
        LinkEntry("link", "docs/latest", "a.md"),
    )
    return Manifest.build(
        package=sample_package(),
        entries=chosen,
        storage_receipts=[sample_receipt(entry) for entry in chosen if isinstance(entry, FileEntry)],
        retention_class="ephemeral",
        retention_duration_us=_DAY_US,
        producer=Producer("artifactstore", "0.1.0"),
        principal="ci@example.org",
    )
