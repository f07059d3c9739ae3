"""Stopping and starting: what finishes, what is cut off, in which order, and what is said when it never ends."""

import threading
from dataclasses import dataclass
from typing import override

import pytest
import trio
import trio.testing

from artifactstore.supervision import (
    Actor,
    ActorRef,
    ActorSpec,
    ActorStopped,
    Backoff,
    ChildState,
    Concurrent,
    CrashReport,
    Intensity,
    OnCancel,
    Reading,
    Report,
    Request,
    Restart,
    StallReport,
    StartFailed,
    Strategy,
    SupervisorGaveUp,
    SupervisorSpec,
    handles,
    open_tree,
)

from .probe import (
    Boom,
    Commit,
    CommitAndFail,
    Echo,
    Fail,
    Finish,
    Hold,
    HoldInGroup,
    Note,
    Parallel,
    ProbeRole,
    Script,
    ask_crash,
    ask_in_vain,
    ask_within,
    probe,
    tree_of,
)


async def test_a_commit_in_flight_finishes_when_a_sibling_takes_its_actor_down(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    first, first_spec = probe(script, "first")
    writer, writer_spec = probe(script, "writer")
    outcomes: list[str] = []

    async def commit() -> None:
        outcomes.append(await writer.ask(Commit("commit")))

    async with (
        open_tree(tree_of(first_spec, writer_spec, strategy=Strategy.REST_FOR_ONE)) as tree,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(commit)
        await script.waiting("commit").wait()
        nursery.start_soon(writer.ask, Echo("queued through the restart"))
        with pytest.raises(Exception, match="crashed"):
            await first.ask(Fail())
        await trio.testing.wait_all_tasks_blocked()
        assert tree.snapshot().actor("root/writer").state is ChildState.STOPPING
        script.gate("commit").set()
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == ["commit"]
    assert script.of("writer") == ["start", "committed commit", "stop", "start", "stop"]


async def test_an_ask_in_flight_is_told_that_it_may_have_taken_effect_when_a_sibling_takes_its_actor_down(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    first, first_spec = probe(script, "first")
    second, second_spec = probe(script, "second")
    told: list[bool] = []

    async def hold() -> None:
        with pytest.raises(ActorStopped) as caught:
            await second.ask(Hold("never"))
        told.append(caught.value.may_have_taken_effect)

    async with (
        open_tree(tree_of(first_spec, second_spec, strategy=Strategy.ONE_FOR_ALL)),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(hold)
        await script.waiting("never").wait()
        with pytest.raises(Exception, match="crashed"):
            await first.ask(Fail())
        await trio.testing.wait_all_tasks_blocked()
        assert told == [True]


async def test_a_told_message_that_a_stop_cuts_off_is_delivered_again_and_counts_as_no_crash(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    ref, spec = probe(script, "a", max_deliveries=1)
    async with open_tree(tree_of(spec)) as tree:
        await ref.tell(Hold("gate"))
        await script.waiting("gate").wait()
        await tree.restart_child("root/a")
        script.gate("gate").set()
        await ref.ask(Echo("after it"))
        assert tree.dead_letters == ()
    assert script.of("a") == ["start", "hold gate", "cancelled gate", "stop", "start", "hold gate", "held gate", "stop"]


async def test_a_drain_waits_for_concurrent_and_abandoned_messages_too() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with trio.open_nursery() as nursery, open_tree(tree_of(spec)):
        nursery.start_soon(ref.ask, Hold("busy"))
        await script.waiting("busy").wait()
        impatient = trio.CancelScope()
        nursery.start_soon(ask_within, impatient, ref, Echo("leaves"))
        await trio.testing.wait_all_tasks_blocked()
        impatient.cancel()

        async def release() -> None:
            await trio.testing.wait_all_tasks_blocked()
            script.gate("busy").set()

        nursery.start_soon(release)
    assert script.of("a") == ["start", "hold busy", "held busy", "stop"]


async def test_no_message_is_accepted_while_an_actor_drains() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with trio.open_nursery() as nursery, open_tree(tree_of(spec)):
        nursery.start_soon(ref.ask, Hold("busy"))
        await script.waiting("busy").wait()

        async def late() -> None:
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(ActorStopped) as caught:
                await ref.ask(Echo("late"))
            assert not caught.value.may_have_taken_effect
            script.gate("busy").set()

        nursery.start_soon(late)


async def test_an_actor_that_stops_may_still_ask_those_that_started_before_it() -> None:
    script = Script()
    base, base_spec = probe(script, "base")
    ref = ActorRef[FarewellRole]("farewell")
    async with open_tree(tree_of(base_spec, ActorSpec(ref=ref, factory=lambda: Farewell(script, base)))):
        pass
    assert script.log == [("base", "start"), ("farewell", "goodbye"), ("base", "stop")]


class FarewellRole:
    pass


class Farewell(Actor[FarewellRole]):
    def __init__(self, script: Script, base: ActorRef[ProbeRole]) -> None:
        self.script = script
        self.base = base

    @override
    async def on_stop(self) -> None:
        self.script.log.append((self.context.name, await self.base.ask(Echo("goodbye"))))


async def test_a_failing_on_stop_is_reported_and_stops_nobody_else() -> None:
    script, reports = Script(failing_stops={"b"}), list[Report]()
    specs = [probe(script, name)[1] for name in ("a", "b")]
    async with open_tree(tree_of(*specs), on_report=reports.append):
        pass
    (report,) = reports
    assert isinstance(report, CrashReport)
    assert (report.path, report.decision) == ("root/b", "stays down")
    assert script.said("stop") == ["b", "a"]


async def test_a_start_that_takes_too_long_is_a_failed_start(autojump_clock: trio.testing.MockClock) -> None:
    script = Script(holding_starts={"a"})
    _, spec = probe(script, "a", start_timeout_s=7)
    before = trio.current_time()
    with pytest.raises(StartFailed, match="on_start took longer than 7 s") as caught:
        async with open_tree(tree_of(spec)):
            raise AssertionError("the block must not run")
    assert isinstance(caught.value.cause, TimeoutError)
    assert trio.current_time() - before == 7


async def test_a_factory_that_fails_is_a_failed_start() -> None:
    def factory() -> Farewell:
        raise Boom("no actor")

    with pytest.raises(StartFailed) as caught:
        async with open_tree(tree_of(ActorSpec(ref=ActorRef[FarewellRole]("a"), factory=factory))):
            raise AssertionError("the block must not run")
    assert isinstance(caught.value.cause, Boom)


async def test_a_block_that_is_cancelled_while_the_tree_boots_leaves_no_actor_behind() -> None:
    script = Script(holding_starts={"b"})
    specs = [probe(script, name)[1] for name in ("a", "b", "c")]

    async def boot() -> None:
        with scope:
            async with open_tree(tree_of(*specs)):
                raise AssertionError("the block must not run")

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(boot)
        await script.waiting("b").wait()
        scope.cancel()
    assert scope.cancelled_caught
    assert script.log == [("a", "start"), ("a", "stop")]


@pytest.mark.parametrize("nested", [False, True])
async def test_a_block_that_is_cancelled_before_the_tree_boots_leaves_nothing_running(nested: bool) -> None:
    script = Script()
    for _ in range(20):  # whichever of its tasks trio runs first
        spec = tree_of(probe(script, "a")[1])
        with trio.CancelScope() as scope:
            scope.cancel()
            async with open_tree(SupervisorSpec(name="above", children=(spec,)) if nested else spec):
                raise AssertionError("the block must not run")
        assert scope.cancelled_caught
    assert script.said("start") == script.said("stop")


async def test_a_supervisor_that_is_stopped_before_its_task_has_begun_starts_no_child() -> None:
    script, nested = Script(), "root/nested"
    spec = SupervisorSpec(name="nested", children=(probe(script, "a")[1],))

    async def start() -> None:
        with pytest.raises(StartFailed, match="stopped before it was ready"):
            await tree.start_child("root", spec)

    async with open_tree(tree_of()) as tree:
        for _ in range(20):  # whichever of the tasks trio runs first
            async with trio.open_nursery() as nursery:
                nursery.start_soon(start)
                while not any(child.name == "nested" for child in tree.snapshot().children):
                    await trio.lowlevel.checkpoint()
                await tree.stop_child(nested)
            tree.remove_child(nested)
    assert script.said("start") == script.said("stop")


async def test_a_root_that_gives_up_cancels_the_block_and_says_why(autojump_clock: trio.testing.MockClock) -> None:
    script = Script()
    ref, spec = probe(script, "a")

    async def run() -> None:
        async with open_tree(tree_of(spec, intensity=Intensity(0, 1))):
            await ref.tell(Note("poison"))
            await trio.sleep_forever()

    with pytest.raises(SupervisorGaveUp) as caught:
        await run()
    assert (caught.value.path, caught.value.child) == ("root", "root/a")
    assert isinstance(caught.value.cause, Boom)


async def test_an_actor_that_finishes_ends_after_the_work_in_flight_and_takes_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    ref, spec = probe(script, "a", restart=Restart.TRANSIENT)
    async with open_tree(tree_of(spec)) as tree, trio.open_nursery() as nursery:
        nursery.start_soon(ref.ask, Finish())
        await trio.testing.wait_all_tasks_blocked()
        snapshot = tree.snapshot().actor("root/a")
        assert (snapshot.state, snapshot.last_failure) == (ChildState.IDLE, None)
        with pytest.raises(ActorStopped):
            await ref.ask(Echo("nobody"))
    assert script.of("a") == ["start", "stop"]


async def test_messages_behind_the_finish_of_a_permanent_actor_wait_for_its_next_start(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)):
        await ref.tell(Finish())
        await ref.tell(Note("next life"))
        await ref.ask(Echo("after it"))
    assert script.of("a") == ["start", "stop", "start", "note next life", "stop"]


class TaskRole:
    pass


@dataclass(frozen=True, slots=True)
class Run(Request[None, TaskRole]):
    name: str
    on_cancel: OnCancel


@dataclass(frozen=True, slots=True)
class CancelTask(Request[bool, TaskRole]):
    name: str


class Tasks(Actor[TaskRole]):
    """Runs tasks; `on_stop` may start one more."""

    def __init__(self, script: Script, *, start_at_stop: bool = False) -> None:
        self.script = script
        self.start_at_stop = start_at_stop

    async def job(self, name: str) -> None:
        try:
            await self.script.pass_gate(name)
        except trio.Cancelled:
            self.script.log.append(("task", f"cancelled {name}"))
            raise
        self.script.log.append(("task", f"done {name}"))

    @handles(Run)
    async def run(self, message: Run) -> None:
        self.context.start_child(message.name, self.job, message.name, on_cancel=message.on_cancel)

    @handles(CancelTask)
    async def cancel(self, message: CancelTask) -> bool:
        task = self.context.start_child(message.name, self.job, message.name)
        await self.script.waiting(message.name).wait()
        task.cancel()
        await task.wait()
        return task.done

    @override
    async def on_stop(self) -> None:
        self.script.log.append(("actor", "on_stop"))
        if self.start_at_stop:
            self.context.start_child("last", self.job, "last", on_cancel=OnCancel.COMPLETE)


async def test_tasks_are_cancelled_after_on_stop_and_those_to_be_completed_have_until_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    ref = ActorRef[TaskRole]("a")
    spec = ActorSpec(ref=ref, factory=lambda: Tasks(script, start_at_stop=True), shutdown_timeout_s=10)
    async with trio.open_nursery() as nursery:
        async with open_tree(tree_of(spec)):
            await ref.ask(Run("tail", OnCancel.CANCEL))
            await ref.ask(Run("session", OnCancel.COMPLETE))
            await ref.ask(Run("hopeless", OnCancel.COMPLETE))

            async def release() -> None:
                await trio.sleep(5)
                script.gate("session").set()

            nursery.start_soon(release)
            before = trio.current_time()
        assert trio.current_time() - before == 10
    assert script.log[:3] == [("actor", "on_stop"), ("task", "cancelled tail"), ("task", "done session")]
    assert sorted(script.log[3:]) == [("task", "cancelled hopeless"), ("task", "cancelled last")]


async def test_a_task_can_be_cancelled_and_waited_for_by_its_actor() -> None:
    script = Script()
    ref = ActorRef[TaskRole]("a")
    async with open_tree(tree_of(ActorSpec(ref=ref, factory=lambda: Tasks(script)))):
        assert await ref.ask(CancelTask("job")) is True
    assert script.log == [("task", "cancelled job"), ("actor", "on_stop")]


class StubbornRole:
    pass


@dataclass(frozen=True, slots=True)
class Block(Request[None, StubbornRole]):
    """Waits in a thread that trio cannot interrupt."""


class Stubborn(Actor[StubbornRole]):
    def __init__(self, entered: trio.Event, release: threading.Event) -> None:
        self.entered = entered
        self.release = release

    @handles(Block, mode=Concurrent(1))
    async def block(self, _: Block) -> None:
        self.entered.set()
        await trio.to_thread.run_sync(self.release.wait)


async def test_an_actor_that_will_not_stop_is_named_with_its_stack(mock_clock: trio.testing.MockClock) -> None:
    entered, release, reports = trio.Event(), threading.Event(), list[Report]()
    ref = ActorRef[StubbornRole]("a")
    spec = ActorSpec(ref=ref, factory=lambda: Stubborn(entered, release), shutdown_timeout_s=5)
    async with open_tree(tree_of(spec), on_report=reports.append) as tree, trio.open_nursery() as nursery:
        nursery.start_soon(ref.ask, Block())
        await entered.wait()
        nursery.start_soon(tree.stop_child, "root/a")
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(5.5)
        await trio.testing.wait_all_tasks_blocked()
        assert reports == [], "there is a second of grace"
        mock_clock.jump(1)
        await trio.testing.wait_all_tasks_blocked()
        (report,) = reports
        assert isinstance(report, StallReport)
        stall = tree.snapshot().actor("root/a").stall
        assert stall == report.stall
        assert stall is not None
        assert stall.since == 5
        assert "in block" in stall.stack
        assert tree.snapshot().actor("root/a").state is ChildState.STOPPING
        reading = await ref.ping()
        assert (reading.answered, reading.current) == (False, "Block")
        release.set()
    assert tree.snapshot().actor("root/a").stall is None


async def test_a_ping_is_answered_while_a_handler_runs(autojump_clock: trio.testing.MockClock) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)), trio.open_nursery() as nursery:
        await ref.tell(Note("one"))
        nursery.start_soon(ref.ask, Hold("busy"))
        await script.waiting("busy").wait()
        nursery.start_soon(ref.ask, Echo("queued"))
        await trio.sleep(4)
        reading = await ref.ping(timeout=1)
        assert (reading.path, reading.state, reading.answered) == ("root/a", ChildState.RUNNING, True)
        assert (reading.current, reading.current_age_s, reading.depth) == ("Hold", 4, 1)
        assert reading.summary == {"notes": 1}
        script.gate("busy").set()
    with pytest.raises(ActorStopped):
        await ref.ping()


async def test_a_ping_of_an_actor_that_ends_is_not_left_waiting() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    readings: list[Reading] = []

    async def ping() -> None:
        readings.append(await ref.ping())

    async with open_tree(tree_of(spec)) as tree, trio.open_nursery() as nursery:
        nursery.start_soon(ref.ask, Commit("busy"))
        await script.waiting("busy").wait()
        nursery.start_soon(tree.restart_child, "root/a")
        for _ in range(20):
            nursery.start_soon(ping)
        await trio.testing.wait_all_tasks_blocked()
        assert len(readings) == 20
        assert {reading.state for reading in readings} <= {ChildState.RUNNING, ChildState.STOPPING}
        script.gate("busy").set()


async def test_a_supervisor_that_gave_up_is_tried_again_by_its_root_and_the_failure_is_seen(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    monitor, monitor_spec = probe(script, "monitor")
    core = SupervisorSpec(
        name="core", children=(spec,), intensity=Intensity(0, 1), backoff=Backoff(initial_s=10, jitter=0)
    )
    async with open_tree(tree_of(core, monitor_spec)) as tree:
        await ref.tell(Note("poison"))
        await trio.testing.wait_all_tasks_blocked()
        entry = tree.snapshot().find("root/core")
        assert entry.state is ChildState.BACKOFF
        assert entry.last_failure is not None
        assert entry.last_failure.kind == "SupervisorGaveUp"
        assert "root/core/a failed too often" in entry.last_failure.text
        assert await monitor.ask(Echo("still up")) == "still up"
        with pytest.raises(ActorStopped) as caught:
            await ref.ask(Echo("nobody"))
        assert not caught.value.may_have_taken_effect
        await trio.sleep(11)
        assert await ref.ask(Echo("back again")) == "back again"
        assert tree.snapshot().actor("root/core/a").starts == 2
        assert tree.snapshot().find("root/core").starts == 2
    assert script.of("monitor") == ["start", "stop"]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE])
async def test_a_reading_of_an_actor_that_is_down_says_what_keeps_it_down(
    strategy: Strategy, autojump_clock: trio.testing.MockClock
) -> None:
    """Its own failure, that of a sibling it restarts with, or that of a supervisor above; and none of these else."""
    script = Script()
    refs, specs = zip(*(probe(script, name, backoff=Backoff(initial_s=10, jitter=0)) for name in "abc"), strict=True)
    core = SupervisorSpec(
        name="core",
        children=specs,
        strategy=strategy,
        intensity=Intensity(1, 60),
        backoff=Backoff(initial_s=10, jitter=0),
    )

    async def reasons() -> list[str | None]:
        readings = [await ref.ping() for ref in refs]
        assert all((reading.why_down is None) == (reading.state is ChildState.RUNNING) for reading in readings)
        return [None if reading.why_down is None else reading.why_down.kind for reading in readings]

    async with open_tree(tree_of(core)):
        assert await reasons() == [None, None, None]
        await ask_crash(refs[1], Fail())
        await trio.testing.wait_all_tasks_blocked()
        assert await reasons() == [None, "Boom", None if strategy is Strategy.ONE_FOR_ONE else "Boom"]
        await trio.sleep(11)
        assert await reasons() == [None, None, None]
        await ask_crash(refs[1], Fail())
        await trio.testing.wait_all_tasks_blocked()
        assert await reasons() == ["SupervisorGaveUp"] * 3
        script.holding_starts.add("a")
        await trio.sleep(11)
        assert await reasons() == ["SupervisorGaveUp"] * 3, "it is being tried again"
        script.gate("a").set()
        await trio.testing.wait_all_tasks_blocked()
        assert await reasons() == [None, None, None]


async def test_work_that_fails_while_its_actor_stops_is_a_crash_and_skips_on_stop(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)) as tree, trio.open_nursery() as nursery:
        nursery.start_soon(ask_crash, ref, CommitAndFail("gate"))
        await script.waiting("gate").wait()
        nursery.start_soon(tree.restart_child, "root/a")
        await trio.testing.wait_all_tasks_blocked()
        script.gate("gate").set()
    assert script.of("a") == ["start", "start", "stop"]


async def test_a_message_that_comes_while_an_actor_finishes_waits_for_its_next_start(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)), trio.open_nursery() as nursery:
        for gate in ("warm up", "busy"):
            nursery.start_soon(ref.ask, Parallel(gate))
        await trio.testing.wait_all_tasks_blocked()
        script.gate("warm up").set()
        await trio.testing.wait_all_tasks_blocked()
        await ref.ask(Finish())
        nursery.start_soon(ref.ask, Parallel("late"))
        await trio.testing.wait_all_tasks_blocked()
        assert "parallel late" not in script.of("a")
        script.gate("late").set()
        script.gate("busy").set()
    assert script.of("a")[-4:] == ["stop", "start", "parallel late", "stop"]


async def test_a_temporary_child_of_the_spec_comes_back_with_its_supervisor(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    ref, spec = probe(script, "a", restart=Restart.TEMPORARY)
    core = SupervisorSpec(name="core", children=(spec,))
    async with open_tree(tree_of(core)) as tree:
        await tree.stop_child("root/core/a")
        await tree.restart_child("root/core")
        assert await ref.ask(Echo("back")) == "back"


async def test_a_handler_that_is_cut_off_with_a_group_of_cancellations_has_been_stopped() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)) as tree, trio.open_nursery() as nursery:
        nursery.start_soon(ask_in_vain, ref, HoldInGroup("never"))
        await script.waiting("never").wait()
        await tree.restart_child("root/a")
        assert tree.snapshot().actor("root/a").last_failure is None


async def test_a_concurrent_message_that_comes_during_on_stop_waits_for_the_next_start() -> None:
    script = Script(holding_stops={"a"})
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)) as tree, trio.open_nursery() as nursery:
        nursery.start_soon(tree.restart_child, "root/a")
        await script.waiting("stop a").wait()
        nursery.start_soon(ref.ask, Parallel("late"))
        await trio.testing.wait_all_tasks_blocked()
        script.gate("stop a").set()
        await script.waiting("late").wait()
        script.gate("late").set()
    assert script.of("a") == ["start", "stop", "start", "parallel late", "stop"]


async def test_a_lone_child_that_does_not_start_fails_the_start_with_its_cause() -> None:
    script = Script(failing_starts={"a": 1})
    with pytest.raises(StartFailed) as caught:
        async with open_tree(tree_of(probe(script, "a")[1])):
            raise AssertionError("the block must not run")
    assert caught.value.path == "root/a"
    assert caught.value.__cause__ is caught.value.cause
    assert isinstance(caught.value.cause, Boom)
