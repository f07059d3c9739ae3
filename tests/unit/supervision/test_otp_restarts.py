"""Cases of Erlang/OTP's supervisor suite, on restart types, intensity and strategies; see `test_otp_start_stop.py`.

Where a case needs a third failure to exceed an intensity of 2, the failures follow each other within the period; delays
are those of the default backoff, in virtual time.
"""

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from artifactstore.supervision import (
    ActorCrashed,
    ActorRef,
    ActorSpec,
    ChildState,
    Intensity,
    Phase,
    Restart,
    Strategy,
    SupervisorGaveUp,
    SupervisorSpec,
    Tree,
    open_tree,
)

from .probe import Echo, Fail, Finish, ProbeRole, Script, probe, tree_of

MODEST = Intensity(max_restarts=2, period_s=3600)
PAUSE_S = 1.0


async def crash(ref: ActorRef[ProbeRole]) -> None:
    with pytest.raises(ActorCrashed):
        await ref.ask(Fail())
    await trio.sleep(PAUSE_S)


async def finish(ref: ActorRef[ProbeRole]) -> None:
    await ref.ask(Finish())
    await trio.sleep(PAUSE_S)


def states(tree: Tree) -> dict[str, ChildState]:
    return {child.name: child.state for child in tree.snapshot().children}


def counts(tree: Tree) -> tuple[int, int]:
    """OTP's count_children, as far as it is about workers: listed, active."""
    children = tree.snapshot().children
    return len(children), len([child for child in children if child.state is ChildState.RUNNING])


class Family:
    """Probes of the same kind under one root."""

    def __init__(
        self,
        names: Sequence[str] = ("a",),
        restart: Restart = Restart.PERMANENT,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity = MODEST,
    ) -> None:
        self.script = Script()
        pairs = [probe(self.script, name, restart=restart) for name in names]
        self.refs: dict[str, ActorRef[ProbeRole]] = {ref.name: ref for ref, _ in pairs}
        self.specs: list[ActorSpec[ProbeRole]] = [spec for _, spec in pairs]
        self.spec = tree_of(*self.specs, strategy=strategy, intensity=intensity)

    def starts(self) -> dict[str, int]:
        said = self.script.said("start")
        return {name: said.count(name) for name in self.refs}


async def test_otp_permanent_normal(autojump_clock: trio.testing.MockClock) -> None:
    family = Family()
    async with open_tree(family.spec) as tree:
        await finish(family.refs["a"])
        assert states(tree) == {"a": ChildState.RUNNING}
        assert family.starts() == {"a": 2}


async def test_otp_transient_normal(autojump_clock: trio.testing.MockClock) -> None:
    family = Family(restart=Restart.TRANSIENT)
    async with open_tree(family.spec) as tree:
        await finish(family.refs["a"])
        assert states(tree) == {"a": ChildState.IDLE}
        assert counts(tree) == (1, 0)
        await tree.start_stopped_child("root/a")
        assert counts(tree) == (1, 1)


async def test_otp_temporary_normal(autojump_clock: trio.testing.MockClock) -> None:
    family = Family(restart=Restart.TEMPORARY)
    async with open_tree(family.spec) as tree:
        await finish(family.refs["a"])
        assert counts(tree) == (0, 0)
        await tree.start_child("root", family.specs[0])
        assert counts(tree) == (1, 1)


async def test_otp_permanent_abnormal(autojump_clock: trio.testing.MockClock) -> None:
    family = Family()
    async with open_tree(family.spec):
        await crash(family.refs["a"])
        assert family.starts() == {"a": 2}


async def test_otp_transient_abnormal(autojump_clock: trio.testing.MockClock) -> None:
    family = Family(restart=Restart.TRANSIENT)
    async with open_tree(family.spec):
        await crash(family.refs["a"])
        assert family.starts() == {"a": 2}


async def test_otp_temporary_abnormal(autojump_clock: trio.testing.MockClock) -> None:
    family = Family(restart=Restart.TEMPORARY)
    async with open_tree(family.spec) as tree:
        await crash(family.refs["a"])
        assert family.starts() == {"a": 1}
        assert states(tree) == {}


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_otp_temporary_bystander(strategy: Strategy, autojump_clock: trio.testing.MockClock) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    _, bystander = probe(script, "b", restart=Restart.TEMPORARY)
    async with open_tree(tree_of(spec, bystander, strategy=strategy, intensity=MODEST)) as tree:
        await crash(ref)
        assert states(tree) == {"a": ChildState.RUNNING}
    assert script.of("b") == ["start", "stop"]


async def test_otp_multiple_restarts(autojump_clock: trio.testing.MockClock) -> None:
    family = Family(intensity=Intensity(max_restarts=1, period_s=1))
    async with open_tree(family.spec) as tree:
        for _ in range(4):
            await crash(family.refs["a"])
            await trio.sleep(1.1)
        assert tree.snapshot().phase is Phase.RUNNING
        assert family.starts() == {"a": 5}


async def two_crashes_then_a_third(family: Family, victim: str) -> None:
    async with open_tree(family.spec) as tree:
        await crash(family.refs[victim])
        await crash(family.refs[victim])
        assert tree.snapshot().restarts_in_period == 2
        await crash(family.refs[victim])
        raise AssertionError("the block must have been cancelled")


async def test_otp_one_for_one(autojump_clock: trio.testing.MockClock) -> None:
    family = Family(names="ab")
    with pytest.raises(SupervisorGaveUp):
        await two_crashes_then_a_third(family, "a")
    assert family.starts() == {"a": 3, "b": 1}
    assert family.script.of("b") == ["start", "stop"]


async def test_otp_one_for_all(autojump_clock: trio.testing.MockClock) -> None:
    family = Family(names="ab", strategy=Strategy.ONE_FOR_ALL)
    with pytest.raises(SupervisorGaveUp):
        await two_crashes_then_a_third(family, "a")
    assert family.starts() == {"a": 3, "b": 3}


async def test_otp_rest_for_one(autojump_clock: trio.testing.MockClock) -> None:
    family = Family(names="abc", strategy=Strategy.REST_FOR_ONE)
    with pytest.raises(SupervisorGaveUp):
        await two_crashes_then_a_third(family, "b")
    assert family.starts() == {"a": 1, "b": 3, "c": 3}


async def escalate(strategy: Strategy, failing: str) -> Family:
    """A crash of "a", after which the start of `failing` fails for ever."""
    family = Family(names="abc", strategy=strategy, intensity=Intensity(4, 3600))

    async def run() -> None:
        async with open_tree(family.spec):
            family.script.failing_starts[failing] = 1000
            await crash(family.refs["a"])
            await trio.sleep_forever()

    with pytest.raises(SupervisorGaveUp) as caught:
        await run()
    assert caught.value.child == f"root/{failing}"
    return family


async def test_otp_one_for_one_escalation(autojump_clock: trio.testing.MockClock) -> None:
    family = await escalate(Strategy.ONE_FOR_ONE, "a")
    assert family.script.said("start failed") == ["a"] * 4, "each failed attempt counts"
    assert family.script.said("stop") == ["c", "b"]


async def test_otp_one_for_all_escalation(autojump_clock: trio.testing.MockClock) -> None:
    family = await escalate(Strategy.ONE_FOR_ALL, "b")
    assert family.script.said("start failed") == ["b"] * 4
    assert family.starts()["a"] == 5, "the whole group is tried each time"
    assert family.starts()["c"] == 1


async def test_otp_rest_for_one_escalation(autojump_clock: trio.testing.MockClock) -> None:
    family = await escalate(Strategy.REST_FOR_ONE, "b")
    assert family.script.said("start failed") == ["b"] * 4
    assert family.starts() == {"a": 2, "b": 1, "c": 1}


async def test_otp_one_for_all_other_child_fails_restart(autojump_clock: trio.testing.MockClock) -> None:
    family = Family(names="ab", strategy=Strategy.ONE_FOR_ALL)
    async with open_tree(family.spec):
        family.script.log.clear()
        family.script.failing_starts["b"] = 1
        await crash(family.refs["a"])
        assert family.script.log == [
            ("b", "stop"),
            ("a", "start"),
            ("b", "start failed"),
            ("a", "stop"),
            ("a", "start"),
            ("b", "start"),
        ]


async def test_otp_rest_for_one_other_child_fails_restart(autojump_clock: trio.testing.MockClock) -> None:
    family = Family(names="ab", strategy=Strategy.REST_FOR_ONE)
    async with open_tree(family.spec):
        family.script.log.clear()
        family.script.failing_starts["b"] = 1
        await crash(family.refs["a"])
        assert family.script.log == [("b", "stop"), ("a", "start"), ("b", "start failed"), ("b", "start")]


async def test_otp_tree(autojump_clock: trio.testing.MockClock) -> None:
    script = Script()
    pairs = {name: probe(script, name) for name in ("a1", "a2", "b1", "c1", "extra")}
    modest = Intensity(1, 3600)
    groups = [
        SupervisorSpec(name="a", children=(pairs["a1"][1], pairs["a2"][1]), intensity=modest),
        SupervisorSpec(name="b", children=(pairs["b1"][1],), intensity=modest),
        SupervisorSpec(name="c", children=(pairs["c1"][1],), intensity=modest),
    ]
    async with open_tree(tree_of(*groups, strategy=Strategy.ONE_FOR_ALL, intensity=MODEST)) as tree:
        await tree.start_child("root/a", pairs["extra"][1])
        await crash(pairs["a1"][0])
        assert script.said("start") == ["a1", "a2", "b1", "c1", "extra", "a1"], "repaired where it happened"

        await tree.stop_child("root/c")
        assert states(tree)["c"] is ChildState.IDLE
        script.log.clear()
        await crash(pairs["a1"][0])
        assert script.said("start") == ["a1", "a2", "b1"], "escalated: static grandchildren return, the extra does not"
        assert states(tree)["c"] is ChildState.IDLE, "and, unlike in OTP, what was stopped by order stays down"
        assert [child.path for child in tree.snapshot().walk()] == [
            "root",
            "root/a",
            "root/a/a1",
            "root/a/a2",
            "root/b",
            "root/b/b1",
            "root/c",
            "root/c/c1",
        ]
        assert await pairs["b1"][0].ask(Echo("all well")) == "all well"


async def test_otp_hanging_restart_loop_rest_for_one(autojump_clock: trio.testing.MockClock) -> None:
    family = Family(names="abc", strategy=Strategy.REST_FOR_ONE, intensity=Intensity(1000, 3600))
    async with open_tree(family.spec) as tree:
        family.script.failing_starts["b"] = 1000
        await crash(family.refs["b"])
        assert states(tree)["a"] is ChildState.RUNNING
        assert states(tree)["c"] is ChildState.QUEUED
        assert family.starts()["a"] == 1
        assert counts(tree) == (3, 1)
        await tree.stop_child("root/b")
        await trio.testing.wait_all_tasks_blocked()
        assert states(tree) == {"a": ChildState.RUNNING, "b": ChildState.IDLE, "c": ChildState.RUNNING}
        family.script.failing_starts["b"] = 0
        await tree.start_stopped_child("root/b")
        assert counts(tree) == (3, 3)


async def test_otp_count_restarting_children(autojump_clock: trio.testing.MockClock) -> None:
    family = Family(names="abc", intensity=Intensity(1000, 3600))
    async with open_tree(family.spec) as tree:
        for name in family.refs:
            family.script.failing_starts[name] = 1000
            await crash(family.refs[name])
        assert counts(tree) == (3, 0)
        await tree.stop_child("root/a")
        family.script.failing_starts.clear()
        await trio.sleep(100)
        assert counts(tree) == (3, 2)
        for name in family.refs:
            await tree.stop_child(f"root/{name}")
        assert counts(tree) == (3, 0)
