"""Garbage collection: its records, and the pure decision about what a backend has.

The states of objects and the events between them are in `event_types`; `docs/adr/0033-collection.md` has the reasons.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.object_places import digest_at
from artifactstore_protocols.state import ObjectState
from artifactstore_protocols.storage import KeyRefused, ListedObject, Place

__all__ = [
    "GRACE_S",
    "ORPHAN_AGE_S",
    "CollectableObject",
    "CollectionProgress",
    "CollectionReport",
    "Listed",
    "ObjectTotals",
    "UnreleasedPackage",
    "content_place",
    "sort_listed",
]

GRACE_S: Final = 86_400.0
"""How long a condemned object is kept by default, in seconds: a day to notice a mistake."""

ORPHAN_AGE_S: Final = 86_400.0
"""The age of bytes without a row from which they are orphans by default, in seconds. An ingest commits much sooner."""


class CollectableObject(NamedTuple):
    """A condemned or retired object: its place, its size, and the time since when it has been in this state.

    The size is 0 for an orphan whose content no event has stored.
    """

    place: Place
    size_bytes: int
    changed_at_us: int


class UnreleasedPackage(NamedTuple):
    """A package that is gone and still holds entries: its id, its number, and how many."""

    package_id: str
    number: int
    entries: int


class ObjectTotals(Struct, frozen=True):
    """A number of objects, and their total size in bytes."""

    objects: int = 0
    bytes: int = 0

    def plus(self, objects: int, size_bytes: int) -> "ObjectTotals":
        """Return the totals with further objects."""
        return ObjectTotals(self.objects + objects, self.bytes + size_bytes)


class CollectionProgress(Struct, frozen=True):
    """The progress of a collection: the objects that it has looked at. It does not know their number before."""

    objects: int
    bytes: int
    objects_total: int | None = None
    bytes_total: int | None = None


class CollectionReport(Struct, frozen=True):
    """The result of a collection, or of a dry run, which counts and changes nothing.

    Attributes:
        dry_run: whether nothing was changed.
        entries: the number of entries of deleted and expired packages that were released; in a dry run, to release.
        entry_bytes: in a dry run, the total size of the files among them. The objects of those that no other package
            holds are condemned when the run releases them.
        waiting: condemned objects that stay, because their grace is not over.
        condemned: condemned objects whose grace is over. The run retired and deleted them.
        retired: objects that were retired before, by an ingest or a run that ended early. The run deleted them.
        orphans: bytes that no row names, and that are old enough. The run retired and deleted them.
        late: bytes at keys whose objects were deleted before, from a put that arrived late. The run deleted them.
        deleted: the objects that the run deleted.
        compacted_bytes: the number of bytes by which the compaction made the storage smaller.
        listed: whether the storage was listed. A dry run does that only if it is given an orphan age: else it reads
            totals and takes no longer for a large store, and `orphans` and `late` are not counted.
        waiting_until_at_us: the time from which a run with the same grace deletes all that is `waiting`; None if
            nothing is, and in a dry run.
        failures: the reasons why some objects could not be deleted, or a backend could not be listed or compacted; at
            most 20. The next run tries again.
    """

    dry_run: bool
    entries: int
    waiting: ObjectTotals
    condemned: ObjectTotals
    retired: ObjectTotals
    orphans: ObjectTotals
    late: ObjectTotals
    deleted: ObjectTotals
    compacted_bytes: int
    entry_bytes: int = 0
    listed: bool = True
    waiting_until_at_us: int | None = None
    failures: tuple[str, ...] = ()


class Listed(NamedTuple):
    """The objects of a backend that must go, each with its size: orphans, and bytes at retired or removed keys."""

    orphans: tuple[tuple[Place, int], ...]
    retired: tuple[tuple[Place, int], ...]
    late: tuple[tuple[Place, int], ...]


def content_place(backend_id: str, object_key: str) -> Place | None:
    """Return the place of a key if it is the key of a content; None for any other file, which nobody collects."""
    place = Place(backend_id, object_key)
    try:
        digest_at(place)
    except (KeyRefused, InvalidValue):
        return None
    return place


def sort_listed(
    backend_id: str, listed: Iterable[ListedObject], states: Mapping[Place, ObjectState], orphan_age_s: float
) -> Listed:
    """Decide about the objects that a backend listed.

    Args:
        backend_id: the backend.
        listed: its objects.
        states: the states of those that have a row, read after the list.
        orphan_age_s: the age from which bytes without a row are orphans.
    """
    orphans: list[tuple[Place, int]] = []
    gone: dict[str, list[tuple[Place, int]]] = {"retired": [], "removed": []}
    for object_key, size_bytes, age_s in listed:
        place = content_place(backend_id, object_key)
        if place is None:
            continue
        state = states.get(place)
        if state is None and age_s >= orphan_age_s:
            orphans.append((place, size_bytes))
        elif state in gone:
            gone[state].append((place, size_bytes))
    return Listed(tuple(orphans), tuple(gone["retired"]), tuple(gone["removed"]))
