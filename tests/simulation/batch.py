"""A batch of commands judged for the simulated log: the real decisions and projections, without a database."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from artifactstore_protocols.commands import CommandRequest, Committed, command_digest
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import CommandOutcome
from artifactstore_protocols.events import CommandStamp, Event, EventConflict, IdempotencyConflict, StoredEvent
from artifactstore_protocols.packages import Draft, Facts, decide
from artifactstore_protocols.payloads import encode_payload
from artifactstore_protocols.views import RowOperation, project
from simulation.log import SimulatedLog

__all__ = ["Batch"]


@dataclass(slots=True)
class Batch:
    """Commands judged one after the other; each refused one leaves no trace.

    Attributes:
        log: what is committed.
        facts: what is true after the commands so far.
        sequence: the last one taken.
        new: what to append, by id.
        operations: what that implies for the views.
    """

    log: SimulatedLog
    facts: Facts
    sequence: int
    new: dict[str, StoredEvent] = field(default_factory=dict[str, StoredEvent])
    operations: list[RowOperation] = field(default_factory=list[RowOperation])

    def judge(self, request: CommandRequest, now_us: Callable[[], int], files_max: int) -> CommandOutcome:
        """What comes of one command."""
        try:
            digest = command_digest(request.command, request.actor)
            if earlier := self._earlier(request):
                if earlier[0].event.command.digest != digest:
                    raise IdempotencyConflict(request.idempotency_key or request.command_id, earlier[0].sequence)
                return Committed(tuple(earlier), earlier[-1].sequence, repeated=True)
            facts = self.facts.copy()
            drafts = decide(request.command, facts, files_per_package_max=files_max)
            events = [_event(draft, request, digest if i == 0 else None, now_us()) for i, draft in enumerate(drafts)]
            written, new = self._place(events)
            operations = [operation for stored in new.values() for operation in project(stored)]
        except ArtifactStoreError as refusal:
            return refusal
        self.facts = facts
        self.sequence += len(new)
        self.new |= new
        self.operations += operations
        return Committed(tuple(written), written[-1].sequence if written else self.sequence, repeated=False)

    def _place(self, events: Sequence[Event]) -> tuple[list[StoredEvent], dict[str, StoredEvent]]:
        """Give events their sequences, those that are there already their first one; all of them, and the new ones.

        Raises:
            EventConflict: the id of one is taken by another event.
        """
        written: list[StoredEvent] = []
        new: dict[str, StoredEvent] = {}
        for event in events:
            known = self.log.event(event.event_id) or self.new.get(event.event_id) or new.get(event.event_id)
            if known is None:
                known = new[event.event_id] = StoredEvent(self.sequence + len(new) + 1, event)
            elif not known.event.same_content(event):
                raise EventConflict(event.event_id, known.sequence)
            written.append(known)
        return written, new

    def _earlier(self, request: CommandRequest) -> list[StoredEvent]:
        key, command_id = request.idempotency_key, request.command_id
        mine = [stored for stored in self.new.values() if key and stored.event.command.idempotency_key == key]
        if mine:
            command_id = mine[0].event.command.command_id
        elif key is not None:
            command_id = self.log.keyed(key) or command_id
        here = [stored for stored in self.new.values() if stored.event.command.command_id == command_id]
        return [*self.log.earlier(command_id), *here]


def _event(draft: Draft, request: CommandRequest, digest: str | None, recorded_at_us: int) -> Event:
    return Event(
        event_id=draft.event_id,
        type=draft.payload.TYPE,
        subject=draft.subject,
        actor=request.actor,
        recorded_at_us=recorded_at_us,
        payload=encode_payload(draft.payload),
        command=CommandStamp(request.command_id, digest, None if digest is None else request.idempotency_key),
    )
