"""What an ingest reads: local directories, files and archives, and the rules for what it takes from them."""

from typing import Final

from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.paths import check_path
from artifactstore_protocols.selection import EVERYTHING, Selection
from artifactstore_protocols.typed import check_fields

__all__ = ["SOURCES_MAX", "Source", "SourceTree"]

_DESCRIPTOR_MAX: Final = 2**31 - 1

SOURCES_MAX: Final = 1000
"""The maximum number of sources of one ingest."""


class Source(Struct, frozen=True):
    """A directory, a file or an archive on this machine.

    Attributes:
        path: a path of this machine, as text; with a `descriptor`, the path of the file in the tree.
        descriptor: an open file or pipe to read instead of the path. It is read to its end and stays open.
        unpack: whether this is a tar archive, also compressed by gzip, bzip2 or xz, or a zip archive, whose entries are
            taken instead of the file.
    """

    path: str
    descriptor: int | None = None
    unpack: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.descriptor is not None and self.descriptor > _DESCRIPTOR_MAX:
            raise InvalidValue("descriptor", str(self.descriptor), "no file has such a number")


class SourceTree(Struct, frozen=True):
    """The sources of one ingest, and how they become one tree.

    A single directory gives the root of the tree its entries. So do archives. A file is an entry of the root. With
    several sources, each directory is an entry of the root too, with everything in it.

    Attributes:
        sources: the sources.
        prefix: the directory of the package that becomes the root of the tree; empty for the package's root.
        links: what to do with symbolic links.
        selection: which entries of directories and archives to take, by their paths in each.
        skip_unreadable: whether to leave out entries that cannot be read.
        strip_components: how many names to remove from the beginning of each path of the tree, before `prefix`.
    """

    sources: tuple[Source, ...]
    prefix: str = ""
    links: LinkPolicy = LinkPolicy.KEEP
    selection: Selection = EVERYTHING
    skip_unreadable: bool = False
    strip_components: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < len(self.sources) <= SOURCES_MAX:
            raise InvalidValue("sources", str(len(self.sources)), f"give one, and at most {SOURCES_MAX}")
        if self.prefix:
            check_path(self.prefix)
