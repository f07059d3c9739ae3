"""Why a directory, or something in it, cannot be ingested; each says what to do."""

from dataclasses import dataclass
from typing import override

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = [
    "LinkRefused",
    "NotADirectory",
    "SamePath",
    "SourceInsideStore",
    "SpecialFileRefused",
    "TreeTooLarge",
]


@dataclass(eq=False)
class NotADirectory(ArtifactStoreError):
    """What was to be ingested as a directory is none, or cannot be listed."""

    path: str
    reason: str

    @override
    def __str__(self) -> str:
        return f"{self.path!r} cannot be read as a directory: {self.reason}"


@dataclass(eq=False)
class SourceInsideStore(ArtifactStoreError):
    """A source that belongs to the store that should take it in: it would grow with every ingest."""

    path: str

    @override
    def __str__(self) -> str:
        return f"{self.path!r} belongs to this store itself; name a directory or a file outside the store"


@dataclass(eq=False)
class LinkRefused(ArtifactStoreError):
    """A symbolic link that cannot be stored as what it leads to."""

    path: str
    target: str
    reason: str

    @override
    def __str__(self) -> str:
        return (
            f"symbolic link {self.path!r} -> {self.target!r} {self.reason}; "
            "remove it, or put what it leads to inside the tree"
        )


@dataclass(eq=False)
class SpecialFileRefused(ArtifactStoreError):
    """Something that is neither a file, a directory nor a link."""

    path: str
    kind: str

    @override
    def __str__(self) -> str:
        return f"{self.path!r} is a {self.kind}; only files can be ingested, so remove it or leave it outside the tree"


@dataclass(eq=False)
class SamePath(ArtifactStoreError):
    """Two names of one tree that are the same path under Unicode NFC."""

    path: str
    other: str

    @override
    def __str__(self) -> str:
        return f"{self.path!r} and {self.other!r} are the same path under Unicode NFC; rename one of the two"


@dataclass(eq=False)
class TreeTooLarge(ArtifactStoreError):
    """A tree with more files, or more directories behind links, than a package may hold.

    Attributes:
        path: the tree.
        limit: how many may be there.
        what: there are too many of.
        advice: how to make the tree smaller.
    """

    path: str
    limit: int
    what: str
    advice: str

    @override
    def __str__(self) -> str:
        return (
            f"{self.path!r} holds more than {self.limit} {self.what}; "
            f"{self.advice}, or raise ARTIFACTSTORE_PACKAGE_FILES_MAX"
        )
