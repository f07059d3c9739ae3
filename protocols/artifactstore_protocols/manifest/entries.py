"""The entries of a manifest: files, symbolic links and empty directories, as the tuples that the manifest holds.

An entry is a plain tuple in the order of its CBOR array, so that 100,000 entries cost no conversion. The constructors
check nothing; `check_entries` checks a whole tree, and `Manifest` calls it.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from artifactstore_protocols.canonical import INTEGER_MAX
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.identity import digest_length
from artifactstore_protocols.links import check_target, escaping_links
from artifactstore_protocols.manifest.parts import ManifestInvalid, refuse
from artifactstore_protocols.manifest.tree import check_tree
from artifactstore_protocols.media_types import check_media_type
from artifactstore_protocols.paths import PathRefused, check_path, tree_order

__all__ = ["ENTRY_KINDS", "DirectoryEntry", "Entry", "FileEntry", "LinkEntry", "check_entries"]

_SHA256_BYTES: Final = digest_length("sha256")

_SHOWN_LINKS: Final = 20
"""The maximum number of links that an error names; it also states how many there are."""


class FileEntry(NamedTuple):
    """A file.

    Attributes:
        kind: `file`.
        path: relative path, as `paths.check_path` accepts it.
        executable: whether the file's owner may execute it.
        size_bytes: length of the content.
        media_type: `type/subtype`, as `media_types.check_media_type` accepts it.
        digest: primary digest of the content, under the manifest's algorithm.
        sha256: SHA-256 of the content.
    """

    kind: Literal["file"]
    path: str
    executable: bool
    size_bytes: int
    media_type: str
    digest: bytes
    sha256: bytes


class LinkEntry(NamedTuple):
    """A symbolic link.

    Attributes:
        kind: `link`.
        path: relative path, as `paths.check_path` accepts it.
        target: the exact target of the link, as `links.check_target` accepts it.
    """

    kind: Literal["link"]
    path: str
    target: str


class DirectoryEntry(NamedTuple):
    """An empty directory. Other directories appear only in the paths of the entries below them.

    Attributes:
        kind: `directory`.
        path: relative path, as `paths.check_path` accepts it.
    """

    kind: Literal["directory"]
    path: str


type Entry = FileEntry | LinkEntry | DirectoryEntry

ENTRY_KINDS: Final[dict[str, type[FileEntry | LinkEntry | DirectoryEntry]]] = {
    "file": FileEntry,
    "link": LinkEntry,
    "directory": DirectoryEntry,
}
"""The class of each kind."""


def check_entries(entries: Sequence[Entry], digest_algorithm: str) -> None:
    """Check that entries make a valid tree in tree order, field by field and as a whole.

    Raises:
        ManifestInvalid: a field has the wrong type or breaks a rule, an entry is out of order, two entries cannot be in
            one tree, or links lead out of the tree.
    """
    try:
        digest_bytes = digest_length(digest_algorithm)
    except InvalidValue as error:
        raise ManifestInvalid("digest_algorithm", str(error)) from error
    media_types = set[str]()
    before = ""
    for index, entry in enumerate(entries):
        try:
            check_path(_text("path", entry.path))
            if type(entry) is FileEntry:
                _check_file(entry, digest_algorithm, digest_bytes, media_types)
            elif type(entry) is LinkEntry:
                check_target(entry.path, _text("target", entry.target))
            if ENTRY_KINDS.get(entry.kind) is not type(entry):
                refuse("kind", f"{entry.kind!r} is not the kind of a {type(entry).__name__}")
            if (order := tree_order(entry.path)) < before:
                refuse("path", f"{entry.path!r} belongs before {entries[index - 1].path!r}")
            before = order
        except PathRefused as error:
            raise ManifestInvalid(f"entries[{index}].path", str(error)) from error
        except ManifestInvalid as error:
            raise error.within(f"entries[{index}]") from error.__cause__
    _check_tree(entries)


def _check_file(entry: FileEntry, digest_algorithm: str, digest_bytes: int, media_types: set[str]) -> None:
    if type(entry.executable) is not bool:
        refuse("executable", f"{entry.executable!r} is not true or false")
    if type(entry.size_bytes) is not int or not 0 <= entry.size_bytes <= INTEGER_MAX:
        refuse("size_bytes", f"{entry.size_bytes!r} is not an integer from 0 to {INTEGER_MAX}")
    if _text("media_type", entry.media_type) not in media_types:
        try:
            media_types.add(check_media_type(entry.media_type))
        except InvalidValue as error:
            raise ManifestInvalid("media_type", str(error)) from error
    if type(entry.digest) is not bytes or len(entry.digest) != digest_bytes:
        refuse("digest", f"a {digest_algorithm} digest is {digest_bytes} bytes")
    if type(entry.sha256) is not bytes or len(entry.sha256) != _SHA256_BYTES:
        refuse("sha256", f"a SHA-256 digest is {_SHA256_BYTES} bytes")
    if digest_algorithm == "sha256" and entry.digest != entry.sha256:
        refuse("sha256", "one content has one SHA-256, and it is the primary digest here")


def _check_tree(entries: Sequence[Entry]) -> None:
    try:
        check_tree(entry.path for entry in entries)
    except PathRefused as error:
        raise ManifestInvalid("entries", str(error)) from error
    links = {entry.path: entry.target for entry in entries if type(entry) is LinkEntry}
    if escaping := escaping_links(links, (entry.path for entry in entries if type(entry) is not LinkEntry)):
        shown = ", ".join(f"{path!r} -> {links[path]!r}" for path in escaping[:_SHOWN_LINKS])
        raise ManifestInvalid("entries", f"{len(escaping)} links lead out of the tree: {shown}")


def _text(where: str, value: object) -> str:
    if type(value) is not str:
        refuse(where, "expected text")
    return value
