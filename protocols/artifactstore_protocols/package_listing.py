"""Lists of packages, and of the entries in them: which ones, in which order, and from where on.

A list is read in pages. Its cursor is a package: the next page begins after it. Packages of equal name or size stand in
the order of their creation, so no package is skipped or repeated while others are created. In the order of sizes, an
open package that grows may come twice.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal

from msgspec import Struct, field

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.globs import check_glob, glob_matcher, is_unicode
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.metadata import Metadata, MetadataValue, check_metadata, scalar_text, value_matches
from artifactstore_protocols.paths import path_key
from artifactstore_protocols.records import FoundEntry, PackageRecord, PackageStatus
from artifactstore_protocols.typed import check_fields

__all__ = [
    "ALL",
    "EntryFilter",
    "EntryListing",
    "EntryPage",
    "PackageFilter",
    "PackageListing",
    "Position",
    "SortKey",
    "position_of",
    "raw_digest",
]

_SHOWN_CHARACTERS = 60
_UNLIKELY = frozenset({"", ".", ".."})

type SortKey = Literal["created", "name", "size"]
"""`created` is the order in the log. `name` and `size` compare code points and bytes, and equal ones as created."""

type Position = tuple[str | int, int]
"""A place in a list: the value by which it is sorted, and the sequence of the package's creation."""


class PackageFilter(Struct, frozen=True):
    """Which packages to list. Every given condition must hold. An invalid one raises `InvalidValue`.

    Attributes:
        name: a glob for their names; see `globs`.
        status: `open`, `finalized`, `deleted` or `expired`. Without it, packages that are gone are left out.
        created_by: the principal who created them.
        retention_class: the name of their retention class.
        tag: a glob for tags, of which at least one names the package.
        since_us: the earliest time of creation, in microseconds since 1970 UTC.
        until_us: the time before which they were created.
        metadata: keys and values that their metadata or annotations contain: text, integers and booleans. A text also
            matches an integer or a boolean that is written like it: `412`, `true`.
        made_from: a package that they are made from: an id, and for the methods of the registry whatever names it.
        has: keys of which each is in their metadata or annotations, with any value.
        within: globs for their names, of which at least one matches, as those of a token; None for all names.
    """

    name: str | None = None
    status: PackageStatus | None = None
    created_by: str | None = None
    retention_class: str | None = None
    tag: str | None = None
    since_us: int | None = None
    until_us: int | None = None
    metadata: Metadata = field(default_factory=dict[str, MetadataValue])
    made_from: str | None = None
    has: Sequence[str] = ()
    within: Sequence[str] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for pattern in (self.name, self.tag, *(self.within or ())):
            if pattern is not None:
                check_glob(pattern)
        for key, value in self.metadata.items():
            if scalar_text(value) is None:
                raise InvalidValue("metadata", key[:_SHOWN_CHARACTERS], "search for text, an integer, true or false")
        check_metadata({**dict.fromkeys(self.has, ""), **self.metadata})
        for what, text in (
            ("principal", self.created_by),
            ("retention class", self.retention_class),
            ("package", self.made_from),
        ):
            if text is not None and not is_unicode(text):
                raise InvalidValue(what, text[:_SHOWN_CHARACTERS], "write Unicode text without NUL")

    def matches_name(self, name: str) -> bool:
        """Return whether the condition on the name holds."""
        return (self.name is None or glob_matcher(self.name)(name)) and (
            self.within is None or any(glob_matcher(glob)(name) for glob in self.within)
        )

    def matches(self, package: PackageRecord) -> bool:
        """Return whether every condition holds for a package."""
        values: Metadata = package.values if self.metadata or self.has else self.metadata
        return (
            self.matches_name(package.name)
            and (not package.is_gone if self.status is None else self.status == package.status)
            and self.created_by in {None, package.created_by}
            and self.retention_class in {None, package.retention_class}
            and (self.tag is None or any(map(glob_matcher(self.tag), package.tags)))
            and (self.since_us is None or package.created_at_us >= self.since_us)
            and (self.until_us is None or package.created_at_us < self.until_us)
            and (self.made_from is None or self.made_from in package.parents)
            and all(key in values for key in self.has)
            and all(value_matches(value, values.get(key)) for key, value in self.metadata.items())
        )


ALL: Final = PackageFilter()
"""The filter that every package passes that is not gone."""


class PackageListing(Struct, frozen=True):
    """One page of a list of packages.

    Attributes:
        where: which packages.
        sort: the value by which they are sorted.
        ascending: whether the oldest, first or smallest one comes first. By default it comes last.
        after: the position after which the page begins; None for the first page.
        limit: the maximum number of packages.
    """

    where: PackageFilter = ALL
    sort: SortKey = "created"
    ascending: bool = False
    after: Position | None = None
    limit: int = 500


def position_of(package: PackageRecord, sort: SortKey) -> Position:
    """Return the position of a package in a list that is sorted by this value."""
    values: dict[SortKey, str | int] = {
        "created": package.created_sequence,
        "name": package.name,
        "size": package.bytes,
    }
    return values[sort], package.created_sequence


class EntryFilter(Struct, frozen=True):
    """Which entries to find. Every given condition must hold. Raises `InvalidValue` if one is invalid or none given.

    Attributes:
        path: a glob for their paths, in which `*` stops at `/` and `**` does not.
        name: a glob for the last part of their paths.
        digest: a digest of their content in hex, after `blake3:` or `sha256:`. Without an algorithm it may be either.
    """

    path: str | None = None
    name: str | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.path is None and self.name is None and self.digest is None:
            raise InvalidValue("search", "", "give a path, a name or a digest")
        for pattern in (self.path, self.name):
            if pattern is not None:
                check_glob(pattern)
        if self.path is not None and not _UNLIKELY.isdisjoint(self.path.split("/")):
            plain = "/".join(part for part in self.path.split("/") if part not in _UNLIKELY)
            hint = f"{plain} or {plain}/**" if plain else "**"
            reason = f"no path in a package begins or ends with / or has a part . or ..; write {hint}"
            raise InvalidValue("path", self.path[:_SHOWN_CHARACTERS], reason)
        if self.name is not None and "/" in self.name:
            raise InvalidValue("name", self.name[:_SHOWN_CHARACTERS], "a name has no /; search by path")
        if self.digest is not None:
            raw_digest(self.digest)

    @property
    def globs(self) -> Sequence[str]:
        """The patterns that a path must match, under NFC, as path keys are."""
        of_name = None if self.name is None else f"**/{self.name}"
        return [path_key(each) for each in (self.path, of_name) if each is not None]

    def path_matcher(self) -> Callable[[str], bool]:
        """Return a function that tells whether a path key may be wanted. The digest is for the caller to compare."""
        matchers = [glob_matcher(each, of_paths=True) for each in self.globs]
        return lambda key: all(matches(key) for matches in matchers)


def raw_digest(text: str) -> tuple[str | None, bytes]:
    """Return the algorithm of a digest, which may be missing, and its bytes.

    Raises:
        InvalidValue: the text is no digest.
    """
    algorithm = text.partition(":")[0] if ":" in text else None
    address = ContentAddress.parse(text if algorithm else f"sha256:{text}")
    return algorithm, address.digest.raw


class EntryListing(Struct, frozen=True):
    """One page of a list of entries: newest package first by default, and in each package by path key.

    Attributes:
        entries: which entries.
        packages: of which packages.
        after: the sequence of a package's creation and a path key, after which the page begins; None for the first one.
        limit: the maximum number of entries.
        ascending: whether the oldest package comes first.
    """

    entries: EntryFilter
    packages: PackageFilter = ALL
    after: tuple[int, str] | None = None
    limit: int = 500
    ascending: bool = False


class EntryPage(Struct, frozen=True):
    """What a page of a list of entries has, and where the next one begins.

    A search reads a bounded part of the store for a page, so a page may have fewer entries than its limit, or none.

    Attributes:
        found: the entries.
        after: the position after which the next page begins; None if nothing follows.
    """

    found: Sequence[FoundEntry]
    after: tuple[int, str] | None
