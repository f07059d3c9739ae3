"""What decisions and rules know: the part of the state of a store that a run of commands or events needs.

Whoever holds the log loads what `Needs` names, in the transaction that will write. Decisions read it and never change
it; `event_types` evolve it by each event, so that the next command or event sees what the one before made true.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from artifactstore_protocols.entries import Entry, Place

__all__ = ["ContentState", "LastEvent", "LogState", "Needs", "PackageState", "PlaceState"]


@dataclass(frozen=True, slots=True)
class Needs:
    """What a run of commands or events asks the database for.

    Attributes:
        packages: ids of packages.
        entries: (package id, path key) of entries that are to be written.
        above: (package id, path key) of paths at which only an entry matters, such as every directory above them.
        whole: ids of packages of which every entry is needed.
        contents: primary digests.
        schemas: names of metadata schemas.
    """

    packages: frozenset[str] = frozenset()
    entries: frozenset[tuple[str, str]] = frozenset()
    above: frozenset[tuple[str, str]] = frozenset()
    whole: frozenset[str] = frozenset()
    contents: frozenset[bytes] = frozenset()
    schemas: frozenset[str] = frozenset()

    @classmethod
    def of_all(cls, needs: Iterable["Needs"]) -> "Needs":
        """Return what all of them need together."""
        all_needs = tuple(needs)
        return cls(
            *(frozenset[Any]().union(*(getattr(each, field.name) for each in all_needs)) for field in fields(cls))
        )

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(
            self.packages | other.packages,
            self.entries | other.entries,
            self.above | other.above,
            self.whole | other.whole,
            self.contents | other.contents,
            self.schemas | other.schemas,
        )


@dataclass(slots=True)
class PackageState:
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


@dataclass(frozen=True, slots=True)
class PlaceState:
    """An object at a place. `sequence` is that of the last event that changed its integrity."""

    integrity: str
    sequence: int


@dataclass(slots=True)
class ContentState:
    """A content that the store has had, and its objects."""

    algorithm: str
    sha256: bytes
    size_bytes: int
    places: dict[Place, PlaceState] = field(default_factory=dict[Place, PlaceState])

    @property
    def intact(self) -> bool:
        """Whether one of its objects is not flagged."""
        return any(place.integrity == "intact" for place in self.places.values())


@dataclass(frozen=True, slots=True)
class LastEvent:
    """What the last event of a log says of its command."""

    command_id: str
    actor: str
    type: str


@dataclass(slots=True)
class LogState:
    """What is true after the events so far; holds at least what `Needs` named and exists.

    Attributes:
        packages: by id.
        contents: by primary digest.
        schema_versions: the latest version by name.
        commands: ids of commands that have written events; only those that were asked for.
        last: the last event; None before the first one, and where nobody asked.
    """

    packages: dict[str, PackageState] = field(default_factory=dict[str, PackageState])
    contents: dict[bytes, ContentState] = field(default_factory=dict[bytes, ContentState])
    schema_versions: dict[str, int] = field(default_factory=dict[str, int])
    commands: set[str] = field(default_factory=set[str])
    last: LastEvent | None = None
