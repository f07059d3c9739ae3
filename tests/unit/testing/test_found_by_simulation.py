"""Defects that a simulation found, each as the smallest test that shows it."""

from dataclasses import dataclass
from typing import override

import trio
import trio.testing

from artifactstore.supervision import (
    Actor,
    ActorRef,
    ActorSpec,
    Concurrent,
    Message,
    Report,
    Request,
    SupervisorSpec,
    handles,
    open_tree,
)


class EchoRole:
    pass


@dataclass(frozen=True, slots=True)
class Echo(Request[str, EchoRole]):
    text: str


@dataclass(frozen=True, slots=True)
class Note(Message[EchoRole]):
    text: str


class Fragile(Actor[EchoRole]):
    """Its first incarnation fails while it handles two notes at once."""

    def __init__(self, noted: list[str]) -> None:
        self.noted = noted
        self.met = 0

    @handles(Note, mode=Concurrent(2))
    async def note(self, message: Note) -> None:
        self.met += 1
        if self.context.incarnation == 1:
            while self.met == 1:
                await trio.lowlevel.checkpoint()
            raise RuntimeError("as told")
        self.noted.append(message.text)


class SlowToStop(Actor[EchoRole]):
    def __init__(self, stopping: trio.Event, may_stop: trio.Event) -> None:
        self.stopping, self.may_stop = stopping, may_stop

    @override
    async def on_stop(self) -> None:
        self.stopping.set()
        await self.may_stop.wait()

    @handles(Echo, mode=Concurrent(4))
    async def echo(self, message: Echo) -> str:
        return message.text


async def test_an_ask_that_comes_while_its_actor_stops_to_be_restarted_is_answered_by_the_next_incarnation() -> None:
    ref = ActorRef[EchoRole]("echo")
    stopping, may_stop = trio.Event(), trio.Event()
    spec = ActorSpec(ref=ref, factory=lambda: SlowToStop(stopping, may_stop))
    answers: list[str] = []

    async def ask() -> None:
        answers.append(await ref.ask(Echo("late")))

    async with open_tree(SupervisorSpec(name="root", children=(spec,))) as tree, trio.open_nursery() as nursery:
        nursery.start_soon(tree.restart_child, "root/echo")
        await stopping.wait()
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        may_stop.set()
    assert answers == ["late"]


async def test_workers_that_share_what_a_crash_put_back_take_each_message_once() -> None:
    ref = ActorRef[EchoRole]("echo")
    noted: list[str] = []
    failures: list[Report] = []
    spec = ActorSpec(ref=ref, factory=lambda: Fragile(noted))
    async with open_tree(SupervisorSpec(name="root", children=(spec,)), on_report=failures.append) as tree:
        for text in ("a", "b", "c"):
            await ref.tell(Note(text))
        while len(noted) < 3:
            await trio.lowlevel.checkpoint()
    assert sorted(noted) == ["a", "b", "c"]
    assert len(failures) == 1
    assert tree.dead_letters == ()
