"""Logs that nobody's commands could have written, each with checksums and chain in order: what only the rules find.

`valid_log` is a log of every event type, `HOSTILE` what somebody may have made of it: a name, the log, and the sequence
of the event that is wrong.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from artifactstore import open_registry
from artifactstore_protocols import manifest
from artifactstore_protocols.events import Event, StoredEvent
from artifactstore_protocols.manifest import DirectoryEntry, Entry, LinkEntry, Manifest, ManifestReceipt
from artifactstore_protocols.payloads import (
    FileIngested,
    FileReplaced,
    ObjectFlagged,
    ObjectHealed,
    PackageFinalized,
    Payload,
    encode_payload,
)
from integration.registry.samples import object_file, overwrite, settings_in, stream_of, whole_log

__all__ = ["hostile_logs", "valid_log"]

type Log = Sequence[StoredEvent]

_NFD = "e\u0301"
_ID = "0198f3a0-7c00-7000-8000-00000000{:04}"
_CREATED, _FIRST, _SECOND, _OTHER, _OPEN, _REPLACED, _SCHEMA, _FLAGGED, _AGAIN, _HEALED, _FINALIZED = range(1, 12)


async def valid_log(directory: Path) -> Log:
    """A log of eleven events; the package of the first is sealed by the last, another one is open."""
    settings = settings_in(directory)
    async with open_registry(settings) as registry:
        package = (await registry.create_package("p", metadata={"k": "v"}, idempotency_key="once")).package_id
        await registry.ingest_file(package, "a", stream_of(b"a"))
        await registry.ingest_file(package, "below/b", stream_of(b"bb"))
        other = (await registry.create_package("q")).package_id
        await registry.ingest_file(other, "c", stream_of(b"c"))
        await registry.ingest_file(other, "c", stream_of(b"changed"), replace=True)
        await registry.register_metadata_schema("s", {"type": "object"})
        overwrite(object_file(settings, (await registry.get_file_record(package, "a")).content_address), b"x")
        await registry.verify()
        await registry.ingest_file(other, _NFD, stream_of(b"a"))
        await registry.finalize_package(package)
        log = await whole_log(registry)
    kinds = [type(stored.decode()) for stored in log]
    assert kinds[_FLAGGED - 1 :] == [ObjectFlagged, FileIngested, ObjectHealed, PackageFinalized]
    return log


def hostile_logs(log: Log) -> Iterator[tuple[str, Log, int]]:
    """All of them, by name, with the sequence of the event that is wrong."""
    for name, (sequence, changes) in _PAYLOADS.items():
        yield name, _with_payload(log, sequence, **changes), sequence
    for name, (sequence, change) in _EVENTS.items():
        yield name, _with_event(log, sequence, change(log)), sequence
    for name, seal in _MANIFESTS.items():
        sealed = manifest.encode(seal(manifest.decode(log[-1].event.payload)))
        yield f"manifest: {name}", _with_event(log, _FINALIZED, {"payload": sealed}), _FINALIZED
    for name, more in _APPENDED.items():
        yield name, [*log, _appended(log, more(log))], len(log) + 1
    yield "an event before its package", _renumbered([log[1], *log[:1], *log[2:]]), 1
    moved = _file_in(log, _SECOND, path="d", path_key="d", package_version=2, package_files=1, package_bytes=2)
    into_another = {**_continuing(log, _SECOND), "payload": encode_payload(replace(moved, package_id=_package(log)))}
    into_another["subject"] = _package(log)
    spread = [log[0], log[_OTHER - 1], log[1], log[_SECOND - 1], _of(log[_OPEN - 1], into_another)]
    yield "a command that adds to two packages", _renumbered(spread), 5
    yield "a replaced file that was not there", _renumbered([*log[:4], *log[5:]]), 5
    yield "a healed object that was never stored", _renumbered([log[0], log[_HEALED - 1]]), 2


_PAYLOADS: dict[str, tuple[int, dict[str, Any]]] = {
    "a path that leaves the package": (_FIRST, {"path": "../../x", "path_key": "../../x"}),
    "an absolute path": (_FIRST, {"path": "/abs/x", "path_key": "/abs/x"}),
    "a part of dots": (_SECOND, {"path": "a/./b", "path_key": "a/./b"}),
    "an empty path": (_FIRST, {"path": "", "path_key": ""}),
    "a backslash": (_FIRST, {"path": "a\\b", "path_key": "a\\b"}),
    "a control character in a path": (_FIRST, {"path": "a\x1b[2J", "path_key": "a\x1b[2J"}),
    "a part that is too long": (_FIRST, {"path": "a" * 256, "path_key": "a" * 256}),
    "a file where a directory is": (_AGAIN, {"path": "c/d", "path_key": "c/d"}),
    "a key that is another path": (_FIRST, {"path_key": "b"}),
    "a key that is not NFC": (_AGAIN, {"path_key": _NFD}),
    "an object key that leaves the root": (_FIRST, {"object_key": "../../../x"}),
    "an object key of another content": (_FIRST, {"object_key": f"blake3/00/00/{'0' * 64}"}),
    "a negative size": (_FIRST, {"size_bytes": -1, "package_bytes": -1}),
    "a content with two sizes": (_AGAIN, {"size_bytes": 2, "package_bytes": 9}),
    "a content with two SHA-256": (_AGAIN, {"sha256": f"sha256:{'0' * 64}"}),
    "a second digest that is no SHA-256": (_FIRST, {"sha256": f"blake3:{'0' * 64}"}),
    "a digest that is too short": (_FIRST, {"content_address": "blake3:00", "object_key": "blake3/00/00/00"}),
    "a media type with parameters": (_FIRST, {"media_type": "text/plain; charset=utf-8"}),
    "a media type with a line break": (_FIRST, {"media_type": "text/plain\n"}),
    "a tier that no backend has": (_FIRST, {"retrieval_tier": "tomorrow"}),
    "a restore that no backend has": (_FIRST, {"restore_status": "\x1b[2J"}),
    "a backend with a control character": (_FIRST, {"backend_id": "local\x07"}),
    "a flag in a backend without a name": (_FLAGGED, {"backend_id": ""}),
    "a count that is too large": (_SECOND, {"package_files": 3}),
    "a sum that is too small": (_SECOND, {"package_bytes": 2}),
    "a version that is left out": (_SECOND, {"package_version": 4}),
    "a replaced file that was another": (_REPLACED, {"replaced_content_address": f"blake3:{'0' * 64}"}),
    "a package without a name": (_CREATED, {"name": ""}),
    "a control character in a name": (_CREATED, {"name": "p\x1b[2J"}),
    "a name that is too long": (_CREATED, {"name": "n" * 201}),
    "a control character in a key of metadata": (_CREATED, {"metadata": {"k\n": "v"}}),
    "metadata that is too long": (_CREATED, {"metadata": {"k": "v" * 5000}}),
    "too much metadata": (_CREATED, {"metadata": {str(number): "" for number in range(257)}}),
    "an unknown retention class": (_CREATED, {"retention_class": "forever"}),
    "a retention that is not its class's": (_CREATED, {"retention_duration_us": 1}),
    "a negative retention": (_CREATED, {"retention_duration_us": -1}),
    "a package id that is none": (_CREATED, {"package_id": "../x"}),
    "a schema version that is left out": (_SCHEMA, {"version": 2}),
    "a schema that is no JSON": (_SCHEMA, {"schema": "{"}),
    "a schema that is not canonical": (_SCHEMA, {"schema": '{"type": "object"}'}),
    "a schema with a control character in its name": (_SCHEMA, {"name": "s\x01"}),
    "an integrity that is none": (_FLAGGED, {"integrity": "fine"}),
    "a flag of what was never stored": (_FLAGGED, {"content_address": f"blake3:{'0' * 64}"}),
}

_EVENTS: dict[str, tuple[int, Callable[[Log], dict[str, Any]]]] = {
    "a subject that is another package": (_FIRST, lambda log: {"subject": log[_OTHER - 1].event.subject}),
    "a subject that is no package": (_CREATED, lambda _log: {"subject": "x"}),
    "a flag with another subject": (_FLAGGED, lambda _log: {"subject": f"blake3:{'0' * 64}"}),
    "a healing with another subject": (_HEALED, lambda _log: {"subject": f"blake3:{'0' * 64}"}),
    "a control character in a principal": (_FIRST, lambda _log: {"actor": "mallory\x1b[2J"}),
    "no principal": (_FIRST, lambda _log: {"actor": ""}),
    "a time before 1970": (_FIRST, lambda _log: {"recorded_at_us": -1}),
    "an event id that comes twice": (_OTHER, lambda log: {"event_id": log[0].event.event_id}),
    "a command that goes on later": (_OTHER, lambda log: _stamp(log, _OTHER, command_id=_command(log, _FIRST))),
    "a command that changes hands": (_SECOND, lambda log: _stamp(log, _SECOND, command_id=_command(log, _FIRST))),
    "a command that opens and adds": (_FIRST, lambda log: _continuing(log, _CREATED)),
    "a command that adds and opens": (_OTHER, lambda log: _continuing(log, _SECOND)),
    "a command that opens and adds to another package": (_OPEN, lambda log: _continuing(log, _OTHER)),
    "a command that adds and registers": (_SCHEMA, lambda log: _continuing(log, _REPLACED)),
    "a command that registers and flags": (_FLAGGED, lambda log: _continuing(log, _SCHEMA)),
    "a command that flags and adds": (_AGAIN, lambda log: _continuing(log, _FLAGGED)),
    "a command that adds and seals": (_FINALIZED, lambda log: _continuing(log, _HEALED)),
    "a digest that is none": (_OTHER, lambda log: _stamp(log, _OTHER, digest="blake3:00")),
    "a digest of another kind": (_OTHER, lambda log: _stamp(log, _OTHER, digest=f"sha256:{'0' * 64}")),
    "a key without a digest": (_OTHER, lambda log: _stamp(log, _OTHER, digest=None, idempotency_key="k")),
    "a key that comes twice": (_OTHER, lambda log: _stamp(log, _OTHER, idempotency_key="once")),
    "a control character in a key": (_OTHER, lambda log: _stamp(log, _OTHER, idempotency_key="k\n")),
    "another type": (_OPEN, lambda _log: {"type": FileReplaced.TYPE}),
    "a payload that is cut off": (_FIRST, lambda log: {"payload": log[1].event.payload[:-1]}),
    "a manifest that is cut off": (_FINALIZED, lambda log: {"payload": log[-1].event.payload[:-1]}),
    "a manifest of another package": (_FINALIZED, lambda log: {"subject": log[_OTHER - 1].event.subject}),
}

_MANIFESTS: dict[str, Callable[[Manifest], Manifest]] = {
    "another name": lambda sealed: replace(sealed, package=replace(sealed.package, name="other")),
    "other metadata": lambda sealed: replace(sealed, package=replace(sealed.package, metadata={"k": "w"})),
    "another time of creation": lambda sealed: replace(sealed, package=replace(sealed.package, created_at_us=1)),
    "another actor": lambda sealed: replace(sealed, provenance=replace(sealed.provenance, actor="mallory")),
    "a file less": lambda sealed: _resealed(sealed, sealed.files[:1]),
    "a file more": lambda sealed: _resealed(sealed, [*sealed.files, sealed.files[0]._replace(path="c")]),
    "a link more": lambda sealed: _resealed(sealed, [*sealed.files, LinkEntry("link", "c", "a")]),
    "an empty directory more": lambda sealed: _resealed(sealed, [*sealed.files, DirectoryEntry("directory", "c")]),
    "a link in place of a file": lambda sealed: _resealed(
        sealed, [LinkEntry("link", sealed.files[0].path, "x"), sealed.files[1]]
    ),
    "a file of another name": lambda sealed: _resealed(sealed, [sealed.files[0]._replace(path="z"), sealed.files[1]]),
    "a file that is executable": lambda sealed: _resealed(
        sealed, [sealed.files[0]._replace(executable=True), sealed.files[1]]
    ),
    "a file of another type": lambda sealed: _resealed(
        sealed, [sealed.files[0]._replace(media_type="text/x-c"), sealed.files[1]]
    ),
    "a file of another content": lambda sealed: _resealed(
        sealed, [sealed.files[0]._replace(digest=bytes(32)), sealed.files[1]]
    ),
    "another retention": lambda sealed: _resealed(sealed, sealed.files, retention_class="permanent", duration_us=None),
    "an object key of another content": lambda sealed: replace(
        sealed,
        storage_receipts=(
            sealed.storage_receipts[0]._replace(object_key="blake3/x"),
            *sealed.storage_receipts[1:],
        ),
    ),
}

_APPENDED: dict[str, Callable[[Log], Payload]] = {
    "a file after the seal": lambda log: _file_in(log, _SECOND, path="late", path_key="late", package_version=4),
    "a second seal": lambda log: PackageFinalized(log[-1].event.payload),
    "a file of no package": lambda log: _file_in(log, _FIRST, package_id=_ID.format(99), package_version=2),
    "a package that is there already": lambda log: log[0].decode(),
    "a file that is there already": lambda log: _file_in(log, _AGAIN, package_version=6),
    "a file that replaces itself": lambda log: _replacing(_file_in(log, _REPLACED, package_version=6)),
    "a schema version that is there already": lambda log: log[_SCHEMA - 1].decode(),
    "a seal of no package": lambda log: PackageFinalized(_seal_of(log, _ID.format(99))),
}


def _with_payload(log: Log, sequence: int, **changes: object) -> Log:
    payload = replace(log[sequence - 1].decode(), **changes)  # type: ignore[arg-type]
    subject = log[sequence - 1].event.subject
    for name in ("package_id", "content_address", "name"):  # what an event is about is so in both places
        if name in changes and getattr(log[sequence - 1].decode(), name) == subject:
            subject = str(changes[name])
    return _with_event(log, sequence, {"payload": encode_payload(payload), "subject": subject})


def _with_event(log: Log, sequence: int, changes: dict[str, Any]) -> Log:
    changed = StoredEvent(sequence, replace(log[sequence - 1].event, **changes))
    return [*log[: sequence - 1], changed, *log[sequence:]]


def _stamp(log: Log, sequence: int, **changes: str | None) -> dict[str, Any]:
    stamp = replace(log[sequence - 1].event.command, **changes)  # type: ignore[arg-type]  # fields of it
    return {"command": stamp} | ({"actor": "mallory"} if sequence == _SECOND else {})


def _continuing(log: Log, before: int) -> dict[str, Any]:
    """What an event says that goes on with the command of the one before it."""
    earlier = log[before - 1].event
    return {"actor": earlier.actor, "command": replace(earlier.command, digest=None, idempotency_key=None)}


def _command(log: Log, sequence: int) -> str:
    return log[sequence - 1].event.command.command_id


def _package(log: Log) -> str:
    """The package that stays open."""
    return log[_OTHER - 1].event.subject


def _of(stored: StoredEvent, changes: dict[str, Any]) -> StoredEvent:
    return replace(stored, event=replace(stored.event, **changes))


def _renumbered(log: Log) -> Log:
    return [StoredEvent(number, stored.event) for number, stored in enumerate(log, 1)]


def _appended(log: Log, payload: Payload) -> StoredEvent:
    stamp = replace(log[0].event.command, command_id=_ID.format(1), idempotency_key=None)
    subject = getattr(payload, "package_id", None) or getattr(payload, "name", None)
    if isinstance(payload, PackageFinalized):
        subject = manifest.decode(payload.manifest).package.package_id
    event = Event(_ID.format(2), payload.TYPE, str(subject), "ci", 1, encode_payload(payload), stamp)
    return StoredEvent(len(log) + 1, event)


def _file_in(log: Log, sequence: int, **changes: object) -> FileIngested | FileReplaced:
    payload = log[sequence - 1].decode()
    assert isinstance(payload, FileIngested | FileReplaced)
    return replace(payload, **changes)  # type: ignore[arg-type]


def _replacing(file: FileIngested | FileReplaced) -> FileReplaced:
    assert isinstance(file, FileReplaced)
    return replace(file, package_files=2, package_bytes=8, replaced_content_address=file.content_address)


def _seal_of(log: Log, package_id: str) -> bytes:
    sealed = manifest.decode(log[-1].event.payload)
    return manifest.encode(replace(sealed, package=replace(sealed.package, package_id=package_id)))


def _resealed(
    sealed: Manifest, entries: Sequence[Entry], retention_class: str = "standard", duration_us: int | None = -1
) -> Manifest:
    """The manifest of other entries, in itself as it should be."""
    return Manifest.build(
        package=sealed.package,
        entries=entries,
        storage_receipts=[ManifestReceipt(entry.digest, "local", None) for entry in entries if entry.kind == "file"],
        retention_class=retention_class,
        retention_duration_us=sealed.retention_summary.duration_us if duration_us == -1 else duration_us,
        producer=sealed.provenance.producer,
        actor=sealed.provenance.actor,
    )
