"""A crash: who is told what, what is delivered again, what is given up, and what the report says."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import override

import pytest
import trio
import trio.testing

from artifactstore.supervision import (
    Actor,
    ActorCrashed,
    ActorRef,
    ActorSpec,
    ActorStopped,
    Batched,
    ChildExists,
    ChildState,
    Concurrent,
    CrashReport,
    DeadLetterReason,
    Message,
    OnCancel,
    OnTaskCrash,
    Report,
    Request,
    Restart,
    handles,
    open_tree,
)
from artifactstore.supervision.failures import real_failure

from .probe import (
    Boom,
    Commit,
    CommitAndFail,
    Echo,
    Fail,
    FailParallel,
    Hold,
    Note,
    Parallel,
    Refused,
    Script,
    ask_crash,
    ask_in_vain,
    probe,
    tree_of,
)


async def test_a_crash_beside_other_work_answers_each_asker_by_its_own_lot(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    outcomes: dict[str, object] = {}

    async def ask(name: str, message: Commit | Parallel | Echo) -> None:
        try:
            outcomes[name] = await ref.ask(message)
        except ActorStopped as stopped:
            outcomes[name] = stopped.may_have_taken_effect

    async with open_tree(tree_of(spec)), trio.open_nursery() as nursery:
        nursery.start_soon(ask, "completed", Commit("commit"))
        nursery.start_soon(ask, "cut off", Parallel("never"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, "queued", Echo("lives on"))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ActorCrashed):
            await ref.ask(FailParallel())
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == {"cut off": True}, "the commit is still under way"
        script.gate("commit").set()
    assert outcomes == {"cut off": True, "completed": "commit", "queued": "lives on"}
    assert script.of("a") == ["start", "parallel never", "committed commit", "start", "stop"]


async def test_work_to_be_completed_has_no_longer_than_the_shutdown_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    ref, spec = probe(script, "a", shutdown_timeout_s=10)
    async with open_tree(tree_of(spec)), trio.open_nursery() as nursery:
        nursery.start_soon(ask_in_vain, ref, Commit("never"))
        await script.waiting("never").wait()
        before = trio.current_time()
        with pytest.raises(ActorCrashed):
            await ref.ask(FailParallel())
        assert await ref.ask(Echo("restarted")) == "restarted"
        assert 8 <= trio.current_time() - before < 8.1
    assert "cancelled never" in script.of("a")


async def test_a_poison_message_is_delivered_as_often_as_allowed_and_then_a_dead_letter(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    ref, spec = probe(script, "a", max_deliveries=2)
    async with open_tree(tree_of(spec)) as tree:
        for text in ("first", "poison", "last"):
            ref.try_tell(Note(text))
        assert await ref.ask(Echo("after all")) == "after all"
        (letter,) = tree.dead_letters
        assert (letter.message, letter.reason, letter.deliveries) == (Note("poison"), DeadLetterReason.POISON, 2)
        assert isinstance(letter.cause, Boom)
        assert tree.snapshot().actor("root/a").starts == 3
    assert script.of("a") == [
        "start",
        "note first",
        "note poison",
        "start",
        "note poison",
        "start",
        "note last",
        "stop",
    ]


async def test_a_refused_message_that_was_told_is_a_dead_letter(autojump_clock: trio.testing.MockClock) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)) as tree:
        ref.try_tell(Note("refuse"))
        await ref.ask(Echo("lives on"))
        (letter,) = tree.dead_letters
    assert letter.reason is DeadLetterReason.REFUSED
    assert isinstance(letter.cause, Refused)
    assert script.said("start") == ["a"]


async def test_the_ring_of_dead_letters_is_bounded_and_the_counts_are_not() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)) as tree:
        for _ in range(300):
            await ref.tell(Note("refuse"))
        await ref.ask(Echo("after all"))
        assert len(tree.dead_letters) == 256
        assert tree.dead_letter_counts[DeadLetterReason.REFUSED] == 300


class BatchRole:
    pass


@dataclass(frozen=True, slots=True)
class Item(Message[BatchRole]):
    name: str


@dataclass(frozen=True, slots=True)
class Wrong(Request[int, BatchRole]):
    pass


@dataclass(frozen=True, slots=True)
class Pause(Request[None, BatchRole]):
    gate: str


class BatchActor(Actor[BatchRole]):
    def __init__(self, script: Script, seen: list[list[str]]) -> None:
        self.script = script
        self.seen = seen

    @handles(Item, mode=Batched(8, 1000))
    async def items(self, messages: Sequence[Item]) -> None:
        names = [message.name for message in messages]
        self.seen.append(names)
        if "bad" in names:
            raise Boom("bad")

    @handles(Wrong, mode=Batched(8, 1000))
    async def wrong(self, messages: Sequence[Wrong]) -> Sequence[int]:
        return [1 for _ in messages] + [2]

    @handles(Pause)
    async def pause(self, message: Pause) -> None:
        await self.script.pass_gate(message.gate)


async def test_after_a_crashed_batch_its_messages_travel_alone_so_that_only_the_bad_one_is_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script, seen = Script(), list[list[str]]()
    ref = ActorRef[BatchRole]("a")
    spec = ActorSpec(ref=ref, factory=lambda: BatchActor(script, seen), max_deliveries=2)
    async with open_tree(tree_of(spec)) as tree, trio.open_nursery() as nursery:
        nursery.start_soon(ref.ask, Pause("busy"))
        await script.waiting("busy").wait()
        for name in ("one", "bad", "two"):
            ref.try_tell(Item(name))
        script.gate("busy").set()
        await ref.ask(Pause("busy"))
        assert [letter.message for letter in tree.dead_letters] == [Item("bad")]
    assert seen == [["one", "bad", "two"], ["one"], ["bad"], ["two"]]


async def test_a_batch_with_the_wrong_number_of_replies_is_a_crash_of_the_actor() -> None:
    ref = ActorRef[BatchRole]("a")
    async with open_tree(tree_of(ActorSpec(ref=ref, factory=lambda: BatchActor(Script(), [])))):
        with pytest.raises(ActorCrashed, match="given 1 messages and returned 2 replies"):
            await ref.ask(Wrong())


async def test_a_crash_report_carries_message_summary_stack_and_decision(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    reports: list[Report] = []
    with caplog.at_level(logging.ERROR, logger="artifactstore.supervision"):
        async with open_tree(tree_of(spec), seed=1, on_report=reports.append) as tree:
            await ref.tell(Note("one"))
            with pytest.raises(ActorCrashed):
                await ref.ask(Fail())
            await ref.ask(Echo("restarted"))
            failure = tree.snapshot().actor("root/a").last_failure
    (report,) = reports
    assert isinstance(report, CrashReport)
    assert (report.path, report.incarnation, report.messages, report.summary) == ("root/a", 1, (Fail(),), {"notes": 1})
    assert 'raise Boom("as told")' in report.stack
    assert report.decision.startswith("restart in 0.0")
    assert failure is not None
    assert (failure.kind, failure.text, failure.decision) == ("Boom", "as told", report.decision)
    (record,) = caplog.records
    assert record.getMessage() == f"root/a crashed in incarnation 1 on Fail: Boom; {report.decision}"


async def test_the_same_seed_gives_the_same_delays_and_another_seed_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def decisions(seed: int) -> list[str]:
        script = Script()
        ref, spec = probe(script, "a")
        reports: list[Report] = []
        async with open_tree(tree_of(spec), seed=seed, on_report=reports.append):
            for _ in range(3):
                with pytest.raises(ActorCrashed):
                    await ref.ask(Fail())
                await ref.ask(Echo("restarted"))
        return [report.decision for report in reports if isinstance(report, CrashReport)]

    first = await decisions(1)
    assert len(set(first)) == 3
    assert await decisions(1) == first
    assert await decisions(2) != first


async def test_a_listener_that_fails_is_logged_and_changes_nothing(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def listener(_: Report) -> None:
        raise Boom("listener")

    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec), on_report=listener):
        with pytest.raises(ActorCrashed):
            await ref.ask(Fail())
        assert await ref.ask(Echo("restarted")) == "restarted"
    assert "the listener for reports failed on one about root/a" in caplog.text


class SharedRole:
    pass


@dataclass(frozen=True, slots=True)
class Job(Message[SharedRole]):
    name: str


class Shared(Actor[SharedRole]):
    """Its first incarnation never gets anywhere with its jobs."""

    def __init__(self, done: list[str]) -> None:
        self.done = done

    @handles(Job, mode=Concurrent(8))
    async def job(self, message: Job) -> None:
        if self.context.incarnation == 1:
            await trio.sleep_forever()
        self.done.append(message.name)


async def test_workers_that_share_a_lane_share_what_was_put_back() -> None:
    ref, done = ActorRef[SharedRole]("a"), list[str]()
    names = [f"job {number}" for number in range(12)]
    async with open_tree(tree_of(ActorSpec(ref=ref, factory=lambda: Shared(done)))) as tree:
        for name in names:
            await ref.tell(Job(name))
        await trio.testing.wait_all_tasks_blocked()
        await tree.restart_child("root/a")
        await trio.testing.wait_all_tasks_blocked()
        assert tree.snapshot().actor("root/a").starts == 2
    assert sorted(done) == sorted(names)


class ToughRole:
    pass


@dataclass(frozen=True, slots=True)
class StartTask(Request[None, ToughRole]):
    """Starts a task that fails when the gate opens."""

    name: str
    on_crash: OnTaskCrash
    fails: bool = True


@dataclass(frozen=True, slots=True)
class Raise(Request[None, ToughRole]):
    """Raises whatever it carries, which no type of failure prevents."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Ready(Request[int, ToughRole]):
    pass


class Tough(Actor[ToughRole]):
    def __init__(self, script: Script) -> None:
        self.script = script

    @override
    def state_summary(self) -> dict[str, str | int]:
        raise Boom("no summary")

    @handles(StartTask)
    async def start_task(self, message: StartTask) -> None:
        async def body(gate: str) -> None:
            await self.script.pass_gate(gate)
            if message.fails:
                raise Boom("task")

        self.context.start_child(message.name, body, message.name, on_crash=message.on_crash)

    @handles(Raise)
    async def throw(self, message: Raise) -> None:
        raise message.error

    @handles(Ready, mode=Concurrent(1), on_cancel=OnCancel.COMPLETE)
    async def ready(self, _: Ready) -> int:
        return self.context.incarnation


def tough(script: Script) -> tuple[ActorRef[ToughRole], ActorSpec[ToughRole]]:
    ref = ActorRef[ToughRole]("a")
    return ref, ActorSpec(ref=ref, factory=lambda: Tough(script))


async def test_the_crash_of_a_task_is_by_default_a_crash_of_its_actor(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script, reports = Script(), list[Report]()
    ref, spec = tough(script)
    async with open_tree(tree_of(spec), on_report=reports.append) as tree:
        await ref.ask(StartTask("job", OnTaskCrash.CRASH_ACTOR))
        assert tree.snapshot().actor("root/a").tasks == ("job",)
        script.gate("job").set()
        await trio.sleep(1)
        assert await ref.ask(Ready()) == 2
    (report,) = reports
    assert isinstance(report, CrashReport)
    assert (report.path, report.messages) == ("root/a", ())
    assert report.summary == {"state_summary": "failed: Boom('no summary')"}


async def test_the_crash_of_a_task_may_be_reported_only(autojump_clock: trio.testing.MockClock) -> None:
    script, reports = Script(), list[Report]()
    ref, spec = tough(script)
    async with open_tree(tree_of(spec), on_report=reports.append) as tree:
        await ref.ask(StartTask("job", OnTaskCrash.REPORT))
        script.gate("job").set()
        await trio.testing.wait_all_tasks_blocked()
        assert await ref.ask(Ready()) == 1
        assert tree.snapshot().actor("root/a").tasks == ()
    (report,) = reports
    assert isinstance(report, CrashReport)
    assert (report.path, report.decision) == ("root/a/job", "the task ends, its actor continues")


async def test_two_live_tasks_of_one_actor_need_names_that_differ() -> None:
    script = Script()
    ref, spec = tough(script)
    async with open_tree(tree_of(spec)):
        await ref.ask(StartTask("job", OnTaskCrash.REPORT, fails=False))
        with pytest.raises(ChildExists, match="root/a/job exists"):
            await ref.ask(StartTask("job", OnTaskCrash.REPORT, fails=False))
        script.gate("job").set()
        await trio.testing.wait_all_tasks_blocked()
        await ref.ask(StartTask("job", OnTaskCrash.REPORT, fails=False))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
async def test_an_error_that_means_the_program_stops_the_tree_in_order_and_leaves_the_block(
    error: BaseException,
) -> None:
    script = Script()
    ref, spec = tough(script)
    _, other = probe(script, "b")

    async def run() -> None:
        async with open_tree(tree_of(spec, other)):
            with pytest.raises(ActorCrashed):
                await ref.ask(Raise(error))
            await trio.sleep_forever()

    with pytest.raises(type(error)) as caught:
        await run()
    assert caught.value is error
    assert script.of("b") == ["start", "stop"]


async def test_a_temporary_actor_that_crashes_leaves_no_asker_waiting() -> None:
    script = Script()
    ref, spec = probe(script, "a", restart=Restart.TEMPORARY)
    async with open_tree(tree_of(spec)) as tree:
        async with trio.open_nursery() as asking:
            asking.start_soon(ask_in_vain, ref, Hold("busy"))
            await script.waiting("busy").wait()
            asking.start_soon(ask_in_vain, ref, Echo("queued"))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(ActorCrashed):
                await ref.ask(FailParallel())
        assert tree.snapshot().children == ()
        with pytest.raises(ActorStopped):
            await ref.ask(Echo("nobody"))


async def test_the_state_after_a_crash_is_backoff_until_the_delay_is_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)) as tree:
        with pytest.raises(ActorCrashed):
            await ref.ask(Fail())
        await trio.testing.wait_all_tasks_blocked()
        assert tree.snapshot().actor("root/a").state is ChildState.BACKOFF
        reading = await ref.ping()
        assert (reading.state, reading.answered, reading.summary) == (ChildState.BACKOFF, False, {})
        assert await ref.ask(Echo("restarted")) == "restarted"


async def test_only_the_first_of_two_crashes_is_the_incarnations(autojump_clock: trio.testing.MockClock) -> None:
    script, reports = Script(), list[Report]()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec), on_report=reports.append), trio.open_nursery() as nursery:
        for gate in ("first", "second"):
            nursery.start_soon(ask_crash, ref, CommitAndFail(gate))
            await script.waiting(gate).wait()
        script.gate("first").set()
        await trio.testing.wait_all_tasks_blocked()
        script.gate("second").set()
    (report,) = reports
    assert isinstance(report, CrashReport)
    assert report.messages == (CommitAndFail("first"),)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (BOOM := Boom("x"), BOOM),
        (ExceptionGroup("", [ExceptionGroup("", [BOOM])]), BOOM),
        (KILL := KeyboardInterrupt(), KILL),
        (BaseExceptionGroup("", [KILL]), KILL),
    ],
)
def test_a_lone_failure_is_taken_out_of_its_groups(error: BaseException, expected: BaseException) -> None:
    assert real_failure(error) is expected


def test_failures_that_are_several_stay_a_group() -> None:
    failures = [Boom("x"), Boom("y")]
    found = real_failure(ExceptionGroup("two", failures))
    assert type(found) is ExceptionGroup
    assert str(found) == "two (2 sub-exceptions)"


async def test_cancellations_are_taken_out_of_a_group_and_are_no_failure_by_themselves() -> None:
    found: list[BaseException | None] = []
    failure = Boom("x")
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            found.append(real_failure(cancelled))
            found.append(real_failure(BaseExceptionGroup("", [cancelled])))
            found.append(real_failure(BaseExceptionGroup("", [cancelled, failure])))
            raise
    assert found == [None, None, failure]
