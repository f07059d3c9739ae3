"""The rules for events that come from outside: from an import, a restored backup, or the log that a replay reads.

A log accepts such an event only if a command could have produced it at that position. `examine` checks the rules that
concern the event alone. `admit` checks the rules that depend on the events before it. To admit a batch of events, a
caller loads the state that `run_needs` names; `admit` updates that state event by event.

The manifest of a large package would need the state of all its entries at once. So an event that is alone in its batch
can be examined with `in_parts`: `admit_part` then checks one part after the other, each with its own state.
"""

from collections.abc import Iterable
from typing import Any, Final, Protocol

from msgspec import Struct

from artifactstore_protocols.canonical import INTEGER_MAX
from artifactstore_protocols.commands import check_caller
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.event_types import (
    ENTRIES_RELEASED,
    FILES_INGESTED,
    OBJECTS_CONDEMNED,
    OBJECTS_FLAGGED,
    OBJECTS_REPRIEVED,
    OBJECTS_RESTORED,
    OBJECTS_RETIRED,
    OBJECTS_STORED,
    PACKAGE_EXPIRED,
    PAYLOADS_REDACTED,
    ClockConfirmed,
    EventType,
    PackageFinalized,
    Payload,
    UnknownEventType,
    event_type,
)
from artifactstore_protocols.event_types.base import Part, check_equal
from artifactstore_protocols.event_types.log_created import check_place
from artifactstore_protocols.event_types.package_finalized import read_manifest
from artifactstore_protocols.events import Event, EventRefused, StoredEvent
from artifactstore_protocols.identity import PRIMARY_ALGORITHM, ContentAddress
from artifactstore_protocols.state import LastEvent, LogState, Needs
from artifactstore_protocols.substitutes import REDACTED_TYPES
from artifactstore_protocols.views import RowOperation, ViewWriter

__all__ = ["Examined", "LogTables", "admit", "admit_part", "examine", "run_needs"]

_FOLLOWS: Final = frozenset(
    {
        (OBJECTS_REPRIEVED.name, OBJECTS_STORED.name),
        (OBJECTS_REPRIEVED.name, FILES_INGESTED.name),
        (OBJECTS_STORED.name, FILES_INGESTED.name),
        (OBJECTS_STORED.name, OBJECTS_RETIRED.name),
        (FILES_INGESTED.name, OBJECTS_RETIRED.name),
        (FILES_INGESTED.name, OBJECTS_CONDEMNED.name),
        (OBJECTS_RETIRED.name, OBJECTS_CONDEMNED.name),
        (ENTRIES_RELEASED.name, OBJECTS_CONDEMNED.name),
        (OBJECTS_FLAGGED.name, OBJECTS_RESTORED.name),
        (PACKAGE_EXPIRED.name, PACKAGE_EXPIRED.name),
        (PAYLOADS_REDACTED.name, PAYLOADS_REDACTED.name),
    }
)
"""Pairs of event types of which the second may directly follow the first in one command.

An ingest reprieves objects, stores objects, adds entries, retires superseded keys and condemns contents that it
replaced. A collector releases entries and condemns their contents. A verification flags objects and clears flags. Keep
policies let several packages go. A redaction names many events.
"""


class Examined(Struct, frozen=True):
    """An event that keeps the rules that concern it alone.

    Attributes:
        stored: the event.
        type: its event type.
        payload: its decoded payload.
        in_parts: whether `admit` leaves the parts of the payload to `admit_part`.
    """

    stored: StoredEvent
    type: EventType[Any]
    payload: Payload
    in_parts: bool = False

    def parts(self) -> Iterable[Part]:
        """Return the parts of the payload."""
        return self.type.parts(self.payload)

    def needs(self) -> Needs:
        """Return the state that `admit` needs for this event."""
        parts = () if self.in_parts else self.parts()
        return Needs.of_all((self.type.needs(self.payload), *(part.needs for part in parts)))


class LogTables(ViewWriter, Protocol):
    """The tables of a log. A caller reads the state from them first, and then writes the rows of the next events."""

    async def state(self, needed: Needs) -> LogState:
        """Return the needed state, except the commands and the last event, which no table of the projection holds."""
        ...


def examine(stored: StoredEvent, *, in_parts: bool = False) -> Examined:
    """Decode an event, and check the rules that concern it alone: names, paths, sizes, types, times and keys.

    Args:
        stored: the event.
        in_parts: whether the caller passes each of the event's parts to `admit_part`, with the state that the part
            needs. The state must not contain effects of the event.

    Raises:
        UnknownEventType: a newer release wrote the event. The error names its type and sequence.
        EventRefused: the event breaks a rule.
    """
    event = stored.event
    try:
        payload = stored.decode()
        if isinstance(payload, PackageFinalized):
            payload = read_manifest(payload, redacted=event.redacted_by is not None)
        kind = event_type(event.type)
        check_place(stored.sequence, kind.name)
        _check_event(event)
        if event.redacted_by is not None and event.type not in REDACTED_TYPES:
            raise InvalidValue("redacted event", event.type, "no redaction changes events of this type")
        check_equal("subject", event.subject, kind.subject(payload))
        kind.check(payload, event)
        return Examined(stored, kind, payload, in_parts)
    except (EventRefused, UnknownEventType):
        raise
    except ArtifactStoreError as error:
        raise EventRefused(stored.sequence, event.type, str(error)) from error


def run_needs(run: Iterable[Examined]) -> Needs:
    """Return which state `admit` needs for a batch of events."""
    return Needs.of_all(each.needs() for each in run)


def admit(examined: Examined, state: LogState) -> tuple[RowOperation, ...]:
    """Check an event against the state before it, update the state, and return the rows that the event implies.

    Raises:
        EventRefused: no command could have produced the event in this state. `state` may be partly updated and cannot
            be used afterwards.
    """
    stored, kind, payload = examined.stored, examined.type, examined.payload
    try:
        _follow_command(stored.event, kind, state)
        _check_time(stored.event, payload, state)
        kind.judge(payload, stored, state)
        for part in () if examined.in_parts else examined.parts():
            part.check(state)
        rows = tuple(kind.rows(payload, stored))
        kind.evolve(payload, stored, state)
        state.log_time_us = stored.event.recorded_at_us
    except ArtifactStoreError as error:
        raise EventRefused(stored.sequence, stored.event.type, str(error)) from error
    return rows


def admit_part(examined: Examined, part: Part, state: LogState) -> None:
    """Check a part of an event that was examined with `in_parts`, against the state before the event.

    Raises:
        EventRefused: no command could have produced the event in this state.
    """
    try:
        part.check(state)
    except ArtifactStoreError as error:
        raise EventRefused(examined.stored.sequence, examined.stored.event.type, str(error)) from error


def _check_event(event: Event) -> None:
    """Check the fields around the payload: principal, time and command."""
    stamp = event.command
    check_caller(event.principal, stamp.idempotency_key)
    if not 0 <= event.recorded_at_us <= INTEGER_MAX:
        reason = f"it is from 0 to {INTEGER_MAX} microseconds since 1970"
        raise InvalidValue("time of recording", str(event.recorded_at_us), reason)
    if stamp.digest is not None:
        algorithm = ContentAddress.parse(stamp.digest).digest.algorithm
        check_equal("algorithm of the command digest", algorithm, PRIMARY_ALGORITHM)
    elif stamp.idempotency_key is not None:
        reason = "only the event that has the command's digest has its idempotency key"
        raise InvalidValue("idempotency key", stamp.idempotency_key, reason)


def _check_time(event: Event, payload: Payload, state: LogState) -> None:
    """Check that the times of a log never go back, unless somebody confirms the clock."""
    if event.recorded_at_us < state.log_time_us and not isinstance(payload, ClockConfirmed):
        reason = f"an event before it has the time {state.log_time_us}"
        raise InvalidValue("time of recording", str(event.recorded_at_us), reason)


def _follow_command(event: Event, kind: EventType[Any], state: LogState) -> None:
    """Check that the events of a command are adjacent, and that only the first has its digest. Update the state."""
    command_id, last = event.command.command_id, state.last
    if last is not None and last.command_id == command_id:
        check_equal("principal", event.principal, last.principal)
        if (last.type, kind.name) not in _FOLLOWS:
            raise InvalidValue("event type", kind.name, f"no command makes it after {last.type}")
        if event.command.digest is not None:
            raise InvalidValue("command digest", event.command.digest, "only a command's first event has it")
    elif command_id in state.commands:
        raise InvalidValue("command id", command_id, "the events of a command stand together, and it has others before")
    state.commands.add(command_id)
    state.previous, state.last = last, LastEvent(command_id, event.principal, kind.name)
