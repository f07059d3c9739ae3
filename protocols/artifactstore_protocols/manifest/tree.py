"""What makes a set of files a tree, and the digest that says which tree it is.

The tree digest is BLAKE3-256 over one canonical CBOR array (RFC 8949 §4.2.1) with one element a file, in
ascending order of the UTF-8 bytes of the paths. Each element is an array of exactly five:

    [path: text, executable: boolean, size in bytes: integer, primary digest: text, SHA-256: text]

with digests written `<algorithm>:<lower-case hex>`. Nothing else enters: no time, no name, no media type, no
place of storage. So equal trees have equal tree digests anywhere, and a few lines in any language recompute
one.
"""

from collections.abc import Iterable
from operator import attrgetter
from typing import Protocol

from blake3 import blake3

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import CanonicalValue
from artifactstore_protocols.identity import Digest
from artifactstore_protocols.paths import PathRefused, path_key

__all__ = ["TreeEntry", "check_tree", "digest_text", "tree_digest"]


class TreeEntry(Protocol):
    """A file as the tree digest sees it; `ManifestFile` is one."""

    @property
    def path(self) -> str:
        """Relative path, as `paths.check_path` accepts it."""
        ...

    @property
    def executable(self) -> bool:
        """Whether the file's owner may execute it."""
        ...

    @property
    def size_bytes(self) -> int:
        """Length of the content."""
        ...

    @property
    def digest(self) -> Digest:
        """Primary digest of the content."""
        ...

    @property
    def sha256(self) -> Digest:
        """SHA-256 of the content."""
        ...


def digest_text(digest: Digest) -> str:
    """`<algorithm>:<hex>`, as a content address is written, without making one for every file."""
    return f"{digest.algorithm}:{digest.hex}"


def tree_digest(entries: Iterable[TreeEntry]) -> Digest:
    """The digest of a tree of files, given in any order; the layout is described above.

    Raises:
        PathRefused: the paths cannot be files of one tree, see `check_tree`.
    """
    # Code points of valid text sort as their UTF-8 bytes do.
    ordered = sorted(entries, key=attrgetter("path"))
    check_tree(entry.path for entry in ordered)
    rows: list[CanonicalValue] = [
        [
            entry.path,
            entry.executable,
            entry.size_bytes,
            digest_text(entry.digest),
            digest_text(entry.sha256),
        ]
        for entry in ordered
    ]
    return Digest("blake3", blake3(canonical.encode(rows)).hexdigest())


def check_tree(paths: Iterable[str]) -> None:
    """Refuse paths that cannot all be files of one tree, on file systems that normalise names, too.

    Raises:
        PathRefused: two paths are equal, or equal under Unicode NFC, or a file stands where another path
        needs a
            directory.
    """
    files: dict[str, str] = {}
    below: dict[str, str] = {}
    for path in paths:
        key = path_key(path)
        if (other := files.get(key)) is not None:
            twin = "it occurs twice" if other == path else f"it equals {other!r} under Unicode NFC; rename one"
            raise PathRefused(path, twin)
        files[key] = path
        directory = key.rpartition("/")[0]
        while directory and directory not in below:
            below[directory] = path
            directory = directory.rpartition("/")[0]
    for directory in below.keys() & files.keys():
        reason = f"it cannot be a file, since {below[directory]!r} needs a directory there"
        raise PathRefused(files[directory], reason)
