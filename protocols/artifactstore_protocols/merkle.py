"""Merkle tree roots by RFC 9162 §2.1.1, with SHA-256.

Leaves and inner nodes are hashed with different prefixes, so an inner node cannot pass for a leaf. A root does not
determine the number of its leaves. Code that publishes a root must include the number, as `manifest.tree_digest` does.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

__all__ = ["merkle_root"]

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


def merkle_root(leaves: Iterable[bytes]) -> bytes:
    """Return the 32-byte root over `leaves` in their order. The root of no leaves is the SHA-256 of zero bytes.

    RFC 9162 splits a list at the largest power of two below its length. Pairing neighbours level by level, and passing
    an odd last node up unchanged, gives the same tree without recursion.
    """
    level = [sha256(_LEAF + leaf).digest() for leaf in leaves]
    if not level:
        return sha256().digest()
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        level = [sha256(_NODE + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
        level += odd
    return level[0]
