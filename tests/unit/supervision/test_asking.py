"""What an asker gets, and how a message ends whose asker has left."""

import math
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
    AskCycle,
    AskTimeout,
    Concurrent,
    Request,
    handles,
    open_tree,
)

from .probe import (
    Boom,
    Commit,
    Echo,
    Hold,
    Parallel,
    ProbeRole,
    Put,
    Script,
    ask_within,
    probe,
    tree_of,
)


async def test_an_ask_that_was_not_started_in_time_had_no_effect_and_never_has_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)), trio.open_nursery() as nursery:
        nursery.start_soon(ref.ask, Hold("busy"))
        await script.waiting("busy").wait()
        with pytest.raises(AskTimeout) as caught:
            await ref.ask(Hold("late"), timeout=3)
        assert (caught.value.may_have_taken_effect, caught.value.timeout_s) == (False, 3)
        script.gate("busy").set()
        await ref.ask(Echo("after it"))
    assert "hold late" not in script.of("a")


async def test_an_ask_that_times_out_in_its_handler_cancels_it_and_may_have_had_an_effect(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)):
        with pytest.raises(AskTimeout) as caught:
            await ref.ask(Hold("slow"), timeout=3)
        assert caught.value.may_have_taken_effect
        assert await ref.ask(Echo("free again")) == "free again"
    assert script.of("a")[1:3] == ["hold slow", "cancelled slow"]


async def test_work_that_is_to_be_completed_survives_its_askers_timeout(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)):
        with pytest.raises(AskTimeout) as caught:
            await ref.ask(Commit("slow"), timeout=3)
        assert caught.value.may_have_taken_effect
        script.gate("slow").set()
        await ref.ask(Echo("after it"))
    assert script.of("a")[1] == "committed slow"


async def test_a_timeout_of_nothing_sends_nothing() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)):
        with pytest.raises(AskTimeout) as caught:
            await ref.ask(Hold("never"), timeout=0)
        assert not caught.value.may_have_taken_effect
        await ref.ask(Echo("after it"))
    assert "hold never" not in script.of("a")


async def test_an_ask_may_wait_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)), trio.open_nursery() as nursery:

        async def open_later() -> None:
            await trio.sleep(80_000)
            script.gate("slow").set()

        nursery.start_soon(open_later)
        assert await ref.ask(Hold("slow"), timeout=math.inf) == "slow"


async def test_a_cancelled_asker_withdraws_what_was_not_started_and_cancels_what_was() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)), trio.open_nursery() as nursery:
        scopes = {gate: trio.CancelScope() for gate in ("started", "queued")}
        for gate, scope in scopes.items():
            nursery.start_soon(ask_within, scope, ref, Hold(gate))
            await trio.testing.wait_all_tasks_blocked()
        for scope in scopes.values():
            scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert script.of("a")[1:] == ["hold started", "cancelled started"]


async def test_a_batch_is_cancelled_only_when_all_its_askers_have_left() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    answers: list[int] = []

    async def put(scope: trio.CancelScope, message: Put) -> None:
        with scope:
            answers.append(await ref.ask(message))

    async with open_tree(tree_of(spec)), trio.open_nursery() as nursery:
        nursery.start_soon(ref.ask, Hold("busy"))
        await script.waiting("busy").wait()
        leaves, stays = trio.CancelScope(), trio.CancelScope()
        nursery.start_soon(put, leaves, Put(1, gate="batch"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(put, stays, Put(2))
        await trio.testing.wait_all_tasks_blocked()
        script.gate("busy").set()
        await script.waiting("batch").wait()
        leaves.cancel()
        await trio.testing.wait_all_tasks_blocked()
        script.gate("batch").set()
        await trio.testing.wait_all_tasks_blocked()
        assert answers == [2]

        both = trio.CancelScope()
        script.gates["second"] = trio.Event()
        nursery.start_soon(put, both, Put(3, gate="second"))
        await script.waiting("second").wait()
        both.cancel()
        assert await ref.ask(Echo("the batch was cancelled")) == "the batch was cancelled"


async def test_a_type_at_its_limit_does_not_hold_up_the_others() -> None:
    script = Script()
    ref, spec = probe(script, "a")
    async with open_tree(tree_of(spec)), trio.open_nursery() as nursery:
        for gate in ("one", "two", "three"):
            nursery.start_soon(ref.ask, Parallel(gate))
        await trio.testing.wait_all_tasks_blocked()
        assert await ref.ask(Echo("passes")) == "passes"
        for gate in ("one", "two", "three"):
            script.gate(gate).set()


class RelayRole:
    pass


@dataclass(frozen=True, slots=True)
class Relay(Request[str, RelayRole]):
    """Asks on along the route of relays, and at its end answers."""

    route: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RelayToProbe(Request[str, RelayRole]):
    message: Request[str, ProbeRole]


@dataclass(frozen=True, slots=True)
class Deadline(Request[float, RelayRole]):
    pass


@dataclass(frozen=True, slots=True)
class RelayByTask(Request[str, RelayRole]):
    """Asks this very actor, but from a task for which nobody waits."""


class RelayActor(Actor[RelayRole]):
    def __init__(self, refs: dict[str, ActorRef[RelayRole]], probe_ref: ActorRef[ProbeRole]) -> None:
        self.refs = refs
        self.probe_ref = probe_ref
        self.replies: list[str] = []

    @handles(Relay, mode=Concurrent(8))
    async def relay(self, message: Relay) -> str:
        if not message.route:
            return self.context.path
        async with trio.open_nursery():
            return await self.refs[message.route[0]].ask(Relay(message.route[1:]))

    @handles(RelayToProbe)
    async def relay_to_probe(self, message: RelayToProbe) -> str:
        return await self.probe_ref.ask(message.message, timeout=1)

    @handles(Deadline)
    async def deadline(self, _: Deadline) -> float:
        return self.context.deadline

    @handles(RelayByTask)
    async def by_task(self, _: RelayByTask) -> str:
        async def ask_self() -> None:
            self.replies.append(await self.refs[self.context.name].ask(Relay(())))

        task = self.context.start_child("asks", ask_self)
        await task.wait()
        return self.replies[-1]


class Relays:
    def __init__(self) -> None:
        self.script = Script()
        self.probe_ref, probe_spec = probe(self.script, "probe")
        self.refs = {name: ActorRef[RelayRole](name) for name in ("x", "y", "z")}
        specs = [
            ActorSpec(ref=ref, factory=lambda: RelayActor(self.refs, self.probe_ref)) for ref in self.refs.values()
        ]
        self.spec = tree_of(probe_spec, *specs)


async def test_a_chain_of_asks_is_no_cycle() -> None:
    relays = Relays()
    async with open_tree(relays.spec):
        assert await relays.refs["x"].ask(Relay(("y", "z"))) == "root/z"


@pytest.mark.parametrize(
    ("route", "chain"),
    [
        (("x",), ("root/x", "root/x")),
        (("y", "x"), ("root/x", "root/y", "root/x")),
        (("y", "z", "y"), ("root/x", "root/y", "root/z", "root/y")),
    ],
)
async def test_a_cycle_of_asks_fails_at_once_with_its_chain(route: tuple[str, ...], chain: tuple[str, ...]) -> None:
    relays = Relays()
    async with open_tree(relays.spec):
        with pytest.raises(AskCycle) as caught:
            await relays.refs["x"].ask(Relay(route))
        assert caught.value.chain == chain
        assert await relays.refs["x"].ask(Relay(())) == "root/x", "all of them live on"


async def test_a_task_for_which_nobody_waits_may_ask_its_own_actor() -> None:
    relays = Relays()
    async with open_tree(relays.spec):
        assert await relays.refs["x"].ask(RelayByTask()) == "root/x"


async def test_an_ask_error_that_a_handler_lets_through_is_its_answer_and_says_that_the_handler_ran(
    autojump_clock: trio.testing.MockClock,
) -> None:
    relays = Relays()
    async with open_tree(relays.spec) as tree, trio.open_nursery() as nursery:
        nursery.start_soon(relays.probe_ref.ask, Hold("busy"))
        await relays.script.waiting("busy").wait()
        with pytest.raises(AskTimeout) as caught:
            await relays.refs["x"].ask(RelayToProbe(Echo("not started")))
        assert (caught.value.actor, caught.value.may_have_taken_effect) == ("root/probe", True)
        assert tree.snapshot().actor("root/x").starts == 1
        relays.script.gate("busy").set()


async def test_a_handler_sees_when_its_asker_gives_up() -> None:
    relays = Relays()
    async with open_tree(relays.spec):
        now = trio.current_time()
        assert now + 100 <= await relays.refs["x"].ask(Deadline(), timeout=100) < math.inf
        assert await relays.refs["x"].ask(Deadline(), timeout=math.inf) == math.inf


class FatefulRole:
    pass


@dataclass(frozen=True, slots=True)
class FailAfterGate(Request[None, FatefulRole]):
    pass


class NestedFailure(Actor[FatefulRole]):
    """Its handler fails in a nursery of its own, beside a task that is cancelled by that."""

    @handles(FailAfterGate)
    async def fail(self, _: FailAfterGate) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(self._fail)

    async def _fail(self) -> None:
        raise Boom("inside")

    @override
    def state_summary(self) -> dict[str, str | int]:
        raise Boom("a summary that fails")


async def test_a_failure_inside_a_handlers_own_nursery_reaches_the_asker_unwrapped() -> None:
    ref = ActorRef[FatefulRole]("a")
    async with open_tree(tree_of(ActorSpec(ref=ref, factory=NestedFailure))):
        with pytest.raises(ActorCrashed) as caught:
            await ref.ask(FailAfterGate())
        assert isinstance(caught.value.cause, Boom)


class HookRole:
    pass


@dataclass(frozen=True, slots=True)
class AskBack(Request[str, HookRole]):
    """Only ever asked by the actor itself."""


class Hooked(Actor[HookRole]):
    """Asks itself in a hook, which could never be answered while the hook runs."""

    def __init__(self, ref: ActorRef[HookRole], hook: str, found: list[tuple[str, float]]) -> None:
        self.ref = ref
        self.hook = hook
        self.found = found

    async def ask_itself(self, hook: str) -> None:
        if hook == self.hook:
            try:
                await self.ref.ask(AskBack())
            except AskCycle as cycle:
                self.found.append((" ".join(cycle.chain), self.context.deadline - trio.current_time()))

    @override
    async def on_start(self) -> None:
        await self.ask_itself("start")

    @override
    async def on_stop(self) -> None:
        await self.ask_itself("stop")

    @handles(AskBack)
    async def ask_back(self, _: AskBack) -> str:
        return "never"


@pytest.mark.parametrize(("hook", "left_s"), [("start", 20), ("stop", 10)])
async def test_a_hook_that_asks_its_own_actor_is_told_so_at_once_and_knows_its_deadline(
    hook: str, left_s: float, autojump_clock: trio.testing.MockClock
) -> None:
    ref, found = ActorRef[HookRole]("a"), list[tuple[str, float]]()
    spec = ActorSpec(ref=ref, factory=lambda: Hooked(ref, hook, found), start_timeout_s=20, shutdown_timeout_s=10)
    async with open_tree(tree_of(spec)) as tree:
        await tree.restart_child("root/a")
    assert found == [("root/a root/a", left_s)] * 2
