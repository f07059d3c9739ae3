"""The summary of a manifest: the values that the tables of a store need from it.

To read the summary from the bytes, the whole manifest must be decoded, which takes half a second for 100,000 files. The
writer must not block the head of the log for so long. So the code that builds a manifest passes its summary to the
writer. A replay reads the summary from the bytes.
"""

from msgspec import Struct

from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.manifest.codec import decode_summary, manifest_digest
from artifactstore_protocols.manifest.model import Manifest

__all__ = ["ManifestSummary", "summarize"]


class ManifestSummary(Struct, frozen=True):
    """The values that the rows of a finalized package need.

    Attributes:
        package_id: the id of the package.
        finalized_at_us: the time of finalization, in microseconds since 1970 UTC.
        expires_at_us: the time of expiry, likewise; None if the package never expires.
        manifest_digest: the content address of the manifest's bytes.
        tree_digest: the tree digest, as `sha256:<hex>`.
    """

    package_id: str
    finalized_at_us: int
    expires_at_us: int | None
    manifest_digest: str
    tree_digest: str


def summarize(payload: bytes, decoded: Manifest | None = None) -> ManifestSummary:
    """Return the summary of a manifest. The entries are not checked; they were checked before the log accepted them.

    Args:
        payload: the canonical bytes of the manifest.
        decoded: the decoded manifest, if the caller already has it.

    Raises:
        ManifestInvalid: `decoded` is None, and the bytes are invalid as for `decode_summary`.
    """
    if decoded is None:
        package, retention, provenance = decode_summary(payload)
    else:
        package, retention, provenance = decoded.package, decoded.retention_summary, decoded.provenance
    return ManifestSummary(
        package_id=package.package_id,
        finalized_at_us=package.finalized_at_us,
        expires_at_us=retention.expires_at_us,
        manifest_digest=str(ContentAddress(manifest_digest(payload))),
        tree_digest=provenance.tree_digest,
    )
