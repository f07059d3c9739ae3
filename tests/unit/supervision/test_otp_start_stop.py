"""Cases of Erlang/OTP's supervisor suite, on starting and stopping; `otp_cases` lists all of them.

Each test is named after its case, and asserts what the case asserts in the terms of this runtime: an exit `normal` is
`context.finish()`, an abnormal exit is a crash, a stopped child's "pid undefined" is the state IDLE.
"""

import math
from typing import override

import pytest
import trio
import trio.testing

from artifactstore.supervision import (
    ActorRef,
    ActorSpec,
    Backoff,
    ChildState,
    Intensity,
    MailboxLimits,
    Phase,
    Restart,
    StartFailed,
    Strategy,
    SupervisorSpec,
    Tree,
    open_tree,
)

from .probe import Boom, Commit, Echo, Fail, Hold, Probe, ProbeRole, Script, ask_in_vain, probe, tree_of


def names(tree: Tree) -> list[str]:
    return [child.name for child in tree.snapshot().children]


class FinishesAtOnce(Probe):
    """What OTP calls `ignore`: it starts, and has nothing to do."""

    @override
    async def on_start(self) -> None:
        self.context.finish()


def finisher(name: str, restart: Restart) -> ActorSpec[ProbeRole]:
    return ActorSpec(ref=ActorRef(name), factory=lambda: FinishesAtOnce(Script()), restart=restart)


async def test_otp_sup_start_normal() -> None:
    async with open_tree(tree_of()) as tree:
        assert tree.snapshot().phase is Phase.RUNNING
    assert tree.snapshot().phase is Phase.STOPPED


async def test_otp_sup_start_ignore_child() -> None:
    async with open_tree(tree_of(finisher("a", Restart.TRANSIENT), probe(Script(), "b")[1])) as tree:
        await trio.testing.wait_all_tasks_blocked()
        assert tree.snapshot().actor("root/a").state is ChildState.IDLE
        assert names(tree) == ["a", "b"]


async def test_otp_sup_start_ignore_temporary_child() -> None:
    async with open_tree(tree_of(finisher("a", Restart.TEMPORARY), probe(Script(), "b")[1])) as tree:
        await trio.testing.wait_all_tasks_blocked()
        assert names(tree) == ["b"]


async def test_otp_sup_start_ignore_temporary_child_start_child() -> None:
    async with open_tree(tree_of()) as tree:
        await tree.start_child("root", finisher("a", Restart.TEMPORARY))
        await trio.testing.wait_all_tasks_blocked()
        assert names(tree) == []


async def test_otp_sup_start_fail() -> None:
    def factory() -> Probe:
        raise Boom("init")

    with pytest.raises(StartFailed) as caught:
        async with open_tree(tree_of(ActorSpec(ref=ActorRef[ProbeRole]("a"), factory=factory))):
            raise AssertionError("the block must not run")
    assert isinstance(caught.value.cause, Boom)


async def test_otp_sup_start_child_returns_error() -> None:
    script = Script(failing_starts={"a": 1})
    async with open_tree(tree_of()) as tree:
        with pytest.raises(StartFailed) as caught:
            await tree.start_child("root", probe(script, "a")[1])
        assert caught.value.path == "root/a"
        assert isinstance(caught.value.cause, Boom)
        assert names(tree) == []


async def test_otp_sup_start_restart_child_returns_error() -> None:
    script = Script()
    async with open_tree(tree_of(probe(script, "a")[1])) as tree:
        await tree.stop_child("root/a")
        script.failing_starts["a"] = 1
        with pytest.raises(StartFailed):
            await tree.start_stopped_child("root/a")
        assert tree.snapshot().actor("root/a").state is ChildState.IDLE
        await tree.start_stopped_child("root/a")
        assert tree.snapshot().actor("root/a").state is ChildState.RUNNING


def test_otp_sup_start_map() -> None:
    actor = probe(Script(), "a")[1]
    assert (actor.restart, actor.shutdown_timeout_s) == (Restart.PERMANENT, 5)
    assert (actor.mailbox, actor.backoff) == (MailboxLimits(), Backoff())
    supervisor = SupervisorSpec(name="s", children=())
    assert (supervisor.restart, supervisor.strategy) == (Restart.PERMANENT, Strategy.ONE_FOR_ONE)
    assert supervisor.intensity == Intensity(max_restarts=5, period_s=30)


@pytest.mark.parametrize(
    "options",
    [
        {"start_timeout_s": 0},
        {"start_timeout_s": math.inf},
        {"shutdown_timeout_s": -1},
        {"shutdown_timeout_s": math.inf},
        {"max_deliveries": 0},
    ],
)
def test_otp_child_specs(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"^a: "):
        probe(Script(), "a", **options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert probe(Script(), "a", shutdown_timeout_s=0)[1].shutdown_timeout_s == 0


def test_otp_sup_flags() -> None:
    twice = (probe(Script(), "a")[1], probe(Script(), "a")[1])
    with pytest.raises(ValueError, match="names that differ"):
        SupervisorSpec(name="s", children=twice)
    with pytest.raises(ValueError, match="period_s"):
        Intensity(max_restarts=1, period_s=0)
    with pytest.raises(ValueError, match="max_restarts"):
        Intensity(max_restarts=-1)


async def test_otp_sup_stop_timeout(autojump_clock: trio.testing.MockClock) -> None:
    script = Script()
    obedient, obedient_spec = probe(script, "obedient", shutdown_timeout_s=10)
    asleep, asleep_spec = probe(script, "asleep", shutdown_timeout_s=10)
    before = trio.current_time()
    async with trio.open_nursery() as nursery, open_tree(tree_of(obedient_spec, asleep_spec)):
        nursery.start_soon(ask_in_vain, asleep, Commit("for ever"))
        assert await obedient.ask(Echo("awake")) == "awake"
    assert trio.current_time() - before == 8, "its work is cut off in time for on_stop"
    assert script.of("asleep") == ["start", "cancelled for ever", "stop"]
    assert script.of("obedient") == ["start", "stop"]


async def test_otp_sup_stop_timeout_dynamic(autojump_clock: trio.testing.MockClock) -> None:
    script = Script()
    async with trio.open_nursery() as nursery:
        async with open_tree(tree_of()) as tree:
            for name in ("a", "b", "c"):
                ref, spec = probe(script, name, shutdown_timeout_s=10)
                await tree.start_child("root", spec)
                if name != "b":
                    nursery.start_soon(ask_in_vain, ref, Commit(name))
            await trio.testing.wait_all_tasks_blocked()
            before = trio.current_time()
        assert trio.current_time() - before == 16
    assert tree.snapshot().phase is Phase.STOPPED
    assert script.said("stop") == ["c", "b", "a"]


async def test_otp_sup_stop_brutal_kill(autojump_clock: trio.testing.MockClock) -> None:
    script = Script()
    killed, killed_spec = probe(script, "killed", shutdown_timeout_s=0)
    _, sibling_spec = probe(script, "sibling")
    before = trio.current_time()
    async with trio.open_nursery() as nursery, open_tree(tree_of(sibling_spec, killed_spec)):
        nursery.start_soon(ask_in_vain, killed, Commit("for ever"))
        await script.waiting("for ever").wait()
    assert trio.current_time() == before
    assert script.of("killed") == ["start", "cancelled for ever"]
    assert script.of("sibling") == ["start", "stop"]


async def test_otp_sup_stop_brutal_kill_dynamic(autojump_clock: trio.testing.MockClock) -> None:
    script = Script()
    before = trio.current_time()
    async with trio.open_nursery() as nursery, open_tree(tree_of()) as tree:
        for index in range(10):
            ref, spec = probe(script, f"child {index}", shutdown_timeout_s=0)
            await tree.start_child("root", spec)
            nursery.start_soon(ask_in_vain, ref, Commit(f"gate {index}"))
        await trio.testing.wait_all_tasks_blocked()
    assert trio.current_time() == before
    assert len([said for _, said in script.log if said.startswith("cancelled")]) == 10


@pytest.mark.parametrize("restart", Restart)
@pytest.mark.parametrize("crashes", [False, True])
async def test_otp_sup_stop_race(restart: Restart, crashes: bool, autojump_clock: trio.testing.MockClock) -> None:
    """Children that end by themselves while the supervisor stops: the stop completes and nobody is restarted."""
    script = Script()
    refs, specs = zip(*(probe(script, name, restart=restart) for name in ("a", "b", "c")), strict=True)
    async with trio.open_nursery() as nursery, open_tree(tree_of(*specs)):
        nursery.start_soon(refs[2].ask, Hold("last"))
        await script.waiting("last").wait()

        async def end_the_others() -> None:
            await trio.testing.wait_all_tasks_blocked()
            for ref in refs[:2]:
                context = script.actors[ref.name].context
                if crashes:
                    context.start_child("boom", fail)
                else:
                    context.finish()
            await trio.testing.wait_all_tasks_blocked()
            script.gate("last").set()

        nursery.start_soon(end_the_others)
    assert script.said("start") == ["a", "b", "c"]


async def fail() -> None:
    raise Boom("by itself")


@pytest.mark.parametrize("restart", Restart)
async def test_otp_sup_stop_non_shutdown_exit_dynamic(restart: Restart) -> None:
    script = Script(failing_stops={"a", "b"})
    async with open_tree(tree_of()) as tree:
        for name in ("a", "b"):
            await tree.start_child("root", probe(script, name, restart=restart)[1])
    assert tree.snapshot().phase is Phase.STOPPED
    assert script.said("stop") == ["b", "a"]


async def test_otp_faulty_application_shutdown() -> None:
    script = Script(failing_starts={"bad": 1})
    inner = SupervisorSpec(name="inner", children=(probe(script, "good")[1], probe(script, "bad")[1]))
    with pytest.raises(StartFailed) as caught:
        async with open_tree(tree_of(inner)):
            raise AssertionError("the block must not run")
    assert caught.value.path == "root/inner/bad"
    assert isinstance(caught.value.cause, Boom)
    assert script.of("good") == ["start", "stop"]


async def test_otp_order_of_children(autojump_clock: trio.testing.MockClock) -> None:
    script = Script()
    given = ("d", "a", "c", "b")
    refs, specs = zip(*(probe(script, name, max_deliveries=1) for name in given), strict=True)
    async with open_tree(tree_of(*specs, strategy=Strategy.REST_FOR_ONE)) as tree:
        assert names(tree) == list(given)
        await refs[1].tell(Fail())
        await trio.sleep(1)
    assert script.said("start") == ["d", "a", "c", "b", "a", "c", "b"]
    assert script.said("stop") == ["b", "c", "b", "c", "a", "d"]
