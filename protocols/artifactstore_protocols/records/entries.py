"""Results about the entries of packages, as frozen values."""

from typing import Literal

from msgspec import Struct

from artifactstore_protocols.records.packages import PackageRecord

__all__ = ["DirectoryItem", "EntryChange", "EntryKind", "FileRecord", "FoundEntry"]


type EntryKind = Literal["file", "link", "directory"]


class FileRecord(Struct, frozen=True, gc=False):
    """An entry of a package: a file, a symbolic link or an empty directory.

    Attributes:
        package_id: the id of the package.
        path: its path in the package, exactly as given.
        kind: `file`, `link` or `directory`. Only a file has a size, a media type and digests. For the other kinds,
            these are 0 or empty.
        size_bytes: the length of the file.
        executable: whether the file's owner may execute it.
        media_type: the media type that the caller gave, or that of the file's suffix.
        content_address: the primary digest of the file's bytes.
        sha256: the SHA-256 digest of the file's bytes.
        target: the target of a link, relative to the directory that holds the link; empty for the other kinds.
        sequence: the sequence of the event that wrote the entry.
    """

    package_id: str
    path: str
    kind: EntryKind
    size_bytes: int
    executable: bool
    media_type: str
    content_address: str
    sha256: str
    target: str
    sequence: int


class FoundEntry(Struct, frozen=True):
    """An entry that a search found, with its package."""

    package: PackageRecord
    entry: FileRecord


class DirectoryItem(Struct, frozen=True, gc=False):
    """An item of a directory of a package: a file, a symbolic link, or a directory with everything below it.

    Attributes:
        path: its path in the package.
        kind: `file`, `link` or `directory`.
        bytes: the length of the file; the total size of the files below a directory; 0 for a link.
        entries: the number of files and links: 1, or those below a directory.
        executable: whether the file's owner may execute it.
        media_type: the media type of a file; empty for the other kinds, as are the digest and the target.
        content_address: the primary digest of a file's bytes.
        target: the target of a link.
    """

    path: str
    kind: EntryKind
    bytes: int
    entries: int
    executable: bool = False
    media_type: str = ""
    content_address: str = ""
    target: str = ""


class EntryChange(Struct, frozen=True):
    """A difference between two packages.

    Attributes:
        kind: what happened to the entry.
        before: the entry in the first package; None if it was added.
        after: the entry in the second package; None if it was removed.
    """

    kind: Literal["added", "removed", "changed", "renamed"]
    before: FileRecord | None
    after: FileRecord | None

    @property
    def path(self) -> str:
        """The path in the second package; in the first one if the entry was removed."""
        entry = self.after or self.before
        return "" if entry is None else entry.path
