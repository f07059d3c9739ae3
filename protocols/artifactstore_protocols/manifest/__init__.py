"""Manifests: what a finalised package is, its one byte form, and the digests that identify it.

`parts` and `model` hold the value and its rules, `codec` its canonical CBOR, `projection` the same as RFC
8785 JSON, `tree` the digest of the bare file tree.
"""

from artifactstore_protocols.manifest.codec import MANIFEST_BYTES_MAX, decode, encode, manifest_digest
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
from artifactstore_protocols.manifest.projection import NotCanonicalJson, jcs, jcs_to_cbor
from artifactstore_protocols.manifest.summary import ManifestSummary, summarize
from artifactstore_protocols.manifest.tree import TreeEntry, check_tree, tree_digest

__all__ = [
    "MANIFEST_BYTES_MAX",
    "MANIFEST_VERSION",
    "Manifest",
    "ManifestFile",
    "ManifestInvalid",
    "ManifestPackage",
    "ManifestReceipt",
    "ManifestSummary",
    "NotCanonicalJson",
    "Producer",
    "Provenance",
    "RetentionSummary",
    "TreeEntry",
    "check_tree",
    "decode",
    "encode",
    "jcs",
    "jcs_to_cbor",
    "manifest_digest",
    "summarize",
    "tree_digest",
]
