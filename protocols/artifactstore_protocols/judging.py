"""The decision of a batch of commands, as a pure function: commands in, events and row operations out.

Every store calls it, with the state that its transaction sees. Commands are judged in order, each against the state
that the ones before it left. A rejected command writes nothing and does not make the other commands fail. A command
that is in the log already, by its id or by its idempotency key, gets the events that it wrote then, and writes nothing.
"""

from collections.abc import Callable, Sequence
from typing import assert_never

from msgspec import Struct, field

from artifactstore_protocols.commands import (
    AnnotatePackage,
    Command,
    CommandRequest,
    CreatePackage,
    DeleteKeepPolicy,
    DeleteTag,
    FinalizePackage,
    IngestFiles,
    OnExisting,
    RecordFindings,
    RecordVerification,
    RegisterMetadataSchema,
    RemoveObjects,
    ReplaceObjects,
    RequireSchema,
    RetireObjects,
    SetKeepPolicy,
    SetTag,
    StoreObjects,
    UnrequireSchema,
    command_digest,
)
from artifactstore_protocols.entries import StoredObject
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import CommandOutcome
from artifactstore_protocols.event_types import (
    ClockConfirmed,
    LogCreated,
    ObjectsRetired,
    ObjectsStored,
    Payload,
    encode_payload,
    type_of,
)
from artifactstore_protocols.event_types.command_noted import note_command
from artifactstore_protocols.event_types.entries_released import release_entries, release_needs
from artifactstore_protocols.event_types.files_ingested import (
    add_stored_bytes,
    check_contents,
    ingest_files,
    lost_contents,
    refuse_purged,
)
from artifactstore_protocols.event_types.keep_policies_applied import application_needs, apply_keep_policies
from artifactstore_protocols.event_types.keep_policy_deleted import delete_keep_policy
from artifactstore_protocols.event_types.keep_policy_set import set_keep_policy
from artifactstore_protocols.event_types.object_places import digest_at
from artifactstore_protocols.event_types.objects_condemned import REPLACED, condemn_lost
from artifactstore_protocols.event_types.objects_flagged import judge_findings
from artifactstore_protocols.event_types.objects_removed import remove_objects
from artifactstore_protocols.event_types.objects_reprieved import reprieve_objects
from artifactstore_protocols.event_types.objects_retired import SUPERSEDED, retire_objects
from artifactstore_protocols.event_types.objects_stored import new_objects, superseded
from artifactstore_protocols.event_types.objects_uploaded import store_objects
from artifactstore_protocols.event_types.package_annotated import annotate_package
from artifactstore_protocols.event_types.package_created import create_package, creation_needs
from artifactstore_protocols.event_types.package_finalized import finalize_package
from artifactstore_protocols.event_types.placing import entry_needs
from artifactstore_protocols.event_types.schema_required import judge_schema, schema_needs
from artifactstore_protocols.event_types.store_verified import record_verification, verification_needs
from artifactstore_protocols.event_types.tag_deleted import delete_tag
from artifactstore_protocols.event_types.tag_set import set_tag
from artifactstore_protocols.events import (
    CommandStamp,
    Committed,
    Event,
    EventRefused,
    IdempotencyConflict,
    StoredEvent,
)
from artifactstore_protocols.identity import PRIMARY_ALGORITHM
from artifactstore_protocols.ids import event_id_of
from artifactstore_protocols.judging_life_cycle import decide_life_cycle, life_cycle_needs
from artifactstore_protocols.keep_policies import ApplyKeepPolicies
from artifactstore_protocols.life_cycle import LifeCycleCommand
from artifactstore_protocols.releasing import ReleaseEntries
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.totals import totals_rows
from artifactstore_protocols.unfinished_import import UnfinishedImport, admit_command
from artifactstore_protocols.views import RowOperation

__all__ = ["Judged", "command_needs", "decide", "judge_batch", "project"]


class Judged(Struct):
    """The result of judging a batch of commands.

    Attributes:
        outcomes: one outcome for each command, in order.
        events: the events to append, in order of sequence.
        operations: the row operations for the projections.
    """

    outcomes: list[CommandOutcome] = field(default_factory=list[CommandOutcome])
    events: list[StoredEvent] = field(default_factory=list[StoredEvent])
    operations: list[RowOperation] = field(default_factory=list[RowOperation])


def command_needs(commands: Sequence[Command]) -> Needs:
    """Return the state that `decide` needs to judge some commands."""
    return Needs.of_all(map(_needs, commands))


def _needs(command: Command) -> Needs:  # noqa: C901, PLR0911, PLR0912 - one case for each command
    match command:
        case CreatePackage():
            return creation_needs(command)
        case IngestFiles():
            brought = frozenset(stored.digest for stored in command.stored)
            replaces = command.on_existing is OnExisting.REPLACE
            occupants = frozenset({command.package_id} if replaces else ())
            return entry_needs(command.package_id, command.entries) | Needs(contents=brought, occupants=occupants)
        case RegisterMetadataSchema() | RequireSchema() | UnrequireSchema():
            return schema_needs(command)
        case SetTag() | DeleteTag() | SetKeepPolicy() | DeleteKeepPolicy():
            return _needs_of_name(command)
        case AnnotatePackage() | FinalizePackage():
            return Needs(packages=frozenset({command.package_id}), described=frozenset({command.package_id}))
        case ApplyKeepPolicies():
            return application_needs(command)
        case ReleaseEntries():
            return release_needs(command.package_id, command.first, command.last) | Needs(counts=True)
        case LifeCycleCommand():
            return life_cycle_needs(command)
        case RecordFindings() | RecordVerification():
            if isinstance(command, RecordVerification):
                return verification_needs(command.first, command.last)
            findings = command.findings
            return Needs(contents=frozenset(finding.digest for finding in findings))
        case ReplaceObjects() | StoreObjects():
            return Needs(contents=frozenset(stored.digest for stored in command.stored))
        case RetireObjects():
            contents = frozenset(map(digest_at, command.objects))
            return Needs(contents=contents, references=contents)
        case RemoveObjects():
            return Needs(contents=frozenset(map(digest_at, command.objects)))
        case _:
            assert_never(command)


type _OfName = SetTag | DeleteTag | SetKeepPolicy | DeleteKeepPolicy
"""The commands about tags and keep policies, which have a name and no id."""


def _needs_of_name(command: _OfName) -> Needs:
    match command:
        case SetTag():
            return Needs(packages=frozenset({command.package_id}), tags=frozenset({command.tag}))
        case DeleteTag():
            return Needs(tags=frozenset({command.tag}))
        case SetKeepPolicy() | DeleteKeepPolicy():
            return Needs(keep_policies=True)


def _decide_name(command: _OfName, state: LogState) -> Payload | None:
    match command:
        case SetTag():
            return set_tag(command, state)
        case DeleteTag():
            return delete_tag(command, state)
        case SetKeepPolicy():
            return set_keep_policy(command, state)
        case DeleteKeepPolicy():
            return delete_keep_policy(command, state)


def decide(  # noqa: C901, PLR0912 - one case for each command
    command: Command, state: LogState, *, entries_max: int
) -> tuple[Payload, ...]:
    """Return the payloads of a command's events, in order; none if the command changes nothing.

    Args:
        command: the command.
        state: the state before the command; it is not changed.
        entries_max: the maximum number of entries in a package.

    Raises:
        ArtifactStoreError: the command is rejected: it breaks a rule of packages, objects or retention.
    """
    made: tuple[Payload | None, ...]
    match command:
        case CreatePackage():
            made = (create_package(command, state),)
        case IngestFiles():
            made = _ingest(command, state, entries_max)
        case FinalizePackage():
            made = (finalize_package(command, state),)
        case RegisterMetadataSchema() | RequireSchema() | UnrequireSchema():
            made = (judge_schema(command, state),)
        case SetTag() | DeleteTag() | SetKeepPolicy() | DeleteKeepPolicy():
            made = (_decide_name(command, state),)
        case AnnotatePackage():
            made = (annotate_package(command, state),)
        case ApplyKeepPolicies():
            made = apply_keep_policies(command, state)
        case ReleaseEntries():
            made = release_entries(command, state)
        case LifeCycleCommand():
            made = (decide_life_cycle(command, state),)
        case RecordFindings() | RecordVerification():
            made = _verified(command, state)
        case ReplaceObjects():
            made = _stored(new_objects(command.stored, state), state)
        case StoreObjects():
            made = store_objects(command, state)
        case RetireObjects():
            made = (retire_objects(command, state),)
        case RemoveObjects():
            made = (remove_objects(command, state),)
        case _:
            assert_never(command)
    return tuple(payload for payload in made if payload is not None)


def _verified(command: RecordFindings | RecordVerification, state: LogState) -> tuple[Payload | None, ...]:
    if isinstance(command, RecordFindings):
        return judge_findings(command, state)
    return (record_verification(command, state),)


def _ingest(command: IngestFiles, state: LogState, entries_max: int) -> tuple[Payload | None, ...]:
    """Return payloads that reprieve condemned objects, store new ones, put entries, retire superseded objects.

    The last one condemns the contents that lose their last reference.
    """
    ingested = ingest_files(command, state, entries_max=entries_max)
    entries = () if ingested is None else ingested.entries
    refuse_purged(entries, state)
    needed = {entry.digest for entry in entries if entry.digest}
    new = new_objects(command.stored, state, needed)
    check_contents(entries, new, command.stored, state)
    if ingested is not None and new:
        ingested = add_stored_bytes(ingested, new, state)
    stored, retired = _stored(new, state)
    lost = () if ingested is None else lost_contents(ingested, state)
    gone = superseded(new, state)
    condemned = condemn_lost(lost, REPLACED, state, stored=new, gone=gone)
    reprieved = reprieve_objects(sorted(needed), state, always=command.by_reference and ingested is not None)
    return reprieved, stored, ingested, retired, condemned


def _stored(new: tuple[StoredObject, ...], state: LogState) -> tuple[ObjectsStored | None, ObjectsRetired | None]:
    """Return the payloads that record new objects and retire the objects that they supersede."""
    gone = superseded(new, state)
    return (
        ObjectsStored(PRIMARY_ALGORITHM, new) if new else None,
        ObjectsRetired(gone, SUPERSEDED) if gone else None,
    )


def judge_batch(
    requests: Sequence[CommandRequest],
    state: LogState,
    known: Sequence[StoredEvent],
    *,
    head: int,
    now_us: Callable[[], int],
    new_id: Callable[[], str],
    entries_max: int,
    unfinished: UnfinishedImport | None = None,
) -> Judged:
    """Judge a batch of commands. The first command that writes into an empty log also begins it.

    Args:
        requests: the commands, in order.
        state: the state that `command_needs` names, and the time of the log; the new events are applied to it.
        known: all events of commands that have the id or the idempotency key of one of these commands.
        head: the last sequence of the log.
        now_us: returns the time, in microseconds since the epoch.
        new_id: returns a random UUID, for a log that begins with this batch.
        entries_max: the maximum number of entries in a package.
        unfinished: the unfinished import, if any. Every command that is not in the log is then rejected.
    """
    judged = Judged()
    earlier = _Earlier()
    for stored in known:
        earlier.add(stored)
    for request in requests:
        try:
            digest = command_digest(request.command, request.principal)
            found = earlier.of(request, digest)
            if found:
                judged.outcomes.append(Committed(found, found[-1].sequence, repeated=True))
                continue
            admit_command(unfinished, head)
            payloads = decide(request.command, state, entries_max=entries_max)
            if not payloads and (noted := note_command(request)):
                payloads = (noted,)
            asked = _events(request, payloads, digest, _log_time(payloads, state, now_us))
            created = (StoredEvent(1, _log_created(asked[0], new_id)),) if asked and head == 0 else ()
            events = tuple(
                StoredEvent(sequence, event) for sequence, event in enumerate(asked, head + len(created) + 1)
            )
            operations = [
                operation
                for stored, payload in zip(events, payloads, strict=True)
                for operation in type_of(payload).rows(payload, stored)
            ]
        except ArtifactStoreError as refusal:
            judged.outcomes.append(refusal)
            continue
        for stored in created:
            began = stored.decode()
            type_of(began).evolve(began, stored, state)
        for stored, payload in zip(events, payloads, strict=True):
            type_of(payload).evolve(payload, stored, state)
            state.log_time_us = stored.event.recorded_at_us
            earlier.add(stored)
        head += len(created) + len(events)
        judged.events += created + events
        judged.operations += operations
        judged.outcomes.append(Committed(events, head, repeated=False, written=payloads))
    judged.operations += totals_rows(state)
    return judged


class _Earlier:
    """The events of earlier commands, by command id and by idempotency key."""

    def __init__(self) -> None:
        self._by_command: dict[str, list[StoredEvent]] = {}
        self._by_key: dict[str, str] = {}

    def add(self, stored: StoredEvent) -> None:
        stamp = stored.event.command
        self._by_command.setdefault(stamp.command_id, []).append(stored)
        if stamp.idempotency_key is not None:
            self._by_key[stamp.idempotency_key] = stamp.command_id

    def of(self, request: CommandRequest, digest: str) -> tuple[StoredEvent, ...]:
        command_id = request.command_id
        if request.idempotency_key is not None:
            command_id = self._by_key.get(request.idempotency_key, command_id)
        found = self._by_command.get(command_id, [])
        if found and found[0].event.command.digest != digest:
            raise IdempotencyConflict(request.idempotency_key or request.command_id, found[0].sequence)
        return tuple(found)


def _log_time(payloads: Sequence[Payload], state: LogState, now_us: Callable[[], int]) -> int:
    """Return the time of the next events: that of the clock, or of the last event if the clock is behind it.

    So a host with a slow clock begins no period in the past. Only a person who confirms the clock sets the time back,
    after a host with a fast clock has written events.
    """
    if not payloads:
        return 0
    at_us = now_us()
    return at_us if isinstance(payloads[0], ClockConfirmed) else max(at_us, state.log_time_us)


def _events(request: CommandRequest, payloads: Sequence[Payload], digest: str, recorded_at_us: int) -> list[Event]:
    """Return the events of a command. The first one has the command's digest and idempotency key."""
    first = CommandStamp(request.command_id, digest, request.idempotency_key)
    other = CommandStamp(request.command_id)
    return [
        Event(
            event_id=event_id_of(request.command_id, index),
            type=type_of(payload).name,
            subject=type_of(payload).subject(payload),
            principal=request.principal,
            recorded_at_us=recorded_at_us,
            payload=encode_payload(payload),
            command=other if index else first,
        )
        for index, payload in enumerate(payloads)
    ]


def _log_created(first: Event, new_id: Callable[[], str]) -> Event:
    """Return the event that begins a log. It is written with the first event that a command asks for."""
    payload = LogCreated(new_id())
    command_id = new_id()
    return Event(
        event_id=event_id_of(command_id, 0),
        type=type_of(payload).name,
        subject=type_of(payload).subject(payload),
        principal=first.principal,
        recorded_at_us=first.recorded_at_us,
        payload=encode_payload(payload),
        command=CommandStamp(command_id),
    )


def project(stored: StoredEvent, payload: Payload | None = None) -> tuple[RowOperation, ...]:
    """Return the row operations that an event implies.

    Args:
        stored: the event.
        payload: the decoded payload, from a caller that has it already.

    Raises:
        UnknownEventType: a newer release wrote the event; the error names type and sequence.
        EventRefused: the payload breaks a rule of its type.
    """
    payload = stored.decode() if payload is None else payload
    try:
        return tuple(type_of(payload).rows(payload, stored))
    except ArtifactStoreError as error:
        raise EventRefused(stored.sequence, stored.event.type, str(error)) from error
