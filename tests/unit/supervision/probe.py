"""The actors that these tests supervise: every handler can be held, released, refused or made to fail by the test."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict, Unpack, override

import pytest
import trio

from artifactstore.supervision import (
    Actor,
    ActorCrashed,
    ActorRef,
    ActorSpec,
    ActorStopped,
    Backoff,
    Batched,
    ChildSpec,
    Concurrent,
    Intensity,
    MailboxLimits,
    Message,
    OnCancel,
    Refusal,
    Request,
    Restart,
    Strategy,
    SupervisorSpec,
    handles,
)

ROOT = "root"


class ProbeRole:
    pass


class Boom(Exception):
    """What a probe fails with; compares by type only."""


class Refused(Refusal):
    pass


@dataclass(frozen=True, slots=True)
class Echo(Request[str, ProbeRole]):
    text: str


@dataclass(frozen=True, slots=True)
class Hold(Request[str, ProbeRole]):
    """Answered when the test opens the gate of this name; serial, cancelled with its asker."""

    gate: str


@dataclass(frozen=True, slots=True)
class HoldInGroup(Request[str, ProbeRole]):
    """As Hold, but when it is cancelled it raises that in a group, as nested nurseries may."""

    gate: str


@dataclass(frozen=True, slots=True)
class Commit(Request[str, ProbeRole]):
    """As Hold, but runs to completion."""

    gate: str


@dataclass(frozen=True, slots=True)
class CommitAndFail(Request[str, ProbeRole]):
    """As Commit, but fails in the end; beside the serial handlers, two at a time."""

    gate: str


@dataclass(frozen=True, slots=True)
class Parallel(Request[str, ProbeRole]):
    """As Hold, but two at a time."""

    gate: str


@dataclass(frozen=True, slots=True)
class Put(Request[int, ProbeRole]):
    """Batched by up to 4 messages or 100 bytes; answers the size of its batch. A negative value is refused."""

    value: int
    weight: int = 0
    gate: str | None = None

    @property
    @override
    def size_bytes(self) -> int:
        return self.weight


@dataclass(frozen=True, slots=True)
class Fail(Request[None, ProbeRole]):
    pass


@dataclass(frozen=True, slots=True)
class FailParallel(Request[None, ProbeRole]):
    """As Fail, beside the serial handlers."""


@dataclass(frozen=True, slots=True)
class Refuse(Request[None, ProbeRole]):
    pass


@dataclass(frozen=True, slots=True)
class Finish(Request[None, ProbeRole]):
    pass


@dataclass(frozen=True, slots=True)
class Note(Message[ProbeRole]):
    """Told; fails when its text is "poison", is refused when it is "refuse"."""

    text: str
    weight: int = 0

    @property
    @override
    def size_bytes(self) -> int:
        return self.weight


@dataclass(frozen=True, slots=True)
class Unhandled(Request[None, ProbeRole]):
    """No probe handles it."""


@dataclass
class Script:
    """What the probes of one test have done, and what they shall do.

    Attributes:
        log: (actor, what) in order.
        gates: opened by the test, by name.
        entered: set when a handler waits at the gate of this name.
        failing_starts: starts that shall fail, by actor.
        holding_starts: actors whose next start waits at the gate of their name.
        failing_stops: actors whose `on_stop` shall fail.
        holding_stops: actors whose next `on_stop` waits at the gate "stop", blank, and their name.
    """

    log: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    gates: dict[str, trio.Event] = field(default_factory=dict[str, trio.Event])
    entered: dict[str, trio.Event] = field(default_factory=dict[str, trio.Event])
    failing_starts: dict[str, int] = field(default_factory=dict[str, int])
    failing_stops: set[str] = field(default_factory=set[str])
    holding_starts: set[str] = field(default_factory=set[str])
    holding_stops: set[str] = field(default_factory=set[str])
    actors: dict[str, "Probe"] = field(default_factory=dict[str, "Probe"])

    def gate(self, name: str) -> trio.Event:
        return self.gates.setdefault(name, trio.Event())

    def waiting(self, name: str) -> trio.Event:
        return self.entered.setdefault(name, trio.Event())

    def said(self, what: str) -> list[str]:
        """The actors that logged this, in order."""
        return [actor for actor, said in self.log if said == what]

    def of(self, actor: str) -> list[str]:
        """What one actor has logged, in order."""
        return [said for who, said in self.log if who == actor]

    async def pass_gate(self, name: str) -> None:
        self.waiting(name).set()
        await self.gate(name).wait()


class Probe(Actor[ProbeRole]):
    def __init__(self, script: Script) -> None:
        self.script = script
        self.notes: list[str] = []

    def log(self, what: str) -> None:
        self.script.log.append((self.context.name, what))

    @override
    async def on_start(self) -> None:
        name = self.context.name
        if name in self.script.holding_starts:
            self.script.holding_starts.discard(name)
            await self.script.pass_gate(name)
        if self.script.failing_starts.get(name, 0) > 0:
            self.script.failing_starts[name] -= 1
            self.log("start failed")
            raise Boom(f"{name} does not start")
        self.script.actors[name] = self
        self.log("start")

    @override
    async def on_stop(self) -> None:
        await trio.lowlevel.checkpoint()
        self.log("stop")
        if self.context.name in self.script.holding_stops:
            self.script.holding_stops.discard(self.context.name)
            await self.script.pass_gate(f"stop {self.context.name}")
        if self.context.name in self.script.failing_stops:
            raise Boom("on_stop")

    @override
    def state_summary(self) -> dict[str, str | int]:
        return {"notes": len(self.notes)}

    @handles(Echo)
    async def echo(self, message: Echo) -> str:
        return message.text

    @handles(Hold)
    async def hold(self, message: Hold) -> str:
        self.log(f"hold {message.gate}")
        try:
            await self.script.pass_gate(message.gate)
        except trio.Cancelled:
            self.log(f"cancelled {message.gate}")
            raise
        self.log(f"held {message.gate}")
        return message.gate

    @handles(HoldInGroup)
    async def hold_in_group(self, message: HoldInGroup) -> str:
        try:
            await self.script.pass_gate(message.gate)
        except trio.Cancelled as cancelled:
            raise BaseExceptionGroup("nested", [cancelled]) from None
        return message.gate

    @handles(Commit, on_cancel=OnCancel.COMPLETE)
    async def commit(self, message: Commit) -> str:
        try:
            await self.script.pass_gate(message.gate)
        except trio.Cancelled:
            self.log(f"cancelled {message.gate}")
            raise
        self.log(f"committed {message.gate}")
        return message.gate

    @handles(CommitAndFail, mode=Concurrent(2), on_cancel=OnCancel.COMPLETE)
    async def commit_and_fail(self, message: CommitAndFail) -> str:
        await self.script.pass_gate(message.gate)
        raise Boom(message.gate)

    @handles(Parallel, mode=Concurrent(2))
    async def parallel(self, message: Parallel) -> str:
        self.log(f"parallel {message.gate}")
        await self.script.pass_gate(message.gate)
        return message.gate

    @handles(Put, mode=Batched(4, 100), on_cancel=OnCancel.CANCEL)
    async def put(self, messages: Sequence[Put]) -> Sequence[int | Refusal]:
        self.log("put " + " ".join(str(message.value) for message in messages))
        for message in messages:
            if message.gate is not None:
                await self.script.pass_gate(message.gate)
        return [Refused() if message.value < 0 else len(messages) for message in messages]

    @handles(Fail)
    async def fail(self, _: Fail) -> None:
        raise Boom("as told")

    @handles(FailParallel, mode=Concurrent(1))
    async def fail_parallel(self, _: FailParallel) -> None:
        raise Boom("as told")

    @handles(Refuse)
    async def refuse(self, _: Refuse) -> None:
        raise Refused

    @handles(Finish)
    async def finish(self, _: Finish) -> None:
        self.context.finish()

    @handles(Note)
    async def note(self, message: Note) -> None:
        self.notes.append(message.text)
        self.log(f"note {message.text}")
        if message.text == "poison":
            raise Boom("poison")
        if message.text == "refuse":
            raise Refused


class Options(TypedDict, total=False):
    """What a test may set of a probe's spec."""

    mailbox: MailboxLimits
    restart: Restart
    backoff: Backoff
    start_timeout_s: float
    shutdown_timeout_s: float
    max_deliveries: int


def probe(script: Script, name: str, **options: Unpack[Options]) -> tuple[ActorRef[ProbeRole], ActorSpec[ProbeRole]]:
    """A reference to a probe, and its spec with the options given."""
    ref = ActorRef[ProbeRole](name)
    return ref, ActorSpec(ref=ref, factory=lambda: Probe(script), **options)


def tree_of(
    *children: ChildSpec,
    strategy: Strategy = Strategy.ONE_FOR_ONE,
    intensity: Intensity | None = None,
) -> SupervisorSpec:
    """A root over these children that never gives up unless it is given an intensity."""
    return SupervisorSpec(name=ROOT, children=children, strategy=strategy, intensity=intensity)


async def ask_within(scope: trio.CancelScope, ref: ActorRef[ProbeRole], message: Request[object, ProbeRole]) -> None:
    """Ask for as long as the scope lets it."""
    with scope:
        await ref.ask(message)


async def ask_in_vain(ref: ActorRef[ProbeRole], message: Request[object, ProbeRole]) -> None:
    """Ask, and expect that the actor is stopped before it answers."""
    with pytest.raises(ActorStopped):
        await ref.ask(message)


async def ask_crash(ref: ActorRef[ProbeRole], message: Request[object, ProbeRole]) -> None:
    """Ask, and expect that the actor crashes on it."""
    with pytest.raises(ActorCrashed):
        await ref.ask(message)
