"""Push by reference: contents are stored first, and then files of a package refer to them by their addresses.

Knowing an address grants nothing. Who may refer to a content has uploaded it for the package, or may read a package
that contains it. An upload leaves a receipt, which ends after a day.
"""

from typing import Final, Literal, override

from msgspec import Struct

from artifactstore_protocols.entries import Entry, directory_entry, file_entry, link_entry
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.media_types import check_media_type, media_type_of

__all__ = [
    "RECEIPT_US",
    "UPLOADED_BYTES_MAX",
    "AddedEntries",
    "ContentsMissing",
    "NewEntry",
    "UploadRights",
    "UploadedContent",
    "added_entry",
]

RECEIPT_US: Final = 24 * 3600 * 1_000_000
"""How long a receipt lasts, in microseconds. An upload is then long over, or its client sends the content again."""

UPLOADED_BYTES_MAX: Final = 4 << 20
"""The most bytes of a content that is uploaded in one piece."""

_SHOWN: Final = 3


class ContentsMissing(ArtifactStoreError):
    """Files refer to contents that the store lacks, or to which the principal may not refer. Nothing says which.

    Attributes:
        contents: the addresses of all such contents, in the order of the files, each once.
    """

    contents: tuple[str, ...]

    @override
    def __str__(self) -> str:
        more = f" and {len(self.contents) - _SHOWN} more" if len(self.contents) > _SHOWN else ""
        return f"contents are missing: {', '.join(self.contents[:_SHOWN])}{more}; store them and add the entries again"


class UploadedContent(Struct, frozen=True):
    """A content that was stored for a package.

    Attributes:
        content_address: its address.
        sha256: its SHA-256, with the name of the algorithm.
        size_bytes: its length in bytes.
    """

    content_address: str
    sha256: str
    size_bytes: int


class AddedEntries(Struct, frozen=True):
    """The result of adding entries to a package by reference.

    Attributes:
        package_id: the id of the package.
        added: how many entries are new. The others were there already, with the same content and attributes.
    """

    package_id: str
    added: int


class NewEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """An entry to add to a package: a file by its content, a symbolic link or an empty directory.

    Attributes:
        path: the path in the package.
        kind: what it is.
        content: of a file, the address of its content. Its size and its SHA-256 are those of the stored content.
        executable: of a file, whether its owner may execute it.
        media_type: of a file, its media type; null derives it from the path.
        target: of a link, where it leads, relative to the directory that holds the link.
    """

    path: str
    kind: Literal["file", "link", "directory"] = "file"
    content: str | None = None
    executable: bool = False
    media_type: str | None = None
    target: str | None = None

    def __post_init__(self) -> None:
        given = {
            name
            for name in ("content", "executable", "media_type", "target")
            if getattr(self, name) is not None and getattr(self, name) is not False
        }
        needed = {"file": {"content"}, "link": {"target"}, "directory": set[str]()}[self.kind]
        allowed = needed | ({"executable", "media_type"} if self.kind == "file" else set[str]())
        if not needed <= given <= allowed:
            reason = "a file has a content, a link has a target, and a directory has neither"
            raise InvalidValue("entry", self.path[:80], reason)
        if self.content is not None:
            ContentAddress.parse(self.content)
        if self.media_type is not None:
            check_media_type(self.media_type)

    @property
    def address(self) -> ContentAddress | None:
        """The address of the content of a file."""
        return None if self.content is None else ContentAddress.parse(self.content)


class UploadRights(Struct, frozen=True):
    """Which contents a principal may refer to in a package.

    Attributes:
        package_id: the id of the package.
        principal: the principal, who may refer to what it has uploaded for the package.
        readable: globs for the names of packages to whose contents it may refer, too.
        now_us: the time, in microseconds since 1970 UTC. Receipts that ended before do not count.
    """

    package_id: str
    principal: str
    readable: tuple[str, ...]
    now_us: int


def added_entry(new: NewEntry, size_bytes: int) -> Entry:
    """Return the entry to add; `size_bytes` is the size of a file's content."""
    if (address := new.address) is not None:
        media_type = new.media_type or media_type_of(new.path)
        return file_entry(new.path, new.executable, media_type, size_bytes, address.digest.raw)
    return directory_entry(new.path) if new.target is None else link_entry(new.path, new.target)
