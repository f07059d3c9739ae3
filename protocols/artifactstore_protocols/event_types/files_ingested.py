"""`v1.files.ingested`: one command put entries into a package."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, cast

from msgspec import Struct
from msgspec.structs import replace

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import RecordValue
from artifactstore_protocols.commands import ENTRIES_MAX, IngestFiles, OnExisting, check_entries_bytes
from artifactstore_protocols.entries import Entry, Place, StoredObject, encode_entry, entry_of
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import (
    Codec,
    EventType,
    PayloadInvalid,
    check_equal,
    fields_of,
    require_shortest,
)
from artifactstore_protocols.event_types.ending import check_not_gone
from artifactstore_protocols.event_types.objects_stored import (
    OBJECTS_STORED,
    bytes_brought,
    check_not_purged,
    is_later_generation,
)
from artifactstore_protocols.event_types.placing import Totals, entry_needs, place_entries
from artifactstore_protocols.identity import PRIMARY_ALGORITHM, ContentAddress, Digest
from artifactstore_protocols.ids import check_id
from artifactstore_protocols.object_keys import latest_key, next_key
from artifactstore_protocols.packages import ObjectsNotStored, PackageFinalizedAlready, PackageNotFound
from artifactstore_protocols.paths import ancestors
from artifactstore_protocols.state import EntryCounts, LogState, PackageState
from artifactstore_protocols.views import (
    FILES,
    KIND_DIRECTORY,
    KIND_FILE,
    KIND_LINK,
    PACKAGES,
    Cell,
    Delete,
    Put,
    Row,
    RowOperation,
    Update,
)

if TYPE_CHECKING:
    from artifactstore_protocols.events import StoredEvent

__all__ = [
    "FILES_INGESTED",
    "FilesIngested",
    "add_stored_bytes",
    "check_contents",
    "ingest_files",
    "lost_contents",
    "open_package",
]

_NAME: Final = "v1.files.ingested"
_TEXT, _NUMBER, _LIST = frozenset({str}), frozenset({int}), frozenset({list})
_FIELDS: Final = {
    "package_id": _TEXT,
    "package_number": _NUMBER,
    "package_version": _NUMBER,
    "package_files": _NUMBER,
    "package_links": _NUMBER,
    "package_directories": _NUMBER,
    "package_bytes": _NUMBER,
    "package_stored_bytes": _NUMBER,
    "digest_algorithm": _TEXT,
    "entries": _LIST,
    "path_keys": _LIST,
    "replaced": _LIST,
    "removed": _LIST,
}
_UNLIMITED: Final = 2**63
_KINDS: Final = {"file": KIND_FILE, "link": KIND_LINK, "directory": KIND_DIRECTORY}


class FilesIngested(Struct, frozen=True):
    """One command put entries into a package.

    Attributes:
        package_id: the id of the package; also the subject.
        package_number: the sequence of the event that created the package.
        totals: the package's totals after this event: `package_version`, `package_files`, `package_links`,
            `package_directories`, `package_bytes` and `package_stored_bytes`. The last one is the total size of the
            contents that the package's ingests stored because the store did not have them.
        digest_algorithm: the algorithm of the entries' digests.
        entries: 1 to 256 entries, each path once.
        path_keys: the path of each entry under Unicode NFC, computed when the event was made. The event holds only keys
            that differ from their paths.
        replaced: the path keys of entries that replaced an existing entry. The event holds their indexes.
        removed: path keys of directories that were entries, because they were empty, and are no longer empty.
    """

    package_id: str
    package_number: int
    totals: Totals
    digest_algorithm: str
    entries: tuple[Entry, ...]
    path_keys: tuple[str, ...]
    replaced: frozenset[str]
    removed: tuple[str, ...]


def open_package(package_id: str, state: LogState) -> PackageState:
    """Return a package that accepts changes.

    Raises:
        PackageNotFound: no package has this id.
        PackageGone: the package was deleted or has expired.
        PackageFinalizedAlready: the package is finalized.
    """
    package = state.packages.get(package_id)
    if package is None:
        raise PackageNotFound(package_id)
    check_not_gone(package)
    if package.finalized:
        raise PackageFinalizedAlready(package_id)
    return package


def ingest_files(command: IngestFiles, state: LogState, *, entries_max: int) -> FilesIngested | None:
    """Return the payload that puts entries into a package; None if all of them are there already.

    `add_stored_bytes` adds what the command stores.

    Raises:
        PackageNotFound, PackageGone, PackageFinalizedAlready, PathTaken, PathConflict, TooManyFiles: the package cannot
            take them.
    """
    return _ingested(command.package_id, command.entries, command.on_existing, state, entries_max)


def add_stored_bytes(payload: FilesIngested, new: Sequence[StoredObject], state: LogState) -> FilesIngested:
    """Return the payload with the bytes that the command's new objects bring; `state` is the one before the command."""
    totals = payload.totals
    return replace(payload, totals=replace(totals, stored_bytes=totals.stored_bytes + bytes_brought(new, state)))


def _ingested(
    package_id: str,
    entries: tuple[Entry, ...],
    on_existing: OnExisting,
    state: LogState,
    entries_max: int,
    stored_bytes: int = 0,
) -> FilesIngested | None:
    package = open_package(package_id, state)
    placement = place_entries(package, entries, on_existing, entries_max=entries_max, stored_bytes=stored_bytes)
    if not placement.entries:
        return None
    return FilesIngested(
        package_id=package.package_id,
        package_number=package.number,
        totals=placement.totals,
        digest_algorithm=PRIMARY_ALGORITHM,
        entries=tuple(placement.entries.values()),
        path_keys=tuple(placement.entries),
        replaced=placement.replaced,
        removed=placement.removed,
    )


def lost_contents(payload: FilesIngested, state: LogState) -> tuple[bytes, ...]:
    """Return the contents to which no package refers any more after the event, in the order of the entries."""
    entries = state.packages[payload.package_id].entries
    change: dict[bytes, int] = {}
    for key in payload.path_keys:
        if key in payload.replaced and (digest := entries[key].digest):
            change[digest] = change.get(digest, 0) - 1
    for entry in payload.entries if change else ():
        if entry.digest in change:
            change[entry.digest] += 1
    return tuple(digest for digest, count in change.items() if state.references.get(digest, 0) + count <= 0)


def check_contents(
    entries: Sequence[Entry], new: Sequence[StoredObject], brought: Sequence[StoredObject], state: LogState
) -> None:
    """Check that every file has an intact object that is live, condemned, or recorded by the same command.

    Args:
        entries: the entries that a package is to hold.
        new: the objects that the command records.
        brought: the objects that the command has receipts for; it records those that are new.
        state: the state before the command.

    Raises:
        ObjectsNotStored: some files have no such object.
        InvalidValue: the size of a file differs from the size of its content.
    """
    sizes = {each.digest: each.size_bytes for each in new}
    receipts: dict[bytes, list[Place]] = {}
    for each in brought:
        if each.digest not in sizes:
            receipts.setdefault(each.digest, []).append(each.place)
    refused: dict[bytes, Entry] = {}
    for entry in entries:
        if entry.kind != "file":
            continue
        digest = entry.digest
        if digest not in sizes:
            content = state.contents.get(digest)
            if content is None or not _is_usable(digest, receipts.get(digest, ()), state):
                refused.setdefault(digest, entry)
                continue
            sizes[digest] = content.size_bytes
        check_equal(f"size of {entry.path[:80]!r}", entry.size_bytes, sizes[digest])
    if refused:
        addresses = {digest: ContentAddress(Digest(PRIMARY_ALGORITHM, digest.hex())) for digest in refused}
        known = {digest: [*receipts.get(digest, ()), *sorted(state.places_of(digest))] for digest in refused}
        places = {addresses[digest]: _next_place(places) for digest, places in known.items() if places}
        raise ObjectsNotStored(next(iter(refused.values())).path, tuple(addresses.values()), places)


def refuse_purged(entries: Sequence[Entry], state: LogState) -> None:
    """Refuse entries whose content was purged.

    Raises:
        ContentPurged: the content of a file was.
    """
    for entry in entries if state.purged else ():
        check_not_purged(entry.digest, state, entry.path)


def _is_usable(digest: bytes, receipts: Sequence[Place], state: LogState) -> bool:
    """Return whether a content has a usable object that no receipt supersedes.

    A receipt of a later generation shows that earlier objects cannot be used, even if its own object cannot be recorded
    any more.
    """
    places = state.places_of(digest)
    usable = [place for place, held in places.items() if held.is_usable]
    return bool(usable) and not any(all(is_later_generation(late, place) for place in usable) for late in receipts)


def _next_place(places: Sequence[Place]) -> Place:
    """Return a place in the first place's backend, with a key that none of the places has."""
    return Place(places[0].backend_id, next_key(latest_key(place.object_key for place in places)))


def _encode(payload: FilesIngested) -> bytes:
    return _encoded(payload, [encode_entry(entry) for entry in payload.entries])


def _encoded(payload: FilesIngested, entries: list[RecordValue]) -> bytes:
    """Return the bytes of a payload whose entries `encode_entry` has encoded already."""
    totals = payload.totals
    differing: list[RecordValue] = [
        [index, key]
        for index, (entry, key) in enumerate(zip(payload.entries, payload.path_keys, strict=True))
        if key != entry.path
    ]
    replaced: list[RecordValue] = [index for index, key in enumerate(payload.path_keys) if key in payload.replaced]
    return canonical.encode_checked(
        {
            "package_id": payload.package_id,
            "package_number": payload.package_number,
            "package_version": totals.version,
            "package_files": totals.files,
            "package_links": totals.links,
            "package_directories": totals.directories,
            "package_bytes": totals.total_bytes,
            "package_stored_bytes": totals.stored_bytes,
            "digest_algorithm": payload.digest_algorithm,
            "entries": entries,
            "path_keys": differing,
            "replaced": replaced,
            "removed": list[RecordValue](payload.removed),
        }
    )


def _decode(content: bytes) -> FilesIngested:
    value = fields_of(_NAME, content, _FIELDS, proven=False)
    rows = cast("list[RecordValue]", value["entries"])
    entries = tuple(map(entry_of, rows))
    if not 0 < len(entries) <= ENTRIES_MAX:
        raise PayloadInvalid(_NAME, f"it has 1 to {ENTRIES_MAX} entries")
    keys = [entry.path for entry in entries]
    for pair in cast("list[list[object]]", value["path_keys"]):
        match pair:
            case [int(index), str(key)] if type(index) is int and 0 <= index < len(keys):
                keys[index] = key
            case _:
                raise PayloadInvalid(_NAME, "a path key has the index of an entry, and a text")
    replaced = cast("list[object]", value["replaced"])
    if not all(type(index) is int and 0 <= index < len(keys) for index in replaced):
        raise PayloadInvalid(_NAME, "what is replaced has the index of an entry")
    removed = cast("list[object]", value["removed"])
    if not all(type(key) is str for key in removed):
        raise PayloadInvalid(_NAME, "what is removed is a text")
    number, *totals = (
        cast("int", value[f"package_{name}"])
        for name in ("number", "version", "files", "links", "directories", "bytes", "stored_bytes")
    )
    payload = FilesIngested(
        package_id=cast("str", value["package_id"]),
        package_number=number,
        totals=Totals(*totals),
        digest_algorithm=cast("str", value["digest_algorithm"]),
        entries=entries,
        path_keys=tuple(keys),
        replaced=frozenset(keys[cast("int", index)] for index in replaced),
        removed=cast("tuple[str, ...]", tuple(removed)),
    )
    reason = "path keys and indexes are not in their shortest form and in order"
    require_shortest(_NAME, content, _encoded(payload, rows), reason)
    return payload


def _judge(payload: FilesIngested, stored: "StoredEvent", state: LogState) -> None:
    """Check the event. Events before it have stored or reprieved the objects that its command needs."""
    check_id("package id", payload.package_id)
    check_entries_bytes(payload.entries)
    brought = _bytes_stored_before(payload, stored, state)
    decided = _ingested(payload.package_id, payload.entries, OnExisting.REPLACE, state, _UNLIMITED, brought)
    check_contents(payload.entries, (), (), state)
    for entry in payload.entries:
        if entry.kind == "file" and all(held.state != "live" for held in state.places_of(entry.digest).values()):
            raise InvalidValue("entry", entry.path[:80], "its content is condemned")
    if decided is None or len(decided.entries) != len(payload.entries):
        raise InvalidValue("entries", str(len(payload.entries)), "some of them change nothing")
    check_equal("package number", payload.package_number, decided.package_number)
    check_equal("package totals", payload.totals, decided.totals)
    check_equal("digest algorithm", payload.digest_algorithm, decided.digest_algorithm)
    check_equal("path keys", payload.path_keys, decided.path_keys)
    check_equal("replaced entries", payload.replaced, decided.replaced)
    check_equal("removed directories", payload.removed, decided.removed)


def _bytes_stored_before(payload: FilesIngested, stored: "StoredEvent", state: LogState) -> int:
    """Return the total size of the contents that the event before this one stored, if it is of the same command."""
    before = state.previous
    if before is None or (before.command_id, before.type) != (stored.event.command.command_id, OBJECTS_STORED.name):
        return 0
    sequence = stored.sequence - 1
    brought: dict[bytes, int] = {}
    for entry in payload.entries:
        places = state.places_of(entry.digest).values()
        is_new = all(held.sequence == sequence for held in places if held.is_current)
        if is_new and any(held.sequence == sequence for held in places):
            brought[entry.digest] = entry.size_bytes
    return sum(brought.values())


def _evolve(payload: FilesIngested, _stored: "StoredEvent", state: LogState) -> None:
    package, totals = state.packages[payload.package_id], payload.totals
    counts = EntryCounts(totals.files, totals.links, totals.directories, totals.total_bytes)
    state.fill_package(package, totals.version, counts)
    package.stored_bytes = totals.stored_bytes
    for key in payload.removed:
        package.entries.pop(key, None)
    references = state.references
    for key, entry in zip(payload.path_keys, payload.entries, strict=True):
        if key in payload.replaced and (digest := package.entries[key].digest):
            references[digest] = references.get(digest, 0) - 1
        if entry.digest:
            references[entry.digest] = references.get(entry.digest, 0) + 1
        package.entries[key] = entry
        parent = key.rpartition("/")[0]
        if parent and parent not in package.below:
            for directory in ancestors(key):
                package.below.setdefault(directory, entry.path)


def _rows(payload: FilesIngested, stored: "StoredEvent") -> Iterable[RowOperation]:
    number, totals, sequence = payload.package_number, payload.totals, stored.sequence
    rows: list[Row] = [
        (
            number,
            key,
            None if entry.path == key else entry.path,
            _KINDS[entry.kind],
            int(entry.executable),
            entry.media_type or None,
            entry.digest or None,
            entry.target or None,
            sequence,
        )
        for key, entry in zip(payload.path_keys, payload.entries, strict=True)
    ]
    yield Put(FILES, rows)
    if payload.removed:
        yield Delete(FILES, [(number, key) for key in payload.removed])
    changed: dict[str, Cell] = {
        "version": totals.version,
        "file_count": totals.files,
        "link_count": totals.links,
        "directory_count": totals.directories,
        "total_bytes": totals.total_bytes,
        "stored_bytes": totals.stored_bytes,
    }
    yield Update(PACKAGES, (payload.package_id,), changed)


def _describe(payload: FilesIngested) -> str:
    if len(payload.entries) == 1:
        [entry] = payload.entries
        verb = "replaced" if payload.replaced else "added"
        match entry.kind:
            case "file":
                address = f"{payload.digest_algorithm}:{entry.digest.hex()}"
                return f"{verb} {entry.path!r}, {entry.size_bytes} bytes, {address}"
            case "link":
                return f"{verb} link {entry.path!r} to {entry.target!r}"
            case "directory":
                return f"{verb} empty directory {entry.path!r}"
    size_bytes = sum(entry.size_bytes for entry in payload.entries)
    replaced = f", {len(payload.replaced)} of them replaced" if payload.replaced else ""
    return f"put {len(payload.entries)} entries, {size_bytes} bytes{replaced}: {payload.entries[0].path!r} …"


FILES_INGESTED: Final = EventType(
    name=_NAME,
    codec=Codec(_encode, _decode),
    subject=lambda payload: payload.package_id,
    needs=lambda payload: entry_needs(payload.package_id, payload.entries),
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=_describe,
)
