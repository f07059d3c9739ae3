"""Manifests: what a finalized package is, its one byte form, and the digests that identify it.

`entries`, `parts` and `model` hold the value and its rules, `codec` its canonical CBOR, `projection` the same as RFC
8785 JSON, `tree` the digest of the bare tree.
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
