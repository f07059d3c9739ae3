"""What makes a set of paths a tree, and the digest that says which tree it is.

The tree digest is the root of a Merkle tree with one leaf an entry, so that one entry can be proven without the others.
Every byte string below is canonical CBOR (RFC 8949 §4.2.1); digests in it are byte strings.

1. An entry's leaf is an array, by its kind:

       ["file", path, executable, size in bytes, primary digest, SHA-256]
       ["link", path, target]
       ["directory", path]                          only if it is empty

   Nothing else enters: no time, no owner, no media type, no place of storage.
2. The leaves are sorted by the lists of the UTF-8 bytes of their paths' parts: `a`, `a/b`, `a.b`.
3. The root is RFC 9162 §2.1.1 over the leaves with SHA-256: a leaf is hashed after the byte 0x00, two nodes after 0x01,
   and the root of no leaves is SHA-256 of nothing.
4. The tree digest is SHA-256 over the array

       ["artifactstore-tree", name of the primary algorithm, number of leaves, root]

   whose first byte, 0x84, starts neither a leaf nor a node. So the digest of the empty tree is not that of the empty
   file, and the digest of a tree of one file is not that of its leaf.
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
    """The SHA-256 tree digest of entries in any order; the layout is described above.

    Args:
        entries: of one tree, as `check_entries` accepts them.
        digest_algorithm: name of their primary digests' algorithm.
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

    Nothing may be below any of them, and no two may be equal under Unicode NFC, as file systems exist that normalise
    names.

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
