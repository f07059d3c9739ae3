"""What decisions and rules know: the part of the state of a store that a run of commands or events needs.

Whoever holds the log loads what `Needs` names, in the transaction that will write. Decisions read it and never change
it; `event_types` evolve it by each event, so that the next command or event sees what the one before made true.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from msgspec import Struct, field

from artifactstore_protocols.entries import Entry, Place

__all__ = [
    "ContentState",
    "EntryCounts",
    "LastEvent",
    "LogState",
    "Needs",
    "ObjectState",
    "PackageState",
    "PlaceState",
]

type ObjectState = Literal["live", "condemned", "retired", "removed"]
"""Packages may refer to a `live` object. A `condemned` one is reprieved by a commit that uses it. The bytes of a
`retired` one may be deleted, which `removed` records; its key is never used again."""

_CURRENT: Final = frozenset({"live", "condemned"})
_NOWHERE: Final[Mapping[Place, "PlaceState"]] = {}


class Needs(Struct, frozen=True):
    """What a run of commands or events asks the database for.

    Attributes:
        packages: ids of packages.
        entries: (package id, path key) of entries that are to be written.
        above: (package id, path key) of paths at which only an entry matters, such as every directory above them.
        whole: ids of packages of which every entry is needed.
        contents: primary digests.
        schemas: names of metadata schemas.
        references: primary digests of contents of which it matters how many entries refer to them.
        counts: whether the entries of all packages are to be counted.
    """

    packages: frozenset[str] = frozenset()
    entries: frozenset[tuple[str, str]] = frozenset()
    above: frozenset[tuple[str, str]] = frozenset()
    whole: frozenset[str] = frozenset()
    contents: frozenset[bytes] = frozenset()
    schemas: frozenset[str] = frozenset()
    references: frozenset[bytes] = frozenset()
    counts: bool = False

    @classmethod
    def of_all(cls, needs: Iterable["Needs"]) -> "Needs":
        """Return what all of them need together."""
        all_needs = tuple(needs)
        names = ("packages", "entries", "above", "whole", "contents", "schemas", "references")
        unions: dict[str, Any] = {
            name: frozenset[Any]().union(*(getattr(each, name) for each in all_needs)) for name in names
        }
        return cls(**unions, counts=any(each.counts for each in all_needs))

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(
            self.packages | other.packages,
            self.entries | other.entries,
            self.above | other.above,
            self.whole | other.whole,
            self.contents | other.contents,
            self.schemas | other.schemas,
            self.references | other.references,
            self.counts or other.counts,
        )


class PackageState(Struct):
    """A package.

    Attributes:
        package_id: which.
        number: the sequence of the event that created it.
        name: its name.
        retention_class: how long it is kept.
        metadata: canonical CBOR.
        created_at_us: when it was created.
        finalized: whether it takes no more changes.
        version: how many events have changed it.
        files: how many entries of each kind it has,
        links: likewise,
        directories: likewise.
        total_bytes: what its files hold.
        entries: by path key; at least those that were needed and exist.
        below: path key of a needed path that has entries below it, to the path of one of them.
    """

    package_id: str
    number: int
    name: str
    retention_class: str
    metadata: bytes
    created_at_us: int
    finalized: bool = False
    version: int = 1
    files: int = 0
    links: int = 0
    directories: int = 0
    total_bytes: int = 0
    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    below: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def is_empty(self) -> bool:
        """Whether it has no entries."""
        return not (self.files or self.links or self.directories)


class PlaceState(Struct, frozen=True, gc=False):
    """An object at a place. `sequence` is that of the event that stored it, or that last changed its integrity."""

    integrity: str
    sequence: int
    state: ObjectState = "live"

    @property
    def is_current(self) -> bool:
        """Whether its bytes should be there."""
        return self.state in _CURRENT

    @property
    def is_usable(self) -> bool:
        """Whether its bytes should be there, and nobody has found them flawed."""
        return self.state in _CURRENT and self.integrity == "intact"


class ContentState(Struct, gc=False):
    """A content that the store has had."""

    algorithm: str
    sha256: bytes
    size_bytes: int


class EntryCounts(NamedTuple):
    """How many entries of each kind there are, and the bytes of the files."""

    files: int = 0
    links: int = 0
    directories: int = 0
    total_bytes: int = 0


class LastEvent(Struct, frozen=True):
    """What the last event of a log says of its command."""

    command_id: str
    actor: str
    type: str


class LogState(Struct):
    """What is true after the events so far; holds at least what `Needs` named and exists.

    Attributes:
        packages: by id.
        contents: by primary digest.
        objects: by primary digest, every place where the content is or was.
        references: by primary digest, how many entries of packages refer to the content.
        counts: of the entries themselves, and as the packages' totals state them; None where nobody asked.
        schema_versions: the latest version by name.
        commands: ids of commands that have written events; only those that were asked for.
        last: the last event; None before the first one, and where nobody asked.
    """

    packages: dict[str, PackageState] = field(default_factory=dict[str, PackageState])
    contents: dict[bytes, ContentState] = field(default_factory=dict[bytes, ContentState])
    objects: dict[bytes, dict[Place, PlaceState]] = field(default_factory=dict[bytes, dict[Place, PlaceState]])
    references: dict[bytes, int] = field(default_factory=dict[bytes, int])
    counts: tuple[EntryCounts, EntryCounts] | None = None
    schema_versions: dict[str, int] = field(default_factory=dict[str, int])
    commands: set[str] = field(default_factory=set[str])
    last: LastEvent | None = None

    def places_of(self, digest: bytes) -> Mapping[Place, PlaceState]:
        """Every place where a content is or was."""
        return self.objects.get(digest, _NOWHERE)

    def set_place(self, digest: bytes, place: Place, held: PlaceState) -> None:
        """Change what is known of an object."""
        self.objects.setdefault(digest, {})[place] = held
