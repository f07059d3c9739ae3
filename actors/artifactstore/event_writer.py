"""EventWriter: the one place where events get their numbers.

Commands are taken in batches: while one transaction commits, the next ones queue, and all that is queued goes into
the next transaction together, up to limits on count and bytes. So a lone command never waits for company, and many at
once share the cost of one commit. A command that is refused is answered alone; its neighbours do not notice.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import override

import trio

from artifactstore.database.errors import OutcomeUnknown
from artifactstore.ids import new_id, now_us
from artifactstore.supervision import Actor, ActorRef, Batched, OnCancel, handles
from artifactstore_protocols.commands import CommandRequest
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import CommandOutcome, EventStore
from artifactstore_protocols.events import Committed
from artifactstore_protocols.messages import Commit, HeadMoved, ImportEvents, ProjectionRole, WriterRole
from artifactstore_protocols.supervision import ActorStopped, MailboxFull

__all__ = ["COMMIT_TIMEOUT_S", "EventWriter", "log_commit"]

COMMIT_TIMEOUT_S = 120.0
"""How long an asker waits for a commit: longer than the writer itself waits for the head of the log, twice."""

_logger = logging.getLogger("artifactstore.writer")

_FIRST_AFTER_CREATED = 2  # the command that has this one also wrote `v1.log.created`, which no answer holds
_BATCH_COMMANDS = 256
_BATCH_BYTES = 8 << 20
_SLOW_S = 1.0
_VERY_SLOW_S = 10.0


class EventWriter(Actor[WriterRole]):
    """Commits commands.

    Args:
        store: that holds the log.
        projection: who is told that the log has grown.
        files_per_package_max: how many files a package may hold.
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
        """Commit a batch; one answer a message, in order."""
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
        """Take over another log's events, in one transaction; how many were not there before."""
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
            self._store.commit, requests, now_us=now_us, new_id=new_id, files_per_package_max=self._files_max
        )
        return await self._found_out(attempt)

    async def _found_out[T](self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What an attempt answers, that may be made twice."""
        try:
            return await attempt()
        except OutcomeUnknown as unknown:
            # Taking the head again waits for a commit that is still on its way; then everything that did commit
            # is found by its id and gets its first answer, and the rest is done now.
            try:
                return await attempt()
            except ArtifactStoreError as error:  # which speaks of the second attempt; the first may be there
                again = error.reason if isinstance(error, OutcomeUnknown) else str(error)
                raise OutcomeUnknown(unknown.database, f"{unknown.reason}; asked again: {again}") from error

    def _announce(self) -> None:
        # A full mailbox holds others that say the same, and one that stops has no tails left; what is committed is
        # answered as that in any case.
        with suppress(MailboxFull, ActorStopped):
            self._projection.try_tell(HeadMoved(self._sequence))


def log_commit(commands: int, written: int, sequence: int, took_s: float) -> None:
    """Log a transaction, the louder the longer it took: whoever asked has waited for it."""
    level = logging.WARNING if took_s >= _VERY_SLOW_S else logging.INFO if took_s >= _SLOW_S else logging.DEBUG
    what = "slow commit" if took_s >= _SLOW_S else "commit"
    _logger.log(level, "%s: %d of %d commands wrote, up to %d, %.3f s", what, written, commands, sequence, took_s)
