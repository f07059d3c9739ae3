"""A log as long as one likes, made as it is read: packages of so many files each, for what has to stream."""

from collections.abc import Iterator

from blake3 import blake3

from artifactstore_protocols.events import CommandStamp, Event, StoredEvent
from artifactstore_protocols.identity import ContentAddress, Digest
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.payloads import FileIngested, PackageCreated, encode_payload
from command_strategies import Ids, package_id_of

__all__ = ["long_log"]


def long_log(events: int, *, files_each: int = 99) -> Iterator[StoredEvent]:
    """So many events."""
    ids = Ids()
    for number in range(events):
        package, file = divmod(number, files_each + 1)
        package_id = package_id_of(package + 1)
        payload: PackageCreated | FileIngested
        if file == 0:
            payload = PackageCreated(package_id, f"package {package}", "permanent", None, {})
        else:
            payload = _file(package_id, file)
        stamp = CommandStamp(ids())
        yield StoredEvent(
            number + 1, Event(ids(), payload.TYPE, package_id, "ci", number, encode_payload(payload), stamp)
        )


def _file(package_id: str, number: int) -> FileIngested:
    path = f"results/{number:05}.json"
    address = ContentAddress(Digest("blake3", blake3(f"{package_id}/{number}".encode()).hexdigest()))
    return FileIngested(
        package_id=package_id,
        package_version=number + 1,
        package_files=number,
        package_bytes=number,
        path=path,
        path_key=path,
        size_bytes=1,
        executable=False,
        media_type="application/json",
        content_address=str(address),
        sha256=f"sha256:{address.digest.hex}",
        backend_id="local",
        object_key=first_key(address),
        retrieval_tier="immediate",
        restore_status="not_required",
    )
