"""Manifests of finalized packages: their contents, their canonical encoding, and the digests that identify them.

`entries`, `parts` and `model` define the value and its rules. `codec` has its canonical CBOR, `projection` its RFC 8785
JSON, `summary` its main facts, and `tree` the digest of the tree alone.
"""

from artifactstore_protocols.manifest.codec import MANIFEST_BYTES_MAX, decode, encode, manifest_digest
from artifactstore_protocols.manifest.entries import DirectoryEntry, Entry, FileEntry, LinkEntry
from artifactstore_protocols.manifest.model import MANIFEST_VERSION, Manifest
from artifactstore_protocols.manifest.parts import (
    ManifestInvalid,
    ManifestPackage,
    ManifestReceipt,
    Producer,
    Provenance,
    RetentionSummary,
)
from artifactstore_protocols.manifest.projection import NotCanonicalJson, jcs, jcs_to_cbor, read_jcs
from artifactstore_protocols.manifest.summary import ManifestSummary, summarize
from artifactstore_protocols.manifest.tree import check_tree, tree_digest

__all__ = [
    "MANIFEST_BYTES_MAX",
    "MANIFEST_VERSION",
    "DirectoryEntry",
    "Entry",
    "FileEntry",
    "LinkEntry",
    "Manifest",
    "ManifestInvalid",
    "ManifestPackage",
    "ManifestReceipt",
    "ManifestSummary",
    "NotCanonicalJson",
    "Producer",
    "Provenance",
    "RetentionSummary",
    "check_tree",
    "decode",
    "encode",
    "jcs",
    "jcs_to_cbor",
    "manifest_digest",
    "read_jcs",
    "summarize",
    "tree_digest",
]
