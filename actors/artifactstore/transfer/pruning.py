"""The removal of objects from a backup whose store has collected them.

An object goes only if the log of the store records that every object of its content is retired or removed, and no entry
refers to the content. What the log does not know stays, because the tables of the store may be damaged.
"""

from collections.abc import Iterable
from itertools import batched
from pathlib import Path
from typing import Final

from artifactstore.transfer.backup_objects import BackupObjects, objects_to_read
from artifactstore.transfer.directory import BackupDirectory
from artifactstore_protocols.collection import ObjectTotals, content_place
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.object_keys import parse_key
from artifactstore_protocols.storage import Place, StorageError

__all__ = ["Pruning", "preview_pruning"]

_LISTED: Final = 1000
_DELETED: Final = 256


class Pruning:
    """The objects of a backup that its store has collected. They take about 300 bytes of memory each.

    Use it in three steps: `look`, then write the log of the backup up to a newer event, then `remove`. So the log of
    the backup retires whatever is removed.
    """

    def __init__(self, store: EventStore, objects: BackupObjects) -> None:
        self._store = store
        self._plane = objects.plane
        self._found: dict[ContentAddress, list[tuple[Place, int]]] = {}

    async def look(self) -> None:
        """Find the objects."""
        for backend_id in self._plane.backend_ids():
            after = ""
            while listed := await self._plane.list_objects(backend_id, after=after, limit=_LISTED):
                page: dict[ContentAddress, tuple[Place, int]] = {}
                for each in listed:
                    if (place := content_place(backend_id, each.object_key)) is not None:
                        page[parse_key(each.object_key)[0]] = place, each.size_bytes
                for address in await self._store.collected_contents(page.keys()):
                    self._found.setdefault(address, []).append(page[address])
                after = listed[-1].object_key

    def keep(self, addresses: Iterable[ContentAddress]) -> None:
        """Keep contents that were stored again after `look`."""
        for address in addresses:
            self._found.pop(address, None)

    async def remove(self) -> ObjectTotals:
        """Delete the objects, except those whose contents were stored again meanwhile. Return what was deleted.

        Raises:
            StorageError: an object cannot be deleted.
        """
        for addresses in batched(tuple(self._found), _DELETED):
            self.keep(set(addresses) - await self._store.collected_contents(addresses))
            places = [place for address in addresses for place, _size in self._found.get(address, ())]
            for answer in await self._plane.delete_objects(places):
                if isinstance(answer, StorageError):
                    raise answer
        for backend_id in self._plane.backend_ids():
            await self._plane.compact(backend_id)
        return self.totals

    @property
    def totals(self) -> ObjectTotals:
        """The number of the objects and their bytes."""
        sizes = [size_bytes for places in self._found.values() for _place, size_bytes in places]
        return ObjectTotals(len(sizes), sum(sizes))


async def preview_pruning(store: EventStore, path: Path) -> ObjectTotals:
    """Return the totals of the objects that pruning would remove from a backup. Change nothing.

    Raises:
        BackupRefused: the directory holds no backup.
    """
    directory = await BackupDirectory.to_read(path)
    async with objects_to_read(directory) as objects:
        pruning = Pruning(store, objects)
        await pruning.look()
    return pruning.totals
