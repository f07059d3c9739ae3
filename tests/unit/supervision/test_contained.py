"""An actor that never starts, or ignores its deadlines, is contained: it is named, and nobody else suffers."""

from dataclasses import dataclass
from typing import override

import pytest
import trio
import trio.testing

from artifactstore.supervision import (
    Actor,
    ActorRef,
    ActorSpec,
    Backoff,
    ChildState,
    CrashReport,
    Intensity,
    Report,
    Request,
    StallReport,
    StartFailed,
    SupervisorSpec,
    handles,
    open_tree,
)

from .probe import Echo, Fail, Script, ask_crash, probe, tree_of


class DeafRole:
    pass


@dataclass(frozen=True, slots=True)
class Knock(Request[None, DeafRole]):
    pass


class Deaf(Actor[DeafRole]):
    """Takes no notice of being cancelled while it starts, or while it handles a message, until the test lets it go."""

    def __init__(self, hold: trio.Event, *, at_start: bool) -> None:
        self.hold = hold
        self.at_start = at_start

    async def hold_on(self) -> None:
        with trio.CancelScope(shield=True):
            await self.hold.wait()

    @override
    async def on_start(self) -> None:
        if self.at_start:
            await self.hold_on()

    @handles(Knock)
    async def knock(self, _: Knock) -> None:
        await self.hold_on()


async def test_one_that_fails_every_start_is_seen_failing_while_its_sibling_works(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    reports: list[Report] = []
    bad, bad_spec = probe(script, "bad", backoff=Backoff(initial_s=1, maximum_s=8, jitter=0))
    good, good_spec = probe(script, "good")
    async with open_tree(tree_of(bad_spec, good_spec), on_report=reports.append) as tree:
        script.failing_starts["bad"] = 1_000_000
        await ask_crash(bad, Fail())
        for starts, after_s in ((2, 1.5), (4, 6), (19, 120)):
            await trio.sleep(after_s)
            seen = tree.snapshot().actor("root/bad")
            assert (seen.state, seen.starts, seen.uptime_s) == (ChildState.BACKOFF, starts, None)
            assert seen.last_failure is not None
            assert (seen.last_failure.kind, seen.last_failure.text) == ("Boom", "bad does not start")
            assert seen.last_failure.decision.startswith("restart in ")
            assert await good.ask(Echo("still here")) == "still here"
        assert tree.snapshot().actor("root/good").starts == 1
        crashes = [report for report in reports if isinstance(report, CrashReport)]
        assert len(crashes) == tree.snapshot().actor("root/bad").starts
        script.failing_starts["bad"] = 0
        assert await bad.ask(Echo("at last")) == "at last"


async def test_one_that_fails_every_start_takes_down_no_more_than_its_supervisor(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script(failing_starts={"bad": 1_000_000})
    _bad, bad_spec = probe(script, "bad")
    good, good_spec = probe(script, "good")
    with pytest.raises(StartFailed):
        async with open_tree(tree_of(SupervisorSpec(name="core", children=(bad_spec,)), good_spec)):
            raise AssertionError("the block must not run")
    script.failing_starts.clear()
    core = SupervisorSpec(name="core", children=(bad_spec,), intensity=Intensity(3, 60))
    async with open_tree(tree_of(core, good_spec)) as tree:
        script.failing_starts["bad"] = 1_000_000
        await ask_crash(_bad, Fail())
        await trio.sleep(600)
        failure = tree.snapshot().find("root/core").last_failure
        assert failure is not None
        assert "root/core/bad" in failure.text
        assert await good.ask(Echo("still here")) == "still here"
        assert tree.snapshot().actor("root/good").starts == 1


async def test_one_that_ignores_its_start_timeout_is_reported_and_holds_up_nobody_who_runs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = Script()
    reports: list[Report] = []
    hold = trio.Event()
    good, good_spec = probe(script, "good")
    deaf = ActorRef[DeafRole]("deaf")
    spec = ActorSpec(ref=deaf, factory=lambda: Deaf(hold, at_start=True), start_timeout_s=5)
    async with open_tree(tree_of(good_spec), on_report=reports.append) as tree, trio.open_nursery() as nursery:

        async def add() -> None:
            with pytest.raises(StartFailed, match="took longer than 5 s"):
                await tree.start_child("root", spec)

        nursery.start_soon(add)
        await trio.sleep(60)
        seen = tree.snapshot().actor("root/deaf")
        assert seen.state is ChildState.STARTING
        assert seen.stall is not None
        assert seen.stall.since == 5
        assert "hold_on" in seen.stall.stack
        assert [report.path for report in reports if isinstance(report, StallReport)] == ["root/deaf"]
        assert await good.ask(Echo("still here")) == "still here"
        hold.set()
    assert [child.name for child in tree.snapshot().children] == ["good"]


async def test_one_that_ignores_its_askers_deadline_answers_nobody_and_serves_again_when_it_is_done(
    autojump_clock: trio.testing.MockClock,
) -> None:
    hold = trio.Event()
    deaf = ActorRef[DeafRole]("deaf")
    spec = ActorSpec(ref=deaf, factory=lambda: Deaf(hold, at_start=False))
    async with open_tree(tree_of(spec)) as tree:
        with pytest.raises(trio.TooSlowError), trio.fail_after(2):
            await deaf.ask(Knock(), timeout=5)
        await trio.sleep(100)
        (work,) = tree.snapshot().actor("root/deaf").work
        assert (work.message, work.age_s) == ("Knock", 102)
        assert (await deaf.ping()).answered
        hold.set()
        await deaf.ask(Knock())
