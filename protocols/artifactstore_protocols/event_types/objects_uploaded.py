"""The decision that records objects which were stored for no package yet: they start as condemned."""

from artifactstore_protocols.commands import StoreObjects
from artifactstore_protocols.entries import file_entry
from artifactstore_protocols.event_types.files_ingested import check_contents
from artifactstore_protocols.event_types.objects_retired import SUPERSEDED, ObjectsRetired
from artifactstore_protocols.event_types.objects_stored import ObjectsStored, new_objects, superseded, unreferenced
from artifactstore_protocols.identity import PRIMARY_ALGORITHM
from artifactstore_protocols.state import LogState

__all__ = ["store_objects"]


def store_objects(command: StoreObjects, state: LogState) -> tuple[ObjectsStored, ObjectsRetired | None]:
    """Return the payloads that record the objects, and retire those that they supersede.

    The first payload is there even if the log names all objects already.

    Raises:
        ObjectsNotStored: some objects are at keys that are retired. Store their contents at the next places.
        ContentPurged: a content was purged.
        InvalidValue: two different contents have the same address, or a key belongs to another content.
    """
    new = new_objects(command.stored, state, {each.digest for each in command.stored})
    files = [file_entry(each.digest.hex(), False, "", each.size_bytes, each.digest) for each in command.stored]
    check_contents(files, new, command.stored, state)
    gone = superseded(new, state)
    stored = ObjectsStored(PRIMARY_ALGORITHM, new, unreferenced(new, state))
    return stored, ObjectsRetired(gone, SUPERSEDED) if gone else None
