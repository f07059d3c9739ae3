"""Logs that nobody's commands could have written, each with checksums and chain in order: what only the rules find.

`valid_log` is a log of every event type, `HOSTILE` what somebody may have made of it: a name, the log, and the sequence
of the event that is wrong.
"""
# ruff: noqa: ANN401 - what is changed is any field of any payload, to any value

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from msgspec.structs import replace

from artifactstore import Registry, open_registry
from artifactstore.testing.backend_conformance import key_of
from artifactstore_protocols import manifest
from artifactstore_protocols.canonical import encode
from artifactstore_protocols.commands import Command, ObjectFinding
from artifactstore_protocols.entries import Entry, Place, StoredObject
from artifactstore_protocols.event_types import (
    CLOCK_CONFIRMED,
    CLOCK_OBSERVED,
    COMMAND_NOTED,
    ENTRIES_RELEASED,
    FILES_INGESTED,
    HOLD_PLACED,
    HOLD_RELEASED,
    KEEP_POLICY_DELETED,
    KEEP_POLICY_SET,
    LOG_CREATED,
    OBJECTS_CONDEMNED,
    OBJECTS_FLAGGED,
    OBJECTS_REMOVED,
    OBJECTS_REPRIEVED,
    OBJECTS_RESTORED,
    OBJECTS_RETIRED,
    OBJECTS_STORED,
    PACKAGE_CREATED,
    PACKAGE_DELETED,
    PACKAGE_EXPIRED,
    PACKAGE_FINALIZED,
    RETENTION_CHANGED,
    SCHEMA_REGISTERED,
    STORE_VERIFIED,
    TOKEN_CREATED,
    TOKEN_REVOKED,
    FilesIngested,
    KeepPolicyDeleted,
    KeepPolicySet,
    LogCreated,
    ObjectsFlagged,
    ObjectsRestored,
    ObjectsStored,
    PackageAnnotated,
    PackageFinalized,
    Payload,
    RetentionClassAdded,
    SchemaRequirementDeleted,
    SchemaRequirementSet,
    TagDeleted,
    TagSet,
    encode_payload,
    type_of,
)
from artifactstore_protocols.events import Event, StoredEvent
from artifactstore_protocols.expiry import OBSERVED_EVERY_US
from artifactstore_protocols.keep_rules import KeepRules
from artifactstore_protocols.life_cycle import ABANDONED, ExpirePackage, ObserveClock
from artifactstore_protocols.manifest import DirectoryEntry, LinkEntry, Manifest, ManifestReceipt
from integration.registry.samples import object_file, settings_in, stream_of, whole_log
from stored_objects import overwrite

__all__ = ["hostile_logs", "valid_log"]

type Log = Sequence[StoredEvent]

_NFC, _NFD = "é", "e\u0301"
_ID = "0198f3a0-7c00-7000-8000-00000000{:04}"
_CREATED, _STORED, _FIRST, _STORED_SECOND, _SECOND, _OTHER, _STORED_OPEN, _OPEN = range(2, 10)
_STORED_NEW, _REPLACED, _CONDEMNED, _SCHEMA, _FLAGGED, _VERIFIED, _RESTORED, _VERIFIED_AGAIN = range(10, 18)
_AGAIN, _NOTED, _FINALIZED = range(18, 21)
_STORED_AND_PUT = (OBJECTS_STORED.name, FILES_INGESTED.name)
_TYPES = [
    LOG_CREATED.name,
    PACKAGE_CREATED.name,
    *_STORED_AND_PUT * 2,
    PACKAGE_CREATED.name,
    *_STORED_AND_PUT * 2,
    OBJECTS_CONDEMNED.name,
    SCHEMA_REGISTERED.name,
    OBJECTS_FLAGGED.name,
    STORE_VERIFIED.name,
    OBJECTS_RESTORED.name,
    STORE_VERIFIED.name,
    FILES_INGESTED.name,
    COMMAND_NOTED.name,
    PACKAGE_FINALIZED.name,
    RETENTION_CHANGED.name,
    PACKAGE_CREATED.name,
    *_STORED_AND_PUT,
    FILES_INGESTED.name,
    HOLD_PLACED.name,
    HOLD_RELEASED.name,
    KEEP_POLICY_SET.name,
    KEEP_POLICY_DELETED.name,
    TOKEN_CREATED.name,
    TOKEN_REVOKED.name,
    PACKAGE_DELETED.name,
    ENTRIES_RELEASED.name,
    OBJECTS_CONDEMNED.name,
    PACKAGE_CREATED.name,
    OBJECTS_REPRIEVED.name,
    FILES_INGESTED.name,
    PACKAGE_EXPIRED.name,
    ENTRIES_RELEASED.name,
    OBJECTS_CONDEMNED.name,
    OBJECTS_RETIRED.name,
    OBJECTS_REMOVED.name,
    CLOCK_CONFIRMED.name,
    CLOCK_OBSERVED.name,
]


async def valid_log(directory: Path) -> Log:
    """A log with all types of events but two. The package of the second event is finalized by the twentieth.

    Another package is open. A third one is deleted, and a fourth one expires, after it took over a condemned content.
    """
    settings = settings_in(directory)
    async with open_registry(settings) as registry:
        package = (await registry.create_package("p", metadata={"k": "v"}, idempotency_key="once")).package_id
        await registry.ingest_file(package, "a", stream_of(b"a"))
        await registry.ingest_file(package, "below/b", stream_of(b"bb"))
        other = (await registry.create_package("q")).package_id
        await registry.ingest_file(other, "c", stream_of(b"c"))
        await registry.ingest_file(other, "c", stream_of(b"changed"), replace=True)
        await registry.register_metadata_schema("s", {"type": "object"})
        stored = object_file(settings, (await registry.get_file_record(package, "a")).content_address)
        for content in (b"x", b"a"):  # a disk that reads well again
            overwrite(stored, content)
            await registry.verify()
        await registry.ingest_file(other, _NFD, stream_of(b"a"))
        await registry.ingest_file(other, _NFD, stream_of(b"a"), replace=True, idempotency_key="noted")
        await registry.finalize_package(package)
        await _live_and_end(registry, package)
        log = await whole_log(registry)
    assert [stored.event.type for stored in log] == _TYPES
    return log


async def _live_and_end(registry: Registry, package: str) -> None:
    """The rest of the life of packages and objects."""

    async def tell(command: Command) -> None:
        await registry._commit(command, "ci", None)  # pyright: ignore[reportPrivateUsage]

    await registry.set_retention(package, "30d")
    gone = (await registry.create_package("gone")).package_id
    await registry.ingest_file(gone, "g", stream_of(b"going"))
    await registry.ingest_file(gone, "h", stream_of(b"a"))
    await registry.release_hold((await registry.place_hold(gone, reason="case")).hold_id)
    await registry.set_keep_policy("gone", KeepRules(last=1))
    await registry.delete_keep_policy("gone")
    await registry.create_token("ci", scopes=["read"])
    await registry.revoke_token("ci", "old")
    await registry.delete_package(gone, reason="a test")
    await registry.collect_garbage()
    back = (await registry.create_package("back")).package_id
    await registry.ingest_file(back, "g", stream_of(b"going"))
    await tell(ExpirePackage(back, ABANDONED, 1, 2))
    await registry.collect_garbage(grace_s=0.0)
    confirmed_us = await registry.confirm_clock()
    await tell(ObserveClock(confirmed_us + OBSERVED_EVERY_US))


def hostile_logs(log: Log) -> Iterator[tuple[str, Log, int]]:
    """All of them, by name, with the sequence of the event that is wrong."""
    for name, (sequence, change) in _PAYLOADS.items():
        yield name, _with_payload(log, sequence, change(log[sequence - 1].decode())), sequence
    for name, (sequence, changes) in _EVENTS.items():
        yield name, _with_event(log, sequence, changes(log)), sequence
    for name, finalize in _MANIFESTS.items():
        finalized = manifest.encode(finalize(manifest.decode(log[_FINALIZED - 1].event.payload)))
        yield f"manifest: {name}", _with_event(log, _FINALIZED, {"payload": finalized}), _FINALIZED
    for name, (event_type, number, alter) in _LIVES.items():
        sequence = _nth(log, event_type, number)
        yield name, _with_payload(log, sequence, alter(log, log[sequence - 1].decode())), sequence
    for event_type, number, earlier in _COMMANDS:
        sequence = _nth(log, event_type, number)
        name = f"a command that makes {event_type} {number} after {earlier}"
        yield name, _with_event(log, sequence, _continuing(log, sequence - 1)), sequence
    for name, more in _APPENDED.items():
        yield name, [*log, _appended(log, more(log))], len(log) + 1
    yield "an event before its package", _renumbered([log[0], *log[2:4], log[1], *log[4:]]), 3
    yield "a replaced file that was not there", _renumbered([*log[: _OPEN - 2], *log[_OPEN:]]), _REPLACED - 2
    yield "a content that was never stored", _renumbered([*log[:2], log[_FIRST - 1]]), 3
    yield "a restored object that was never stored", _renumbered([*log[:2], log[_RESTORED - 1]]), 3
    yield "a log that has no beginning", _renumbered(log[1:]), 1
    yield "a log that begins later", _renumbered([log[1], log[0], *log[2:]]), 1
    yield "a log that begins again", _renumbered([*log[:3], log[0], *log[3:]]), 4


_LINK = Entry("link", "a", target="/etc/passwd")

type Change = Callable[[Any], Payload]


def _fields(**changes: object) -> Change:
    return lambda payload: cast("Payload", replace(payload, **changes))


def _totals(**changes: int) -> Change:
    return lambda payload: replace(payload, totals=replace(payload.totals, **changes))


def _entry(path_key: str | None = None, **changes: Any) -> Change:
    """The first entry of `v1.files.ingested` with other fields; its key follows its path unless it is given."""

    def change(payload: FilesIngested) -> Payload:
        entry = payload.entries[0]._replace(**changes)
        key = changes.get("path", payload.path_keys[0]) if path_key is None else path_key
        replaced = frozenset({key}) if payload.replaced else payload.replaced
        return replace(payload, entries=(entry, *payload.entries[1:]), path_keys=(key,), replaced=replaced)

    return change


def _object(**changes: Any) -> Change:
    def change(payload: ObjectsStored) -> Payload:
        return replace(payload, objects=(payload.objects[0]._replace(**changes),))

    return change


def _place(**changes: str) -> Change:
    def change(payload: ObjectsStored) -> Payload:
        [stored] = payload.objects
        return replace(payload, objects=(stored._replace(place=stored.place._replace(**changes)),))

    return change


def _finding(**changes: Any) -> Change:
    def change(payload: ObjectsFlagged | ObjectsRestored) -> Payload:
        return replace(payload, findings=(payload.findings[0]._replace(**changes),))

    return change


_PAYLOADS: dict[str, tuple[int, Change]] = {
    "a path that leaves the package": (_FIRST, _entry(path="../../x")),
    "an absolute path": (_FIRST, _entry(path="/abs/x")),
    "a part of dots": (_SECOND, _entry(path="a/./b")),
    "an empty path": (_FIRST, _entry(path="")),
    "a backslash": (_FIRST, _entry(path="a\\b")),
    "a control character in a path": (_FIRST, _entry(path="a\x1b[2J")),
    "a part that is too long": (_FIRST, _entry(path="a" * 256)),
    "a file where a directory is": (_AGAIN, _entry(path="c/d")),
    "a key that is another path": (_FIRST, _entry("b")),
    "a key that is not NFC": (_AGAIN, _entry(_NFD)),
    "a link out of the store": (_FIRST, lambda payload: replace(payload, entries=(_LINK,))),
    "a link that says it is a file": (_FIRST, lambda payload: replace(payload, entries=(_LINK._replace(kind="file"),))),
    "an object key that leaves the root": (_STORED, _place(object_key="../../../x")),
    "a negative size": (_FIRST, _entry(size_bytes=-1)),
    "a negative size of an object": (_STORED, _object(size_bytes=-1)),
    "a size that is not its content's": (_AGAIN, _entry(size_bytes=2)),
    "a digest that is too short": (_FIRST, _entry(digest=b"\0")),
    "a digest of an object that is too short": (_STORED, _object(digest=b"\0")),
    "a SHA-256 that is too short": (_STORED, _object(sha256=b"\0")),
    "an object that is there already": (_STORED_SECOND, lambda payload: replace(payload, objects=payload.objects * 2)),
    "digests of another algorithm": (_STORED, _fields(digest_algorithm="sha256")),
    "digests of an entry of another algorithm": (_FIRST, _fields(digest_algorithm="sha256")),
    "a media type with parameters": (_FIRST, _entry(media_type="text/plain; charset=utf-8")),
    "a media type with a line break": (_FIRST, _entry(media_type="text/plain\n")),
    "a tier that no backend has": (_STORED, _object(retrieval_tier="tomorrow")),
    "a restore that no backend has": (_STORED, _object(restore_status="\x1b[2J")),
    "a backend with a control character": (_STORED, _place(backend_id="local\x07")),
    "a flag in a backend without a name": (_FLAGGED, _finding(place=Place("", "x"))),
    "a flag in a backend that never stored it": (_FLAGGED, _finding(place=Place("s3", "x"))),
    "a count that is too large": (_SECOND, _totals(files=3)),
    "links that are not there": (_SECOND, _totals(links=1)),
    "directories that are not there": (_SECOND, _totals(directories=1)),
    "a sum that is too small": (_SECOND, _totals(total_bytes=2)),
    "stored bytes that no ingest brought": (_SECOND, _totals(stored_bytes=99)),
    "stored bytes of a content that was there": (_AGAIN, _totals(stored_bytes=99)),
    "a version that is left out": (_SECOND, _totals(version=4)),
    "a package number that is another's": (_SECOND, _fields(package_number=_OTHER)),
    "a directory that never was an entry": (_SECOND, _fields(removed=("below",))),
    "a new file that says it replaces one": (_FIRST, _fields(replaced=frozenset({"a"}))),
    "a replaced file that says it is new": (_REPLACED, _fields(replaced=frozenset[str]())),
    "a command that is noted for no package": (_NOTED, _fields(package_id="p")),
    "a package without a name": (_CREATED, _fields(name="")),
    "a control character in a name": (_CREATED, _fields(name="p\x1b[2J")),
    "a name that is too long": (_CREATED, _fields(name="n" * 201)),
    "a control character in a key of metadata": (_CREATED, _fields(metadata={"k\n": "v"})),
    "metadata that is too long": (_CREATED, _fields(metadata={"k": "v" * 5000})),
    "too much metadata": (_CREATED, _fields(metadata={str(number): "" for number in range(257)})),
    "an unknown retention class": (_CREATED, _fields(retention_class="forever")),
    "a retention that is not its class's": (_CREATED, _fields(retention_duration_us=1)),
    "a negative retention": (_CREATED, _fields(retention_duration_us=-1)),
    "a package id that is none": (_CREATED, _fields(package_id="../x")),
    "a schema version that is left out": (_SCHEMA, _fields(version=2)),
    "a schema that is no JSON": (_SCHEMA, _fields(schema="{")),
    "a schema that is not canonical": (_SCHEMA, _fields(schema='{"type": "object"}')),
    "a schema with a control character in its name": (_SCHEMA, _fields(name="s\x01")),
    "an integrity that is none": (_FLAGGED, _finding(integrity="fine")),
    "a flag that says that all is well": (_FLAGGED, _finding(integrity="intact")),
    "a flag of what was never stored": (_FLAGGED, _finding(digest=bytes(32))),
    "a restored object that is flawed": (_RESTORED, _finding(integrity="damaged")),
}

_EVENTS: dict[str, tuple[int, Callable[[Log], dict[str, Any]]]] = {
    "a subject that is another package": (_FIRST, lambda log: {"subject": log[_OTHER - 1].event.subject}),
    "a subject that is no package": (_CREATED, lambda _log: {"subject": "x"}),
    "a flag with another subject": (_FLAGGED, lambda _log: {"subject": f"blake3:{'0' * 64}"}),
    "a restored object with another subject": (_RESTORED, lambda _log: {"subject": f"blake3:{'0' * 64}"}),
    "a stored object with another subject": (_STORED, lambda log: {"subject": log[1].event.subject}),
    "a control character in a principal": (_STORED, lambda _log: {"principal": "mallory\x1b[2J"}),
    "no principal": (_STORED, lambda _log: {"principal": ""}),
    "a beginning with a digest": (1, lambda log: _stamp(log, 1, digest=log[1].event.command.digest)),
    "a beginning of another log": (1, lambda _log: {"subject": _ID.format(3)}),
    "a log id that is none": (1, lambda _log: {"payload": encode({"log_id": "x"}), "subject": "x"}),
    "a time that goes back": (_OTHER, lambda log: {"recorded_at_us": log[0].event.recorded_at_us - 1}),
    "a time before 1970": (_FIRST, lambda _log: {"recorded_at_us": -1}),
    "an event id that comes twice": (_OTHER, lambda log: {"event_id": log[0].event.event_id}),
    "a command that continues later": (_OTHER, lambda log: _stamp(log, _OTHER, command_id=_command(log, _FIRST))),
    "a command that changes hands": (_FIRST, lambda _log: {"principal": "mallory"}),
    "a command that opens and stores": (_STORED, lambda log: _continuing(log, _CREATED)),
    "a command that adds and opens": (_OTHER, lambda log: _continuing(log, _SECOND)),
    "a command that adds and stores": (_STORED_SECOND, lambda log: _continuing(log, _FIRST)),
    "a command that adds and registers": (_SCHEMA, lambda log: _continuing(log, _REPLACED)),
    "a command that registers and flags": (_FLAGGED, lambda log: _continuing(log, _SCHEMA)),
    "a command that is noted without a key": (_NOTED, lambda log: _stamp(log, _NOTED, idempotency_key=None)),
    "a command that adds and is noted": (_NOTED, lambda log: _continuing(log, _AGAIN)),
    "a command that adds and finalizes": (_FINALIZED, lambda log: _continuing(log, _AGAIN)),
    "a digest on the second event of a command": (
        _FIRST,
        lambda log: _stamp(log, _FIRST, digest=log[_STORED - 1].event.command.digest),
    ),
    "a digest that is none": (_OTHER, lambda log: _stamp(log, _OTHER, digest="blake3:00")),
    "a digest of another kind": (_OTHER, lambda log: _stamp(log, _OTHER, digest=f"sha256:{'0' * 64}")),
    "a key without a digest": (_OTHER, lambda log: _stamp(log, _OTHER, digest=None, idempotency_key="k")),
    "a key that comes twice": (_OTHER, lambda log: _stamp(log, _OTHER, idempotency_key="once")),
    "a control character in a key": (_OTHER, lambda log: _stamp(log, _OTHER, idempotency_key="k\n")),
    "another type": (_OPEN, lambda _log: {"type": OBJECTS_STORED.name}),
    "a payload that is cut off": (_FIRST, lambda log: {"payload": log[_FIRST - 1].event.payload[:-1]}),
    "a manifest that is cut off": (_FINALIZED, lambda log: {"payload": log[_FINALIZED - 1].event.payload[:-1]}),
    "a manifest of another package": (_FINALIZED, lambda log: {"subject": log[_OTHER - 1].event.subject}),
}

_MANIFESTS: dict[str, Callable[[Manifest], Manifest]] = {
    "another name": lambda finalized: replace(finalized, package=replace(finalized.package, name="other")),
    "other metadata": lambda finalized: replace(finalized, package=replace(finalized.package, metadata={"k": "w"})),
    "a finalization long before the last event": lambda finalized: _rebuilt(
        finalized, finalized.files, finalized_at_us=finalized.package.finalized_at_us - (1 << 40)
    ),
    "another time of creation": lambda finalized: replace(
        finalized, package=replace(finalized.package, created_at_us=1)
    ),
    "another principal": lambda finalized: replace(
        finalized, provenance=replace(finalized.provenance, principal="mallory")
    ),
    "a file less": lambda finalized: _rebuilt(finalized, finalized.files[:1]),
    "a file more": lambda finalized: _rebuilt(finalized, [*finalized.files, finalized.files[0]._replace(path="c")]),
    "a link more": lambda finalized: _rebuilt(finalized, [*finalized.files, LinkEntry("link", "c", "a")]),
    "an empty directory more": lambda finalized: _rebuilt(
        finalized, [*finalized.files, DirectoryEntry("directory", "c")]
    ),
    "a link in place of a file": lambda finalized: _rebuilt(
        finalized, [LinkEntry("link", finalized.files[0].path, "x"), finalized.files[1]]
    ),
    "a file of another name": lambda finalized: _rebuilt(
        finalized, [finalized.files[0]._replace(path="z"), finalized.files[1]]
    ),
    "a file that is executable": lambda finalized: _rebuilt(
        finalized, [finalized.files[0]._replace(executable=True), finalized.files[1]]
    ),
    "a file of another type": lambda finalized: _rebuilt(
        finalized, [finalized.files[0]._replace(media_type="text/x-c"), finalized.files[1]]
    ),
    "a file of another content": lambda finalized: _rebuilt(
        finalized, [finalized.files[0]._replace(digest=bytes(32)), finalized.files[1]]
    ),
    "another retention": lambda finalized: _rebuilt(
        finalized, finalized.files, retention_class="permanent", duration_us=None
    ),
    "an object key of another content": lambda finalized: replace(
        finalized,
        storage_receipts=(
            finalized.storage_receipts[0]._replace(object_key="blake3/x"),
            *finalized.storage_receipts[1:],
        ),
    ),
}


def _with_payload(log: Log, sequence: int, payload: Payload) -> Log:
    subject = log[sequence - 1].event.subject if isinstance(payload, PackageFinalized) else _subject(payload)
    return _with_event(log, sequence, {"payload": encode_payload(payload), "subject": subject})


def _subject(payload: Payload) -> str:
    """What an event is about is so in both places."""
    return type_of(payload).subject(payload)


def _with_event(log: Log, sequence: int, changes: dict[str, Any]) -> Log:
    changed = StoredEvent(sequence, replace(log[sequence - 1].event, **changes))
    return [*log[: sequence - 1], changed, *log[sequence:]]


def _stamp(log: Log, sequence: int, **changes: str | None) -> dict[str, Any]:
    return {"command": replace(log[sequence - 1].event.command, **changes)}


def _continuing(log: Log, before: int) -> dict[str, Any]:
    """What an event says that continues with the command of the one before it."""
    earlier = log[before - 1].event
    return {"principal": earlier.principal, "command": replace(earlier.command, digest=None, idempotency_key=None)}


def _command(log: Log, sequence: int) -> str:
    return log[sequence - 1].event.command.command_id


def _renumbered(log: Log) -> Log:
    return [StoredEvent(number, stored.event) for number, stored in enumerate(log, 1)]


def _appended(log: Log, payload: Payload) -> StoredEvent:
    stamp = replace(log[1].event.command, command_id=_ID.format(1), idempotency_key=None)
    name, content = type_of(payload).name, encode_payload(payload)
    event = Event(_ID.format(2), name, _subject(payload), "ci", log[-1].event.recorded_at_us, content, stamp)
    return StoredEvent(len(log) + 1, event)


def _nth(log: Log, event_type: str, number: int = 0) -> int:
    """The sequence of an event, by its type and its number among those of the type."""
    return [stored.sequence for stored in log if stored.event.type == event_type][number]


def _place_of(content: bytes, generation: int = 1) -> Place:
    key = key_of(content)
    return Place("local-small", key if generation == 1 else f"{key}.g{generation}")


def _file_in(log: Log, sequence: int, **changes: Any) -> FilesIngested:
    """A file once more, or another one, with the totals that it would have as a new one."""
    payload, latest = (cast("FilesIngested", log[number - 1].decode()) for number in (sequence, _AGAIN))
    totals = latest.totals if payload.package_id == latest.package_id else payload.totals
    entry = payload.entries[0]._replace(**changes)
    grown = replace(totals, version=totals.version + 1, files=totals.files + (not payload.replaced))
    grown = replace(grown, total_bytes=totals.total_bytes + (0 if payload.replaced else entry.size_bytes))
    keys = (changes["path"],) if changes else payload.path_keys
    return replace(payload, totals=grown, entries=(entry,), path_keys=keys)


def _elsewhere(log: Log, **changes: Any) -> ObjectsStored:
    payload = cast("ObjectsStored", log[_STORED - 1].decode())
    stored: StoredObject = payload.objects[0]._replace(
        place=payload.objects[0].place._replace(backend_id="s3"), **changes
    )
    return replace(payload, objects=(stored,))


def _flagged_twice(log: Log) -> ObjectsFlagged:
    [finding] = cast("ObjectsFlagged", log[_FLAGGED - 1].decode()).findings
    return ObjectsFlagged((ObjectFinding(*finding), ObjectFinding(*finding)))


def _manifest_of(log: Log, package_id: str) -> bytes:
    finalized = manifest.decode(log[_FINALIZED - 1].event.payload)
    return manifest.encode(replace(finalized, package=replace(finalized.package, package_id=package_id)))


def _rebuilt(
    finalized: Manifest,
    entries: Sequence[manifest.Entry],
    retention_class: str = "standard",
    duration_us: int | None = -1,
    finalized_at_us: int | None = None,
) -> Manifest:
    """The manifest of other entries, in itself as it should be."""
    return Manifest.build(
        package=replace(finalized.package, finalized_at_us=finalized_at_us or finalized.package.finalized_at_us),
        entries=entries,
        storage_receipts=[ManifestReceipt(entry.digest, "local", None) for entry in entries if entry.kind == "file"],
        retention_class=retention_class,
        retention_duration_us=finalized.retention_summary.duration_us if duration_us == -1 else duration_us,
        producer=finalized.provenance.producer,
        principal=finalized.provenance.principal,
    )


type _Altered = Callable[[Log, Any], Payload]


def _with(**changes: object) -> _Altered:
    return lambda _log, payload: cast("Payload", replace(payload, **changes))


_LIVES: dict[str, tuple[str, int, _Altered]] = {
    "a retention that is not its duration's": (RETENTION_CHANGED.name, 0, _with(duration_us=1)),
    "a retention with another end": (RETENTION_CHANGED.name, 0, _with(expires_at_us=1)),
    "a retention of no package": (RETENTION_CHANGED.name, 0, _with(package_id=_ID.format(99))),
    "a retention of an open package": (
        RETENTION_CHANGED.name,
        0,
        lambda log, payload: replace(payload, package_id=log[_OTHER - 1].event.subject),
    ),
    "a hold on no package": (HOLD_PLACED.name, 0, _with(package_id=_ID.format(99))),
    "a hold without a reason": (HOLD_PLACED.name, 0, _with(reason="")),
    "a hold that was never placed": (HOLD_RELEASED.name, 0, _with(hold_id=_ID.format(99))),
    "a hold on another package": (
        HOLD_RELEASED.name,
        0,
        lambda log, payload: replace(payload, package_id=log[_CREATED - 1].event.subject),
    ),
    "a deletion of no package": (PACKAGE_DELETED.name, 0, _with(package_id=_ID.format(99))),
    "a deletion without a reason": (PACKAGE_DELETED.name, 0, _with(reason="")),
    "an expiry by no rule": (PACKAGE_EXPIRED.name, 0, _with(rule="because")),
    "an expiry of another version": (PACKAGE_EXPIRED.name, 0, _with(version=3)),
    "an expiry of an open package by its retention": (PACKAGE_EXPIRED.name, 0, _with(rule="retention")),
    "an expiry before the retention ends": (
        PACKAGE_EXPIRED.name,
        0,
        lambda log, payload: replace(payload, package_id=log[_CREATED - 1].event.subject, rule="retention", version=3),
    ),
    "released entries of a package that is not gone": (
        ENTRIES_RELEASED.name,
        0,
        lambda log, payload: replace(payload, package_id=log[_CREATED - 1].event.subject, first="a", last="a"),
    ),
    "released entries that are counted wrong": (ENTRIES_RELEASED.name, 0, _with(package_files=1)),
    "released bytes that are counted wrong": (ENTRIES_RELEASED.name, 0, _with(package_bytes=1)),
    "released entries up to another one": (ENTRIES_RELEASED.name, 0, _with(last="z")),
    "released entries that are not there": (ENTRIES_RELEASED.name, 0, _with(first="x", last="z")),
    "released entries of another number": (ENTRIES_RELEASED.name, 0, _with(package_number=_OTHER)),
    "a condemned object of a package": (OBJECTS_CONDEMNED.name, 1, _with(objects=(_place_of(b"a"),))),
    "a condemned object that was never stored": (OBJECTS_CONDEMNED.name, 1, _with(objects=(_place_of(b"x"),))),
    "an object that is condemned twice": (
        OBJECTS_CONDEMNED.name,
        1,
        lambda _log, payload: replace(payload, objects=payload.objects * 2),
    ),
    "an object that is condemned by no rule": (OBJECTS_CONDEMNED.name, 1, _with(rule="")),
    "a reprieve of a live object": (OBJECTS_REPRIEVED.name, 0, _with(objects=(_place_of(b"a"),))),
    "a reprieve of an unknown object": (OBJECTS_REPRIEVED.name, 0, _with(objects=(_place_of(b"going", 2),))),
    "a retired object of a package": (OBJECTS_RETIRED.name, 0, _with(objects=(_place_of(b"bb"),))),
    "a condemned object that is retired as an orphan": (OBJECTS_RETIRED.name, 0, _with(cause="orphan")),
    "a condemned object that nothing supersedes": (OBJECTS_RETIRED.name, 0, _with(cause="superseded")),
    "an object that is retired without a cause": (OBJECTS_RETIRED.name, 0, _with(cause="because")),
    "an object that is removed and was not retired": (OBJECTS_REMOVED.name, 0, _with(objects=(_place_of(b"a"),))),
    "a removed object that was never stored": (OBJECTS_REMOVED.name, 0, _with(objects=(_place_of(b"x"),))),
    "a clock that jumps": (CLOCK_OBSERVED.name, 0, _with(at_us=1 << 52)),
    "a clock that goes back": (CLOCK_OBSERVED.name, 0, _with(at_us=1)),
    "a clock before 1970": (CLOCK_CONFIRMED.name, 0, _with(at_us=-1)),
    "a token for nothing": (TOKEN_CREATED.name, 0, _with(scopes=())),
    "a token with an unknown scope": (TOKEN_CREATED.name, 0, _with(scopes=("root",))),
    "an admin of some packages": (TOKEN_CREATED.name, 0, _with(scopes=("admin",), packages=("a-*",))),
    "a token without a digest": (TOKEN_CREATED.name, 0, _with(digest=b"")),
    "a token of no store": (TOKEN_CREATED.name, 0, _with(store_id="s")),
    "a token that was never created": (TOKEN_REVOKED.name, 0, _with(name="others")),
    "a keep policy of nothing": (KEEP_POLICY_SET.name, 0, _with(rules={})),
    "a keep policy that was never set": (KEEP_POLICY_DELETED.name, 0, _with(group="others")),
}

_COMMANDS = (
    (PACKAGE_DELETED.name, 0, TOKEN_REVOKED.name),
    (ENTRIES_RELEASED.name, 0, PACKAGE_DELETED.name),
    (OBJECTS_REMOVED.name, 0, OBJECTS_RETIRED.name),
    (OBJECTS_RETIRED.name, 0, OBJECTS_CONDEMNED.name),
    (CLOCK_OBSERVED.name, 0, CLOCK_CONFIRMED.name),
)

_APPENDED: dict[str, Callable[[Log], Payload]] = {
    "a file after the finalization": lambda log: _file_in(log, _SECOND, path="late"),
    "a second finalization": lambda log: PackageFinalized(log[_FINALIZED - 1].event.payload),
    "a file of no package": lambda log: replace(_file_in(log, _FIRST), package_id=_ID.format(99)),
    "a package that is there already": lambda log: log[1].decode(),
    "a file that is there already": lambda log: _file_in(log, _AGAIN),
    "a file that replaces itself": lambda log: _file_in(log, _REPLACED),
    "an object that the log names already": lambda log: log[_STORED - 1].decode(),
    "an object at another place with another SHA-256": lambda log: _elsewhere(log, sha256=bytes(32)),
    "an object at another place with another size": lambda log: _elsewhere(log, size_bytes=7),
    "a schema version that is there already": lambda log: log[_SCHEMA - 1].decode(),
    "a finalization of no package": lambda log: PackageFinalized(_manifest_of(log, _ID.format(99))),
    "a flag that was set twice": _flagged_twice,
    "a second beginning": lambda _log: LogCreated(_ID.format(4)),
    "an annotation of no package": lambda _log: PackageAnnotated(_ID.format(99), 2, {"a": 1}, ()),
    "an annotation of another number": lambda log: PackageAnnotated(log[_OTHER - 1].event.subject, 1, {"a": 1}, ()),
    "an annotation that is removed and was never set": lambda log: PackageAnnotated(
        log[_OTHER - 1].event.subject, _OTHER, {}, ("a",)
    ),
    "a requirement of no schema": lambda _log: SchemaRequirementSet("*", "never@1"),
    "a requirement without a version": lambda log: SchemaRequirementSet("*", log[_SCHEMA - 1].event.subject),
    "a requirement that is deleted and was never set": lambda _log: SchemaRequirementDeleted("*"),
    "a tag of an open package": lambda log: TagSet("t", log[_OTHER - 1].event.subject, protected=False),
    "a tag of no package": lambda _log: TagSet("t", _ID.format(99), protected=False),
    "a tag that looks like a selector": lambda log: TagSet("t@{1}", log[_CREATED - 1].event.subject, protected=False),
    "a keep policy without rules": lambda _log: KeepPolicySet("nightly", {}),
    "a keep policy with an unknown rule": lambda _log: KeepPolicySet("nightly", {"newest": 3}),
    "a keep policy of no name": lambda _log: KeepPolicySet("night@1", {"last": 3}),
    "a retention class that every store has": lambda _log: RetentionClassAdded("permanent", 9),
    "a retention class without a duration": lambda _log: RetentionClassAdded("quarter", 0),
    "a keep policy that is deleted and was never set": lambda _log: KeepPolicyDeleted("nightly"),
    "a tag that is deleted and was never set": lambda _log: TagDeleted("t"),
    "a token of a name that was used": lambda log: log[_nth(log, TOKEN_CREATED.name) - 1].decode(),
    "a token that is revoked twice": lambda log: log[_nth(log, TOKEN_REVOKED.name) - 1].decode(),
    "a package that is deleted twice": lambda log: log[_nth(log, PACKAGE_DELETED.name) - 1].decode(),
    "a package that expires twice": lambda log: log[_nth(log, PACKAGE_EXPIRED.name) - 1].decode(),
    "a hold on a package that is gone": lambda log: log[_nth(log, HOLD_PLACED.name) - 1].decode(),
    "entries that are released twice": lambda log: log[_nth(log, ENTRIES_RELEASED.name) - 1].decode(),
    "a tag of a package that is gone": lambda log: TagSet(
        "t", log[_nth(log, PACKAGE_DELETED.name) - 1].event.subject, protected=False
    ),
    "an object that is condemned after its removal": lambda log: log[_nth(log, OBJECTS_CONDEMNED.name, 1) - 1].decode(),
    "an object that is stored at a removed key": lambda log: log[_nth(log, OBJECTS_STORED.name, 4) - 1].decode(),
    "an object that is removed twice": lambda log: log[_nth(log, OBJECTS_REMOVED.name) - 1].decode(),
    "an object that is retired twice": lambda log: log[_nth(log, OBJECTS_RETIRED.name) - 1].decode(),
    "a removed object that is reprieved": lambda log: log[_nth(log, OBJECTS_REPRIEVED.name) - 1].decode(),
}
