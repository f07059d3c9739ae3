"""Which events a log may hold: those that a decision could have made from what came before them.

An event that a command makes has passed `packages.decide`. An event that comes from elsewhere (an import, a restore, a
database that is replayed) has not, so it is put to the same decision here: `examine` reads the event and makes the
command of it again, `admit` has that command decided on the history so far and compares what comes of it with what the
event says. So there is one set of rules, and no second copy of it to fall behind.

Nothing here knows a database. `history_needs` says what to load; `admit` keeps the history up to date with each event,
so one that begins with the first event needs nothing loaded at all.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Final, Protocol, cast, get_args

from artifactstore_protocols import canonical, manifest
from artifactstore_protocols.canonical import INTEGER_MAX
from artifactstore_protocols.commands import (
    Command,
    CommandRequest,
    CreatePackage,
    FinalizePackage,
    FlagObject,
    FlagObjects,
    IngestedFile,
    IngestFiles,
    OnExisting,
    RegisterMetadataSchema,
)
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.events import Event, EventRefused, StoredEvent
from artifactstore_protocols.identity import PRIMARY_ALGORITHM, ContentAddress, ContentDigests
from artifactstore_protocols.manifest import FileEntry, Manifest
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.packages import Draft, Facts, FileState, Needs, decide, needs
from artifactstore_protocols.paths import path_key
from artifactstore_protocols.payloads import (
    FileIngested,
    FileReplaced,
    MetadataSchemaRegistered,
    ObjectFlagged,
    ObjectHealed,
    PackageCreated,
    PackageFinalized,
    Payload,
    UnknownEventType,
)
from artifactstore_protocols.retention import retention_class
from artifactstore_protocols.storage import RestoreStatus, RetrievalTier, StorageReceipt
from artifactstore_protocols.views import RowOperation, ViewWriter, project

__all__ = [
    "Content",
    "Examined",
    "History",
    "HistoryNeeds",
    "LastEvent",
    "LogTables",
    "Opened",
    "admit",
    "examine",
    "history_needs",
]

_BACKEND_CHARACTERS_MAX: Final = 200
_SHOWN_CHARACTERS: Final = 200
_FILES_MAX: Final = INTEGER_MAX
"""How many files a package holds at most is a setting of the store that takes a command, and no rule of logs."""

_FILE_TYPES: Final = frozenset({FileIngested.TYPE, FileReplaced.TYPE})
_TOGETHER: Final = (_FILE_TYPES | {ObjectHealed.TYPE}, frozenset({ObjectFlagged.TYPE}))
"""Types of which one command may make several events."""

_TIERS: Final = cast("tuple[str, ...]", get_args(RetrievalTier.__value__))
_RESTORES: Final = cast("tuple[str, ...]", get_args(RestoreStatus.__value__))


@dataclass(frozen=True, slots=True)
class Examined:
    """An event whose own rules hold: what it says, and the command that could have made it.

    Attributes:
        stored: the event.
        payload: what it says.
        command: which command says so; None where the event is a by-product of another command.
        sealed: the manifest of a finalised package.
    """

    stored: StoredEvent
    payload: Payload
    command: Command | None
    sealed: Manifest | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """What was said of a package when it was opened, which its manifest repeats. `metadata` is canonical CBOR."""

    name: str
    metadata: bytes
    created_at_us: int
    retention_class: str


@dataclass(frozen=True, slots=True)
class Content:
    """What is known of a content besides its primary digest."""

    algorithm: str
    sha256: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class HistoryNeeds:
    """What a run of events asks the tables and the log before it for.

    Attributes:
        facts: what decisions ask for.
        opened: ids of packages that are sealed.
        contents: primary digests.
        commands: ids of commands.
    """

    facts: Needs
    opened: frozenset[str]
    contents: frozenset[bytes]
    commands: frozenset[str]


@dataclass(frozen=True, slots=True)
class LastEvent:
    """What an event says of its command. `package_id` is that of the command's last file, None if that is not known."""

    command_id: str
    actor: str
    type: str
    package_id: str | None

    @classmethod
    def of(cls, command_id: str, actor: str, event_type: str, subject: str) -> "LastEvent":
        """Made of the fields of an event."""
        return cls(command_id, actor, event_type, subject if event_type in _FILE_TYPES else None)


@dataclass(slots=True)
class History:
    """What the events so far have made true; holds at least what `history_needs` named and exists.

    Attributes:
        facts: what decisions need to know.
        opened: packages by id.
        contents: by primary digest.
        commands: ids of commands that have written events.
        last: the last event; None before the first one.
    """

    facts: Facts = field(default_factory=Facts)
    opened: dict[str, Opened] = field(default_factory=dict[str, Opened])
    contents: dict[bytes, Content] = field(default_factory=dict[bytes, Content])
    commands: set[str] = field(default_factory=set[str])
    last: LastEvent | None = None


class LogTables(ViewWriter, Protocol):
    """The rows that the events so far imply: those of the next events go there when the history was read from there."""

    async def history(self, needed: HistoryNeeds) -> History:
        """What is needed of the history, but for the commands, which no view holds."""
        ...


def examine(stored: StoredEvent) -> Examined:
    """Read an event, and hold it to the rules that it can be held to alone: names, paths, sizes, types, times, keys.

    Raises:
        UnknownEventType: a newer release wrote the event; the error names type and sequence.
        EventRefused: it breaks a rule.
    """
    event = stored.event
    try:
        payload = stored.decode()
        sealed = None
        if isinstance(payload, PackageFinalized):
            sealed = manifest.decode(payload.manifest)
            payload = PackageFinalized(payload.manifest, manifest.summarize(payload.manifest, sealed))
        command = _command(event, payload, sealed)
        _check_event(event, command)
        return Examined(stored, payload, command, sealed)
    except (EventRefused, UnknownEventType):
        raise
    except ArtifactStoreError as error:
        raise EventRefused(stored.sequence, event.type, str(error)) from error


def history_needs(run: Iterable[Examined]) -> HistoryNeeds:
    """The history without which `admit` cannot judge a run of events."""
    packages, files, above, schemas = set[str](), set[tuple[str, str]](), set[tuple[str, str]](), set[str]()
    opened, contents, commands = set[str](), set[bytes](), set[str]()
    for each in run:
        commands.add(each.stored.event.command.command_id)
        if each.command is not None:
            needed = needs(each.command)
            packages |= needed.packages
            files |= needed.files
            above |= needed.above
            schemas |= needed.schemas
        if each.sealed is not None:
            package_id = each.sealed.package.package_id
            opened.add(package_id)
            above.update((package_id, path_key(entry.path)) for entry in each.sealed.entries)
        elif isinstance(each.payload, FileIngested | FileReplaced | ObjectFlagged | ObjectHealed):
            contents.add(ContentAddress.parse(each.payload.content_address).digest.raw)
    facts = Needs(frozenset(packages), frozenset(files), frozenset(above), frozenset(schemas))
    return HistoryNeeds(facts, frozenset(opened), frozenset(contents), frozenset(commands))


def admit(examined: Examined, history: History) -> tuple[RowOperation, ...]:
    """The rows that an event implies, if it could have been decided after `history`, which evolves with it.

    Raises:
        EventRefused: no command could have made it then. `history` may be half evolved, and nothing can follow it.
    """
    stored = examined.stored
    try:
        _follow_command(stored.event, history)
        _check_content(examined.payload, history)
        if examined.sealed is not None:
            _check_sealed(examined.sealed, stored.event, history)
        if examined.command is not None:
            drafts = decide(_now(examined.command, history), history.facts, files_per_package_max=_FILES_MAX)
            _check_decision(drafts, examined)
        if isinstance(examined.payload, PackageCreated):
            history.opened[examined.payload.package_id] = _opened(examined.payload, stored.event)
        return project(stored, examined.payload)
    except EventRefused:
        raise
    except ArtifactStoreError as error:
        raise EventRefused(stored.sequence, stored.event.type, str(error)) from error


def _command(event: Event, payload: Payload, sealed: Manifest | None) -> Command | None:
    """The command that the event answers. Making it applies the rules that every command has passed."""
    match payload:
        case PackageCreated():
            metadata = dict(payload.metadata)
            return CreatePackage(event.event_id, payload.package_id, payload.name, payload.retention_class, metadata)
        case FileIngested() | FileReplaced():
            existing = OnExisting.REFUSE if isinstance(payload, FileIngested) else OnExisting.REPLACE
            return IngestFiles(payload.package_id, (_ingested(event, payload),), existing)
        case PackageFinalized():
            if sealed is None:
                raise AssertionError("a finalisation is examined with its manifest")
            return FinalizePackage(event.event_id, sealed.package.package_id, 0, payload.manifest, payload.summary)
        case MetadataSchemaRegistered():
            return RegisterMetadataSchema(event.event_id, payload.name, payload.schema)
        case ObjectFlagged():
            address = ContentAddress.parse(payload.content_address)
            return FlagObjects((FlagObject(event.event_id, address, payload.backend_id, payload.integrity),))
        case ObjectHealed():
            _check_equal("subject", event.subject, str(ContentAddress.parse(payload.content_address)))
            return None


def _ingested(event: Event, file: FileIngested | FileReplaced) -> IngestedFile:
    address = ContentAddress.parse(file.content_address)
    _check_equal("object key", file.object_key, first_key(address))
    if file.retrieval_tier not in _TIERS or file.restore_status not in _RESTORES:
        state = f"{file.retrieval_tier}, {file.restore_status}"
        raise InvalidValue("retrieval state", state[:_SHOWN_CHARACTERS], "no storage backend answers so")
    receipt = StorageReceipt(
        file.backend_id,
        file.object_key,
        address,
        file.size_bytes,
        "stored",
        cast("RetrievalTier", file.retrieval_tier),
        cast("RestoreStatus", file.restore_status),
    )
    return IngestedFile(
        event_id=event.event_id,
        healed_event_id=event.event_id,
        path=file.path,
        size_bytes=file.size_bytes,
        executable=file.executable,
        media_type=file.media_type,
        digests=ContentDigests(address.digest, ContentAddress.parse(file.sha256).digest),
        receipt=receipt,
    )


def _check_event(event: Event, command: Command | None) -> None:
    """What is around a payload: who, when, and for which command."""
    stamp = event.command
    CommandRequest(stamp.command_id, command or FlagObjects(()), event.actor, stamp.idempotency_key)
    if not 0 <= event.recorded_at_us <= INTEGER_MAX:
        reason = f"it is from 0 to {INTEGER_MAX} microseconds since 1970"
        raise InvalidValue("time of recording", str(event.recorded_at_us), reason)
    if stamp.digest is not None:
        algorithm = ContentAddress.parse(stamp.digest).digest.algorithm
        _check_equal("algorithm of the command digest", algorithm, PRIMARY_ALGORITHM)
    elif stamp.idempotency_key is not None:
        reason = "only the event that has the command's digest has its idempotency key"
        raise InvalidValue("idempotency key", stamp.idempotency_key, reason)


def _follow_command(event: Event, history: History) -> None:
    """The events of a command stand together, and the first one alone speaks for it."""
    command_id = event.command.command_id
    now = LastEvent.of(command_id, event.actor, event.type, event.subject)
    if history.last is not None and history.last.command_id == command_id:
        _check_equal("actor", event.actor, history.last.actor)
        now = _check_same_command(now, history.last)
        if event.command.digest is not None:
            raise InvalidValue("command digest", event.command.digest, "only a command's first event has it")
    elif command_id in history.commands:
        raise InvalidValue("command id", command_id, "the events of a command stand together, and it has others before")
    history.commands.add(command_id)
    history.last = now


def _check_same_command(now: LastEvent, last: LastEvent) -> LastEvent:
    """A command flags objects, or puts files into one package; every other one makes one event."""
    if not any({now.type, last.type} <= together for together in _TOGETHER):
        raise InvalidValue("event type", now.type, f"no command makes it after {last.type}")
    package_id = now.package_id or last.package_id
    if last.package_id is not None:
        _check_equal("package of the command", package_id, last.package_id)
    return LastEvent(now.command_id, now.actor, now.type, package_id)


def _check_content(payload: Payload, history: History) -> None:
    """One address is one content; and what is flagged or healed was stored before."""
    match payload:
        case FileIngested() | FileReplaced():
            _check_backend(payload.backend_id)
            primary, sha256 = (ContentAddress.parse(text).digest for text in (payload.content_address, payload.sha256))
            content = Content(primary.algorithm, sha256.raw, payload.size_bytes)
            known = history.contents.setdefault(primary.raw, content)
            _check_equal("algorithm of the primary digest", content.algorithm, known.algorithm)
            _check_equal("SHA-256", content.sha256.hex(), known.sha256.hex())
            _check_equal("size", content.size_bytes, known.size_bytes)
        case ObjectFlagged() | ObjectHealed():
            _check_backend(payload.backend_id)
            address = ContentAddress.parse(payload.content_address).digest
            stored = history.contents.get(address.raw)
            if stored is None or stored.algorithm != address.algorithm:
                raise InvalidValue("content address", payload.content_address, "no event before has stored it")
        case _:
            pass


def _check_backend(backend_id: str) -> None:
    if not 0 < len(backend_id) <= _BACKEND_CHARACTERS_MAX or not backend_id.isprintable():
        reason = f"use 1 to {_BACKEND_CHARACTERS_MAX} printable characters"
        raise InvalidValue("backend id", backend_id[:_SHOWN_CHARACTERS], reason)


def _check_sealed(sealed: Manifest, event: Event, history: History) -> None:
    """A manifest says exactly what the events before it add up to."""
    package = sealed.package
    state = history.facts.packages.get(package.package_id)
    opened = history.opened.get(package.package_id)
    if state is None or opened is None or state.finalized:
        return  # which is for the decision to say
    _check_equal("name in the manifest", package.name, opened.name)
    _check_equal("metadata in the manifest", canonical.encode(dict(package.metadata)), opened.metadata)
    _check_equal("created_at_us in the manifest", package.created_at_us, opened.created_at_us)
    kept, promised = sealed.retention_summary, retention_class(opened.retention_class)
    _check_equal("retention class in the manifest", kept.retention_class, promised.name)
    _check_equal("retention duration in the manifest", kept.duration_us, promised.duration_us)
    _check_equal("actor in the manifest", sealed.provenance.actor, event.actor)
    _check_equal("file count in the manifest", sealed.provenance.file_count, state.file_count)
    for entry in sealed.entries:
        found = history.facts.files.get((package.package_id, path_key(entry.path)))
        if found is None or not isinstance(entry, FileEntry) or found != _file_state(sealed, entry):
            raise InvalidValue("manifest", entry.path[:_SHOWN_CHARACTERS], "the package has no such entry")
    for receipt in sealed.storage_receipts:
        _check_equal("object key in the manifest", receipt.object_key, None)


def _file_state(sealed: Manifest, entry: FileEntry) -> FileState:
    return FileState(
        entry.path,
        entry.size_bytes,
        entry.executable,
        entry.media_type,
        sealed.content_address(entry),
        f"sha256:{entry.sha256.hex()}",
    )


def _now(command: Command, history: History) -> Command:
    """The command as it was given then. A finalisation names the package's version, which the event does not."""
    if not isinstance(command, FinalizePackage):
        return command
    package = history.facts.packages.get(command.package_id)
    version = 0 if package is None else package.version
    return FinalizePackage(command.event_id, command.package_id, version, command.manifest, command.summary)


def _check_decision(drafts: tuple[Draft, ...], examined: Examined) -> None:
    """What is decided is what the event says, and nothing else."""
    if not drafts:
        raise InvalidValue("event", examined.stored.event.subject[:_SHOWN_CHARACTERS], "it changes nothing")
    [draft] = drafts
    _check_equal("event type", examined.payload.TYPE, draft.payload.TYPE)
    _check_equal("subject", examined.stored.event.subject, draft.subject)
    if draft.payload != examined.payload:
        for each in fields(draft.payload):
            _check_equal(each.name, getattr(examined.payload, each.name), getattr(draft.payload, each.name))


def _opened(created: PackageCreated, event: Event) -> Opened:
    metadata = canonical.encode(dict(created.metadata))
    return Opened(created.name, metadata, event.recorded_at_us, created.retention_class)


def _check_equal(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise InvalidValue(what, str(found)[:_SHOWN_CHARACTERS], f"it should be {str(expected)[:_SHOWN_CHARACTERS]!r}")
