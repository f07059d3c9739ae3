"""The first promises of the runtime: start and stop in order, asks of every mode, and what a crash leaves standing."""

import gc
import weakref

import pytest
import trio
import trio.testing

from artifactstore.supervision import (
    ActorCrashed,
    ActorRef,
    ActorStopped,
    ChildState,
    Phase,
    StartFailed,
    Strategy,
    UnhandledMessage,
    open_tree,
)

from .probe import (
    Boom,
    Echo,
    Fail,
    Hold,
    Note,
    Parallel,
    ProbeRole,
    Put,
    Refuse,
    Refused,
    Script,
    Unhandled,
    probe,
    tree_of,
)


async def test_children_start_in_order_and_stop_in_reverse() -> None:
    script = Script()
    specs = [probe(script, name)[1] for name in ("a", "b", "c")]
    async with open_tree(tree_of(*specs)) as tree:
        assert script.said("start") == ["a", "b", "c"]
        assert tree.snapshot().phase is Phase.RUNNING
    assert script.said("stop") == ["c", "b", "a"]


async def test_an_ask_is_answered_by_the_handler() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)):
        assert await ref.ask(Echo("hello")) == "hello"


class Text(str):
    """Text that can be watched."""

    __slots__ = ("__weakref__",)


async def test_an_answered_message_is_freed_without_the_garbage_collector() -> None:
    """It may hold megabytes, and how soon the collector comes depends on what else the process does."""
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)):
        gc.disable()
        try:
            text = Text("hello")
            freed = weakref.ref(text)
            await ref.ask(Echo(text))
            del text
            await trio.testing.wait_all_tasks_blocked()
            assert freed() is None
        finally:
            gc.enable()


async def test_told_messages_arrive_in_order() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)):
        for text in ("one", "two", "three"):
            await ref.tell(Note(text))
        ref.try_tell(Note("four"))
        await ref.ask(Echo("after them"))
    assert script.of("a")[1:-1] == ["note one", "note two", "note three", "note four"]


async def test_a_reference_without_a_tree_answers_stopped_and_nothing_happened() -> None:
    ref = ActorRef[ProbeRole]("a")
    with pytest.raises(ActorStopped) as caught:
        await ref.ask(Echo("nobody"))
    assert (caught.value.actor, caught.value.message, caught.value.may_have_taken_effect) == ("a", "Echo", False)
    with pytest.raises(ActorStopped):
        await ref.tell(Note("nobody"))
    with pytest.raises(ActorStopped):
        ref.try_tell(Note("nobody"))
    with pytest.raises(ActorStopped):
        await ref.ping()


async def test_an_actor_answers_a_ping_from_the_moment_that_it_is_ready() -> None:
    for _ in range(20):  # its own tasks begin in any order
        ref, spec = probe(Script(), "a")
        async with open_tree(tree_of(spec)):
            assert (await ref.ping()).answered


async def test_a_reference_is_free_again_after_its_tree() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    for _ in range(2):
        async with open_tree(tree_of(spec)):
            assert await ref.ask(Echo("again")) == "again"
        with pytest.raises(ActorStopped):
            await ref.ask(Echo("over"))


async def test_serial_messages_never_overlap_and_concurrent_ones_do_up_to_their_limit() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)), trio.open_nursery() as nursery:
        for gate in ("one", "two", "three"):
            nursery.start_soon(ref.ask, Parallel(gate))
            nursery.start_soon(ref.ask, Hold(f"serial {gate}"))
            await trio.testing.wait_all_tasks_blocked()
        assert sorted(script.of("a")[1:]) == ["hold serial one", "parallel one", "parallel two"]
        script.gate("one").set()
        await trio.testing.wait_all_tasks_blocked()
        assert script.of("a")[-1] == "parallel three"
        for gate in ("serial one", "serial two", "serial three", "two", "three"):
            script.gate(gate).set()


async def test_a_lone_batched_message_does_not_wait_and_the_next_batch_takes_what_has_queued() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    answers: dict[int, int | Exception] = {}

    async def put(message: Put) -> None:
        try:
            answers[message.value] = await ref.ask(message)
        except Refused as refused:
            answers[message.value] = refused

    async with open_tree(tree_of(spec)), trio.open_nursery() as nursery:
        nursery.start_soon(put, Put(1, gate="first"))
        await script.waiting("first").wait()
        for value in (2, 3, -4, 5, 6):
            nursery.start_soon(put, Put(value))
            await trio.testing.wait_all_tasks_blocked()
        script.gate("first").set()
    assert script.of("a")[1:-1] == ["put 1", "put 2 3 -4 5", "put 6"]
    refusal = answers.pop(-4)
    assert isinstance(refusal, Refused)
    assert answers == {1: 1, 2: 4, 3: 4, 5: 4, 6: 1}


async def test_a_batch_ends_where_its_bytes_do_and_where_another_type_begins() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)):
        for message in (Put(1, 60), Put(2, 40), Put(3, 1), Note("between"), Put(4, 1)):
            ref.try_tell(message)
        assert await ref.ask(Echo("after them")) == "after them"
    assert script.of("a")[1:-1] == ["put 1 2", "put 3", "note between", "put 4"]


async def test_a_refusal_is_an_answer_and_the_actor_lives_on() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)):
        with pytest.raises(Refused):
            await ref.ask(Refuse())
        with pytest.raises(UnhandledMessage):
            await ref.ask(Unhandled())
        assert await ref.ask(Echo("still here")) == "still here"
    assert script.said("start") == ["a"]


async def test_a_crash_answers_its_asker_at_once_and_the_queue_survives(autojump_clock: object) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    answers: list[str] = []

    async def echo(text: str) -> None:
        answers.append(await ref.ask(Echo(text)))

    async with open_tree(tree_of(spec)) as tree, trio.open_nursery() as nursery:
        before = trio.current_time()
        nursery.start_soon(echo, "waited through a crash")
        with pytest.raises(ActorCrashed) as caught:
            await ref.ask(Fail())
        assert trio.current_time() == before
        assert isinstance(caught.value.cause, Boom)
        assert isinstance(caught.value.__cause__, Boom)
        assert caught.value.may_have_taken_effect
        nursery.start_soon(echo, "asked during the backoff")
        await trio.sleep(1)
        actor = tree.snapshot().actor("root/a")
        assert (actor.state, actor.starts) == (ChildState.RUNNING, 2)
        assert actor.last_failure is not None
        assert actor.last_failure.kind == "Boom"
    assert sorted(answers) == ["asked during the backoff", "waited through a crash"]
    assert script.said("stop") == ["a"], "on_stop does not run after a crash"


async def test_one_for_one_restarts_the_failed_child_only(autojump_clock: object) -> None:
    script = Script()
    refs, specs = zip(*(probe(script, name) for name in ("a", "b", "c")), strict=True)
    async with open_tree(tree_of(*specs)):
        with pytest.raises(ActorCrashed):
            await refs[1].ask(Fail())
        await trio.sleep(1)
        assert script.log[3:] == [("b", "start")]


async def test_rest_for_one_restarts_those_that_depend_on_the_failed_child(autojump_clock: object) -> None:
    script = Script()
    refs, specs = zip(*(probe(script, name) for name in ("a", "b", "c", "d")), strict=True)
    async with open_tree(tree_of(*specs, strategy=Strategy.REST_FOR_ONE)):
        with pytest.raises(ActorCrashed):
            await refs[1].ask(Fail())
        await trio.sleep(1)
        assert script.log[4:] == [("d", "stop"), ("c", "stop"), ("b", "start"), ("c", "start"), ("d", "start")]


async def test_a_stop_works_off_the_mailbox_first() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)):
        for text in ("one", "two"):
            await ref.tell(Note(text))
    assert script.of("a") == ["start", "note one", "note two", "stop"]


async def test_a_drain_ends_at_its_deadline_and_answers_the_rest(autojump_clock: object) -> None:
    script = Script()
    ref, spec = probe(script, "a", shutdown_timeout_s=10)
    outcomes: list[tuple[str, bool]] = []

    async def ask(gate: str) -> None:
        with pytest.raises(ActorStopped) as caught:
            await ref.ask(Hold(gate))
        outcomes.append((gate, caught.value.may_have_taken_effect))

    async with trio.open_nursery() as nursery:
        async with open_tree(tree_of(spec)):
            nursery.start_soon(ask, "begun")
            await script.waiting("begun").wait()
            nursery.start_soon(ask, "queued")
            await trio.testing.wait_all_tasks_blocked()
            before = trio.current_time()
        assert trio.current_time() - before == 8, "a fifth of the time is kept for on_stop"
    assert sorted(outcomes) == [("begun", True), ("queued", False)]
    assert script.of("a")[-2:] == ["cancelled begun", "stop"]


async def test_a_failed_start_unwinds_in_reverse_and_names_its_cause() -> None:
    script = Script(failing_starts={"c": 1})
    specs = [probe(script, name)[1] for name in ("a", "b", "c", "d")]
    with pytest.raises(StartFailed) as caught:
        async with open_tree(tree_of(*specs)):
            raise AssertionError("the block must not run")
    assert caught.value.path == "root/c"
    assert isinstance(caught.value.cause, Boom)
    assert [entry for entry in script.log if entry[1] != "start failed"] == [
        ("a", "start"),
        ("b", "start"),
        ("b", "stop"),
        ("a", "stop"),
    ]


async def test_an_error_in_the_block_leaves_it_as_it_is_after_an_orderly_stop() -> None:
    script = Script()
    with pytest.raises(Boom):
        async with open_tree(tree_of(probe(script, "a")[1])):
            raise Boom
    assert script.of("a") == ["start", "stop"]


async def test_a_cancelled_host_still_stops_its_tree_in_order() -> None:
    script = Script()
    with trio.CancelScope() as scope:
        async with open_tree(tree_of(probe(script, "a")[1], probe(script, "b")[1])):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert script.said("stop") == ["b", "a"]


async def test_a_snapshot_shows_the_work_in_flight_and_its_age(autojump_clock: object) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)) as tree, trio.open_nursery() as nursery:
        nursery.start_soon(ref.ask, Hold("gate"))
        await script.waiting("gate").wait()
        nursery.start_soon(ref.ask, Echo("waits"))
        await trio.sleep(3)
        actor = tree.snapshot().actor("root/a")
        assert [(work.message, work.count, work.age_s) for work in actor.work] == [("Hold", 1, 3)]
        assert (actor.mailbox.depth, actor.mailbox.depth_peak, actor.uptime_s) == (1, 1, 3)
        script.gate("gate").set()
