"""How to test the EventWriter alone: a simulated event store below it, a probe where the projections would be."""

import pytest
import trio

from artifactstore.database.errors import OutcomeUnknown
from artifactstore.event_writer import EventWriter
from artifactstore.ids import new_id
from artifactstore.projection import ProjectionActor
from artifactstore.supervision import ActorCrashed, MailboxFull, MailboxLimits
from artifactstore.testing import Probe, open_actor
from artifactstore_protocols.commands import CommandRequest, CreatePackage
from artifactstore_protocols.messages import Commit, HeadMoved, ProjectionRole
from artifactstore_protocols.retention import DEFAULT_RETENTION
from simulation.faults import CommitFailure, CommitFault
from simulation.parts import Parts, simulated_parts

FILES_MAX = 10


def create(key: str | None = None) -> Commit:
    return Commit(CommandRequest(new_id(), CreatePackage(new_id(), "nightly", DEFAULT_RETENTION, {}), "ci", key))


def writer(parts: Parts, projection: Probe[ProjectionRole]) -> EventWriter:
    return EventWriter(parts.store, projection.ref, files_per_package_max=FILES_MAX)


async def test_a_commit_is_answered_and_announced(autojump_clock: trio.testing.MockClock) -> None:
    projection = Probe(ProjectionActor, "projection")
    async with (
        simulated_parts() as parts,
        open_actor("event-writer", lambda: writer(parts, projection), projection) as harness,
    ):
        committed = await harness.ref.ask(create())
        told = await projection.expect(HeadMoved)
        assert told.message.sequence == committed.sequence == parts.log.head() == 2
        told.reply()


async def test_what_crashes_after_its_commit_is_told_apart_and_found_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    projection = Probe(ProjectionActor, "projection")
    projection.ignore(HeadMoved)
    async with (
        simulated_parts() as parts,
        open_actor("event-writer", lambda: writer(parts, projection), projection) as harness,
    ):
        harness.crash_at("after Commit")
        with pytest.raises(ActorCrashed) as crashed:
            await harness.ref.ask(create("key"))
        assert crashed.value.may_have_taken_effect
        again = await harness.ref.ask(create("key"))
        assert again.repeated
        assert parts.log.head() == 2
        assert harness.snapshot.starts == 2
        assert [type(report.messages[0]) for report in harness.crashes] == [Commit]


async def test_what_waits_behind_a_crash_is_committed_by_the_next_incarnation(
    autojump_clock: trio.testing.MockClock,
) -> None:
    projection = Probe(ProjectionActor, "projection")
    projection.ignore(HeadMoved)
    limits = MailboxLimits(messages=3)
    async with (
        simulated_parts() as parts,
        open_actor("event-writer", lambda: writer(parts, projection), projection, mailbox=limits) as harness,
    ):
        with harness.held():
            await harness.ref.tell(create())
            await trio.testing.wait_all_tasks_blocked()
            assert harness.fill(create()) == 3  # the same command three times, so that it is written once
            with pytest.raises(MailboxFull):
                harness.ref.try_tell(create())
            harness.crash_at("before Commit")
        await harness.ref.ask(create())
        assert len(harness.crashes) == 1
        assert harness.dead_letters == ()
        assert parts.log.head() == 4


async def test_an_unknown_outcome_stays_unknown_when_asking_again_fails(
    autojump_clock: trio.testing.MockClock,
) -> None:
    projection = Probe(ProjectionActor, "projection")
    faults = (CommitFault(CommitFailure.COMMIT_UNACKNOWLEDGED, 1, 0), CommitFault(CommitFailure.COMMIT_FAILED, 2, 0))
    async with (
        simulated_parts(*faults) as parts,
        open_actor("event-writer", lambda: writer(parts, projection), projection) as harness,
    ):
        with pytest.raises(OutcomeUnknown):
            await harness.ref.ask(create())
        assert parts.log.head() == 2
        projection.expect_nothing()
