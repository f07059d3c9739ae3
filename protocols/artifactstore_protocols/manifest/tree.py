"""The rules that make a set of paths a tree, and the tree digest.

The tree digest is computed from the root of a Merkle tree with one leaf for each entry, so that one entry can be proven
without the others. The arrays below are encoded in canonical CBOR (RFC 8949 §4.2.1). Digests in them are byte strings.

1. The leaf of an entry is an array that depends on the entry's kind:

       ["file", path, executable, size in bytes, primary digest, SHA-256]
       ["link", path, target]
       ["directory", path]                          only if it is empty

   A leaf has no time, owner, media type or place of storage.
2. The leaves are sorted by their paths. Paths are compared as lists of the UTF-8 bytes of their parts: `a`, `a/b`,
   `a.b`.
3. The root is computed by RFC 9162 §2.1.1 with SHA-256: the byte 0x00 is hashed before a leaf, and the byte 0x01 before
   two nodes. The root of no leaves is the SHA-256 of zero bytes.
4. The tree digest is the SHA-256 of the array

       ["artifactstore-tree", name of the primary algorithm, number of leaves, root]

   The first byte of this array, 0x84, begins no hash input of a leaf or a node. So the digest of the empty tree differs
   from the digest of the empty file, and the digest of a tree of one file differs from the hash of its leaf.
"""

from collections.abc import Iterable
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import cbor2

from artifactstore_protocols.identity import PRIMARY_ALGORITHM, Digest
from artifactstore_protocols.merkle import merkle_root
from artifactstore_protocols.paths import PathRefused, path_key, tree_order

if TYPE_CHECKING:
    from artifactstore_protocols.manifest.entries import Entry

__all__ = ["check_tree", "tree_digest"]

_PREFIX: Final = "artifactstore-tree"


def tree_digest(entries: "Iterable[Entry]", digest_algorithm: str = PRIMARY_ALGORITHM) -> Digest:
    """Return the SHA-256 tree digest of entries in any order. The module docstring describes the layout.

    Args:
        entries: the entries of one tree, as `check_entries` accepts them.
        digest_algorithm: the name of the algorithm of their primary digests.
    """
    ordered = sorted(entries, key=lambda entry: tree_order(entry.path))
    root = merkle_root(map(_leaf, ordered))
    head = cbor2.dumps([_PREFIX, digest_algorithm, len(ordered), root])
    return Digest("sha256", sha256(head).hexdigest())


def _leaf(entry: "Entry") -> bytes:
    if entry.kind != "file":
        return cbor2.dumps(entry)
    return cbor2.dumps([entry.kind, entry.path, entry.executable, entry.size_bytes, entry.digest, entry.sha256])


def check_tree(paths: Iterable[str]) -> None:
    """Refuse paths that cannot all be files, links or empty directories of one tree.

    No path may be below another. No two paths may be equal under Unicode NFC, since some file systems normalize names.

    Raises:
        PathRefused: two paths are equal, or equal under NFC, or one is below another.
    """
    ordered = sorted((tree_order(path_key(path)), path) for path in paths)
    for (key, path), (next_key, next_path) in pairwise(ordered):
        if key == next_key:
            twin = f"it equals {path!r} under Unicode NFC; rename one" if path != next_path else "it occurs twice"
            raise PathRefused(next_path, twin)
        if next_key.startswith(f"{key}\0"):
            reason = f"it is a file, a link or an empty directory, so {next_path!r} cannot be below it"
            raise PathRefused(path, reason)
