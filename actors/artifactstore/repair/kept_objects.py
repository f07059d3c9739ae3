"""The objects of a backup, or an object root without its database, as a source: objects at their first keys."""

from collections.abc import Sequence

from artifactstore.repair.source import Found, Offer
from artifactstore.transfer.backup_objects import BackupObjects
from artifactstore.transfer.objects import NamedObject
from artifactstore_protocols.storage import KnownObject

__all__ = ["KeptObjects"]


class KeptObjects:
    """The objects in a directory that has the form of an object root."""

    def __init__(self, name: str, objects: BackupObjects) -> None:
        self._name = name
        self._objects = objects

    @property
    def name(self) -> str:
        """The path of the directory."""
        return self._name

    async def prepare(self, wanted: Sequence[NamedObject]) -> None:
        """Do nothing: objects are found by their keys."""

    async def find(self, batch: Sequence[NamedObject]) -> Found:
        """Return the objects of the right size. Small objects are read already."""
        offers: list[Offer] = []
        refused = 0
        for each, found in zip(batch, await self._objects.sources(batch), strict=True):
            if found == "damaged":
                refused += 1
            elif not isinstance(found, str):
                offers.append(Offer(each, found))
        return Found(offers, refused)

    async def check(self, batch: Sequence[NamedObject]) -> tuple[Sequence[NamedObject], int]:
        """Read the objects, and return those with both digests."""
        places, sizes = await self._objects.look_up(batch)
        there: list[tuple[NamedObject, KnownObject]] = [
            (each, place) for each, place, size in zip(batch, places, sizes, strict=True) if size == each.size_bytes
        ]
        results = await self._objects.plane.verify_objects([place for _each, place in there])
        sound = [each for (each, _place), result in zip(there, results, strict=True) if result.digests == each.digests]
        return sound, sum(size is not None for size in sizes) - len(sound)
