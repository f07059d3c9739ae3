"""The package that is copied: its entries, compared with the tree digest that its finalization recorded."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from artifactstore.environment import in_thread
from artifactstore_protocols import manifest
from artifactstore_protocols.entries import Entry, directory_entry, file_entry, link_entry
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.identity import PRIMARY_ALGORITHM, ContentAddress, ContentDigests
from artifactstore_protocols.manifest.codec import decode_summary
from artifactstore_protocols.packages import NotFinalized
from artifactstore_protocols.records import FileRecord, PackageRecord

__all__ = ["CopyDiffers", "Original", "address_of", "check_tree_digest", "digests_of", "entry_of", "original"]


class CopyDiffers(ArtifactStoreError):
    """The entries of a package do not have its tree digest, so no copy of it was finalized.

    Attributes:
        package_id: the package, which is the original or the copy.
        tree_digest: the tree digest that it should have.
        found: the tree digest that its entries have.
    """

    package_id: str
    tree_digest: str
    found: str
    template = (
        "the entries of package {self.package_id} have tree digest {self.found}, not {self.tree_digest}; "
        "no copy was finalized: run `artifactstore replay` in its store, then copy again"
    )


class Original(NamedTuple):
    """A package that can be copied: it is finalized, and its entries have its tree digest."""

    package: PackageRecord
    entries: Sequence[FileRecord]
    manifest_digest: str
    tree_digest: str
    retention_class: str
    """The retention class that the manifest has. Later changes of the retention do not change it."""


async def original(store: EventStore, package_id: str) -> Original:
    """Read a package that is to be copied.

    Raises:
        NotFinalized: the package is open.
        ManifestRedacted: its manifest was redacted, so a copy cannot be verified.
        CopyDiffers: its entries do not have its tree digest.
    """
    package, entries = await store.files(package_id)
    if package.manifest_digest is None or package.tree_digest is None:
        raise NotFinalized(package_id)
    payload = await store.manifest_bytes(package_id)
    if payload is None:
        raise NotFinalized(package_id)
    await check_tree_digest(package_id, entries, package.tree_digest)
    _package, retention, _provenance = await in_thread(partial(decode_summary, payload))
    return Original(package, entries, package.manifest_digest, package.tree_digest, retention.retention_class)


async def check_tree_digest(package_id: str, entries: Sequence[FileRecord], tree_digest: str) -> None:
    """Raise `CopyDiffers` if entries do not have a tree digest."""
    found = await in_thread(partial(_tree_digest, entries))
    if found != tree_digest:
        raise CopyDiffers(package_id, tree_digest, found)


def _tree_digest(entries: Sequence[FileRecord]) -> str:
    algorithms = {address_of(each).digest.algorithm for each in entries if each.kind == "file"}
    digest = manifest.tree_digest(map(_manifest_entry, entries), min(algorithms, default=PRIMARY_ALGORITHM))
    return str(ContentAddress(digest))


def _manifest_entry(entry: FileRecord) -> manifest.Entry:
    if entry.kind == "link":
        return manifest.LinkEntry("link", entry.path, entry.target)
    if entry.kind == "directory":
        return manifest.DirectoryEntry("directory", entry.path)
    digests = digests_of(entry)
    return manifest.FileEntry(
        "file",
        entry.path,
        entry.executable,
        entry.size_bytes,
        entry.media_type,
        digests.primary.raw,
        digests.sha256.raw,
    )


def address_of(entry: FileRecord) -> ContentAddress:
    """Return the content address of a file."""
    return ContentAddress.parse(entry.content_address)


def digests_of(entry: FileRecord) -> ContentDigests:
    """Return both digests of a file."""
    return ContentDigests(address_of(entry).digest, ContentAddress.parse(entry.sha256).digest)


def entry_of(record: FileRecord) -> Entry:
    """Return the entry that an ingest of this record would add."""
    if record.kind == "link":
        return link_entry(record.path, record.target)
    if record.kind == "directory":
        return directory_entry(record.path)
    digest = address_of(record).digest.raw
    return file_entry(record.path, record.executable, record.media_type, record.size_bytes, digest)
