"""Why a directory, or something in it, cannot be ingested; each says what to do."""

from dataclasses import dataclass
from typing import Final, NamedTuple, override

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = [
    "LinksRefused",
    "NotADirectory",
    "RefusedLink",
    "SourceInsideStore",
    "SpecialFileRefused",
    "TreeTooLarge",
]

_LINKS_SHOWN: Final = 100
"""Links that the text of an error names."""


@dataclass(eq=False)
class NotADirectory(ArtifactStoreError):
    """What was to be ingested as a directory is none, or cannot be listed."""

    path: str
    reason: str
    template = "{self.path!r} cannot be read as a directory: {self.reason}"


@dataclass(eq=False)
class SourceInsideStore(ArtifactStoreError):
    """A source that belongs to the store that should take it in: it would grow with every ingest."""

    path: str
    template = "{self.path!r} belongs to this store itself; name a directory or a file outside the store"


class RefusedLink(NamedTuple):
    """A symbolic link, what it says, and why it cannot be stored."""

    path: str
    target: str
    reason: str


@dataclass(eq=False)
class LinksRefused(ArtifactStoreError):
    """Symbolic links that cannot be stored.

    Attributes:
        links: all of them, in the order of their paths; only the first one if links are followed.
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
    """Something that is neither a file, a directory nor a link."""

    path: str
    kind: str
    template = "{self.path!r} is a {self.kind}; only files can be ingested, so remove it or leave it outside the tree"


@dataclass(eq=False)
class TreeTooLarge(ArtifactStoreError):
    """A tree with more entries, or more directories behind links, than a package may hold.

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
    template = (
        "{self.path!r} holds more than {self.limit} {self.what}; "
        "{self.advice}, or raise ARTIFACTSTORE_PACKAGE_FILES_MAX"
    )
