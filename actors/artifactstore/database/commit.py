"""One transaction for a batch of commands: find repeats, load facts, decide, write events and the rows they imply.

Commands of a batch are judged in order, each against the facts as the ones before it left them. A refused command
leaves no trace and never fails its neighbours. A command that is in the log already, by its id or by its idempotency
key, gets the events that it wrote then, and writes nothing.
"""

from collections.abc import Callable, Sequence
from functools import reduce

from artifactstore.database import events
from artifactstore.database.facts import load_facts
from artifactstore.database.schema import LIVE
from artifactstore.database.views import TableViewWriter
from artifactstore_protocols.commands import CommandRequest, Committed, command_digest
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.events import CommandStamp, Event, IdempotencyConflict, StoredEvent
from artifactstore_protocols.packages import Draft, Facts, Needs, decide, needs
from artifactstore_protocols.payloads import encode_payload
from artifactstore_protocols.views import project

__all__ = ["Outcome", "commit_batch", "commit_each"]

type Outcome = Committed | ArtifactStoreError


async def commit_batch(
    transaction: events.Transaction,
    requests: Sequence[CommandRequest],
    *,
    now_us: Callable[[], int],
    files_per_package_max: int,
) -> tuple[Outcome, ...]:
    """Judge a batch of commands and write what they make true; answers are in the order of the requests.

    Raises:
        SQLAlchemyError: the database refused the batch as a whole; nothing of it may be kept.
    """
    batch = await _Batch.load(transaction, requests)
    outcomes = tuple(
        batch.judge(request, now_us=now_us, files_per_package_max=files_per_package_max) for request in requests
    )
    written = await events.write_all(transaction, batch.new)
    operations = [operation for stored in written for operation in project(stored)]
    await TableViewWriter(transaction.connection, LIVE).apply(operations)
    return outcomes


async def commit_each(
    transaction: events.Transaction,
    requests: Sequence[CommandRequest],
    *,
    now_us: Callable[[], int],
    files_per_package_max: int,
) -> tuple[Outcome, ...]:
    """As `commit_batch`, with a savepoint a command: slower, but the one that the database refuses fails alone."""
    outcomes: list[Outcome] = []
    for request in requests:
        sequence = transaction.sequence
        savepoint = await transaction.connection.begin_nested()
        try:
            batch = await _Batch.load(transaction, (request,))
            outcome = batch.judge(request, now_us=now_us, files_per_package_max=files_per_package_max)
            written = [StoredEvent(await events.write(transaction, event), event) for event in batch.new]
            if written and isinstance(outcome, Committed):
                outcome = Committed(tuple(written), written[-1].sequence, repeated=False)
            # An id that is in the log already kept its first sequence, and was projected then.
            fresh = [stored for stored in written if stored.sequence > sequence]
            operations = [operation for stored in fresh for operation in project(stored)]
            await TableViewWriter(transaction.connection, LIVE).apply(operations)
        except ArtifactStoreError as refusal:
            await savepoint.rollback()
            transaction.sequence = sequence
            outcomes.append(refusal)
        else:
            await savepoint.commit()
            outcomes.append(outcome)
    return tuple(outcomes)


class _Batch:
    """The state of one batch: facts that evolve, commands that are known, and the events to write."""

    def __init__(self, facts: Facts, known: Sequence[StoredEvent], sequence: int) -> None:
        self._facts = facts
        self._sequence = sequence
        self._by_command: dict[str, list[StoredEvent]] = {}
        self._by_key: dict[str, str] = {}
        self.new: list[Event] = []
        for stored in known:
            self._remember(stored)

    @classmethod
    async def load(cls, transaction: events.Transaction, requests: Sequence[CommandRequest]) -> "_Batch":
        known = await events.find_commands(
            transaction.connection,
            command_ids=[request.command_id for request in requests],
            idempotency_keys=[request.idempotency_key for request in requests if request.idempotency_key],
        )
        needed = reduce(Needs.__or__, (needs(request.command) for request in requests), Needs())
        return cls(await load_facts(transaction.connection, needed), known, transaction.sequence)

    def _remember(self, stored: StoredEvent) -> None:
        stamp = stored.event.command
        self._by_command.setdefault(stamp.command_id, []).append(stored)
        if stamp.idempotency_key is not None:
            self._by_key[stamp.idempotency_key] = stamp.command_id

    def judge(self, request: CommandRequest, *, now_us: Callable[[], int], files_per_package_max: int) -> Outcome:
        digest = command_digest(request.command, request.actor)
        earlier = self._earlier(request)
        if earlier:
            if earlier[0].event.command.digest != digest:
                key = request.idempotency_key or request.command_id
                return IdempotencyConflict(key, earlier[0].sequence)
            return Committed(tuple(earlier), earlier[-1].sequence, repeated=True)
        facts = self._facts.copy()
        try:
            drafts = decide(request.command, facts, files_per_package_max=files_per_package_max)
        except ArtifactStoreError as refusal:
            return refusal
        self._facts = facts
        stored = tuple(self._take(draft, request, digest, now_us(), first=i == 0) for i, draft in enumerate(drafts))
        return Committed(stored, self._sequence, repeated=False)

    def _earlier(self, request: CommandRequest) -> list[StoredEvent]:
        command_id = request.command_id
        if request.idempotency_key is not None:
            command_id = self._by_key.get(request.idempotency_key, command_id)
        return self._by_command.get(command_id, [])

    def _take(
        self, draft: Draft, request: CommandRequest, digest: str, recorded_at_us: int, *, first: bool
    ) -> StoredEvent:
        """Give a draft its place: the next sequence after all that this batch has taken."""
        event = Event(
            event_id=draft.event_id,
            type=draft.payload.TYPE,
            subject=draft.subject,
            actor=request.actor,
            recorded_at_us=recorded_at_us,
            payload=encode_payload(draft.payload),
            command=CommandStamp(
                request.command_id, digest if first else None, request.idempotency_key if first else None
            ),
        )
        self._sequence += 1
        stored = StoredEvent(self._sequence, event)
        self.new.append(event)
        self._remember(stored)
        return stored
