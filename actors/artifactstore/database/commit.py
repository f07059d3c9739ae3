"""Functions that commit a batch of commands: load their state, judge them, and write events and projected rows."""

from collections.abc import Callable, Sequence
from typing import Final

from artifactstore.database import events
from artifactstore.database.bulk import Statement, Steps
from artifactstore.database.errors import Refused
from artifactstore.database.state import load_state
from artifactstore.database.translation import DRIVER_ERRORS, is_refusal, reason_of
from artifactstore_protocols.commands import CommandRequest
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import CommandOutcome
from artifactstore_protocols.judging import command_needs, judge_batch

__all__ = ["commit_batch", "commit_each"]

_SAVEPOINT: Final = "command"


def commit_batch(
    transaction: events.Transaction,
    requests: Sequence[CommandRequest],
    *,
    now_us: Callable[[], int],
    new_id: Callable[[], str],
    files_per_package_max: int,
) -> Steps[Sequence[CommandOutcome]]:
    """Judge a batch of commands, write their events and rows, and return the outcomes in the order of the requests.

    Raises:
        SQLAlchemyError: the database rejected the whole batch. The caller must roll back.
    """
    known = yield from events.find_commands(
        [request.command_id for request in requests],
        [request.idempotency_key for request in requests if request.idempotency_key],
        transaction.database,
    )
    needs = command_needs([request.command for request in requests])
    state = yield from load_state(needs, transaction.database)
    state.log_time_us = transaction.recorded_at_us
    judged = judge_batch(
        requests,
        state,
        known,
        head=transaction.sequence,
        now_us=now_us,
        new_id=new_id,
        entries_max=files_per_package_max,
        unfinished=transaction.unfinished,
    )
    yield from events.append(transaction, (stored.event for stored in judged.events), judged.operations)
    return judged.outcomes


def commit_each(
    transaction: events.Transaction,
    requests: Sequence[CommandRequest],
    *,
    now_us: Callable[[], int],
    new_id: Callable[[], str],
    files_per_package_max: int,
) -> Steps[Sequence[CommandOutcome]]:
    """Like `commit_batch`, but with a savepoint for each command, so that a rejected command fails alone.

    This is slower. A command that the database rejects gets `Refused` as its outcome.
    """
    outcomes: list[CommandOutcome] = []
    for request in requests:
        before = transaction.sequence, transaction.recorded_at_us
        yield _plain(f"SAVEPOINT {_SAVEPOINT}")
        try:
            outcomes += yield from commit_batch(
                transaction, (request,), now_us=now_us, new_id=new_id, files_per_package_max=files_per_package_max
            )
        except (ArtifactStoreError, *DRIVER_ERRORS) as error:
            if not (isinstance(error, ArtifactStoreError) or is_refusal(error)):
                raise
            yield _plain(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            transaction.sequence, transaction.recorded_at_us = before
            outcomes.append(error if isinstance(error, ArtifactStoreError) else Refused(reason_of(error)))
        yield _plain(f"RELEASE SAVEPOINT {_SAVEPOINT}")
    return outcomes


def _plain(sql: str) -> Statement:
    return Statement(sql, [()])
