"""One transaction for a batch of commands: find repeats, load facts, decide, write events and the rows they imply.

Commands of a batch are judged in order, each against the facts as the ones before it left them. A refused command
leaves no trace and never fails its neighbours. A command that is in the log already, by its id or by its idempotency
key, gets the events that it wrote then, and writes nothing.
"""

from collections.abc import Callable, Sequence
from functools import reduce

from artifactstore.database import events
from artifactstore.database.errors import Refused
from artifactstore.database.facts import load_facts
from artifactstore.database.schema import LIVE
from artifactstore.database.translation import DRIVER_ERRORS, is_refusal, reason_of
from artifactstore.database.views import TableViewWriter
from artifactstore_protocols.commands import CommandRequest, Committed, command_digest
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import CommandOutcome
from artifactstore_protocols.events import CommandStamp, Event, IdempotencyConflict, StoredEvent
from artifactstore_protocols.packages import Draft, Facts, Needs, decide, needs
from artifactstore_protocols.payloads import encode_payload
from artifactstore_protocols.views import RowOperation, project

__all__ = ["commit_batch", "commit_each"]


async def commit_batch(
    transaction: events.Transaction,
    requests: Sequence[CommandRequest],
    *,
    now_us: Callable[[], int],
    files_per_package_max: int,
) -> tuple[CommandOutcome, ...]:
    """Judge a batch of commands and write what they make true; answers are in the order of the requests.

    Raises:
        SQLAlchemyError: the database refused the batch as a whole; nothing of it may be kept.
    """
    batch = await _Batch.load(transaction, requests)
    outcomes = tuple(
        batch.judge(request, now_us=now_us, files_per_package_max=files_per_package_max) for request in requests
    )
    await events.write_all(transaction, batch.new, batch.operations)
    return outcomes


async def commit_each(
    transaction: events.Transaction,
    requests: Sequence[CommandRequest],
    *,
    now_us: Callable[[], int],
    files_per_package_max: int,
) -> tuple[CommandOutcome, ...]:
    """As `commit_batch`, with a savepoint a command: slower, but the one that the database refuses fails alone."""
    outcomes: list[CommandOutcome] = []
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
        except (ArtifactStoreError, *DRIVER_ERRORS) as error:
            if not (isinstance(error, ArtifactStoreError) or is_refusal(error)):
                raise
            await savepoint.rollback()
            transaction.sequence = sequence
            outcomes.append(error if isinstance(error, ArtifactStoreError) else Refused(reason_of(error)))
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
        self.operations: list[RowOperation] = []
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

    def judge(
        self, request: CommandRequest, *, now_us: Callable[[], int], files_per_package_max: int
    ) -> CommandOutcome:
        """What comes of one command. Only one that can be decided, encoded and projected changes the batch."""
        try:
            digest = command_digest(request.command, request.actor)
            earlier = self._earlier(request)
            if earlier:
                if earlier[0].event.command.digest != digest:
                    raise IdempotencyConflict(request.idempotency_key or request.command_id, earlier[0].sequence)
                return Committed(tuple(earlier), earlier[-1].sequence, repeated=True)
            facts = self._facts.copy()
            drafts = decide(request.command, facts, files_per_package_max=files_per_package_max)
            stored = tuple(
                StoredEvent(self._sequence + 1 + i, _event(draft, request, digest if i == 0 else None, now_us()))
                for i, draft in enumerate(drafts)
            )
            operations = [
                operation
                for draft, entry in zip(drafts, stored, strict=True)
                for operation in project(entry, draft.payload)
            ]
        except ArtifactStoreError as refusal:
            return refusal
        self._facts = facts
        self._sequence += len(stored)
        self.new += [entry.event for entry in stored]
        self.operations += operations
        for entry in stored:
            self._remember(entry)
        return Committed(stored, self._sequence, repeated=False)

    def _earlier(self, request: CommandRequest) -> list[StoredEvent]:
        command_id = request.command_id
        if request.idempotency_key is not None:
            command_id = self._by_key.get(request.idempotency_key, command_id)
        return self._by_command.get(command_id, [])


def _event(draft: Draft, request: CommandRequest, digest: str | None, recorded_at_us: int) -> Event:
    """The event of a draft. The first one of a command carries the command's digest and idempotency key."""
    return Event(
        event_id=draft.event_id,
        type=draft.payload.TYPE,
        subject=draft.subject,
        actor=request.actor,
        recorded_at_us=recorded_at_us,
        payload=encode_payload(draft.payload),
        command=CommandStamp(request.command_id, digest, None if digest is None else request.idempotency_key),
    )
