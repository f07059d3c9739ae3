"""Purging: destroy contents in this store and in named backups, at once and for good.

The event is committed first. It retires the objects, and from then on no command brings a content back. Then their
bytes are deleted at every key that the contents ever had, and the small objects are compacted, which zeroes what they
left behind. Each backup that is named is brought up to date, which deletes the contents there. A purge that dies is
completed by a repeated one.
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from artifactstore.collecting import Collection
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.identity import PRIMARY_ALGORITHM, ContentAddress
from artifactstore_protocols.purging import PurgeContents, PurgeReport, PurgeUnconfirmed

__all__ = ["purge"]


async def purge(
    store: EventStore,
    collection: Collection,
    commit: Callable[[PurgeContents], Awaitable[object]],
    back_up: Callable[[Path], Awaitable[object]],
    *,
    digests: Sequence[str],
    reason: str,
    confirm: Sequence[str],
    backups: Sequence[Path],
) -> PurgeReport:
    """Purge contents.

    Raises:
        InvalidValue: a digest is no content address, or the log names no such content.
        PurgeUnconfirmed: `confirm` does not repeat the digests.
        CollectionRefused: this store may not delete in its object root.
    """
    addresses = tuple(dict.fromkeys(map(_address, digests)))
    command = PurgeContents(tuple(address.digest.raw for address in addresses), reason)
    files = sum([await store.count_files_with_content(str(address)) for address in addresses])
    if {*map(_address, confirm)} != {*addresses}:
        raise PurgeUnconfirmed(tuple(map(str, addresses)), files)
    await collection.check()
    await commit(command)
    report = await collection.destroy(await store.places_of_purged(addresses))
    failures, carried = list(report.failures), list[str]()
    for directory in backups:
        try:
            await back_up(directory)
            carried.append(str(directory))
        except ArtifactStoreError as error:  # the other backups can still be purged
            failures.append(f"backup {directory.name}: {error}")
    records = await store.purged_contents(addresses)
    return PurgeReport(
        contents=tuple(records[address] for address in addresses),
        files=files,
        deleted_objects=report.deleted.objects,
        deleted_bytes=report.deleted.bytes,
        backups=tuple(carried),
        failures=tuple(failures),
    )


def _address(text: str) -> ContentAddress:
    address = ContentAddress.parse(text)
    if address.digest.algorithm != PRIMARY_ALGORITHM:
        raise InvalidValue("digest", text[:80], f"name a content by its digest of {PRIMARY_ALGORITHM}")
    return address
