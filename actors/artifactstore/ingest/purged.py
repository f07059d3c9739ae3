"""The refusal of a package that cannot be finalized, because a content of it was purged while it was open."""

from artifactstore_protocols.event_store import EventStore, PackageContents
from artifactstore_protocols.identity import PRIMARY_ALGORITHM, ContentAddress, Digest
from artifactstore_protocols.purging import ContentPurged

__all__ = ["purged_file"]


async def purged_file(store: EventStore, contents: PackageContents) -> ContentPurged | None:
    """Return the error for the first file without an object whose content was purged; None if there is none."""
    stored = {receipt.digest for receipt in contents.receipts}
    lacking = {
        ContentAddress(Digest(PRIMARY_ALGORITHM, entry.digest.hex())): entry.path
        for entry in contents.entries
        if entry.kind == "file" and entry.digest not in stored
    }
    for address, record in (await store.purged_contents(lacking)).items():
        return record.error_at(lacking[address])
    return None
