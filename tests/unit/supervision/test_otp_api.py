"""Cases of Erlang/OTP's supervisor suite, on orders at run time and on queries; see `test_otp_start_stop.py`."""

import gc
import logging
import weakref

import pytest
import trio
import trio.testing

from artifactstore.supervision import (
    ActorCrashed,
    ActorRef,
    ActorSpec,
    ActorStopped,
    ChildBusy,
    ChildExists,
    ChildState,
    Intensity,
    Report,
    Restart,
    StallReport,
    StartFailed,
    SupervisorSnapshot,
    SupervisorSpec,
    UnknownChild,
    open_tree,
)
from artifactstore_protocols.supervision.events import StartChild, StopChild

from .probe import Commit, Echo, Fail, Finish, Note, Probe, ProbeRole, Script, probe, tree_of


async def test_otp_child_adm() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of()) as tree:
        await tree.start_child("root", spec)
        assert await ref.ask(Echo("added")) == "added"
        with pytest.raises(ChildExists, match="running"):
            await tree.start_child("root", probe(script, "a")[1])
        with pytest.raises(ChildExists, match="running"):
            await tree.start_stopped_child("root/a")
        with pytest.raises(ChildBusy, match="running"):
            tree.remove_child("root/a")
        with pytest.raises(UnknownChild):
            await tree.stop_child("root/nobody")

        await tree.stop_child("root/a")
        assert tree.snapshot().actor("root/a").state is ChildState.IDLE
        await tree.stop_child("root/a")
        with pytest.raises(ChildExists, match="idle"):
            await tree.start_child("root", probe(script, "a")[1])
        with pytest.raises(ActorStopped):
            await ref.ask(Echo("nobody"))

        await tree.start_stopped_child("root/a")
        assert await ref.ask(Echo("again")) == "again"
        await tree.restart_child("root/a")
        assert tree.snapshot().actor("root/a").starts == 3

        await tree.stop_child("root/a")
        tree.remove_child("root/a")
        assert tree.snapshot().children == ()
        for order in (tree.start_stopped_child, tree.restart_child, tree.stop_child):
            with pytest.raises(UnknownChild):
                await order("root/a")
        with pytest.raises(UnknownChild):
            tree.remove_child("root/a")
        await tree.start_child("root", spec)
        assert await ref.ask(Echo("its reference is free")) == "its reference is free"


@pytest.mark.parametrize("path", ["", "root", "other/a", "root/a/b", "root/nobody/b", "root/inner/nobody"])
async def test_a_path_must_lead_to_a_child(path: str) -> None:
    inner = SupervisorSpec(name="inner", children=())
    async with open_tree(tree_of(probe(Script(), "a")[1], inner)) as tree:
        with pytest.raises(UnknownChild):
            await tree.stop_child(path)


async def test_children_can_be_added_to_supervisors_only() -> None:
    script = Script()
    inner = SupervisorSpec(name="inner", children=())
    async with open_tree(tree_of(probe(script, "a")[1], inner)) as tree:
        with pytest.raises(UnknownChild):
            await tree.start_child("root/a", probe(script, "b")[1])
        await tree.start_child("root/inner", probe(script, "b")[1])
        await tree.start_child("root/inner", SupervisorSpec(name="deeper", children=(probe(script, "c")[1],)))
        assert [entry.path for entry in tree.snapshot().walk()] == [
            "root",
            "root/a",
            "root/inner",
            "root/inner/b",
            "root/inner/deeper",
            "root/inner/deeper/c",
        ]
        await tree.stop_child("root/inner")
    assert script.said("stop") == ["c", "b", "a"]


async def test_otp_already_started_outside_supervisor() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)), open_tree(tree_of()) as other:
        twin = ActorSpec(ref=ref, factory=lambda: Probe(script))
        with pytest.raises(StartFailed, match="in use by root/a"):
            await other.start_child("root", twin)
        assert other.snapshot().children == ()
        assert await ref.ask(Echo("left alone")) == "left alone"


async def test_otp_do_not_save_child_specs_for_temporary_children(autojump_clock: trio.testing.MockClock) -> None:
    script = Script()
    async with open_tree(tree_of()) as tree:
        for end in (Fail(), Finish(), None):
            ref, spec = probe(script, "temporary", restart=Restart.TEMPORARY)
            await tree.start_child("root", spec)
            if end is None:
                await tree.stop_child("root/temporary")
            else:
                await ref.tell(end)
                await trio.sleep(1)
            assert tree.snapshot().children == ()
        ref, spec = probe(script, "transient", restart=Restart.TRANSIENT)
        await tree.start_child("root", spec)
        await ref.ask(Finish())
        await trio.sleep(1)
        with pytest.raises(ChildExists):
            await tree.start_child("root", spec)


async def test_otp_do_not_save_start_parameters_for_temporary_children() -> None:
    script = Script()

    class Argument:
        """What a factory holds on to."""

    def spec_with(argument: Argument) -> ActorSpec[ProbeRole]:
        def factory() -> Probe:
            assert argument is not None
            return Probe(script)

        return ActorSpec(ref=ActorRef[ProbeRole]("a"), factory=factory, restart=Restart.TEMPORARY)

    async with open_tree(tree_of()) as tree:
        argument = Argument()
        trace = weakref.ref(argument)
        await tree.start_child("root", spec_with(argument))
        del argument
        assert trace() is not None
        await tree.stop_child("root/a")
        script.actors.clear()
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        assert trace() is None


async def test_otp_child_unlink() -> None:
    """A child that evades being stopped does not make the supervisor hang; OTP's unlinks itself."""
    script, reports = Script(), list[Report]()
    ref, spec = probe(script, "a", shutdown_timeout_s=1)
    other, other_spec = probe(script, "b")
    async with open_tree(tree_of(spec, other_spec), on_report=reports.append) as tree, trio.open_nursery() as nursery:
        await ref.tell(Note("one"))
        nursery.start_soon(ref.ask, Commit("gate"))
        await script.waiting("gate").wait()
        nursery.start_soon(tree.stop_child, "root/a")
        await trio.testing.wait_all_tasks_blocked()
        assert await other.ask(Echo("the rest works")) == "the rest works"
        await tree.restart_child("root/b")
        script.gate("gate").set()
    assert not [report for report in reports if isinstance(report, StallReport)]


async def test_otp_count_children() -> None:
    script = Script()
    async with open_tree(tree_of()) as tree:
        for index in range(100):
            await tree.start_child("root", probe(script, f"child {index}", restart=Restart.TEMPORARY)[1])
        children = tree.snapshot().children
        assert len(children) == 100
        assert len(tree.snapshot().children) == 100, "asking changes nothing"
        for child in children:
            await tree.stop_child(child.path)
        assert tree.snapshot().children == ()


async def test_otp_count_children_supervisor() -> None:
    async with open_tree(tree_of()) as tree:
        for index in range(20):
            await tree.start_child("root", SupervisorSpec(name=f"sup {index}", children=()))
        children = tree.snapshot().children
        assert len([child for child in children if isinstance(child, SupervisorSnapshot)]) == 20
        assert {child.state for child in children} == {ChildState.RUNNING}


async def test_otp_which_children() -> None:
    script = Script()
    async with open_tree(tree_of()) as tree:
        assert tree.snapshot().children == ()
        for name in ("a", "b"):
            await tree.start_child("root", probe(script, name)[1])
            snapshot = tree.snapshot()
            assert snapshot.find(f"root/{name}") in snapshot.children
        await tree.stop_child("root/a")
        assert tree.snapshot().actor("root/a").state is ChildState.IDLE
        tree.remove_child("root/a")
        with pytest.raises(UnknownChild):
            tree.snapshot().find("root/a")
        assert [child.name for child in tree.snapshot().children] == ["b"]
        with pytest.raises(UnknownChild):
            tree.snapshot().actor("root")


async def test_otp_hanging_restart_loop(autojump_clock: trio.testing.MockClock) -> None:
    script = Script()
    ref, spec = probe(script, "a", shutdown_timeout_s=1)
    async with open_tree(tree_of(spec, intensity=Intensity(1000, 3600))) as tree, trio.open_nursery() as nursery:
        script.failing_starts["a"] = 1000
        with pytest.raises(ActorCrashed):
            await ref.ask(Fail())
        await trio.sleep(1)
        assert tree.snapshot().actor("root/a").state is ChildState.BACKOFF
        with pytest.raises(ChildExists, match="backoff"):
            await tree.start_child("root", probe(script, "a")[1])
        with pytest.raises(ChildBusy, match="backoff"):
            await tree.start_stopped_child("root/a")
        with pytest.raises(ChildBusy, match="backoff"):
            tree.remove_child("root/a")
        with pytest.raises(StartFailed):
            await tree.restart_child("root/a")
        await tree.stop_child("root/a")
        assert tree.snapshot().actor("root/a").state is ChildState.IDLE
        script.failing_starts["a"] = 0
        await tree.start_stopped_child("root/a")
        script.failing_starts["a"] = 1000
        nursery.start_soon(crash_again, ref)
        await trio.sleep(1)
        assert tree.snapshot().actor("root/a").state is ChildState.BACKOFF
    assert tree.snapshot().actor("root/a").state is ChildState.IDLE, "it can be stopped while it loops"


async def crash_again(ref: ActorRef[ProbeRole]) -> None:
    with pytest.raises(ActorCrashed):
        await ref.ask(Fail())


async def test_a_start_that_is_stopped_before_it_is_ready_fails_for_who_ordered_it() -> None:
    script = Script(holding_starts={"a"})
    async with open_tree(tree_of()) as tree, trio.open_nursery() as nursery:

        async def start() -> None:
            with pytest.raises(StartFailed, match="stopped before it was ready"):
                await tree.start_child("root", probe(script, "a", restart=Restart.TEMPORARY)[1])

        nursery.start_soon(start)
        await script.waiting("a").wait()
        await tree.stop_child("root/a")
        assert tree.snapshot().children == ()


async def test_a_child_that_is_stopped_before_its_task_has_run_never_starts() -> None:
    script = Script()
    async with open_tree(tree_of(probe(script, "a")[1])) as tree:
        await tree.stop_child("root/a")
        script.log.clear()
        root = tree._root  # pyright: ignore[reportPrivateUsage]
        root.order(StartChild("a"))
        root.order(StopChild("a"))
        await trio.testing.wait_all_tasks_blocked()
        assert tree.snapshot().actor("root/a").state is ChildState.IDLE
        assert script.log == []


async def test_otp_external_start_no_progress_log(caplog: pytest.LogCaptureFixture, autojump_clock: object) -> None:
    """A start by order is nothing to tell an operator; the restart that a supervisor decides on is."""
    ref, spec = probe(Script(), "a")
    with caplog.at_level(logging.INFO, logger="artifactstore.supervision"):
        async with open_tree(tree_of()) as tree:
            await tree.start_child("root", spec)
            assert caplog.messages == []
            with pytest.raises(ActorCrashed):
                await ref.ask(Fail())
            await ref.ask(Echo("up again"))
    assert "root/a is up again, start 2" in caplog.messages
