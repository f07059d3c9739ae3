"""A log as long as one likes, made as it is read: packages of so many files each, for what has to stream."""

from collections.abc import Iterator

from blake3 import blake3

from artifactstore_protocols.entries import Place, StoredObject, file_entry
from artifactstore_protocols.event_types import FilesIngested, ObjectsStored, PackageCreated, Payload, Totals
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.identity import PRIMARY_ALGORITHM, ContentAddress, Digest
from artifactstore_protocols.object_keys import first_key
from command_strategies import LOG_BEGUN, package_id_of, stored_events

__all__ = ["long_log"]


def long_log(events: int, *, files_each: int = 99) -> Iterator[StoredEvent]:
    """So many events, of which the first begins the log: each package has its own, and two for each of its files."""
    yield from stored_events([LOG_BEGUN])
    sequence, package = 1, 0
    while sequence < events:
        package += 1
        number = sequence + 1
        for file in range(files_each + 1):
            payloads = _opened(package) if file == 0 else _file(package, number, file)
            for stored in stored_events(payloads, after=sequence):
                if stored.sequence <= events:
                    yield stored
            sequence += len(payloads)


def _opened(package: int) -> list[Payload]:
    return [PackageCreated(package_id_of(package), f"package {package}", "permanent", None, {})]


def _file(package: int, number: int, file: int) -> list[Payload]:
    digest = blake3(f"{package}/{file}".encode()).digest()
    key = first_key(ContentAddress(Digest(PRIMARY_ALGORITHM, digest.hex())))
    path = f"results/{file:05}.json"
    return [
        ObjectsStored(PRIMARY_ALGORITHM, (StoredObject(digest, digest, 1, Place("local", key)),)),
        FilesIngested(
            package_id=package_id_of(package),
            package_number=number,
            totals=Totals(file + 1, file, 0, 0, file, file),
            digest_algorithm=PRIMARY_ALGORITHM,
            entries=(file_entry(path, False, "application/json", 1, digest),),
            path_keys=(path,),
            replaced=frozenset(),
            removed=(),
        ),
    ]
