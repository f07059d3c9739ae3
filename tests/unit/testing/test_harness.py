"""What the harness promises beyond what the examples show."""

import pytest
import trio
from trio.testing import MockClock

from artifactstore.database.actor import DatabaseActor
from artifactstore.projection import ProjectionActor
from artifactstore.supervision import ActorCrashed, StartFailed
from artifactstore.testing import InjectedCrash, Probe, open_actor
from artifactstore_protocols.messages import HeadMoved, ProbeDatabase, Replay
from simulation.parts import simulated_parts


async def test_a_probe_says_what_it_was_sent_instead(autojump_clock: MockClock) -> None:
    probe = Probe(ProjectionActor, "projection")
    async with simulated_parts() as parts, open_actor("database", lambda: DatabaseActor(parts.store), probe):
        await probe.ref.tell(HeadMoved(3))
        with pytest.raises(AssertionError, match="to be sent Replay, and was sent HeadMoved"):
            await probe.expect(Replay)
        with pytest.raises(AssertionError, match="was sent nothing"):
            await probe.expect(HeadMoved)
        with pytest.raises(TypeError, match="takes no ProbeDatabase"):
            await probe.expect(ProbeDatabase)


async def test_a_message_is_settled_once(autojump_clock: MockClock) -> None:
    probe = Probe(ProjectionActor, "projection")
    async with simulated_parts() as parts, open_actor("database", lambda: DatabaseActor(parts.store), probe):
        await probe.ref.tell(HeadMoved(3))
        received = await probe.expect(HeadMoved)
        with pytest.raises(AssertionError, match="was sent nothing"):
            await probe.expect(HeadMoved)
        received.reply()
        with pytest.raises(RuntimeError, match="is settled already"):
            received.reply()


async def test_what_nobody_has_settled_is_shown(autojump_clock: MockClock) -> None:
    probe = Probe(ProjectionActor, "projection")
    async with simulated_parts() as parts, open_actor("database", lambda: DatabaseActor(parts.store), probe):
        await probe.ref.tell(HeadMoved(3))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(AssertionError, match="was sent HeadMoved"):
            probe.expect_nothing()


async def test_an_actor_fails_where_the_test_says_and_only_there(autojump_clock: MockClock) -> None:
    async with simulated_parts() as parts, open_actor("database", lambda: DatabaseActor(parts.store)) as harness:
        harness.crash_at("before ProbeDatabase", 2)
        await harness.ref.ask(ProbeDatabase())
        with pytest.raises(ActorCrashed) as crashed:
            await harness.ref.ask(ProbeDatabase())
        assert isinstance(crashed.value.cause, InjectedCrash)
        await harness.ref.ask(ProbeDatabase())
        assert len(harness.crashes) == 1


async def test_a_step_that_the_actor_does_not_have_is_no_place_to_fail(autojump_clock: MockClock) -> None:
    async with simulated_parts() as parts, open_actor("database", lambda: DatabaseActor(parts.store)) as harness:
        with pytest.raises(ValueError, match=r"no step 'before ProbeDatabse'; it has after ProbeDatabase, before"):
            harness.crash_at("before ProbeDatabse")


async def test_a_start_fails_where_the_test_says_and_the_next_one_does_not(autojump_clock: MockClock) -> None:
    async with simulated_parts() as parts, open_actor("database", lambda: DatabaseActor(parts.store)) as harness:
        harness.crash_at("on_start")
        with pytest.raises(StartFailed):
            await harness.tree.restart_child("test/database")
        await harness.tree.restart_child("test/database")
        await harness.ref.ask(ProbeDatabase())
        assert [type(report.cause) for report in harness.crashes] == [InjectedCrash]


async def test_a_real_clock_cannot_be_advanced() -> None:
    async with simulated_parts() as parts, open_actor("database", lambda: DatabaseActor(parts.store)) as harness:
        with pytest.raises(TypeError, match="only under trio"):
            await harness.advance(1)


async def test_a_virtual_clock_moves_by_what_the_test_says(mock_clock: MockClock) -> None:
    probe = Probe(ProjectionActor, "projection")
    slept: list[float] = []

    async def sleep() -> None:
        await trio.sleep(60)
        slept.append(trio.current_time())

    async with open_actor("idle", _Idle, probe) as harness, trio.open_nursery() as nursery:
        nursery.start_soon(sleep)
        await harness.advance(59)
        assert slept == []
        await harness.advance(1)
        assert slept == [60]


class _Idle(ProjectionActor):
    def __init__(self) -> None:
        """It is never asked for anything, so it needs no store."""
