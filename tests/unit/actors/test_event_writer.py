"""What the writer says when a commit's outcome is unknown: it finds out, or it says that it could not."""

from collections.abc import Callable, Sequence
from typing import cast, override

import pytest

from artifactstore.database.errors import DatabaseBusy, DatabaseUnavailable, OutcomeUnknown
from artifactstore.event_writer import EventWriter, log_commit
from artifactstore.supervision import Actor, ActorRef, ActorSpec, SupervisorSpec, handles, open_tree
from artifactstore_protocols.commands import CommandRequest
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import CommandOutcome, EventStore
from artifactstore_protocols.events import Committed, StoredEvent
from artifactstore_protocols.messages import Commit, HeadMoved, ImportEvents, ProjectionRole, WriterRole
from artifactstore_protocols.supervision import Request
from artifactstore_protocols.unfinished_import import ImportRun, LogEnd, UnfinishedImport
from command_strategies import Ids, created
from database_tools import event


class _Store:
    """Commits as it is told to: each call raises the next error, or takes everything."""

    def __init__(self, *errors: ArtifactStoreError | None) -> None:
        self.asked: list[Sequence[CommandRequest]] = []
        self.taken_over: list[tuple[Sequence[StoredEvent], ImportRun]] = []
        self._errors = list(errors)

    async def commit(
        self,
        requests: Sequence[CommandRequest],
        *,
        now_us: Callable[[], int],  # noqa: ARG002 - nothing is recorded
        new_id: Callable[[], str],  # noqa: ARG002 - no log begins
        files_per_package_max: int,  # noqa: ARG002 - nothing is counted
    ) -> Sequence[CommandOutcome]:
        self.asked.append(requests)
        if self._errors and (error := self._errors.pop(0)) is not None:
            raise error
        return [Committed((), number, repeated=False) for number, _request in enumerate(requests, 1)]

    async def import_events(self, events: Sequence[StoredEvent], run: ImportRun) -> int:
        self.taken_over.append((events, run))
        if self._errors and (error := self._errors.pop(0)) is not None:
            raise error
        return len(events)


class _Projection(Actor[ProjectionRole]):
    @override
    async def on_start(self) -> None:
        self.heads: list[int] = []

    @handles(HeadMoved)
    async def head_moved(self, message: HeadMoved) -> None:
        self.heads.append(message.sequence)


async def _commit(store: _Store) -> Committed:
    return await _ask(store, Commit(CommandRequest(Ids()(), created(), "ci", None)))


async def _ask[R](store: _Store, message: Request[R, WriterRole]) -> R:
    writer, projection = ActorRef[WriterRole]("writer"), ActorRef[ProjectionRole]("projection")
    spec = SupervisorSpec(
        name="root",
        children=(
            ActorSpec(
                ref=writer,
                factory=lambda: EventWriter(cast("EventStore", store), projection, files_per_package_max=10),
            ),
            ActorSpec(ref=projection, factory=_Projection),
        ),
    )
    async with open_tree(spec):
        return await writer.ask(message)


async def test_an_unknown_outcome_is_found_out_with_the_same_commands() -> None:
    store = _Store(OutcomeUnknown("db", "the line went dead"))
    assert (await _commit(store)).sequence == 1
    assert store.asked[0] == store.asked[1]
    assert len(store.asked) == 2


@pytest.mark.parametrize("second", [DatabaseBusy("db", "waited 30 s"), OutcomeUnknown("db", "again")])
async def test_an_outcome_that_cannot_be_found_out_is_unknown(second: ArtifactStoreError) -> None:
    """Never what the second attempt says of itself: the first one may have been written."""
    store = _Store(OutcomeUnknown("db", "the line went dead"), second)
    with pytest.raises(OutcomeUnknown) as unknown:
        await _commit(store)
    assert "the line went dead" in unknown.value.reason
    assert len(store.asked) == 2


async def test_what_was_not_written_is_refused_and_not_tried_again() -> None:
    store = _Store(DatabaseUnavailable("db", "gone"))
    with pytest.raises(DatabaseUnavailable):
        await _commit(store)
    assert len(store.asked) == 1


async def test_events_that_are_taken_over_are_found_out_about_in_the_same_way() -> None:
    store = _Store(OutcomeUnknown("db", "the line went dead"))
    log = (StoredEvent(1, event(Ids()())),)
    run = ImportRun("a file", 0, UnfinishedImport(LogEnd(1, log[0].event.event_id), "again"))
    message = ImportEvents(log, run)
    assert await _ask(store, message) == 1
    assert store.taken_over == [(message.events, message.run)] * 2
    assert message.size_bytes > len(message.events[0].event.payload)


@pytest.mark.parametrize(
    ("took_s", "level", "what"),
    [
        (0.9, "DEBUG", "commit"),
        (1.0, "INFO", "slow commit"),
        (9.9, "INFO", "slow commit"),
        (10, "WARNING", "slow commit"),
    ],
)
def test_a_commit_is_logged_the_louder_the_slower_it_was(
    caplog: pytest.LogCaptureFixture, took_s: float, level: str, what: str
) -> None:
    with caplog.at_level("DEBUG", logger="artifactstore.writer"):
        log_commit(3, 2, 7, took_s)
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (level, f"{what}: 2 of 3 commands wrote, up to 7, {took_s:.3f} s")
