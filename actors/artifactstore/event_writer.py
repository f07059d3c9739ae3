"""`EventWriter`: the actor that commits commands and thereby assigns the sequences of events.

The writer commits commands in batches. While a transaction commits, further commands queue. The next transaction takes
all of them, up to 256 commands and 8 MiB. So a single command never waits for others, and concurrent commands share the
cost of one commit. A refused command does not affect the other commands of its batch.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import override

import trio

from artifactstore.database.errors import OutcomeUnknown
from artifactstore.environment import environment
from artifactstore.ids import new_id
from artifactstore.supervision import Actor, ActorRef, Batched, OnCancel, handles
from artifactstore_protocols.commands import CommandRequest
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import CommandOutcome, EventStore
from artifactstore_protocols.events import Committed
from artifactstore_protocols.messages import Commit, HeadMoved, ImportEvents, ProjectionRole, WriterRole
from artifactstore_protocols.supervision import ActorStopped, MailboxFull

__all__ = ["COMMIT_TIMEOUT_S", "EventWriter", "log_commit"]

COMMIT_TIMEOUT_S = 120.0
"""How long a caller waits for a commit. That is longer than two attempts of the writer to lock the head of the log."""

_logger = logging.getLogger("artifactstore.writer")

_FIRST_AFTER_CREATED = 2  # the command that wrote event 2 also wrote `v1.log.created`, which no answer contains
_BATCH_COMMANDS = 256
_BATCH_BYTES = 8 << 20
_SLOW_S = 1.0
_VERY_SLOW_S = 10.0


class EventWriter(Actor[WriterRole]):
    """The actor that commits commands.

    Args:
        store: the event store of the log.
        projection: the actor to notify when the log has grown.
        files_per_package_max: the largest number of files in a package.
    """

    def __init__(self, store: EventStore, projection: ActorRef[ProjectionRole], *, files_per_package_max: int) -> None:
        self._store = store
        self._projection = projection
        self._files_max = files_per_package_max
        self._transactions = 0
        self._events = 0
        self._sequence = 0

    @override
    def state_summary(self) -> dict[str, str | int]:
        return {"transactions": self._transactions, "events": self._events, "last sequence": self._sequence}

    @handles(Commit, mode=Batched(_BATCH_COMMANDS, _BATCH_BYTES), on_cancel=OnCancel.COMPLETE)
    async def commit(self, messages: Sequence[Commit]) -> Sequence[Committed | ArtifactStoreError]:
        """Commit a batch; return one answer per message, in order."""
        began = trio.current_time()
        outcomes = await self._durable([message.request for message in messages])
        self._transactions += 1
        written = [outcome for outcome in outcomes if isinstance(outcome, Committed) and not outcome.repeated]
        if written:
            numbers = [stored.sequence for outcome in written for stored in outcome.events]
            self._events += len(numbers) + (self._sequence == 0 and _FIRST_AFTER_CREATED in numbers)
            self._sequence = max(outcome.sequence for outcome in written)
            self._announce()
        log_commit(len(messages), len(written), self._sequence, trio.current_time() - began)
        return outcomes

    @handles(ImportEvents, on_cancel=OnCancel.COMPLETE)
    async def import_events(self, message: ImportEvents) -> int:
        """Import events of another log in one transaction; return how many are new."""
        attempt = partial(self._store.import_events, message.events, message.run)
        written = await self._found_out(attempt)
        self._transactions += 1
        self._events += written
        if message.events:
            self._sequence = max(self._sequence, message.events[-1].sequence)
            self._announce()
        return written

    async def _durable(self, requests: Sequence[CommandRequest]) -> Sequence[CommandOutcome]:
        attempt = partial(
            self._store.commit,
            requests,
            now_us=environment.get().now_us,
            new_id=new_id,
            files_per_package_max=self._files_max,
        )
        return await self._found_out(attempt)

    async def _found_out[T](self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return the result of `attempt`. If its outcome is unknown, retry once; `attempt` must be repeatable."""
        try:
            return await attempt()
        except OutcomeUnknown as unknown:
            # The retry locks the head, so it waits for a commit that is still running. Then it finds the committed
            # commands by their ids and returns their first answers, and it commits the other commands.
            try:
                return await attempt()
            except ArtifactStoreError as error:  # it describes the second attempt; the first may have committed
                again = error.reason if isinstance(error, OutcomeUnknown) else str(error)
                raise OutcomeUnknown(unknown.database, f"{unknown.reason}; asked again: {again}") from error

    def _announce(self) -> None:
        # Both errors are harmless: a full mailbox already holds such messages, and an actor that stops has no tails.
        # The commit has succeeded in any case.
        with suppress(MailboxFull, ActorStopped):
            self._projection.try_tell(HeadMoved(self._sequence))


def log_commit(commands: int, written: int, sequence: int, took_s: float) -> None:
    """Log a transaction: at DEBUG, at INFO from 1 s on, at WARNING from 10 s on, since callers waited for it."""
    level = logging.WARNING if took_s >= _VERY_SLOW_S else logging.INFO if took_s >= _SLOW_S else logging.DEBUG
    what = "slow commit" if took_s >= _SLOW_S else "commit"
    _logger.log(level, "%s: %d of %d commands wrote, up to %d, %.3f s", what, written, commands, sequence, took_s)
