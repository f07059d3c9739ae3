"""Errors that say why a directory, or an entry of it, cannot be ingested, and what to do."""

from dataclasses import dataclass
from typing import Final, NamedTuple, override

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = [
    "IgnoreFileRefused",
    "LinksRefused",
    "NotADirectory",
    "RefusedLink",
    "SourceInsideStore",
    "SpecialFileRefused",
    "TreeTooLarge",
]

_LINKS_SHOWN: Final = 100
"""Maximum number of links that an error message names."""


@dataclass(eq=False)
class NotADirectory(ArtifactStoreError):
    """The path to ingest is not a directory, or the directory cannot be listed."""

    path: str
    reason: str
    template = "{self.path!r} cannot be read as a directory: {self.reason}"


@dataclass(eq=False)
class IgnoreFileRefused(ArtifactStoreError):
    """An ignore file in the tree cannot be used."""

    path: str
    reason: str
    template = "the ignore file {self.path!r} cannot be used: {self.reason}; repair it, or use --no-ignore-files"


@dataclass(eq=False)
class SourceInsideStore(ArtifactStoreError):
    """The source belongs to the store itself. A store that ingests its own files grows with every ingest."""

    path: str
    template = "{self.path!r} belongs to this store itself; name a directory or a file outside the store"


class RefusedLink(NamedTuple):
    """A symbolic link, its target, and the reason why it cannot be stored."""

    path: str
    target: str
    reason: str


@dataclass(eq=False)
class LinksRefused(ArtifactStoreError):
    """Some symbolic links cannot be stored.

    Attributes:
        links: all these links, in the order of their paths; only the first one if links are followed.
    """

    links: tuple[RefusedLink, ...]

    @override
    def __str__(self) -> str:
        count = len(self.links)
        named = [f"{link.path!r} -> {link.target!r} {link.reason}" for link in self.links[:_LINKS_SHOWN]]
        text = ", ".join(named) + (f" and {count - len(named)} more" if count > len(named) else "")
        if count == 1:
            return f"symbolic link {text}; remove it, or put what it leads to inside the tree"
        return f"{count} symbolic links: {text}; remove them, or put what they lead to inside the tree"


@dataclass(eq=False)
class SpecialFileRefused(ArtifactStoreError):
    """An entry is neither a regular file, a directory nor a symbolic link."""

    path: str
    kind: str
    template = "{self.path!r} is a {self.kind}; only files can be ingested, so remove it or leave it out with --exclude"


@dataclass(eq=False)
class TreeTooLarge(ArtifactStoreError):
    """A tree has more entries, more names, or more directories behind links than an ingest allows.

    Attributes:
        path: the directory at the root of the tree.
        limit: the maximum number.
        what: what the limit counts, as a plural noun.
        advice: how to make the tree smaller.
    """

    path: str
    limit: int
    what: str
    advice: str
    template = (
        "{self.path!r} holds more than {self.limit} {self.what}; "
        "{self.advice}, or raise ARTIFACTSTORE_PACKAGE_FILES_MAX"
    )
