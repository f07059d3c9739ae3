"""The removal of purged contents from a backup. Every backup does it: a purge must not end at the store."""

from typing import Final

from artifactstore.transfer.backup_objects import BackupObjects
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.identity import ContentAddress
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.storage import Place, StorageError

__all__ = ["remove_purged"]

_PAGE: Final = 256


async def remove_purged(store: EventStore, objects: BackupObjects, head: int) -> int:
    """Delete the contents that the store has purged; return how many objects that were.

    Args:
        store: the event store.
        objects: the objects of the backup.
        head: the last event in the log of the backup. It must know of a purge before the object goes.

    Raises:
        StorageError: an object cannot be deleted.
    """
    plane, deleted, after = objects.plane, 0, ""
    while page := await store.list_purged(after=after, limit=_PAGE):
        keys = [first_key(ContentAddress.parse(each.content_address)) for each in page if each.sequence <= head]
        places = [Place(backend_id, key) for backend_id in plane.backend_ids() for key in keys]
        for answer in await plane.delete_objects(places):
            if isinstance(answer, StorageError):
                raise answer
            deleted += answer
        after = page[-1].content_address
    for backend_id in plane.backend_ids() if deleted else ():
        await plane.compact(backend_id)
    return deleted
