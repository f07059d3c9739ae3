"""The rules for putting entries into a package: taken paths, conflicts of files with directories, and totals.

The same function judges a command's entries and an event's. It reads the state and does not change it.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from artifactstore_protocols.commands import OnExisting
from artifactstore_protocols.entries import Entry
from artifactstore_protocols.packages import PathConflict, PathTaken, TooManyFiles
from artifactstore_protocols.paths import ancestors, path_key
from artifactstore_protocols.state import Needs, PackageState

__all__ = ["Placement", "Totals", "entry_needs", "place_entries"]


class Totals(Struct, frozen=True):
    """A package's totals after a change. `stored_bytes` is the total size of the contents that its ingests stored."""

    version: int
    files: int
    links: int
    directories: int
    total_bytes: int
    stored_bytes: int

    @property
    def entries(self) -> int:
        """The number of entries of all kinds."""
        return self.files + self.links + self.directories

    @classmethod
    def of(cls, package: PackageState) -> "Totals":
        """Return the current totals of a package."""
        counts = package.files, package.links, package.directories
        return cls(package.version, *counts, package.total_bytes, package.stored_bytes)


class Placement(Struct, frozen=True):
    """The changes that some entries make to a package.

    Attributes:
        entries: the entries that are new or replace another one, by path key, in order.
        replaced: the path keys of those that replace another one.
        removed: the path keys of directories that were entries and are no longer empty.
        totals: the totals of the package after the change.
    """

    entries: Mapping[str, Entry]
    replaced: frozenset[str]
    removed: tuple[str, ...]
    totals: Totals


def entry_needs(package_id: str, entries: Sequence[Entry]) -> Needs:
    """Return the state that `place_entries` reads, and the contents that the entries name."""
    keys = {path_key(entry.path) for entry in entries}
    parents = {key.rpartition("/")[0] for key in keys}
    above = {parent for parent in parents if parent}
    for parent in parents:
        above.update(ancestors(parent) if parent else ())
    return Needs(
        packages=frozenset({package_id}),
        entries=frozenset((package_id, key) for key in keys),
        at=frozenset((package_id, key) for key in above),
        contents=frozenset(entry.digest for entry in entries if entry.kind == "file"),
    )


def place_entries(
    package: PackageState, entries: Sequence[Entry], on_existing: OnExisting, *, entries_max: int, stored_bytes: int = 0
) -> Placement:
    """Check entries against a package and against each other, and return the changes that they make.

    Args:
        package: the package before the change.
        entries: the entries, each path at most once.
        on_existing: what to do with an entry whose path is taken.
        entries_max: the maximum number of entries of the package. A package that has more already must not grow.
        stored_bytes: the total size of the contents that the command stores.

    Raises:
        PathTaken: a path, or one that equals it under Unicode NFC, is taken.
        PathConflict: a path would be a directory and something else at once.
        TooManyFiles: the package would have more entries than allowed.
    """
    before = Totals.of(package)
    placed: dict[str, Entry] = {}
    parents: dict[str, str] = {}
    replaced: set[str] = set()
    removed: list[str] = []
    counts = {"file": before.files, "link": before.links, "directory": before.directories}
    total_bytes = before.total_bytes
    seen: dict[str, Entry] = {}
    for entry in entries:
        key = path_key(entry.path)
        if key in seen:
            raise PathTaken(package.package_id, entry.path, seen[key].path)
        seen[key] = entry
        parent = key.rpartition("/")[0]
        if parent and parent not in parents:
            removed += _directories_opened(package, entry.path, key, seen, parents)
        occupant = parents.get(key) or package.below.get(key)
        if occupant is not None:
            if entry.kind == "directory":
                continue  # the directory exists already and is not empty
            raise PathConflict(package.package_id, entry.path, occupant)
        existing = package.entries.get(key)
        if existing is not None:
            if existing == entry and on_existing is not OnExisting.REFUSE:
                continue
            if existing.path != entry.path or on_existing is not OnExisting.REPLACE:
                raise PathTaken(package.package_id, entry.path, existing.path)
            replaced.add(key)
            counts[existing.kind] -= 1
            total_bytes -= existing.size_bytes
        placed[key] = entry
        counts[entry.kind] += 1
        total_bytes += entry.size_bytes
    counts["directory"] -= len(removed)
    if sum(counts.values()) > max(entries_max, before.entries):
        raise TooManyFiles(package.package_id, entries_max)
    counted = counts["file"], counts["link"], counts["directory"]
    totals = Totals(before.version + bool(placed), *counted, total_bytes, before.stored_bytes + stored_bytes)
    return Placement(placed, frozenset(replaced), tuple(removed), totals)


def _directories_opened(
    package: PackageState, path: str, key: str, seen: Mapping[str, Entry], parents: dict[str, str]
) -> list[str]:
    """Add the directories above a path to `parents`. Return those that were entries because they were empty.

    Raises:
        PathConflict: one of them is not a directory.
    """
    removed: list[str] = []
    for directory in ancestors(key):
        if directory in parents:
            continue
        parents[directory] = path
        if (other := seen.get(directory)) is not None:
            raise PathConflict(package.package_id, path, other.path)
        if (existing := package.entries.get(directory)) is not None:
            if existing.kind != "directory":
                raise PathConflict(package.package_id, path, existing.path)
            removed.append(directory)
    return removed
